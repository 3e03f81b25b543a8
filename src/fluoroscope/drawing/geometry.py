"""Where each channel lies in a sheet: feature maps side by side in rows, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import BudgetExceeded, LayerNotFound, UsageError

LARGEST = 1 << 30
"""Pixels of a sheet at most, one byte each: beyond what a page, a screen or a decoder takes."""

_Scalar = TypeVar("_Scalar", bound=np.generic)


class Box(NamedTuple):
    """A rectangle of pixels: rows ``top`` up to ``top + height``, columns ``left`` up to ``left + width``."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetGeometry:
    """Channels in rows from the upper left; what is left of the last row is blank.

    Each value becomes a square of ``zoom * zoom`` pixels, so maps keep their aspect. Between neighbours, not
    around them all, lie `gap` pixels; one channel alone fills the sheet.

    Attributes
    ----------
    channels, height, width
        Number of feature maps, and their size in values.
    columns
        Maps in a row; never more than there are (see `fit`).
    zoom
        Side of a value's square, in pixels.
    gap
        Pixels between maps.

    Raises
    ------
    UsageError
        A number below 1, or a negative gap.
    BudgetExceeded
        A sheet of more than `LARGEST` pixels.
    """

    channels: int
    height: int
    width: int
    columns: int
    zoom: int = 1
    gap: int = 1

    def __post_init__(self) -> None:
        for name in ("channels", "height", "width", "columns", "zoom"):
            if getattr(self, name) < 1:
                raise UsageError(f"A sheet's {name} must be 1 or more, not {getattr(self, name)}.")
        if self.gap < 0:
            raise UsageError(f"A sheet's gap must be 0 or more pixels, not {self.gap}.")
        height, width = self.shape
        if height * width > LARGEST:
            raise BudgetExceeded(
                f"A sheet of {self.channels} maps of {self.height} x {self.width} at zoom {self.zoom} would "
                f"have {height} x {width} pixels. The most is {LARGEST:,}: take a smaller zoom or gap."
            )

    @classmethod
    def fit(cls, shape: tuple[int, ...], *, columns: int = 16, zoom: int = 1, gap: int = 1) -> SheetGeometry:
        """The geometry for maps of a shape ``(channels, height, width)``, at most `columns` in a row."""
        channels, height, width = shape
        return cls(
            channels=channels,
            height=height,
            width=width,
            columns=min(columns, max(channels, 1)),
            zoom=zoom,
            gap=gap,
        )

    @property
    def rows(self) -> int:
        """Rows of maps."""
        return -(-self.channels // self.columns)

    @property
    def cell(self) -> tuple[int, int]:
        """Height and width of a map, in pixels."""
        return self.height * self.zoom, self.width * self.zoom

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the sheet, in pixels."""
        height, width = self.cell
        return self.rows * (height + self.gap) - self.gap, self.columns * (width + self.gap) - self.gap

    def box(self, channel: int) -> Box:
        """Where a channel lies, in pixels.

        Raises
        ------
        LayerNotFound
            No such channel.
        """
        if not 0 <= channel < self.channels:
            raise LayerNotFound(
                f"There is no channel {channel} in the sheet: they are numbered 0 to {self.channels - 1}."
            )
        row, column = divmod(channel, self.columns)
        height, width = self.cell
        return Box(row * (height + self.gap), column * (width + self.gap), height, width)

    def value_at(self, y: int, x: int) -> tuple[int, int, int] | None:
        """Channel, row and column of the value at a pixel; None in a gap, a blank cell or outside."""
        height, width = self.cell
        row, top = divmod(y, height + self.gap)
        column, left = divmod(x, width + self.gap)
        channel = row * self.columns + column
        if top >= height or left >= width or not 0 <= column < self.columns:
            return None
        if not 0 <= channel < self.channels:
            return None
        return channel, top // self.zoom, left // self.zoom

    def channel_at(self, y: int, x: int) -> int | None:
        """The channel at a pixel; None in a gap, a blank cell or outside."""
        value = self.value_at(y, x)
        return None if value is None else value[0]

    def cells(self, image: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """An image of this geometry, seen as cells.

        Parameters
        ----------
        image
            `shape`, C-contiguous.

        Returns
        -------
        array
            A view ``(rows, columns, height, zoom, width, zoom)`` that leaves out the gaps.
        """
        (height, width), line, item = self.cell, image.strides[0], image.itemsize
        return np.ndarray(
            (self.rows, self.columns, self.height, self.zoom, self.width, self.zoom),
            image.dtype,
            buffer=image,
            strides=(
                line * (height + self.gap),
                item * (width + self.gap),
                line * self.zoom,
                line,
                item * self.zoom,
                item,
            ),
        )

    def place(self, maps: NDArray[_Scalar], image: NDArray[_Scalar], first: int = 0) -> None:
        """Write maps ``(n, height, width)`` into their cells of an image of this geometry.

        Parameters
        ----------
        first
            The channel that the first of them is; the start of a row.
        """
        cells = self.cells(image)
        for start in range(0, len(maps), self.columns):
            row = maps[start : start + self.columns, :, None, :, None]
            cells[(first + start) // self.columns, : len(row)] = row


def tile(maps: NDArray[_Scalar], geometry: SheetGeometry, *, fill: int = 0) -> NDArray[_Scalar]:
    """Lay maps ``(channels, height, width)`` of any dtype out as one image, gaps and blank cells `fill`."""
    if maps.shape != (geometry.channels, geometry.height, geometry.width):
        raise UsageError(
            f"Maps of shape {maps.shape} do not fit a sheet of "
            f"{(geometry.channels, geometry.height, geometry.width)}, channels first."
        )
    image = np.full(geometry.shape, fill, maps.dtype)
    geometry.place(maps, image)
    return image


def untile(image: NDArray[_Scalar], geometry: SheetGeometry) -> NDArray[_Scalar]:
    """The maps ``(channels, height, width)`` of an image that `tile` made: its inverse."""
    if image.shape != geometry.shape:
        raise UsageError(f"An image of shape {image.shape} is no sheet of {geometry.shape} pixels.")
    cells = geometry.cells(np.ascontiguousarray(image))[:, :, :, 0, :, 0]
    return cells.reshape(-1, geometry.height, geometry.width)[: geometry.channels].copy()
