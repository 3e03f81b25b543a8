"""A folder: a PNG a layer, the values, and a record of everything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from fluoroscope.errors import UsageError
from fluoroscope.output.arrays import ArrayFile
from fluoroscope.output.files import atomic_write, replacing
from fluoroscope.output.record import drawn_record, run_record

if TYPE_CHECKING:
    from fluoroscope.output.report import Report

_LONGEST = 150
"""Characters of a file name before its number and suffix; file systems take 255 bytes."""


def write_folder(report: Report, folder: Path, progress: Callable[[str], None]) -> None:
    """Write ``<number>_<layer>.png`` for each layer, ``activations.npz`` and ``manifest.json``.

    The folder is made if it is not there; files of these names are replaced, others stay. The manifest comes
    last: a folder that has one is complete.

    Parameters
    ----------
    report
        Its layers must carry their values.
    progress
        Told of every layer.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{str(folder)!r} is to be a folder, but there is a file in its way.") from error
    record: dict[str, Any] = run_record(
        report.network,
        report.prepared,
        report.style,
        predictions=report.predictions,
        classes=report.classes,
        skipped=report.skipped,
    )
    layers: list[dict[str, Any]] = []
    digits = len(str(max(len(report.network.layers) - 1, 0)))
    manifest = folder / "manifest.json"
    manifest.unlink(missing_ok=True)
    with replacing(folder / "activations.npz") as stream:
        archive = ArrayFile(stream)
        for drawn in report.layers:
            name = f"{drawn.number:0{digits}}_{file_name(drawn.name)}.png"
            text = {
                "Software": "Fluoroscope",
                "Title": drawn.name,
                "Description": json.dumps(record["drawing"]),
            }
            atomic_write(folder / name, drawn.image.png(text))
            if drawn.values is not None:
                archive.add(drawn.name, drawn.values)
            layers.append({"file": name, **drawn_record(drawn)})
            progress(drawn.name)
        archive.close(record)
    record["layers"] = layers
    atomic_write(manifest, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())


def file_name(name: str) -> str:
    """A layer's name as part of a file name: unique, valid on every system, read back by `layer_name`.

    Letters, digits and ``_ - .`` stand for themselves, all else is percent-encoded. A name too long for a
    file is cut, with a hash of the whole behind it.
    """
    safe = quote(name, safe="")
    if len(safe) <= _LONGEST:
        return safe
    return f"{safe[: _LONGEST - 20]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def layer_name(file: str) -> str:
    """The layer's name of a file name that `file_name` made and did not cut."""
    return unquote(file)
