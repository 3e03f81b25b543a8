"""Functions that put numbers elsewhere: reshape, transpose, join, split, repeat, pad, turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.formats.keras_translate.builder import Value
from fluoroscope.formats.keras_translate.known import Free, Known, Operand, Pictures, settled
from fluoroscope.formats.keras_translate.operations.call import MOST, Call, Result
from fluoroscope.formats.keras_translate.operations.reducing import without
from fluoroscope.formats.keras_translate.options import brief
from fluoroscope.formats.keras_translate.step import elements
from fluoroscope.network.protocol import Shape

REST = 2**62
"""The end of a slice that goes on to the end of an axis."""


def reshape(call: Call) -> Result:
    """To another shape of as many numbers for each picture; one size may be -1: what is left over."""
    x, wanted = call.operand("x"), _sizes(call, "newshape")
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
        return tuple(None if place in open_ else _whole(call, size) for place, size in enumerate(rest))
    if len(open_) == 1 and (isinstance(first, Pictures) or first != -1) and fixed and known % fixed == 0:
        return tuple(
            known // fixed if place in open_ else _whole(call, size) for place, size in enumerate(rest)
        )
    if open_ or fixed != known:
        shown = [size if isinstance(size, int) else "n" for size in wanted]
        call.mixes_pictures(f"brings the shape {('n', *given)} to {shown}")
    return tuple(_whole(call, size) for size in rest)


def broadcast_to(call: Call) -> Result:
    """`x` repeated along axes of length 1 until it has the shape."""
    x, wanted = call.operand("x"), _sizes(call, "shape")
    if isinstance(x, Value):
        if len(wanted) != x.rank + 1:
            call.mixes_pictures(f"broadcasts the shape {('n', *x.shape)} to {len(wanted)} axes")
        value = call.graph.in_keras_order(x)
        sizes = [_whole(call, size) for size in wanted[1:]]
        repeated = call.graph.integers([1, *(1 if size == -1 else size for size in sizes)])
        shape = tuple(own if size in (-1, 1) else size for own, size in zip(value.shape, sizes, strict=True))
        return call.reread(call.step.node("Expand", value.tensor, repeated), shape)
    return spread(call, x.array, wanted)


def spread(call: Call, array: NDArray[Any], wanted: Sequence[int | Pictures | Free]) -> Operand:
    """An array broadcast to a shape: known too, or a value if the batch is its first size."""
    if not wanted or not isinstance(wanted[0], Pictures):
        sizes = [_whole(call, size) for size in wanted]
        call.step.allow_table(prod(sizes))
        return call.computed(lambda given: np.broadcast_to(given, sizes), Known(array))
    if wanted[0].times != 1:
        call.mixes_pictures(f"makes numbers for {wanted[0].times} times as many pictures")
    sizes = [_whole(call, size) for size in wanted[1:]]
    batch = call.step.node("Shape", wanted[0].tensor, start=0, end=1)
    target = call.step.node("Concat", batch, call.graph.integers(sizes), axis=0) if sizes else batch
    tensor = call.step.node("Expand", call.constant(array), target)
    return call.reread(tensor, tuple(sizes))


def filled(default: float | None) -> Callable[[Call], Result]:
    """A shape full of one number: zeros, ones, fill."""

    def function(call: Call) -> Result:
        call.raw("dtype")
        fill = call.number("fill_value", 0.0) if default is None else default
        return spread(call, np.asarray(fill, np.float32), _sizes(call, "shape"))

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


def concatenate(call: Call) -> Result:
    """One behind the other along an axis."""
    return joined(call, call.operands("xs"), call.integer("axis", 0))


def joined(call: Call, operands: Sequence[Operand], axis: int) -> Operand:
    """Operands one behind the other; numbers among them are the same for every picture."""
    if not operands:
        call.unsupported("joins nothing")
    values = [operand for operand in operands if isinstance(operand, Value)]
    if not values:
        arrays = [operand.array for operand in operands if isinstance(operand, Known)]
        if any(array.ndim == 0 for array in arrays):
            call.unsupported("joins single numbers")
        call.place("axis", axis, arrays[0].ndim)
        call.step.allow_table(sum(array.size for array in arrays))
        try:
            return Known(settled(np.concatenate(arrays, axis)))
        except ValueError:
            call.unsupported("joins arrays of shapes that differ elsewhere")
    rank = values[0].rank
    place = call.place("axis", axis, rank + 1) - 1
    if place < 0:
        call.mixes_pictures("joins along the batch")
    if any(value.rank != rank for value in values):
        call.unsupported(f"joins shapes of different rank: {', '.join(str(value.shape) for value in values)}")
    moved = any(value.moved for value in values)
    order = call.graph.in_moved_order if moved else call.graph.in_keras_order
    parts = [
        order(operand) if isinstance(operand, Value) else _repeated(call, operand, values[0])
        for operand in operands
    ]
    parts = [order(part) for part in parts]
    shape: list[int | None] = []
    for at, sizes in enumerate(zip(*(part.shape for part in parts), strict=True)):
        known = [size for size in sizes if size is not None]
        if at == place:
            shape.append(sum(known) if len(known) == len(sizes) else None)
        elif len(set(known)) > 1:
            call.unsupported(
                f"joins shapes that differ elsewhere: {', '.join(str(part.shape) for part in parts)}"
            )
        else:
            shape.append(known[0] if known else None)
    tensor = call.step.node("Concat", *(part.tensor for part in parts), axis=parts[0].axis(place))
    return Value(tensor=tensor, shape=tuple(shape), channel=parts[0].channel, moved=moved)


def _repeated(call: Call, known: Known, like: Value) -> Value:
    """Numbers with a batch axis of length 1, or none, for every picture."""
    array = call.numbers(known)
    if array.ndim != like.rank + 1 or array.shape[0] != 1:
        call.mixes_pictures(f"joins an array of shape {array.shape} to pictures")
    made = spread(call, array[0], [Pictures(like.tensor), *array.shape[1:]])
    assert isinstance(made, Value)
    return made


def stack(call: Call) -> Result:
    """One behind the other along a new axis."""
    operands, axis = call.operands("xs"), call.integer("axis", 0)
    if all(isinstance(operand, Known) for operand in operands):
        arrays = [operand.array for operand in operands if isinstance(operand, Known)]
        if not arrays or len({array.shape for array in arrays}) > 1:
            call.unsupported("stacks nothing, or arrays of shapes that differ")
        call.place("axis", axis, arrays[0].ndim + 1)
        call.step.allow_table(sum(array.size for array in arrays))
        return Known(settled(np.stack(arrays, axis)))
    values = [operand for operand in operands if isinstance(operand, Value)]
    if len(values) < len(operands):
        call.unsupported("stacks numbers onto tensors, which has no translation")
    place = call.place("axis", axis, values[0].rank + 2)
    if not place:
        call.mixes_pictures("stacks pictures of several tensors into the batch")
    return joined(call, [_with_axis(call, value, place) for value in values], place)


def _with_axis(call: Call, value: Value, axis: int) -> Value:
    value = call.graph.in_keras_order(value)
    tensor = call.step.node("Unsqueeze", value.tensor, call.graph.integers([axis]))
    return call.reread(tensor, (*value.shape[: axis - 1], 1, *value.shape[axis - 1 :]))


def stacked_along(axis: int) -> Callable[[Call], Result]:
    """hstack, vstack, dstack of what has that axis already."""

    def function(call: Call) -> Result:
        operands = call.operands("xs")
        if any(isinstance(operand, Value) and operand.rank < axis for operand in operands):
            call.unsupported("stacks shapes of too few axes, which has no translation")
        return joined(call, operands, axis)

    return function


def split(call: Call) -> Result:
    """Parts along an axis: so many equal ones, or (a list) cut before these places."""
    x, cuts = call.operand("x"), call.integers("indices_or_sections")
    if cuts is None:
        call.unsupported("does not say into what it splits")
    single = np.ndim(_plain(call.raw("indices_or_sections"))) == 0
    return parts(call, x, cuts[0] if single else cuts, call.integer("axis", 0))


def split_sizes(call: Call) -> Result:
    """Parts along an axis: so many equal ones, or (a list) of these sizes, one of which may be -1."""
    x, sizes = call.operand("x"), call.integers("num_or_size_splits")
    call.raw("num")  # repeats how many there are
    if sizes is None:
        call.unsupported("does not say into what it splits")
    axis = call.integer("axis", 0)
    if np.ndim(_plain(call.raw("num_or_size_splits"))) == 0:
        return parts(call, x, sizes[0], axis)
    if -1 in sizes:
        size = _length(call, x, axis)
        sizes = [size - (sum(sizes) + 1) if entry == -1 else entry for entry in sizes]
    return parts(call, x, np.cumsum(sizes).tolist()[:-1], axis)


def parts(call: Call, x: Operand, cuts: int | list[int], axis: int) -> tuple[Operand, ...]:
    """`x` cut along an axis into so many equal parts, or before these places."""
    size = _length(call, x, axis)
    if isinstance(cuts, int):
        if cuts < 1 or size % cuts:
            call.unsupported(f"splits {size} in {cuts} equal parts")
        if cuts > MOST:
            call.unsupported(f"splits an axis in {cuts} parts, more than {MOST}")
        cuts = list(range(size // cuts, size, size // cuts)) if size else []
    if len(cuts) > size:
        call.unsupported(f"splits {size} in {len(cuts) + 1} parts")
    edges = [0, *(min(cut if cut >= 0 else max(cut + size, 0), size) for cut in cuts), size]
    if isinstance(x, Known):
        return tuple(Known(part) for part in np.split(x.array, edges[1:-1], axis))
    place = call.place("axis", axis, x.rank + 1) - 1
    return tuple(cut(call, x, place, begin, max(begin, end)) for begin, end in pairwise(edges))


def cut(call: Call, x: Value, place: int, begin: int, end: int) -> Value:
    """`x` from `begin` to before `end` along a place of its shape."""
    integers = call.graph.integers
    tensor = call.step.node("Slice", x.tensor, integers([begin]), integers([end]), integers([x.axis(place)]))
    shape = (*x.shape[:place], end - begin, *x.shape[place + 1 :])
    return Value(tensor=tensor, shape=shape, channel=x.channel, moved=x.moved)


def unstack(call: Call) -> Result:
    """Parts of length 1 along an axis, without it."""
    x, axis = call.operand("x"), call.integer("axis", 0)
    call.raw("num")
    pieces = parts(call, x, _length(call, x, axis), axis)
    if isinstance(x, Known):
        return tuple(Known(np.squeeze(piece.array, axis)) for piece in pieces if isinstance(piece, Known))
    place = call.place("axis", axis, x.rank + 1) - 1
    return tuple(without(call, piece, [place]) for piece in pieces if isinstance(piece, Value))


def tile(call: Call) -> Result:
    """The whole of it so many times along each axis."""
    x, wanted = call.operand("x"), _sizes(call, "repeats")
    if isinstance(x, Known):
        if len(wanted) == x.array.ndim and x.array.ndim and isinstance(wanted[0], Pictures):
            return _tiled_for_each(call, x.array, wanted)
        times = [_whole(call, size) for size in wanted]
        call.step.allow_table(prod([*times, *x.array.shape]))
        return call.computed(lambda array: np.tile(array, times), x)
    counts = [1] * (x.rank + 1 - len(wanted)) + list(wanted)
    if len(counts) > x.rank + 1:
        call.mixes_pictures(f"repeats {x.rank + 1} axes along {len(counts)}")
    if counts[0] != 1:
        call.mixes_pictures("repeats the pictures of a batch")
    value = call.graph.in_keras_order(x)
    times = [_whole(call, size) for size in counts]
    if min(times) < 1:
        call.unsupported(f"repeats {times} times")
    shape = tuple(
        None if size is None else size * count for size, count in zip(value.shape, times[1:], strict=True)
    )
    return call.reread(call.step.node("Tile", value.tensor, call.graph.integers(times)), shape)


def _tiled_for_each(call: Call, array: NDArray[Any], wanted: Sequence[int | Pictures | Free]) -> Operand:
    """An array of one, for each picture of the batch."""
    times = [_whole(call, size) for size in wanted[1:]]
    if array.shape[0] != 1:
        call.mixes_pictures(f"repeats an array of shape {array.shape} for the batch")
    call.step.allow_table(prod([*times, *array.shape]))
    repeated = np.tile(array[0], times) if times else array[0]
    return spread(call, repeated, [wanted[0], *repeated.shape])


def repeat(call: Call) -> Result:
    """Each entry along an axis so many times, one behind the other."""
    x, counts = call.value("x"), call.integers("repeats") or []
    if call.raw("axis") is None:
        call.mixes_pictures("repeats along all axes as one")
    (place,) = call.places("axis", x)
    size = _length(call, x, place + 1)
    if len(counts) not in (1, size) or min(counts, default=-1) < 0:
        call.unsupported(f"repeats {size} entries {brief(counts)} times")
    call.step.allow_table(size + sum(counts) * (size if len(counts) == 1 else 1))
    return picked(call, x, place, np.repeat(np.arange(size), counts))


def picked(call: Call, x: Value, place: int, indices: NDArray[np.int64]) -> Value:
    """Entries along a place of the shape, in another order or several times."""
    table = call.step.constant("indices", indices.astype(np.int64))
    tensor = call.step.node("Gather", x.tensor, table, axis=x.axis(place))
    shape = (*x.shape[:place], len(indices), *x.shape[place + 1 :])
    return Value(tensor=tensor, shape=shape, channel=x.channel, moved=x.moved)


def flip(call: Call) -> Result:
    """The other way round along axes."""
    x = call.value("x")
    places = call.places("axis", x)
    count = len(places)
    integers = call.graph.integers
    axes = [x.axis(place) for place in places]
    tensor = call.step.node(
        "Slice",
        x.tensor,
        integers([-1] * count),
        integers([-REST] * count),
        integers(axes),
        integers([-1] * count),
    )
    return call.step.like(x, tensor)


def roll(call: Call) -> Result:
    """Shifted along axes; what leaves at one end comes in at the other."""
    x, shifts = call.value("x"), call.integers("shift") or []
    axes = call.integers("axis")
    if axes is None:
        call.mixes_pictures("shifts along all axes as one")
    if len(shifts) == 1:
        shifts = shifts * len(axes)
    if len(shifts) != len(axes):
        call.unsupported("has not a shift for each axis")
    for shift, axis in zip(shifts, axes, strict=True):
        place = call.place("axis", axis, x.rank + 1) - 1
        if place < 0:
            call.mixes_pictures("shifts along the batch")
        size = _length(call, x, place + 1)
        if size and shift % size:
            halves = [
                cut(call, x, place, size - shift % size, size),
                cut(call, x, place, 0, size - shift % size),
            ]
            made = joined(call, halves, place + 1)
            assert isinstance(made, Value)
            x = made
    return x


def pad(call: Call) -> Result:
    """Numbers put before and behind along each axis: a constant, or the picture itself mirrored."""
    x = call.value("x")
    given = call.known("pad_width")
    widths = _pad_widths(call, x.rank + 1, given)
    mode = call.text("mode", "constant").lower()
    fill = call.number("constant_values", 0.0)
    if widths[0] != [0, 0]:
        call.mixes_pictures("pads the batch")
    if mode == "symmetric":
        return _mirrored(call, x, widths)
    if mode not in ("constant", "reflect", "edge"):
        call.unsupported(f"pads in mode {mode[:40]}, which has no translation")
    order = sorted(range(x.rank), key=x.axis)
    begins, ends = ([0, *(widths[place + 1][side] for place in order)] for side in (0, 1))
    extra = [call.graph.scalar(fill)] if mode == "constant" and fill else []
    tensor = call.step.node("Pad", x.tensor, call.graph.integers([*begins, *ends]), *extra, mode=mode)
    shape = tuple(
        None if size is None else size + sum(widths[place + 1]) for place, size in enumerate(x.shape)
    )
    if mode == "reflect" and any(
        size is not None and max(widths[place + 1]) >= size
        for place, size in enumerate(x.shape)
        if any(widths[place + 1])
    ):
        call.unsupported(f"mirrors more of a shape of {x.shape} than there is")
    return Value(tensor=tensor, shape=shape, channel=x.channel, moved=x.moved)


def _pad_widths(call: Call, rank: int, given: NDArray[Any] | None) -> list[list[int]]:
    """Before and behind for each axis: NumPy lets one number or pair stand for all."""
    if given is None:
        call.unsupported("does not say by how much it pads")
    try:
        spread_ = np.broadcast_to(given, (rank, 2)).tolist()
    except ValueError:
        call.unsupported(f"pads {rank} axes by an array of shape {given.shape}")
    return [[call.step.options.whole("pad_width", width, 0) for width in pair] for pair in spread_]


def _mirrored(call: Call, x: Value, widths: Sequence[Sequence[int]]) -> Value:
    """With the edge itself repeated, which ONNX's Pad cannot."""
    for place, (before, behind) in enumerate(widths[1:]):
        if not before and not behind:
            continue
        size = _length(call, x, place + 1)
        if max(before, behind) > size:
            call.unsupported(f"mirrors more of a shape of {x.shape} than there is")
        call.step.allow_table(size + before + behind)
        x = picked(call, x, place, np.pad(np.arange(size), (before, behind), mode="symmetric"))
    return x


def triangle(*, upper: bool) -> Callable[[Call], Result]:
    """tril, triu: 0 beyond the diagonal `k` of the last two axes."""

    def function(call: Call) -> Result:
        x, k = call.operand("x"), call.integer("k", 0)
        if isinstance(x, Known):
            return call.computed(lambda array: (np.triu if upper else np.tril)(array, k), x)
        if x.rank < 2:
            call.mixes_pictures("cuts a triangle out of the batch")
        value = call.graph.in_keras_order(x)
        tensor = call.step.node("Trilu", value.tensor, call.graph.integer(k), upper=int(upper))
        return call.step.like(value, tensor)

    return function


def rotated(call: Call) -> Result:
    """By `k` quarter turns in the plane of two axes, from the first towards the second."""
    x, k = call.value("array"), call.integer("k", 1) % 4
    axes = call.integers("axes") or [0, 1]
    if len(axes) != 2:
        call.unsupported("turns in a plane of other than two axes")
    first, second = (call.place("axes", axis, x.rank + 1) for axis in axes)
    if 0 in (first, second):
        call.mixes_pictures("turns the batch")
    order = list(range(x.rank + 1))
    order[first], order[second] = second, first
    sizes = {first: x.shape[first - 1], second: x.shape[second - 1]}
    if None in sizes.values():
        call.step.needs_size("turns")

    def turned(value: Value, axis: int) -> Value:
        count = value.shape[axis - 1] or 0
        call.step.allow_table(count)
        return picked(call, value, axis - 1, np.arange(count)[::-1])

    if k == 0:
        return x
    if k == 2:
        return turned(turned(x, first), second)
    return permuted(call, turned(x, second), order) if k == 1 else turned(permuted(call, x, order), second)


def _plain(value: Any) -> Any:
    return value.array if isinstance(value, Known) else value


def _length(call: Call, x: Operand, axis: int) -> int:
    """Size along an axis, batch included."""
    if isinstance(x, Known):
        return int(x.array.shape[call.place("axis", axis, x.array.ndim)])
    place = call.place("axis", axis, x.rank + 1)
    if place == 0:
        call.mixes_pictures("takes the pictures of the batch apart")
    size = x.shape[place - 1]
    if size is None:
        call.step.needs_size("takes an axis apart")
    return size


def _sizes(call: Call, name: str) -> list[int | Pictures | Free]:
    """A shape, or a count for each axis, in which the batch's size may stand."""
    return [
        -1 if entry is None
        else entry if isinstance(entry, (Pictures, Free))
        else call.step.options.whole(name, entry, -1)
        for entry in call.entries(name)
    ]  # fmt: skip


def _whole(call: Call, size: int | Pictures | Free) -> int:
    """A size that has to be known."""
    if isinstance(size, Free):
        call.step.needs_size("makes a shape")
    if isinstance(size, Pictures):
        call.mixes_pictures("takes the batch to another axis")
    return size
