"""A tensor as it lies in a file: where its numbers are, and how they are laid out. Nothing is copied."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from fluoroscope.errors import DamagedFile

ITEM_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1,
    "uint8": 1, "bool": 1, "complex64": 8, "complex128": 16, "float8_e4m3fn": 1, "float8_e5m2": 1,
}  # fmt: skip
"""Types of numbers, by PyTorch's names, and their bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A tensor in a file.

    Attributes
    ----------
    dtype
        One of `ITEM_BYTES`.
    data
        The bytes of the storage that it is a part of; little-endian.
    offset, shape, strides
        In numbers, not bytes.
    """

    dtype: str
    data: memoryview
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def of(
        cls,
        name: str,
        dtype: str,
        data: memoryview,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
    ) -> StoredTensor:
        """A tensor whose numbers have been found to lie within its storage.

        Raises
        ------
        DamagedFile
            They do not.
        """
        numbers = (offset, *shape, *strides)
        if any(type(number) is not int or number < 0 for number in numbers) or len(shape) != len(strides):
            raise DamagedFile(f"Tensor {name[:80]!r} has a shape that is none.")
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if 0 not in shape and last >= len(data) // ITEM_BYTES[dtype]:
            raise DamagedFile(f"Tensor {name[:80]!r} reaches beyond its numbers.")
        return cls(dtype=dtype, data=data, offset=offset, shape=shape, strides=strides)

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers laid out one by one: a number that is repeated counts each time."""
        return prod(self.shape) * ITEM_BYTES[self.dtype]


def packed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a tensor whose numbers lie one behind the other."""
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))
