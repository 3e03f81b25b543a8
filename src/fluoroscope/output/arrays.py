"""The values themselves: `.npz`, which `numpy.load` opens."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fluoroscope.output.files import replacing

if TYPE_CHECKING:
    from fluoroscope.activations import Activations

RECORD = "__manifest__"
"""Name of the entry that says, as JSON text, what the arrays are and how they were made."""

_TIME = (1980, 1, 1, 0, 0, 0)
"""Of every member, so that equal values make equal files."""


class ArrayFile:
    """An `.npz` in the making: arrays are written one by one, uncompressed, and need not all be in memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED, allowZip64=True)

    def add(self, name: str, values: NDArray[Any]) -> None:
        """Write one array in C order under `name`."""
        member = zipfile.ZipInfo(f"{name}.npy", _TIME)
        member.external_attr = 0o644 << 16
        with self._zip.open(member, "w", force_zip64=True) as stream:
            npy.write_array(stream, np.ascontiguousarray(values), allow_pickle=False)

    def close(self, record: Mapping[str, Any]) -> None:
        """Write the record, as JSON in an array of text, and finish the file."""
        self.add(RECORD, np.array(json.dumps(record)))
        self._zip.close()


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
    with replacing(path) as stream:
        archive = ArrayFile(stream)
        kept: Mapping[str, Any] = {}
        for acts in sources:
            kept = kept or record(acts)
            for name, maps in acts.items():
                archive.add(name, maps.values)
                progress(name)
        archive.close(kept)
