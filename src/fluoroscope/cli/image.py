"""``fluoroscope image``: the picture as it is read, and as the network gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluoroscope.cli import destination
from fluoroscope.cli.inputs import parse_inputs
from fluoroscope.cli.options import (
    OUTPUT,
    ArchOption,
    ConfigOption,
    DebugOption,
    ExpansionOption,
    ExternalOption,
    FitOption,
    ForceOption,
    FrameOption,
    ImageArgument,
    InputOption,
    IsolateOption,
    JsonOption,
    MeanOption,
    MemoryOption,
    ModelArgument,
    PresetOption,
    ReplaceOption,
    ResampleOption,
    ScaleOption,
    SizeOption,
    StdOption,
    TimeoutOption,
    WorkOption,
)
from fluoroscope.cli.terminal import console, show, show_json
from fluoroscope.errors import UsageError
from fluoroscope.output.typography import number, speakable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fluoroscope.images import Prepared
    from fluoroscope.network.protocol import Network

_GAP = 16
"""Pixels between the two pictures of the PNG."""


def image(
    model: ModelArgument,
    image: ImageArgument = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT.png",
            rich_help_panel=OUTPUT,
            help="The picture as read and as the network gets it, side by side.",
            show_default="none",
        ),
    ] = None,
    force: ForceOption = False,
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
    isolate: IsolateOption = False,
    timeout: TimeoutOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show a picture as it is read and as a network gets it, with its numbers and every step between.

    Try the options here before rendering: wrong preprocessing gives wrong feature maps, and no error.
    """
    from fluoroscope.cli.opening import NetworkOptions
    from fluoroscope.cli.preparing import PictureOptions

    named = parse_inputs(input)
    if (image is not None) + len(named) != 1:
        raise UsageError(
            "One picture is shown at a time: give its path, or for a network with several inputs --input "
            "NAME=PATH."
        )
    wanted, path = next(iter(named.items()), (None, image or ""))
    options = PictureOptions(
        size=size, fit=fit, resample=resample, preset=preprocess, scale=scale, mean=mean, std=std, frame=frame
    )
    if output is not None:
        if not output.lower().endswith(".png"):
            raise UsageError(f"The two pictures become a PNG: {output!r} should end in .png.")
        destination.check([output], [model, path], force=force)
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
    ).open(model)
    prepared = options.prepare_one(network, wanted, path)
    if output is not None:
        _save_pair(prepared, output)
    if json:
        show_json({**as_json(prepared), "output": output})
    else:
        _print(network, prepared)
        if output is not None:
            print(f"\nBoth side by side: {speakable(output)}")


def as_json(prepared: Prepared) -> dict[str, Any]:
    """Both pictures for machines; ``docs/cli.md`` says what each entry means."""
    from fluoroscope.images.preprocessing import describe

    picture = prepared.image
    return {
        "picture": {
            "name": picture.name,
            "path": picture.path,
            "sha256": picture.sha256,
            "shape": list(picture.pixels.shape),
            "dtype": str(picture.pixels.dtype),
            "white": picture.white,
            **describe(picture.pixels),
        },
        "tensor": {
            "shape": list(prepared.values.shape),
            "dtype": str(prepared.values.dtype),
            **prepared.numbers(),
        },
        "steps": list(prepared.steps),
    }


def _print(network: Network, prepared: Prepared) -> None:
    from rich.text import Text

    target = console()
    title = Text(speakable(prepared.image.name), "bold").append(" for ", "not bold dim")
    title.append(speakable(network.name), "bold")
    steps = [
        Text(f"{index}  ", "dim").append(speakable(step), "not dim")
        for index, step in enumerate(prepared.steps, 1)
    ]
    preview = [_preview(prepared.picture, target)] if _can_preview(target) else []
    show(title, Text(), *preview, _numbers(prepared), Text(), *steps)


def _numbers(prepared: Prepared) -> Table:
    """A line for each channel, as read and as given to the network."""
    from rich import box
    from rich.table import Table

    from fluoroscope.images.preprocessing import describe

    table = Table(
        box=box.SIMPLE_HEAD if console().is_terminal else None,
        show_edge=False,
        border_style="dim",
        header_style="bold",
        pad_edge=False,
    )
    table.add_column("")
    for heading in ("channel", "min", "max", "mean", "std"):
        table.add_column(heading, justify="right")
    for label, pixels in (("as read", prepared.image.pixels), ("as given", prepared.values)):
        figures = describe(pixels)
        shape = " × ".join(map(str, pixels.shape))
        for channel in range(pixels.shape[-1]):
            table.add_row(
                f"{label}: {shape} {pixels.dtype}" if channel == 0 else "",
                str(channel),
                *(number(figures[name][channel], 5) for name in ("min", "max", "mean", "std")),
            )
    return table


def _can_preview(target: Console) -> bool:
    """Two pixels in a character need colours, and a half block in the encoding."""
    coloured = target.color_system in ("256", "truecolor") and not target.no_color
    return target.is_terminal and coloured and not target.options.ascii_only


def _preview(picture: NDArray[np.uint8], target: Console) -> Text:
    """The picture as the network gets it, small: a character is two pixels, one above the other."""
    import numpy as np
    from rich.color import Color
    from rich.style import Style
    from rich.text import Text

    height, width = picture.shape[:2]
    # Characters are about twice as high as wide, so that half of one is a square.
    columns = min(width, target.width - 1, 48)
    rows = max(2, round(height * columns / width) // 2 * 2)
    if rows > 48:
        rows, columns = 48, max(1, round(48 * width / height))
    ys = ((np.arange(rows) + 0.5) * height / rows).astype(int)
    xs = ((np.arange(columns) + 0.5) * width / columns).astype(int)
    small = np.broadcast_to(picture[ys][:, xs], (rows, columns, 3)).tolist()
    text = Text()
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        for above, below in zip(upper, lower, strict=True):
            text.append("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
        text.append("\n")
    return text


def _save_pair(prepared: Prepared, path: str) -> None:
    """A PNG with the picture at its own size, and beside it what the network gets, in whole steps."""
    import numpy as np

    from fluoroscope.output.png import encode

    before, after = prepared.image.levels(), prepared.picture
    zoom = max(1, before.shape[0] // after.shape[0])
    after = after.repeat(zoom, axis=0).repeat(zoom, axis=1)
    height = max(before.shape[0], after.shape[0])
    sheet = np.full((height, before.shape[1] + _GAP + after.shape[1], 3), 255, np.uint8)
    # One channel of grey spreads over the three.
    sheet[: before.shape[0], : before.shape[1]] = before
    sheet[: after.shape[0], before.shape[1] + _GAP :] = after
    text = {"Software": "Fluoroscope", "Title": prepared.image.name, "Description": "; ".join(prepared.steps)}
    encode(sheet).save(path, text)
