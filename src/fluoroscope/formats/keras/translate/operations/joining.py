"""Functions that join tensors along an axis and take them apart: concatenate, stack, split, unstack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.known import Known, Operand, Pictures, settled
from fluoroscope.formats.keras.translate.operations.arranging import spread
from fluoroscope.formats.keras.translate.operations.call import MOST, Call, Result
from fluoroscope.formats.keras.translate.operations.reducing import without
from fluoroscope.formats.keras.translate.operations.sizes import length


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
        size = length(call, x, axis)
        sizes = [size - (sum(sizes) + 1) if entry == -1 else entry for entry in sizes]
    return parts(call, x, np.cumsum(sizes).tolist()[:-1], axis)


def parts(call: Call, x: Operand, cuts: int | list[int], axis: int) -> tuple[Operand, ...]:
    """`x` cut along an axis into so many equal parts, or before these places."""
    size = length(call, x, axis)
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
    pieces = parts(call, x, length(call, x, axis), axis)
    if isinstance(x, Known):
        return tuple(Known(np.squeeze(piece.array, axis)) for piece in pieces if isinstance(piece, Known))
    place = call.place("axis", axis, x.rank + 1) - 1
    return tuple(without(call, piece, [place]) for piece in pieces if isinstance(piece, Value))


def _plain(value: Any) -> Any:
    return value.array if isinstance(value, Known) else value
