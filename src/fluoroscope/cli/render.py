"""``fluoroscope render``: what a network makes of pictures, into files."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluoroscope.cli import destination
from fluoroscope.cli.failures import TITLES, as_json, message
from fluoroscope.cli.options import (
    OUTPUT,
    ChannelOption,
    ClassesOption,
    ColormapOption,
    ColumnsOption,
    DebugOption,
    FitOption,
    ForceOption,
    FrameOption,
    GapOption,
    ImagesArgument,
    JsonOption,
    LayersOption,
    LimitsOption,
    MeanOption,
    MemoryOption,
    Method,
    MethodOption,
    ModelArgument,
    PercentilesOption,
    PresetOption,
    QuietOption,
    ResampleOption,
    ScaleOption,
    Scope,
    ScopeOption,
    SizeOption,
    StdOption,
    ThreadsOption,
    ZoomOption,
    parse_classes,
    parse_pair,
)
from fluoroscope.cli.outcome import Outcome, Watched, network_remarks
from fluoroscope.cli.pictures import Pictures, find_pictures
from fluoroscope.cli.progress import Progress
from fluoroscope.cli.terminal import show_json
from fluoroscope.errors import BudgetExceeded, LayerNotFound, PictureError, UsageError
from fluoroscope.output.typography import counted

if TYPE_CHECKING:
    from fluoroscope.activations import Activations
    from fluoroscope.cli.preparing import PictureOptions
    from fluoroscope.drawing.scaling import Scaling
    from fluoroscope.drawing.style import Style
    from fluoroscope.network.protocol import Network


def render(
    model: ModelArgument,
    images: ImagesArgument,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            rich_help_panel=OUTPUT,
            help="OUT.pdf: a page a layer. OUT.png: one large picture. OUT.npz: the values. OUT/: a folder "
            "with a PNG a layer, the values and a manifest. {name} stands for the name of the picture.",
            show_default=f"{destination.DEFAULT}.pdf; for several pictures a folder of that name, a PDF each",
        ),
    ] = None,
    force: ForceOption = False,
    layers: LayersOption = None,
    channel: ChannelOption = None,
    classes: ClassesOption = None,
    scaling: MethodOption = "zscore",
    scope: ScopeOption = "channel",
    percentiles: PercentilesOption = None,
    limits: LimitsOption = None,
    colormap: ColormapOption = None,
    columns: ColumnsOption = 16,
    zoom: ZoomOption = 1,
    gap: GapOption = 1,
    size: SizeOption = None,
    fit: FitOption = "stretch",
    resample: ResampleOption = "nearest",
    preprocess: PresetOption = None,
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    frame: FrameOption = 0,
    memory: MemoryOption = "2G",
    threads: ThreadsOption = 0,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Draw every channel of every layer of a network for a picture, to a PDF, a PNG, a folder or the values.

    Nothing is dropped, cut or rescaled unseen: what was done to the picture and how values became colours
    stands in every output. Several pictures get an output each; one that cannot be read is reported and
    skipped, and the exit code is 4 at the end. Activations that are together over the memory budget are taken
    a few layers at a time.
    """
    from fluoroscope.cli.preparing import PictureOptions
    from fluoroscope.drawing.style import Style
    from fluoroscope.network.budget import parse_bytes

    style = Style(
        scaling=_scaling(scaling, scope, percentiles, limits),
        colormap=colormap,
        columns=columns,
        zoom=zoom,
        gap=gap,
    )
    options = PictureOptions(
        size=size, fit=fit, resample=resample, preset=preprocess, scale=scale, mean=mean, std=std, frame=frame
    )
    job = Job(
        model=model,
        layers=layers,
        channel=channel,
        classes=parse_classes(classes) if classes is not None else (),
        style=style,
        options=options,
        memory=parse_bytes(memory),
        threads=threads,
    )
    code = run(job, find_pictures(images), output, force=force, json=json, quiet=quiet)
    raise typer.Exit(code)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is done with each picture."""

    model: str
    layers: str | None
    channel: int | None
    classes: tuple[str, ...]
    style: Style
    options: PictureOptions
    memory: int
    threads: int

    def open(self) -> Network:
        """The network, in the memory allowed."""
        from fluoroscope.formats import open_network
        from fluoroscope.network.budget import Budget

        return open_network(self.model, budget=Budget(memory=self.memory), threads=self.threads)

    def select(self, network: Network) -> tuple[str, ...]:
        """Names of the layers meant.

        Raises
        ------
        LayerNotFound, UsageError
            None, or not the one layer that a channel is of.
        """
        from fluoroscope.network.selection import select

        names = select(network, self.layers)
        if self.channel is None:
            return names
        if len(names) != 1:
            raise UsageError(
                f"--channel {self.channel} is of one layer, and there are {len(names)}. "
                "Name it: --layers conv2d_2 --channel 10."
            )
        return names

    def render(
        self, network: Network, names: Sequence[str], path: str, output: str, progress: Progress
    ) -> Outcome:
        """One picture into one output."""
        from fluoroscope.capturing import Groups
        from fluoroscope.output.predictions import read_prediction
        from fluoroscope.output.save import save

        start = time.perf_counter()
        prepared = self.options.prepare(network, path)
        groups = Groups(network, prepared, names, memory=self.memory)
        # A single group is run once, however often it is looked at.
        watched = Watched(list(groups) if len(groups) == 1 else groups)
        if self.channel is None:
            save(watched, output, self.style, classes=self.classes, count=len(names), progress=progress.layer)
        else:
            _save_channel(watched, names[0], self.channel, output, self.style)
        rows = {layer.name: layer for layer in network.layers}
        predictions = watched.last.predictions if watched.last is not None else {}
        return Outcome(
            picture=path,
            output=output,
            seconds=time.perf_counter() - start,
            steps=prepared.steps,
            layers=tuple(watched.layers[name] for name in names),
            predictions=tuple(
                read_prediction(rows[name], values, self.classes) for name, values in predictions.items()
            ),
        )


def run(job: Job, pictures: Pictures, output: str | None, *, force: bool, json: bool, quiet: bool) -> int:
    """Render pictures and say what came of it.

    Returns
    -------
    int
        The exit code: 0, or that of the pictures that failed.
    """
    talk = not (quiet or json)
    results: list[dict[str, Any]] = []
    codes: list[int] = []
    with Progress(len(pictures.paths), shown=talk) as progress:
        network = job.open()
        names = job.select(network)
        if job.channel is None:
            outputs = destination.outputs(output, pictures)
        else:
            outputs = destination.channel_outputs(output, pictures, names[0], job.channel)
        destination.check(outputs, [job.model, *pictures.paths], force=force)
        if talk:
            for remark in network_remarks(network):
                print(remark)
        for done, (path, target) in enumerate(zip(pictures.paths, outputs, strict=True)):
            progress.picture(done, path)
            try:
                outcome = job.render(network, names, path, target, progress)
            except (PictureError, BudgetExceeded) as error:
                if not pictures.several:
                    raise
                codes.append(error.exit_code)
                results.append({"picture": path, "error": as_json(error)})
                if not json:
                    print(f"Skipped. {TITLES[error.exit_code]}: {message(error)}", file=sys.stderr)
                continue
            results.append(outcome.as_json())
            if talk:
                print(outcome.words())
    if json:
        show_json({"network": job.model, "results": results, "left_out": pictures.left_out})
    elif codes:
        print(f"{len(codes)} of {counted(len(pictures.paths), 'picture')} skipped.", file=sys.stderr)
    return codes[0] if len(set(codes)) == 1 else PictureError.exit_code if codes else 0


def _scaling(method: Method, scope: Scope, percentiles: str | None, limits: str | None) -> Scaling:
    """The scaling that the options mean.

    Raises
    ------
    UsageError
        Percentiles or limits for a method that does not take them.
    """
    from fluoroscope.drawing.scaling import Scaling

    if percentiles is not None and method != "percentile":
        raise UsageError(f"--percentiles goes with --scaling percentile, not {method}.")
    if limits is not None and method not in ("fixed", "zscore"):
        raise UsageError(f"--limits goes with --scaling fixed, not {method}.")
    if limits is not None:
        low, high = parse_pair(limits, "--limits")
        return Scaling("fixed", scope=scope, low=low, high=high)
    if method == "fixed":
        raise UsageError("--scaling fixed needs --limits LOW,HIGH, in activation units.")
    if percentiles is not None:
        return Scaling(method, scope=scope, percentiles=parse_pair(percentiles, "--percentiles"))
    return Scaling(method, scope=scope)


def _save_channel(parts: Iterable[Activations], layer: str, channel: int, output: str, style: Style) -> None:
    """One channel with its legend."""
    for acts in parts:
        maps = acts[layer]
        if not 0 <= channel < len(maps):
            raise LayerNotFound(f"{layer!r} has the channels 0 to {len(maps) - 1}; there is no {channel}.")
        maps[channel].save(output, style)
