"""GIF (GIF89a specification, 1990): how many frames and how large, found before a decoder sees it."""

from __future__ import annotations

import struct

from fluoroscope.errors import PictureError


def survey(data: bytes, frame: int) -> tuple[int, int, bool]:
    """Walk over the blocks of a GIF up to a frame, and one further.

    Pillow enlarges its canvas for a frame that reaches outside it, and draws every frame before the one
    asked for: the sizes of all of them are known here first.

    Parameters
    ----------
    data
        The whole file.
    frame
        The frame asked for, from 0.

    Returns
    -------
    width, height, several
        Of the smallest canvas that holds all frames up to this one; whether there are more frames than one.

    Raises
    ------
    PictureError
        No such frame; a file that ends inside a block.
    """
    found = width = height = 0
    try:
        width, height, flags = struct.unpack_from("<HHB", data, 6)
        at = 13 + _palette(flags)
        while found < max(frame + 1, 2):
            kind = data[at : at + 1]
            if kind == b"!":
                at = _after_blocks(data, at + 2)
            elif kind == b",":
                left, top, across, down, flags = struct.unpack_from("<4HB", data, at + 1)
                if found <= frame:
                    width, height = max(width, left + across), max(height, top + down)
                at = _after_blocks(data, at + 11 + _palette(flags))
                found += 1
            elif kind == b"\0":  # Left over by some writers between blocks.
                at += 1
            elif kind in (b";", b""):
                break
            else:
                raise PictureError(f"the GIF is damaged: byte {at:,} starts no block. Get the file again.")
    except (struct.error, IndexError) as error:
        if found <= frame:
            raise PictureError("the GIF is cut short: it ends inside a block. Get the file again.") from error
    if not found:
        raise PictureError("the GIF holds no frame at all. Get the file again.")
    if found <= frame:
        raise PictureError(
            f"there is no frame {frame}: it holds {found} frame{'s' if found > 1 else ''}, numbered from 0."
        )
    return width, height, found > 1


def _palette(flags: int) -> int:
    """Bytes of the colour table that a descriptor's flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    """The place after a chain of sub-blocks: a length and as many bytes, until a length of 0."""
    while data[at]:
        at += data[at] + 1
    return at + 1
