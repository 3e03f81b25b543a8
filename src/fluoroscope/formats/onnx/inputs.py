"""The inputs of an ONNX model: which axis holds the channels, which sizes are free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import UnsupportedLayer
from fluoroscope.formats.onnx.operators import CHANNELS_SECOND, KEEPS_LAYOUT, SHAPE_ONLY
from fluoroscope.network.graph import GraphInput
from fluoroscope.network.nodes import integer, integers

if TYPE_CHECKING:
    import onnx

_TYPES = frozenset({"float32", "float16", "float64", "uint8", "int8", "int32", "int64"})
_COLOURS = (1, 3, 4)


def graph_input(
    value: onnx.ValueInfoProto,
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, NDArray[Any]],
    size: tuple[int, int] | None,
) -> GraphInput:
    """An input as the network takes it.

    Parameters
    ----------
    nodes, weights
        Of the whole graph: what is first done with the input tells its layout.
    size
        Height and width for a picture that leaves them open.

    Raises
    ------
    UnsupportedLayer
        For what is no tensor of numbers with a batch axis.
    """
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise UnsupportedLayer(f"Input {value.name!r} is no tensor of known rank.")
    dtype = _numpy_name(tensor.elem_type)
    if dtype not in _TYPES:
        raise UnsupportedLayer(f"Input {value.name!r} is of type {dtype}; numbers are wanted.")
    # A size of 0 or less is an exporter's way to say that it is free.
    dims = [dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim]
    if not dims:
        raise UnsupportedLayer(f"Input {value.name!r} has no batch axis.")
    axis, channels = _layout(value.name, dims, nodes, weights)
    if dims[axis] is None and axis:
        dims[axis] = channels
    if size is not None and len(dims) == 4:
        for position, side in zip([place for place in (1, 2, 3) if place != axis], size, strict=True):
            dims[position] = side
    return GraphInput(tensor=value.name, layer=value.name, shape=tuple(dims), channel_axis=axis, dtype=dtype)


def _numpy_name(element: int) -> str:
    from onnx import helper

    try:
        return str(np.dtype(helper.tensor_dtype_to_np_dtype(element)))
    except (KeyError, TypeError):
        return "unknown"


def _layout(
    name: str,
    dims: Sequence[int | None],
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, NDArray[Any]],
) -> tuple[int, int | None]:
    """The axis of the channels, and how many the first convolution takes, if there is one."""
    rank = len(dims)
    reached = {name}
    for node in nodes:
        if rank < 3 or reached.isdisjoint(node.input) or node.op_type in SHAPE_ONLY:
            continue
        if node.op_type in CHANNELS_SECOND:
            kernel = weights.get(node.input[1]) if node.op_type == "Conv" else None
            if kernel is None or kernel.ndim != rank:
                return 1, None
            return 1, kernel.shape[1] * integer(node, "group", 1)
        if node.op_type == "Transpose":
            # Exporters turn a picture so that its channels come second, or, for a dense layer, last.
            order = integers(node, "perm") or []
            if order in ([0, rank - 1, *range(1, rank - 1)], [0, *range(2, rank), 1]):
                return order[1] if order[1] == rank - 1 else 1, None
            break
        if node.op_type not in KEEPS_LAYOUT:
            break
        reached.update(node.output)
    return _usual_axis(dims), None


def _usual_axis(dims: Sequence[int | None]) -> int:
    """Channels second, unless only the last axis can be the colours.

    Pictures have more places than colours, and are square more often than not.
    """
    if len(dims) == 3:
        return 2
    if len(dims) != 4:
        return min(1, len(dims) - 1)
    first, second, last = dims[1:]
    colours = last in _COLOURS and first not in _COLOURS and (first is None or first > last)
    square = second is not None and second == last
    return 3 if colours and not square else 1
