"""Landlock: a Linux process takes from itself the right to reach files and the network.

By the system calls themselves, which the C library does not wrap. The kernel's description:
https://docs.kernel.org/userspace-api/landlock.html (numbers from include/uapi/linux/landlock.h).
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

# The same numbers on every architecture: they are newer than the table that all share.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_RIGHTS = ((1, 13), (2, 14), (3, 15), (5, 16))
"""Version of the interface -> how many rights on files it knows: all from bit 0 on."""

_BIND_AND_CONNECT_TCP = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


def version() -> int:
    """Of the kernel's interface; 0 where there is none, or it is switched off."""
    return max(0, _call(_CREATE_RULESET, None, 0, _VERSION))


def restrict(readable: Iterable[str]) -> int:
    """Leave this process nothing but reading what lies beneath `readable`; without TCP, where that is known.

    It executes no program, and makes, changes and removes no file. What is open already stays open. Paths
    that are not there are passed over.

    Returns
    -------
    int
        `version`: with 0, nothing was done.
    """
    known = version()
    if not known:
        return 0
    rights = next(count for least, count in reversed(_FILE_RIGHTS) if least <= known)
    attributes = struct.pack("=Q", (1 << rights) - 1)
    if known >= 4:
        attributes += struct.pack("=Q", _BIND_AND_CONNECT_TCP)
    if known >= 6:
        attributes += struct.pack("=Q", _ABSTRACT_SOCKETS_AND_SIGNALS)
    ruleset = _checked(_call(_CREATE_RULESET, attributes, len(attributes), 0))
    try:
        for path in readable:
            _allow(ruleset, path)
        _checked(_call(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return known


def _allow(ruleset: int, path: str) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # it is not there, or was never ours to read
    try:
        folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        rule = struct.pack("=Qi", _READ_FILE | (_READ_DIR if folder else 0), handle)
        _checked(_call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
    finally:
        os.close(handle)


def _call(number: int, *arguments: int | bytes | None) -> int:
    """A system call; -errno where it fails."""
    library = ctypes.CDLL(None, use_errno=True)
    given = [ctypes.c_long(entry) if isinstance(entry, int) else entry for entry in arguments]
    library.syscall.restype = ctypes.c_long
    result = int(library.syscall(ctypes.c_long(number), *given))
    return result if result >= 0 else -ctypes.get_errno()


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(-result, f"Landlock: {os.strerror(-result)}")
    return result
