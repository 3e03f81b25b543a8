"""Layers that multiply two values picture by picture: Dot, and Keras 1's merging by cosine."""

from __future__ import annotations

from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.normalization import unit_length
from fluoroscope.formats.keras.translate.options import brief
from fluoroscope.formats.keras.translate.step import Step
from fluoroscope.network.protocol import Shape

_SMALLEST = 1e-7
"""Keras's epsilon: a length (Dot) or product of lengths (cosine) below it is taken as this much."""


def dot(step: Step) -> Value:
    """Dot: the sum of products along one axis of each, for every pair of places along their other axes.

    With `normalize`, of unit vectors: the cosine of the angle between them.
    """
    left, right = _pair(step)
    places = _axes(step, left, right)
    if step.options.flag("normalize", default=False):
        left = unit_length(step, left, places[:1], _SMALLEST)
        right = unit_length(step, right, places[1:], _SMALLEST)
    tensor, shape = _products(step, left, right, places)
    return Value(tensor=tensor, shape=shape, channel=len(shape) - 1)


def cosine(step: Step) -> Value:
    """Merge (Keras 1): by mode ``cos``, what `Dot` gives over the lengths; other modes have other names.

    An axis of length 1 comes in front. Keras takes the lengths from each value's product with itself, place
    by place, as is done here.
    """
    left, right = _pair(step)
    places = _axes(step, left, right)
    tensor, shape = _products(step, left, right, places)
    squares = [_products(step, value, value, places)[0] for value in (left, right)]
    lengths = step.node("Sqrt", step.node("Mul", *squares))
    tensor = step.node("Div", tensor, step.node("Max", lengths, step.graph.scalar(_SMALLEST)))
    tensor = step.node("Unsqueeze", tensor, step.graph.integers([1]))
    return Value(tensor=tensor, shape=(1, *shape), channel=len(shape))


def _pair(step: Step) -> tuple[Value, Value]:
    if len(step.inputs) != 2:
        step.damaged(f"takes two inputs, not {len(step.inputs)}")
    first, second = (step.graph.in_keras_order(value) for value in step.inputs)
    return first, second


def _axes(step: Step, left: Value, right: Value) -> tuple[int, int]:
    """The axis of each value that products are summed along, as places in its shape."""
    given = step.options.raw("axes", -1)
    listed = list(given) if isinstance(given, (list, tuple)) else [given, given]
    if len(listed) != 2:
        step.damaged(f"has axes={brief(given)}, not one axis of each of two values")
    places: list[int] = []
    for axis, value in zip(listed, (left, right), strict=True):
        number = step.options.whole("axes", axis, -value.rank)
        number += (value.rank + 1) * (number < 0)
        if not 1 <= number <= value.rank:
            step.damaged(f"has axes={brief(given)} for shapes of {value.rank} axes and the batch")
        places.append(number - 1)
    return places[0], places[1]


def _products(step: Step, left: Value, right: Value, places: tuple[int, int]) -> tuple[str, Shape]:
    """The products of two values in Keras's order; the axes of the first come first."""
    sizes = left.shape[places[0]], right.shape[places[1]]
    if None not in sizes and sizes[0] != sizes[1]:
        step.damaged(f"multiplies along axes of {sizes[0]} and {sizes[1]} values")
    kept = [
        tuple(size for axis, size in enumerate(value.shape) if axis != place)
        for value, place in zip((left, right), places, strict=True)
    ]
    rows = _as_matrix(step, left, places[0], kept[0], last=True)
    columns = _as_matrix(step, right, places[1], kept[1], last=False)
    tensor = step.node("MatMul", rows, columns)
    shape = (*kept[0], *kept[1]) or (1,)
    if len(kept[0]) == len(kept[1]) == 1:
        return tensor, shape
    if shape.count(None) > 1:
        step.unsupported("multiplies values with several axes of free size")
    sizes = step.graph.integers([0, *(-1 if size is None else size for size in shape)])
    return step.node("Reshape", tensor, sizes), shape


def _as_matrix(step: Step, value: Value, place: int, kept: Shape, *, last: bool) -> str:
    """`value` as a matrix a picture: the axis `place` is its last, or its first; all others are the other."""
    others = [axis + 1 for axis in range(value.rank) if axis != place]
    order = (0, *others, place + 1) if last else (0, place + 1, *others)
    tensor = value.tensor
    if order != tuple(range(value.rank + 1)):
        tensor = step.node("Transpose", tensor, perm=order)
    if not kept:
        return step.node("Unsqueeze", tensor, step.graph.integers([1 if last else 2]))
    if len(kept) == 1:
        return tensor
    if last and value.shape[place] is None:
        step.unsupported("multiplies along an axis of free size")
    sizes = (0, -1, value.shape[place] or 0) if last else (0, 0, -1)
    return step.node("Reshape", tensor, step.graph.integers(sizes))
