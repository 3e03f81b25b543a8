"""Drawing the pages of the layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fluoroscope.drawing.colormaps import MARKERS
from fluoroscope.output.captions import (
    facts,
    kind_caption,
    legend,
    marked_channels,
    name_caption,
    shape_caption,
)
from fluoroscope.output.pdf.bars import draw_bars
from fluoroscope.output.pdf.blocks import NOTE, Block, Placed, key_of
from fluoroscope.output.pdf.paper import LEFT, WIDTH, Paper
from fluoroscope.output.pdf.tiling import Piece, Tiling
from fluoroscope.output.theme import ACCENT, INK, MUTED, Color
from fluoroscope.output.typography import as_many_as_fit, number

if TYPE_CHECKING:
    from fluoroscope.output.png import EncodedImage
    from fluoroscope.output.report import Report

_STRONGEST = 8
_LEGEND_WIDTH = 236.0
_FREE = WIDTH - _LEGEND_WIDTH - 24
_SMALL = 6.0


def draw_page(paper: Paper, placed: Sequence[Placed], report: Report, palette: EncodedImage) -> None:
    """Draw one page of blocks on the current page.

    Parameters
    ----------
    palette
        All colours of the colour map, lowest first, in one row.
    """
    for item in placed:
        _draw_block(paper, item, report, palette)


def _draw_block(paper: Paper, placed: Placed, report: Report, palette: EncodedImage) -> None:
    block, y = placed.block, placed.y
    if placed.part == 0:
        paper.bookmark(key_of(block.drawn), y - 12)
    _draw_heading(paper, placed)
    if block.tiling is not None:
        _draw_legend(paper, block, report, palette, y)
        _draw_sheet(paper, block, block.tiling, placed.part, y + block.head)
        y += block.tiling.height(placed.part) + 11
    if placed.part == len(block.heights) - 1:
        _draw_notes(paper, block, y + block.head)


def _draw_sheet(paper: Paper, block: Block, tiling: Tiling, part: int, top: float) -> None:
    for piece in tiling.pages[part]:
        width, height = piece.part.width * tiling.across, piece.part.height * tiling.down
        paper.image(block.drawn.image, LEFT + piece.x, top + piece.y, width, height, piece.part)
        _number_rows(paper, block, piece, tiling, top)
        if block.drawn.vector is not None and piece.first == 0:
            _number_columns(paper, block, piece, tiling, top)


def _draw_heading(paper: Paper, placed: Placed) -> None:
    drawn, y = placed.block.drawn, placed.y
    shape = shape_caption(drawn)
    paper.line(LEFT, y, LEFT + WIDTH, y, color=INK, width=0.8)
    right = LEFT + WIDTH
    shape_width = paper.text(right, y + 15, shape, 10, align="right")
    x = LEFT + paper.text(LEFT, y + 15, str(drawn.number), 12, bold=True, color=ACCENT) + 8
    free = right - shape_width - 16 - x
    kind = kind_caption(drawn)
    kind_width = min(paper.measure(kind, 9), free / 2)
    x += paper.text(x, y + 15, name_caption(drawn), 12, bold=True, width=free - kind_width - 10) + 10
    if placed.part:
        kind += ", continued"
    paper.text(x, y + 15, kind, 9, color=MUTED, width=right - shape_width - 16 - x)
    room = WIDTH if placed.block.tiling is None else _FREE
    said = facts(drawn, placed.block.numbers)
    line = as_many_as_fit(said, "   ·   ", room, lambda text: paper.measure(text, 7.5))
    paper.text(LEFT, y + 28, line, 7.5, color=MUTED, width=room)


def _draw_legend(paper: Paper, block: Block, report: Report, palette: EncodedImage, y: float) -> None:
    meaning = legend(report.style.scaling, block.drawn.limits)
    paper.text(LEFT, y + 39, meaning.remark, 7.5, color=MUTED, width=_FREE)
    if not any(meaning.ticks):
        return
    left, right = LEFT + WIDTH - _LEGEND_WIDTH, LEFT + WIDTH
    paper.image(palette, left, y + 22.5, _LEGEND_WIDTH, 7)
    middle = (left + right) / 2
    for x in (left, middle, right):
        paper.line(x, y + 29.5, x, y + 31.5, color=MUTED)
    lower, centre, upper = meaning.ticks
    paper.text(left, y + 39, lower, 7, color=MUTED)
    paper.text(middle, y + 39, centre, 7, color=MUTED, align="center")
    paper.text(right, y + 39, upper, 7, color=MUTED, align="right")


def _number_rows(paper: Paper, block: Block, piece: Piece, tiling: Tiling, top: float) -> None:
    """Numbers of the first channels of rows, as many as have room."""
    geometry = block.drawn.geometry
    pitch = (geometry.cell[0] + geometry.gap) * tiling.down
    for row in range(0, piece.rows, max(1, int(np.ceil((_SMALL + 1) / pitch)))):
        channel = block.drawn.channels[piece.first + row * piece.columns]
        middle = top + piece.y + row * pitch + geometry.cell[0] * tiling.down / 2
        paper.text(
            LEFT + piece.x - 4, middle + 0.36 * _SMALL, str(channel), _SMALL, color=MUTED, align="right"
        )


def _number_columns(paper: Paper, block: Block, piece: Piece, tiling: Tiling, top: float) -> None:
    """What is to be added to a row's number, for every eighth value of a vector."""
    geometry = block.drawn.geometry
    pitch = (geometry.cell[1] + geometry.gap) * tiling.across
    if pitch < 4:
        return
    for column in range(8, piece.columns, 8):
        x = LEFT + piece.x + column * pitch + geometry.cell[1] * tiling.across / 2
        paper.text(x, top - 3, f"+{column}", _SMALL, color=MUTED, align="center")


def _draw_notes(paper: Paper, block: Block, y: float) -> None:
    drawn = block.drawn
    for marker, sentence in marked_channels(block.numbers):
        red, green, blue = (level / 255 for level in MARKERS[marker])
        swatch: Color = (red, green, blue)
        paper.box(LEFT + 20, y - 5.5, 6, 6, fill=swatch)
        paper.text(LEFT + 30, y, sentence, 7, color=MUTED, width=WIDTH - 30)
        y += NOTE
    if drawn.vector is not None and block.tiling is not None:
        y = _draw_strongest(paper, drawn.vector, drawn.channels, y)
    if block.bars:
        # Only what has names or probabilities is in order of size.
        ranked = block.tiling is not None or block.probabilities
        draw_bars(paper, block.bars, LEFT + 26, y - 4, 440, probabilities=block.probabilities, loudest=ranked)


def _draw_strongest(paper: Paper, vector: NDArray[np.float32], channels: Sequence[int], y: float) -> float:
    order = np.argsort(vector, kind="stable")
    order = order[np.isfinite(vector[order])]
    if not order.size:
        return y
    for words, chosen in (("Greatest", order[::-1][:_STRONGEST]), ("Least", order[:_STRONGEST])):
        listed = "    ".join(f"{channels[i]}: {number(float(vector[i]))}" for i in chosen.tolist())
        paper.text(LEFT + 26, y, words, 7, bold=True, color=MUTED)
        paper.text(LEFT + 66, y, listed, 7, color=MUTED, width=WIDTH - 66)
        y += NOTE
    return y
