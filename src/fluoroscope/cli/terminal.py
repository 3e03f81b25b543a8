"""What is written to a terminal or pipe: text that cannot act, on streams that cannot fail.

Names in a file come from whoever wrote it. Nothing of them reaches a terminal that it would obey, and nothing
of them is read as Rich's markup: consoles here take no markup at all.
"""

from __future__ import annotations

import codecs
import io
import math
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from fluoroscope.output.typography import shortened, speakable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_PLAIN = {
    "×": "x", "–": "-", "—": "-", "−": "-", "±": "+/-", "…": "...", "→": "->", "·": "-", "─": "-", "•": "*",
    "✓": "ok", "✗": "x", "“": '"', "”": '"', "‘": "'", "’": "'", "│": "|", "▀": "^", "█": "#", "≤": "<=",
}  # fmt: skip
"""For streams of another encoding than UTF-8."""

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}

_WIDE = 1 << 16
"""Columns of what is no terminal: nothing is wrapped, so that every line can be searched."""


def lines(text: str, most: int = 4000) -> str:
    """Text from a file or an error as it can be shown, its line ends kept; see `typography.speakable`."""
    return "\n".join(map(speakable, shortened(text, most).splitlines()))


def prepare_streams() -> None:
    """Let stdout and stderr take any character, whatever the locale says they can.

    What the encoding lacks is written as the nearest ASCII, or as an escape.
    """
    codecs.register_error("fluoroscope", _replacement)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="fluoroscope")


def is_terminal(stream: TextIO | None) -> bool:
    """False also for a stream that was closed before the start, which Python has as None."""
    return stream is not None and stream.isatty()


def painted(text: str, *styles: str) -> str:
    """Text for `print` on stdout, in styles of ``_STYLES`` where that is a terminal.

    Rich would do the same, but costs a short command a quarter of its time.
    """
    if not is_terminal(sys.stdout) or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{text}\x1b[0m"


def wrapped(text: str, *, indent: int = 0) -> str:
    """Text for `print` on stdout, in lines that fit where that is a terminal; all but the first indented."""
    if not is_terminal(sys.stdout):
        return text
    import shutil
    import textwrap

    width = min(shutil.get_terminal_size().columns, 100)
    return textwrap.fill(text, width, subsequent_indent=" " * indent, break_on_hyphens=False)


def console(*, stderr: bool = False) -> Console:
    """A Rich console on the stream of the moment, which takes strings as they are."""
    from rich.console import Console

    probe = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if probe.is_terminal:
        return probe
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=_WIDE, color_system=None)


def show(*renderables: RenderableType, stderr: bool = False) -> None:
    """Print; in a pipe without colours and without blanks at the ends of lines."""
    target = console(stderr=stderr)
    if target.is_terminal:
        target.print(*renderables, sep="\n")
        return
    with target.capture() as captured:
        target.print(*renderables, sep="\n")
    stream = sys.stderr if stderr else sys.stdout
    print("\n".join(map(str.rstrip, captured.get().splitlines())), file=stream)


def show_json(value: Any) -> None:
    """Print for machines: ASCII, and NaN and infinities as null, since JSON has none."""
    import json

    print(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def _replacement(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c) or c.encode("unicode_escape").decode("ascii") for c in text), error.end
