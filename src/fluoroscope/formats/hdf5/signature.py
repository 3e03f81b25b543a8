"""Where an HDF5 file begins. Apart from its reader, which costs an import that recognising should not."""

from __future__ import annotations

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def start(data: bytes | memoryview) -> int | None:
    """Where the signature stands: at 0, or behind a user block at 512, 1024, 2048...; None without one.

    HDF5 File Format Specification, II.A.
    """
    at = 0
    while at < len(data):
        if bytes(data[at : at + len(_SIGNATURE)]) == _SIGNATURE:
            return at
        at = max(512, 2 * at)
    return None
