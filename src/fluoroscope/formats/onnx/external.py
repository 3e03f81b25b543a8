"""Weights of an ONNX model that lie in other files: read only from files that the user named.

A model says where its weights lie, and a stranger's may say ``../../secret``. So nothing that it says is
opened: the user names files, and what the model says is only compared with them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from fluoroscope.errors import DamagedFile, RefusedFile, UsageError
from fluoroscope.formats.file_bytes import open_file
from fluoroscope.network.budget import Budget, human_bytes

if TYPE_CHECKING:
    import onnx

_MOST_SHOWN = 120

External = Mapping[str, bytes]
"""Path of a file that was named -> its content."""


def open_external(path: str | os.PathLike[str], budget: Budget) -> IO[bytes]:
    """A file of weights that the user named. To be closed by the caller.

    Raises
    ------
    RefusedFile
        A link, or a file with a second name: what it holds could be something else than it seems.
    NetworkError
        As of `open_file`.
    """
    named = Path(path)
    # What is not there is for open_file to tell.
    with suppress(OSError):
        if named.is_symlink():
            raise RefusedFile(f"{str(path)!r} is a link. Name the file that it leads to.")
    file = open_file(named, budget)
    status = os.fstat(file.fileno())
    if status.st_nlink > 1 and stat.S_ISREG(status.st_mode):
        file.close()
        raise RefusedFile(f"{str(path)!r} has {status.st_nlink} names (hard links). Name a copy of its own.")
    return file


def read_external(paths: Iterable[str | os.PathLike[str]], budget: Budget) -> dict[str, bytes]:
    """The content of all files named, by path; errors as of `open_external`."""
    contents: dict[str, bytes] = {}
    for path in paths:
        with open_external(path, budget) as file:
            contents[os.fspath(path)] = file.read()
    return contents


def values_elsewhere(tensor: onnx.TensorProto, label: str, declared: int, external: External) -> memoryview:
    """The bytes of a tensor whose values lie in another file, which must be among those named.

    Parameters
    ----------
    label
        How messages call the tensor.
    declared
        How many bytes its shape and type come to.

    Raises
    ------
    RefusedFile
        The file was not named, or the model names it by a way that leads out of its folder.
    DamagedFile
        The place in the file is none.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    where = entries.get("location", "")
    content = external[_named(where, label, external)]
    offset, length = (
        _whole(entries.get(key, str(default)), label)
        for key, default in (("offset", 0), ("length", declared))
    )
    if length != declared:
        raise DamagedFile(f"{label} takes {declared} bytes, but {length} are said to lie in {_short(where)}.")
    if offset + length > len(content):
        raise DamagedFile(
            f"{label} is said to lie at {offset} to {offset + length} of {_short(where)}, which has "
            f"{human_bytes(len(content))}."
        )
    return memoryview(content)[offset : offset + length]


def _named(where: str, label: str, external: External) -> str:
    """The path among those named that a model means."""
    parts = PurePosixPath(where).parts
    strange = not parts or where.startswith("/") or ".." in parts or any(sign in where for sign in "\\:\0")
    if strange:
        raise RefusedFile(
            f"{label} lies in another file, {_short(where)}, which is no plain path beside the model. It is "
            "not opened. Save the model as one file (onnx.save with save_as_external_data=False)."
        )
    found = [path for path in external if Path(path).parts[-len(parts) :] == parts]
    if len(found) > 1:
        raise UsageError(f"{label} lies in {_short(where)}, and that is how several files named end.")
    if not found:
        raise RefusedFile(
            f"{label} lies in another file, {_short(where)}. Only files that are named are read: "
            f"--external {_short(where)[1:-1]}, or open_network(..., external=[{_short(where)}]). Or save "
            "the model as one file (onnx.save with save_as_external_data=False)."
        )
    return found[0]


def _whole(text: str, label: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise DamagedFile(f"{label} is said to lie at {_short(text)} of another file, which is no number.")
    return int(text)


def _short(text: str) -> str:
    return repr(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…")
