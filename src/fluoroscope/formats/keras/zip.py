"""Members of a zip archive read by exact name, within bounds, never onto a disk.

Format: PKWARE's APPNOTE 6.3, sections 4.3.7 (local header) and 4.3.14 to 4.3.16 (the directory's end).
"""

from __future__ import annotations

import io
import math
import stat
import struct
import zipfile
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import PurePosixPath, PureWindowsPath

from isal import isal_zlib

from fluoroscope.errors import BudgetExceeded, DamagedFile, FluoroscopeError, RefusedFile
from fluoroscope.formats.limits import Limits
from fluoroscope.network.budget import human_bytes

SIGNATURE = b"PK\x03\x04"

_LOCAL_SIZE, _LOCAL_NAME_SIZES = 30, 26
_END_SIZE, _END_SIGNATURE = 22, b"PK\x05\x06"
_LOCATOR_SIZE, _LOCATOR_SIGNATURE = 20, b"PK\x06\x07"
_END_64_SIZE = 56
_LONGEST_COMMENT = 65_535
_ENCRYPTED = 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Archive:
    """A zip archive in memory.

    Raises
    ------
    RefusedFile
        A member that is a symbolic link, or whose name leads out of the archive. Nothing is ever unpacked to
        a disk, but only an attack has these.
    BudgetExceeded
        A directory longer, or with more members, than `limits` allow.
    DamagedFile
        No zip archive, or a damaged one.
    """

    def __init__(self, data: bytes | memoryview, limits: Limits) -> None:
        self._data = memoryview(data)
        self._limits = limits
        size = _directory_size(self._data)
        if size > limits.directory:
            raise BudgetExceeded(f"Its zip directory has {human_bytes(size)}, far more than a network's.")
        with _parsing("the directory"):
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        members = self._zip.infolist()
        if len(members) > limits.members:
            raise BudgetExceeded(f"It has {len(members)} members; at most {limits.members} are read.")
        self.names = tuple(member.filename for member in members)
        for member in members:
            _check_name(member)
        twice = next((name for name, count in Counter(self.names).items() if count > 1), None)
        if twice is not None:
            raise DamagedFile(f"Two of its members are called {twice[:80]!r}.")

    def read(self, name: str, *, limit: int) -> memoryview:
        """A member's content, at most `limit` bytes; not copied if it is not compressed.

        Raises
        ------
        BudgetExceeded
            It declares more than `limit` bytes, or unpacks to many times its stored size.
        RefusedFile
            It is encrypted.
        DamagedFile
            It is missing, cut off, not of its declared size, or fails its checksum.
        """
        if name not in self.names:
            raise DamagedFile(f"Its member {name!r} is missing.")
        member = self._zip.getinfo(name)
        if member.file_size > limit:
            raise BudgetExceeded(
                f"Its member {name!r} declares {human_bytes(member.file_size)}; at most {human_bytes(limit)} "
                "are read. Nothing was unpacked."
            )
        if member.file_size > max(self._limits.expanded, self._limits.expansion * member.compress_size):
            raise BudgetExceeded(
                f"Its member {name!r} would unpack from {human_bytes(member.compress_size)} to "
                f"{human_bytes(member.file_size)}, more than {self._limits.expansion} times as much. Nothing "
                f"was unpacked. {_hint(member.file_size / max(1, member.compress_size))}"
            )
        if member.flag_bits & _ENCRYPTED:
            raise RefusedFile(f"Its member {name!r} is encrypted.")
        if member.compress_type not in _METHODS:
            raise DamagedFile(f"Its member {name!r} is compressed in a way that Keras does not use.")
        with _parsing(f"member {name!r}"):
            content = self._content(member)
            if len(content) != member.file_size or isal_zlib.crc32(content) != member.CRC:
                raise DamagedFile(f"Its member {name!r} is damaged: size or checksum do not fit.")
        return content

    def _content(self, member: zipfile.ZipInfo) -> memoryview:
        start = member.header_offset
        if bytes(self._data[start : start + len(SIGNATURE)]) != SIGNATURE:
            raise DamagedFile(f"Its member {member.filename!r} is not where the directory says.")
        # The local header repeats the name and has extra fields of its own: their sizes are all it is asked.
        name_size, extra_size = struct.unpack_from("<HH", self._data, start + _LOCAL_NAME_SIZES)
        start += _LOCAL_SIZE + name_size + extra_size
        stored = self._data[start : start + member.compress_size]
        if member.compress_type == zipfile.ZIP_STORED:
            return stored
        # One byte more than declared is enough to see that there is more.
        unpacker = isal_zlib.decompressobj(-isal_zlib.MAX_WBITS)
        return memoryview(unpacker.decompress(stored, member.file_size + 1))


def _hint(ratio: float) -> str:
    most = math.ceil(ratio)
    return f"If you trust the file: --expansion {most}, or budget=Budget(expansion={most})."


def _directory_size(data: memoryview) -> int:
    """What the archive says of its directory's size, before anything goes through it."""
    tail = bytes(data[-(_END_SIZE + _LONGEST_COMMENT + _LOCATOR_SIZE + _END_64_SIZE) :])
    sizes = [0]
    for at in {len(tail) - _END_SIZE, tail.rfind(_END_SIGNATURE)}:
        if at < 0 or len(tail) - at < _END_SIZE or not tail.startswith(_END_SIGNATURE, at):
            continue
        sizes += struct.unpack_from("<I", tail, at + 12)
        locator = at - _LOCATOR_SIZE
        if locator >= _END_64_SIZE and tail.startswith(_LOCATOR_SIGNATURE, locator):
            sizes[-1:] = struct.unpack_from("<Q", tail, locator - _END_64_SIZE + 40)
    return max(sizes)


def _check_name(member: zipfile.ZipInfo) -> None:
    name = member.filename
    if stat.S_ISLNK(member.external_attr >> 16):
        raise RefusedFile(f"Its member {name[:80]!r} is a symbolic link, which is not followed.")
    outside = PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or "\\" in name
    if outside or ".." in PurePosixPath(name).parts:
        raise RefusedFile(f"Its member {name[:80]!r} leads out of the archive.")


@contextmanager
def _parsing(what: str) -> Generator[None]:
    """Turn whatever zipfile and inflate raise on a damaged archive into one of our errors."""
    try:
        yield
    except FluoroscopeError:
        raise
    # zipfile raises BadZipFile, but also struct, value, overflow, decode and runtime errors on mutated
    # archives; there is no list of them. Each means that the archive is not what it says.
    except Exception as error:
        raise DamagedFile(f"It is a damaged zip archive: {what} cannot be read ({error}).") from error
