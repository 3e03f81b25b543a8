"""Limits on memory and work, checked from declared sizes before anything is allocated or run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

from fluoroscope.errors import BudgetExceeded, UsageError
from fluoroscope.network.protocol import Shape

GIB = 2**30

MOST_THREADS = 1024
"""That may run a network. onnxruntime starts as many as it is told, and a hundred thousand end a machine."""

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What opening and running a network may cost.

    Attributes
    ----------
    memory
        Bytes for the weights, and again for the activations alive at one time. 2 GiB by default: it holds
        every network of ``keras.applications`` with all its activations for one picture.
    work
        Multiplications in one run. 10**13 by default, a few minutes of a small computer; the largest network
        of ``keras.applications`` takes 6 * 10**10 a picture.
    expansion
        How many times their stored size compressed weights may take. Up to 64 MiB no ratio is suspicious: a
        layer of zeros compresses a thousandfold.
    seconds
        For opening it, and for each run. Held in a child process (``isolate=True``), which can be stopped;
        in this one `work` stands for it.
    """

    memory: int = 2 * GIB
    work: int = 10**13
    expansion: int = 100
    seconds: float = 60

    def __post_init__(self) -> None:
        if self.memory <= 0:
            raise UsageError(f"A memory budget is a positive number of bytes, not {self.memory}.")
        if self.work <= 0:
            raise UsageError(f"A work budget is a positive number of multiplications, not {self.work}.")
        if self.expansion <= 0:
            raise UsageError(f"An expansion budget is a positive ratio, not {self.expansion}.")
        if not self.seconds > 0:
            raise UsageError(f"A time limit is a positive number of seconds, not {self.seconds}.")

    def allow(self, size: int, what: str, instead: str = "") -> None:
        """Raise `BudgetExceeded` when `size` bytes for `what` are over the budget.

        Parameters
        ----------
        what
            Begins the message: ``"The weights of dense_1"``.
        instead
            What else could be done, besides a larger budget.
        """
        if size <= self.memory:
            return
        hint = f" {instead}" if instead else ""
        raise BudgetExceeded(
            f"{what} would take {human_bytes(size)}; the memory budget is {human_bytes(self.memory)}. "
            f"Nothing was allocated.{hint} "
            f"If you trust the file, raise the budget: --memory {_ceil_gib(size)}G, "
            f"or budget=Budget(memory={_ceil_gib(size)} * 2**30)."
        )

    def allow_work(self, steps: int, what: str) -> None:
        """Raise `BudgetExceeded` when `steps` multiplications for `what` are over the budget."""
        if steps > self.work:
            raise BudgetExceeded(
                f"{what} would take {steps:.1e} multiplications; the work budget is {self.work:.1e}. Nothing "
                "was run. Give a smaller picture or fewer at a time, or, if you trust the file, raise the "
                f"budget: --work 1e{len(str(steps))}, or budget=Budget(work=10**{len(str(steps))})."
            )


def activation_bytes(shape: Shape, batch: int = 1) -> int:
    """Bytes of one float32 activation; a size that is not known counts as 1."""
    return 4 * batch * prod(size if size is not None else 1 for size in shape)


def human_bytes(size: int) -> str:
    """``1536`` as ``1.5 KiB``."""
    amount, unit = float(size), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if amount < 1024 or unit == "PiB":
            break
        amount /= 1024
    if unit == "bytes":
        return f"{size} bytes"
    return f"{amount:.3g} {unit}" if amount < 999.5 else f"{amount:.0f} {unit}"


def parse_bytes(text: str) -> int:
    """``"2G"``, ``"500 MB"``, ``"1.5GiB"`` as bytes; units are powers of 1024.

    Raises
    ------
    UsageError
        For anything else.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text, re.IGNORECASE)
    size = int(float(match[1]) * _UNITS[match[2].lower()]) if match is not None else 0
    if size < 1:
        raise UsageError(f"A size is a number with K, M, G or T behind it, such as 2G; not {text!r}.")
    return size


def _ceil_gib(size: int) -> int:
    return -(-size // GIB)
