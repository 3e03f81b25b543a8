"""Where results go: a path for each picture, and what may be replaced there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from fluoroscope.cli.pictures import Pictures
from fluoroscope.errors import UsageError

DEFAULT = "Intermediate_Activations_Visualized"
"""Name of what is made where none is given, without its suffix."""

PLACEHOLDER = "{name}"
"""Stands for the name of the picture in an output path."""

_LOOKED_AT = 1 << 16


def outputs(given: str | None, pictures: Pictures) -> tuple[str, ...]:
    """A path for each picture.

    =============  ==============================  =====================================
    given          one picture                     several
    =============  ==============================  =====================================
    nothing        ``DEFAULT.pdf``                 ``DEFAULT/<name>.pdf``
    a folder       the folder                      a folder in it for each
    a file         the file                        an error
    ``{name}``     stands for the picture's name   stands for the picture's name
    =============  ==============================  =====================================

    Raises
    ------
    UsageError
        One file for several pictures, or a suffix that means nothing.
    """
    from fluoroscope.output.save import kind_of

    if given is None:
        given = f"{DEFAULT}/{PLACEHOLDER}.pdf" if pictures.several else f"{DEFAULT}.pdf"
    kind = kind_of(given)
    # A folder is told by what ends it: a picture's name can hold dots, which are no suffix of ours.
    end = "" if kind or given.endswith(("/", os.sep)) else os.sep
    if PLACEHOLDER in given:
        return tuple(given.replace(PLACEHOLDER, name) + end for name in pictures.names)
    if not pictures.several:
        return (given,)
    if kind:
        raise _one_file_for_several(given, pictures)
    return tuple(os.path.join(given, name, "") for name in pictures.names)


def channel_outputs(given: str | None, pictures: Pictures, layer: str, channel: int) -> tuple[str, ...]:
    """A path for one channel of each picture: as `outputs`, but always a PNG, also in a folder.

    Raises
    ------
    UsageError
        One file for several pictures, or a file that is no PNG.
    """
    from fluoroscope.output.file_names import file_name
    from fluoroscope.output.save import kind_of

    own = f"{file_name(layer)}_{channel}.png"
    if given is None:
        given = f"{DEFAULT}/{PLACEHOLDER}.png" if pictures.several else own
    kind = kind_of(given)
    if kind == "":
        given = os.path.join(given, f"{PLACEHOLDER}.png" if pictures.several else own)
    elif kind != ".png":
        raise UsageError(f"One channel becomes a PNG: {given!r} should end in .png, or be a folder.")
    if PLACEHOLDER in given:
        return tuple(given.replace(PLACEHOLDER, name) for name in pictures.names)
    if pictures.several:
        raise _one_file_for_several(given, pictures)
    return (given,)


def check(paths: Iterable[str], sources: Sequence[str], *, force: bool) -> None:
    """Before anything is computed: make the folders, and refuse to write over what is not ours.

    Parameters
    ----------
    paths
        Files and folders that will be written.
    sources
        The network and the pictures.
    force
        Replace files although Fluoroscope did not write them. Never the sources.

    Raises
    ------
    UsageError
        With what to do instead.
    """
    paths = tuple(paths)
    if "" in paths:
        raise UsageError("--output '' names nothing: give a file such as maps.pdf, or '.' for this folder.")
    read = {os.path.realpath(source) for source in sources}
    for path in map(Path, paths):
        if os.path.realpath(path) in read:
            raise UsageError(f"{str(path)!r} is what is read: the result needs another name.")
        foreign = None if force else _foreign(path)
        if foreign is not None:
            raise UsageError(
                f"{str(foreign)!r} is there already, and Fluoroscope did not write it. Choose another name, "
                "or replace it with --force."
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = (
                "a file is in the way"
                if isinstance(error, FileExistsError | NotADirectoryError)
                else error.strerror
            )
            raise UsageError(f"The folder {str(path.parent)!r} cannot be made: {reason}.") from error


def _one_file_for_several(given: str, pictures: Pictures) -> UsageError:
    path = Path(given)
    each = str(path.with_name(f"{PLACEHOLDER}{path.suffix}"))
    return UsageError(
        f"{len(pictures.paths)} pictures cannot all become {given!r}. Give a folder ({path.stem + '/'!r}), "
        f"or a name for each ({each!r})."
    )


def _foreign(path: Path) -> Path | None:
    """What stands where `path` would be written and was not written by Fluoroscope."""
    files = [path / "manifest.json", path / "activations.npz"] if path.is_dir() else [path]
    return next((file for file in files if file.is_file() and not _is_ours(file)), None)


def _is_ours(file: Path) -> bool:
    """By the mark that every output of Fluoroscope carries. An empty file is nobody's."""
    size = file.stat().st_size
    if size == 0:
        return True
    suffix = file.suffix.lower()
    if suffix == ".npz":
        import zipfile

        from fluoroscope.output.arrays import RECORD

        try:
            with zipfile.ZipFile(file) as archive:
                return f"{RECORD}.npy" in archive.namelist()
        except (zipfile.BadZipFile, OSError):
            return False
    with file.open("rb") as stream:
        head = stream.read(_LOOKED_AT)
        stream.seek(max(0, size - _LOOKED_AT))
        tail = stream.read(_LOOKED_AT)
    if suffix == ".json":
        return head.lstrip(b"{ \r\n\t").startswith(b'"fluoroscope":')
    return b"Fluoroscope" in head or b"Fluoroscope" in tail
