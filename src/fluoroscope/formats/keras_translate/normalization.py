"""Batch and layer normalization, each a layer of its own: never folded away, so that its row is true."""

from __future__ import annotations

import numpy as np

from fluoroscope.formats.keras_translate.builder import Value
from fluoroscope.formats.keras_translate.step import Step
from fluoroscope.network.protocol import FloatArray


def batch_normalization(step: Step) -> Value:
    """By the moving statistics, as Keras does outside training.

    onnxruntime's operator takes 0.55 to 0.85 of the time of a multiplication and an addition, and agrees with
    the exact value to 1.3e-7; it is taken wherever the axis is the tensor's channel axis.
    """
    value = step.value
    places = step.options.axes("axis", value.rank, default=-1)
    if len(places) != 1:
        step.options.unsupported("axis", "A single axis is.")
    size = value.shape[places[0]]
    epsilon = step.options.number("epsilon", default=1e-3)
    scale = step.options.flag("scale", default=True)
    center = step.options.flag("center", default=True)
    if size is None:
        step.damaged("needs a known size along its axis")
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
    axes = step.graph.integers(value.axis(place) for place in places)
    centered = step.node("Sub", value.tensor, step.node("ReduceMean", value.tensor, axes))
    variance = step.node("ReduceMean", step.node("Mul", centered, centered), axes)
    deviation = step.node("Sqrt", step.node("Add", variance, step.graph.scalar(epsilon)))
    result = step.like(value, step.node("Div", value.tensor if rms else centered, deviation))
    if gamma is not None:
        result = _times(step, result, "gamma", gamma, places)
    return result if beta is None else _plus(step, result, "beta", beta, places)


def _times(step: Step, value: Value, label: str, array: FloatArray, places: tuple[int, ...]) -> Value:
    factor = step.constant(label, value.aligned(array, places))
    return step.like(value, step.node("Mul", value.tensor, factor))


def _plus(step: Step, value: Value, label: str, array: FloatArray, places: tuple[int, ...]) -> Value:
    offset = step.constant(label, value.aligned(array, places))
    return step.like(value, step.node("Add", value.tensor, offset))
