"""TIFF (revision 6.0, 1992; BigTIFF): one page of a file, decoded at the depth it has.

Samples of up to 8 bits are Pillow's to decode; deeper ones, which it cuts to 8 bits or does not know, are put
together by `tiff_deep`. Either way a decoder gets a file of this one page with the few tags that pixels need,
all checked: no metadata to stumble over, no other page, no strip that lies outside the file.
"""

from __future__ import annotations

import struct

from fluoroscope.errors import PictureError
from fluoroscope.images.colour import to_raster
from fluoroscope.images.pillow_decoder import load, opened
from fluoroscope.images.raster import Raster, orient
from fluoroscope.images.tiff_deep import decode_deep
from fluoroscope.images.tiff_layout import (
    EXTRA_SAMPLES,
    ICC_PROFILE,
    PIXEL_TAGS,
    SINGLE_TAGS,
    Layout,
    read_layout,
)
from fluoroscope.images.tiff_tags import ORIENTATION, Page, Tag, read_page, write_page

_SHORT, _LONG = 3, 4


def decode_tiff(data: bytes, *, frame: int, max_pixels: int) -> Raster:
    """Decode a page of a TIFF file.

    Parameters
    ----------
    data
        The whole file.
    frame
        The page, from 0.
    max_pixels
        The most that is decoded, by the size declared.

    Returns
    -------
    Raster
        8 bits as uint8; up to 16 as uint16, white being the greatest value of that many bits; floats and
        other integers as float32.

    Raises
    ------
    PictureError
        Cut short, damaged, too large, stored or coloured in a way that is not read, or no such page.
    """
    page = read_page(data, {*PIXEL_TAGS, ORIENTATION, ICC_PROFILE}, page=frame)
    layout = read_layout(page, len(data), max_pixels=max_pixels)
    profile = page.tags[ICC_PROFILE].raw if ICC_PROFILE in page.tags else None
    if layout.deep:
        raster = decode_deep(data, layout, profile)
    else:
        if layout.bits not in (1, 2, 4, 8):
            raise PictureError(
                f"the TIFF has samples of {layout.bits} bits, which are not read. Save it with 8 or 16."
            )
        image = opened(write_page(page.order, _plain(page, layout), data[8:]), "TIFF", max_pixels=max_pixels)
        load(image, "TIFF", max_pixels=max_pixels)
        raster = to_raster(image, "TIFF", profile)
    if page.several:
        raster = raster.with_steps(f"page {frame} of several")
    return orient(raster, page.number(ORIENTATION, 1))


def _plain(page: Page, layout: Layout) -> dict[int, Tag]:
    """The tags that pixels need, without what Pillow would warn about, and with what writers leave out."""
    tags = {number: tag for number, tag in page.tags.items() if number in PIXEL_TAGS}
    for number in SINGLE_TAGS & tags.keys():
        tags[number] = Tag(_LONG, 1, struct.pack(f"{page.order}I", page.number(number, 0)))
    if layout.extra:
        extra = struct.pack(f"{page.order}{len(layout.extra)}H", *layout.extra)
        tags[EXTRA_SAMPLES] = Tag(_SHORT, len(layout.extra), extra)
    return tags
