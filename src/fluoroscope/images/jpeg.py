"""JPEG (ISO/IEC 10918-1): what is looked at in its segments before a decoder sees it."""

from __future__ import annotations

import re

from fluoroscope.errors import PictureError

_EXIF = b"Exif\0\0"
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
# Neither a stuffed byte, nor a restart marker, nor a fill byte.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)

MAX_SCANS = 100
"""A progressive picture has about ten. Each costs a pass over all pixels, however few bytes it holds."""


def without_exif(data: bytes) -> tuple[bytes, bytes]:
    """Split EXIF metadata off a JPEG.

    Pillow looks for a resolution in them on opening, and warns where they are damaged; the pixels need
    nothing from them but the orientation, which is read elsewhere.

    Returns
    -------
    jpeg, exif
        The file without its EXIF segments, and the content of the first; empty without any. A file whose
        segments are damaged is returned as it is from there on: the decoder has the last word.
    """
    kept, exif, at = [data[:2]], b"", 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # A fill byte.
            at += 1
            continue
        if marker in (_START_OF_SCAN, _END_OF_IMAGE):
            break
        length = 2 if marker in _STANDALONE else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at : at + length]
        if marker == 0xE1 and segment.startswith(_EXIF, 4):
            exif = exif or segment[4:]
        else:
            kept.append(segment)
        at += length
    if not exif:
        return data, b""
    return b"".join([*kept, data[at:]]), exif


def check_scans(data: bytes) -> None:
    """Refuse a JPEG of very many scans, which would take minutes to decode however small its file.

    Raises
    ------
    PictureError
        More than `MAX_SCANS` start-of-scan markers.
    """
    # The count alone is enough nearly always: entropy-coded data hold no such marker by chance.
    if data.count(bytes((0xFF, _START_OF_SCAN))) <= MAX_SCANS:
        return
    scans, at = 0, 2
    while (marker := _MARKER.search(data, at)) and scans <= MAX_SCANS:
        kind = data[marker.start() + 1]
        if kind == _END_OF_IMAGE:  # What follows is something else: telephones append films.
            return
        scans += kind == _START_OF_SCAN
        at = marker.end() + (
            0 if kind in _STANDALONE else int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        )
    if scans > MAX_SCANS:
        raise PictureError(
            f"the JPEG has more than {MAX_SCANS} scans, the most that is read. "
            "Save it again, not progressive."
        )
