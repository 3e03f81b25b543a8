"""What is said of a file that is not opened."""

from __future__ import annotations

from dataclasses import dataclass

from fluoroscope.errors import NetworkError, RefusedFile, UnknownFormat

_MOST_NAMES = 8
_LONGEST_NAMES = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A kind of file that is recognised and not opened.

    Attributes
    ----------
    label
        What it is, with its article: ``a Python pickle``.
    program
        True for what would run code if it were loaded.
    advice
        What to do instead.
    names
        What it would import and call, as far as its bytes say.
    """

    label: str
    program: bool
    advice: str
    names: tuple[str, ...] = ()

    def error(self) -> NetworkError:
        """What opening such a file raises: `RefusedFile` for a program, else `UnknownFormat`."""
        if not self.program:
            return UnknownFormat(f"This is {self.label}. {self.advice}")
        more = f" and {len(self.names) - _MOST_NAMES} more" if len(self.names) > _MOST_NAMES else ""
        names = ", ".join(self.names[:_MOST_NAMES])[:_LONGEST_NAMES]
        calls = f" It asks for {names}{more}." if names else ""
        return RefusedFile(f"This is {self.label}: a program, which is not run.{calls} {self.advice}")
