"""onnxruntime over the part of a graph that some tensors need, within a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import MissingDependency, NetworkError, UnsupportedLayer
from fluoroscope.network.budget import Budget
from fluoroscope.network.cost import cost
from fluoroscope.network.devices import CPU, Execution
from fluoroscope.network.graph import GraphInput, LayerGraph
from fluoroscope.network.nodes import needed_nodes, reads
from fluoroscope.network.telemetry import forbid_telemetry
from fluoroscope.network.tensors import TensorType
from fluoroscope.network.tracing import trace

if TYPE_CHECKING:
    import onnx
    import onnxruntime

_IR_VERSION = 10
"""ONNX file version of the graphs handed to onnxruntime: the newest that its oldest release here reads."""

_LENT_FROM = 1024
"""Weights of this many bytes and more are lent to onnxruntime; smaller ones are written into the graph, where
it can read shapes, axes and the like while it prepares itself."""

Arrays = Mapping[str, NDArray[Any]]
_Shapes = tuple[tuple[int, ...], ...]


class Session:
    """Computes some tensors of a graph.

    Parameters
    ----------
    graph
        With nodes in topological order.
    tensors
        What to compute.
    budget
        Held against what each new batch shape would cost, before onnxruntime is even started: it computes
        whatever depends on weights alone while it starts.
    threads
        That onnxruntime may use; 0 for one a core.
    execution
        What computes.
    """

    def __init__(
        self,
        graph: LayerGraph,
        tensors: Sequence[str],
        budget: Budget,
        threads: int = 0,
        execution: Execution = CPU,
    ) -> None:
        self._graph = graph
        self._budget = budget
        self._threads = threads
        self._execution = execution
        self._tensors = tuple(tensors)
        self._nodes = needed_nodes(graph.nodes, tensors)
        used = {name for node in self._nodes for name in reads(node)} | set(tensors)
        self._inputs = [entry for entry in graph.inputs if entry.tensor in used]
        self._weights = {name: array for name, array in graph.weights.items() if name in used}
        self._whole = graph.whole.intersection(tensors)
        self._batch = next((entry.shape[0] for entry in self._inputs if entry.shape[0]), None)
        if self._whole:
            self._batch = 1
        # A tensor that is a graph input needs no node: it is passed on.
        fed = {entry.tensor for entry in graph.inputs}
        self._outputs = [name for name in tensors if name not in fed]
        self._passed = [name for name in tensors if name in fed]
        # Shapes of the inputs that a run was allowed for -> shapes of what it must make.
        self._allowed: dict[_Shapes, _Shapes] = {}
        self._started: onnxruntime.InferenceSession | None = None

    def run(self, feeds: Arrays, count: int) -> dict[str, NDArray[Any]]:
        """Values of the tensors, in arrays of their own.

        Parameters
        ----------
        feeds
            Every input of the graph, contiguous, with `count` pictures each.

        Raises
        ------
        BudgetExceeded
            The batch would cost too much.
        NetworkError
            onnxruntime cannot run the graph.
        """
        shapes = tuple(feeds[entry.tensor].shape for entry in self._inputs)
        if shapes not in self._allowed:
            self._allowed[shapes] = self._allow(shapes, count)
        results: dict[str, NDArray[Any]] = {name: feeds[name].copy() for name in self._passed}
        if self._outputs:
            feeds = {entry.tensor: feeds[entry.tensor] for entry in self._inputs}
            fits = self._batch is None or self._batch == count
            arrays = self._run(feeds) if fits else self._run_in_fixed_batches(feeds, count, self._batch or 1)
            made = tuple([array.shape for array in arrays])
            if made != self._allowed[shapes]:
                raise NetworkError(
                    f"{self._graph.name!r} contradicts itself: {self._outputs} are of shapes {made}; by "
                    f"their operators' definitions they would be {self._allowed[shapes]}."[:1000]
                )
            results.update(zip(self._outputs, arrays, strict=True))
        return results

    def _allow(self, shapes: _Shapes, count: int) -> _Shapes:
        """Hold what a run with inputs of these shapes would cost against the budget.

        Returns the shapes that the outputs will have.
        """
        batch = self._batch or count
        inputs = {
            entry.tensor: TensorType(np.dtype(entry.dtype), (batch, *shape[1:]))
            for entry, shape in zip(self._inputs, shapes, strict=True)
        }
        traced = trace(self._nodes, self._weights, inputs, self._graph.opset, self._budget)
        needed = {name for node in self._nodes for name in reads(node)} | set(self._tensors)
        for name in needed:
            if name in traced.unknown:
                raise UnsupportedLayer(
                    f"{self._graph.name!r} cannot be run so far: how much node {traced.unknown[name]} makes "
                    "can only be known by running it."
                )
        rounds = -(-count // batch)
        kept = rounds * sum(traced.types[name].nbytes for name in self._tensors)
        layers = _counted(len(self._tensors), "layer")
        pictures = _counted(count, "picture")
        self._budget.allow(
            kept,
            f"The activations of {layers} for {pictures}",
            "Capture fewer layers or pictures at a time.",
        )
        expected = cost(self._nodes, traced, inputs, self._tensors)
        self._budget.allow(
            expected.memory, f"For {pictures}, node {expected.worst}, with all that is needed by then,"
        )
        self._budget.allow_work(expected.work * rounds, f"Running {self._graph.name!r} for {pictures}")
        return tuple((count, *self._rest(name, traced.types[name].shape)) for name in self._outputs)

    def _rest(self, name: str, shape: tuple[int | None, ...]) -> tuple[int, ...]:
        """Sizes of a tensor behind the batch axis that it has, or gets."""
        return tuple(size or 0 for size in (shape if name in self._whole else shape[1:]))

    def _run(self, feeds: Arrays) -> list[NDArray[Any]]:
        if self._started is None:
            self._started = _start(
                self._graph,
                self._nodes,
                self._inputs,
                self._outputs,
                self._weights,
                self._threads,
                self._execution,
            )
        try:
            arrays = cast("list[NDArray[Any]]", self._started.run(self._outputs, dict(feeds)))
        except Exception as error:  # onnxruntime's exceptions have no common public base
            raise NetworkError(
                f"onnxruntime could not run {self._graph.name!r}: {_first_line(error)}"
            ) from error
        if not self._whole:
            return arrays
        return [
            array[np.newaxis] if name in self._whole else array
            for name, array in zip(self._outputs, arrays, strict=True)
        ]

    def _run_in_fixed_batches(self, feeds: Arrays, count: int, size: int) -> list[NDArray[Any]]:
        """A graph of fixed batch runs in batches of that size, the last filled up with its last picture."""
        parts: list[list[NDArray[Any]]] = []
        for start in range(0, count, size):
            chosen = np.minimum(np.arange(start, start + size), count - 1)
            parts.append(self._run({name: array[chosen] for name, array in feeds.items()}))
        return [np.concatenate(arrays)[:count] for arrays in zip(*parts, strict=True)]


def _start(
    graph: LayerGraph,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[GraphInput],
    outputs: Sequence[str],
    weights: Arrays,
    threads: int,
    execution: Execution,
) -> onnxruntime.InferenceSession:
    """A session whose weights are our own arrays: not copied into a message, not written to a file."""
    forbid_telemetry()
    import onnxruntime
    from onnx import TensorProto, helper

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    # Spinning threads would steal the cores from drawing, which runs in between.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    proto = helper.make_graph(
        list(nodes),
        "network",
        [
            helper.make_tensor_value_info(
                entry.tensor, helper.np_dtype_to_tensor_dtype(np.dtype(entry.dtype)), _dims(entry)
            )
            for entry in inputs
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
    )
    seen: set[str] = set()
    for one in proto.node:
        # onnxruntime takes no two nodes of one name; it needs none.
        one.name = "" if one.name in seen else one.name
        seen.add(one.name)
    lent: dict[str, Any] = {}
    for name, array in weights.items():
        tensor = proto.initializer.add()
        tensor.name = name
        tensor.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor.dims.extend(array.shape)
        if array.nbytes < _LENT_FROM or array.dtype.kind == "i":
            tensor.raw_data = array.tobytes()
            continue
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "lent"), ("offset", "0"), ("length", str(array.nbytes))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        lent[name] = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
    if lent:
        options.add_external_initializers(list(lent), list(lent.values()))
    model = helper.make_model(
        proto, opset_imports=[helper.make_opsetid("", graph.opset)], ir_version=_IR_VERSION
    )
    try:
        return execution.session(model.SerializeToString(), options)
    except MissingDependency:
        raise
    except Exception as error:  # onnxruntime's exceptions have no common public base
        raise NetworkError(
            f"onnxruntime {onnxruntime.__version__} cannot prepare {graph.name!r}: {_first_line(error)}"
        ) from error


def _dims(entry: GraphInput) -> list[int | str]:
    """Sizes, free ones by a name; the batch's is the same for all inputs."""
    names = ("batch", *(f"{entry.tensor}_{axis}" for axis in range(1, len(entry.shape))))
    return [name if size is None else size for name, size in zip(names, entry.shape, strict=True)]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]
