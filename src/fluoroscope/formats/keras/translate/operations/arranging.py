"""Functions that give numbers another shape: reshape, broadcast, transpose, squeeze; and shapes to fill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.known import Free, Known, Operand, Pictures
from fluoroscope.formats.keras.translate.operations.call import Call, Result
from fluoroscope.formats.keras.translate.operations.reducing import without
from fluoroscope.formats.keras.translate.operations.sizes import sizes_of, whole
from fluoroscope.formats.keras.translate.options import brief
from fluoroscope.formats.keras.translate.step import elements
from fluoroscope.network.protocol import Shape


def reshape(call: Call) -> Result:
    """To another shape of as many numbers for each picture; one size may be -1: what is left over."""
    x, wanted = call.operand("x"), sizes_of(call, "newshape")
    if isinstance(x, Known):
        sizes = [call.step.options.whole("newshape", size, -1) for size in wanted]
        return call.computed(lambda array: array.reshape(sizes), x)
    value = call.graph.in_keras_order(x)
    shape = per_picture(call, value.shape, wanted)
    sizes = call.graph.integers([0, *(-1 if size is None else size for size in shape)])
    return call.reread(call.step.node("Reshape", value.tensor, sizes), shape)


def per_picture(call: Call, given: Shape, wanted: Sequence[int | Pictures | Free]) -> Shape:
    """What a shape with the batch in it makes of each picture's `given` shape; None for a free size.

    The first size is the batch if what stands behind it holds just one picture's numbers.
    """
    first, rest = (wanted[0], list(wanted[1:])) if wanted else (1, [])
    if any(isinstance(size, Pictures) for size in rest):
        call.mixes_pictures(f"brings the shape {('n', *given)} to another with the batch elsewhere")
    open_ = [place for place, size in enumerate(rest) if isinstance(size, Free) or size == -1]
    fixed = prod(size for size in rest if isinstance(size, int) and size != -1)
    known = None if None in given else elements(given)
    if isinstance(first, Pictures) and first.times != 1:
        call.mixes_pictures(
            f"brings the shape {('n', *given)} to one of {first.times} times as many pictures"
        )
    if known is None:
        held = not open_ and isinstance(first, int) and first == -1
        if len(open_) > 1 or held or isinstance(first, Free):
            call.step.needs_size("reshapes")
        return tuple(None if place in open_ else whole(call, size) for place, size in enumerate(rest))
    if len(open_) == 1 and (isinstance(first, Pictures) or first != -1) and fixed and known % fixed == 0:
        return tuple(
            known // fixed if place in open_ else whole(call, size) for place, size in enumerate(rest)
        )
    if open_ or fixed != known:
        shown = [size if isinstance(size, int) else "n" for size in wanted]
        call.mixes_pictures(f"brings the shape {('n', *given)} to {shown}")
    return tuple(whole(call, size) for size in rest)


def broadcast_to(call: Call) -> Result:
    """`x` repeated along axes of length 1 until it has the shape."""
    x, wanted = call.operand("x"), sizes_of(call, "shape")
    if isinstance(x, Value):
        if len(wanted) != x.rank + 1:
            call.mixes_pictures(f"broadcasts the shape {('n', *x.shape)} to {len(wanted)} axes")
        value = call.graph.in_keras_order(x)
        sizes = [whole(call, size) for size in wanted[1:]]
        repeated = call.graph.integers([1, *(1 if size == -1 else size for size in sizes)])
        shape = tuple(own if size in (-1, 1) else size for own, size in zip(value.shape, sizes, strict=True))
        return call.reread(call.step.node("Expand", value.tensor, repeated), shape)
    return spread(call, x.array, wanted)


def spread(call: Call, array: NDArray[Any], wanted: Sequence[int | Pictures | Free]) -> Operand:
    """An array broadcast to a shape: known too, or a value if the batch is its first size."""
    if not wanted or not isinstance(wanted[0], Pictures):
        sizes = [whole(call, size) for size in wanted]
        call.step.allow_table(prod(sizes))
        return call.computed(lambda given: np.broadcast_to(given, sizes), Known(array))
    if wanted[0].times != 1:
        call.mixes_pictures(f"makes numbers for {wanted[0].times} times as many pictures")
    sizes = [whole(call, size) for size in wanted[1:]]
    batch = call.step.node("Shape", wanted[0].tensor, start=0, end=1)
    target = call.step.node("Concat", batch, call.graph.integers(sizes), axis=0) if sizes else batch
    tensor = call.step.node("Expand", call.constant(array), target)
    return call.reread(tensor, tuple(sizes))


def filled(default: float | None) -> Callable[[Call], Result]:
    """A shape full of one number: zeros, ones, fill."""

    def function(call: Call) -> Result:
        call.raw("dtype")
        fill = call.number("fill_value", 0.0) if default is None else default
        return spread(call, np.asarray(fill, np.float32), sizes_of(call, "shape"))

    return function


def transpose(call: Call) -> Result:
    """Axis ``axes[i]`` comes to place `i`; by default the axes are turned round."""
    x, axes = call.operand("x"), call.integers("axes")
    if isinstance(x, Known):
        return call.computed(lambda array: np.transpose(array, axes), x)
    order = (
        list(range(x.rank, -1, -1))
        if axes is None
        else [call.place("axes", axis, x.rank + 1) for axis in axes]
    )
    return permuted(call, x, order)


def permuted(call: Call, x: Value, order: Sequence[int]) -> Value:
    """The axes, batch included, in another order; the batch has to stay the first."""
    if sorted(order) != list(range(x.rank + 1)):
        call.unsupported(f"has axes={brief(list(order))}, no order of {x.rank + 1} axes")
    if order[0] != 0:
        call.mixes_pictures("takes the batch to another axis")
    value = call.graph.in_keras_order(x)
    tensor = call.step.node("Transpose", value.tensor, perm=tuple(order))
    return call.reread(tensor, tuple(value.shape[axis - 1] for axis in order[1:]))


def swap_axes(call: Call) -> Result:
    """Two axes exchanged."""
    x = call.value("x")
    first, second = call.axis("axis1", x.rank + 1), call.axis("axis2", x.rank + 1)
    order = list(range(x.rank + 1))
    order[first], order[second] = second, first
    return permuted(call, x, order)


def move_axis(call: Call) -> Result:
    """Axes taken to other places, the rest in their order."""
    x = call.value("x")
    sources = [call.place("source", axis, x.rank + 1) for axis in call.integers("source") or []]
    targets = [call.place("destination", axis, x.rank + 1) for axis in call.integers("destination") or []]
    if len(set(sources)) != len(targets) or len(set(targets)) != len(sources):
        call.unsupported("moves axes to as many places as there are not")
    order = [axis for axis in range(x.rank + 1) if axis not in sources]
    for target, source in sorted(zip(targets, sources, strict=True)):
        order.insert(target, source)
    return permuted(call, x, order)


def squeeze(call: Call) -> Result:
    """Without axes of length 1: those named, or all."""
    x, axes = call.operand("x"), call.integers("axis")
    if isinstance(x, Known):
        return call.computed(lambda array: np.squeeze(array, None if axes is None else tuple(axes)), x)
    if not axes:
        places = tuple(place for place, size in enumerate(x.shape) if size == 1)
    else:
        places = call.places("axis", x)
    if any(x.shape[place] not in (1, None) for place in places):
        call.unsupported(f"squeezes an axis of {x.shape} that is not of length 1")
    return without(call, x, places)


def expand_dims(call: Call) -> Result:
    """With new axes of length 1, counted in the shape that comes out."""
    x, axes = call.operand("x"), call.integers("axis") or [-1]
    if isinstance(x, Known):
        return call.computed(lambda array: np.expand_dims(array, tuple(axes)), x)
    rank = x.rank + 1 + len(axes)
    places = sorted({call.place("axis", axis, rank) for axis in axes})
    if 0 in places:
        call.mixes_pictures("puts an axis before the batch")
    value = call.graph.in_keras_order(x)
    tensor = call.step.node("Unsqueeze", value.tensor, call.graph.integers(places))
    sizes: list[int | None] = list(value.shape)
    for place in places:
        sizes.insert(place - 1, 1)
    return call.reread(tensor, tuple(sizes))
