"""The layer table of an ONNX graph: its inputs, and each operator that makes values of a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from fluoroscope.formats.onnx_operators import (
    CHANNELS_LAST,
    CHANNELS_SECOND,
    FAMILIES,
    SEVERAL_OUTPUTS,
    SHAPE_ONLY,
)
from fluoroscope.network.graph import GraphInput, LayerOutput
from fluoroscope.network.nodes import integer, integers
from fluoroscope.network.protocol import Layer, Shape
from fluoroscope.network.tracing import Trace

if TYPE_CHECKING:
    import onnx

_NUMBERS = frozenset("fiub")
_NO_PARAMETERS = frozenset("Clip Dropout Pad Pow Resize Upsample".split())
"""Operators whose constants are settings: bounds, scales, a filling value."""

_QUANTIZED: Mapping[str, tuple[int, ...]] = {
    "ConvInteger": (1,),
    "DequantizeLinear": (0,),
    "MatMulInteger": (1,),
    "QLinearConv": (3, 8),
    "QLinearMatMul": (3,),
    "QuantizeLinear": (0,),
}
"""Operators on quantized numbers -> which of their inputs may be weights; others are scales and offsets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is known of a graph's tensors.

    Attributes
    ----------
    traced
        For one picture.
    shapes
        Of a tensor, batch included, None for a size that varies with the picture's; no entry where the rank
        is not known.
    mixed
        Tensors whose first axis is not the batch.
    problems
        Tensors that cannot be computed -> why.
    """

    traced: Trace
    shapes: Mapping[str, tuple[int | None, ...]]
    mixed: frozenset[str]
    problems: Mapping[str, str]


def layer_rows(
    nodes: Iterable[onnx.NodeProto],
    weights: Mapping[str, NDArray[Any]],
    inputs: Sequence[GraphInput],
    found: Findings,
) -> list[LayerOutput]:
    """The inputs, and one row for each operator whose output is a picture's, in the nodes' order.

    Shapes, scalars and what is made of weights alone are no layers; what uses them is connected past them.
    """
    table = _Table(weights, found)
    for entry in inputs:
        table.add_input(entry)
    for node in nodes:
        table.add_node(node)
    return table.rows


class _Table:
    def __init__(self, weights: Mapping[str, NDArray[Any]], found: Findings) -> None:
        self.rows: list[LayerOutput] = []
        self._found = found
        self._names: dict[str, int] = {}
        self._sources: dict[str, tuple[str, ...]] = {}
        self._axes: dict[str, int] = {}
        # A constant tensor -> the weights it is made of; each counts where it is used first.
        self._made_of: dict[str, frozenset[str]] = {name: frozenset({name}) for name in weights}
        self._weights = weights
        self._quantized: set[str] = set()
        self._counted: set[str] = set()

    def add_input(self, entry: GraphInput) -> None:
        name = self._unique(entry.layer)
        shape = channels_last(entry.shape, entry.channel_axis)
        layer = Layer(name=name, kind="Input", family="input", shape=shape)
        self.rows.append(LayerOutput(layer=layer, tensor=entry.tensor, channel_axis=entry.channel_axis))
        self._sources[entry.tensor] = (name,)
        self._axes[entry.tensor] = entry.channel_axis

    def add_node(self, node: onnx.NodeProto) -> None:
        takes = tuple(dict.fromkeys(name for tensor in node.input for name in self._sources.get(tensor, ())))
        if not takes:
            parts = [self._made_of.get(name, frozenset[str]()) for name in _parameters_of(node)]
            made_of = frozenset[str]().union(*parts)
            self._made_of.update((name, made_of) for name in node.output if name)
            if node.op_type in _QUANTIZED:
                self._quantized |= made_of
            return
        if node.op_type in SHAPE_ONLY:
            return
        for place, tensor in enumerate(node.output):
            if not tensor or tensor in self._found.traced.values:
                continue
            if place == 0 or self._is_further_output(node, tensor):
                self._add(node, tensor, takes)
            else:
                self._sources[tensor] = takes

    def _is_further_output(self, node: onnx.NodeProto, tensor: str) -> bool:
        kind = self._found.traced.types.get(tensor)
        floats = kind is not None and kind.dtype.kind == "f"
        return floats and node.op_type in SEVERAL_OUTPUTS and tensor not in self._found.mixed

    def _add(self, node: onnx.NodeProto, tensor: str, takes: tuple[str, ...]) -> None:
        dims = self._found.shapes.get(tensor)
        problem = self._found.problems.get(tensor)
        axis = self._axes[tensor] = 1 if dims is None else self._axis(node, tensor, dims)
        kind = self._found.traced.types.get(tensor)
        numbers = kind is None or kind.dtype.kind in _NUMBERS
        if (dims is not None and len(dims) < 2) or not numbers:
            # Not values of a picture. What uses it still knows where it came from.
            self._sources[tensor] = takes
            return
        if problem is None and tensor in self._found.mixed:
            problem = (
                f"the first axis of its output, {list(dims or ())}, is not the batch: what belongs to which "
                "picture cannot be said."
            )
        if problem is None and dims is not None and 0 in dims:
            problem = f"its output is empty: {list(dims)}."
        parameters, trainable = self._parameters(node)
        family = FAMILIES.get(node.op_type, "other")
        name = self._unique((node.name or tensor).strip("/") or node.op_type)
        layer = Layer(
            name=name,
            kind=node.op_type,
            # An operation with a constant merges nothing.
            family="other" if family == "merge" and len(takes) < 2 else family,
            shape=() if dims is None or problem else channels_last(dims, axis),
            parameters=parameters,
            trainable=trainable,
            inputs=takes,
            problem=problem,
        )
        self.rows.append(LayerOutput(layer=layer, tensor=None if problem else tensor, channel_axis=axis))
        self._sources[tensor] = (name,)

    def _unique(self, name: str) -> str:
        """The name, with the number of its occurrence if it is there already: ``conv#2``."""
        candidate = name
        while candidate in self._names:
            self._names[name] += 1
            candidate = f"{name}#{self._names[name]}"
        self._names[candidate] = 1
        return candidate

    def _parameters(self, node: onnx.NodeProto) -> tuple[int, int]:
        """How many weights this operator is the first to use, and how many of them training changes."""
        total = trainable = 0
        for place, tensor in enumerate(_parameters_of(node)):
            for name in self._made_of.get(tensor, frozenset[str]()) - self._counted:
                array = self._weights[name]
                # Whole numbers are sizes and places, unless they stand for others.
                if array.dtype.kind == "f" or name in self._quantized or node.op_type in _QUANTIZED:
                    self._counted.add(name)
                    total += array.size
                    # Mean and variance, the last two, are measured, not trained.
                    trainable += 0 if node.op_type == "BatchNormalization" and place > 2 else array.size
        return total, trainable

    def _axis(self, node: onnx.NodeProto, tensor: str, dims: tuple[int | None, ...]) -> int:
        """Where the channels of a node's output lie, followed from operator to operator."""
        rank = len(dims)
        if rank <= 2:
            return rank - 1
        if node.op_type in CHANNELS_SECOND:
            return 1
        if node.op_type in CHANNELS_LAST and not self._is_along_axis(node, rank):
            return rank - 1
        shapes = self._found.shapes
        known = next(
            (name for name in node.input if name in self._axes and len(shapes.get(name, ())) == rank), None
        )
        if known is None or node.op_type == "Reshape":
            before = shapes.get(node.input[0], ())
            kept = self._axes.get(node.input[0], 1) == 1 and len(before) > 1 and before[1] == dims[1]
            return 1 if kept or rank >= 4 else rank - 1
        axis = self._axes[known]
        if node.op_type == "Transpose":
            order = integers(node, "perm") or list(range(rank))[::-1]
            return (order.index(axis) if axis in order else 0) or rank - 1
        return axis

    def _is_along_axis(self, node: onnx.NodeProto, rank: int) -> bool:
        """True for a Gather of what is no table of weights, and for a normalization not of the last axis."""
        if node.op_type == "Gather":
            return node.input[0] in self._axes
        return node.op_type == "LayerNormalization" and integer(node, "axis", -1) % rank != rank - 1


def _parameters_of(node: onnx.NodeProto) -> Sequence[str]:
    """Inputs that may be trained weights; scales and zero points of quantized ones are not."""
    if node.op_type in _NO_PARAMETERS:
        return ()
    places = _QUANTIZED.get(node.op_type)
    return (
        node.input if places is None else [node.input[place] for place in places if place < len(node.input)]
    )


def channels_last(dims: tuple[int | None, ...], axis: int) -> Shape:
    """A tensor's shape (batch first) as a layer shape: without batch, channels last."""
    if len(dims) < 2:
        return ()
    rest = [size for position, size in enumerate(dims) if position not in (0, axis)]
    return (*rest, dims[axis])
