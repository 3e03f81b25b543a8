"""Values as labelled bars: outputs of the network, and other vectors that are short."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fluoroscope.output.pdf.paper import Paper
from fluoroscope.output.theme import ACCENT, INK, MUTED, WASH
from fluoroscope.output.typography import number, percent

_PITCH = 14.0


def bar_height(count: int) -> float:
    """Points that `count` bars take."""
    return count * _PITCH


def draw_bars(
    paper: Paper,
    rows: Sequence[tuple[str, float]],
    x: float,
    y: float,
    width: float,
    *,
    probabilities: bool,
    loudest: bool = True,
) -> None:
    """Draw values as bars, one below the other.

    Parameters
    ----------
    rows
        Label and value, in order.
    x, y
        Upper left corner.
    width
        Of label, bar and number together.
    probabilities
        The scale is 0 to 1 and numbers are percentages; else from the least to the greatest, 0 included.
    loudest
        The first row is set in bold.
    """
    figures = [percent(value) if probabilities else number(value, 4) for _, value in rows]
    label_width = min(width * 0.4, 8 + max(paper.measure(label, 8, bold=loudest) for label, _ in rows))
    figure_width = 8 + max(paper.measure(figure, 8, bold=loudest) for figure in figures)
    bar_width = width - label_width - figure_width
    finite = [value for _, value in rows if math.isfinite(value)]
    low, high = (0.0, 1.0) if probabilities else (min([0, *finite]), max([0, *finite]))
    span = (high - low) or 1.0
    for row, ((label, value), figure) in enumerate(zip(rows, figures, strict=True)):
        bold = loudest and row == 0
        baseline = y + row * _PITCH + 8.5
        paper.text(x, baseline, label, 8, color=INK if bold else MUTED, width=label_width - 6, bold=bold)
        left = x + label_width
        paper.box(left, baseline - 7.5, bar_width, 9, fill=WASH)
        if math.isfinite(value):
            start, end = sorted((-low / span, (value - low) / span))
            paper.box(left + start * bar_width, baseline - 7.5, (end - start) * bar_width, 9, fill=ACCENT)
        paper.text(x + width, baseline, figure, 8, align="right", bold=bold)
