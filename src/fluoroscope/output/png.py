"""Pictures compressed once: a deflate stream that goes into a PNG file, a PDF page or a web page as it is.

Rows are differences from the row above (filter "Up") where that is smaller, which it is for most maps side by
side, and as they are (filter "None") where it is not, which is so for fine-grained ones: about as small as
Pillow's default, or smaller, at ten times its speed. ISA-L deflates; where it is missing, zlib's run-length
strategy does, which makes files a few per cent smaller at a quarter of the speed.
"""

from __future__ import annotations

import itertools
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import UsageError
from fluoroscope.files import atomic_write

_NONE, _UP = 0, 2
"""Bytes before a row that say how it is filtered."""

_BAND = 1 << 17
"""Bytes filtered at a time."""

_SAMPLE_EVERY, _SAMPLE_ROWS = 64, 4
"""The filter is chosen on four rows of 64. Measured: within 0.2% of the better choice, for an eighth of
the time of compressing."""

_WINDOW = 9
"""Bits of the distance that ISA-L looks back for repetitions. They lie near, if there are any; short ones
from far away cost more than they save. 1.5% smaller than the usual 15, at the same speed."""

_LARGEST = (1 << 31) - 1
"""Of what PNG holds in four bytes: a side, and the length of a chunk."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedImage:
    """A picture of 8 bits a sample, compressed.

    In a PDF the stream is an image's data with ``/Filter /FlateDecode`` and ``/DecodeParms << /Predictor 15
    /Colors colors /BitsPerComponent 8 /Columns width >>``.

    Attributes
    ----------
    width, height
        In pixels.
    colors
        Samples a pixel: 1 for a palette or grey, 3 for RGB.
    palette
        uint8 ``(n, 3)``, n up to 256, read-only: red, green, blue of each index; None for grey and RGB.
    stream
        zlib data: for each row the byte of its PNG filter, then the samples.
    """

    width: int
    height: int
    colors: Literal[1, 3]
    palette: NDArray[np.uint8] | None
    stream: bytes

    def png(self, text: Mapping[str, str] | None = None) -> bytes:
        """A PNG file.

        Parameters
        ----------
        text
            Keyword -> text that is kept in the file: what was drawn and how. Any text; a keyword is 1 to 79
            Latin-1 characters without leading, trailing or double spaces (PNG specification, 11.3.3.2).

        Raises
        ------
        UsageError
            Another keyword, or a text with a null character.
        """
        kind = 3 if self.palette is not None else 2 if self.colors == 3 else 0
        parts = [
            b"\x89PNG\r\n\x1a\n",
            *_chunk(b"IHDR", struct.pack(">IIBBBBB", self.width, self.height, 8, kind, 0, 0, 0)),
        ]
        if self.palette is not None:
            parts += _chunk(b"PLTE", self.palette.tobytes())
        for keyword, value in (text or {}).items():
            parts += _text_chunk(keyword, value)
        for start in range(0, len(self.stream), _LARGEST):
            parts += _chunk(b"IDAT", self.stream[start : start + _LARGEST])
        parts += _chunk(b"IEND", b"")
        return b"".join(parts)

    def samples(self) -> NDArray[np.uint8]:
        """The picture again: uint8 ``(height, width)``, indices or grey, or ``(height, width, 3)``."""
        filtered = np.frombuffer(zlib.decompress(self.stream), np.uint8).reshape(self.height, -1)
        rows = filtered[:, 1:].copy()
        if filtered[0, 0] == _UP:
            # Row by row: many times as fast as accumulate. Sums wrap around at 256, as the differences did.
            for above, row in itertools.pairwise(rows):
                np.add(row, above, out=row)
        return rows.reshape((self.height, self.width) if self.colors == 1 else (self.height, self.width, 3))

    def save(self, path: str | os.PathLike[str], text: Mapping[str, str] | None = None) -> None:
        """Write `png` to a file, whole or not at all."""
        atomic_write(path, self.png(text))


def encode(pixels: NDArray[np.uint8], palette: NDArray[np.uint8] | None = None) -> EncodedImage:
    """Compress a picture, losslessly.

    Parameters
    ----------
    pixels
        uint8 ``(height, width)``: indices if there is a palette, grey values if not; or ``(height, width,
        3)`` red, green, blue.
    palette
        uint8 ``(n, 3)``. Colours behind the last that is used are left out.

    Raises
    ------
    UsageError
        Another dtype or shape, no pixels, or an index that the palette does not have.
    """
    colors = 3 if pixels.ndim == 3 else 1
    usable = pixels.ndim >= 2 and pixels.shape[2:] in ((), (3,)) and pixels.size > 0
    if not usable or pixels.dtype != np.uint8:
        raise UsageError(
            f"A picture was to be encoded from a {pixels.dtype} array of shape {pixels.shape}. It is uint8, "
            "(height, width) or (height, width, 3), with at least one pixel."
        )
    height, width = pixels.shape[:2]
    if max(height, width) > _LARGEST:
        raise UsageError(
            f"A picture of {height} x {width} is too large for PNG: a side is at most {_LARGEST}."
        )
    used = None
    if palette is not None:
        if colors == 3 or palette.dtype != np.uint8 or palette.ndim != 2 or palette.shape[1] != 3:
            raise UsageError(
                f"A palette of shape {palette.shape} was given for a picture of shape {pixels.shape}. It is "
                "uint8 (n, 3), for pictures (height, width)."
            )
        most = int(pixels.max())
        if most >= min(len(palette), 256):
            raise UsageError(f"The picture has index {most}, but its palette {len(palette)} colours.")
        used = palette[: most + 1].copy()
        used.flags.writeable = False
    rows = pixels.reshape(height, width * colors)
    kind = _better_filter(rows)
    return EncodedImage(
        width=width,
        height=height,
        colors=colors,
        palette=used,
        stream=_compressed([rows], rows.shape[1], kind),
    )


def encode_bands(bands: Iterable[NDArray[np.uint8]], *, width: int, height: int) -> EncodedImage:
    """Compress an RGB picture that never is in memory as a whole.

    Parameters
    ----------
    bands
        uint8 ``(rows, width, 3)`` each, from the top; together `height` rows.
    width, height
        In pixels.

    Raises
    ------
    UsageError
        A band of another dtype or shape, other rows than `height` in all, or a side too large for PNG.
    """
    if min(height, width) < 1 or max(height, width) > _LARGEST:
        raise UsageError(f"A picture of {height} x {width}: a side of a PNG is 1 to {_LARGEST}.")

    def rows() -> Iterator[NDArray[np.uint8]]:
        done = 0
        for band in bands:
            if band.dtype != np.uint8 or band.shape[1:] != (width, 3) or not len(band):
                raise UsageError(
                    f"A band of a picture was a {band.dtype} array of shape {band.shape}. It is uint8, "
                    f"(rows, {width}, 3), with at least one row."
                )
            done += len(band)
            yield band.reshape(len(band), -1)
        if done != height:
            raise UsageError(f"A picture of {height} rows was to be encoded from {done}.")

    return EncodedImage(
        width=width, height=height, colors=3, palette=None, stream=_compressed(rows(), width * 3, _UP)
    )


class _Compressor(Protocol):
    def compress(self, data: memoryview, /) -> bytes: ...
    def flush(self) -> bytes: ...


def _compressor() -> _Compressor:
    """The faster of the two that is there. ISA-L's levels beyond 1 were measured: slower, and no smaller."""
    try:
        from isal import isal_zlib
    except ModuleNotFoundError as missing:
        # There are no wheels of it for some platforms.
        if missing.name != "isal":
            raise
        return zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    return isal_zlib.compressobj(1, isal_zlib.DEFLATED, _WINDOW)


def _better_filter(rows: NDArray[np.uint8]) -> int:
    """Which filter makes rows smaller, tried on a sample of them."""
    if len(rows) <= _SAMPLE_EVERY:
        chosen = np.arange(1, len(rows))
    else:
        starts = np.arange(_SAMPLE_EVERY // 2, len(rows) - _SAMPLE_ROWS + 1, _SAMPLE_EVERY)
        chosen = np.add.outer(starts, np.arange(_SAMPLE_ROWS)).ravel()
    plain = rows[chosen]
    return _UP if _deflated_size(plain - rows[chosen - 1]) <= _deflated_size(plain) else _NONE


def _deflated_size(rows: NDArray[np.uint8]) -> int:
    compressor = _compressor()
    return len(compressor.compress(rows.data)) + len(compressor.flush())


def _compressed(bands: Iterable[NDArray[np.uint8]], width: int, kind: int) -> bytes:
    """Deflate rows, each behind the byte of its filter.

    Parameters
    ----------
    bands
        uint8 ``(rows, width)`` each, from the top. A band's memory may be that of the one before.
    kind
        ``_UP`` or ``_NONE``.
    """
    compressor = _compressor()
    parts: list[bytes] = []
    # A few rows at a time, which the compressor then finds in the cache.
    step = max(1, _BAND // width)
    filtered = np.empty((step, width + 1), np.uint8)
    filtered[:, 0] = kind
    # What PNG takes to be above the first row.
    above = np.zeros(width, np.uint8)
    for band in bands:
        for start in range(0, len(band), step):
            rows = band[start : start + step]
            if kind == _NONE:
                filtered[: len(rows), 1:] = rows
            else:
                np.subtract(rows[0], above, out=filtered[0, 1:])
                np.subtract(rows[1:], rows[:-1], out=filtered[1 : len(rows), 1:])
                above = rows[-1].copy()
            parts.append(compressor.compress(filtered[: len(rows)].data))
    return b"".join([*parts, compressor.flush()])


def _chunk(name: bytes, data: bytes) -> tuple[bytes, ...]:
    return struct.pack(">I", len(data)), name, data, struct.pack(">I", _crc32(data, zlib.crc32(name)))


def _crc32(data: bytes, start: int) -> int:
    try:
        from isal.isal_zlib import crc32
    except ModuleNotFoundError:
        from zlib import crc32
    return crc32(data, start)


def _text_chunk(keyword: str, text: str) -> tuple[bytes, ...]:
    try:
        name = keyword.encode("latin-1")
    except UnicodeEncodeError:
        name = b""
    words = keyword.split(" ")
    if (
        not 1 <= len(name) <= 79
        or not all(words)
        or not keyword.replace(" ", "").isprintable()
        or "\0" in text
    ):
        raise UsageError(
            f"A PNG cannot hold the text {text!r} under {keyword!r}. A keyword is 1 to 79 printable Latin-1 "
            "characters without leading, trailing or double spaces; a text has no null character."
        )
    try:
        return _chunk(b"tEXt", name + b"\0" + text.encode("latin-1"))
    except UnicodeEncodeError:
        # Neither compressed nor in a stated language. File names can hold halves of letters, shown as codes.
        return _chunk(b"iTXt", name + b"\0\0\0\0\0" + text.encode("utf-8", "backslashreplace"))
