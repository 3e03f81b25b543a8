"""Where each layer stands: in a block of heading, sheet and notes, several on a page if they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fluoroscope.output.captions import LayerNumbers, layer_numbers, marked_channels
from fluoroscope.output.pdf.bars import bar_height
from fluoroscope.output.pdf.paper import BOTTOM, TOP, WIDTH
from fluoroscope.output.pdf.tiling import Room, Tiling, tile_maps, tile_sequence
from fluoroscope.output.predictions import read_prediction

if TYPE_CHECKING:
    from fluoroscope.output.report import DrawnLayer, Report

MOST_BARS = 12
"""Bars of an output at most; a vector of no more values is drawn as bars alone."""

NOTE = 10.0
"""Points from one line of notes to the next."""

_BETWEEN = 20.0
_MARGIN = 4.0
_VALUE = WIDTH / 64
"""Side of a vector's value at most: a single one is worth less room than a map, and needs less to be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A layer as it will stand on its pages.

    Attributes
    ----------
    drawn, numbers
        What is shown.
    tiling
        Its sheet, cut to pages; None for a short vector, which has bars only.
    bars
        Labels and values of an output of the network, the greatest first, or of a short vector, in order.
    probabilities
        True when those values are.
    head
        From the top of a part to its sheet, or to the bars where there is none.
    heights
        Of its part on each page, heading and notes included.
    """

    drawn: DrawnLayer
    numbers: LayerNumbers
    tiling: Tiling | None
    bars: tuple[tuple[str, float], ...]
    probabilities: bool
    head: float
    heights: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One page's part of a block.

    Attributes
    ----------
    part
        Which of the block's pages it is.
    y
        Where it begins, in points from the top of the page.
    """

    block: Block
    part: int
    y: float


def make_block(drawn: DrawnLayer, report: Report) -> Block:
    """Decide how a layer is laid out; nothing is drawn."""
    numbers = layer_numbers(drawn)
    bars, probabilities = _bars(drawn, report)
    below = _MARGIN + NOTE * len(marked_channels(numbers)) + (8 + bar_height(len(bars)) if bars else 0)
    tiling, head = None, 36.0
    if drawn.vector is None:
        head = 50.0
        room = Room(width=WIDTH, height=BOTTOM - TOP - head - below)
        if len(drawn.layer.shape) == 2:
            tiling = tile_sequence(drawn.geometry, replace(room, largest_value=5))
        else:
            tiling = tile_maps(drawn.geometry, room)
    elif drawn.vector.size > MOST_BARS:
        # Numbers of columns stand over the sheet, the strongest values in two lines below it.
        head, below = 56.0, below + 2 * NOTE
        room = Room(
            width=WIDTH,
            height=BOTTOM - TOP - head - below,
            gutter=26,
            comfortable=2.5,
            largest_map=_VALUE,
            largest_value=_VALUE,
        )
        tiling = tile_maps(drawn.geometry, room)
    heights = [head + tiling.height(page) for page in range(len(tiling.pages))] if tiling else [head - 8]
    heights[-1] += below
    return Block(
        drawn=drawn,
        numbers=numbers,
        tiling=tiling,
        bars=tuple(bars),
        probabilities=probabilities,
        head=head,
        heights=tuple(heights),
    )


def paginate(blocks: Sequence[Block]) -> list[list[Placed]]:
    """Fill pages with blocks, in order. A block of several pages begins on a new one."""
    pages: list[list[Placed]] = []
    free = 0.0
    for block in blocks:
        for part, height in enumerate(block.heights):
            if pages and len(block.heights) == 1 and height <= free:
                y = BOTTOM - free
            else:
                pages.append([])
                y = TOP
            pages[-1].append(Placed(block=block, part=part, y=y))
            free = BOTTOM - y - height - _BETWEEN
    return pages


def key_of(drawn: DrawnLayer) -> str:
    """Name of the bookmark where a layer begins."""
    return f"layer {drawn.number} {'before' if drawn.name != drawn.layer.name else 'output'}"


def _bars(drawn: DrawnLayer, report: Report) -> tuple[list[tuple[str, float]], bool]:
    if drawn.name in report.predictions:
        prediction = read_prediction(drawn.layer, report.predictions[drawn.name], report.classes)
        return prediction.top(MOST_BARS), prediction.meaning != "numbers"
    if drawn.vector is not None and drawn.vector.size <= MOST_BARS:
        return [(str(i), float(value)) for i, value in zip(drawn.channels, drawn.vector, strict=True)], False
    return [], False
