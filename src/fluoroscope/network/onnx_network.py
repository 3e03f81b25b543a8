"""An ONNX graph with a table of its layers, run by onnxruntime."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import NetworkError, UnsupportedLayer, UsageError
from fluoroscope.files import atomic_write, check_suffix
from fluoroscope.network.budget import MOST_THREADS, Budget, activation_bytes
from fluoroscope.network.cost import Cost, cost
from fluoroscope.network.devices import CPU, Execution
from fluoroscope.network.export import onnx_model
from fluoroscope.network.geometry import receptive_fields
from fluoroscope.network.graph import GraphInput, LayerGraph, LayerOutput
from fluoroscope.network.protocol import FloatArray, InputSpec, Layer, Provenance, Shape
from fluoroscope.network.requests import named_arrays, no_such_layer, nothing_before
from fluoroscope.network.selection import PRE, Selection, select
from fluoroscope.network.session import Session
from fluoroscope.network.summary import summary_html, summary_text

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
    execution
        What computes it.
    """

    def __init__(
        self,
        graph: LayerGraph,
        provenance: Provenance,
        *,
        budget: Budget | None = None,
        resize: Callable[[int, int], LayerGraph] | None = None,
        threads: int = 0,
        execution: Execution = CPU,
    ) -> None:
        if not 0 <= threads <= MOST_THREADS:
            raise UsageError(f"threads is a number from 0 (one a core) to {MOST_THREADS:,}, not {threads}.")
        self._graph = graph
        self._budget = budget or Budget()
        self._resize = resize
        self._threads = threads
        self._execution = execution
        self._provenance = provenance
        self._inputs = tuple(
            InputSpec(
                name=entry.layer, shape=_channels_last(entry.shape, entry.channel_axis), dtype=entry.dtype
            )
            for entry in graph.inputs
        )
        weights = sum(array.nbytes for array in graph.weights.values())
        self._budget.allow(weights, f"The weights of {graph.name!r}")
        fields = receptive_fields(graph, graph.trace(self._budget))
        self._rows: dict[str, LayerOutput] = {}
        for row in graph.rows:
            if row.layer.name in self._rows:
                raise NetworkError(f"Two layers are called {row.layer.name!r}; names must be unique.")
            field = fields.get(row.tensor) if row.tensor is not None else None
            self._rows[row.layer.name] = replace(row, layer=replace(row.layer, receptive_field=field))
        self._layers = tuple(row.layer for row in self._rows.values())
        self._sessions: OrderedDict[tuple[str, ...], Session] = OrderedDict()
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
        place = self._open_input()
        shape = self._inputs[place].shape
        if shape[:2] == (height, width):
            return self
        if self._sized is not None and self._sized.inputs[place].shape[:2] == (height, width):
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
            self._resize(height, width),
            self._provenance,
            budget=self._budget,
            threads=self._threads,
            execution=self._execution,
        )
        return self._sized

    def run(
        self, batch: FloatArray | Mapping[str, FloatArray], names: Sequence[str]
    ) -> dict[str, FloatArray]:
        """Values of the layers called `names` for a batch; see `Network.run`."""
        names = [names] if isinstance(names, str) else list(dict.fromkeys(names))
        arrays = named_arrays(self.name, self._inputs, batch)
        size = self._free_size(arrays)
        if size is not None:
            return self.at_size(*size).run(arrays, names)
        wanted = {name: self._tensor(name) for name in names}
        if not wanted:
            return {}
        count = len(next(iter(arrays.values())))
        session = self._session(tuple(sorted({tensor for tensor, _ in wanted.values()})))
        values = session.run(self._feeds(arrays), count)
        results: dict[str, FloatArray] = {}
        for name, (tensor, axis) in wanted.items():
            array = values[tensor]
            if array.dtype != np.float32:
                array = values[tensor] = array.astype(np.float32)
            array.setflags(write=False)
            # One tensor can be the output of two layers: each gets a view of its own.
            results[name] = array.transpose(_last(array.ndim, axis))
        return results

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        layers: Selection = None,
        channels_last: bool = False,
    ) -> Path:
        """Write the network as an ONNX file that any program runs, whatever it was read from.

        Nodes and tensors have the names of the layers, ``name:pre`` before a fused activation, so each can be
        made an output by its name. The layer table is in the model's metadata under ``fluoroscope.layers``.

        Parameters
        ----------
        path
            Where to; it should end in ``.onnx``. Written beside, then renamed.
        layers
            Which layers become outputs, as `select` takes them; the network's own outputs by default.
        channels_last
            Whether pictures go in and maps come out as ``(batch, height, width, channels)``, as Keras does.
            By default they do as in the file for ONNX, and as ``(batch, channels, height, width)`` for Keras:
            what ONNX's convolutions take.

        Returns
        -------
        path
            Where it is.

        Raises
        ------
        UsageError
            Another suffix; a network whose picture size is open (see `at_size`); weights of over 2 GiB.
        UnsupportedLayer
            An output that cannot be run; other layers can be named.
        """
        check_suffix(path, ".onnx", "A network is saved as")
        taken = {spec.name for spec in self._inputs}
        wanted = self.outputs if layers is None else select(self, layers)
        outputs = [name for name in wanted if name not in taken]
        for name in outputs:
            self._tensor(name)
        if not outputs:
            raise UsageError(f"{self.name!r} would have no output: name layers that are no inputs.")
        origin = self._provenance
        facts = {"format": origin.format, "writer": origin.writer, "sha256": origin.sha256}
        model = onnx_model(
            self._graph,
            self._graph.trace(self._budget),
            outputs,
            channels_last=channels_last,
            metadata={f"fluoroscope.source.{key}": value for key, value in facts.items() if value},
        )
        atomic_write(path, model.SerializeToString())
        return Path(path)

    def memory(self, names: Sequence[str], batch: int = 1) -> int:
        """Bytes of the activations called `names`, from their shapes. Unknown sizes count as 1."""
        return sum(activation_bytes(self.layer(name).shape, batch) for name in dict.fromkeys(names))

    def cost(self) -> Cost | None:
        """What running all layers at once for one picture would cost; None where a size is left open."""
        if any(None in entry.shape[1:] for entry in self._graph.inputs):
            return None
        traced = self._graph.trace(self._budget)
        inputs = [entry.tensor for entry in self._graph.inputs if entry.tensor in traced.types]
        kept = [row.tensor for row in self._graph.rows if row.tensor in traced.types]
        return cost(self._graph.nodes, traced, inputs, [name for name in kept if name is not None])

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
            raise no_such_layer(name, self._rows) from None

    def _tensor(self, name: str) -> tuple[str, int]:
        """The tensor of a layer name or ``name:pre``, and its channel axis."""
        if name in self._rows or not name.endswith(PRE):
            row = self._row(name)
            tensor = row.tensor
        else:
            row = self._row(name.removesuffix(PRE))
            tensor = row.pre
            if tensor is None and row.layer.problem is None:
                raise nothing_before(row.layer.name)
        if tensor is None:
            raise UnsupportedLayer(f"{row.layer.name!r} cannot be run: {row.layer.problem}")
        return tensor, row.channel_axis

    def _feeds(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The arrays as the graph takes them: its types, its order of axes, contiguous."""
        feeds: dict[str, NDArray[Any]] = {}
        for entry in self._graph.inputs:
            array = arrays[entry.layer]
            feeds[entry.tensor] = _converted(
                array.transpose(_from_last(array.ndim, entry.channel_axis)), entry
            )
        return feeds

    def _free_size(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[int, int] | None:
        """The batch's height and width where the network leaves them open."""
        spec = self._inputs[self._open_input()]
        if self._resize is None or len(spec.shape) != 3 or None not in spec.shape[:2]:
            return None
        height, width = arrays[spec.name].shape[1:3]
        return height, width

    def _open_input(self) -> int:
        """The first input that is a picture of open size; the first of all where there is none."""
        found = (
            place
            for place, spec in enumerate(self._inputs)
            if len(spec.shape) == 3 and None in spec.shape[:2]
        )
        return next(found, 0)

    def _session(self, tensors: tuple[str, ...]) -> Session:
        """A session that computes just these tensors; the last few are kept."""
        session = self._sessions.get(tensors)
        if session is None:
            session = Session(self._graph, tensors, self._budget, self._threads, self._execution)
            self._sessions[tensors] = session
            if len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(tensors)
        return session


# What np.moveaxis does, in a tenth of its time: in a small network it shows.


@cache
def _last(rank: int, axis: int) -> tuple[int, ...]:
    """The order of axes that brings one of them to the end."""
    return (*(place for place in range(rank) if place != axis), axis)


@cache
def _from_last(rank: int, axis: int) -> tuple[int, ...]:
    """The order of axes that brings the last one to a place."""
    return (*range(axis), rank - 1, *range(axis, rank - 1))


def _channels_last(shape: tuple[int | None, ...], axis: int) -> Shape:
    """A tensor's shape (batch first) as a layer shape: without batch, channels last."""
    if len(shape) < 2:
        return ()
    rest = [size for index, size in enumerate(shape) if index not in (0, axis)]
    return (*rest, shape[axis])


def _converted(array: NDArray[Any], entry: GraphInput) -> NDArray[Any]:
    """The array, contiguous and of the type the graph takes, if all its numbers are of that type."""
    dtype = np.dtype(entry.dtype)
    if array.dtype == dtype:
        return np.ascontiguousarray(array)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        whole = array.dtype.kind != "f" or bool(np.isfinite(array).all() and (np.floor(array) == array).all())
        if not whole or array.min() < limits.min or array.max() > limits.max:
            raise UsageError(
                f"Input {entry.layer!r} takes whole numbers of type {dtype}, {limits.min} to {limits.max}; "
                f"given {array.dtype}, {array.min()} to {array.max()}. For a picture as it is, preprocess it "
                "with 'raw'."
            )
    try:
        with np.errstate(over="raise"):
            return np.ascontiguousarray(array, dtype=dtype)
    except FloatingPointError as error:
        raise UsageError(
            f"Input {entry.layer!r} takes numbers of type {dtype}; some of those given are too large for it."
        ) from error
