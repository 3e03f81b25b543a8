"""How the pixels of a TIFF page are stored: its tags understood, and checked against the file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from fluoroscope.errors import PictureError
from fluoroscope.images.raster import MAX_PIXEL_BYTES, check_size
from fluoroscope.images.tiff_tags import ByteOrder, Page

WIDTH: Final = 256
HEIGHT: Final = 257
BITS: Final = 258
COMPRESSION: Final = 259
PHOTOMETRIC: Final = 262
FILL_ORDER: Final = 266
STRIP_OFFSETS: Final = 273
SAMPLES: Final = 277
ROWS_PER_STRIP: Final = 278
STRIP_COUNTS: Final = 279
PLANAR: Final = 284
PREDICTOR: Final = 317
TILE_WIDTH: Final = 322
TILE_HEIGHT: Final = 323
TILE_OFFSETS: Final = 324
TILE_COUNTS: Final = 325
EXTRA_SAMPLES: Final = 338
SAMPLE_FORMAT: Final = 339
ICC_PROFILE: Final = 34675

SINGLE_TAGS: Final = frozenset(
    {WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES, ROWS_PER_STRIP, PLANAR, PREDICTOR}
    | {TILE_WIDTH, TILE_HEIGHT}
)
"""Those that have one value each."""

PIXEL_TAGS: Final = SINGLE_TAGS | {
    BITS, STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS, EXTRA_SAMPLES, SAMPLE_FORMAT,
    # Options of fax codes, the palette, JPEG tables, and how YCbCr is sampled.
    292, 293, 320, 347, 529, 530, 532,
}  # fmt: skip
"""All that a decoder needs to know; nothing else is passed on to it."""

UNCOMPRESSED: Final = 1
LOSSLESS: Final = {
    UNCOMPRESSED: "none",
    5: "LZW",
    8: "deflate",
    32773: "PackBits",
    32946: "deflate",
    50000: "zstd",
}
_OTHERS: Final = {2: "CCITT", 3: "fax group 3", 4: "fax group 4", 7: "JPEG"}

SampleFormat = Literal["u", "i", "f"]
_FORMATS: dict[int, SampleFormat] = {1: "u", 2: "i", 3: "f", 4: "u"}  # 4 is "undefined": bytes, in practice.
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
"""Samples of colour by photometric interpretation: white zero, black zero, RGB, palette, CMYK, YCbCr."""
_NOT_READ = {4: "a mask", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 32803: "camera raw", 34892: "camera raw"}

_FREE_PIXELS = 1 << 22
"""A strip or tile may have this many pixels, or else four times the picture's, before it is absurd."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The storage of one page.

    Attributes
    ----------
    order
        ``<`` or ``>``.
    bits, format
        Of each sample: how many, and whether unsigned, signed or float.
    samples, colours
        A pixel's samples in all, and those that are colour; the rest are extra.
    extra
        What the extra samples are: 1 alpha multiplied into the colours, 2 alpha beside them, 0 not said.
    planar
        True when each sample has strips or tiles of its own.
    tiled
        True when it is stored in tiles, False for strips.
    part_width, part_height
        Of a strip or tile, in pixels. Tiles reach over the edges, the last strip may be shorter.
    row_bytes
        Of one row of a strip or tile, decompressed.
    parts
        Where each strip or tile lies, as (first byte, number of bytes): by rows, plane after plane.
    """

    order: ByteOrder
    width: int
    height: int
    bits: int
    format: SampleFormat
    compression: int
    photometric: int
    fill_order: int
    predictor: int
    samples: int
    colours: int
    extra: tuple[int, ...]
    planar: bool
    tiled: bool
    part_width: int
    part_height: int
    row_bytes: int
    parts: tuple[tuple[int, int], ...]

    @property
    def deep(self) -> bool:
        """True when a sample is more than a byte can hold."""
        return self.bits > 8 or self.format != "u"


def read_layout(page: Page, length: int, *, max_pixels: int) -> Layout:
    """Understand the tags of a page, and check them.

    Parameters
    ----------
    page
        With `PIXEL_TAGS`.
    length
        Of the whole file, in bytes.
    max_pixels
        The most that is decoded.

    Raises
    ------
    PictureError
        Missing or contradictory tags, what is not read, too many pixels, data beyond the end of the file.
    """
    width, height = page.number(WIDTH, 0), page.number(HEIGHT, 0)
    check_size(width, height, max_pixels)
    compression = page.number(COMPRESSION, UNCOMPRESSED)
    if compression not in LOSSLESS and compression not in _OTHERS:
        known = ", ".join(dict.fromkeys([*LOSSLESS.values(), *_OTHERS.values()]))
        raise PictureError(
            f"the TIFF is compressed by method {compression}; read are {known}. Save it as one of them."
        )
    photometric = page.number(PHOTOMETRIC, 0)
    if photometric not in _COLOURS:
        kind = _NOT_READ.get(photometric, f"of kind {photometric}")
        raise PictureError(
            f"the TIFF's pixels are {kind}; read are grey, RGB, palette, CMYK and YCbCr. "
            "Save it as RGB first."
        )
    samples = page.number(SAMPLES, 1)
    bits = set(page.numbers(BITS, (1,))[:samples])
    formats = set(page.numbers(SAMPLE_FORMAT, (1,))[:samples])
    if len(bits) != 1 or len(formats) != 1:
        raise PictureError(
            "the TIFF's samples differ in type within a pixel, which is not read. Save it as RGB."
        )
    sample_format = _FORMATS.get(formats.pop())
    if sample_format is None:
        raise PictureError("the TIFF holds complex numbers, which are no picture. Save one real part as NPY.")
    colours = _COLOURS[photometric]
    extra = page.numbers(EXTRA_SAMPLES)
    if samples - colours == 1 and not extra:
        extra = (2,) if colours == 3 else (0,)  # Some writers leave out that the fourth of RGBA is alpha.
    if samples != colours + len(extra):
        raise PictureError(
            f"the TIFF has {samples} samples a pixel, {colours} of them colour and {len(extra)} known "
            "extras. Save one channel, or RGB, or give them all as NPY (height, width, channels)."
        )
    depth, packed = bits.pop(), compression != UNCOMPRESSED
    tiled = TILE_WIDTH in page.tags
    planar = page.number(PLANAR, 1) == 2 and samples > 1
    part_width = page.number(TILE_WIDTH, 0) if tiled else width
    part_height = page.number(TILE_HEIGHT, 0) if tiled else min(page.number(ROWS_PER_STRIP, height), height)
    if not 0 < part_width * part_height <= max(_FREE_PIXELS, 4 * width * height):
        raise PictureError(
            f"the TIFF is damaged: it is stored in parts of {part_width:,} x {part_height:,} pixels."
        )
    if width * height * samples * depth > 8 * MAX_PIXEL_BYTES * max_pixels:
        raise PictureError(
            f"the TIFF declares {width * height * samples * depth // 8:,} bytes of pixels, over "
            f"{MAX_PIXEL_BYTES} times the limit of {max_pixels:,} pixels. Raise max_pixels if you trust it."
        )
    row_bytes = math.ceil(part_width * (1 if planar else samples) * depth / 8)
    rows = [
        part_height if tiled else min(part_height, height - top)
        for _ in range(samples if planar else 1)
        for top in range(0, height, part_height)
        for _ in range(0, width, part_width)
    ]
    return Layout(
        order=page.order, width=width, height=height, bits=depth, format=sample_format,
        compression=compression, photometric=photometric, fill_order=page.number(FILL_ORDER, 1),
        predictor=page.number(PREDICTOR, 1),
        samples=samples, colours=colours, extra=extra, planar=planar, tiled=tiled, part_width=part_width,
        part_height=part_height, row_bytes=row_bytes,
        parts=_parts(page, [row_bytes * n for n in rows], length, tiled=tiled, packed=packed),
    )  # fmt: skip


def _parts(
    page: Page, sizes: list[int], length: int, *, tiled: bool, packed: bool
) -> tuple[tuple[int, int], ...]:
    """Where the strips or tiles lie that decompress to these sizes."""
    offsets = page.numbers(TILE_OFFSETS if tiled else STRIP_OFFSETS)
    counts = page.numbers(TILE_COUNTS if tiled else STRIP_COUNTS)
    if not packed and not counts:
        counts = tuple(sizes)  # Old writers left the lengths out where they follow from the size.
    if len(offsets) < len(sizes) or len(counts) < len(sizes):
        raise PictureError(f"the TIFF is damaged: of its {len(sizes):,} strips or tiles not all are listed.")
    parts: list[tuple[int, int]] = []
    for offset, count, size in zip(offsets, counts, sizes, strict=False):
        needed = count if packed else size
        if not 8 <= offset <= offset + needed <= length or not 0 < needed <= count:
            raise PictureError(
                f"the TIFF is cut short or damaged: a strip or tile of {needed:,} bytes at byte {offset:,} "
                f"is not whole in its {length:,} bytes. Get the file again."
            )
        parts.append((offset, needed))
    return tuple(parts)
