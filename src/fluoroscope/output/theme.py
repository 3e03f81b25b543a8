"""Colours of what is set around the pictures: red, green, blue, 0..1, in sRGB."""

from __future__ import annotations

Color = tuple[float, float, float]

INK: Color = (0.11, 0.13, 0.16)
MUTED: Color = (0.40, 0.44, 0.49)
RULE: Color = (0.84, 0.86, 0.88)
WASH: Color = (0.955, 0.962, 0.968)
PALE: Color = (0.66, 0.80, 0.82)
ACCENT: Color = (0.10, 0.42, 0.47)
WARNING: Color = (0.76, 0.28, 0.05)
PAPER: Color = (1.0, 1.0, 1.0)
