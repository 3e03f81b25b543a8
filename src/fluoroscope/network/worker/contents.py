"""What a network is opened from: bytes at hand, or an open file that the child reads by itself."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

import numpy as np

from fluoroscope.network.worker.shared import Segment

Content = bytes | Callable[[], IO[bytes]]
"""Bytes, or what opens the file that holds them. The child gets the open file, and opens none."""

Source = bytes | IO[bytes]
"""A content that is open."""

_BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class Digest:
    """What was sent: its SHA-256 and its size in bytes."""

    sha256: str
    size: int


def size_of(source: Source) -> int:
    """In bytes."""
    return len(source) if isinstance(source, bytes) else os.fstat(source.fileno()).st_size


def state_of(source: Source) -> tuple[int, int]:
    """Its size, and when it was changed last (ns): with this a change of a file shows."""
    if isinstance(source, bytes):
        return len(source), 0
    status = os.fstat(source.fileno())
    return status.st_size, status.st_mtime_ns


def digest_of(source: Source) -> Digest:
    """Its hash, without moving the position of a file: the child reads by the same descriptor."""
    digest = hashlib.sha256()
    size = 0
    if isinstance(source, bytes):
        digest.update(source)
        size = len(source)
    else:
        while block := _read_at(source.fileno(), size):
            digest.update(block)
            size += len(block)
    return Digest(digest.hexdigest(), size)


def filled(source: Source, number: int) -> Segment:
    """A segment that holds it."""
    data = source if isinstance(source, bytes) else source.read()
    segment = Segment(number, len(data))
    segment.bytes[: len(data)] = np.frombuffer(data, np.uint8)
    return segment


def _read_at(handle: int, offset: int) -> bytes:
    if sys.platform == "win32":
        os.lseek(handle, offset, os.SEEK_SET)
        return os.read(handle, _BLOCK)
    return os.pread(handle, _BLOCK, offset)
