"""Normalization layers, each a layer of its own: never folded away, so that its row is true."""

from __future__ import annotations

import numpy as np

from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.step import Step
from fluoroscope.network.protocol import FloatArray

_UNIT_FLOOR, _UNIT_FLOOR_KERAS_2 = 1e-12, 1e-6
"""Least norm that UnitNormalization divides by; Keras 2 said 1e-12 of its square."""


def batch_normalization(step: Step) -> Value:
    """By the moving statistics, as Keras does outside training.

    onnxruntime's operator takes 0.55 to 0.85 of the time of a multiplication and an addition, and agrees with
    the exact value to 1.3e-7; it is taken wherever the axis is the tensor's channel axis.
    """
    value = step.value
    if step.options.integer("mode", default=0, least=0) == 1:
        return _sample_normalization(step)
    places, size = _one_axis(step)
    epsilon = step.options.number("epsilon", default=1e-3)
    scale = step.options.flag("scale", default=True)
    center = step.options.flag("center", default=True)
    gamma = step.variable("gamma", (size,)) if scale else np.ones(size, np.float32)
    beta = step.variable("beta", (size,)) if center else np.zeros(size, np.float32)
    mean, variance = step.variable("moving_mean", (size,)), step.variable("moving_variance", (size,))
    if value.axis(places[0]) == 1:
        labels = {"gamma": gamma, "beta": beta, "moving_mean": mean, "moving_variance": variance}
        constants = [step.constant(label, array) for label, array in labels.items()]
        return step.like(value, step.node("BatchNormalization", value.tensor, *constants, epsilon=epsilon))
    with np.errstate(all="ignore"):  # weights that are no numbers stay none, as in Keras
        factor = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
        offset = beta - mean * factor
        scaled = _times(step, value, "scale", factor.astype(np.float32), places)
        return _plus(step, scaled, "offset", offset.astype(np.float32), places)


def _sample_normalization(step: Step) -> Value:
    """Mode 1 of Keras 1: ``(x - mean) / (deviation + epsilon)`` over the last axis of each sample."""
    value = step.value
    epsilon = step.options.number("epsilon", default=1e-3)
    step.options.raw("axis")  # which this mode does not look at, nor at statistics
    step.used.update(("moving_mean", "moving_variance"))
    (place,) = places = (value.last,)
    size = value.shape[place]
    centered, squares = _moments(step, value, places)
    deviation = step.node("Sqrt", step.node("Add", squares, step.graph.scalar(epsilon)))
    deviation = step.node("Add", deviation, step.graph.scalar(epsilon))
    result = step.like(value, step.node("Div", centered, deviation))
    result = _times(step, result, "gamma", step.variable("gamma", (size,)), places)
    return _plus(step, result, "beta", step.variable("beta", (size,)), places)


def layer_normalization(step: Step) -> Value:
    """Over the axes of each picture: ``(x - mean) / sqrt(variance + epsilon) * gamma + beta``.

    ONNX's operator normalizes over trailing axes, and wants Keras's order for that; other axes are written
    out. Keras's deprecated `rms_scaling` divides alike but subtracts no mean and adds no beta.
    """
    value = step.value
    listed = step.options.axes("axis", value.rank, default=-1)
    places = tuple(sorted(listed))
    epsilon = step.options.number("epsilon", default=1e-3)
    rms = step.options.flag("rms_scaling", default=False)
    scale = step.options.flag("scale", default=True) or rms
    center = step.options.flag("center", default=True) and not rms
    # Keras makes its variables in the order the axes are listed in, and reads them as if that ascended.
    sizes = tuple(value.shape[place] for place in listed)
    shape = tuple(value.shape[place] or 0 for place in places)
    gamma = step.variable("gamma", sizes).reshape(shape) if scale else None
    beta = step.variable("beta", sizes).reshape(shape) if center else None
    if places[-1] == value.last and len(places) == value.rank - places[0] and gamma is not None and not rms:
        value = step.graph.in_keras_order(value)
        constants = [step.constant("gamma", gamma)] + ([] if beta is None else [step.constant("beta", beta)])
        tensor = step.node(
            "LayerNormalization", value.tensor, *constants, axis=places[0] + 1, epsilon=epsilon
        )
        return step.like(value, tensor)
    centered, variance = _moments(step, value, places)
    deviation = step.node("Sqrt", step.node("Add", variance, step.graph.scalar(epsilon)))
    result = step.like(value, step.node("Div", value.tensor if rms else centered, deviation))
    if gamma is not None:
        result = _times(step, result, "gamma", gamma, places)
    return result if beta is None else _plus(step, result, "beta", beta, places)


def group_normalization(step: Step) -> Value:
    """Over the places and the channels of each group: Wu and He, arXiv 1803.08494.

    With as many groups as channels (-1 says so) it is instance normalization.
    """
    (place,), size = _one_axis(step)
    options = step.options
    groups = options.integer("groups", default=32, least=-1)
    groups = size if groups == -1 else groups
    if groups < 1 or size % groups:
        step.damaged(f"has {groups} groups for {size} channels")
    epsilon = options.number("epsilon", default=1e-3)
    value = _channels_second(step, step.value, place)
    rank = value.rank
    grouped = step.node("Reshape", value.tensor, step.graph.integers([0, groups, -1]))
    ones, zeros = np.ones(groups, np.float32), np.zeros(groups, np.float32)
    normal = step.node(
        "InstanceNormalization",
        grouped,
        step.constant("one", ones),
        step.constant("zero", zeros),
        epsilon=epsilon,
    )
    if value.tensor_shape.count(None) > 1:
        shape = step.node("Shape", value.tensor)
    else:
        shape = step.graph.integers([0, *(-1 if size is None else size for size in value.tensor_shape)])
    tensor = step.node("Reshape", normal, shape)
    spread = (size, *[1] * (rank - 1))
    if options.flag("scale", default=True):
        tensor = step.node(
            "Mul", tensor, step.constant("gamma", step.variable("gamma", (size,)).reshape(spread))
        )
    if options.flag("center", default=True):
        tensor = step.node(
            "Add", tensor, step.constant("beta", step.variable("beta", (size,)).reshape(spread))
        )
    return _channels_back(step, step.like(value, tensor), place)


def rms_normalization(step: Step) -> Value:
    """``x / sqrt(mean(x**2) + epsilon) * scale``: Zhang and Sennrich, arXiv 1910.07467.

    Keras multiplies by `scale` along the last axes, whichever axes it was made for.
    """
    value = step.value
    places = step.options.axes("axis", value.rank, default=-1)
    epsilon = step.options.number("epsilon", default=1e-6)
    scale = step.variable("scale", tuple(value.shape[place] for place in places))
    along = tuple(range(value.rank - scale.ndim, value.rank))
    sizes = zip(scale.shape, along, strict=True)
    if any(size not in (1, value.shape[place]) for size, place in sizes):
        step.damaged(f"has a scale of {scale.shape} for the last axes of {value.shape}")
    axes = step.graph.integers(value.axis(place) for place in places)
    squares = step.node("ReduceMean", step.node("Mul", value.tensor, value.tensor), axes)
    root = step.node("Sqrt", step.node("Add", squares, step.graph.scalar(epsilon)))
    result = step.like(value, step.node("Div", value.tensor, root))
    return _times(step, result, "scale", scale, along)


def unit_normalization(step: Step) -> Value:
    """``x / |x|``, the length being that along `axis`."""
    value = step.value
    places = step.options.axes("axis", value.rank, default=-1)
    return unit_length(step, value, places, _UNIT_FLOOR)


def unit_length(step: Step, value: Value, places: tuple[int, ...], least: float) -> Value:
    """`value` over its Euclidean length along `places`, a length below `least` taken as this much.

    Keras 2 has its own least.
    """
    least = least if step.keras_version >= (3, 0) else _UNIT_FLOOR_KERAS_2
    axes = step.graph.integers(value.axis(place) for place in places)
    length = step.node("ReduceL2", value.tensor, axes)
    return step.like(
        value, step.node("Div", value.tensor, step.node("Max", length, step.graph.scalar(least)))
    )


def _one_axis(step: Step) -> tuple[tuple[int], int]:
    """The axis that the variables lie along, and its size."""
    value = step.value
    places = step.options.axes("axis", value.rank, default=-1)
    if len(places) != 1:
        step.options.unsupported("axis", "A single axis is.")
    size = value.shape[places[0]]
    if size is None:
        step.damaged("needs a known size along its axis")
    return (places[0],), size


def _moments(step: Step, value: Value, places: tuple[int, ...]) -> tuple[str, str]:
    """What is left of `value` less its mean along `places`, and the variance."""
    axes = step.graph.integers(value.axis(place) for place in places)
    centered = step.node("Sub", value.tensor, step.node("ReduceMean", value.tensor, axes))
    return centered, step.node("ReduceMean", step.node("Mul", centered, centered), axes)


def _channels_second(step: Step, value: Value, place: int) -> Value:
    """`value` with the axis `place` of its shape at the tensor's axis 1, its shape in the tensor's order."""
    if value.axis(place) == 1:
        return Value(tensor=value.tensor, shape=value.tensor_shape, channel=0)
    value = step.graph.in_keras_order(value)
    order = [place, *(axis for axis in range(value.rank) if axis != place)]
    tensor = step.node("Transpose", value.tensor, perm=(0, *(axis + 1 for axis in order)))
    return Value(tensor=tensor, shape=tuple(value.shape[axis] for axis in order), channel=0)


def _channels_back(step: Step, value: Value, place: int) -> Value:
    """What `_channels_second` made, as the layer's input was."""
    given = step.value
    if given.axis(place) == 1:
        return step.like(given, value.tensor)
    order = [*range(1, place + 1), 0, *range(place + 1, value.rank)]
    tensor = step.node("Transpose", value.tensor, perm=(0, *(axis + 1 for axis in order)))
    return Value(tensor=tensor, shape=given.shape, channel=given.channel)


def _times(step: Step, value: Value, label: str, array: FloatArray, places: tuple[int, ...]) -> Value:
    factor = step.constant(label, value.aligned(array, places))
    return step.like(value, step.node("Mul", value.tensor, factor))


def _plus(step: Step, value: Value, label: str, array: FloatArray, places: tuple[int, ...]) -> Value:
    offset = step.constant(label, value.aligned(array, places))
    return step.like(value, step.node("Add", value.tensor, offset))
