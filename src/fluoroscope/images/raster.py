"""Decoded pixels on their way to an `Image`: depth, orientation, alpha. Pure NumPy, no decoder."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import PictureError, UsageError

MAX_PIXEL_BYTES: Final = 16
"""Bytes that one pixel may take, file and decoded alike: four samples of 32 bits."""

Colour = tuple[int, int, int]
"""Red, green, blue, each 0..255."""

_NAMED: dict[str, Colour] = {"white": (255, 255, 255), "black": (0, 0, 0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Raster:
    """What a decoder hands on.

    Attributes
    ----------
    pixels
        ``(height, width, channels)`` without alpha: uint8, uint16 or float32.
    white
        Value of full white; None where it is not known.
    steps
        What was read and done, in words.
    alpha
        ``(height, width)``, same type as `pixels`, `white` being opaque. None without transparency.
    premultiplied
        True when `pixels` hold colour times alpha.
    """

    pixels: NDArray[Any]
    white: float | None
    steps: tuple[str, ...]
    alpha: NDArray[Any] | None = None
    premultiplied: bool = False

    def with_steps(self, *steps: str) -> Raster:
        """The same with further steps stated."""
        return replace(self, steps=(*self.steps, *steps))


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture by the size its header declares, before anything is decoded.

    Raises
    ------
    PictureError
        No pixels at all, or more than the limit.
    """
    if width <= 0 or height <= 0:
        raise PictureError(f"it declares a size of {width} x {height}: no pixels. Get the picture again.")
    if width * height > max_pixels:
        raise PictureError(
            f"it declares {width:,} x {height:,} pixels, {width * height / 1e6:,.1f} megapixels; the limit "
            f"is {max_pixels / 1e6:,.1f}. Raise max_pixels if you trust it, or make it smaller first."
        )


def settle(array: NDArray[Any], what: str) -> tuple[NDArray[Any], float | None, tuple[str, ...]]:
    """Bring values of any real type to uint8, uint16 or float32, and find what white is.

    Bytes and 16-bit unsigned integers are themselves. All other values become float32; they are taken on
    the 0..1 scale when all lie in it, else on the 0..255 scale when all lie in that, else on none.

    Parameters
    ----------
    array
        Any shape, not empty, of bool, integers or floats.
    what
        What it is, as the first step says: ``"NPY"``.

    Returns
    -------
    pixels, white, steps
        Same shape; value of white or None; in words.

    Raises
    ------
    PictureError
        Another type (complex, text, objects); values that are NaN, infinite, or beyond float32.
    """
    kind = array.dtype.kind
    if kind not in "buif":
        raise PictureError(
            f"values of type {array.dtype} are no picture. Integers, floats and booleans are read: "
            "convert the array with .astype(np.float32)."
        )
    if kind == "u" and array.dtype.itemsize <= 2:
        pixels = array.astype(array.dtype.newbyteorder("="), copy=False)
        white = 255.0 if array.dtype.itemsize == 1 else 65535.0
        return pixels, white, (f"{what}, {8 * array.dtype.itemsize} bits: white is {white:.0f}",)
    with np.errstate(over="ignore"):  # What overflows is counted as infinite below.
        values = array.astype(np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        nan = int(np.isnan(values).sum())
        infinite = int(values.size - finite.sum() - nan)
        raise PictureError(
            f"{nan + infinite:,} of {values.size:,} values are not finite numbers ({nan:,} NaN, {infinite:,} "
            "infinite or beyond float32). Replace them first, as with np.nan_to_num."
        )
    low, high = float(values.min()), float(values.max())
    scale = f"{what}, {array.dtype.name} from {low:g} to {high:g}"
    if low >= 0 and high <= 1:
        return values, 1.0, (f"{scale}: taken on the scale 0..1, white is 1",)
    if low >= 0 and high <= 255:
        return values, 255.0, (f"{scale}: taken on the scale 0..255, white is 255",)
    return values, None, (f"{scale}: on neither the scale 0..1 nor 0..255, white is not known",)


_TURNS = {
    2: "mirrored left to right",
    3: "turned by 180 degrees",
    4: "mirrored top to bottom",
    5: "mirrored along the main diagonal",
    6: "turned by 90 degrees clockwise",
    7: "mirrored along the other diagonal",
    8: "turned by 90 degrees anticlockwise",
}


def orient(raster: Raster, orientation: int) -> Raster:
    """Apply an EXIF/TIFF orientation (tag 274), 1 to 8, so that the first row is the top; record it.

    Values outside 2..8 change nothing.
    """
    if orientation not in _TURNS:
        return raster

    def turned(plane: NDArray[Any]) -> NDArray[Any]:
        # Rows and columns change places first in 5..8; then rows, columns, or both run backwards.
        plane = plane.swapaxes(0, 1) if orientation >= 5 else plane
        rows = -1 if orientation in (3, 4, 7, 8) else 1
        columns = -1 if orientation in (2, 3, 6, 7) else 1
        return np.ascontiguousarray(plane[::rows, ::columns])

    step = f"EXIF orientation {orientation} applied: {_TURNS[orientation]}"
    alpha = None if raster.alpha is None else turned(raster.alpha)
    return replace(raster, pixels=turned(raster.pixels), alpha=alpha, steps=(*raster.steps, step))


def background_colour(background: str | tuple[int, int, int]) -> Colour:
    """The colour that a background option means.

    Parameters
    ----------
    background
        ``"white"``, ``"black"``, ``"#rrggbb"``, or (red, green, blue) in 0..255.

    Raises
    ------
    UsageError
        Anything else.
    """
    if isinstance(background, str):
        if background in _NAMED:
            return _NAMED[background]
        if re.fullmatch("#[0-9a-fA-F]{6}", background):
            red, green, blue = bytes.fromhex(background[1:])
            return red, green, blue
    elif len(background) == 3 and all(v in range(256) for v in background):
        red, green, blue = background
        return red, green, blue
    raise UsageError(
        f"The background {background!r} is no colour: give 'white', 'black', '#rrggbb' or "
        "(red, green, blue) with values from 0 to 255."
    )


def flatten(raster: Raster, background: Colour) -> Raster:
    """Lay a picture with alpha over a background, exact to the nearest integer.

    ``pixel * alpha + background * (1 - alpha)``, on the values as stored, without linearising them. A grey
    picture stays grey unless the background is coloured. Without alpha nothing changes.
    """
    alpha = raster.alpha
    if alpha is None:
        return raster
    full = 255 if raster.pixels.dtype == np.uint8 else 65535
    if bool((alpha == full).all()):
        step = "alpha is opaque everywhere: dropped"
        return replace(raster, alpha=None, premultiplied=False, steps=(*raster.steps, step))
    channels = raster.pixels.shape[2]
    # At most 65535 * 65535 + 32767: uint32 just holds it.
    behind = np.array(background if channels == 3 or len(set(background)) > 1 else background[:1], np.uint32)
    behind = behind * np.uint32(full // 255)
    opacity = alpha[..., None].astype(np.uint32)
    colour = raster.pixels.astype(np.uint32)
    colour = np.minimum(colour, opacity) * np.uint32(full) if raster.premultiplied else colour * opacity
    mixed = (colour + behind * (full - opacity) + np.uint32(full // 2)) // np.uint32(full)
    named = next((name for name, value in _NAMED.items() if value == background), str(background))
    return replace(
        raster,
        pixels=mixed.astype(raster.pixels.dtype),
        alpha=None,
        premultiplied=False,
        steps=(*raster.steps, f"alpha laid over {named}"),
    )
