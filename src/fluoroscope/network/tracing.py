"""What is known of a graph's tensors before it is run: types, shapes, and the small numbers sizes come from.

One walk over the nodes. ONNX's own inference says what each node makes of the shapes it takes; numbers that
depend on shapes alone (``Shape``, ``Gather``, ``Concat``... down to the target of a ``Reshape``) are computed
on the way, in NumPy. Each tensor is held against the budget as soon as its size is known, before the next
node can make a larger one of it; nothing of the sizes named is ever allocated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import BudgetExceeded, DamagedFile, UnsupportedLayer
from fluoroscope.network.budget import Budget
from fluoroscope.network.folding import FOLDABLE, SMALL, fold
from fluoroscope.network.nodes import integer, integers, reads, title

if TYPE_CHECKING:
    import onnx

_HUGE = 2**30
"""No size, count or factor is larger: products of two of them cannot overflow in the inference."""

_SIZES: Mapping[str, tuple[int, ...]] = {
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Tile": (1,),
    "Upsample": (1,),
}
"""Operators that take sizes, or factors of sizes, as values -> which of their inputs."""


_POOLS = frozenset({"AveragePool", "LpPool", "MaxPool"})

_SHAPE_KEPT = frozenset({"GroupNormalization", "MeanVarianceNormalization"})
"""Operators that ONNX's inference knows nothing of, because it has them as functions of other operators."""


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


@dataclass(frozen=True, slots=True)
class Trace:
    """What is known of a graph's tensors, for inputs of certain shapes.

    Attributes
    ----------
    types
        Of every tensor whose rank is known: inputs, weights, what nodes make.
    values
        Small tensors whose values depend on nothing but weights and shapes.
    unknown
        Tensors of which no size can be known before the graph is run -> the node that is to blame.
    """

    types: Mapping[str, TensorType] = field(default_factory=dict[str, TensorType])
    values: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    unknown: Mapping[str, str] = field(default_factory=dict[str, str])


def trace(
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, NDArray[Any]],
    inputs: Mapping[str, TensorType],
    opset: int,
    budget: Budget,
    *,
    forgiving: bool = False,
) -> Trace:
    """Walk over `nodes`, which are in topological order.

    Parameters
    ----------
    inputs
        Of the graph, by tensor name. A size may be None: what follows from it is then None too.
    budget
        Bound for every single tensor.
    forgiving
        Of a node that cannot take what it is given nothing is known then, and nothing is raised.

    Raises
    ------
    DamagedFile
        A node cannot take what it is given, by shape or type.
    UnsupportedLayer
        An operator that this operator set does not have.
    BudgetExceeded
        A tensor is over the budget.
    """
    walk = _Walk(weights, inputs, opset, budget, forgiving=forgiving)
    for node in nodes:
        walk.step(node)
    return Trace(walk.types, walk.values, walk.unknown)


class _Walk:
    def __init__(
        self,
        weights: Mapping[str, NDArray[Any]],
        inputs: Mapping[str, TensorType],
        opset: int,
        budget: Budget,
        *,
        forgiving: bool,
    ) -> None:
        from onnx import checker, helper, numpy_helper, shape_inference

        self._invalid = checker.ValidationError
        self._proto_of_array = numpy_helper.from_array
        self._inference = shape_inference
        self._opset = opset
        self._budget = budget
        self._forgiving = forgiving
        self._imports = [helper.make_opsetid("", opset)]
        self.types: dict[str, TensorType] = dict(inputs)
        self.types.update((name, TensorType(array.dtype, array.shape)) for name, array in weights.items())
        self.values = {name: array for name, array in weights.items() if array.size <= SMALL}
        self.unknown: dict[str, str] = {}
        self._protos = {name: _proto(kind) for name, kind in inputs.items()}

    def step(self, node: onnx.NodeProto) -> None:
        culprit = next((self.unknown[name] for name in reads(node) if name in self.unknown), None)
        if culprit is not None:
            self.unknown.update((name, culprit) for name in node.output if name)
            return
        free = any(not self.types[name].known for name in reads(node))
        try:
            made = self._infer(node)
        except DamagedFile:
            if not self._forgiving:
                raise
            made = {}
        for name in filter(None, node.output):
            proto = made.get(name)
            kind = _tensor_type(proto) if proto is not None else None
            # For an output_shape smaller than its input, ONNX's inference leaves axes out.
            short = node.op_type == "ConvTranspose" and kind and len(kind.shape) < len(self._shape(node, 0))
            if proto is None or kind is None or (not kind.known and not free) or short:
                self.unknown[name] = title(node)
                continue
            if any(size is not None and size < 0 for size in kind.shape):
                raise DamagedFile(f"Node {title(node)} makes a tensor of negative size, {list(kind.shape)}.")
            if kind.nbytes > self._budget.memory:
                self._budget.allow(kind.nbytes, f"What node {title(node)} makes, {list(kind.shape)},")
            self.types[name], self._protos[name] = kind, proto
        self._fold(node)

    def _infer(self, node: onnx.NodeProto) -> Mapping[str, onnx.TypeProto]:
        """Types of what the node makes, by ONNX's inference."""
        schema = _schema(node.op_type, self._opset)
        if schema is None:
            raise UnsupportedLayer(
                f"Node {title(node)}: operator set {self._opset} of ONNX has no {node.op_type}."
            )
        _check_sizes(node, self.values)
        constants = {
            name: self._proto_of_array(self.values[name])
            for name in reads(node)
            if name in self.values and (node.op_type in _SIZES or self.values[name].dtype.kind in "iu")
        }
        try:
            made = self._inference.infer_node_outputs(
                schema,
                node,
                {name: self._proto_of(name) for name in reads(node)},
                constants,
                opset_imports=self._imports,
            )
        except (self._inference.InferenceError, self._invalid, RuntimeError, ValueError) as error:
            # RuntimeError and ValueError are what its C++ throws beside its own errors.
            raise DamagedFile(
                f"Node {title(node)} cannot take {self._taken(node)}: {_plain(error)}"
            ) from error
        if node.op_type in _SHAPE_KEPT:
            return {node.output[0]: self._proto_of(node.input[0])}
        if node.op_type in _POOLS and integer(node, "ceil_mode", 0):
            for proto in made.values():
                _drop_empty_windows(node, self._shape(node, 0), proto)
        if node.op_type == "Reshape":
            self._check_reshape(node, made)
        return made

    def _check_reshape(self, node: onnx.NodeProto, made: Mapping[str, onnx.TypeProto]) -> None:
        """ONNX's inference believes a shape that holds more or less than there is."""
        before, after = self.types[node.input[0]], _tensor_type(made[node.output[0]])
        if after and before.known and after.known and after.elements != before.elements:
            raise DamagedFile(f"Node {title(node)} cannot make {list(after.shape)} of {list(before.shape)}.")

    def _proto_of(self, name: str) -> onnx.TypeProto:
        proto = self._protos.get(name)
        if proto is None:
            proto = self._protos[name] = _proto(self.types[name])
        return proto

    def _shape(self, node: onnx.NodeProto, place: int) -> tuple[int | None, ...]:
        return self.types[node.input[place]].shape

    def _taken(self, node: onnx.NodeProto) -> str:
        return ", ".join(f"{self.types[name].dtype}{list(self.types[name].shape)}" for name in reads(node))

    def _fold(self, node: onnx.NodeProto) -> None:
        """Compute what the node makes, if it depends on shapes alone and is small."""
        name = node.output[0]
        kind = self.types.get(name)
        if node.op_type not in FOLDABLE or kind is None or not kind.known or kind.elements > SMALL:
            return
        if node.op_type in ("Shape", "Size"):
            shape = self._shape(node, 0)
            arrays = [np.array(shape, np.int64)] if None not in shape else []
        else:
            arrays = [self.values.get(name) if name else None for name in node.input]
        if not arrays or any(name and array is None for name, array in zip(node.input, arrays, strict=False)):
            return
        value = fold(node, arrays)
        # Where NumPy and ONNX disagree on what comes out, nothing is claimed to be known.
        if value is not None and (value.dtype, value.shape) == (kind.dtype, kind.shape):
            self.values[name] = value


def _drop_empty_windows(node: onnx.NodeProto, taken: tuple[int | None, ...], made: onnx.TypeProto) -> None:
    """Rounding up, a last window that begins behind the picture is left out.

    ONNX's inference counts it (https://github.com/onnx/onnx/issues/5711), onnxruntime does not.
    """
    rank = len(taken) - 2
    strides = integers(node, "strides") or [1] * rank
    pads = integers(node, "pads") or [0] * rank
    dims = list(made.tensor_type.shape.dim)[2:]
    for dim, extent, stride, begin in zip(dims, taken[2:], strides, pads, strict=False):
        if extent is not None and dim.dim_value and (dim.dim_value - 1) * stride >= extent + begin:
            dim.dim_value -= 1


def _check_sizes(node: onnx.NodeProto, values: Mapping[str, NDArray[Any]]) -> None:
    for place in _SIZES.get(node.op_type, ()):
        array = values.get(node.input[place]) if place < len(node.input) else None
        if array is not None and not (np.abs(array.astype(np.float64)) < _HUGE).all():
            raise BudgetExceeded(
                f"Node {title(node)} is to make a tensor of size {array.ravel().tolist()[:8]}: no memory "
                "budget allows that. Nothing was allocated."
            )


@cache
def _schema(operator: str, opset: int) -> Any:
    from onnx import defs

    return defs.get_schema(operator, opset, "") if defs.has(operator, opset, "") else None


def _proto(kind: TensorType) -> onnx.TypeProto:
    from onnx import helper

    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(kind.dtype), kind.shape)


@cache
def _numpy_type(element: int) -> np.dtype[Any] | None:
    from onnx import helper

    try:
        return np.dtype(helper.tensor_dtype_to_np_dtype(element))
    except (KeyError, TypeError):
        return None


def _tensor_type(proto: onnx.TypeProto) -> TensorType | None:
    """None for what is no tensor, or of a rank or type that is not known."""
    if not proto.HasField("tensor_type") or not proto.tensor_type.HasField("shape"):
        return None
    dtype = _numpy_type(proto.tensor_type.elem_type)
    if dtype is None:
        return None
    dims = proto.tensor_type.shape.dim
    return TensorType(dtype, tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims))


def _plain(error: Exception) -> str:
    """The first line, without the names of C++ files in it."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line.split("] ")[-1][:300]
