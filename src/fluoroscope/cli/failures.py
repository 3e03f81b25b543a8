"""How a command fails: one readable block on stderr, or JSON on stdout, and an exit code that tells which."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import typer

from fluoroscope.cli.terminal import is_terminal, lines, show, show_json
from fluoroscope.errors import FluoroscopeError
from fluoroscope.output.typography import speakable

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

TITLES = {
    1: "Unexpected error",
    2: "That cannot be done",
    3: "The network cannot be opened",
    4: "The picture cannot be read",
    5: "Over the memory budget",
    7: "The process of the network failed",
}
"""Heading of an error by its exit code."""

_REFUSED = "The system refused"
"""Heading of what the operating system would not do: no permission, no space."""

_REPORT = (
    "This is a fault of Fluoroscope, not of yours. Please report it, with what the same command prints with "
    "--debug."
)

_TRACEBACK = 20_000
"""Characters of a traceback that are shown."""

# What Typer raises for arguments it cannot parse. Its home has moved between Typer's versions.
ParserError: type[Exception] = typer.BadParameter.__mro__[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How failures are told.

    Attributes
    ----------
    json
        As JSON on stdout.
    debug
        With the traceback, on stderr.
    """

    json: bool = False
    debug: bool = False

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Manner:
        """As the arguments ask, even where the rest of them cannot be parsed."""
        options = list(arguments)
        if "--" in options:
            options = options[: options.index("--")]
        debug = "--debug" in options or os.environ.get("FLUOROSCOPE_DEBUG", "") not in ("", "0")
        return cls(json="--json" in options, debug=debug)


def tell(error: Exception, manner: Manner) -> int:
    """Show an error that ends the command.

    Returns
    -------
    int
        The exit code.
    """
    if manner.debug:
        import traceback

        print(lines("".join(traceback.format_exception(error)), _TRACEBACK), file=sys.stderr)
    if manner.json:
        show_json({"error": as_json(error)})
    elif not manner.debug:
        _show_block(_title(error), message(error), _hint(error))
    return exit_code(error)


def exit_code(error: Exception) -> int:
    """0 is never among them; 1 is for what nobody expected, and for what the system refused."""
    if isinstance(error, FluoroscopeError):
        return error.exit_code
    return 2 if isinstance(error, ParserError) else 1


def message(error: Exception) -> str:
    """The error in words, safe to show."""
    if isinstance(error, FluoroscopeError):
        return lines(str(error))
    if isinstance(error, ParserError):
        return lines(str(getattr(error, "format_message", error.__str__)()))
    if isinstance(error, OSError) and error.strerror:
        return lines(f"{error.filename!r}: {error.strerror}" if error.filename else error.strerror)
    return lines(f"{type(error).__name__}: {error}")


def as_json(error: Exception) -> dict[str, str | int]:
    """The error for machines: its kind (see `fluoroscope.errors`), its exit code, and its message."""
    kind = "UsageError" if isinstance(error, ParserError) else type(error).__name__
    return {"kind": kind, "exit_code": exit_code(error), "message": message(error)}


def _title(error: Exception) -> str:
    ours = isinstance(error, (FluoroscopeError, ParserError))
    return _REFUSED if isinstance(error, OSError) and not ours else TITLES[exit_code(error)]


def _hint(error: Exception) -> str:
    """What to do next, where the message does not say it."""
    if isinstance(error, ParserError):
        context = getattr(error, "ctx", None)
        return f"{speakable(context.command_path)} --help shows what can be said." if context else ""
    return "" if isinstance(error, (FluoroscopeError, OSError)) else _REPORT


def _show_block(title: str, text: str, hint: str) -> None:
    if not is_terminal(sys.stderr):
        print(f"{title}: {text}", *([hint] if hint else []), sep="\n", file=sys.stderr)
        return
    from rich.panel import Panel
    from rich.text import Text

    body = Text(text)
    if hint:
        body.append(f"\n{hint}", style="dim")
    heading = Text(title, style="bold red")
    show(Panel(body, title=heading, title_align="left", border_style="red"), stderr=True)
