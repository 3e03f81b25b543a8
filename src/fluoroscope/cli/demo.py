"""``fluoroscope demo``: the bundled network and X-ray, and what to look at."""

from __future__ import annotations

from typing import Annotated

import typer

from fluoroscope.cli import destination
from fluoroscope.cli.options import OUTPUT, DebugOption, ForceOption, JsonOption
from fluoroscope.cli.outcome import Outcome
from fluoroscope.cli.pictures import find_pictures
from fluoroscope.cli.progress import Progress
from fluoroscope.cli.terminal import painted, show_json
from fluoroscope.output.typography import counted, numbers_in_runs, percent

_BAR = 24
"""Characters of a bar that stands for all of a layer."""


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
    """Draw what the bundled network makes of the bundled chest X-ray, and say what to look at.

    A small network of four convolutions, in a file as Keras 2 wrote them. A demonstration, no diagnostic.
    """
    from fluoroscope import demo as bundled
    from fluoroscope.cli.job import Job

    model, picture = str(bundled.network_path()), str(bundled.image_path())
    (target,) = destination.outputs(output, find_pictures([picture]))
    destination.check([target], [model, picture], force=force)
    job = Job(model=model, classes=bundled.classes())
    with Progress(shown=not json) as progress:
        network = job.open()
        outcome = job.render(network, job.select(network), picture, target, progress)
    if json:
        show_json({"network": model, "results": [outcome.as_json()], "left_out": 0})
    else:
        print(outcome.words())
        print("\n".join(_tour(outcome)))


def _tour(outcome: Outcome) -> list[str]:
    """What to look at in the pictures, with numbers measured in them."""
    maps = [layer for layer in outcome.layers if len(layer.shape) == 3]
    convolutions = [layer for layer in maps if layer.kind == "Conv2D"]
    first, last = convolutions[0], convolutions[-1]
    wide = max(len(layer.name) for layer in maps)
    flat = [layer for layer in maps if layer.flat]
    where = "; ".join(f"{layer.name} {numbers_in_runs(layer.flat, 6)}" for layer in flat)
    total = sum(len(layer.flat) for layer in maps)
    return [
        "",
        painted("What to look at", "bold"),
        f"1. {first.name}: many of its {first.channels} channels are edge detectors, dark on even ground and "
        "bright where ribs, heart and lungs begin or end.",
        f"2. Sparsity by depth, the share of activations that are zero: from {percent(first.sparsity)} in "
        f"{first.name} to {percent(last.sparsity)} in {last.name}.",
        *(
            f"   {layer.name:<{wide}}  {percent(layer.sparsity):>7}  "
            + painted("█" * round(_BAR * layer.sparsity), "dim")
            for layer in maps
        ),
        f"3. {counted(total, 'flat channel')}: "
        + (f"{where}." if total else "every channel sees something."),
    ]
