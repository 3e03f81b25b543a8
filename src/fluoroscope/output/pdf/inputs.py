"""What the network was given, on the cover: a picture as read and as given, or all of several inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fluoroscope.images import Prepared
from fluoroscope.output.pdf.paper import Paper
from fluoroscope.output.png import encode
from fluoroscope.output.theme import MUTED

if TYPE_CHECKING:
    from fluoroscope.images import Fed

_PICTURE, _SMALL = 178.0, 76.0
"""Points of the longer side: of two side by side, of more than a row."""

_SPACE = 24.0
_ROW = _SMALL + 26 + 12
_COLUMNS, _MOST = 4, 8

_LARGEST_SHOWN = 720
"""Pixels of the longer side of the picture as read, on the cover: nearly 300 dpi."""

INPUTS_WIDTH = 2 * _PICTURE + _SPACE
"""Points across."""


def draw_inputs(paper: Paper, inputs: Mapping[str, Fed], x: float, y: float) -> None:
    """Draw them with their upper left corner at (x, y), `INPUTS_WIDTH` wide, 204 points high.

    Of more than eight inputs the first eight; all are listed beside.
    """
    if len(inputs) == 1:
        (fed,) = inputs.values()
        _draw_single(paper, fed, x, y)
        return
    columns = min(len(inputs), _COLUMNS)
    step = (INPUTS_WIDTH + _SPACE) / columns
    side = min(step - _SPACE, _SMALL) if len(inputs) > columns else step - _SPACE
    for place, (name, fed) in enumerate(list(inputs.items())[:_MOST]):
        caption = f"{_times(fed.values.shape)}, {fed.name}"
        left, top = x + place % columns * step, y + place // columns * _ROW
        _draw_box(paper, fed.picture, name, caption, left, top, side)


def _draw_single(paper: Paper, fed: Fed, x: float, y: float) -> None:
    shape = f"{_times(fed.values.shape)}, channels last"
    right = x + _PICTURE + _SPACE
    if not isinstance(fed, Prepared):
        _draw_box(paper, fed.picture, "As the network gets it", shape, x, y, INPUTS_WIDTH, high=_PICTURE)
        return
    before, reduced = _reduced(fed.image.levels(), _LARGEST_SHOWN)
    height, width = fed.image.pixels.shape[:2]
    shown = f", shown at 1/{reduced}" if reduced > 1 else ""
    _draw_box(paper, before, "The picture as read", f"{width} × {height} pixels{shown}", x, y, _PICTURE)
    _draw_box(paper, fed.picture, "As the network gets it", shape, right, y, _PICTURE)


def _draw_box(
    paper: Paper,
    pixels: NDArray[np.uint8],
    heading: str,
    caption: str,
    x: float,
    y: float,
    side: float,
    *,
    high: float | None = None,
) -> None:
    """A picture under its heading, as large as a box `side` wide and `high` (or as much) high allows."""
    paper.text(x, y + 8, heading, 9, bold=True, width=side)
    paper.text(x, y + 19, caption, 7.5, color=MUTED, width=side)
    rows, columns = pixels.shape[:2]
    scale = min(side / columns, (side if high is None else high) / rows)
    image = encode(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
    paper.image(image, x, y + 26, columns * scale, rows * scale)


def _reduced(pixels: NDArray[np.uint8], longest: int) -> tuple[NDArray[np.uint8], int]:
    """Pixels averaged over squares so that neither side is longer than `longest`; and the squares' side."""
    side = -(-max(pixels.shape[:2]) // longest)
    if side == 1:
        return pixels, 1
    from PIL import Image

    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).reduce(side)
    reduced = np.asarray(picture)
    return reduced.reshape(*reduced.shape[:2], pixels.shape[2]), side


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
