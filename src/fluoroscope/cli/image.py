"""``fluoroscope image``."""

from __future__ import annotations


def image() -> None:
    """Draw."""
