"""A `LayerGraph` as an ONNX model that any program runs: layers' values are tensors of the layers' names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import UsageError
from fluoroscope.network.budget import human_bytes
from fluoroscope.network.graph import GraphInput, LayerGraph, LayerOutput
from fluoroscope.network.nodes import needed_nodes, reads
from fluoroscope.network.selection import PRE
from fluoroscope.network.tracing import Trace

if TYPE_CHECKING:
    import onnx

LAYERS = "fluoroscope.layers"
"""Key of the layer table in a model's metadata: JSON, one object a layer."""

_LARGEST = 2**31 - 2**24
"""Bytes of weights that fit into one protobuf message, with room for the rest of the model."""

_BATCH = "batch"
_FIRST = ":channels_first"
"""Suffix of the tensors that are turned for a model with channels last."""


def onnx_model(
    graph: LayerGraph,
    traced: Trace,
    outputs: Sequence[str],
    *,
    channels_last: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """The graph with the names of its layers.

    Nodes and tensors are called after the layers they make, ``name:pre`` before a fused activation. Tensors
    in between keep their names. Layers that cannot be run are left out.

    Parameters
    ----------
    traced
        What is known of the graph's tensors.
    outputs
        Names of layers, or ``name:pre``, that become outputs.
    channels_last
        Whether pictures go in, and maps come out, channels last. Inside it stays as it is.
    metadata
        More facts for the model's metadata.

    Raises
    ------
    UsageError
        For a graph whose picture size is open, and for weights of over 2 GiB.
    """
    from onnx import helper

    from fluoroscope import __version__

    return _Export(graph, traced, channels_last=channels_last).model(
        outputs,
        producer=("fluoroscope", __version__),
        metadata=metadata or {},
        opsets=[helper.make_opsetid("", graph.opset)],
    )


class _Export:
    def __init__(self, graph: LayerGraph, traced: Trace, *, channels_last: bool) -> None:
        self._graph = graph
        self._traced = traced
        self._last = channels_last
        self._rows = [row for row in graph.rows if row.tensor is not None]
        tensors = [name for row in self._rows for name in (row.tensor, row.pre) if name is not None]
        self._nodes = needed_nodes(graph.nodes, tensors)
        used = {name for node in self._nodes for name in reads(node)}
        self._weights = {name: array for name, array in graph.weights.items() if name in used}
        _check_size(graph, self._weights)
        self._more: list[onnx.NodeProto] = []
        self._first: list[onnx.NodeProto] = []
        self._names = self._named()

    def model(
        self,
        outputs: Sequence[str],
        *,
        producer: tuple[str, str],
        metadata: Mapping[str, str],
        opsets: Sequence[onnx.OperatorSetIdProto],
    ) -> onnx.ModelProto:
        from onnx import helper

        nodes = [*self._first, *map(self._renamed, self._nodes), *self._more]
        proto = helper.make_graph(
            nodes,
            self._graph.name,
            [self._input(entry) for entry in self._graph.inputs],
            [self._output(name) for name in outputs],
            [_weight(self._names[name], array) for name, array in self._weights.items()],
        )
        model = helper.make_model(
            proto,
            opset_imports=list(opsets),
            ir_version=max(8, helper.find_min_ir_version_for(list(opsets), ignore_unknown=True)),
            producer_name=producer[0],
            producer_version=producer[1],
            doc_string=f"Written by Fluoroscope {producer[1]}.",
        )
        helper.set_model_props(model, {**metadata, LAYERS: self._table()})
        return model

    def _named(self) -> dict[str, str]:
        """New names for all tensors; nodes are added where one tensor has several, or is turned."""
        from onnx import helper

        names: dict[str, str] = {}
        inputs = {entry.layer for entry in self._graph.inputs}
        for entry in self._graph.inputs:
            names[entry.tensor] = entry.layer
            if self._last and 0 < entry.channel_axis < len(entry.shape) - 1:
                names[entry.tensor] = entry.layer + _FIRST
                order = _from_last(len(entry.shape), entry.channel_axis)
                self._first.append(
                    helper.make_node(
                        "Transpose", [entry.layer], [entry.layer + _FIRST], entry.layer + _FIRST, perm=order
                    )
                )
        for row in self._rows:
            for name, tensor in ((row.layer.name, row.tensor), (row.layer.name + PRE, row.pre)):
                if tensor is None or name in inputs:
                    continue
                turned = self._order(row, tensor)
                inner = name if turned is None else name + _FIRST
                if tensor in names:
                    self._more.append(helper.make_node("Identity", [names[tensor]], [inner], inner))
                else:
                    names[tensor] = inner
                if turned is not None:
                    self._more.append(helper.make_node("Transpose", [inner], [name], name, perm=turned))
        taken = {*names.values(), *inputs, *(name for node in self._more for name in node.output)}
        made = (name for node in self._nodes for name in (*node.output, *node.input))
        for name in filter(None, (*made, *self._weights)):
            if name not in names:
                free = name
                while free in taken:
                    free += "'"
                names[name] = free
                taken.add(free)
        return names

    def _order(self, row: LayerOutput, tensor: str) -> list[int] | None:
        """How a layer's tensor is turned for channels last; None where it need not be."""
        kind = self._traced.types.get(tensor)
        whole = tensor in self._graph.whole
        if not self._last or kind is None or whole or row.channel_axis in (0, len(kind.shape) - 1):
            return None
        return [*(axis for axis in range(len(kind.shape)) if axis != row.channel_axis), row.channel_axis]

    def _renamed(self, node: onnx.NodeProto) -> onnx.NodeProto:
        from onnx import NodeProto

        copy = NodeProto()
        copy.CopyFrom(node)
        copy.ClearField("doc_string")
        copy.ClearField("metadata_props")
        copy.input[:] = [self._names.get(name, name) for name in node.input]
        copy.output[:] = [self._names.get(name, name) for name in node.output]
        # The name of what it makes is no other node's.
        copy.name = next(name for name in copy.output if name)
        return copy

    def _input(self, entry: GraphInput) -> onnx.ValueInfoProto:
        from onnx import helper

        sizes = list(entry.shape)
        if self._last and entry.channel_axis:
            sizes.append(sizes.pop(entry.channel_axis))
        dims: list[int | str | None] = [_BATCH if sizes[0] is None else sizes[0], *sizes[1:]]
        dtype = helper.np_dtype_to_tensor_dtype(np.dtype(entry.dtype))
        return helper.make_tensor_value_info(entry.layer, dtype, dims)

    def _output(self, name: str) -> onnx.ValueInfoProto:
        from onnx import helper

        rows = {row.layer.name: row for row in self._rows}
        row = rows.get(name) or rows[name.removesuffix(PRE)]
        tensor = row.tensor if name in rows else row.pre
        kind = self._traced.types[tensor or ""]
        dtype = helper.np_dtype_to_tensor_dtype(kind.dtype)
        if tensor in self._graph.whole:
            return helper.make_tensor_value_info(name, dtype, [None] * len(kind.shape))
        batch = next((entry.shape[0] for entry in self._graph.inputs), None)
        sizes = [kind.shape[axis] for axis in self._order(row, tensor or "") or range(len(kind.shape))]
        return helper.make_tensor_value_info(name, dtype, [_BATCH if batch is None else batch, *sizes[1:]])

    def _table(self) -> str:
        """The layers, for programs that show them."""
        rows = [
            {
                "name": row.layer.name,
                "kind": row.layer.kind,
                "family": row.layer.family,
                "activation": row.layer.activation,
                "pre": row.layer.name + PRE if row.pre is not None else None,
                "channel_axis": row.channel_axis if self._order(row, row.tensor or "") is None else -1,
                "parameters": row.layer.parameters,
                "trainable": row.layer.trainable,
                "inputs": list(row.layer.inputs),
            }
            for row in self._rows
        ]
        return json.dumps(rows, ensure_ascii=True, separators=(",", ":"))


def _check_size(graph: LayerGraph, weights: Mapping[str, NDArray[Any]]) -> None:
    free = [entry for entry in graph.inputs if None in entry.shape[1:]]
    if free:
        raise UsageError(
            f"{graph.name!r} takes pictures of any size; what is written takes one. Say which: "
            "--size 224x224, or network.at_size(224, 224).save(...)."
        )
    total = sum(array.nbytes for array in weights.values())
    if total > _LARGEST:
        raise UsageError(
            f"The weights of {graph.name!r} are {human_bytes(total)}; one ONNX file holds up to "
            f"{human_bytes(_LARGEST)}. Nothing was written."
        )


def _weight(name: str, array: NDArray[Any]) -> onnx.TensorProto:
    from onnx import numpy_helper

    return numpy_helper.from_array(array, name)


def _from_last(rank: int, axis: int) -> list[int]:
    """The order of axes that brings the last one to a place."""
    return [*range(axis), rank - 1, *range(axis, rank - 1)]
