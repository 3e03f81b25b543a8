"""Numbers that are known before any picture is: constants, and the sizes that code computes from shapes.

``tf.reshape(x, (tf.shape(x)[0], -1, 64))`` is four calls, three of which make no picture: they are computed
here, in NumPy, with a symbol for the one size that a file cannot know, the number of pictures in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.formats.keras.translate.builder import Value


@dataclass(frozen=True, slots=True)
class Pictures:
    """The number of pictures in a batch, `times` over.

    Attributes
    ----------
    tensor
        One that has the batch as its first axis.
    """

    tensor: str
    times: int = 1

    def __mul__(self, other: Any) -> Pictures | Free:
        if isinstance(other, Free):
            return other
        if not isinstance(other, (int, np.integer)):
            return NotImplemented
        return Pictures(self.tensor, self.times * int(other))

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Pictures:
        if not isinstance(other, (int, np.integer)) or not other or self.times % int(other):
            return NotImplemented
        return Pictures(self.tensor, self.times // int(other))

    __truediv__ = __floordiv__


@dataclass(frozen=True, slots=True)
class Free:
    """A size that the file leaves open, or what is computed from one."""

    def _free(self, other: Any) -> Free:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _free
    __floordiv__ = __rfloordiv__ = __truediv__ = __rtruediv__ = __mod__ = __rmod__ = _free


@dataclass(frozen=True, slots=True)
class Known:
    """An array that is the same whatever the picture is. It has no batch axis of its own.

    Attributes
    ----------
    array
        Numbers or truth values; of dtype object where `Pictures` or `Free` stand among them.
    """

    array: NDArray[Any]

    @property
    def plain(self) -> bool:
        """True when all of it are numbers."""
        return self.array.dtype != object


Operand = Value | Known
"""What a function is called on."""


def shape_of(value: Value) -> Known:
    """The shape of a value as code sees it, the batch first."""
    sizes = [Pictures(value.tensor), *(Free() if size is None else size for size in value.shape)]
    array = np.empty(len(sizes), object)
    array[:] = sizes
    return Known(array)


def settled(array: NDArray[Any]) -> NDArray[Any]:
    """The array with a number type again if nothing else is left in it."""
    if array.dtype != object or any(isinstance(entry, (Pictures, Free)) for entry in array.ravel()):
        return array
    return np.array(array.tolist())
