"""The cover: the picture before and after preprocessing, the answer, the network, and how all is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fluoroscope.formats import FORMATS
from fluoroscope.images import Prepared
from fluoroscope.network.budget import human_bytes
from fluoroscope.network.summary import origin_text, shape_text, totals
from fluoroscope.output.captions import LayerNumbers, given_names, scaling_caption
from fluoroscope.output.pdf.bars import bar_height, draw_bars
from fluoroscope.output.pdf.chart import Depth, draw_depth_chart
from fluoroscope.output.pdf.inputs import INPUTS_WIDTH, draw_inputs
from fluoroscope.output.pdf.paper import BOTTOM, LEFT, WIDTH, Paper
from fluoroscope.output.predictions import read_prediction
from fluoroscope.output.theme import ACCENT, INK, MUTED, WARNING
from fluoroscope.output.typography import counted

if TYPE_CHECKING:
    from fluoroscope.output.png import EncodedImage
    from fluoroscope.output.report import Report

_IN_FILES = frozenset(form.name for form in FORMATS)
_SPACE = 24.0
_ANSWER = LEFT + INPUTS_WIDTH + _SPACE
_COLUMN = (WIDTH - 2 * _SPACE) / 3
_TOP_BAND = 116.0
_MIDDLE_BAND = 340.0
_CHART_BAND = 448.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the layers drawn add up to."""

    layers: int
    channels: int
    flat: int
    nonfinite: int

    @classmethod
    def of(cls, numbers: Sequence[LayerNumbers]) -> Totals:
        """The sums over layers."""
        return cls(
            layers=len(numbers),
            channels=sum(layer.channels for layer in numbers),
            flat=sum(len(layer.flat) for layer in numbers),
            nonfinite=sum(len(layer.nonfinite) for layer in numbers),
        )


def draw_cover(
    paper: Paper, report: Report, sums: Totals, depths: Sequence[Depth], palette: EncodedImage
) -> None:
    """Draw the cover on the current page.

    Parameters
    ----------
    depths
        Of every layer, for the chart; of a single one there is none.
    palette
        All colours of the colour map, lowest first, in one row.
    """
    paper.text(LEFT, 44, "INTERMEDIATE ACTIVATIONS", 8, bold=True, color=ACCENT, spacing=1.2)
    paper.text(LEFT, 71, report.network.name, 24, bold=True, width=WIDTH)
    subtitle = (
        f"What its layers make of {given_names(report.inputs)}: "
        f"{counted(sums.channels, 'channel')} of {counted(sums.layers, 'layer')}"
    )
    paper.text(LEFT, 89, subtitle, 10.5, color=MUTED, width=WIDTH)
    paper.line(LEFT, 101, LEFT + WIDTH, 101, color=INK, width=0.8)

    draw_inputs(paper, report.inputs, LEFT, _TOP_BAND)
    y = _draw_predictions(paper, report, _TOP_BAND)
    answer = Place(_ANSWER, y, LEFT + WIDTH - _ANSWER, _MIDDLE_BAND - 14)
    _draw_entries(paper, "Summary", _summary_entries(report, sums), answer)

    charted = len(depths) > 1
    bottom = _CHART_BAND - 12 if charted else BOTTOM
    first, second, third = (
        Place(LEFT + index * (_COLUMN + _SPACE), _MIDDLE_BAND, _COLUMN, bottom) for index in range(3)
    )
    if len(report.inputs) == 1:
        (fed,) = report.inputs.values()
        steps = [(str(index), step) for index, step in enumerate(fed.steps, 1)]
        heading = "From the one picture to the other" if isinstance(fed, Prepared) else "The input"
        _draw_entries(paper, heading, steps, first, label_width=14)
    else:
        entries = [(name, "; ".join(fed.steps)) for name, fed in report.inputs.items()]
        _draw_entries(paper, "From the files to the inputs", entries, first)
    _draw_entries(paper, "Network", _network_entries(report), second)
    _draw_entries(paper, "Drawing", _drawing_entries(report), third, palette=palette)
    if charted:
        paper.text(LEFT, _CHART_BAND + 8, "Sparsity and flat channels by depth", 9, bold=True)
        draw_depth_chart(paper, depths, LEFT, _CHART_BAND, WIDTH, BOTTOM - _CHART_BAND)


def _draw_predictions(paper: Paper, report: Report, y: float) -> float:
    rows = {layer.name: layer for layer in report.network.layers}
    width = LEFT + WIDTH - _ANSWER
    # The first output gets the room; that there are more is seen in the second.
    for place, (name, values) in enumerate(list(report.predictions.items())[:2]):
        prediction = read_prediction(rows[name], values, report.classes)
        top = prediction.top(5 if place == 0 else 2)
        heading = "Output, no probabilities" if prediction.meaning == "numbers" else "Prediction"
        extent = paper.text(_ANSWER, y + 8, heading, 9, bold=True)
        size = f"{name}, {counted(values.size, 'value')}"
        paper.text(_ANSWER + extent + 6, y + 8, size, 7.5, color=MUTED, width=width - extent - 6)
        draw_bars(paper, top, _ANSWER, y + 15, width, probabilities=prediction.meaning != "numbers")
        y += 15 + bar_height(len(top)) + 8
    return y


@dataclass(frozen=True, slots=True)
class Place:
    """Where a list of entries stands: upper left corner, width, and what it must stay above."""

    x: float
    y: float
    width: float
    bottom: float


def _draw_entries(
    paper: Paper,
    heading: str,
    entries: Sequence[tuple[str, str]],
    place: Place,
    *,
    label_width: float = 54.0,
    palette: EncodedImage | None = None,
) -> None:
    paper.text(place.x, place.y + 8, heading, 9, bold=True)
    y = place.y + 13
    for index, (label, value) in enumerate(entries):
        left = len(entries) - index
        full = y + (26 if left > 1 else 13) > place.bottom
        paper.line(place.x, y, place.x + place.width, y, width=0.4)
        if full and left > 1:
            paper.text(place.x + label_width, y + 9.5, f"and {left} more", 7.5, color=MUTED)
            break
        loud = label in ("Not shown", "Note")
        paper.text(place.x, y + 9.5, label, 7.5, color=WARNING if loud else MUTED)
        width = place.width - label_width
        if palette is not None and label == "Colours":
            paper.image(palette, place.x + place.width - 90, y + 3.5, 90, 7)
            width -= 96
        lines = 1 if y + 36 > place.bottom else 2
        y = paper.paragraph(place.x + label_width, y + 9.5, value, 7.5, width, lines=lines, leading=1.3) - 6


def _network_entries(report: Report) -> list[tuple[str, str]]:
    network = report.network
    origin = network.provenance
    counts = totals(network)
    inputs = ", ".join(f"{spec.name}: {shape_text(spec.shape)}" for spec in network.inputs)
    return [
        ("File", origin.path or ("given as bytes" if origin.format in _IN_FILES else "none: a live model")),
        ("Written as", origin_text(network)),
        ("Content", f"{human_bytes(origin.size)}, sha256 {origin.sha256[:16]}…"),
        ("Computed on", f"{origin.device}, {origin.precision}"),
        ("Parameters", f"{counts['total']:,}, {counts['trainable']:,} of them trainable"),
        ("Input", inputs),
    ]


def _drawing_entries(report: Report) -> list[tuple[str, str]]:
    style = report.style
    return [
        ("Scaling", scaling_caption(style.scaling)),
        ("Formula", "level = floor(256 · (value − low) / (high − low))"),
        ("Colours", style.palette),
        ("Layout", f"{style.columns} a row, one value is {style.zoom} × {style.zoom} px"),
    ]


def _summary_entries(report: Report, sums: Totals) -> list[tuple[str, str]]:
    entries = [
        ("Layers", f"{sums.layers:,} drawn of {len(report.network.layers):,} in the network"),
        ("Channels", f"{sums.channels:,}; {sums.flat or 'none'} flat, {sums.nonfinite or 'none'} not finite"),
    ]
    if report.skipped:
        names = list(report.skipped)
        entries.append(
            ("Not shown", f"{counted(len(names), 'layer')}, from {names[0]}: {report.skipped[names[0]]}")
        )
    return entries + [("Note", note) for note in report.network.provenance.notes]
