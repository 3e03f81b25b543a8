"""The values of chosen rows, copied out while a model runs."""

from __future__ import annotations

import weakref
from collections.abc import Mapping

import torch
from torch import nn

from fluoroscope.errors import UsageError
from fluoroscope.formats.live.torch.attention import Weights
from fluoroscope.formats.live.torch.layout import Layout, filled
from fluoroscope.formats.live.torch.pool import Pool
from fluoroscope.formats.live.torch.tracing import Row
from fluoroscope.formats.live.torch.values import outputs_in
from fluoroscope.formats.live.torch.watching import Call
from fluoroscope.network.protocol import FloatArray


class Complete(BaseException):
    """Ends a pass when all that was asked for is there. No error, and not to be caught as one by the
    model."""


class OnePictureOnly(Exception):
    """What was asked for mixes the pictures of a batch: they have to be run one by one."""


class Collector:
    """Listens to one pass and copies what is wanted, at once: a later operation may overwrite it in place.

    Parameters
    ----------
    wanted
        Row name -> row.
    pictures
        How many the batch has.
    pool
        Where the copies lie.

    Attributes
    ----------
    values
        Row name -> (pictures, channels, ...), contiguous.
    """

    def __init__(self, wanted: Mapping[str, Row], pictures: int, pool: Pool) -> None:
        self.values: dict[str, FloatArray] = {}
        self._wanted = wanted
        self._pictures = pictures
        self._pool = pool
        # The tensor copied last, how often it was written to by then, its layout, and the copy.
        self._last: tuple[weakref.ref[torch.Tensor], int, Layout, FloatArray] | None = None

    def wants(self, name: str) -> bool:
        return name in self._wanted

    def flowed(
        self, function: str, inputs: tuple[object, ...], output: object, inside: nn.Module | None
    ) -> None:
        """Where values flow to is known already."""

    def attended(self, name: str, weights: Weights, inputs: tuple[object, ...]) -> None:
        if name in self._wanted:
            self._keep(name, weights.compute())

    def called(self, call: Call, output: object) -> None:
        if isinstance(output, torch.Tensor):
            if call.name in self._wanted:
                self._keep(call.name, output)
            return
        self.returned(call.name, output)

    def returned(self, name: str, output: object) -> None:
        """Copy what is wanted of the outputs called `name`."""
        for suffix, tensor in outputs_in(output):
            if name + suffix in self._wanted:
                self._keep(name + suffix, tensor)

    def _keep(self, name: str, tensor: torch.Tensor) -> None:
        row = self._wanted[name]
        layout = row.layout
        mixed = (
            layout.batch is None
            or layout.batch >= tensor.ndim
            or tensor.shape[layout.batch] != self._pictures
        )
        if mixed and self._pictures > 1:
            raise OnePictureOnly
        if (layout.batch is not None and mixed) or layout.layer_shape(tensor.shape) != row.layer.shape:
            raise UsageError(
                f"{name!r} has the shape {list(tensor.shape)} for this picture, and had another when the "
                "network was "
                "opened: its forward depends on what it sees. Open it again: open_network(model, "
                "input_shape=...)."
            )
        # A module may return the very tensor it was given (Identity, Dropout): one copy is enough.
        known = self._last
        same = known is not None and known[0]() is tensor and not tensor.is_inference()
        if known is not None and same and known[1:3] == (tensor._version, layout):
            self._store(name, known[3])
            return
        first = layout.canonical(tensor)
        array, kept = self._pool.take(first.shape)
        filled(array, first)
        version = -1 if tensor.is_inference() else tensor._version
        self._last = (weakref.ref(tensor), version, layout, kept)
        self._store(name, kept)

    def _store(self, name: str, array: FloatArray) -> None:
        self.values[name] = array
        if len(self.values) == len(self._wanted):
            raise Complete
