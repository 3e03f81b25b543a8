"""``fluoroscope demo``: the bundled network and X-ray, and what to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fluoroscope.cli import destination
from fluoroscope.cli.options import OUTPUT, DebugOption, ForceOption, JsonOption
from fluoroscope.cli.outcome import Outcome
from fluoroscope.cli.pictures import find_pictures
from fluoroscope.cli.progress import Progress
from fluoroscope.cli.terminal import painted, show_json, wrapped
from fluoroscope.output.typography import counted, numbers_in_runs, percent

if TYPE_CHECKING:
    from fluoroscope.activations import Activations

_BAR = 24
"""Characters of a bar that stands for all of a layer."""

_HONESTY = (
    "This is a demonstration and no diagnostic: what so small a network says of an X-ray means nothing for "
    "anybody's health."
)


def demo(
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            rich_help_panel=OUTPUT,
            help="A .pdf, .png or .npz file, or a folder, as in `fluoroscope render`.",
        ),
    ] = f"{destination.DEFAULT}.pdf",
    force: ForceOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Draw what the bundled network makes of the bundled X-ray, and say what to look at.

    A small network of four convolutions, in a file as Keras 2 wrote them. A demonstration, no diagnostic.
    """
    from fluoroscope import demo as bundled
    from fluoroscope.cli.job import Job
    from fluoroscope.cli.preparing import PictureOptions

    model, picture = str(bundled.network_path()), str(bundled.image_path())
    (target,) = destination.outputs(output, find_pictures([picture]))
    destination.check([target], [model, picture], force=force)
    # As the network was trained: on pictures brought to its size smoothly.
    job = Job(model=model, classes=bundled.classes(), options=PictureOptions(resample="bilinear"))
    with Progress(shown=not json) as progress:
        network = job.open()
        outcome = job.render(network, job.select(network), picture, target, progress)
    if json:
        show_json({"network": model, "results": [outcome.as_json()], "left_out": 0})
        return
    from fluoroscope.capturing import capture

    first = next(layer.name for layer in outcome.layers if layer.kind == "Conv2D")
    how = job.options.preprocessing(network, network.inputs[0].name)
    edges = edge_detectors(capture(network, picture, layers=first, preprocessing=how), first)
    print(outcome.words(), "", painted("What to look at", "bold"), sep="\n")
    print("\n".join(_tour(outcome, first, edges)))
    print("", wrapped(_HONESTY), f"Credits and licences: {bundled.credits_path()}", sep="\n")


def edge_detectors(acts: Activations, layer: str) -> tuple[int, ...]:
    """Channels of a first convolution, 3x3 and unpadded, that see edges.

    An edge detector is taken to be a channel whose map is correlated, positively, with the magnitude of the
    picture's gradient (central differences of its mean over colours) more than it is with its brightness, of
    whatever sign (Pearson).
    """
    import numpy as np

    brightness = acts.prepared.values.mean(axis=-1)
    gradient = np.hypot(*np.gradient(brightness))
    # An unpadded kernel of 3x3 sees no place on the picture's rim.
    seen = np.stack([brightness[1:-1, 1:-1].ravel(), gradient[1:-1, 1:-1].ravel()])
    maps = acts[layer]
    alive = np.flatnonzero(~maps.statistics.flat)
    if not alive.size:
        return ()
    correlation = np.corrcoef(seen, maps.maps[alive].reshape(alive.size, -1))[:2, 2:]
    return tuple(alive[correlation[1] > np.abs(correlation[0])].tolist())


def _tour(outcome: Outcome, first: str, edges: tuple[int, ...]) -> list[str]:
    """What to look at in the pictures, with numbers measured in them."""
    maps = [layer for layer in outcome.layers if len(layer.shape) == 3]
    channels = next(layer.channels for layer in maps if layer.name == first)
    lines = [
        wrapped(
            f"1. {first}: {len(edges)} of {channels} channels see edges ({numbers_in_runs(edges, 8)}): their "
            "maps follow where the picture changes, not how bright it is. The others keep its bright parts, "
            "such as bones, or its dark ones, such as lungs.",
            indent=3,
        ),
        wrapped("2. Sparsity by depth, the share of activations that are zero:", indent=3),
    ]
    wide = max(len(layer.name) for layer in maps)
    for layer in maps:
        bar = "█" * round(_BAR * layer.sparsity)
        lines.append(f"   {layer.name:<{wide}}  {percent(layer.sparsity):>7}  {painted(bar, 'dim')}")
    flat = [layer for layer in maps if layer.flat]
    where = "; ".join(f"{layer.name} {numbers_in_runs(layer.flat, 6)}" for layer in flat)
    total = sum(len(layer.flat) for layer in flat)
    lines.append(
        wrapped(
            f"3. {counted(total, 'flat channel')} ({where}): they find nothing in this picture."
            if total
            else "3. No flat channel: each finds something in this picture.",
            indent=3,
        )
    )
    return lines
