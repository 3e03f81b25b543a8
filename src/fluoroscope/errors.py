"""Every error Fluoroscope raises on purpose, in one tree.

A message says what was given, what is possible, and what to do next. Each error also inherits the
built-in it resembles, so ``except KeyError`` and friends work, and carries the exit code of the
command line.
"""

from __future__ import annotations

from typing import Literal


class FluoroscopeError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1

    def __str__(self) -> str:
        # KeyError would show the repr of the message, quotes and escapes included.
        return str(self.args[0]) if self.args else ""


class UsageError(FluoroscopeError, ValueError):
    """An option or argument that means nothing, or contradicts another."""

    exit_code = 2


class LayerNotFound(FluoroscopeError, KeyError):
    """No layer, channel or input has the name, number or pattern given."""

    exit_code = 2


class MissingDependency(FluoroscopeError, ImportError):
    """An optional package is needed; the message holds the pip command."""

    exit_code = 2


class NetworkError(FluoroscopeError, ValueError):
    """A network file that cannot be opened."""

    exit_code = 3


class UnknownFormat(NetworkError):
    """Content that no known network format explains."""


class DamagedFile(NetworkError):
    """A known format whose content is truncated, contradictory or corrupt."""


class RefusedFile(NetworkError):
    """Content that is a program, or reaches outside the file. It was not run and not followed."""


class UnsupportedLayer(NetworkError, NotImplementedError):
    """A layer without a translation, or an option of it without one."""


class WeightMismatch(NetworkError):
    """Weights missing, left over, or of another shape or dtype than the architecture needs."""


class PictureError(FluoroscopeError, ValueError):
    """A picture that cannot be read, or is not one."""

    exit_code = 4


class BudgetExceeded(FluoroscopeError, MemoryError):
    """Refused before allocation: the sizes declared are over the stated budget."""

    exit_code = 5


class WorkerFailed(FluoroscopeError, RuntimeError):
    """The process that a network was opened or run in did not finish. The next call starts a new one.

    Attributes
    ----------
    reason
        ``crash``: it ended by itself. ``timeout``, ``memory``: it was over a limit, and was stopped.
        ``protocol``: it said what cannot be, and was stopped. ``cancelled``, ``closed``: by the caller.
        ``start``: there is none, because it could not be started.
    """

    exit_code = 7

    def __init__(
        self,
        message: str,
        reason: Literal["crash", "timeout", "memory", "protocol", "cancelled", "closed", "start"] = "crash",
    ) -> None:
        super().__init__(message)
        self.reason = reason
