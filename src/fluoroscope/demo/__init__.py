"""The network and the picture that ship with Fluoroscope (credits: CREDITS.md beside them)."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def network_path() -> Path:
    """A small chest-X-ray network, a legacy Keras 2 ``.h5``. A demonstration, no diagnostic."""
    return _HERE / "chest_xray.h5"


def image_path() -> Path:
    """A chest X-ray (Kermany et al., CC BY 4.0)."""
    return _HERE / "person3_virus_16.jpeg"


def credits_path() -> Path:
    """Who took the picture, what the network was trained on, and how good it is; licences."""
    return _HERE / "CREDITS.md"


def classes() -> tuple[str, ...]:
    """Names of what the network tells apart."""
    return tuple((_HERE / "classes.txt").read_text("utf-8").splitlines())
