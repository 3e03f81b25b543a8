"""The tags of a TIFF file (and of EXIF, which is one): read, chosen from, and written again.

Pillow's own reader of tags warns about metadata nobody asked for and follows all of it; this one looks only
at what it is asked for. Layout: TIFF 6.0 (Adobe, 1992), section 2; BigTIFF as in libtiff's description.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from fluoroscope.errors import PictureError

ORIENTATION: Final = 274

ByteOrder = Literal["<", ">"]
_ORDERS: dict[bytes, ByteOrder] = {b"II": "<", b"MM": ">"}

# Bytes of one value of each field type.
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_WHOLE = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_LONG, _LONG8 = 4, 16
_MOST_VALUES = 1_000_000


@dataclass(frozen=True, slots=True)
class Tag:
    """One field: its type and count as in the file, and its bytes in the file's order."""

    type: int
    count: int
    raw: bytes

    def numbers(self, order: ByteOrder) -> tuple[int, ...]:
        """The values of a field of unsigned integers; empty for other types.

        Raises `PictureError` for a field of more than a million values, which no sane file has.
        """
        code = _WHOLE.get(self.type)
        if self.count > _MOST_VALUES:
            raise PictureError(f"the TIFF is damaged: one of its tags claims {self.count:,} values.")
        return struct.unpack(f"{order}{self.count}{code}", self.raw) if code else ()


@dataclass(frozen=True, slots=True)
class Page:
    """One picture of a file.

    Attributes
    ----------
    order
        ``<`` or ``>``, as `struct` writes byte orders.
    tags
        Those asked for that are there, by number.
    several
        True when the file holds more pages than this one.
    """

    order: ByteOrder
    tags: Mapping[int, Tag]
    several: bool

    def numbers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The values of a tag of unsigned integers, or the default where it is missing."""
        return self.tags[tag].numbers(self.order) if tag in self.tags else default

    def number(self, tag: int, default: int) -> int:
        """The first value of a tag, or the default where it is missing or empty."""
        return next(iter(self.numbers(tag)), default)


def read_page(data: bytes, wanted: Collection[int], *, page: int = 0) -> Page:
    """Read tags of one page.

    Parameters
    ----------
    data
        A whole TIFF or BigTIFF file, or the TIFF part of EXIF data.
    wanted
        The tag numbers to look at. All others are passed over unread.
    page
        Which page, from 0.

    Raises
    ------
    PictureError
        No TIFF header; tags or pages that point outside the data, or in a circle; no such page.
    """
    try:
        order = _ORDERS[data[:2]]
        big = {42: False, 43: True}[struct.unpack_from(f"{order}H", data, 2)[0]]
        counter, pointer, entry = ("Q", "Q", 20) if big else ("H", "I", 12)
        (following,) = struct.unpack_from(f"{order}{pointer}", data, 8 if big else 4)
        seen = set[int]()
        start = entries = 0
        for number in range(page + 1):
            if following == 0 or following in seen:
                raise PictureError(_no_page(page, number))
            seen.add(following)
            (entries,) = struct.unpack_from(f"{order}{counter}", data, following)
            start = following + struct.calcsize(f"{order}{counter}")
            end = start + entries * entry
            # EXIF data may end right here, without the place of a further page.
            (following,) = (0,) if end >= len(data) else struct.unpack_from(f"{order}{pointer}", data, end)
        tags: dict[int, Tag] = {}
        for at in range(start, start + entries * entry, entry):
            number, kind, count = struct.unpack_from(f"{order}HH{pointer}", data, at)
            if number not in wanted or number in tags:
                continue
            size = _SIZES.get(kind, 0) * count
            value = at + (12 if big else 8)
            if size > struct.calcsize(f"{order}{pointer}"):
                (value,) = struct.unpack_from(f"{order}{pointer}", data, value)
            if value + size > len(data):
                raise PictureError(
                    f"the TIFF is cut short: the values of its tag {number} lie beyond its end."
                )
            if size:
                tags[number] = Tag(kind, count, data[value : value + size])
    except (struct.error, KeyError, OverflowError) as error:
        raise PictureError("the TIFF is cut short or damaged: its list of tags is not whole.") from error
    return Page(order=order, tags=tags, several=page > 0 or (following != 0 and following not in seen))


def _no_page(page: int, count: int) -> str:
    if not count:
        return "the TIFF holds no page at all. Get the file again."
    return f"there is no frame {page}: it holds {count} page{'s' if count > 1 else ''}, numbered from 0."


def write_page(order: ByteOrder, tags: Mapping[int, Tag], body: bytes) -> bytes:
    """A classic TIFF file of one page.

    Parameters
    ----------
    order
        ``<`` or ``>``.
    tags
        By number. Their offsets into the file are those of `body`, plus 8. Fields of 64-bit integers are
        written with 32 bits.
    body
        What follows the header of 8 bytes.
    """
    body += b"\0" * (len(body) % 2)
    fields = {
        number: Tag(_LONG, tag.count, struct.pack(f"{order}{tag.count}I", *tag.numbers(order)))
        if tag.type == _LONG8
        else tag
        for number, tag in sorted(tags.items())
    }
    start = 8 + len(body)
    beyond = start + 2 + 12 * len(fields) + 4
    directory, values = [struct.pack(f"{order}H", len(fields))], b""
    for number, tag in fields.items():
        if len(tag.raw) <= 4:
            place = tag.raw.ljust(4, b"\0")
        else:
            place = struct.pack(f"{order}I", beyond + len(values))
            values += tag.raw + b"\0" * (len(tag.raw) % 2)
        directory.append(struct.pack(f"{order}HHI", number, tag.type, tag.count) + place)
    header = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start)
    return b"".join([header, body, *directory, b"\0\0\0\0", values])


def orientation_of(exif: bytes) -> int:
    """The orientation that EXIF data say, 1 to 8; 1 (upright) where they are missing or damaged."""
    try:
        page = read_page(exif.removeprefix(b"Exif\0\0"), {ORIENTATION})
    except PictureError:  # Damaged metadata are no reason to refuse a picture whose pixels are whole.
        return 1
    orientation = page.number(ORIENTATION, 1)
    return orientation if 1 <= orientation <= 8 else 1
