"""What a row of the table of hostile network files is; the rows themselves are in ``security_rows_*.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]
GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Row:
    """One hostile file.

    `build` gets an empty folder and gives the file's content, or its path where it wrote it itself.
    `outcome` is a pattern for the error's class and message, or for what is said of a layer where the file
    opens. `verdict` is that of ``fluoroscope check``. `grown` is how much memory all of it may take.
    """

    build: Callable[[Path], bytes | Path]
    outcome: str
    verdict: str
    grown: int = 400 * 2**20


ROWS: dict[str, Row] = {}
IN_PART = "opens in part"


def row(name: str, outcome: str, verdict: str, build: Callable[[Path], bytes | Path], **more: Any) -> None:
    assert name not in ROWS
    ROWS[name] = Row(build=build, outcome=outcome, verdict=verdict, **more)


def marker(folder: Path) -> str:
    """The file that a payload would make."""
    return str(folder / "marker")
