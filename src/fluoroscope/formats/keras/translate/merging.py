"""Layers that take several values: element by element, or one behind the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce

from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.masking import concatenated
from fluoroscope.formats.keras.translate.step import Step
from fluoroscope.network.protocol import Shape


def merge(step: Step, operator: str) -> Value:
    """Add, Multiply, Maximum, Minimum: of any number of values, broadcast against each other."""
    values = _aligned(step)
    tensors = [value.tensor for value in values]
    if step.keras_version[0] >= 3 and operator in _MASKED and any(value.mask for value in values):
        return _merged(step, values, _MASKED[operator](step, values))
    return _merged(step, values, reduce(lambda left, right: step.node(operator, left, right), tensors))


def _unmasked_product(step: Step, values: Sequence[Value]) -> str:
    """Multiply in Keras 3: what a mask skips is no factor; what all masks skip is 0."""
    one, zero = step.graph.scalar(1.0), step.graph.scalar(0.0)
    kept = [_spread_mask(step, value) for value in values]
    factors = [
        step.node("Where", mask, value.tensor, one) if mask else value.tensor
        for value, mask in zip(values, kept, strict=True)
    ]
    product = reduce(lambda left, right: step.node("Mul", left, right), factors)
    if not all(kept):
        return product
    return step.node("Where", reduce(lambda left, right: step.node("Or", left, right), kept), product, zero)


def _unmasked_extreme(step: Step, values: Sequence[Value], operator: str) -> str:
    """Maximum and Minimum in Keras 3: what a mask skips is not compared."""
    first, *rest = values
    result, kept = first.tensor, _spread_mask(step, first)
    for value in rest:
        mask = _spread_mask(step, value)
        other = step.node("Where", mask, value.tensor, result) if mask else value.tensor
        result = step.node("Where", kept, result, other) if kept else result
        kept = step.node("Or", kept, mask) if kept and mask else ""
        result = step.node(operator, result, other)
    return result


def _spread_mask(step: Step, value: Value) -> str:
    """A value's mask with an axis for its channels; no name where there is none."""
    if value.mask is None:
        return ""
    if value.mask.rank != value.rank - 1:
        step.unsupported("merges values whose masks do not run along all but the last of their axes")
    return step.node("Unsqueeze", value.mask.tensor, step.graph.integers([value.axis(value.last)]))


_MASKED: Mapping[str, Callable[[Step, Sequence[Value]], str]] = {
    "Mul": _unmasked_product,
    "Max": partial(_unmasked_extreme, operator="Max"),
    "Min": partial(_unmasked_extreme, operator="Min"),
}
"""Operators that Keras 3 keeps away from what masks skip."""


def subtract(step: Step) -> Value:
    """Subtract: the first less the second."""
    if len(step.inputs) != 2:
        step.damaged(f"takes two inputs, not {len(step.inputs)}")
    return merge(step, "Sub")


def average(step: Step) -> Value:
    """Average: the sum over the count."""
    total = merge(step, "Add")
    return step.like(total, step.node("Div", total.tensor, step.graph.scalar(len(step.inputs))))


def concatenate(step: Step) -> Value:
    """Concatenate along `axis`; all other sizes agree."""
    values = _aligned(step)
    rank = values[0].rank
    places = step.options.axes("axis", rank, default=-1)
    if len(places) != 1:
        step.options.unsupported("axis", "A single axis is.")
    place = places[0]
    shape: list[int | None] = []
    for axis, sizes in enumerate(zip(*(value.shape for value in values), strict=True)):
        known = [size for size in sizes if size is not None]
        if axis == place:
            shape.append(sum(known) if len(known) == len(sizes) else None)
        elif len(set(known)) > 1:
            step.damaged(f"joins shapes that differ elsewhere: {', '.join(str(v.shape) for v in values)}")
        else:
            shape.append(known[0] if known else None)
    tensor = step.node("Concat", *(value.tensor for value in values), axis=values[0].axis(place))
    return replace(values[0], tensor=tensor, shape=tuple(shape), mask=concatenated(step, place + 1))


def _aligned(step: Step) -> list[Value]:
    """The inputs with one rank and one axis order.

    Keras gives a value of fewer axes its missing ones behind the batch. A value that is channels first
    already sets the order, so that the branches of a residual network stay as they are.
    """
    if len(step.inputs) < 2:
        step.damaged(f"takes several inputs, not {len(step.inputs)}")
    rank = max(value.rank for value in step.inputs)
    full = [value for value in step.inputs if value.rank == rank]
    moved = any(value.moved for value in full)
    channel = next((value.channel for value in full if value.channel != value.last), rank - 1)
    values: list[Value] = []
    for value in step.inputs:
        missing = rank - value.rank
        if missing:
            value = step.graph.in_keras_order(value)
            axes = step.graph.integers(range(1, missing + 1))
            value = replace(
                value, tensor=step.node("Unsqueeze", value.tensor, axes), shape=(1,) * missing + value.shape
            )
        value = step.graph.in_moved_order(value) if moved else step.graph.in_keras_order(value)
        values.append(replace(value, channel=rank - 1 if moved else channel))
    return values


def _merged(step: Step, values: list[Value], tensor: str) -> Value:
    shape = reduce(lambda left, right: broadcast_shape(step, left, right), [value.shape for value in values])
    return replace(values[0], tensor=tensor, shape=shape)


def broadcast_shape(step: Step, left: Shape, right: Shape) -> Shape:
    """The shape of two of the same rank against each other: sizes agree, or one is 1."""
    sizes: list[int | None] = []
    for a, b in zip(left, right, strict=True):
        if a is not None and b is not None and a != b and 1 not in (a, b):
            step.damaged(f"merges shapes that do not fit: {left} and {right}")
        sizes.append(b if a == 1 else a if b == 1 else a if b is None else b)
    return tuple(sizes)
