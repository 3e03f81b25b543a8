"""Names of layers as names of files: a layer may be called anything, a file may not."""

from __future__ import annotations

import hashlib
from urllib.parse import quote, unquote

_LONGEST = 150
"""Characters of a file name before its number and suffix; file systems take 255 bytes."""

_BROKEN = "surrogatepass"
"""Halves of surrogate pairs, which JSON can write and UTF-8 cannot, are encoded as if it could."""


def file_name(name: str) -> str:
    """A layer's name as part of a file name: unique, valid on every system, read back by `layer_name`.

    Letters and digits of ASCII and ``_ - .`` stand for themselves, all else is percent-encoded. A name too
    long for a file is cut, with ``~`` and a hash of the whole behind it.
    """
    safe = quote(name, safe="", errors=_BROKEN).replace("~", "%7E")
    if len(safe) <= _LONGEST:
        return safe
    return f"{safe[: _LONGEST - 20]}~{hashlib.sha256(name.encode(errors=_BROKEN)).hexdigest()[:16]}"


def layer_name(file: str) -> str:
    """The layer's name of a file name that `file_name` made and did not cut."""
    return unquote(file, errors=_BROKEN)
