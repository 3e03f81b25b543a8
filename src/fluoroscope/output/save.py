"""Everything into a file or folder: the name says what it becomes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluoroscope.drawing.style import Style
from fluoroscope.errors import UsageError

if TYPE_CHECKING:
    from fluoroscope.activations import Activations

Progress = Callable[[int, int, str], None]
"""Called with how many layers are done, how many there are, and the name of the last."""

KINDS = {
    ".pdf": "a page a layer",
    ".png": "one large picture",
    ".npz": "the values",
    "": "a folder with a PNG a layer, the values and a manifest",
}
"""What each suffix makes."""


def kind_of(path: str | os.PathLike[str]) -> str:
    """The suffix in `KINDS` that decides what is written; a folder that is there is one whatever its name.

    Raises
    ------
    UsageError
        For a suffix that means nothing here.
    """
    text = os.fspath(path)
    suffix = Path(text).suffix.lower()
    if text.endswith(("/", os.sep)) or Path(text).is_dir():
        return ""
    if suffix not in KINDS:
        possible = "; ".join(f"{key or 'no suffix'}: {what}" for key, what in KINDS.items())
        raise UsageError(f"What {text!r} is to be cannot be told from its suffix. Possible: {possible}.")
    return suffix


def save(
    sources: Iterable[Activations],
    path: str | os.PathLike[str],
    style: Style | None = None,
    *,
    classes: Sequence[str] = (),
    count: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the activations of one picture; see `Activations.save`.

    Parameters
    ----------
    sources
        One picture's activations, in parts: ``[acts]``, or `Groups`. Walked twice for a scale over the whole
        network.
    path
        See `KINDS`.
    count
        Layers in all, for progress; by default those of a list.
    """
    from fluoroscope.output.draw import report

    style = style or Style()
    kind = kind_of(path)
    target = Path(path)
    total = count if count is not None else sum(map(len, sources)) if isinstance(sources, list) else 0
    done = 0

    def step(name: str) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total, name)

    if kind == ".npz":
        from fluoroscope.output.arrays import write_arrays
        from fluoroscope.output.record import run_record

        def record(acts: Activations) -> dict[str, Any]:
            return run_record(
                acts.network,
                acts.inputs,
                None,
                predictions=acts.predictions,
                classes=classes,
                skipped=acts.skipped,
            )

        write_arrays(sources, target, record, step)
        return
    drawing = report(sources, style, classes=classes, count=total, values=kind == "")
    if kind == ".pdf":
        from fluoroscope.output.pdf import write_pdf

        write_pdf(drawing, target, progress=step)
    elif kind == ".png":
        from fluoroscope.output.poster import write_poster

        write_poster(drawing, target, progress=step)
    else:
        from fluoroscope.output.folder import write_folder

        write_folder(drawing, target, step)
