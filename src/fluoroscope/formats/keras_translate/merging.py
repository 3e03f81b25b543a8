"""Layers that take several values: element by element, or one behind the other."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

from fluoroscope.formats.keras_translate.builder import Value
from fluoroscope.formats.keras_translate.masking import concatenated
from fluoroscope.formats.keras_translate.step import Step
from fluoroscope.network.protocol import Shape


def merge(step: Step, operator: str) -> Value:
    """Add, Multiply, Maximum, Minimum: of any number of values, broadcast against each other."""
    values = _aligned(step)
    tensor = reduce(lambda left, right: step.node(operator, left, right), [value.tensor for value in values])
    return _merged(step, values, tensor)


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
