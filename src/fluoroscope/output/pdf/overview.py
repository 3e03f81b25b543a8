"""All layers at a glance: a table that leads to each, and says what could not be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fluoroscope.output.captions import field_caption, kind_caption, name_caption, shape_caption
from fluoroscope.output.pdf.blocks import Block, key_of
from fluoroscope.output.pdf.paper import BOTTOM, LEFT, TOP, WIDTH, Paper
from fluoroscope.output.theme import ACCENT, INK, MUTED, WARNING, Color
from fluoroscope.output.typography import percent

_HEAD = 32.0
_ROW = 12.6


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    x: float
    width: float
    align: Literal["left", "right"] = "left"


_COLUMNS = (
    _Column("#", 0, 20, "right"),
    _Column("Layer", 28, 188),
    _Column("Type", 224, 128),
    _Column("Output shape", 360, 92),
    _Column("Each value sees", 460, 100),
    _Column("Channels", 558, 42, "right"),
    _Column("Flat", 604, 28, "right"),
    _Column("Not finite", 638, 42, "right"),
    _Column("0 or less", 688, 40, "right"),
    _Column("Page", 738, 23.8, "right"),
)


Row = Block | tuple[str, str]
"""A layer that is drawn, or the name of one that is not, and why."""


def plan_overview(blocks: Sequence[Block], skipped: Mapping[str, str]) -> list[list[Row]]:
    """The table's rows, page by page; there are none when a single layer is all there is."""
    rows: list[Row] = [*blocks, *skipped.items()]
    fit = int((BOTTOM - TOP - _HEAD) / _ROW)
    return [rows[start : start + fit] for start in range(0, len(rows), fit)] if len(rows) > 1 else []


def draw_overview_page(paper: Paper, rows: Sequence[Row], page_of: Mapping[str, int], *, first: bool) -> None:
    """Draw one page of the overview on the current page.

    Parameters
    ----------
    page_of
        Bookmark of a layer -> page where it begins.
    first
        False for the pages on which the table is continued.
    """
    y = TOP
    paper.text(LEFT, y + 8, "Layers at a glance", 9, bold=True)
    if not first:
        paper.text(LEFT + 88, y + 8, "continued", 8, color=MUTED)
    y += _HEAD - 10
    for column in _COLUMNS:
        _cell(paper, column, y, column.title, MUTED)
    paper.line(LEFT, y + 3.5, LEFT + WIDTH, y + 3.5, color=INK, width=0.6)
    for row in rows:
        y += _ROW
        if isinstance(row, Block):
            _draw_layer(paper, row, y, page_of[key_of(row.drawn)])
        else:
            name, reason = row
            _cell(paper, _COLUMNS[1], y, name, INK)
            paper.text(LEFT + 236, y, f"not shown: {reason}", 7.5, color=WARNING, width=WIDTH - 236)
        paper.line(LEFT, y + 3.5, LEFT + WIDTH, y + 3.5, width=0.3)


def _draw_layer(paper: Paper, block: Block, y: float, page: int) -> None:
    drawn, numbers = block.drawn, block.numbers
    quiet, loud = MUTED, WARNING
    cells: tuple[tuple[str, Color], ...] = (
        (str(drawn.number), ACCENT),
        (name_caption(drawn), INK),
        (kind_caption(drawn), quiet),
        (shape_caption(drawn), INK),
        (field_caption(drawn.layer.receptive_field), quiet),
        (f"{numbers.channels:,}", INK),
        (f"{len(numbers.flat):,}", loud if numbers.flat else quiet),
        (f"{len(numbers.nonfinite):,}", loud if numbers.nonfinite else quiet),
        (percent(numbers.inactive), quiet),
        (str(page), INK),
    )
    for column, (text, color) in zip(_COLUMNS, cells, strict=True):
        _cell(paper, column, y, text, color)
    paper.link(key_of(drawn), LEFT, y - 8.5, WIDTH, _ROW - 0.5)


def _cell(paper: Paper, column: _Column, y: float, text: str, color: Color) -> None:
    x = LEFT + column.x + (column.width if column.align == "right" else 0)
    paper.text(x, y, text, 7.5, color=color, align=column.align, width=column.width)
