"""Passes of a module, one at a time: to learn its table, or to collect values."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from threading import RLock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fluoroscope.errors import FluoroscopeError, NetworkError
from fluoroscope.formats.live.torch.collecting import Collector, Complete, OnePictureOnly
from fluoroscope.formats.live.torch.layout import input_tensor
from fluoroscope.formats.live.torch.modules import Modules
from fluoroscope.formats.live.torch.pool import Pool
from fluoroscope.formats.live.torch.tracing import Row, Table, Tracer
from fluoroscope.formats.live.torch.undisturbed import undisturbed
from fluoroscope.formats.live.torch.watching import Listener, Watch
from fluoroscope.network.protocol import FloatArray


class Runner:
    """Runs a module where it lies, on its own device and in its own precision.

    Parameters
    ----------
    module
        What is run. It is afterwards as it was before, also when a pass fails.
    name
        For messages.
    """

    def __init__(self, module: nn.Module, name: str) -> None:
        self.module = module
        self.name = name
        self._modules = Modules.of(module)
        self._pool = Pool()
        # Hooks and modes belong to the module, of which there is one.
        self._lock = RLock()

    def trace(self, shapes: Mapping[str, tuple[int, ...]]) -> Table:
        """The table for one black picture; `shapes` by input name, channels last, without batch."""
        arrays = {name: np.zeros((1, *shape), np.float32) for name, shape in shapes.items()}
        with self._lock:
            inputs = self._tensors(arrays)
            tracer = Tracer(self.module, self._modules, inputs)
            table = tracer.table(self._pass(tracer, inputs))
            if not table.opened <= self._modules.opened:
                # Now that they are known to be networks of their own, once more.
                self._modules.opened |= table.opened
                return self.trace(shapes)
            return table

    def collect(
        self, arrays: Mapping[str, NDArray[Any]], wanted: Mapping[str, Row], result: str
    ) -> dict[str, FloatArray]:
        """Values of rows for a batch, each (pictures, channels, ...), contiguous, read-only.

        Parameters
        ----------
        result
            `Table.result`.
        """
        pictures = len(next(iter(arrays.values())))
        with self._lock:
            self._pool.expect(_stored_shape(row, pictures) for row in wanted.values())
            try:
                return self._collect(arrays, wanted, result, pictures)
            except OnePictureOnly:
                single = [
                    self._collect({k: a[i : i + 1] for k, a in arrays.items()}, wanted, result, 1)
                    for i in range(pictures)
                ]
        values = {name: np.concatenate([each[name] for each in single]) for name in wanted}
        for array in values.values():
            array.flags.writeable = False
        return values

    def _collect(
        self, arrays: Mapping[str, NDArray[Any]], wanted: Mapping[str, Row], result: str, pictures: int
    ) -> dict[str, FloatArray]:
        collector = Collector(wanted, pictures, self._pool)
        try:
            collector.returned(result, self._pass(collector, self._tensors(arrays)))
        except Complete:
            return collector.values
        missing = sorted(wanted.keys() - collector.values.keys())
        raise NetworkError(
            f"{missing[0]!r} was not computed for this picture, though it was when the network was opened: "
            "the forward "
            f"of {self.name!r} depends on what it sees. Leave it out: --layers '!{missing[0]}'."
        )

    def _pass(self, listener: Listener, inputs: Mapping[str, torch.Tensor]) -> Any:
        try:
            with undisturbed(self.module), Watch(self._modules, listener):
                if len(inputs) == 1:
                    return self.module(*inputs.values())
                return self.module(**inputs)
        except (FluoroscopeError, OnePictureOnly):
            raise
        except Exception as error:
            shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in inputs.items())
            raise NetworkError(
                f"The forward of {self.name!r} failed on {shapes}: {type(error).__name__}: {error}"
            ) from error

    def _tensors(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
        """The arrays as the module's first weights are: device, precision, order in memory."""
        weights = chain(self.module.parameters(), self.module.buffers())
        none = torch.empty(0)
        first = next(weights, none)
        floating = next((weight for weight in chain([first], weights) if weight.is_floating_point()), none)
        return {name: input_tensor(array, first.device, floating.dtype) for name, array in arrays.items()}


def _stored_shape(row: Row, pictures: int) -> tuple[int, ...]:
    return (pictures, *(size or 0 for size in row.layer.shape))
