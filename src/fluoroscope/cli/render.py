"""``fluoroscope render``: what a network makes of pictures, into files."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluoroscope.cli import destination
from fluoroscope.cli.class_names import parse_classes
from fluoroscope.cli.failures import TITLES, as_json, message
from fluoroscope.cli.inputs import parse_inputs
from fluoroscope.cli.options import (
    OUTPUT,
    ArchOption,
    ChannelOption,
    ClassesOption,
    ColormapOption,
    ColumnsOption,
    ConfigOption,
    DebugOption,
    DeviceOption,
    ExpansionOption,
    ExternalOption,
    FitOption,
    ForceOption,
    FrameOption,
    GapOption,
    ImagesArgument,
    InputOption,
    IsolateOption,
    JsonOption,
    LayersOption,
    LimitsOption,
    MeanOption,
    MemoryOption,
    Method,
    MethodOption,
    ModelArgument,
    PercentilesOption,
    PrecisionOption,
    PresetOption,
    QuietOption,
    ReplaceOption,
    ResampleOption,
    ScaleOption,
    Scope,
    ScopeOption,
    SizeOption,
    StdOption,
    ThreadsOption,
    TimeoutOption,
    WorkOption,
    ZoomOption,
    parse_pair,
)
from fluoroscope.cli.outcome import network_remarks
from fluoroscope.cli.pictures import Pictures, find_pictures
from fluoroscope.cli.progress import Progress
from fluoroscope.cli.terminal import show_json
from fluoroscope.errors import BudgetExceeded, PictureError, UsageError, WorkerFailed
from fluoroscope.output.typography import counted

if TYPE_CHECKING:
    from fluoroscope.cli.job import Job
    from fluoroscope.drawing.scaling import Scaling


def render(
    model: ModelArgument,
    images: ImagesArgument = None,
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
    arch: ArchOption = None,
    config: ConfigOption = None,
    replace: ReplaceOption = None,
    input: InputOption = None,
    size: SizeOption = None,
    fit: FitOption = "stretch",
    resample: ResampleOption = "nearest",
    preprocess: PresetOption = None,
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    frame: FrameOption = 0,
    external: ExternalOption = None,
    memory: MemoryOption = "2G",
    work: WorkOption = 1e13,
    expansion: ExpansionOption = 100,
    threads: ThreadsOption = 0,
    device: DeviceOption = "cpu",
    precision: PrecisionOption = "float32",
    isolate: IsolateOption = False,
    timeout: TimeoutOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Draw every channel of every layer of a network for a picture, to a PDF, a PNG, a folder or the values.

    Nothing is dropped, cut or rescaled unseen: what was done to the picture and how values became colours
    stands in every output. A network with several inputs gets a file for each: --input left=a.png --input
    right=b.png. Several pictures get an output each; one that cannot be read is reported and
    skipped, and the exit code is 4 at the end. Activations that are together over the memory budget are taken
    a few layers at a time.
    """
    from fluoroscope.cli.job import Job
    from fluoroscope.cli.opening import NetworkOptions
    from fluoroscope.cli.preparing import PictureOptions
    from fluoroscope.drawing.style import Style

    network = NetworkOptions(
        arch=arch,
        config=config,
        replace=replace,
        external=external,
        memory=memory,
        work=work,
        expansion=expansion,
        isolate=isolate,
        timeout=timeout,
        threads=threads,
        device=device,
        precision=precision,
    )
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
        inputs=parse_inputs(input),
        options=options,
        network=network,
    )
    if not images and not job.inputs:
        raise UsageError("There is nothing to show to the network: give a picture, or --input NAME=PATH.")
    pictures = find_pictures(images) if images else None
    code = run(job, pictures, output, force=force, json=json, quiet=quiet)
    raise typer.Exit(code)


def run(
    job: Job, pictures: Pictures | None, output: str | None, *, force: bool, json: bool, quiet: bool
) -> int:
    """Render pictures and say what came of it.

    Parameters
    ----------
    pictures
        None where all inputs are named in `job`: then there is one result.

    Returns
    -------
    int
        The exit code: 0, or that of the pictures that failed.
    """
    talk = not (quiet or json)
    named = pictures is None
    # The first of them gives its name to the result.
    pictures = find_pictures(list(job.inputs.values())[:1]) if pictures is None else pictures
    results: list[dict[str, Any]] = []
    codes: list[int] = []
    with Progress(len(pictures.paths), shown=talk) as progress:
        network = job.open()
        names = job.select(network)
        if job.channel is None:
            outputs = destination.outputs(output, pictures)
        else:
            outputs = destination.channel_outputs(output, pictures, names[0], job.channel)
        destination.check(outputs, [job.model, *pictures.paths, *job.inputs.values()], force=force)
        if talk:
            for remark in network_remarks(network):
                print(remark)
            if pictures.left_out:
                print(f"{counted(pictures.left_out, 'other file')} in folders left out.", file=sys.stderr)
        for done, (path, target) in enumerate(zip(pictures.paths, outputs, strict=True)):
            progress.picture(done, path)
            try:
                outcome = job.render(network, names, None if named else path, target, progress)
            except (PictureError, BudgetExceeded, WorkerFailed) as error:
                if not pictures.several:
                    raise
                codes.append(error.exit_code)
                if json:
                    results.append({"picture": path, "error": as_json(error)})
                else:
                    print(f"Skipped. {TITLES[error.exit_code]}: {message(error)}", file=sys.stderr)
                continue
            # Kept only where it will be told: there can be many pictures.
            if json:
                results.append(outcome.as_json())
            elif talk:
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
