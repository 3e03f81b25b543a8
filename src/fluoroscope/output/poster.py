"""Everything in one large PNG: the picture, then the sheets of all layers at exact pixels, in order."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import BudgetExceeded
from fluoroscope.output.captions import facts, kind_caption, layer_numbers, name_caption, shape_caption
from fluoroscope.output.lettering import Canvas
from fluoroscope.output.packing import Packing, Shelf, pack
from fluoroscope.output.png import encode_bands
from fluoroscope.output.poster_head import LEAST_WIDTH, draw_head, head_height
from fluoroscope.output.record import report_record
from fluoroscope.output.theme import ACCENT, MUTED
from fluoroscope.output.typography import as_many_as_fit

if TYPE_CHECKING:
    from fluoroscope.output.report import DrawnLayer, Report

MAX_PIXELS = 1 << 27
"""Pixels of a poster at most, 134 million. What opens pictures often refuses more."""

_MARGIN = 48
_GAP = 40
_CAPTION = 54
_LEAST_BLOCK = 400
_LEAST_MAP = 32
"""Maps with a longer side of fewer pixels are enlarged to it, in whole steps."""
_BAND = 1 << 20
"""Pixels coloured at a time."""
_LEAST_ROW = 4
"""The same for the rows of sequences."""


@dataclass(frozen=True, slots=True)
class _Block:
    """A layer on the poster: what is drawn, and how many times its sheet is enlarged."""

    drawn: DrawnLayer
    factor: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, caption included."""
        image = self.drawn.image
        return max(image.width * self.factor, _LEAST_BLOCK), image.height * self.factor + _CAPTION


def write_poster(
    report: Report,
    path: str | os.PathLike[str],
    *,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Write everything drawn of one picture to one RGB PNG, whole or not at all.

    Sheets have the pixels and colours that they have by themselves. Those of small maps are enlarged by a
    whole factor, which stands in their caption, if the limit allows it. The poster is never in memory as a
    whole: it is drawn and compressed a shelf of layers at a time.

    Parameters
    ----------
    report
        Its layers are taken once. Their compressed sheets are held until the poster is written.
    path
        Replaced if it is there.
    max_pixels
        The most that the poster may have.
    progress
        Told the name of every layer as it is taken.

    Raises
    ------
    BudgetExceeded
        A poster of more pixels; it is not begun then.
    UsageError
        A path that is a folder, or in one that does not exist.
    OSError
        Whatever else the system reports.
    """
    layers: list[DrawnLayer] = []
    area = 0
    for drawn in report.layers:
        layers.append(drawn)
        area += drawn.image.width * drawn.image.height
        if area > max_pixels:
            raise _too_large(f"The sheets of the first {len(layers)} layers alone", area, max_pixels)
        if progress is not None:
            progress(drawn.name)
    blocks, packing = _arranged(layers, max_pixels)
    width, height = _outer(packing)
    poster = encode_bands(_bands(report, blocks, packing), width=width, height=height)
    poster.save(path, _text(report))


def _arranged(layers: Sequence[DrawnLayer], max_pixels: int) -> tuple[list[_Block], Packing]:
    size = (0, 0)
    for enlarged in (True, False):
        blocks = [_Block(drawn, _factor(drawn) if enlarged else 1) for drawn in layers]
        packing = pack([block.size for block in blocks], gap=_GAP, least_width=LEAST_WIDTH)
        size = _outer(packing)
        if size[0] * size[1] <= max_pixels:
            return blocks, packing
    what = f"A poster of {len(layers)} layers, {size[0]} × {size[1]} pixels,"
    raise _too_large(what, size[0] * size[1], max_pixels)


def _factor(drawn: DrawnLayer) -> int:
    if drawn.vector is not None:
        return 1
    high, wide = drawn.geometry.cell
    if len(drawn.layer.shape) == 2:
        return -(-_LEAST_ROW // high)
    return -(-_LEAST_MAP // max(high, wide))


def _outer(packing: Packing) -> tuple[int, int]:
    """Width and height of the poster, with head and margins."""
    width = packing.width + 2 * _MARGIN
    return width, _MARGIN + head_height(width) + _GAP + packing.height + _MARGIN


def _too_large(what: str, pixels: int, most: int) -> BudgetExceeded:
    return BudgetExceeded(
        f"{what} would have {pixels / 1e6:,.0f} million pixels; the most is {most / 1e6:,.0f} million. "
        "Choose fewer layers (--layers), or write a PDF or a folder, which have no such limit."
    )


def _bands(report: Report, blocks: Sequence[_Block], packing: Packing) -> Iterator[NDArray[np.uint8]]:
    """The poster from the top, in bands of its full width."""
    width, _ = _outer(packing)
    channels = sum(len(block.drawn.channels) for block in blocks)
    yield _white(_MARGIN, width)
    yield draw_head(report, width, _MARGIN, channels=channels, layers=len(blocks))
    for shelf in packing.shelves:
        yield _white(_GAP, width)
        yield _captions(blocks, shelf, width)
        yield from _sheets(blocks, shelf, width)
    yield _white(_MARGIN if packing.shelves else _MARGIN + _GAP, width)


def _captions(blocks: Sequence[_Block], shelf: Shelf, width: int) -> NDArray[np.uint8]:
    canvas = Canvas(width, _CAPTION)
    for index, left in shelf.places:
        block = blocks[index]
        drawn, room = block.drawn, block.size[0]
        x = _MARGIN + left
        x += canvas.text(x, 22, str(drawn.number), 22, bold=True, color=ACCENT) + 10
        end = _MARGIN + left + room
        kind = kind_caption(drawn)
        kind_width = min(canvas.measure(kind, 16), room / 3)
        x += canvas.text(x, 22, name_caption(drawn), 22, bold=True, width=end - x - kind_width - 12) + 12
        canvas.text(x, 22, kind, 16, color=MUTED, width=end - x)
        said = [shape_caption(drawn), *facts(drawn, layer_numbers(drawn))[1:]]
        if block.factor > 1:
            said.insert(1, f"enlarged {block.factor} times")
        line = as_many_as_fit(said, "  ·  ", room, lambda text: canvas.measure(text, 15))
        canvas.text(_MARGIN + left, 44, line, 15, color=MUTED, width=room)
    return canvas.array()


def _sheets(blocks: Sequence[_Block], shelf: Shelf, width: int) -> Iterator[NDArray[np.uint8]]:
    """The sheets of a shelf, a few rows of pixels at a time."""
    placed = [(blocks[index], blocks[index].drawn.image.samples(), left) for index, left in shelf.places]
    height = shelf.height - _CAPTION
    step = max(1, _BAND // width)
    for start in range(0, height, step):
        band = _white(min(step, height - start), width)
        for block, samples, left in placed:
            stop = min(start + step, len(samples) * block.factor)
            rows = samples[np.arange(start, stop) // block.factor]
            if len(rows):
                pixels = _coloured(rows.repeat(block.factor, axis=1), block.drawn.image.palette)
                x = _MARGIN + left
                band[: len(rows), x : x + pixels.shape[1]] = pixels
        yield band


def _coloured(samples: NDArray[np.uint8], palette: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Indices ``(height, width)`` as colours; Pillow looks them up twenty times as fast as NumPy."""
    from PIL import Image

    image = Image.fromarray(samples)
    if palette is not None:
        image.putpalette(palette.tobytes())
    return np.asarray(image.convert("RGB"))


def _white(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 255, np.uint8)


def _text(report: Report) -> dict[str, str]:
    record = report_record(report)
    return {
        "Software": "Fluoroscope",
        "Title": f"Intermediate activations of {report.network.name}".replace("\0", ""),
        "Description": json.dumps(record),
    }
