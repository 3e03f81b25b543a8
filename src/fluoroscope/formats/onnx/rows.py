"""The layer table of an ONNX graph: its inputs, and each unit that makes values of a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from fluoroscope.formats.onnx.operators import (
    CHANNELS_LAST,
    CHANNELS_SECOND,
    FAMILIES,
    RECURRENT,
    SEVERAL_OUTPUTS,
    SHAPE_ONLY,
)
from fluoroscope.formats.onnx.scopes import Scopes
from fluoroscope.formats.onnx.units import Unit, Units
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
    single
        Whether one picture is run at a time: then whatever is made is that picture's.
    problems
        Tensors that cannot be computed -> why.
    """

    traced: Trace
    shapes: Mapping[str, tuple[int | None, ...]]
    mixed: frozenset[str]
    single: bool
    problems: Mapping[str, str]


def layer_rows(
    nodes: Iterable[onnx.NodeProto],
    units: Units,
    where: Scopes,
    weights: Mapping[str, NDArray[Any]],
    inputs: Sequence[GraphInput],
    found: Findings,
) -> list[LayerOutput]:
    """The inputs, and one row for each unit whose value is a picture's, in the order of their last nodes.

    Shapes, scalars and what is made of weights alone are no layers; what uses them is connected past them.

    Parameters
    ----------
    nodes
        In topological order.
    units, where
        Which of them are a layer together, and where they stand.
    weights, inputs
        Of the graph.
    found
        What is known of its tensors.
    """
    table = _Table(units, where, weights, found)
    for entry in inputs:
        table.add_input(entry)
    for node in nodes:
        table.add_node(node)
    return table.sorted()


class _Table:
    def __init__(
        self, units: Units, where: Scopes, weights: Mapping[str, NDArray[Any]], found: Findings
    ) -> None:
        self.rows: list[LayerOutput] = []
        self._found = found
        self._where = where
        self._names: dict[str, int] = {}
        self._sources: dict[str, tuple[str, ...]] = {}
        self._axes: dict[str, int] = {}
        # A constant tensor -> the weights it is made of; each counts where it is used first.
        self._made_of: dict[str, frozenset[str]] = {name: frozenset({name}) for name in weights}
        self._weights = weights
        self._quantized: set[str] = set()
        self._counted: set[str] = set()
        shown = [unit for unit in units.list if self._is_shown(unit)]
        self._told = [unit for unit in units.told if self._is_shown(unit)]
        self._known = {unit.told.name for unit in self._told if unit.told is not None}
        self._ends = {id(unit.nodes[-1]): unit for unit in shown}
        self._units = {id(node): unit for unit in shown for node in unit.nodes}
        self._kinds: dict[str, set[str]] = {}
        for unit in shown:
            self._kinds.setdefault(where.leaf(unit.main), set()).add(unit.kind)
        self._takes: dict[int, dict[str, None]] = {}

    def sorted(self) -> list[LayerOutput]:
        """The rows, as the file itself has them where it says."""
        order = {unit.told.name: place for place, unit in enumerate(self._told, 1) if unit.told is not None}
        return sorted(self.rows, key=lambda row: order.get(row.layer.name, 0)) if order else self.rows

    def _is_shown(self, unit: Unit) -> bool:
        """Whether a unit's value is of a picture: neither a single number for each nor a text."""
        dims = self._found.shapes.get(unit.tensor)
        kind = self._found.traced.types.get(unit.tensor)
        numbers = kind is None or kind.dtype.kind in _NUMBERS
        known = unit.tensor in self._found.traced.values
        return numbers and not known and (dims is None or len(dims) >= 2)

    def add_input(self, entry: GraphInput) -> None:
        name = self._unique(entry.layer)
        self._known.add(name)
        shape = channels_last(entry.shape, entry.channel_axis)
        layer = Layer(name=name, kind="Input", family="input", shape=shape)
        self.rows.append(LayerOutput(layer=layer, tensor=entry.tensor, channel_axis=entry.channel_axis))
        self._sources[entry.tensor] = (name,)
        self._axes[entry.tensor] = entry.channel_axis

    def add_node(self, node: onnx.NodeProto) -> None:
        takes = tuple(dict.fromkeys(name for tensor in node.input for name in self._sources.get(tensor, ())))
        if not takes and id(node) not in self._units:
            parts = [self._made_of.get(name, frozenset[str]()) for name in _parameters_of(node)]
            made_of = frozenset[str]().union(*parts)
            self._made_of.update((name, made_of) for name in node.output if name)
            if node.op_type in _QUANTIZED:
                self._quantized |= made_of
            return
        if node.op_type in SHAPE_ONLY:
            return
        made = [name for name in node.output if name and name not in self._found.traced.values]
        for name in made:
            dims = self._found.shapes.get(name)
            self._axes[name] = 1 if dims is None else self._axis(node, name, dims)
        self._sources.update((name, takes) for name in made)
        unit = self._units.get(id(node))
        if unit is None:
            return
        self._takes.setdefault(id(unit), {}).update(dict.fromkeys(takes))
        if id(node) not in self._ends:
            return
        row = self._add(unit, unit.tensor, node)
        self._sources[made[0]] = (row,)
        for name in made[1:]:
            if self._is_further_output(node, name):
                self._sources[name] = (self._add(unit, name, node),)

    def _is_further_output(self, node: onnx.NodeProto, tensor: str) -> bool:
        kind = self._found.traced.types.get(tensor)
        floats = kind is not None and kind.dtype.kind == "f" and len(kind.shape) > 1
        return floats and node.op_type in SEVERAL_OUTPUTS and tensor not in self._found.mixed

    def _add(self, unit: Unit, tensor: str, last: onnx.NodeProto) -> str:
        """A row for a tensor that a unit makes; its name."""
        dims = self._found.shapes.get(tensor)
        problem = self._found.problems.get(tensor)
        axis = self._axes.get(last.output[0], 1)
        if tensor != unit.tensor:
            axis = self._axes[tensor]
        shape = () if dims is None else dims
        if problem is None and tensor in self._found.mixed:
            if self._found.single:
                # All of it is of the one picture that is run at a time.
                shape, axis = (1, *shape), axis + 1
            else:
                problem = (
                    f"the first axis of its output, {list(shape)}, is not the batch: what belongs to which "
                    "picture cannot be said."
                )
        if problem is None and 0 in shape:
            problem = f"its output is empty: {list(shape)}."
        counts = [self._parameters(node) for node in unit.nodes if node.output[0] not in unit.spelled]
        parameters, trainable = (sum(numbers) for numbers in zip(*counts, strict=True)) if counts else (0, 0)
        takes = tuple(self._takes[id(unit)])
        family = FAMILIES.get(unit.kind, "other")
        # An operation with a constant merges nothing.
        family = "other" if family == "merge" and len(takes) < 2 else family
        if unit.told is not None:
            family, parameters, trainable = unit.told.family, unit.told.parameters, unit.told.trainable
            takes = tuple(name for name in unit.told.inputs if name in self._known) or takes
            axis = unit.told.channel_axis % max(len(shape), 1) or axis
        name = self._unique(self._name(unit))
        before = unit.before if problem is None else None
        layer = Layer(
            name=name,
            kind=unit.kind,
            family=family,
            shape=() if problem else channels_last(shape, axis),
            parameters=parameters,
            trainable=trainable,
            inputs=takes,
            activation=unit.activation,
            has_pre=before is not None,
            problem=problem,
        )
        self.rows.append(
            LayerOutput(layer=layer, tensor=None if problem else tensor, channel_axis=axis, pre=before)
        )
        return name

    def _name(self, unit: Unit) -> str:
        """The module that a unit is the whole of, or its place in one. Several of one kind are its calls."""
        if unit.told is not None:
            return unit.told.name
        scope = self._where.leaf(unit.main)
        if scope and len(self._kinds[scope]) == 1:
            return scope
        paths = [self._where.of(node).path for node in unit.nodes]
        path = self._where.of(unit.main).path
        # The last of a function's nodes has the function's name.
        return next((other for other in paths if path.startswith(f"{other}.")), path).strip("/") or unit.kind

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
        if node.op_type in RECURRENT:
            return rank - 1
        if node.op_type == "MatMul" and all(name in self._axes for name in node.input):
            # Attention: a map for each head. Without heads of their own, they may be where the batch was.
            return 1 if rank > 3 else 0 if tensor in self._found.mixed else rank - 1
        if node.op_type in CHANNELS_LAST and not self._is_along_axis(node, rank):
            return rank - 1
        shapes = self._found.shapes
        known = next(
            (name for name in node.input if name in self._axes and len(shapes.get(name, ())) == rank), None
        )
        if known is None or node.op_type == "Reshape":
            before = shapes.get(node.input[0], ())
            if self._axes.get(node.input[0], 0) == len(before) - 1 > 1 and before[-1] == dims[-1]:
                return rank - 1
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
