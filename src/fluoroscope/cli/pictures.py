"""Which pictures are meant, and a name for what is made of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fluoroscope.errors import PictureError

SUFFIXES = frozenset(".jpg .jpeg .jpe .jfif .png .tif .tiff .webp .gif .bmp .pgm .ppm .pnm .npy".split())
"""Of files in a folder that are taken for pictures. A file that is named itself may be called anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The pictures of a command.

    Attributes
    ----------
    paths
        Each once, in the order given; those of a folder or pattern sorted.
    names
        A name for each: unique (also where capitals do not count), without separators. The file's stem; where
        two have the same, the whole file name; where these too, the path below the folder they share.
    several
        True where each gets an output of its own: for two and more, and for a folder or pattern however many
        it holds.
    left_out
        How many files in folders were not taken for pictures.
    """

    paths: tuple[str, ...]
    names: tuple[str, ...]
    several: bool
    left_out: int = 0


def find_pictures(arguments: Sequence[str]) -> Pictures:
    """The pictures that files, folders and patterns mean.

    A file is taken as it is, whether it exists or not: reading it will tell. Of a folder the files in it are
    taken whose suffix is that of a picture, not those of folders within.

    Raises
    ------
    PictureError
        A folder or pattern without any.
    """
    from glob import glob, has_magic

    paths: dict[str, None] = {}
    many = False
    left_out = 0
    for argument in arguments:
        if os.path.isdir(argument):
            files = sorted(entry.path for entry in os.scandir(argument) if entry.is_file())
            found = [file for file in files if Path(file).suffix.lower() in SUFFIXES]
            if not found:
                known = " ".join(sorted(SUFFIXES))
                raise PictureError(
                    f"The folder {argument!r} holds no picture ({known}). Folders within it are "
                    f"not searched: give a pattern, '{Path(argument) / '**' / '*.png'}'."
                )
            left_out += len(files) - len(found)
            many = True
        elif has_magic(argument) and not os.path.lexists(argument):
            found = sorted(path for path in glob(argument, recursive=True) if os.path.isfile(path))
            if not found:
                raise PictureError(f"No file fits the pattern {argument!r}.")
            many = True
        else:
            found = [argument]
        paths.update(dict.fromkeys(os.path.normpath(path) for path in found))
    chosen = tuple(paths)
    return Pictures(
        paths=chosen, names=_unique_names(chosen), several=many or len(chosen) > 1, left_out=left_out
    )


def _unique_names(paths: Sequence[str]) -> tuple[str, ...]:
    absolute = [os.path.abspath(path) for path in paths]
    shared = os.path.commonpath([os.path.dirname(path) for path in absolute]) if absolute else ""
    ways: tuple[Callable[[str], str], ...] = (
        lambda path: Path(path).stem,
        lambda path: Path(path).name,
        lambda path: os.path.relpath(path, shared),
    )
    names: tuple[str, ...] = ()
    for way in ways:
        names = tuple(_as_file_name(way(path)) for path in absolute)
        if len({name.casefold() for name in names}) == len(names):
            break
    return names


def _as_file_name(text: str) -> str:
    """A path as one file name, and back with `urllib.parse.unquote`: separators and % are percent-encoded."""
    text = text.replace("%", "%25").replace("/", "%2F").replace("\\", "%5C")
    # Nothing may be hidden, or be the folder above.
    return f"%2E{text[1:]}" if text.startswith(".") else text
