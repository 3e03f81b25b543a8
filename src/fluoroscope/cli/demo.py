"""``fluoroscope demo``."""

from __future__ import annotations


def demo() -> None:
    """Draw."""
