"""What a node makes of the shapes it takes: ONNX's inference, set right where onnxruntime does otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import BudgetExceeded, DamagedFile, UnsupportedLayer
from fluoroscope.network.nodes import integer, integers, reads, text, title
from fluoroscope.network.tensors import TensorType, from_onnx, to_onnx

if TYPE_CHECKING:
    import onnx

_SIZES: Mapping[str, tuple[int, ...]] = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (3,),
}
_FACTORS: Mapping[str, tuple[int, ...]] = {"Resize": (1, 2), "Tile": (1,), "Upsample": (1,)}
"""Operators that take sizes, or factors of sizes, as values -> which of their inputs."""

_LARGEST_SIZE, _LARGEST_FACTOR = 2**40, 2**24
"""What is larger is not passed on: no product of a size and a factor can overflow in ONNX's C++."""

_BY_VALUE = frozenset({*_SIZES, *_FACTORS})

_Types = Mapping[str, TensorType]
_Made = dict[str, TensorType | None]


class Inference:
    """Shape inference, a node at a time, for one operator set."""

    def __init__(self, opset: int) -> None:
        from onnx import checker, helper, numpy_helper, shape_inference

        self._opset = opset
        self._imports = [helper.make_opsetid("", opset)]
        self._infer = shape_inference.infer_node_outputs
        self._constant = numpy_helper.from_array
        # RuntimeError and ValueError are what its C++ throws beside its own errors.
        self._errors = (
            shape_inference.InferenceError, checker.ValidationError, RuntimeError, ValueError
        )  # fmt: skip

    def infer(self, node: onnx.NodeProto, types: _Types, values: Mapping[str, NDArray[Any]]) -> _Made:
        """Types of what the node makes, by tensor name; None where the rank is not known.

        Parameters
        ----------
        types
            Of all that the node takes.
        values
            Of what it takes, as far as they are known.

        Raises
        ------
        DamagedFile
            The node cannot take that.
        UnsupportedLayer
            The operator set has no such operator.
        BudgetExceeded
            The node is told to make something of a size beyond all measure.
        """
        schema = _schema(node.op_type, self._opset)
        if schema is None:
            raise UnsupportedLayer(
                f"Node {title(node)}: operator set {self._opset} of ONNX has no {node.op_type}."
            )
        _check_sizes(node, values)
        constants = {
            name: self._constant(values[name])
            for name in reads(node)
            if name in values and (node.op_type in _BY_VALUE or values[name].dtype.kind in "iu")
        }
        protos = {name: to_onnx(types[name]) for name in reads(node)}
        try:
            made = self._infer(schema, node, protos, constants, opset_imports=self._imports)
        except self._errors as error:
            taken = ", ".join(str(types[name]) for name in reads(node))
            raise DamagedFile(f"Node {title(node)} cannot take {taken}: {_plain(error)}") from error
        found = {name: from_onnx(proto) for name, proto in made.items()}
        if any(kind is not None and min((0, *filter(None, kind.shape))) < 0 for kind in found.values()):
            raise DamagedFile(f"Node {title(node)} makes a tensor of negative size.")
        correct = _CORRECTIONS.get(node.op_type)
        return found if correct is None else correct(node, types, found)


def _check_sizes(node: onnx.NodeProto, values: Mapping[str, NDArray[Any]]) -> None:
    for places, largest in (
        (_SIZES.get(node.op_type, ()), _LARGEST_SIZE),
        (_FACTORS.get(node.op_type, ()), _LARGEST_FACTOR),
    ):
        arrays = [values.get(node.input[place]) for place in places if place < len(node.input)]
        for array in arrays:
            if array is not None and not (np.abs(array.astype(np.float64)) < largest).all():
                raise BudgetExceeded(
                    f"Node {title(node)} is to make a tensor of size {array.ravel().tolist()[:8]}: no memory "
                    "budget allows that. Nothing was allocated."
                )


@cache
def _schema(operator: str, opset: int) -> Any:
    from onnx import defs

    return defs.get_schema(operator, opset, "") if defs.has(operator, opset, "") else None


def _plain(error: Exception) -> str:
    """The first line, without the names of C++ files in it."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line.split("] ")[-1][:300]


def _convolved(node: onnx.NodeProto, types: _Types, found: _Made) -> _Made:
    """Kernels must fit the channels, and be no larger than what they move over; ONNX lets them."""
    taken, kernel = types[node.input[0]], types[node.input[1]]
    depth = (kernel.shape[1] or 0) * integer(node, "group", 1) if len(kernel.shape) > 1 else 0
    if len(kernel.shape) != len(taken.shape) or taken.shape[1] not in (None, depth):
        raise DamagedFile(
            f"Node {title(node)} has kernels {kernel}, which do not fit what it is given, {taken}."
        )
    _check_windows(node, taken, integers(node, "kernel_shape") or [size or 1 for size in kernel.shape[2:]])
    return found


def _pooled(node: onnx.NodeProto, types: _Types, found: _Made) -> _Made:
    """Rounding up, a last window that begins behind the picture is left out.

    ONNX counts it up to operator set 21, https://github.com/onnx/onnx/issues/5711.
    """
    taken = types[node.input[0]]
    _check_windows(node, taken, integers(node, "kernel_shape") or [])
    if not integer(node, "ceil_mode", 0):
        return found
    rank = len(taken.shape) - 2
    strides = integers(node, "strides") or [1] * rank
    begins = (integers(node, "pads") or [0] * rank)[:rank]

    def dropped(kind: TensorType) -> TensorType:
        sizes = [
            out - 1
            if out is not None and extent is not None and (out - 1) * stride >= extent + begin
            else out
            for out, extent, stride, begin in zip(
                kind.shape[2:], taken.shape[2:], strides, begins, strict=False
            )
        ]
        return replace(kind, shape=(*kind.shape[:2], *sizes))

    return {name: kind and dropped(kind) for name, kind in found.items()}


def _check_windows(node: onnx.NodeProto, taken: TensorType, sizes: list[int]) -> None:
    rank = len(taken.shape) - 2
    if text(node, "auto_pad", "NOTSET").startswith("SAME"):
        return
    pads = integers(node, "pads") or [0] * (2 * rank)
    dilations = integers(node, "dilations") or [1] * rank
    numbers = zip(taken.shape[2:], sizes, dilations, pads[:rank], pads[rank:], strict=False)
    if any(
        extent is not None and extent + begin + end < (size - 1) * dilation + 1
        for extent, size, dilation, begin, end in numbers
    ):
        raise DamagedFile(
            f"Node {title(node)} has windows of {sizes}, larger than what it is given, {taken}."
        )


def _transposed(node: onnx.NodeProto, types: _Types, found: _Made) -> _Made:
    """For an output_shape smaller than the input ONNX leaves axes out."""
    rank = len(types[node.input[0]].shape)
    return {name: kind if kind and len(kind.shape) == rank else None for name, kind in found.items()}


def _reshaped(node: onnx.NodeProto, types: _Types, found: _Made) -> _Made:
    """ONNX believes a shape that holds more or less than there is."""
    before, after = types[node.input[0]], found.get(node.output[0])
    if after and before.known and after.known and after.elements != before.elements:
        raise DamagedFile(f"Node {title(node)} cannot make {list(after.shape)} of {list(before.shape)}.")
    return found


def _kept(node: onnx.NodeProto, types: _Types, found: _Made) -> _Made:
    """Nothing is inferred for what ONNX has as a function of other operators."""
    return {node.output[0]: types[node.input[0]]}


_CORRECTIONS: dict[str, Callable[[onnx.NodeProto, _Types, _Made], _Made]] = {
    "Conv": _convolved,
    **dict.fromkeys(("AveragePool", "LpPool", "MaxPool"), _pooled),
    "ConvTranspose": _transposed,
    "Reshape": _reshaped,
    **dict.fromkeys(("GroupNormalization", "MeanVarianceNormalization"), _kept),
}
