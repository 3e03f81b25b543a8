"""How a sheet of feature maps is laid on pages: which part of it goes where, and how large.

The sheet is never resampled. It is drawn whole where that is large enough to be looked at, and otherwise cut
between its maps: a tall sheet into strips that stand side by side, over as many pages as it takes; a row of
very wide maps (spectrograms) into several lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil

from fluoroscope.drawing.geometry import Box, SheetGeometry

WIDE = 4
"""A map that is so many times wider than high is wide: a row of them may be broken."""

_GOOD_ROW, _LEAST_ROW = 6.0, 2.5
"""Points of a sequence's row that are worth a strip, and a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a sheet may take, in points.

    Attributes
    ----------
    width, height
        Of a page's free area.
    gutter
        Left of each strip, for channel numbers.
    comfortable
        The longer side of a map that need not be larger: down to it a page is filled before another begins.
    largest_map, largest_value
        Sides beyond which a map, and the square of a single value, are not enlarged.
    """

    width: float
    height: float
    gutter: float = 20
    comfortable: float = 16
    largest_map: float = 400
    largest_value: float = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of the sheet on a page.

    Attributes
    ----------
    part
        In pixels of the sheet.
    first
        Place of the map in its upper left corner.
    rows, columns
        Of maps in it.
    x, y
        Upper left corner, in points from that of the room.
    """

    part: Box
    first: int
    rows: int
    columns: int
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """A sheet on one or more pages.

    Attributes
    ----------
    across, down
        Points per pixel of the sheet, on all pages; the same for feature maps.
    pages
        What is drawn on each.
    """

    across: float
    down: float
    pages: tuple[tuple[Piece, ...], ...]

    def height(self, page: int = 0) -> float:
        """How far down the pieces of a page reach, in points."""
        return max(piece.y + piece.part.height * self.down for piece in self.pages[page])


def tile_maps(geometry: SheetGeometry, room: Room) -> Tiling:
    """Lay feature maps out: on the fewest pages on which they are comfortable, and as large as can be.

    Parameters
    ----------
    geometry
        Of the sheet.
    room
        The same on every page.
    """
    columns = _columns(geometry)
    lines = geometry.rows * ceil(geometry.columns / columns)
    high, wide = geometry.cell
    # One line has to fit a page, however small that makes it.
    wanted = min(
        room.comfortable / max(high, wide),
        _largest(geometry, room) * 0.75,
        (room.width - room.gutter) / (columns * (wide + geometry.gap)),
        room.height / high,
    )
    pages = 1
    while (plan := _fill(geometry, room, columns, ceil(lines / pages))).scale < wanted and plan.lines > 1:
        pages += 1
    per_page = plan.strips * plan.lines
    pieces = [*_pieces(geometry, room, columns, plan)]
    return Tiling(
        across=plan.scale,
        down=plan.scale,
        pages=tuple(
            tuple(piece for line, piece in pieces if start <= line < start + per_page)
            for start in range(0, lines, per_page)
        ),
    )


def tile_sequence(geometry: SheetGeometry, room: Room) -> Tiling:
    """Lay out maps of one row each, one below the other: steps across the page, channels down.

    The axes are of different things, so they need not have one scale: rows are made high enough to be seen.
    """
    across = min((room.width - room.gutter) / geometry.shape[1], room.largest_value)
    strip = room.gutter + geometry.shape[1] * across
    row = geometry.cell[0] + geometry.gap
    # Strips only as far as they are needed for rows of a good height, pages only for rows that can be seen.
    strips, pages = 1, 1
    while strips < int(room.width / strip + 1e-6) and ceil(geometry.rows / strips) * _GOOD_ROW > room.height:
        strips += 1
    while (fit := ceil(geometry.rows / (strips * pages))) * _LEAST_ROW > room.height and fit > 1:
        pages += 1
    down = min(room.height / (fit * row), room.largest_value / geometry.zoom)
    pieces: list[Piece] = []
    for index, first in enumerate(range(0, geometry.rows, fit)):
        rows = min(fit, geometry.rows - first)
        part = Box(first * row, 0, rows * row - geometry.gap, geometry.shape[1])
        x = room.gutter + index % strips * strip
        pieces.append(Piece(part=part, first=first, rows=rows, columns=1, x=x, y=0))
    return Tiling(
        across=across,
        down=down,
        pages=tuple(tuple(pieces[start : start + strips]) for start in range(0, len(pieces), strips)),
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a page is filled: strips side by side, lines of maps in each, points per pixel."""

    strips: int
    lines: int
    scale: float


def _columns(geometry: SheetGeometry) -> int:
    """Maps side by side in a line: a row of the sheet, or of wide maps as many as make it about square."""
    high, wide = geometry.cell
    if wide < WIDE * high:
        return geometry.columns
    return max(1, min(geometry.columns, round((geometry.columns * high / wide) ** 0.5)))


def _largest(geometry: SheetGeometry, room: Room) -> float:
    return min(room.largest_value / geometry.zoom, room.largest_map / max(geometry.cell))


def _fill(geometry: SheetGeometry, room: Room, columns: int, lines: int) -> _Plan:
    """The plan for so many lines on a page that makes its maps largest."""
    high, wide = geometry.cell[0] + geometry.gap, geometry.cell[1] + geometry.gap
    best = _Plan(0, 0, 0)
    # Lines that are parts of a row do not stand side by side: they would be read in the wrong order.
    for strips in range(1, lines + 1 if columns == geometry.columns else 2):
        fits_across = (room.width / strips - room.gutter) / (columns * wide - geometry.gap)
        if fits_across <= best.scale:
            break
        per_strip = ceil(lines / strips)
        fits_down = room.height / (per_strip * high - geometry.gap)
        scale = min(fits_across, fits_down, _largest(geometry, room))
        if scale > best.scale:
            best = _Plan(strips, per_strip, scale)
    return best


def _pieces(geometry: SheetGeometry, room: Room, columns: int, plan: _Plan) -> Iterator[tuple[int, Piece]]:
    """Every piece, with the number of its first line."""
    (high, wide), gap = geometry.cell, geometry.gap
    if columns == geometry.columns:
        strip = room.gutter + geometry.shape[1] * plan.scale
        for index, row in enumerate(range(0, geometry.rows, plan.lines)):
            rows = min(plan.lines, geometry.rows - row)
            part = Box(row * (high + gap), 0, rows * (high + gap) - gap, geometry.shape[1])
            x = room.gutter + (index % plan.strips) * strip
            yield row, Piece(part=part, first=row * columns, rows=rows, columns=columns, x=x, y=0)
        return
    starts = product(range(geometry.rows), range(0, geometry.columns, columns))
    for line, (row, column) in enumerate(starts):
        first = row * geometry.columns + column
        if first >= geometry.channels:
            break
        count = min(columns, geometry.columns - column)
        part = Box(row * (high + gap), column * (wide + gap), high, count * (wide + gap) - gap)
        y = line % plan.lines * (high + gap) * plan.scale
        yield line, Piece(part=part, first=first, rows=1, columns=count, x=room.gutter, y=y)
