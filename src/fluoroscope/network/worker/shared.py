"""Memory that two processes see: made and owned by the parent, lent to the child, never left behind.

A segment has no name that could outlive it (Linux: a sealed memfd; other Unix: a POSIX object unlinked at
once; Windows: a section that ends with its last handle). Only its owner can make one, and its size cannot be
changed: a child that could shrink it would kill the parent at its next look.
"""

from __future__ import annotations

import mmap
import os
import secrets
import sys
import weakref
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.network.worker.records import Malformed

ALIGNMENT = 64
"""Arrays begin at multiples of this many bytes."""

_STEP = 64 * 2**10
"""Sizes of segments are multiples of this, so that a slightly smaller batch finds one to use again."""

_WASTE = 4
"""A segment is used again for what is not smaller than its size divided by this."""

_SPARE = 256 * 2**20
"""Bytes kept for the next run. A first touch of a page costs ten times as much as a copy into it."""

_SPARES = 3
"""Segments kept: one for the input, and two for outputs of which one is still looked at."""


class Segment:
    """Bytes that both processes see.

    Attributes
    ----------
    number
        By which the processes speak of it.
    size
        In bytes.
    handle
        Its descriptor, until the child has one of its own; -1 where there is none.
    """

    def __init__(self, number: int, size: int) -> None:
        self.number = number
        self.size = -(-max(size, 1) // _STEP) * _STEP
        self._name = ""
        if sys.platform == "win32":
            self.handle = -1
            self._name = f"Local\\fluoroscope-{secrets.token_hex(16)}"
            memory = mmap.mmap(-1, self.size, tagname=self._name)
        else:
            self.handle = _unnamed(self.size)
            memory = _mapped(self.handle, self.size)
        self.bytes: NDArray[np.uint8] = np.frombuffer(memory, np.uint8)

    def ticket(self) -> dict[str, Any]:
        """With which the child finds it."""
        return {"number": self.number, "size": self.size, "name": self._name}

    def handles(self) -> list[int]:
        """What is sent along with the ticket the first time."""
        return [self.handle] if self.handle >= 0 else []

    def sent(self) -> None:
        """The child has it: from now on the number is enough."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def __del__(self) -> None:
        self.sent()


class Lease:
    """A segment while somebody looks at arrays in it: all are views of one that holds on to the lease."""

    def __init__(self, segment: Segment) -> None:
        address = segment.bytes.__array_interface__["data"][0]
        self.__array_interface__ = {
            "shape": (segment.size,),
            "typestr": "|u1",
            "data": (address, True),  # read-only
            "version": 3,
        }


class Pool:
    """The parent's segments: those in use, and a few kept for the next run.

    Parameters
    ----------
    spare
        Bytes that may be kept.
    """

    def __init__(self, spare: int = _SPARE) -> None:
        self._spare = spare
        self._count = 0
        self._free: list[Segment] = []
        # Leases end wherever the last array is let go, in any thread: this is all that happens there.
        self._returned: deque[Segment] = deque()
        self._dropped: list[int] = []

    def take(self, size: int) -> Segment:
        """A segment of at least `size` bytes. Give it back, or `lend` it."""
        self._collect()
        fits = [entry for entry in self._free if size <= entry.size <= max(_WASTE * size, _STEP)]
        if fits:
            chosen = min(fits, key=lambda entry: entry.size)
            self._free.remove(chosen)
            return chosen
        self._count += 1
        return Segment(self._count, size)

    def give_back(self, segment: Segment) -> None:
        """It may be used again."""
        self._returned.append(segment)

    def lend(self, segment: Segment) -> NDArray[np.uint8]:
        """All of a segment as a read-only array; it comes back when nothing refers to the array any more."""
        lease = Lease(segment)
        weakref.finalize(lease, self._returned.append, segment).atexit = False
        return np.asarray(lease)

    def dropped(self) -> list[int]:
        """Numbers of the segments let go since it was asked for last: the child can forget them."""
        self._collect()
        numbers, self._dropped = self._dropped, []
        return numbers

    def _collect(self) -> None:
        while self._returned:
            self._free.append(self._returned.popleft())
        while len(self._free) > _SPARES or sum(entry.size for entry in self._free) > self._spare:
            self._dropped.append(self._free.pop(0).number)


class Borrowed:
    """The child's view of the segments it was lent."""

    def __init__(self) -> None:
        self._held: dict[int, NDArray[np.uint8]] = {}

    def find(self, ticket: Mapping[str, Any], handles: Iterable[int]) -> NDArray[np.uint8]:
        """The bytes that a ticket stands for; `handles` are those that came with it."""
        number, size = ticket["number"], ticket["size"]
        for handle in handles:
            self._held[number] = np.frombuffer(_mapped(handle, size), np.uint8)
            os.close(handle)
        if sys.platform == "win32" and number not in self._held:
            memory = mmap.mmap(-1, size, tagname=ticket["name"])
            self._held[number] = np.frombuffer(memory, np.uint8)
        return self._held[number]

    def forget(self, numbers: Iterable[int]) -> None:
        """The parent has let these go."""
        for number in numbers:
            self._held.pop(number, None)


def placed(data: NDArray[np.uint8], entry: Mapping[str, Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The array that an entry ``{"shape": [...], "offset": ...}`` describes in a segment.

    Raises
    ------
    Malformed
        It does not lie within.
    """
    shape, offset = entry.get("shape"), entry.get("offset")
    if (
        not isinstance(shape, list)
        or not all(type(size) is int and 0 <= size < 2**40 for size in shape)
        or type(offset) is not int
        or offset < 0
        or offset % ALIGNMENT
    ):
        raise Malformed("an array of no possible place")
    size = dtype.itemsize
    for length in shape:
        size *= length
    if offset + size > data.size:
        raise Malformed("an array that lies outside of its segment")
    return data[offset : offset + size].view(dtype).reshape(shape)


def aligned(size: int) -> int:
    """`size` and what is needed to the next place where an array can begin."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def _mapped(handle: int, size: int) -> mmap.mmap:
    # Without this flag (new in Python 3.13) every mapping keeps a descriptor of its own.
    more: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
    return mmap.mmap(handle, size, **more)


if sys.platform != "win32":

    def _unnamed(size: int) -> int:
        """A descriptor of new memory of fixed size."""
        if sys.platform == "linux":
            handle = os.memfd_create("fluoroscope", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        else:
            from _posixshmem import shm_open, shm_unlink

            # A short name: macOS allows 31 characters.
            name = f"/fluoro-{secrets.token_hex(8)}"
            handle = shm_open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode=0o600)
            shm_unlink(name)
        try:
            os.ftruncate(handle, size)
            if sys.platform == "linux":
                import fcntl

                seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
                fcntl.fcntl(handle, fcntl.F_ADD_SEALS, seals)
        except BaseException:
            os.close(handle)
            raise
        return handle
