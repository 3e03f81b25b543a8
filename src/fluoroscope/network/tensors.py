"""Element type and shape of a tensor, and ONNX's way to say them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class TensorType:
    """Element type and shape of a tensor, batch included; None for a size that is not known."""

    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]

    @property
    def known(self) -> bool:
        """True when every size is."""
        return None not in self.shape

    @property
    def elements(self) -> int:
        """How many values; a size that is not known counts as 1."""
        return prod(1 if size is None else size for size in self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes; a size that is not known counts as 1."""
        return self.elements * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


@lru_cache(maxsize=4096)
def to_onnx(kind: TensorType) -> onnx.TypeProto:
    """As ONNX says it. Not to be changed: it is kept."""
    from onnx import helper

    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(kind.dtype), kind.shape)


def from_onnx(proto: onnx.TypeProto) -> TensorType | None:
    """None for what is no tensor, or of a rank or type that is not known."""
    if not proto.HasField("tensor_type") or not proto.tensor_type.HasField("shape"):
        return None
    dtype = numpy_type(proto.tensor_type.elem_type)
    if dtype is None:
        return None
    dims = proto.tensor_type.shape.dim
    return TensorType(dtype, tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims))


@cache
def numpy_type(element: int) -> np.dtype[Any] | None:
    """NumPy's type for ONNX's number of one; None where NumPy has none."""
    from onnx import helper

    try:
        return np.dtype(helper.tensor_dtype_to_np_dtype(element))
    except (KeyError, TypeError):
        return None
