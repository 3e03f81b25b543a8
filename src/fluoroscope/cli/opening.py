"""A network opened as the options say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed
from functools import partial
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

from fluoroscope.cli.options import Device, Precision
from fluoroscope.errors import UsageError
from fluoroscope.network.budget import MOST_THREADS, Budget, parse_bytes

if TYPE_CHECKING:
    from fluoroscope.network.protocol import Network

_MEANWHILE = ("fluoroscope.capturing", "fluoroscope.images.reading", "fluoroscope.output.save")
"""What will be needed once a network is open."""


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """The options of the network, checked as far as they can be before anything is read.

    Attributes
    ----------
    arch, config, replace
        As --arch, --config and --replace have them.
    external
        Other files that hold its weights.
    budget
        What the options of memory and time come to.

    Raises
    ------
    UsageError
        An option that means nothing, or contradicts another.
    """

    arch: str | None = None
    config: str | None = None
    replace: Sequence[str] | None = None
    external: Sequence[str] | None = None
    memory: str = "2G"
    work: float = 1e13
    expansion: int = 100
    isolate: bool = False
    timeout: float | None = None
    threads: int = 0
    device: Device = "cpu"
    precision: Precision = "float32"
    budget: Budget = field(init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.threads <= MOST_THREADS:
            raise UsageError(
                f"--threads is a number from 0 (one a core) to {MOST_THREADS:,}, not {self.threads}."
            )
        if self.timeout is not None and not self.isolate:
            raise UsageError("--timeout is held by a process that can be stopped: add --isolate.")
        if not 1 <= self.work < 1e18:
            raise UsageError(f"--work is a number of multiplications such as 1e14, not {self.work:g}.")
        budget = Budget(memory=parse_bytes(self.memory), work=int(self.work), expansion=self.expansion)
        if self.timeout is not None:
            budget = changed(budget, seconds=self.timeout)
        object.__setattr__(self, "budget", budget)

    def open(self, model: str) -> Network:
        """The network at a path; errors as of `open_network`."""
        from fluoroscope.formats import open_network

        opened = partial(
            open_network,
            model,
            arch=self.arch,
            config=self.config,
            replace=self._wishes(),
            external=self.external or (),
            budget=self.budget,
            threads=self.threads,
            device=self.device,
            precision=self.precision,
            isolate=self.isolate,
        )
        if not self.isolate:
            return opened()
        # The other process is busy for a while, and this one has time to import.
        meanwhile = Thread(target=lambda: list(map(import_module, _MEANWHILE)))
        meanwhile.start()
        try:
            return opened()
        finally:
            meanwhile.join()

    def _wishes(self) -> dict[str, str]:
        """Layer -> what is to stand in its place."""
        from fluoroscope.formats.keras.replace import split_option

        wishes: dict[str, str] = {}
        for option in self.replace or ():
            layer, wish = split_option(option)
            if layer in wishes:
                raise UsageError(f"--replace {layer!r} is given twice: {wishes[layer]!r} and {wish!r}.")
            wishes[layer] = wish
        return wishes
