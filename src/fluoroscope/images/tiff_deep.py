"""Samples of a TIFF page that a byte cannot hold: 9 to 64 bits, signed, float.

Only the decompression is left to Pillow's libtiff: strips and tiles are presented to it as rows of grey
bytes, which is what they are to a compressor. What the bytes mean is worked out here. Predictor 3: Adobe
Photoshop TIFF Technical Note 3, 2005.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import PictureError
from fluoroscope.images.pillow_decoder import load, opened
from fluoroscope.images.profiles import not_applied
from fluoroscope.images.raster import Raster, settle
from fluoroscope.images.tiff_layout import (
    BITS,
    COMPRESSION,
    HEIGHT,
    LOSSLESS,
    PHOTOMETRIC,
    ROWS_PER_STRIP,
    STRIP_COUNTS,
    STRIP_OFFSETS,
    UNCOMPRESSED,
    WIDTH,
    Layout,
)
from fluoroscope.images.tiff_tags import Tag, write_page

_GROUP_BYTES = 16 << 20
"""Strips are decompressed together up to this many bytes: each call costs, and so does memory."""

_LONG = 4
_TYPES = {
    ("u", 16),
    ("u", 32),
    ("u", 64),
    ("i", 8),
    ("i", 16),
    ("i", 32),
    ("i", 64),
    ("f", 16),
    ("f", 32),
    ("f", 64),
}


def decode_deep(data: bytes, layout: Layout, profile: bytes | None) -> Raster:
    """Decode a page of deep samples.

    Parameters
    ----------
    data
        The whole file.
    layout
        Its page's, checked.
    profile
        Its ICC profile. It is stated, not applied.

    Raises
    ------
    PictureError
        A combination of type, colour and storage that is not read; damaged compressed data; values that
        are not finite.
    """
    _check(layout)
    samples = _samples(data, layout)
    words = f"TIFF, {layout.width} x {layout.height}, {'RGB' if layout.colours == 3 else 'grey'}"
    colours, alpha = samples[..., : layout.colours], None
    steps: tuple[str, ...] = ()
    associated = layout.extra[:1] == (1,)
    if layout.extra[:1] in ((1,), (2,)):
        alpha = samples[..., layout.colours]
        words += " with alpha"
    dropped = len(layout.extra) - (alpha is not None)
    if dropped:
        steps = (f"{dropped} further sample{'s' if dropped > 1 else ''} a pixel left out",)
    if samples.dtype != np.uint16:
        if alpha is not None:
            raise PictureError(
                f"the TIFF has alpha and {samples.dtype} values, which is not read. Save it without alpha."
            )
        pixels, white, scale = settle(colours, words)
        steps = (*scale, *steps)
    else:
        greatest = (1 << layout.bits) - 1
        pixels, white = colours, float(greatest)
        steps = (f"{words}, {layout.bits} bits: white is {greatest}", *steps)
        if alpha is not None and layout.bits != 16:
            raise PictureError(
                f"the TIFF has alpha and {layout.bits} bits, which is not read. Save it with 16."
            )
    if layout.photometric == 0:
        if samples.dtype != np.uint16:
            raise PictureError(
                f"the TIFF has white as zero and {samples.dtype} values, so that white is not known."
            )
        pixels = np.uint16((1 << layout.bits) - 1) - pixels
        steps = (*steps, "white is zero: inverted")
    return Raster(
        pixels=np.ascontiguousarray(pixels),
        white=white,
        steps=(*steps, *not_applied(profile, grey=layout.colours == 1)),
        alpha=alpha,
        premultiplied=associated,
    )


def _check(layout: Layout) -> None:
    kind = {"u": "unsigned", "i": "signed", "f": "float"}[layout.format]
    packed = 8 < layout.bits < 16 and layout.format == "u" and layout.predictor == 1
    if not packed and (layout.format, layout.bits) not in _TYPES:
        raise PictureError(
            f"the TIFF has {kind} samples of {layout.bits} bits, which are not read. Save it with 16."
        )
    if layout.photometric not in (0, 1, 2):
        raise PictureError(
            f"the TIFF has {layout.bits} bits a sample and colours that are neither grey nor RGB, which is "
            "not read. Save it as RGB with 16 bits, or with 8 bits a sample."
        )
    predictors = (1, 2, 3) if layout.format == "f" else (1, 2)
    if layout.compression not in LOSSLESS or layout.fill_order != 1 or layout.predictor not in predictors:
        raise PictureError(
            f"the TIFF has {layout.bits} bits a sample in an unusual storage (compression "
            f"{layout.compression}, fill order {layout.fill_order}, predictor {layout.predictor}). Save it "
            "uncompressed, or with LZW or deflate."
        )


def _samples(data: bytes, layout: Layout) -> NDArray[Any]:
    """All samples, ``(height, width, samples)``, in this machine's byte order."""
    packed = layout.bits % 8 != 0
    dtype = np.dtype(np.uint16 if packed else f"{layout.format}{layout.bits // 8}")
    inner = 1 if layout.planar else layout.samples
    out = np.empty((layout.height, layout.width, layout.samples), dtype)
    down = math.ceil(layout.height / layout.part_height)
    across = math.ceil(layout.width / layout.part_width)
    number = 0
    for rows in _decompressed(data, layout):
        block = _unpacked(rows, layout) if packed else _unpredicted(rows, layout, dtype)
        block = block.reshape(len(rows), -1, inner)
        used = 0
        while used < len(rows):
            plane, part = divmod(number, down * across)
            top, left = (part // across) * layout.part_height, (part % across) * layout.part_width
            target = out[
                top : top + layout.part_height, left : left + layout.part_width, plane : plane + inner
            ]
            height = layout.part_height if layout.tiled else len(target)
            target[...] = block[used : used + len(target), : target.shape[1]]
            used += height
            number += 1
    return out


def _decompressed(data: bytes, layout: Layout) -> Iterator[NDArray[np.uint8]]:
    """Rows of bytes, ``(rows, row_bytes)``, of several strips or tiles at a time, in order."""
    down = math.ceil(layout.height / layout.part_height)
    last = layout.height - (down - 1) * layout.part_height
    whole = max(1, _GROUP_BYTES // (layout.row_bytes * layout.part_height))
    # Strips end with a shorter one, in each plane; libtiff allows that at the end of a picture only.
    limit = len(layout.parts) if layout.tiled else down
    for plane in range(0, len(layout.parts), limit):
        for first in range(0, limit, whole):
            count = min(whole, limit - first)
            parts = layout.parts[plane + first : plane + first + count]
            rows = layout.part_height * count
            if not layout.tiled and first + count == down:
                rows += last - layout.part_height
            stored = [data[offset : offset + length] for offset, length in parts]
            yield _inflated(stored, rows, layout)


def _inflated(stored: list[bytes], rows: int, layout: Layout) -> NDArray[np.uint8]:
    body = b"".join(stored)
    shape = (rows, layout.row_bytes)
    if layout.compression == UNCOMPRESSED:
        return np.frombuffer(body, np.uint8).reshape(shape)
    lengths = [len(part) for part in stored]
    offsets = list(accumulate(lengths[:-1], initial=8))
    fields = {
        WIDTH: [layout.row_bytes], HEIGHT: [rows], BITS: [8], COMPRESSION: [layout.compression],
        PHOTOMETRIC: [1], STRIP_OFFSETS: offsets, ROWS_PER_STRIP: [layout.part_height], STRIP_COUNTS: lengths,
    }  # fmt: skip
    tags = {n: Tag(_LONG, len(v), struct.pack(f"{layout.order}{len(v)}I", *v)) for n, v in fields.items()}
    grey = write_page(layout.order, tags, body)
    image = opened(grey, "TIFF", max_pixels=rows * layout.row_bytes)
    load(image, "TIFF", max_pixels=rows * layout.row_bytes)
    return np.asarray(image).reshape(shape)


def _unpredicted(rows: NDArray[np.uint8], layout: Layout, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Undo the predictor, ``(rows, samples in a row)`` of the type."""
    inner = 1 if layout.planar else layout.samples
    if layout.predictor == 3:
        # Differences of bytes, the most significant bytes of a row's samples first, then the next ones.
        apart = rows.reshape(len(rows), -1, inner).cumsum(axis=1, dtype=np.uint8)
        planes = apart.reshape(len(rows), dtype.itemsize, -1).transpose(0, 2, 1)
        stored = np.ascontiguousarray(planes).view(dtype.newbyteorder(">"))[..., 0]
        return stored.astype(dtype)
    if layout.predictor == 1:
        return np.ascontiguousarray(rows).view(dtype.newbyteorder(layout.order)).astype(dtype)
    # Differences of the samples as unsigned integers, floats too; they wrap around.
    whole = np.dtype(f"u{dtype.itemsize}")
    differences = np.ascontiguousarray(rows).view(whole.newbyteorder(layout.order)).astype(whole)
    return differences.reshape(len(rows), -1, inner).cumsum(axis=1, dtype=whole).view(dtype)


def _unpacked(rows: NDArray[np.uint8], layout: Layout) -> NDArray[np.uint16]:
    """Samples of 9 to 15 bits, packed without gaps, the most significant bit first, rows padded to bytes."""
    inner = 1 if layout.planar else layout.samples
    count = layout.part_width * inner
    bits = np.unpackbits(rows, axis=1, count=count * layout.bits).reshape(len(rows), count, layout.bits)
    weights = (1 << np.arange(layout.bits - 1, -1, -1)).astype(np.uint16)
    return bits.astype(np.uint16) @ weights
