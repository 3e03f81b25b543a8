"""A folder: a PNG a layer, the values, and a record of everything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluoroscope.errors import UsageError
from fluoroscope.files import atomic_write, replacing
from fluoroscope.output.arrays import ArrayFile
from fluoroscope.output.file_names import file_name
from fluoroscope.output.record import drawn_record, report_record
from fluoroscope.output.typography import speakable

if TYPE_CHECKING:
    from fluoroscope.output.report import Report


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
    record: dict[str, Any] = report_record(report)
    layers: list[dict[str, Any]] = []
    digits = len(str(max(len(report.network.layers) - 1, 0)))
    manifest = folder / "manifest.json"
    manifest.unlink(missing_ok=True)
    with replacing(folder / "activations.npz") as stream, ArrayFile(stream) as archive:
        for drawn in report.layers:
            name = f"{drawn.number:0{digits}}_{file_name(drawn.name)}.png"
            text = {
                "Software": "Fluoroscope",
                "Title": speakable(drawn.name),
                "Description": json.dumps(record["drawing"]),
            }
            atomic_write(folder / name, drawn.image.png(text))
            array = archive.add(drawn.name, drawn.values) if drawn.values is not None else None
            layers.append({"file": name, "array": array, **drawn_record(drawn)})
            progress(drawn.name)
        archive.finish(record)
    atomic_write(manifest, _json(record, layers).encode())


def _json(record: dict[str, Any], layers: list[dict[str, Any]]) -> str:
    """The record, to be read by eye; a line a layer, whose many numbers are written faster so."""
    head = json.dumps(record, indent=1, allow_nan=False).removesuffix("\n}")
    lines = ",\n".join("  " + json.dumps(layer, allow_nan=False) for layer in layers)
    return f'{head},\n "layers": [\n{lines}\n ]\n}}\n'
