"""A live module as a `Network`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from fluoroscope.errors import LayerNotFound, UnsupportedLayer, UsageError
from fluoroscope.formats.live.torch.runner import Runner
from fluoroscope.formats.live.torch.tracing import Row, Table
from fluoroscope.network.budget import Budget, activation_bytes
from fluoroscope.network.protocol import FloatArray, InputSpec, Layer, Provenance
from fluoroscope.network.requests import named_arrays, no_such_layer
from fluoroscope.network.selection import PRE
from fluoroscope.network.summary import summary_html, summary_text


class TorchNetwork:
    """A `Network` (see the protocol) over a module and its own forward.

    Parameters
    ----------
    runner
        The module.
    inputs
        What it takes; sides are None where it takes any.
    table
        Its rows, for these inputs.
    provenance
        Where it came from.
    budget
        Limits for the activations.
    """

    def __init__(
        self,
        runner: Runner,
        inputs: Sequence[InputSpec],
        table: Table,
        provenance: Provenance,
        *,
        budget: Budget,
    ) -> None:
        self._runner = runner
        self._inputs = tuple(inputs)
        self._table = table
        self._layers = tuple(row.layer for row in table.rows.values())
        self._provenance = provenance
        self._budget = budget
        self._sized: TorchNetwork | None = None

    @property
    def name(self) -> str:
        return self._runner.name

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        return self._table.outputs

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
        return f"<TorchNetwork {self.name!r}: {len(self.layers)} layers, {self.provenance.writer}>"

    def summary(self) -> str:
        """The layer table as text."""
        return summary_text(self)

    def _repr_html_(self) -> str:
        return summary_html(self)

    def at_size(self, height: int, width: int) -> TorchNetwork:
        """The same network for pictures of another size; see `Network.at_size`. Costs one pass."""
        spec = self._inputs[0]
        if spec.shape[:2] == (height, width):
            return self
        if self._sized is not None and self._sized.inputs[0].shape[:2] == (height, width):
            return self._sized
        if len(self._inputs) != 1 or len(spec.shape) != 3 or None not in spec.shape[:2]:
            size = " x ".join(str(side) for side in spec.shape[:2])
            raise UsageError(
                f"{self.name!r} takes pictures of {size}, not {height} x {width}. "
                "Leave the size out: the picture is brought to the network's size."
            )
        shape = (height, width, spec.shape[2] or 0)
        table = self._runner.trace({spec.name: shape})
        self._sized = TorchNetwork(
            self._runner, [replace(spec, shape=shape)], table, self._provenance, budget=self._budget
        )
        return self._sized

    def run(
        self, batch: FloatArray | Mapping[str, FloatArray], names: Sequence[str]
    ) -> dict[str, FloatArray]:
        """Values of the layers called `names` for a batch; see `Network.run`."""
        names = [names] if isinstance(names, str) else list(dict.fromkeys(names))
        arrays = named_arrays(self.name, self._inputs, batch)
        if any(None in spec.shape for spec in self._inputs):
            height, width = arrays[self._inputs[0].name].shape[1:3]
            return self.at_size(height, width).run(batch, names)
        rows = {name: self._row(name) for name in names}
        pictures = len(next(iter(arrays.values())))
        self._budget.allow(
            sum(activation_bytes(row.layer.shape, pictures) for row in rows.values()),
            f"The activations asked for of {self.name!r}",
            "Ask for fewer layers or pictures at a time.",
        )
        # An input is what was given, whatever the module does to its copy.
        values = {
            name: np.array(np.moveaxis(arrays[name], -1, 1), np.float32, order="C")
            for name in rows
            if name in arrays
        }
        wanted = {name: row for name, row in rows.items() if name not in values}
        if wanted:
            values |= self._runner.collect(arrays, wanted, self._table.result)
        results: dict[str, FloatArray] = {}
        for name in names:
            values[name].flags.writeable = False
            results[name] = np.moveaxis(values[name], 1, -1)
        return results

    def _row(self, name: str) -> Row:
        row = self._table.rows.get(name)
        if row is None:
            plain = name.removesuffix(PRE)
            if plain in self._table.rows:
                raise LayerNotFound(
                    f"{plain!r} has no fused activation, so nothing before it: ask for {plain!r}."
                )
            raise no_such_layer(name, self._table.rows)
        if row.layer.problem is not None:
            raise UnsupportedLayer(f"{name!r} cannot be run: {row.layer.problem}")
        return row


def weights_digest(module: torch.nn.Module) -> tuple[str, int]:
    """SHA-256 of the names and values of all weights and buffers, and their bytes."""
    digest, size = hashlib.sha256(), 0
    for name, tensor in module.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
            digest.update(raw.data)
            size += raw.nbytes
    return digest.hexdigest(), size
