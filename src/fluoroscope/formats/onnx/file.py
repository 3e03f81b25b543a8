"""`.onnx` bytes to a `LayerGraph`: its nodes grouped into layers (`onnx_units` has the rule).

Nothing is read but the bytes and files that the user named, and no tensor is made before its size is known
and within the budget. Control flow and operators of others are never run; those are refused whose output's
size would have to be computed from what is in the picture. What is not run is in the table, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from fluoroscope.errors import DamagedFile, RefusedFile, UnsupportedLayer, UsageError
from fluoroscope.formats.onnx.external import External
from fluoroscope.formats.onnx.inputs import graph_input
from fluoroscope.formats.onnx.operators import FAMILIES
from fluoroscope.formats.onnx.parsing import parse, why_not_run
from fluoroscope.formats.onnx.quantized import dequantizing
from fluoroscope.formats.onnx.rows import layer_rows
from fluoroscope.formats.onnx.scopes import scopes
from fluoroscope.formats.onnx.told import Told, told
from fluoroscope.formats.onnx.trials import Subject, examine, pictured_tensors
from fluoroscope.formats.onnx.units import Units
from fluoroscope.formats.onnx.weights import constant, weight
from fluoroscope.network.budget import Budget
from fluoroscope.network.graph import LayerGraph, LayerOutput
from fluoroscope.network.nodes import reads, title

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFile:
    """A file's content, checked node by node and weight by weight.

    Attributes
    ----------
    name
        Of the graph.
    writer
        What the file says made it; None if it does not.
    nodes
        In topological order, without constants.
    weights
        Initializers and constants.
    inputs, outputs
        Of the graph; weights that are listed among them left out.
    opset
        The operator set.
    layers
        What the file itself says of its layers; empty for all but Fluoroscope's own.
    budget
        Bound for every tensor.
    """

    name: str
    writer: str | None
    nodes: Sequence[onnx.NodeProto]
    weights: Mapping[str, NDArray[Any]]
    inputs: Sequence[onnx.ValueInfoProto]
    outputs: Sequence[str]
    opset: int
    budget: Budget
    layers: Sequence[Told] = ()

    def graph(self, size: tuple[int, int] | None = None) -> LayerGraph:
        """The graph with its layer table.

        Parameters
        ----------
        size
            Height and width for a picture input that leaves them open. The weights are shared by all sizes.

        Raises
        ------
        DamagedFile, RefusedFile, UnsupportedLayer, BudgetExceeded
            The graph contradicts itself, or cannot be run within the budget.
        UsageError
            The network cannot take a picture of `size`.
        """
        inputs = [graph_input(value, self.nodes, self.weights, size) for value in self.inputs]
        problems = _not_run(self.nodes)
        runnable = [node for node in self.nodes if problems.keys().isdisjoint(node.output)]
        where = scopes(self.nodes)
        # What a branch or a stranger's operator makes may be of the picture, whatever it takes.
        fed = {entry.tensor for entry in inputs} | problems.keys()
        pictured = pictured_tensors(self.nodes, fed)
        units = Units(self.nodes, self.weights, pictured, self.outputs, where, self.layers)
        meant = dequantizing(runnable, (unit.tensor for unit in units.list))
        units.show({name: node.output[0] for name, node in meant.items()})
        runnable += meant.values()
        subject = Subject(nodes=runnable, weights=self.weights, opset=self.opset, budget=self.budget)
        try:
            inputs, found = examine(subject, inputs, problems)
        except DamagedFile as error:
            if size is None:
                raise
            message = (
                f"{self.name!r} cannot take pictures of {size[0]} x {size[1]}: {str(error).rstrip('.')}. "
                "Choose a size that it was made for, as in --size 48x320 or network.at_size(48, 320)."
            )
            raise UsageError(message) from error
        rows = layer_rows(self.nodes, units, where, self.weights, inputs, found)
        _check_something_is_shown(rows, self.nodes)
        makers = {row.tensor: row.layer.name for row in rows}
        outputs = (makers.get(units.standing_for(name, makers)) for name in self.outputs)
        return LayerGraph(
            name=self.name,
            inputs=inputs,
            nodes=runnable,
            weights=self.weights,
            rows=rows,
            outputs=list(dict.fromkeys(name for name in outputs if name is not None)),
            opset=self.opset,
            traced=found.traced,
            whole=found.mixed if found.single else frozenset(),
        )


def read(data: bytes, *, name: str, budget: Budget, external: External | None = None) -> OnnxFile:
    """Read an ONNX model.

    Parameters
    ----------
    data
        The file's bytes.
    name
        What to call the network if the file does not.
    budget
        Bound for every tensor.
    external
        Other files that weights may lie in.

    Raises
    ------
    DamagedFile, UnknownFormat, RefusedFile, UnsupportedLayer, BudgetExceeded
        The file cannot be read, or not within the budget.
    """
    model, nodes, opset = parse(data)
    files = external or {}
    graph = model.graph
    weights = {tensor.name: weight(tensor, budget, files) for tensor in graph.initializer}
    weights.update((node.output[0], constant(node, budget)) for node in nodes if node.op_type == "Constant")
    inputs = [value for value in graph.input if value.name not in weights]
    if not inputs:
        raise UnsupportedLayer("This ONNX model takes no input, so it can be shown no picture.")
    return OnnxFile(
        name=graph.name or name,
        writer=" ".join(filter(None, (model.producer_name, model.producer_version))) or None,
        nodes=[node for node in nodes if node.op_type != "Constant"],
        weights=weights,
        inputs=inputs,
        outputs=[value.name for value in graph.output],
        opset=opset,
        budget=budget,
        layers=told(model),
    )


def _check_something_is_shown(rows: Sequence[LayerOutput], nodes: Sequence[onnx.NodeProto]) -> None:
    """Refuse a network of which nothing can be had, with the first reason."""
    inner = [row for row in rows if row.layer.family != "input"]
    not_run = [node for node in nodes if why_not_run(node) is not None]
    if not_run and inner and all(row.tensor is None for row in inner):
        foreign = all(node.domain for node in not_run)
        error = UnsupportedLayer if foreign else RefusedFile
        raise error(f"Nothing of this network can be shown: {inner[0].layer.problem}")


def _not_run(nodes: Sequence[onnx.NodeProto]) -> dict[str, str]:
    """Tensors made by operators that are not run here, or of such tensors -> why they cannot be had."""
    problems: dict[str, str] = {}
    for node in nodes:
        reason = next((problems[name] for name in reads(node) if name in problems), None)
        reason = reason or why_not_run(node)
        if reason is None and node.op_type not in FAMILIES:
            reason = f"node {title(node)} is of an operator that is not run here."
        if reason is not None:
            problems.update((name, reason) for name in node.output if name)
    return problems
