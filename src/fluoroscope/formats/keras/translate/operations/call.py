"""One call of a function on its way into the graph: its arguments by name, and what they may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.known import Free, Known, Operand, Pictures, settled
from fluoroscope.formats.keras.translate.options import brief
from fluoroscope.formats.keras.translate.step import Step
from fluoroscope.network.protocol import Shape

Result = Operand | tuple[Operand, ...]


MOST = 4096
"""Numbers in a list of axes, sizes or cuts; parts of a tensor: no network has more."""

MOST_AXES = 32
"""Of any tensor: fewer than NumPy has."""


class Call:
    """Typed access to the arguments of a function; remembers what was read.

    Parameters
    ----------
    step
        Emits nodes.
    given
        Arguments by the names that `table` has for them, decoded; those left out are missing.
    """

    def __init__(self, step: Step, given: Mapping[str, Any]) -> None:
        self.step = step
        self.graph = step.graph
        self._given = given
        self._read: set[str] = set()

    def raw(self, name: str, default: Any = None) -> Any:
        """An argument as it is; null counts as left out."""
        self._read.add(name)
        value = self._given.get(name)
        return default if value is None else value

    def operand(self, name: str) -> Operand:
        """An argument that may depend on the picture or not."""
        value = self.raw(name)
        if value is None:
            self.unsupported(f"is called without {name}")
        return self._operand(name, value)

    def optional(self, name: str) -> Operand | None:
        """The same, where it may be left out."""
        return None if self.raw(name) is None else self.operand(name)

    def operands(self, name: str) -> list[Operand]:
        """An argument that is a list of them."""
        value = self.raw(name)
        if isinstance(value, Known):
            self._few(value.array.shape[0] if value.array.ndim else MOST + 1, name)
            return [Known(settled(np.asarray(part))) for part in value.array]
        if isinstance(value, Value):
            return [value]
        if not isinstance(value, list):
            self.unsupported(f"is called with {name}={brief(value)}, not a list")
        return [self._operand(name, part) for part in cast(list[Any], value)]

    def value(self, name: str) -> Value:
        """An argument that is made from the picture."""
        operand = self.operand(name)
        if isinstance(operand, Known):
            self.unsupported(f"is called with numbers as {name}, for which it has no translation")
        return operand

    def known(self, name: str) -> NDArray[Any] | None:
        """An argument that is numbers, none of which depends on the batch; None if left out."""
        operand = self.optional(name)
        if isinstance(operand, Value):
            self.unsupported(f"is called with a tensor as {name}, which has no translation")
        return None if operand is None else self.numbers(operand, name)

    def numbers(self, operand: Known, name: str = "an argument") -> NDArray[Any]:
        """Its array, if all of it are numbers."""
        if not operand.plain:
            if any(isinstance(entry, Free) for entry in operand.array.ravel()):
                self.step.needs_size(f"takes as {name} a size")
            self.unsupported(f"takes the number of pictures in a batch as {name}: each is computed by itself")
        return operand.array

    def integers(self, name: str) -> list[int] | None:
        """An integer or a flat list of them; None if left out."""
        array = self.known(name)
        if array is None:
            return None
        self._few(array.size, name)
        return [self.step.options.whole(name, entry, -(2**31)) for entry in array.ravel().tolist()]

    def integer(self, name: str, default: int | None = None) -> int:
        """One integer."""
        found = self.integers(name)
        if found is None and default is not None:
            return default
        if found is None or len(found) != 1:
            self.unsupported(f"is called with {name}={brief(self._given.get(name))}, not one integer")
        return found[0]

    def number(self, name: str, default: float) -> float:
        """One number."""
        array = self.known(name)
        if array is None:
            return default
        if array.size != 1 or array.dtype.kind not in "fiu":
            self.unsupported(f"is called with {name}={brief(self._given.get(name))}, not one number")
        return float(array.ravel()[0])

    def flag(self, name: str, *, default: bool = False) -> bool:
        """True or false."""
        value = self.raw(name, default)
        if isinstance(value, Known) and value.array.dtype == bool and value.array.size == 1:
            value = bool(value.array.ravel()[0])
        if not isinstance(value, bool):
            self.unsupported(f"is called with {name}={brief(value)}, not true or false")
        return value

    def text(self, name: str, default: str) -> str:
        """A name."""
        value = self.raw(name, default)
        if not isinstance(value, str):
            self.unsupported(f"is called with {name}={brief(value)}, not a name")
        return value

    def axis(self, name: str, rank: int, *, default: int | None = None) -> int:
        """One axis of a shape of `rank` axes, batch included, counted from 0."""
        return self.place(name, self.integer(name, default), rank)

    def place(self, name: str, axis: int, rank: int) -> int:
        """`axis`, which may count from the end, counted from 0."""
        if not -rank <= axis < rank:
            self.unsupported(f"has {name}={axis} for {rank} axes, the batch included")
        return axis % rank

    def places(self, name: str, value: Value, *, default: Sequence[int] | None = None) -> tuple[int, ...]:
        """Axes as places in the value's shape, ascending; all of them would include the batch."""
        axes = self.integers(name)
        axes = default if axes is None else axes
        if axes is None:
            self.mixes_pictures("computes over all axes")
        found = sorted({self.place(name, axis, value.rank + 1) for axis in axes})
        if 0 in found:
            self.mixes_pictures(f"has {name}={brief(list(axes))}")
        return tuple(axis - 1 for axis in found)

    def refuse_unread(self) -> None:
        """Refuse arguments that the function has not looked at, unless they are null, false or empty."""
        for name, value in self._given.items():
            if name not in self._read and value is not None and value is not False and value != []:
                shown = "a tensor" if isinstance(value, Value) else brief(value)
                self.unsupported(f"is called with {shown} as {name[:80]}, which has no translation")

    def computed(self, function: Callable[[NDArray[Any]], Any], known: Known) -> Known:
        """What a NumPy function makes of an array."""
        return self.fold(function, known)

    def fold(self, function: Callable[..., Any], *operands: Known) -> Known:
        """What a NumPy function makes of arrays, which broadcast against each other if there are several."""
        arrays = [operand.array for operand in operands]
        try:
            # Broadcast, they make something larger than any of them.
            self.step.allow_table(prod(np.broadcast_shapes(*(array.shape for array in arrays))))
            with np.errstate(all="ignore"):
                return Known(settled(np.asarray(function(*arrays))))
        except (TypeError, ValueError, IndexError, ArithmeticError) as error:
            self.unsupported(f"computes numbers in a way that has no translation: {str(error)[:120]}")

    def constant(self, array: NDArray[Any]) -> str:
        """Numbers as a float32 tensor of the graph."""
        if array.dtype.kind not in "fiub":
            self.unsupported("is called with something that is no number")
        self.step.allow_table(array.size)
        with np.errstate(over="ignore"):
            narrow = array.astype(np.float32)
        return (
            self.graph.scalar(float(narrow)) if narrow.ndim == 0 else self.step.constant("constant", narrow)
        )

    def reread(self, tensor: str, shape: Shape) -> Value:
        """A value in Keras's order whose channels lie where the layers that read it take them."""
        if len(shape) >= MOST_AXES:
            self.unsupported(f"makes a tensor of {len(shape)} axes")
        first = self.step.reader_format == "channels_first"
        return Value(tensor=tensor, shape=shape, channel=0 if first and shape else len(shape) - 1)

    def mixes_pictures(self, what: str) -> NoReturn:
        """Give up on a function that reaches over the batch axis."""
        self.unsupported(f"{what}, which mixes the pictures of a batch: each is computed by itself here")

    def unsupported(self, what: str) -> NoReturn:
        """Give up on a call: Keras can run it and we cannot, or nobody can. What comes before it is shown."""
        self.step.unsupported(what)

    def entries(self, name: str) -> list[Any]:
        """A flat list of numbers, among which the batch's size may stand."""
        operand = self.operand(name)
        if isinstance(operand, Value):
            self.unsupported(f"takes {name} from what is in the picture, which has no translation")
        self._few(operand.array.size, name)
        return operand.array.ravel().tolist()

    def _few(self, count: int, name: str) -> None:
        if count > MOST:
            self.unsupported(f"has a {name} of {count:,} numbers")

    def _operand(self, name: str, value: Any) -> Operand:
        if isinstance(value, (Value, Known)):
            return value
        if isinstance(value, list):
            value = cast(list[Any], value)
            if any(isinstance(part, Value) for part in value):
                self.unsupported(f"is called with a list of tensors as {name}, which has no translation")
        known = as_known(value)
        if known is None:
            self.unsupported(f"is called with {name}={brief(value)}, which is no number")
        return known


def as_known(value: Any, depth: int = 0) -> Known | None:
    """A number, or nested lists of numbers and of what is known; None for anything else.

    Parameters
    ----------
    depth
        How many lists are around it; there are no arrays of more than `MOST_AXES`.
    """
    if isinstance(value, Known):
        return value
    if isinstance(value, (bool, int, float, np.ndarray, Pictures)):
        return Known(np.asarray(value))
    if not isinstance(value, list) or depth >= MOST_AXES:
        return None
    parts = [as_known(part, depth + 1) for part in cast(list[Any], value)]
    arrays = [part.array for part in parts if part is not None]
    if len(arrays) < len(parts) or len({array.shape for array in arrays}) > 1:
        return None
    if arrays and arrays[0].ndim >= MOST_AXES:
        return None
    if any(array.dtype == object for array in arrays):
        arrays = [array.astype(object) for array in arrays]
    return Known(settled(np.stack(arrays) if arrays else np.zeros(0, np.int64)))
