"""Weights of an ONNX model as arrays, each held against what it declares."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import DamagedFile, UnsupportedLayer
from fluoroscope.formats.onnx.external import External, values_elsewhere
from fluoroscope.network.budget import Budget
from fluoroscope.network.nodes import title

if TYPE_CHECKING:
    import onnx

_LARGEST_SIZE = 2**31


def weight(tensor: onnx.TensorProto, budget: Budget, external: External) -> NDArray[Any]:
    """A tensor's values, contiguous, after its declared size is checked against the budget and what is there.

    Parameters
    ----------
    external
        Files that its values may lie in.

    Raises
    ------
    DamagedFile
        It holds other data than it declares.
    RefusedFile
        Its values lie in a file that was not named.
    UnsupportedLayer
        Of a type that is no number NumPy knows.
    BudgetExceeded
        It declares more than the budget.
    """
    from onnx import TensorProto, helper, numpy_helper

    label = repr(tensor.name)
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    except (KeyError, TypeError) as error:
        raise DamagedFile(f"Weight {label} has an unknown type, {tensor.data_type}.") from error
    if any(not 0 <= size < _LARGEST_SIZE for size in tensor.dims):
        raise DamagedFile(f"Weight {label} cannot be of shape {list(tensor.dims)[:8]}.")
    declared = prod(tensor.dims) * dtype.itemsize
    budget.allow(declared, f"Weight {label}")
    if dtype.kind not in "fiub":
        raise UnsupportedLayer(f"Weight {label} is of type {dtype}, which is not shown.")
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        content = values_elsewhere(tensor, f"Weight {label}", declared, external)
        return np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(tensor.dims)
    try:
        array = np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, OverflowError) as error:
        raise DamagedFile(
            f"Weight {label} declares shape {list(tensor.dims)} of {dtype} but holds other data."
        ) from error
    if array.nbytes != declared:
        raise DamagedFile(f"Weight {label} declares {declared} bytes but holds {array.nbytes}.")
    return np.ascontiguousarray(array).reshape(array.shape)


def constant(node: onnx.NodeProto, budget: Budget) -> NDArray[Any]:
    """The value of a Constant node, as `weight`."""
    for attribute in node.attribute:
        if attribute.name == "value":
            return weight(attribute.t, budget, {})
        if attribute.name == "value_float":
            return np.array(attribute.f, np.float32)
        if attribute.name == "value_floats":
            return np.array(attribute.floats, np.float32)
        if attribute.name == "value_int":
            return np.array(attribute.i, np.int64)
        if attribute.name == "value_ints":
            return np.array(attribute.ints, np.int64)
    raise UnsupportedLayer(f"Constant {title(node)} holds no dense numbers.")
