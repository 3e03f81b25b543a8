"""How much memory a protobuf message will take once it is decoded, found out without decoding it.

Two bytes of a file can make an empty node of 150: 20 MB then take 2 GB and seven seconds. Here the message is
walked over field by field, as its descriptor says what is a message, a text or a number.
Wire format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from typing import Any

_MESSAGE, _TEXT = 11, 9
_PLAIN = frozenset({12, 2, 1, 6, 7, 15, 16})
"""Types of descriptor.proto that take as much decoded as encoded: bytes, float, double, fixed."""

_MESSAGE_BYTES = 160
_TEXT_BYTES = 48
_NUMBER_BYTES = 8


def decoded_size(data: bytes, descriptor: Any, *, limit: int) -> int:
    """Bytes that `data`, decoded as the message of `descriptor`, takes, roughly and from above.

    Parameters
    ----------
    limit
        Where to stop counting: a larger result only says that it is larger.

    Notes
    -----
    What is no well-formed message counts as far as it is well formed: the decoder will say so.
    """
    total = 0
    pending: list[tuple[int, int, Any]] = [(0, len(data), descriptor)]
    fields: dict[str, dict[int, Any]] = {}
    while pending and total <= limit:
        at, end, message = pending.pop()
        kinds = fields.setdefault(message.full_name, message.fields_by_number)
        while at < end and total <= limit:
            # Most numbers are of one byte: a call for each would take most of the time.
            tag, at = (data[at], at + 1) if data[at] < 128 else _varint(data, at, end)
            wire, field = tag & 7, kinds.get(tag >> 3)
            if wire == 2:
                size, at = (data[at], at + 1) if at < end and data[at] < 128 else _varint(data, at, end)
                if size > end - at:
                    break
                if field is None:
                    total += size
                elif field.type == _MESSAGE:
                    total += _MESSAGE_BYTES
                    pending.append((at, at + size, field.message_type))
                elif field.type == _TEXT:
                    total += _TEXT_BYTES + size
                elif field.type in _PLAIN:
                    total += size
                else:
                    total += size * _NUMBER_BYTES
                at += size
            elif wire == 0:
                _, at = _varint(data, at, end)
                total += _NUMBER_BYTES
            elif wire in (1, 5):
                at += 8 if wire == 1 else 4
                total += _NUMBER_BYTES
            else:
                break
    return total


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The number at a place, seven bits a byte, and the place behind it."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    return value, end
