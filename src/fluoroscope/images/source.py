"""The bytes of a picture, read once: from a path, from bytes, or from an open stream."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import Any, cast

from fluoroscope.errors import PictureError, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Bytes and where they came from.

    Attributes
    ----------
    data
        All of it.
    name
        Short, for captions; printable.
    path
        As given; None for bytes and streams.
    label
        How messages call it: the quoted path, or words.
    """

    data: bytes
    name: str
    path: str | None
    label: str

    @property
    def sha256(self) -> str:
        """Of `data`, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


def read_source(source: object, *, limit: int) -> Source:
    """Read all bytes of a source, up to a limit.

    Parameters
    ----------
    source
        A path (never an address, never a pattern), the bytes themselves, or a stream opened in binary
        mode, read from where it stands.
    limit
        In bytes.

    Raises
    ------
    PictureError
        Missing, unreadable, not a regular file, empty, or longer than the limit.
    UsageError
        A stream in text mode, or something else altogether.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _checked(Source(data=bytes(source), name="picture", path=None, label="The bytes given"), limit)
    if isinstance(source, (str, os.PathLike)):
        return _read_path(source, limit)
    if hasattr(source, "read"):
        return _read_stream(cast(Any, source), limit)
    raise UsageError(
        f"A {type(source).__name__} is no picture. Give a path, bytes, a stream opened in binary mode, a "
        "NumPy array (height, width, channels), or a Pillow image."
    )


def printable(text: str) -> str:
    """Text with everything that would not print (newlines, lone surrogates) written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _read_path(given: str | os.PathLike[str], limit: int) -> Source:
    path = os.fsdecode(os.fspath(given))
    label = repr(path)
    try:
        # Looked at before it is opened: opening a device or a FIFO can already do something, or wait.
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise PictureError(f"{label} is a folder. Give the pictures in it, one by one or by a pattern.")
        if not stat.S_ISREG(mode):
            raise PictureError(
                f"{label} is a {_kind(mode)}, not a file. Copy its content to a file and give that."
            )
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as stream:
            # Looked at again, now that nobody can exchange it.
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PictureError(f"{label} changed into something that is not a file while it was opened.")
            data = stream.read(limit + 1)
    except FileNotFoundError as error:
        raise PictureError(f"{label}: no such file. {_advice(path)}") from error
    except PermissionError as error:
        raise PictureError(f"{label} may not be read by this user. Change its permissions.") from error
    except (OSError, ValueError) as error:  # Symlink loops, too long names; a NUL in the name.
        reason = getattr(error, "strerror", None) or error
        raise PictureError(f"{label} cannot be opened: {reason}. Check the path.") from error
    return _checked(Source(data=data, name=printable(os.path.basename(path)), path=path, label=label), limit)


def _read_stream(stream: Any, limit: int) -> Source:
    given = getattr(stream, "name", None)
    path = given if isinstance(given, str) else None
    label = repr(path) if path else "The stream given"
    pieces: list[bytes] = []
    length = 0
    while length <= limit:  # A raw stream may return less than asked for.
        try:
            piece = stream.read(limit + 1 - length)
        except (OSError, ValueError) as error:
            raise PictureError(
                f"{label} cannot be read: {error}. Open it for reading, as with 'rb'."
            ) from error
        if not isinstance(piece, bytes):
            raise UsageError(f"{label} is not opened in binary mode: open it with 'rb'.")
        if not piece:
            break
        pieces.append(piece)
        length += len(piece)
    name = printable(os.path.basename(path)) if path else "picture"
    return _checked(Source(data=b"".join(pieces), name=name, path=None, label=label), limit)


def _checked(source: Source, limit: int) -> Source:
    if not source.data:
        raise PictureError(f"{source.label} is empty: it holds no bytes. Get the picture again.")
    if len(source.data) > limit:
        raise PictureError(
            f"{source.label} is longer than {limit:,} bytes, the most that is read. Raise max_pixels if it "
            "is a picture you trust."
        )
    return source


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFIFO: "FIFO (named pipe)",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "device",
        stat.S_IFBLK: "device",
    }
    return kinds.get(stat.S_IFMT(mode), "special file")


def _advice(path: str) -> str:
    if "://" in path:
        return "Addresses are not opened: download the picture and give the file."
    if any(c in path for c in "*?["):
        return "Patterns are not expanded here: use glob.glob, or let the shell do it, unquoted."
    if path.startswith("~"):
        return "The ~ is not expanded here: write the folder out, or use Path(...).expanduser()."
    return "Check the path and the folder it starts from."
