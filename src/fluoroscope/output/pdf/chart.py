"""Sparsity and flat channels by depth, as a chart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fluoroscope.output.pdf.paper import Paper
from fluoroscope.output.theme import MUTED, PALE, RULE, WARNING

_AXIS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """One layer in the chart.

    Attributes
    ----------
    number, name
        Of the layer.
    inactive
        Fraction of its values that are not above zero, 0..1; NaN without any.
    flat
        Fraction of its channels without variation, 0..1.
    """

    number: int
    name: str
    inactive: float
    flat: float


def draw_depth_chart(
    paper: Paper, layers: Sequence[Depth], x: float, y: float, width: float, height: float
) -> None:
    """Draw a bar a layer, in network order: values not above zero, and over it flat channels.

    Layers are labelled by name where there is room for names, else by number.

    Parameters
    ----------
    x, y, width, height
        The rectangle that the whole takes, from its upper left corner: key (on the
        right of the first 12 points), bars and labels.
    """
    _draw_key(paper, x + width, y + 8)
    top, bottom = y + 18, y + height - 14
    left, right = x + _AXIS, x + width
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        level = bottom - tick * (bottom - top)
        paper.line(left, level, right, level, color=RULE, width=0.8 if tick == 0 else 0.4)
        if tick in (0, 0.5, 1):
            paper.text(left - 5, level + 2.4, f"{100 * tick:.0f} %", 7, color=MUTED, align="right")
    slot = (right - left) / max(len(layers), 1)
    wide = min(slot * 0.62, 40.0) if slot > 3 else slot * 0.8
    narrow = wide * 0.45
    for index, layer in enumerate(layers):
        centre = left + (index + 0.5) * slot
        for fraction, side, color in ((layer.inactive, wide, PALE), (layer.flat, narrow, WARNING)):
            if fraction > 0 and not math.isnan(fraction):
                extent = fraction * (bottom - top)
                paper.box(centre - side / 2, bottom - extent, side, extent, fill=color)
    _draw_labels(paper, layers, left, slot, bottom + 10)


def _draw_key(paper: Paper, right: float, y: float) -> None:
    for color, words in ((WARNING, "flat channels"), (PALE, "values 0 or less (sparsity)")):
        extent = paper.text(right, y, words, 7.5, color=MUTED, align="right")
        paper.box(right - extent - 11, y - 6, 7, 7, fill=color)
        right -= extent + 29


def _draw_labels(paper: Paper, layers: Sequence[Depth], left: float, slot: float, y: float) -> None:
    size = 7.0
    if slot >= 44:
        for index, layer in enumerate(layers):
            centre = left + (index + 0.5) * slot
            paper.text(centre, y, layer.name, size, color=MUTED, align="center", width=slot - 6)
        return
    room = paper.measure(str(max(layer.number for layer in layers)), size) + 8
    every = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**9) if step * slot >= room)
    for index in range(0, len(layers), every):
        centre = left + (index + 0.5) * slot
        paper.text(centre, y, str(layers[index].number), size, color=MUTED, align="center")
