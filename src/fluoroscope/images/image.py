"""What a picture is once it has been read: `Image`."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Image:
    """A picture as it was read, at its own size and full depth.

    Attributes
    ----------
    pixels
        ``(height, width, channels)``, uint8, uint16 or float32, read-only. One channel is grey, three are
        red, green, blue; other counts come only from arrays, which mean what their owner says.
    white
        The value of full white, black being 0: 255 for uint8, 65535 for uint16, less where a file says so
        (4095 for 12 bits), 1 or 255 for float values that lie in 0..1 or 0..255. None for float values
        outside both: their scale is not known.
    name
        A short printable name, for captions.
    path
        The file as given; None for bytes, streams and arrays.
    sha256
        Of the bytes read, as 64 hexadecimal digits; of the pixels' bytes in C order for what was never a
        file.
    steps
        What was read and what was done to it, in words, in order. Sizes are width x height.
    """

    pixels: NDArray[Any]
    white: float | None
    name: str
    path: str | None
    sha256: str
    steps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.ndim != 3 or 0 in pixels.shape or pixels.dtype.str[1:] not in ("u1", "u2", "f4"):
            raise UsageError(
                f"Pixels of shape {pixels.shape} and type {pixels.dtype} are no Image: it takes (height, "
                "width, channels) of uint8, uint16 or float32. open_image() makes one of any array."
            )
        view = pixels.view()
        view.flags.writeable = False
        object.__setattr__(self, "pixels", view)

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[1])

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour, else as in the array it came from."""
        return int(self.pixels.shape[2])

    def levels(self) -> NDArray[np.uint8]:
        """The picture in 8 bits, to look at.

        Returns
        -------
        array
            ``(height, width, 1 or 3)`` uint8, read-only. See `to_levels`.
        """
        return to_levels(self.pixels, self.white)

    def _repr_png_(self) -> bytes:
        """PNG bytes of `levels`, by which notebooks show the picture."""
        import PIL.Image

        levels = self.levels()
        stream = io.BytesIO()
        PIL.Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels).save(stream, "PNG")
        return stream.getvalue()

    def __repr__(self) -> str:
        return (
            f"Image({self.name!r}, {self.width} x {self.height}, {self.channels} channel"
            f"{'s' if self.channels != 1 else ''}, {self.pixels.dtype})"
        )


def to_levels(pixels: NDArray[Any], white: float | None) -> NDArray[np.uint8]:
    """Pixels of any depth as levels 0..255, to look at.

    Parameters
    ----------
    pixels
        ``(height, width, channels)``.
    white
        Value shown as 255, 0 being shown as 0. None: the least value is shown as 0 and the greatest as 255.

    Returns
    -------
    array
        ``(height, width, 1 or 3)`` uint8, read-only, rounded to nearest. Of two channels the first is
        shown, of four and more the first three.
    """
    shown = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1]
    if shown.dtype != np.uint8 or white != 255:
        values = shown.astype(np.float32)
        low, high = (float(values.min()), float(values.max())) if white is None else (0.0, white)
        # Divided first: the span of two float32 values can be more than float32 holds.
        span = max(abs(low), abs(high), np.finfo(np.float32).tiny)
        values = values / np.float32(span) - np.float32(low / span)
        values *= np.float32(255 / ((high - low) / span)) if high > low else 0
        shown = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    shown = shown.view()
    shown.flags.writeable = False
    return shown
