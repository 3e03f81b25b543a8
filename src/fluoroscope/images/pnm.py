"""Binary PGM and PPM (netpbm's P5 and P6), up to 16 bits, which Pillow would cut to 8 for colour."""

from __future__ import annotations

import re

import numpy as np

from fluoroscope.errors import PictureError
from fluoroscope.images.raster import Raster, check_size

# Magic, width, height, greatest value; comments from # to the end of the line; one white space at the end.
_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_HEADER = re.compile(rb"P([56])" + (_GAP + rb"(\d{1,9})") * 3 + rb"\s")


def decode_pnm(data: bytes, *, frame: int, max_pixels: int) -> Raster:
    """Decode one picture; its greatest value is white.

    Raises
    ------
    PictureError
        A header that means nothing, a value over the greatest, too many pixels, or a file cut short.
    """
    header = _HEADER.match(data[:4096])
    if not header:
        raise PictureError(
            "the PGM/PPM header cannot be understood: it wants a width, a height and a greatest value."
        )
    if frame:
        raise PictureError(f"there is no frame {frame}: of a PGM/PPM only the first picture is read.")
    channels = 1 if header[1] == b"5" else 3
    width, height, white = (int(number) for number in header.groups()[1:])
    check_size(width, height, max_pixels)
    if not 0 < white < 65536:
        raise PictureError(f"the PGM/PPM declares {white} as its greatest value; 1 to 65535 are possible.")
    stored = np.dtype(np.uint8 if white < 256 else ">u2")
    count = width * height * channels
    if len(data) - header.end() < count * stored.itemsize:
        raise PictureError(
            f"the PGM/PPM is cut short: {count:,} values do not fit its length. Get the file again."
        )
    values = np.frombuffer(data, stored, count, header.end()).reshape(height, width, channels)
    if int(values.max()) > white:
        raise PictureError(
            f"the PGM/PPM is damaged: values up to {values.max()}, but {white} as the greatest."
        )
    words = f"{'PGM' if channels == 1 else 'PPM'}, {width} x {height}, {'grey' if channels == 1 else 'RGB'}"
    step = f"{words}, {8 * stored.itemsize} bits: white is {white}"
    return Raster(pixels=values.astype(stored.newbyteorder("=")), white=white, steps=(step,))
