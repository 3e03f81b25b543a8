"""Activations fused into a layer, and as layers of their own with options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.functions import NAMED, Named, along, clip, scaled
from fluoroscope.formats.keras.translate.step import Step

LINEAR = "linear"

_MASKED = -1e9
"""What a softmax takes for values that its mask leaves out."""


def activated(step: Step, value: Value) -> Value:
    """`value` behind the layer's fused activation; what was before it stays at hand as `step.pre`."""
    given: Any = step.options.raw("activation") or LINEAR
    if given == LINEAR:
        return value
    step.pre = value.tensor
    step.activation, function = chosen(step, "activation", default=LINEAR)
    return function(step, value)


def chosen(step: Step, option: str, *, default: str) -> tuple[str, Named]:
    """The activation that an option of the layer tells: its name, and what emits it."""
    given: Any = step.options.raw(option, default)
    if isinstance(given, Mapping):
        return _layer_as_activation(step, option, cast(Mapping[str, Any], given))
    name = LINEAR if given is None else step.options.choice(option, NAMED, default=default)
    return name, NAMED[name]


def _layer_as_activation(step: Step, option: str, given: Mapping[str, Any]) -> tuple[str, Named]:
    """An activation that is a layer with options, such as ``LeakyReLU(0.1)``, as Keras serializes it."""
    kind, config = given.get("class_name"), given.get("config")
    if not isinstance(kind, str) or kind not in LAYERS or not isinstance(config, Mapping):
        step.options.unsupported(option, f"Layers that can be one are {', '.join(sorted(LAYERS))}.")
    options = cast(Mapping[str, Any], config)

    def emit(step: Step, value: Value) -> Value:
        inner = step.within(kind, options, value)
        result = LAYERS[kind](inner)
        inner.options.refuse_unread()
        return result

    return kind, emit


def activation(step: Step) -> Value:
    """Activation: the value before it is the layer before it, so nothing is kept."""
    value = activated(step, step.value)
    step.pre = None
    return value


def rectified_linear(step: Step) -> Value:
    """ReLU: `x` above `threshold`, at most `max_value`; below it 0, or falling by `negative_slope`."""
    options = step.options
    slope = options.number("negative_slope", default=0.0)
    threshold = options.number("threshold", default=0.0)
    largest = None if options.raw("max_value") is None else options.number("max_value")
    value = step.value
    x = value.tensor
    if slope and not threshold and largest is None:
        return step.like(value, step.node("LeakyRelu", x, alpha=slope))
    if threshold:
        positive = step.node("ThresholdedRelu", x, alpha=threshold)
        below = step.node("Sub", step.graph.scalar(threshold), x)
    else:
        positive, below = x, ""
    if largest is not None:
        positive = clip(step, positive, 0.0, largest)
    elif not threshold:
        positive = step.node("Relu", x)
    if not slope:
        return step.like(value, positive)
    negative = step.node("Relu", below or step.node("Neg", x))
    return step.like(value, step.node("Sub", positive, scaled(step, negative, slope)))


def leaky_rectified_linear(step: Step) -> Value:
    """LeakyReLU: `x` above 0, ``negative_slope * x`` below."""
    slope = step.options.number("negative_slope", default=0.3)
    return step.like(step.value, step.node("LeakyRelu", step.value.tensor, alpha=slope))


def thresholded_rectified_linear(step: Step) -> Value:
    """ThresholdedReLU (Keras 1 and 2): `x` above `theta`, else 0."""
    theta = step.options.number("theta", default=1.0)
    return step.like(step.value, step.node("ThresholdedRelu", step.value.tensor, alpha=theta))


def exponential_linear(step: Step) -> Value:
    """ELU: `x` above 0, ``alpha * (exp(x) - 1)`` below."""
    alpha = step.options.number("alpha", default=1.0)
    return step.like(step.value, step.node("Elu", step.value.tensor, alpha=alpha))


def parametric_rectified_linear(step: Step) -> Value:
    """PReLU: as LeakyReLU with a learned slope for every place, or one along each of `shared_axes`."""
    value = step.value
    return step.like(value, step.node("PRelu", value.tensor, _along_axes(step, "alpha")))


def parametric_softplus(step: Step) -> Value:
    """ParametricSoftplus (Keras 1): ``alpha * log(1 + exp(beta * x))``, both learned."""
    _discard_beginnings(step, "alpha_init", "beta_init")
    inner = step.node("Softplus", step.node("Mul", step.value.tensor, _along_axes(step, "beta")))
    return step.like(step.value, step.node("Mul", inner, _along_axes(step, "alpha")))


def s_shaped_rectified_linear(step: Step) -> Value:
    """SReLU (Keras 1): three straight pieces whose ends and slopes are learned; arXiv 1512.07030.

    The right end lies ``abs(t_right)`` behind the left one.
    """
    _discard_beginnings(step, "t_left_init", "a_left_init", "t_right_init", "a_right_init")
    value = step.value
    left = _along_axes(step, "t_left")
    right = step.node("Add", left, step.node("Abs", _along_axes(step, "t_right")))
    below = step.node("Relu", step.node("Sub", left, value.tensor))
    above = step.node("Relu", step.node("Sub", value.tensor, right))
    middle = step.node("Min", step.node("Max", value.tensor, left), right)
    falling = step.node("Mul", below, _along_axes(step, "a_left"))
    rising = step.node("Mul", above, _along_axes(step, "a_right"))
    return step.like(value, step.node("Add", step.node("Sub", middle, falling), rising))


def _along_axes(step: Step, name: str) -> str:
    """A variable with a number for every place, or one for all along each of `shared_axes`.

    Keras 1 does not write its `shared_axes`; there, what the variable is long is what tells them.
    """
    value = step.value
    given = step.options.raw("shared_axes")
    shared = step.options.axes("shared_axes", value.rank) if given else ()
    shape = tuple(1 if place in shared else size for place, size in enumerate(value.shape))
    stored = step.layer.weights.get(name)
    if "shared_axes" not in step.layer.config and stored is not None and stored.ndim == value.rank:
        shape = tuple(1 if own == 1 else size for own, size in zip(stored.shape, shape, strict=True))
    array = step.variable(name, shape)
    return step.constant(name, value.aligned(array, range(value.rank)))


def _discard_beginnings(step: Step, *names: str) -> None:
    """Options that say what variables began training with."""
    for name in names:
        step.options.raw(name)


def softmax_layer(step: Step) -> Value:
    """Softmax along `axis`; along several together, that of the values in all of them.

    Values that a mask leaves out count as -1e9; Keras 3 also makes 0 of them where it leaves out all.
    """
    value, kept = _masked(step)
    made = _softmax(step, value)
    if kept is None or step.keras_version < (3, 0):
        return made
    return step.like(made, step.node("Where", kept, made.tensor, step.graph.scalar(0.0)))


def _masked(step: Step) -> tuple[Value, str | None]:
    """The input of a softmax with what its mask leaves out made small, and what the mask keeps."""
    value, given = step.value, step.arguments.tensor("mask", 1)
    if given is None and value.mask is None:
        return value, None
    rank = value.rank if given is None else given.rank
    if rank != value.rank or (value.mask is not None and value.mask.rank != rank):
        step.unsupported("has a mask of other axes than its input's")
    value = step.graph.in_keras_order(value)
    if given is None:
        assert value.mask is not None
        kept = value.mask.tensor
    else:
        half = step.graph.scalar(0.5)
        kept = step.node("Greater", step.graph.as_floats(step.graph.in_keras_order(given)).tensor, half)
    small = step.node("Where", kept, value.tensor, step.graph.scalar(_MASKED))
    return step.like(value, small), kept


def _softmax(step: Step, value: Value) -> Value:
    places = step.options.axes("axis", value.rank, default=-1)
    if len(places) == 1:
        return along("Softmax", step, value, place=places[0])
    axes = step.graph.integers(value.axis(place) for place in places)
    # Less the largest, so that nothing overflows; the ratio is the same.
    less = step.node("Sub", value.tensor, step.node("ReduceMax", value.tensor, axes))
    grown = step.node("Exp", less)
    return step.like(value, step.node("Div", grown, step.node("ReduceSum", grown, axes)))


LAYERS: Mapping[str, Callable[[Step], Value]] = {
    "ELU": exponential_linear,
    "LeakyReLU": leaky_rectified_linear,
    "ReLU": rectified_linear,
    "Softmax": softmax_layer,
    "ThresholdedReLU": thresholded_rectified_linear,
}
"""Layers without variables that can stand where an activation is asked for."""
