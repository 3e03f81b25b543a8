"""Reading a picture: from a path, bytes, a stream, an array or a Pillow image to an `Image`."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import PictureError, UsageError
from fluoroscope.images.image import Image
from fluoroscope.images.numpy_files import array_raster, decode_npy, decode_npz
from fluoroscope.images.pnm import decode_pnm
from fluoroscope.images.raster import (
    MAX_PIXEL_BYTES,
    Colour,
    Raster,
    background_colour,
    check_size,
    flatten,
    orient,
)
from fluoroscope.images.signatures import recognise
from fluoroscope.images.source import printable, read_source
from fluoroscope.images.tiff_tags import orientation_of

if TYPE_CHECKING:
    import PIL.Image

    Source = str | os.PathLike[str] | bytes | BinaryIO | NDArray[Any] | PIL.Image.Image | Image

__all__ = ["MAX_FRAME", "MAX_PIXELS", "Image", "open_image"]

MAX_PIXELS = 64_000_000
"""The most pixels that are decoded unless more are allowed."""

MAX_FRAME = 9_999
"""The last frame or page that is looked at."""

_HEADER_BYTES = 1 << 20


def open_image(
    source: Source,
    *,
    frame: int = 0,
    background: str | tuple[int, int, int] = "white",
    max_pixels: int = MAX_PIXELS,
) -> Image:
    """Read a picture, at its own size and full depth.

    Read are JPEG, PNG, TIFF, WebP, GIF, BMP, binary PGM and PPM, NPY and NPZ, told by their content, whatever
    the name says. EXIF orientation is applied; colours of 8 bits with an ICC profile are converted to sRGB;
    alpha is laid over a background; all of it is said in the picture's `steps`. Nothing is cut to 8 bits, and
    a file that is not whole is not read.

    Parameters
    ----------
    source
        A path; the bytes of a file; a stream opened in binary mode, read from where it stands; a NumPy array
        ``(height, width)``, ``(height, width, channels)`` or ``(frames, height, width, channels)``, which is
        copied; a Pillow image, at the frame it stands at; an `Image`, which is returned as it is.
    frame
        Of an animation, a TIFF with several pages, or an array of four axes; from 0 to 9,999.
    background
        What transparent pixels are laid over: ``"white"``, ``"black"``, ``"#rrggbb"`` or (red, green, blue)
        in 0..255.
    max_pixels
        The most that is read, checked by the size a header declares before anything is decoded. A file may
        have 16 times as many bytes.

    Returns
    -------
    Image
        uint8 or uint16 as stored; all else as float32.

    Raises
    ------
    PictureError
        No such file, no file at all, not a picture, one of another format, cut short, damaged, over a limit,
        without such a frame, or with values that are not finite. The message begins with what was given.
    UsageError
        A source of another type, or an option that means nothing.

    Examples
    --------
    >>> import numpy as np
    >>> image = open_image(np.zeros((2, 3), np.uint8))
    >>> image
    Image('array', 3 x 2, 1 channel, uint8)
    >>> image.steps
    ('array, 3 x 2, 1 channel, 8 bits: white is 255',)
    """
    colour = background_colour(background)
    if frame < 0 or frame > MAX_FRAME:
        raise UsageError(f"There is no frame {frame}: frames are numbered from 0 to {MAX_FRAME:,}.")
    if max_pixels < 1:
        raise UsageError(f"A limit of {max_pixels} pixels lets no picture through: give 1 or more.")
    if isinstance(source, Image):
        return source
    if isinstance(source, np.ndarray):
        with _named("The array given"):
            raster = array_raster(source, "array", frame=frame, max_pixels=max_pixels)
        digest = hashlib.sha256(source.tobytes()).hexdigest()
        return _image(raster, colour, name="array", path=None, sha256=digest)
    image = _as_pillow(source)
    if image is not None:
        return _from_pillow(image, frame, colour, max_pixels)
    read = read_source(source, limit=_HEADER_BYTES + MAX_PIXEL_BYTES * max_pixels)
    with _named(read.label):
        raster = _decoded(read.data, frame, max_pixels)
    return _image(raster, colour, name=read.name, path=read.path, sha256=read.sha256)


def _as_pillow(source: object) -> PIL.Image.Image | None:
    # None can come from a process that has not imported Pillow.
    if "PIL.Image" not in sys.modules:
        return None
    import PIL.Image

    return source if isinstance(source, PIL.Image.Image) else None


def _decoded(data: bytes, frame: int, max_pixels: int) -> Raster:
    form = recognise(data)
    if form == "NPY":
        return decode_npy(data, frame=frame, max_pixels=max_pixels)
    if form == "NPZ":
        max_bytes = _HEADER_BYTES + MAX_PIXEL_BYTES * max_pixels
        return decode_npz(data, frame=frame, max_pixels=max_pixels, max_bytes=max_bytes)
    if form == "PNM":
        return decode_pnm(data, frame=frame, max_pixels=max_pixels)
    # Those below bring Pillow with them.
    if form == "PNG":
        from fluoroscope.images.png import decode_png

        return decode_png(data, frame=frame, max_pixels=max_pixels)
    if form == "TIFF":
        from fluoroscope.images.tiff import decode_tiff

        return decode_tiff(data, frame=frame, max_pixels=max_pixels)
    from fluoroscope.images.pillow_decoder import decode

    return decode(data, form, frame=frame, max_pixels=max_pixels)


def _from_pillow(image: PIL.Image.Image, frame: int, background: Colour, max_pixels: int) -> Image:
    from fluoroscope.images.colour import to_raster
    from fluoroscope.images.pillow_decoder import load

    if frame:
        raise UsageError(f"A Pillow image is taken at the frame it stands at: call its seek({frame}) first.")
    given = getattr(image, "filename", "")
    name = printable(os.path.basename(os.fsdecode(given))) if given else "picture"
    form = f"Pillow image ({image.format})" if image.format else "Pillow image"
    with _named("The Pillow image given"):
        check_size(image.width, image.height, max_pixels)
        # Not decoded yet, it still tells what Pillow is going to cut to 8 bits.
        cut = ";16" in str(getattr(image, "tile", ())) and not image.mode.startswith("I")
        load(image, form, max_pixels=max_pixels)
        raster = to_raster(image, form, image.info.get("icc_profile"))
    if cut:
        raster = raster.with_steps("16 bits cut to 8 by Pillow: give the file itself to keep them")
    raster = orient(raster, orientation_of(image.info.get("exif", b"")))
    return _image(
        raster, background, name=name, path=None, sha256=hashlib.sha256(image.tobytes()).hexdigest()
    )


def _image(raster: Raster, background: Colour, *, name: str, path: str | None, sha256: str) -> Image:
    flat = flatten(raster, background)
    return Image(pixels=flat.pixels, white=flat.white, name=name, path=path, sha256=sha256, steps=flat.steps)


@contextmanager
def _named(label: str) -> Generator[None]:
    """Begin the messages of picture errors with what was given."""
    try:
        yield
    except PictureError as error:
        raise PictureError(f"{label}: {error}") from error
