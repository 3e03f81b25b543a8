"""PNG (W3C recommendation, third edition): chunks checked, and 16 bits a sample kept, which Pillow halves."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import PictureError
from fluoroscope.images.pillow_decoder import decode, load, opened
from fluoroscope.images.profiles import not_applied
from fluoroscope.images.raster import Raster, check_size, orient
from fluoroscope.images.tiff_tags import orientation_of

if TYPE_CHECKING:
    import PIL.Image

_GREY, _RGB, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 4, 6
_WORDS = {_GREY: "grey", _RGB: "RGB", _GREY_ALPHA: "grey with alpha", _RGB_ALPHA: "RGB with alpha"}

# Pillow keeps 8 of 16 bits of colour, and which 8 is a matter of the byte order it is told. So a picture is
# decoded once for the high bytes and once for the low ones; grey with alpha is four bytes like 8-bit RGBA.
_RAW_MODES: dict[int, tuple[str | None, ...]] = {
    _GREY: (None,),  # As it is.
    _RGB: ("RGB;16B", "RGB;16L"),
    _RGB_ALPHA: ("RGBA;16B", "RGBA;16L"),
    _GREY_ALPHA: ("RGBA",),
}


def decode_png(data: bytes, *, frame: int, max_pixels: int) -> Raster:
    """Decode a PNG of any kind; samples of 16 bits keep them all.

    Parameters
    ----------
    data
        The whole file.
    frame
        Of an animated PNG, from 0.
    max_pixels
        The most that is decoded.

    Raises
    ------
    PictureError
        Cut short, damaged (a check sum of a chunk that matters is wrong), too large, or no such frame.
    """
    header = _check_chunks(data, max_pixels)
    if header.depth < 16 or header.colour not in _RAW_MODES:
        return decode(data, "PNG", frame=frame, max_pixels=max_pixels)
    if frame:
        raise PictureError("of an animated PNG with 16 bits a sample only frame 0 is read.")
    samples, image = _deep_samples(data, header.colour, max_pixels)
    alpha: NDArray[Any] | None = None
    if header.colour in (_GREY_ALPHA, _RGB_ALPHA):
        samples, alpha = samples[..., :-1], samples[..., -1]
    elif "transparency" in image.info:
        # One colour, in 16 bits, that stands for nothing.
        clear = (samples == np.asarray(image.info["transparency"], np.uint16)).all(axis=-1)
        alpha = np.where(clear, 0, 65535).astype(np.uint16)
    steps = [f"PNG, {header.width} x {header.height}, {_WORDS[header.colour]}, 16 bits: white is 65535"]
    if alpha is not None:
        steps.append("transparency found")
    steps += not_applied(image.info.get("icc_profile"), grey=header.colour in (_GREY, _GREY_ALPHA))
    if getattr(image, "n_frames", 1) > 1:
        steps.append("frame 0 of several")
    raster = Raster(pixels=np.ascontiguousarray(samples), white=65535, steps=tuple(steps), alpha=alpha)
    return orient(raster, orientation_of(image.info.get("exif", b"")))


def _deep_samples(data: bytes, colour: int, max_pixels: int) -> tuple[NDArray[Any], PIL.Image.Image]:
    """All 16 bits, ``(height, width, samples)`` uint16, and the Pillow image, for what else it tells."""
    first, *second = _RAW_MODES[colour]
    image = _decoded_as(data, first, max_pixels)
    high = np.asarray(image).astype(np.uint16)
    if colour == _GREY:
        return high[..., None], image
    if colour == _GREY_ALPHA:
        return high[..., 0::2] << 8 | high[..., 1::2], image
    return high << 8 | np.asarray(_decoded_as(data, second[0], max_pixels)), image


def _decoded_as(data: bytes, raw_mode: str | None, max_pixels: int) -> PIL.Image.Image:
    """Decode, taking the bytes of a row for another raw mode of Pillow's; None for its own choice."""
    image = opened(data, "PNG", max_pixels=max_pixels)
    if raw_mode:
        codec, extents, offset, _ = image.tile[0]
        tile: Any = (codec, extents, offset, raw_mode)
        image.tile = [tile]
    load(image, "PNG", max_pixels=max_pixels)
    return image


@dataclass(frozen=True, slots=True)
class _Header:
    width: int
    height: int
    depth: int
    colour: int


def _check_chunks(data: bytes, max_pixels: int) -> _Header:
    """Walk over the chunks to the end; check those that matter for the pixels.

    Pillow does not look at the check sums of pixel data, and takes a file without an end for whole.
    """
    header: _Header | None = None
    view = memoryview(data)
    at = 8
    while True:
        if at + 12 > len(data):
            raise PictureError(f"the PNG is cut short after {len(data):,} bytes. Get the file again.")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise PictureError(
                f"the PNG is cut short after {len(data):,} bytes, inside a chunk of {length:,}. "
                "Get the file again."
            )
        # A capital first letter means that the picture cannot be shown without it.
        if kind[:1].isupper() or kind in (b"tRNS", b"acTL", b"fcTL", b"fdAT"):
            (expected,) = struct.unpack_from(">I", data, end - 4)
            if zlib.crc32(view[at + 4 : end - 4]) != expected:
                name = kind.decode("latin-1")
                raise PictureError(
                    f"the PNG is damaged: the check sum of its {name!r} chunk at byte {at:,} is wrong. "
                    "Get the file again."
                )
        if header is None:
            if kind != b"IHDR" or length < 13:
                raise PictureError(
                    "the PNG is damaged: it does not begin with its header. Get the file again."
                )
            header = _Header(*struct.unpack_from(">IIBB", data, at + 8))
            check_size(header.width, header.height, max_pixels)
        elif kind == b"acTL" and (length < 8 or data[at + 8 : at + 12] == b"\0\0\0\0"):
            raise PictureError("the PNG is damaged: it is an animation of no frames. Get the file again.")
        elif kind == b"IEND":
            return header
        at = end
