"""An ONNX graph with a table of its layers, run by onnxruntime."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import LayerNotFound, NetworkError, UnsupportedLayer, UsageError
from fluoroscope.network.budget import Budget, activation_bytes
from fluoroscope.network.geometry import receptive_fields
from fluoroscope.network.graph import GraphInput, LayerGraph, LayerOutput
from fluoroscope.network.protocol import FloatArray, InputSpec, Layer, Provenance, Shape
from fluoroscope.network.selection import PRE
from fluoroscope.network.summary import summary_html, summary_text

if TYPE_CHECKING:
    import onnx
    import onnxruntime

_IR_VERSION = 10
"""ONNX file version of the graphs handed to onnxruntime: the newest that its oldest release here reads."""

_SESSIONS = 4
"""Sessions kept: one for each set of layers asked for lately."""


class OnnxNetwork:
    """A `Network` (see the protocol) over a `LayerGraph`.

    Parameters
    ----------
    graph
        Nodes, weights and the layer table.
    provenance
        Where it came from.
    budget
        Limits for weights and activations.
    resize
        Makes the graph anew for a picture of another height and width; None when the size is fixed.
    threads
        Threads that onnxruntime may use; 0 for one a core.
    """

    def __init__(
        self,
        graph: LayerGraph,
        provenance: Provenance,
        *,
        budget: Budget | None = None,
        resize: Callable[[int, int], LayerGraph] | None = None,
        threads: int = 0,
    ) -> None:
        self._graph = graph
        self._budget = budget or Budget()
        self._resize = resize
        self._threads = threads
        self._provenance = provenance
        self._inputs = tuple(
            InputSpec(name=entry.layer, shape=_channels_last(entry.shape, entry.channel_axis))
            for entry in graph.inputs
        )
        fields = receptive_fields(graph)
        self._rows: dict[str, LayerOutput] = {}
        for row in graph.rows:
            if row.layer.name in self._rows:
                raise NetworkError(f"Two layers are called {row.layer.name!r}; names must be unique.")
            field = fields.get(row.tensor) if row.tensor is not None else None
            self._rows[row.layer.name] = replace(row, layer=replace(row.layer, receptive_field=field))
        self._layers = tuple(row.layer for row in self._rows.values())
        weights = sum(array.nbytes for array in graph.weights.values())
        self._budget.allow(weights, f"The weights of {graph.name!r}")
        self._sessions: OrderedDict[tuple[str, ...], _Session] = OrderedDict()
        self._sized: OnnxNetwork | None = None

    @property
    def name(self) -> str:
        return self._graph.name

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(self._graph.outputs)

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self._layers

    @property
    def provenance(self) -> Provenance:
        return self._provenance

    @property
    def budget(self) -> Budget:
        """The limits it was opened with."""
        return self._budget

    def __repr__(self) -> str:
        return f"<OnnxNetwork {self.name!r}: {len(self.layers)} layers, from {self.provenance.format}>"

    def summary(self) -> str:
        """The layer table as text, as Keras prints it, with receptive fields."""
        return summary_text(self)

    def _repr_html_(self) -> str:
        return summary_html(self)

    def at_size(self, height: int, width: int) -> OnnxNetwork:
        """The same network for pictures of another size; see `Network.at_size`."""
        shape = self._inputs[0].shape
        if shape[:2] == (height, width):
            return self
        if self._sized is not None and self._sized.inputs[0].shape[:2] == (height, width):
            return self._sized
        if self._resize is None or len(shape) != 3 or None not in shape[:2]:
            size = " x ".join("any" if side is None else str(side) for side in shape[:2])
            raise UsageError(
                f"{self.name!r} takes pictures of {size}, not {height} x {width}. "
                "Leave the size out: the picture is brought to the network's size."
            )
        if any(own not in (None, wanted) for own, wanted in zip(shape[:2], (height, width), strict=True)):
            raise UsageError(f"{self.name!r} takes pictures of {shape[0]} x {shape[1]} (None: any size).")
        self._sized = OnnxNetwork(
            self._resize(height, width), self._provenance, budget=self._budget, threads=self._threads
        )
        return self._sized

    def run(
        self, batch: FloatArray | Mapping[str, FloatArray], names: Sequence[str]
    ) -> dict[str, FloatArray]:
        """Values of the layers called `names` for a batch; see `Network.run`."""
        feeds, count = self._feeds(batch)
        size = self._free_size(batch)
        if size is not None:
            return self.at_size(*size).run(batch, names)
        wanted = {name: self._tensor(name) for name in dict.fromkeys(names)}
        if not wanted:
            return {}
        self._check_memory(wanted, count)
        session = self._session(tuple(sorted({tensor for tensor, _ in wanted.values()})))
        arrays = session.run(feeds, count)
        results: dict[str, FloatArray] = {}
        for name, (tensor, axis) in wanted.items():
            array = arrays[tensor]
            if array.dtype != np.float32:
                array = array.astype(np.float32)
            # One tensor can be the output of two layers: each gets a view of its own.
            view = np.moveaxis(array, axis, -1).view() if array.ndim > 1 else array.view()
            view.flags.writeable = False
            results[name] = view
        return results

    def memory(self, names: Sequence[str], batch: int = 1) -> int:
        """Bytes of the activations called `names`, from their shapes. Unknown sizes count as 1."""
        return sum(
            activation_bytes(self._row(name.removesuffix(PRE)).layer.shape, batch)
            for name in dict.fromkeys(names)
        )

    def layer(self, name: str) -> Layer:
        """The row of the layer table called `name` (with or without ``:pre``).

        Raises
        ------
        LayerNotFound
            With the names nearest to it.
        """
        return self._row(name if name in self._rows else name.removesuffix(PRE)).layer

    def _row(self, name: str) -> LayerOutput:
        try:
            return self._rows[name]
        except KeyError:
            near = get_close_matches(name, self._rows, n=2)
            hint = (
                f" Did you mean {' or '.join(map(repr, near))}?"
                if near
                else " `fluoroscope summary MODEL` lists them."
            )
            raise LayerNotFound(f"No layer is called {name!r}.{hint}") from None

    def _tensor(self, name: str) -> tuple[str, int]:
        """The tensor of a layer name or ``name:pre``, and its channel axis."""
        if name in self._rows or not name.endswith(PRE):
            row = self._row(name)
            tensor = row.tensor
        else:
            row = self._row(name.removesuffix(PRE))
            tensor = row.pre
            if tensor is None and row.layer.problem is None:
                raise LayerNotFound(
                    f"{row.layer.name!r} has no fused activation, so nothing before it: "
                    f"ask for {row.layer.name!r}."
                )
        if tensor is None:
            raise UnsupportedLayer(f"{row.layer.name!r} cannot be run: {row.layer.problem}")
        return tensor, row.channel_axis

    def _feeds(self, batch: FloatArray | Mapping[str, FloatArray]) -> tuple[dict[str, NDArray[Any]], int]:
        """The batch as the graph's input tensors, and how many pictures it holds."""
        if not isinstance(batch, Mapping):
            if len(self._inputs) != 1:
                names = ", ".join(repr(spec.name) for spec in self._inputs)
                raise UsageError(f"{self.name!r} has {len(self._inputs)} inputs: give a mapping of {names}.")
            batch = {self._inputs[0].name: batch}
        unknown = set(batch) - {spec.name for spec in self._inputs}
        if unknown:
            raise LayerNotFound(
                f"No input is called {sorted(unknown)[0]!r}. "
                f"Inputs: {', '.join(repr(spec.name) for spec in self._inputs)}."
            )
        feeds: dict[str, NDArray[Any]] = {}
        counts: set[int] = set()
        for spec, entry in zip(self._inputs, self._graph.inputs, strict=True):
            if spec.name not in batch:
                raise UsageError(f"Input {spec.name!r} is missing from the batch.")
            array = np.asarray(batch[spec.name])
            _check_batch(array, spec)
            counts.add(len(array))
            feeds[entry.tensor] = np.ascontiguousarray(
                np.moveaxis(array, -1, entry.channel_axis) if array.ndim > 1 else array, dtype=entry.dtype
            )
        if len(counts) > 1:
            raise UsageError(
                f"All inputs of a batch need as many pictures as each other, not {sorted(counts)}."
            )
        return feeds, counts.pop() if counts else 0

    def _free_size(self, batch: FloatArray | Mapping[str, FloatArray]) -> tuple[int, int] | None:
        """The batch's height and width where the network leaves them open."""
        shape = self._inputs[0].shape if self._inputs else ()
        if self._resize is None or len(shape) != 3 or None not in shape[:2]:
            return None
        array = batch[self._inputs[0].name] if isinstance(batch, Mapping) else batch
        return int(array.shape[1]), int(array.shape[2])

    def _check_memory(self, wanted: Mapping[str, tuple[str, int]], count: int) -> None:
        """What is asked for, and the largest pair of values on the way there, fit the budget."""
        total = self.memory(list(wanted), count)
        self._budget.allow(
            total,
            f"The activations of {len(wanted)} layers for {count} picture{'s' if count != 1 else ''}",
            "Capture fewer layers or pictures at a time.",
        )
        ancestors = self._ancestors(
            [name.removesuffix(PRE) if name not in self._rows else name for name in wanted]
        )
        for name in ancestors:
            layer = self._rows[name].layer
            alive = activation_bytes(layer.shape, count) + sum(
                activation_bytes(self._rows[parent].layer.shape, count)
                for parent in layer.inputs
                if parent in self._rows
            )
            self._budget.allow(
                alive,
                f"Layer {name!r} with output {_shape_text(layer.shape)}, with what it is computed from,",
            )

    def _ancestors(self, names: Sequence[str]) -> set[str]:
        seen: set[str] = set()
        stack = list(names)
        while stack:
            name = stack.pop()
            if name not in seen and name in self._rows:
                seen.add(name)
                stack.extend(self._rows[name].layer.inputs)
        return seen

    def _session(self, tensors: tuple[str, ...]) -> _Session:
        """A session that computes just these tensors; the last few are kept."""
        session = self._sessions.get(tensors)
        if session is None:
            session = _Session(self._graph, tensors, self._threads)
            self._sessions[tensors] = session
            if len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(tensors)
        return session


class _Session:
    """onnxruntime over the part of the graph that some tensors need."""

    def __init__(self, graph: LayerGraph, tensors: Sequence[str], threads: int) -> None:
        import onnxruntime

        nodes = needed_nodes(graph.nodes, tensors)
        used = {name for node in nodes for name in _reads(node)} | set(tensors)
        self._inputs = [entry for entry in graph.inputs if entry.tensor in used]
        self._batch = next((entry.shape[0] for entry in self._inputs if entry.shape[0]), None)
        # A tensor that is a graph input needs no node: it is passed on.
        self._passed = [name for name in tensors if name in {entry.tensor for entry in graph.inputs}]
        self._outputs = [name for name in tensors if name not in self._passed]
        weights = {name: array for name, array in graph.weights.items() if name in used}
        self._session = (
            _start(graph, nodes, self._inputs, self._outputs, weights, threads, onnxruntime)
            if self._outputs
            else None
        )

    def run(self, feeds: Mapping[str, NDArray[Any]], count: int) -> dict[str, NDArray[Any]]:
        results = {name: feeds[name] for name in self._passed}
        if self._session is None:
            return results
        feeds = {entry.tensor: feeds[entry.tensor] for entry in self._inputs}
        if self._batch is None or self._batch == count:
            arrays = self._run(feeds)
        else:
            arrays = self._run_in_fixed_batches(feeds, count, self._batch)
        return results | dict(zip(self._outputs, arrays, strict=True))

    def _run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        assert self._session is not None
        try:
            return cast("list[NDArray[Any]]", self._session.run(self._outputs, dict(feeds)))
        except Exception as error:  # onnxruntime's exceptions have no common public base
            raise NetworkError(f"onnxruntime could not run the network: {_first_line(error)}") from error

    def _run_in_fixed_batches(
        self, feeds: Mapping[str, NDArray[Any]], count: int, size: int
    ) -> list[NDArray[Any]]:
        """A file of fixed batch runs in batches of that size, the last filled up with its last picture."""
        parts: list[list[NDArray[Any]]] = []
        for start in range(0, count, size):
            chosen = np.minimum(np.arange(start, start + size), count - 1)
            parts.append(self._run({name: array[chosen] for name, array in feeds.items()}))
        return [np.concatenate(arrays)[:count] for arrays in zip(*parts, strict=True)]


def needed_nodes(nodes: Sequence[onnx.NodeProto], tensors: Sequence[str]) -> list[onnx.NodeProto]:
    """The nodes that `tensors` depend on, in their order."""
    makers = {name: node for node in nodes for name in node.output if name}
    wanted: set[int] = set()
    stack = [makers[name] for name in tensors if name in makers]
    while stack:
        node = stack.pop()
        if id(node) not in wanted:
            wanted.add(id(node))
            stack.extend(makers[name] for name in _reads(node) if name in makers)
    return [node for node in nodes if id(node) in wanted]


def _reads(node: onnx.NodeProto) -> list[str]:
    """Every tensor a node takes, those of its subgraphs included."""
    names = list(node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs) if attribute.type in (5, 10) else ():
            names.extend(name for inner in graph.node for name in _reads(inner))
    return names


def _start(
    graph: LayerGraph,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[GraphInput],
    outputs: Sequence[str],
    weights: Mapping[str, NDArray[Any]],
    threads: int,
    onnxruntime: Any,
) -> onnxruntime.InferenceSession:
    """A session whose weights are our own arrays: not copied into a message, not written to a file."""
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
                e.tensor, helper.np_dtype_to_tensor_dtype(np.dtype(e.dtype)), _dims(e.shape)
            )
            for e in inputs
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
    )
    lent: dict[str, Any] = {}
    for name, array in weights.items():
        tensor = proto.initializer.add()
        tensor.name = name
        tensor.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor.dims.extend(array.shape)
        if array.dtype != np.float32 or array.nbytes < 1024:
            # Shapes, axes and the like must be readable while onnxruntime prepares the graph.
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
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's exceptions have no common public base
        raise NetworkError(f"onnxruntime cannot prepare {graph.name!r}: {_first_line(error)}") from error


def _dims(shape: tuple[int | None, ...]) -> list[int | str]:
    return [f"d{axis}" if size is None else size for axis, size in enumerate(shape)]


def _channels_last(shape: tuple[int | None, ...], axis: int) -> Shape:
    """A tensor's shape (batch first) as a layer shape: without batch, channels last."""
    if len(shape) < 2:
        return ()
    rest = [size for index, size in enumerate(shape) if index not in (0, axis)]
    return (*rest, shape[axis])


def _check_batch(array: NDArray[Any], spec: InputSpec) -> None:
    expected = ", ".join("any" if size is None else str(size) for size in spec.shape)
    fits = array.ndim == len(spec.shape) + 1 and all(
        wanted in (None, given) for wanted, given in zip(spec.shape, array.shape[1:], strict=True)
    )
    if not fits:
        raise UsageError(
            f"Input {spec.name!r} takes (n, {expected}), channels last; given {array.shape}. "
            "`fluoroscope.preprocess` brings a picture to that size."
        )
    if array.dtype.kind not in "fiu":
        raise UsageError(f"Input {spec.name!r} takes numbers, not {array.dtype}.")


def _shape_text(shape: Shape) -> str:
    return " x ".join("?" if size is None else str(size) for size in shape)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]
