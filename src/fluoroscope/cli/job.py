"""One picture through one network into one output: what every command that draws does."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fluoroscope.cli.outcome import LayerNumbers, Outcome, Watched, layer_numbers
from fluoroscope.cli.preparing import PictureOptions
from fluoroscope.cli.progress import Progress
from fluoroscope.drawing.style import Style
from fluoroscope.errors import LayerNotFound, UsageError
from fluoroscope.network.budget import Budget
from fluoroscope.output.typography import counted, speakable

if TYPE_CHECKING:
    from fluoroscope.activations import Activations
    from fluoroscope.network.protocol import Network


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is done with each picture.

    Attributes
    ----------
    model
        Path of the network.
    layers
        Which, as `select` takes them; None for the usual ones.
    channel
        The one channel of the one layer that is drawn; None for all.
    classes
        Names of the classes; empty if not given.
    style
        How maps are drawn.
    options
        How the picture is prepared.
    budget
        Memory for opening the network, and for the activations held at a time.
    threads
        That run the network; 0 for one a core.
    """

    model: str
    layers: str | None = None
    channel: int | None = None
    classes: tuple[str, ...] = ()
    style: Style = field(default_factory=Style)
    options: PictureOptions = field(default_factory=PictureOptions)
    budget: Budget = field(default_factory=Budget)
    threads: int = 0

    def open(self) -> Network:
        """The network."""
        from fluoroscope.formats import open_network

        return open_network(self.model, budget=self.budget, threads=self.threads)

    def select(self, network: Network) -> tuple[str, ...]:
        """Names of the layers meant.

        Raises
        ------
        LayerNotFound, UsageError
            None, or not the one layer that a channel is of.
        """
        from fluoroscope.network.selection import PRE, select

        names = select(network, self.layers)
        if self.channel is None:
            return names
        if self.style.scaling.needs_pooled:
            raise UsageError(
                "--scope network is of all layers, and --channel of one: take --scope channel or layer."
            )
        if len(names) != 1:
            raise UsageError(
                f"--channel {self.channel} is of one layer, and there are {len(names)}. "
                "Name it: --layers conv2d_2 --channel 10."
            )
        count = next(row.channels for row in network.layers if names[0] in (row.name, row.name + PRE))
        if not 0 <= self.channel < count:
            raise LayerNotFound(
                f"{names[0]!r} has {counted(count, 'channel')}, from 0 on; there is no {self.channel}."
            )
        return names

    def render(
        self, network: Network, names: Sequence[str], path: str, output: str, progress: Progress
    ) -> Outcome:
        """One picture into one output."""
        from fluoroscope.capturing import Groups
        from fluoroscope.network.own_scaling import own_scaling
        from fluoroscope.output.predictions import read_prediction
        from fluoroscope.output.save import save

        start = time.perf_counter()
        prepared = self.options.prepare(network, path)
        progress.running()
        groups = Groups(network, prepared, names, memory=self.budget.memory)
        # A single group is run once, however often it is looked at.
        watched = Watched(list(groups) if len(groups) == 1 else groups)
        if self.channel is None:
            save(watched, output, self.style, classes=self.classes, count=len(names), progress=progress.layer)
            numbers = tuple(watched.layers[name] for name in names)
        else:
            numbers = (_save_channel(watched, names[0], self.channel, output, self.style),)
        rows = {layer.name: layer for layer in network.layers}
        predictions = watched.last.predictions if watched.last is not None else {}
        return Outcome(
            picture=path,
            output=output,
            seconds=time.perf_counter() - start,
            steps=prepared.steps,
            layers=numbers,
            predictions=tuple(
                read_prediction(rows[name], values, self.classes) for name, values in predictions.items()
            ),
            # `prepare` says so last where it is so.
            remark=speakable(prepared.steps[-1]) if own_scaling(network) is not None else None,
        )


def _save_channel(
    parts: Iterable[Activations], layer: str, channel: int, output: str, style: Style
) -> LayerNumbers:
    """One channel with its legend."""
    (acts,) = parts
    maps = acts[layer]
    maps[channel].save(output, style)
    return layer_numbers(maps[[channel]])
