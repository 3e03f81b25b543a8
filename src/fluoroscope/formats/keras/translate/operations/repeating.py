"""Functions that take numbers elsewhere along axes: tile, repeat, pad, flip, roll, turn, triangles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.known import Free, Known, Operand, Pictures
from fluoroscope.formats.keras.translate.operations.arranging import permuted, spread
from fluoroscope.formats.keras.translate.operations.call import Call, Result
from fluoroscope.formats.keras.translate.operations.joining import cut, joined
from fluoroscope.formats.keras.translate.operations.sizes import length, sizes_of, whole
from fluoroscope.formats.keras.translate.options import brief

REST = 2**62
"""The end of a slice that goes on to the end of an axis."""


def tile(call: Call) -> Result:
    """The whole of it so many times along each axis."""
    x, wanted = call.operand("x"), sizes_of(call, "repeats")
    if isinstance(x, Known):
        if len(wanted) == x.array.ndim and x.array.ndim and isinstance(wanted[0], Pictures):
            return _tiled_for_each(call, x.array, wanted)
        times = [whole(call, size) for size in wanted]
        call.step.allow_table(prod([*times, *x.array.shape]))
        return call.computed(lambda array: np.tile(array, times), x)
    counts = [1] * (x.rank + 1 - len(wanted)) + list(wanted)
    if len(counts) > x.rank + 1:
        call.mixes_pictures(f"repeats {x.rank + 1} axes along {len(counts)}")
    if counts[0] != 1:
        call.mixes_pictures("repeats the pictures of a batch")
    value = call.graph.in_keras_order(x)
    times = [whole(call, size) for size in counts]
    if min(times) < 1:
        call.unsupported(f"repeats {times} times")
    shape = tuple(
        None if size is None else size * count for size, count in zip(value.shape, times[1:], strict=True)
    )
    return call.reread(call.step.node("Tile", value.tensor, call.graph.integers(times)), shape)


def _tiled_for_each(call: Call, array: NDArray[Any], wanted: Sequence[int | Pictures | Free]) -> Operand:
    """An array of one, for each picture of the batch."""
    times = [whole(call, size) for size in wanted[1:]]
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
    size = length(call, x, place + 1)
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
        size = length(call, x, place + 1)
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
        size = length(call, x, place + 1)
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
