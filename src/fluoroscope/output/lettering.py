"""Text and boxes on pixels, in the same typeface and colours as on the pages of a PDF."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fluoroscope.output.theme import INK, PAPER, Color
from fluoroscope.output.typography import REGULAR, SEMIBOLD, fitted, printable

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont


class Canvas:
    """An RGB picture that is drawn on, white at first.

    Lengths are given in units of `scale` pixels, from the upper left; a text's ``y`` is its baseline.

    Parameters
    ----------
    width, height
        In pixels.
    scale
        Pixels of a unit.
    """

    def __init__(self, width: int, height: int, scale: int = 1) -> None:
        from PIL import Image, ImageDraw

        self._image = Image.new("RGB", (width, height), _levels(PAPER))
        self._draw: Any = ImageDraw.Draw(self._image)
        self._scale = scale

    def measure(self, text: str, size: int, *, bold: bool = False) -> float:
        """Width of a text as `text` sets it."""
        return _font(size * self._scale, bold).getlength(printable(text)) / self._scale

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: int,
        *,
        bold: bool = False,
        color: Color = INK,
        align: Literal["left", "center", "right"] = "left",
        width: float | None = None,
    ) -> float:
        """Set a line of text; give its width.

        Parameters
        ----------
        text
            Any; what cannot be printed is escaped.
        width
            Room for it: the middle is left out of a longer text.
        """
        font = _font(size * self._scale, bold)
        text = printable(text)
        if width is not None:
            text = fitted(text, width * self._scale, font.getlength)
        anchor = {"left": "ls", "center": "ms", "right": "rs"}[align]
        place = x * self._scale, y * self._scale
        self._draw.text(place, text, font=font, fill=_levels(color), anchor=anchor)
        return font.getlength(text) / self._scale

    def box(self, x: float, y: float, width: float, height: float, color: Color) -> None:
        """Fill a rectangle given by its upper left corner; less than a pixel is nothing."""
        left, top, right, bottom = (round(side * self._scale) for side in (x, y, x + width, y + height))
        if right > left and bottom > top:
            self._draw.rectangle((left, top, right - 1, bottom - 1), _levels(color))

    def pixels(self, x: float, y: float, pixels: NDArray[np.uint8]) -> None:
        """Put a picture ``(height, width, 1 or 3)`` there, pixel for pixel."""
        from PIL import Image

        shown = np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        self._image.paste(Image.fromarray(shown), (round(x * self._scale), round(y * self._scale)))

    def array(self) -> NDArray[np.uint8]:
        """``(height, width, 3)``."""
        return np.asarray(self._image)


@cache
def _font(size: int, bold: bool) -> FreeTypeFont:
    from PIL import ImageFont

    # The layout that is always there, so that a poster looks the same everywhere.
    return ImageFont.truetype(str(SEMIBOLD if bold else REGULAR), size, layout_engine=ImageFont.Layout.BASIC)


def _levels(color: Color) -> tuple[int, ...]:
    return tuple(round(255 * part) for part in color)
