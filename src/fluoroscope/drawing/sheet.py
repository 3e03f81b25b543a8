"""All feature maps of a layer as one palette picture, with what has no level in colours of its own.

A picture of one byte a pixel has 256 indices, and the levels need all of them. So only when a sheet has
something to mark - gaps or blank cells, flat channels, non-finite values: up to three markers - do as many
levels give their index away: the rarest, never 0 or 255 (which also stand for all that is clipped), never two
neighbours. Their pixels become one level lower, and are counted. Rarest is by count where a sheet has up to
32,768 pixels, by an even sample of as many where it has more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from fluoroscope.blocks import BLOCK
from fluoroscope.drawing.colormaps import MARKERS, palette
from fluoroscope.drawing.geometry import Box, SheetGeometry
from fluoroscope.drawing.levels import levels
from fluoroscope.drawing.scaling import Limits
from fluoroscope.drawing.style import Style
from fluoroscope.errors import UsageError

_SAMPLE = 1 << 15
_HATCH = 6
"""Pixels from one line of a flat channel's hatch to the next, along a row."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sheet:
    """Feature maps tiled in one picture.

    Attributes
    ----------
    indices
        uint8 ``(height, width)``, read-only: a level 0..255, or a marker's index.
    palette
        uint8 ``(256, 3)``, read-only: red, green, blue of each index.
    geometry
        Where each channel lies.
    limits
        What the levels of each channel stand for.
    markers
        Name of a marker (``gap``, ``flat``, ``nonfinite``; see `colormaps.MARKERS`) -> its index. Only those
        that the sheet needs.
    moved
        How many values are drawn one level too low, because their level's index went to a marker.
    """

    indices: NDArray[np.uint8]
    palette: NDArray[np.uint8]
    geometry: SheetGeometry
    limits: Limits
    markers: Mapping[str, int]
    moved: int

    def box(self, channel: int) -> Box:
        """Where a channel lies, in pixels: top, left, height, width."""
        return self.geometry.box(channel)

    def channel_at(self, y: int, x: int) -> int | None:
        """The channel at a pixel; None in a gap, a blank cell or outside."""
        return self.geometry.channel_at(y, x)

    @property
    def flat(self) -> tuple[int, ...]:
        """Channels whose values are all equal."""
        return tuple(np.flatnonzero(self.limits.flat).tolist())

    @property
    def nonfinite(self) -> tuple[int, ...]:
        """Channels with NaN or infinite values."""
        return tuple(np.flatnonzero(self.limits.nonfinite).tolist())

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """The picture in colour: uint8 ``(height, width, 3)``."""
        return self.palette[self.indices]


def draw_sheet(maps: NDArray[np.float32], limits: Limits, style: Style | None = None) -> Sheet:
    """Draw all feature maps of a layer.

    Parameters
    ----------
    maps
        float32 ``(channels, height, width)``. It is not written to.
    limits
        One entry a channel, as `Scaling.limits` gives them.
    style
        Columns, zoom, gap and colour map. A channel without a range of its own is drawn flat; a non-finite
        value is drawn as such wherever it is.

    Raises
    ------
    UsageError
        Another number of axes, no values, or limits of another number of channels.
    BudgetExceeded
        A sheet too large to be drawn.
    """
    style = style or Style()
    if maps.ndim != 3 or len(maps) != len(limits):
        raise UsageError(
            f"A sheet was asked of maps of shape {maps.shape} with limits for {len(limits)} channels. It is "
            "drawn of maps (channels, height, width) with limits for each channel."
        )
    geometry = SheetGeometry.fit(maps.shape, columns=style.columns, zoom=style.zoom, gap=style.gap)
    return _draw(maps, limits, geometry, style.palette)


def draw_vector(
    values: NDArray[np.float32],
    limits: Limits,
    style: Style | None = None,
    *,
    columns: int = 64,
    zoom: int = 8,
) -> Sheet:
    """Draw a vector: one cell of one value a channel.

    Parameters
    ----------
    values
        float32 ``(channels,)``.
    limits
        Of the vector as a whole, one entry: by `Scaling.limits` of ``values.reshape(1, 1, -1)``.
    style
        Gap and colour map.
    columns
        Values in a row.
    zoom
        Side of a cell, in pixels.
    """
    style = style or Style()
    if values.ndim != 1 or len(limits) != 1:
        raise UsageError(
            f"A vector was to be drawn of an array of shape {values.shape} with {len(limits)} limits. It has "
            "one axis, and one pair of limits for all values."
        )
    spread = Limits(
        limits.low.repeat(values.size),
        limits.high.repeat(values.size),
        limits.flat.repeat(values.size),
        (~np.isfinite(values)).astype(np.int64),
        shared=True,
    )
    geometry = SheetGeometry.fit((values.size, 1, 1), columns=columns, zoom=zoom, gap=style.gap)
    return _draw(values.reshape(-1, 1, 1), spread, geometry, style.palette)


def _draw(maps: NDArray[np.float32], limits: Limits, geometry: SheetGeometry, colormap: str) -> Sheet:
    indices = np.zeros(geometry.shape, np.uint8)
    # In strips of whole rows of maps, whose levels are still in the cache when they are put in their cells.
    step = geometry.columns * max(1, BLOCK // (geometry.columns * geometry.height * geometry.width))
    scratch = np.empty((min(step, len(maps)), geometry.height, geometry.width), np.uint8)
    for start in range(0, len(maps), step):
        part = slice(start, start + step)
        strip = levels(maps[part], limits[part], out=scratch[: len(maps[part])])
        geometry.place(strip, indices, start)

    flat = np.flatnonzero(limits.low == limits.high)
    broken = np.flatnonzero(limits.nonfinite)
    blank = geometry.rows * geometry.columns - geometry.channels
    needed = {
        "gap": blank > 0 or flat.size > 0 or (geometry.gap > 0 and geometry.channels > 1),
        "flat": flat.size > 0,
        "nonfinite": broken.size > 0,
    }
    names = [name for name, need in needed.items() if need]
    given = _rarest(indices, len(names))
    moved = _give_away(indices, given)
    markers = dict(zip(names, given, strict=True))
    colours = palette(colormap)
    if names:
        colours = colours.copy()
        colours[given] = [MARKERS[name] for name in names]
        colours.flags.writeable = False

    cells = geometry.cells(indices)
    if "gap" in markers:
        _mark_gaps(indices, geometry, markers["gap"])
    if "flat" in markers:
        height, width = geometry.cell
        lines = np.add.outer(np.arange(height), np.arange(width)) % _HATCH == 0
        hatch = np.where(lines, markers["gap"], markers["flat"]).astype(np.uint8)
        cells[np.divmod(flat, geometry.columns)] = hatch.reshape(cells.shape[2:])
    for channel in broken.tolist():
        values = ~np.isfinite(maps[channel, :, None, :, None])
        np.copyto(cells[divmod(channel, geometry.columns)], markers["nonfinite"], where=values)

    indices.flags.writeable = False
    return Sheet(
        indices=indices,
        palette=colours,
        geometry=geometry,
        limits=limits,
        markers=MappingProxyType(markers),
        moved=moved // geometry.zoom**2,
    )


def _rarest(indices: NDArray[np.uint8], count: int) -> list[int]:
    """The rarest levels, ascending, without 0, 255 and neighbours of one another."""
    if not count:
        return []
    # An odd step, lest it keep pace with the columns.
    sample = indices.reshape(-1)[:: indices.size // _SAMPLE | 1]
    frequency = np.bincount(sample, minlength=256)
    chosen: list[int] = []
    for level in (np.argsort(frequency[1:255], kind="stable") + 1).tolist():
        if all(abs(level - other) > 1 for other in chosen):
            chosen.append(level)
        if len(chosen) == count:
            break
    return sorted(chosen)


def _give_away(indices: NDArray[np.uint8], given: list[int]) -> int:
    """Move the pixels of the levels given away to the level below, in place; how many there were."""
    moved = 0
    step = max(1, BLOCK // indices.shape[1])
    mask = np.empty((min(step, len(indices)), indices.shape[1]), np.bool_)
    for start in range(0, len(indices), step):
        band = indices[start : start + step]
        for level in given:
            found = np.equal(band, level, out=mask[: len(band)])
            moved += int(np.count_nonzero(found))
            np.subtract(band, found.view(np.uint8), out=band)
    return moved


def _mark_gaps(indices: NDArray[np.uint8], geometry: SheetGeometry, marker: int) -> None:
    """Fill the pixels between maps, and the cells behind the last, in place."""
    height, width = geometry.cell
    for offset in range(geometry.gap):
        indices[height + offset :: height + geometry.gap] = marker
        indices[:, width + offset :: width + geometry.gap] = marker
    last = geometry.channels - (geometry.rows - 1) * geometry.columns
    geometry.cells(indices)[-1, last:] = marker
