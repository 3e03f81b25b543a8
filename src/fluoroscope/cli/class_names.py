"""Names of classes, from the command line or a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from fluoroscope.errors import UsageError

_LARGEST_CLASSES = 1 << 20


def parse_classes(text: str) -> tuple[str, ...]:
    """Names of classes: those with commas between, or those in a file.

    A file holds one name a line, or JSON: a list of names, or an object from number to name or from name to
    number, as the ``class_indices`` of Keras.

    Raises
    ------
    UsageError
        A file that cannot be read, names that are empty or missing.
    """
    path = Path(text)
    in_a_file = "," not in text and (path.suffix or path.exists())
    names = [name.strip() for name in (_from_file(path, text) if in_a_file else text.split(","))]
    while names and not names[-1]:
        names.pop()
    if not names or not all(names):
        what = f"name {names.index('')} is empty" if names else "there is no name"
        raise UsageError(f"--classes {text!r}: {what}. One name a line, or names with commas between.")
    return tuple(names)


def _from_file(path: Path, text: str) -> list[str]:
    try:
        if not path.is_dir() and path.exists() and not path.is_file():
            raise UsageError(f"--classes {text!r} is no regular file. One name a line.")  # it may never end
        if path.stat().st_size > _LARGEST_CLASSES:
            raise UsageError(f"--classes {text!r}: a file of names is not over {_LARGEST_CLASSES:,} bytes.")
        content = path.read_text("utf-8-sig")
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UsageError(f"--classes {text!r} cannot be read: {reason}. One name a line.") from error
    if not content.lstrip().startswith(("[", "{")):
        return content.splitlines()
    try:
        return _from_json(json.loads(content))
    except (ValueError, RecursionError) as error:
        # A list of names can begin with one such as "[background]".
        if isinstance(error, json.JSONDecodeError) and path.suffix.lower() != ".json":
            return content.splitlines()
        raise UsageError(
            f"--classes {text!r}: as JSON it should be a list of names, or an object from each number "
            "from 0 on to its name or the other way round."
        ) from error


def _from_json(value: Any) -> list[str]:
    """The names in order; `ValueError` for any other content."""
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        if all(isinstance(number, int) for number in entries.values()):
            entries = {str(number): name for name, number in entries.items()}
        value = [entries.get(str(number)) for number in range(len(value))]  # pyright: ignore[reportUnknownArgumentType]
    names = cast("list[Any]", value)
    if not all(isinstance(name, str) for name in names):
        raise ValueError("not all are names")
    return names
