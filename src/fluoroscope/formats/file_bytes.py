"""A file's bytes, of regular files only, and never more than was allowed when it was opened."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO

from fluoroscope.errors import BudgetExceeded, DamagedFile, NetworkError, UnknownFormat
from fluoroscope.formats.foreign import SAVED_MODEL
from fluoroscope.network.budget import Budget, human_bytes

_OPEN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Opening a pipe that nobody writes to would wait for ever without O_NONBLOCK."""

_SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")


def read_file(path: Path, budget: Budget) -> bytes:
    """The bytes of a regular file, which may be as large as the memory budget.

    What is opened is what is looked at and read: exchanging the file in between changes nothing.

    Raises
    ------
    RefusedFile, UnknownFormat
        A SavedModel; another folder, a pipe, a device.
    BudgetExceeded
        It is too large. Nothing was read.
    NetworkError
        It is not there, or may not be read.
    DamagedFile
        It became shorter while it was read.
    """
    with open_file(path, budget) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            data = file.read(size)
        except OSError as error:
            raise _unreadable(path, error) from error
    if len(data) < size:
        raise DamagedFile(f"{str(path)!r} became shorter while it was read. Is it still being written?")
    return data


def open_file(path: Path, budget: Budget) -> IO[bytes]:
    """A regular file that may be read whole; errors as of `read_file`. To be closed by the caller."""
    if path.is_dir():
        raise folder_error(path)
    try:
        file = open(os.open(path, _OPEN), "rb")  # noqa: SIM115 - it is handed over
    except FileNotFoundError as error:
        raise NetworkError(f"There is no file {str(path)!r}. Paths are relative to {Path.cwd()}.") from error
    except (OSError, ValueError) as error:
        # ValueError: a path with a zero byte in it.
        raise _unreadable(path, error) from error
    try:
        _check(path, os.fstat(file.fileno()), budget)
    except BaseException:
        file.close()
        raise
    return file


def _unreadable(path: Path, error: OSError | ValueError) -> NetworkError:
    return NetworkError(f"{str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}.")


def is_saved_model(path: Path) -> bool:
    """Whether a folder is a TensorFlow SavedModel."""
    return any((path / name).is_file() for name in _SAVED_MODEL_FILES)


def folder_error(path: Path) -> NetworkError:
    """Why a folder is not opened."""
    if is_saved_model(path):
        error = SAVED_MODEL.error()
        return type(error)(f"{str(path)!r}: {error}")
    return UnknownFormat(f"{str(path)!r} is a folder. Give the path of a network file.")


def _check(path: Path, status: os.stat_result, budget: Budget) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnknownFormat(f"{str(path)!r} is no regular file. Give the path of a network file.")
    if status.st_size > budget.memory:
        raise BudgetExceeded(
            f"{str(path)!r} has {human_bytes(status.st_size)}; with a memory budget of "
            f"{human_bytes(budget.memory)} files up to that size are read. Raise it: "
            f"--memory, or budget=Budget(memory=...)."
        )
