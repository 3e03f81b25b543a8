"""Writing files whole or not at all: beside, then renamed."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from fluoroscope.errors import UsageError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Generator[IO[bytes], None, None]:
    """A stream whose bytes become the file when the block ends well, and vanish when it does not.

    They go to a file beside it that takes its place in one step: whoever reads `path` sees the old file or
    the new one, and a process that dies leaves the old one. A link is followed, and the permissions of a file
    that is replaced are kept. What is no file, such as ``/dev/stdout`` or a pipe, is written directly.

    Raises
    ------
    UsageError
        A folder that does not exist, or a folder where the file would be.
    OSError
        Whatever else the system reports: no permission, no space.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise UsageError(f"{os.fspath(path)!r} is a folder: give the name of a file in it.")
    if target.exists() and not target.is_file():
        with target.open("wb") as stream:
            yield stream
        return
    if not target.parent.is_dir():
        raise UsageError(f"{os.fspath(path)!r} cannot be written: there is no folder {str(target.parent)!r}.")
    # Short, so that it fits wherever the name itself does.
    beside = target.with_name(f".{os.urandom(8).hex()}.part")
    try:
        with beside.open("xb") as stream:
            yield stream
        # There may be nothing to replace.
        with suppress(FileNotFoundError):
            beside.chmod(target.stat().st_mode & 0o7777)
        beside.replace(target)
    except BaseException:  # Also for Ctrl-C: it is raised again, once nothing is left behind.
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def atomic_write(path: str | os.PathLike[str], data: bytes | bytearray | memoryview) -> None:
    """Write bytes to a file as `replacing` does."""
    with replacing(path) as stream:
        stream.write(data)


def check_suffix(path: str | os.PathLike[str], suffix: str, what: str) -> None:
    """Raise `UsageError` for a name that promises another kind of file than is written.

    Parameters
    ----------
    what
        Begins the message: ``"A sheet is saved as"``.
    """
    own = Path(path).suffix
    if own.lower() != suffix:
        raise UsageError(
            f"{what} {suffix}; {os.fspath(path)!r} should end so{f', not in {own}' if own else ''}."
        )
