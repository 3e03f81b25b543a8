"""Sizes in the arguments of functions: of axes, of shapes, and the batch's among them."""

from __future__ import annotations

from fluoroscope.formats.keras.translate.known import Free, Known, Operand, Pictures
from fluoroscope.formats.keras.translate.operations.call import Call


def length(call: Call, x: Operand, axis: int) -> int:
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


def sizes_of(call: Call, name: str) -> list[int | Pictures | Free]:
    """A shape, or a count for each axis, in which the batch's size may stand."""
    return [
        -1 if entry is None
        else entry if isinstance(entry, (Pictures, Free))
        else call.step.options.whole(name, entry, -1)
        for entry in call.entries(name)
    ]  # fmt: skip


def whole(call: Call, size: int | Pictures | Free) -> int:
    """A size that has to be known."""
    if isinstance(size, Free):
        call.step.needs_size("makes a shape")
    if isinstance(size, Pictures):
        call.mixes_pictures("takes the batch to another axis")
    return size
