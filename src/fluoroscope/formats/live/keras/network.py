"""A live Keras model as a `Network`: its own forward pass, in its own framework, watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import LayerNotFound, NetworkError, UsageError
from fluoroscope.formats.keras.translate.translation import output_name
from fluoroscope.formats.live.keras.inputs import Inputs
from fluoroscope.formats.live.keras.table import Row, Table, channels_last, table_of
from fluoroscope.formats.live.keras.watching import Complete, as_numpy, forward, tensors_in
from fluoroscope.network.budget import Budget, activation_bytes
from fluoroscope.network.protocol import FloatArray, InputSpec, Layer, Provenance
from fluoroscope.network.requests import named_arrays, no_such_layer
from fluoroscope.network.selection import PRE
from fluoroscope.network.summary import summary_html, summary_text


class LiveKeras:
    """A `Network` (see the protocol) over a live ``keras.Model`` that cannot be translated whole.

    Every run is a call of the model with ``training=False``; its weights are those of that moment. Layers
    are the ones that Keras or the author made: what is computed between them by functions of a backend has no
    name here. One in a model or in a layer of the author's is called by its path; such a layer is a row
    itself, behind those in it.

    Parameters
    ----------
    model
        The object. Nothing of it is changed, but that a model which was never called gets its weights.
    inputs
        What it takes.
    table
        Its rows, for these inputs.
    provenance
        What is said of where it came from.
    budget
        Limits for the activations of one run.
    """

    def __init__(
        self, model: Any, inputs: Inputs, table: Table, provenance: Provenance, *, budget: Budget
    ) -> None:
        self._model = model
        self._inputs = inputs
        self._table = table
        self._provenance = provenance
        self._budget = budget
        self._sized: LiveKeras | None = None

    @property
    def name(self) -> str:
        return str(self._model.name)

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        return self._inputs.specs

    @property
    def outputs(self) -> tuple[str, ...]:
        return self._table.outputs

    @property
    def layers(self) -> tuple[Layer, ...]:
        return tuple(row.layer for row in self._table.rows.values())

    @property
    def provenance(self) -> Provenance:
        return self._provenance

    @property
    def budget(self) -> Budget:
        """The limits it was opened with."""
        return self._budget

    def __repr__(self) -> str:
        return f"<LiveKeras {self.name!r}: {len(self.layers)} layers, run by {self.provenance.writer}>"

    def summary(self) -> str:
        """The layer table as text."""
        return summary_text(self)

    def _repr_html_(self) -> str:
        return summary_html(self)

    def at_size(self, height: int, width: int) -> LiveKeras:
        """The same network for pictures of another size; see `Network.at_size`."""
        inputs = self._inputs.at_size(height, width, self.name)
        if inputs == self._inputs:
            return self
        if self._sized is None or self._sized._inputs != inputs:
            self._sized = LiveKeras(
                self._model,
                inputs,
                table_of(self._model, inputs),
                self._provenance,
                budget=self._budget,
            )
        return self._sized

    def run(
        self, batch: FloatArray | Mapping[str, FloatArray], names: Sequence[str]
    ) -> dict[str, FloatArray]:
        """Values of the layers called `names` for a batch; see `Network.run`."""
        names = [names] if isinstance(names, str) else list(dict.fromkeys(names))
        arrays = named_arrays(self.name, self.inputs, batch)
        size = self._inputs.free_size(arrays)
        if size is not None:
            return self.at_size(*size).run(arrays, names)
        rows = {name: self._row(name) for name in names}
        count = len(next(iter(arrays.values())))
        self._budget.allow(
            sum(activation_bytes(row.layer.shape, count) for row in rows.values()),
            f"{len(rows)} layers of {self.name!r} for {count} pictures",
            "Ask for fewer layers or pictures at a time.",
        )
        collector = _Collector(rows)
        if rows:
            collector.take_inputs(arrays)
            forward(self._model, self._inputs, arrays, collector)
        missing = next((name for name in names if name not in collector.values), None)
        if missing is not None:
            raise NetworkError(
                f"{missing!r} was not called for this picture: its model chooses what it calls."
            )
        return {name: collector.values[name] for name in names}

    def _row(self, name: str) -> Row:
        rows = self._table.rows
        if name not in rows and name.endswith(PRE) and name.removesuffix(PRE) in rows:
            layer = name.removesuffix(PRE)
            raise LayerNotFound(
                f"{layer!r} has no fused activation that could be seen by itself: Keras runs this model. "
                f"Ask for {layer!r}."
            )
        if name not in rows:
            raise no_such_layer(name, rows)
        return rows[name]


class _Collector:
    """The values of chosen rows, copied out while the model runs."""

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self.values: dict[str, FloatArray] = {}
        self._rows = rows

    def take_inputs(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        for name, array in arrays.items():
            if name in self._rows:
                self._keep(name, array)

    def begin(self, tensors: Sequence[Any]) -> None:
        """What the model is fed is known."""

    def heard(self, name: str, layer: Any, taken: tuple[Any, ...], made: Any) -> None:
        for number, tensor in enumerate(tensors_in(made)):
            place = output_name(name, number)
            if place in self._rows:
                self._keep(place, as_numpy(tensor))
        if len(self.values) == len(self._rows):
            raise Complete

    def end(self, model: Any, made: Any) -> None:
        self.heard(model.name, model, (), made)

    def _keep(self, name: str, array: NDArray[Any]) -> None:
        row = self._rows[name]
        if channels_last(array.shape, row.axis) != row.layer.shape:
            raise UsageError(
                f"{name!r} has the shape {array.shape} for this picture, and had another when the network "
                "was opened: its call depends on what it sees. Open it again."
            )
        first = np.array(array if array.ndim < 3 else np.moveaxis(array, row.axis, 1), np.float32, order="C")
        first.flags.writeable = False
        # A view, which nobody can make writable.
        self.values[name] = first.transpose(0, *range(2, first.ndim), 1) if first.ndim > 2 else first.view()
