"""One picture through one network into one output: what every command that draws does."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fluoroscope.cli.inputs import files_of
from fluoroscope.cli.opening import NetworkOptions
from fluoroscope.cli.outcome import LayerNumbers, Outcome, Watched, layer_numbers
from fluoroscope.cli.preparing import PictureOptions
from fluoroscope.cli.progress import Progress
from fluoroscope.drawing.style import Style
from fluoroscope.errors import LayerNotFound, UsageError
from fluoroscope.output.typography import counted, speakable

if TYPE_CHECKING:
    from fluoroscope.activations import Activations
    from fluoroscope.images import Fed
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
    inputs
        Input -> path, of the inputs that are the same for every picture.
    options
        How the pictures are prepared.
    network
        How the network is opened; its memory also bounds the activations held at a time.
    """

    model: str
    layers: str | None = None
    channel: int | None = None
    classes: tuple[str, ...] = ()
    style: Style = field(default_factory=Style)
    inputs: Mapping[str, str] = field(default_factory=dict[str, str])
    options: PictureOptions = field(default_factory=PictureOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)

    def open(self) -> Network:
        """The network."""
        return self.network.open(self.model)

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
        self, network: Network, names: Sequence[str], path: str | None, output: str, progress: Progress
    ) -> Outcome:
        """One picture, or what `inputs` name, into one output."""
        from fluoroscope.capturing import Groups
        from fluoroscope.network.own_scaling import own_scaling
        from fluoroscope.output.predictions import read_prediction
        from fluoroscope.output.save import save
        from fluoroscope.preparing import takes_picture

        start = time.perf_counter()
        files = files_of(network, self.inputs, path)
        fed = self.options.prepare(network, files)
        progress.running()
        groups = Groups(network, fed, names, memory=self.network.budget.memory)
        # A single group is run once, however often it is looked at.
        watched = Watched(list(groups) if len(groups) == 1 else groups)
        if self.channel is None:
            save(watched, output, self.style, classes=self.classes, count=len(names), progress=progress.layer)
            numbers = tuple(watched.layers[name] for name in names)
        else:
            numbers = (_save_channel(watched, names[0], self.channel, output, self.style),)
        rows = {layer.name: layer for layer in network.layers}
        specs = {spec.name: spec for spec in network.inputs}
        predictions = watched.last.predictions if watched.last is not None else {}
        return Outcome(
            picture=path if path is not None else next(iter(files.values())),
            inputs=files,
            output=output,
            seconds=time.perf_counter() - start,
            steps=_steps(fed),
            layers=numbers,
            predictions=tuple(
                read_prediction(rows[name], values, self.classes) for name, values in predictions.items()
            ),
            remarks=tuple(
                # `prepare` says so last where it is so.
                speakable(own.steps[-1])
                for name, own in fed.items()
                if takes_picture(specs[name]) and own_scaling(network, name) is not None
            ),
        )


def _steps(fed: Mapping[str, Fed]) -> tuple[str, ...]:
    """Every step to every input, said of which where there are several."""
    if len(fed) == 1:
        return next(iter(fed.values())).steps
    return tuple(f"{name}: {step}" for name, own in fed.items() for step in own.steps)


def _save_channel(
    parts: Iterable[Activations], layer: str, channel: int, output: str, style: Style
) -> LayerNumbers:
    """One channel with its legend."""
    (acts,) = parts
    maps = acts[layer]
    maps[channel].save(output, style)
    return layer_numbers(maps[[channel]])
