"""The values themselves: `.npz`, which `numpy.load` opens."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fluoroscope.files import replacing
from fluoroscope.output.file_names import file_name

if TYPE_CHECKING:
    from fluoroscope.activations import Activations

RECORD = "__manifest__"
"""Name of the entry that says, as JSON text, what the arrays are and how they were made."""

_LONGEST = 1000
"""Characters of an array's name; an archive takes 65,535 bytes."""

_TIME = (1980, 1, 1, 0, 0, 0)
"""Of every member, so that equal values make equal files."""


class ArrayFile:
    """An `.npz` in the making: arrays are written one by one, uncompressed, and need not all be in memory.

    A context manager. What lacks its record, because the block ended early, is not to be kept.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED, allowZip64=True)
        self._keys: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        # Also after a failure: else the interpreter does it, once the stream is closed, and complains.
        with suppress(OSError) if failure is not None else nullcontext():
            self._zip.close()

    def add(self, name: str, values: NDArray[Any]) -> str:
        """Write one array in C order; what it is called there, which is `name` wherever that can be."""
        key = _key(name, {RECORD, *self._keys.values()})
        self._keys[name] = key
        self._write(key, values)
        return key

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write the record, and under ``arrays`` what each array is called, as JSON in an array of text."""
        self._write(RECORD, np.array(json.dumps({**record, "arrays": self._keys})))

    def _write(self, key: str, values: NDArray[Any]) -> None:
        member = zipfile.ZipInfo(f"{key}.npy", _TIME)
        member.external_attr = 0o644 << 16
        with self._zip.open(member, "w", force_zip64=True) as stream:
            # Not ascontiguousarray, which would give the record an axis.
            npy.write_array(stream, np.asarray(values, order="C"), allow_pickle=False)


def _key(name: str, taken: Set[str]) -> str:
    """What an array of this name is called in the file.

    Control characters, backslashes, halves of surrogate pairs and excess length are not for a ZIP archive;
    an end in ``.npy`` is taken off by NumPy.
    """
    key = name
    if not (0 < len(name) <= _LONGEST and name.isprintable()) or "\\" in name or name.endswith(".npy"):
        key = file_name(name).replace(".npy", "%2Enpy")
    while key in taken:
        key += "~"
    return key


def write_arrays(
    sources: Iterable[Activations],
    path: Path,
    record: Callable[[Activations], Mapping[str, Any]],
    progress: Callable[[str], None],
) -> None:
    """Write the activations to an `.npz`: layer name -> ``(height, width, channels)`` float32.

    Parameters
    ----------
    sources
        One picture's activations, in parts.
    record
        Makes what is kept beside the arrays, from any part.
    progress
        Told of every layer.
    """
    with replacing(path) as stream, ArrayFile(stream) as archive:
        kept: Mapping[str, Any] = {}
        for acts in sources:
            kept = kept or record(acts)
            for name, maps in acts.items():
                archive.add(name, maps.values)
                progress(name)
        archive.finish(kept)
