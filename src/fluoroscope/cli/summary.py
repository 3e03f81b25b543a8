"""``fluoroscope summary``: the table of a network's layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fluoroscope.cli.options import (
    ArchOption,
    ConfigOption,
    DebugOption,
    ExpansionOption,
    ExternalOption,
    IsolateOption,
    JsonOption,
    MemoryOption,
    ModelArgument,
    ReplaceOption,
    SizeOption,
    TimeoutOption,
    WorkOption,
    parse_size,
)
from fluoroscope.cli.terminal import console, show, show_json
from fluoroscope.output.typography import speakable

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from fluoroscope.network.protocol import Layer, Network

_COLOURS: Mapping[str, str] = {
    "conv": "cyan", "pool": "magenta", "dense": "yellow", "merge": "green", "normalization": "blue",
}  # fmt: skip
"""Of the name of a layer, by its family; others have none."""

_BETWEEN = 2
"""Blanks between the columns of a table."""

_NAME = 80
"""Characters of a name that are shown in a table."""


def summary(
    model: ModelArgument,
    arch: ArchOption = None,
    config: ConfigOption = None,
    replace: ReplaceOption = None,
    size: SizeOption = None,
    external: ExternalOption = None,
    memory: MemoryOption = "2G",
    work: WorkOption = 1e13,
    expansion: ExpansionOption = 100,
    isolate: IsolateOption = False,
    timeout: TimeoutOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List the layers of a network: number, name, type, output shape, parameters and receptive field.

    Also says what wrote the file, and which layers cannot be run and why. The receptive field is the box of
    input pixels one activation sees: 10 × 10 /4 @-3 is 10 by 10 pixels, 4 pixels from one activation to the
    next, beginning 3 pixels outside the picture. A layer says what it takes where that is not simply the one
    above. Nothing is run.
    """
    from fluoroscope.cli.opening import NetworkOptions

    wanted = parse_size(size) if size is not None else None
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
    if wanted is not None:
        network = network.at_size(*wanted)
    if json:
        show_json({"network": as_json(network)})
    else:
        _print(network)


def as_json(network: Network) -> dict[str, Any]:
    """The whole table for machines; ``docs/cli.md`` says what each entry means."""
    from fluoroscope import __version__
    from fluoroscope.network.summary import totals

    return {
        "name": network.name,
        "file": asdict(network.provenance),
        "inputs": [asdict(spec) for spec in network.inputs],
        "outputs": list(network.outputs),
        "parameters": totals(network),
        "layers": [
            {"number": number, **asdict(layer), "activation_bytes": _activation_bytes(layer)}
            for number, layer in enumerate(network.layers)
        ],
        "fluoroscope": __version__,
    }


def _activation_bytes(layer: Layer) -> int | None:
    """Memory of a layer's output for one picture; None where its shape is not known, or a size of it open."""
    from fluoroscope.network.budget import activation_bytes

    return None if not layer.shape or None in layer.shape else activation_bytes(layer.shape)


def _print(network: Network) -> None:
    """Title, table, totals, remarks."""
    from rich.text import Text

    cells = _cells(network)
    table = _full_table(cells)
    target = console()
    if target.is_terminal and _least_width(cells) > target.width:
        table = _compact_table(cells)
    show(_title(network), table, Text(), _totals(network), *_remarks(network))


def _title(network: Network) -> Text:
    from rich.text import Text

    from fluoroscope.network.budget import human_bytes
    from fluoroscope.network.summary import origin_text, shape_text

    text = Text(speakable(network.name, _NAME), style="bold")
    text.append(
        f"\n{speakable(origin_text(network))}, {human_bytes(network.provenance.size)}\n", style="not bold dim"
    )
    takes = ", ".join(f"{speakable(spec.name, _NAME)} ({shape_text(spec.shape)})" for spec in network.inputs)
    shapes = {layer.name: layer.shape for layer in network.layers}
    gives = ", ".join(
        f"{speakable(name, _NAME)} ({shape_text(shapes.get(name, ()))})" for name in network.outputs
    )
    return text.append(f"takes {takes}, gives {gives}\n", style="not bold")


def _cells(network: Network) -> list[list[Text]]:
    """The table's cells, safe to show and coloured."""
    from rich.text import Text

    from fluoroscope.network.summary import table

    rows: list[list[Text]] = []
    for layer, row in zip(network.layers, table(network), strict=True):
        takes = ", ".join(speakable(name, _NAME) for name in layer.inputs) if row[-1] else ""
        cells = [Text(speakable(cell, _NAME)) for cell in row[:-1]] + [Text(takes)]
        cells[0].stylize("dim")
        cells[1].stylize(f"bold {_COLOURS.get(layer.family, '')}")
        cells[5].stylize("dim")
        if not layer.parameters:
            cells[4].stylize("dim")
        if layer.problem is not None:
            cells[3].stylize("red")
        rows.append(cells)
    return rows


def _table(*headings: str) -> Table:
    from rich import box
    from rich.table import Table

    terminal = console().is_terminal
    table = Table(
        box=box.SIMPLE_HEAD if terminal else None,
        show_edge=False,
        border_style="dim",
        header_style="bold",
        pad_edge=False,
        collapse_padding=True,
    )
    for heading in headings:
        table.add_column(heading, justify="right" if heading in ("#", "Params") else "left", overflow="fold")
    return table


def _least_width(cells: Sequence[Sequence[Text]]) -> int:
    """Columns of a terminal that the full table needs, where what layers take may be broken between names."""
    from rich.cells import cell_len

    from fluoroscope.network.summary import HEADINGS

    widths = [
        max(map(cell_len, (heading, *(row[i].plain for row in cells)))) for i, heading in enumerate(HEADINGS)
    ]
    names = " ".join(row[-1].plain for row in cells).split()
    widths[-1] = max((cell_len(name) for name in (HEADINGS[-1], *names)), default=0) if names else 0
    return sum(widths) + _BETWEEN * (len(widths) - 1)


def _full_table(cells: Sequence[Sequence[Text]]) -> Table:
    """A line a layer."""
    from fluoroscope.network.summary import HEADINGS

    last = len(HEADINGS) if any(row[-1] for row in cells) else len(HEADINGS) - 1
    table = _table(*HEADINGS[:last])
    for column in table.columns[: len(HEADINGS) - 1]:
        column.no_wrap = True
    for row in cells:
        table.add_row(*row[:last])
    return table


def _compact_table(cells: Sequence[Sequence[Text]]) -> Table:
    """Two lines a layer, for a narrow terminal: type beneath name, receptive field beneath shape."""
    from rich.text import Text

    table = _table("#", "Layer\ntype", "Output shape\nreceptive field", "Params")
    for number, name, kind, shape, parameters, field, takes in cells:
        kind.stylize("dim")
        left = [name, kind, *([Text("takes ", "dim") + takes] if takes else [])]
        table.add_row(number, Text("\n").join(left), Text("\n").join([shape, field]), parameters)
    return table


def _totals(network: Network) -> Text:
    from rich.text import Text

    from fluoroscope.network.budget import human_bytes
    from fluoroscope.network.summary import totals

    counts = totals(network)
    text = Text()
    for words, count in (
        ("parameters", counts["total"]),
        ("trainable", counts["trainable"]),
        ("not trainable", counts["non_trainable"]),
    ):
        text.append(f"{count:,}", style="bold").append(f" {words}   ", style="dim")
    sizes = [_activation_bytes(layer) for layer in network.layers if layer.problem is None]
    if None in sizes:
        return text.append("activations by the size of the picture: see --size", style="dim")
    memory = human_bytes(sum(size or 0 for size in sizes))
    return text.append(memory, style="bold").append(" activations of one picture", style="dim")


def _remarks(network: Network) -> list[Text]:
    """What else is worth knowing: notes of the reader, and why layers cannot be run."""
    from rich.text import Text

    remarks = [Text.assemble(("note  ", "yellow"), speakable(note)) for note in network.provenance.notes]
    reasons: dict[str, list[str]] = {}
    for layer in network.layers:
        if layer.problem is not None:
            reasons.setdefault(layer.problem, []).append(speakable(layer.name, _NAME))
    for reason, names in reasons.items():
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        remarks.append(
            Text.assemble(
                ("cannot be run  ", "red"), (", ".join(names[:8]) + more, "bold"), f": {speakable(reason)}"
            )
        )
    return remarks
