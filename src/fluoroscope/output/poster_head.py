"""What stands over the poster: the picture, the answer, and how all is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fluoroscope.drawing.colormaps import palette
from fluoroscope.images import Prepared
from fluoroscope.network.summary import execution_text, origin_text
from fluoroscope.output.captions import given_names, scale_ticks, scaling_caption
from fluoroscope.output.lettering import Canvas
from fluoroscope.output.predictions import read_prediction
from fluoroscope.output.theme import ACCENT, INK, MUTED, WARNING, WASH
from fluoroscope.output.typography import counted, number, percent

if TYPE_CHECKING:
    from fluoroscope.images import Fed
    from fluoroscope.output.report import Report

LEAST_WIDTH = 1400
"""Pixels between the margins that the head needs."""

_HEIGHT = 450
_WIDE = 2400
"""A poster of twice as many pixels has a head of twice the size, and so on."""

_PICTURE = 300
_SPACE = 36
_ROW = 128
_LINE = 26


def head_height(width: int) -> int:
    """Pixels of the head of a poster so wide."""
    return _HEIGHT * _scale(width)


def draw_head(report: Report, width: int, margin: int, *, channels: int, layers: int) -> NDArray[np.uint8]:
    """The head as a picture.

    Parameters
    ----------
    width
        Of the poster; at least `LEAST_WIDTH` and twice the margin.
    margin
        Left and right of what is drawn.
    channels, layers
        How many follow.

    Returns
    -------
    array
        uint8 ``(head_height(width), width, 3)``.
    """
    scale = _scale(width)
    canvas = Canvas(width, head_height(width), scale)
    left, free = margin / scale, (width - 2 * margin) / scale
    canvas.text(left, 42, report.network.name, 46, bold=True, width=free)
    subtitle = (
        f"What its layers make of {given_names(report.inputs)}: "
        f"{counted(channels, 'channel')} of {counted(layers, 'layer')}"
    )
    canvas.text(left, 80, subtitle, 21, color=MUTED, width=free)
    canvas.box(left, 98, free, 2, INK)

    x = left
    for pixels, heading, caption in _shown(report.inputs):
        extent = canvas.text(x, _ROW, heading, 17, bold=True, width=_PICTURE)
        canvas.text(x + extent + 10, _ROW, caption, 14, color=MUTED, width=max(0, _PICTURE - extent - 10))
        canvas.pixels(x, _ROW + 14, _boxed(pixels, _PICTURE * scale))
        x += _PICTURE + _SPACE
    column = min((left + free - x - _SPACE) / 2, 640)
    y = _draw_drawing(canvas, report, x, _ROW, column, scale)
    _draw_skipped(canvas, report, x, y, column)
    _draw_answer(canvas, report, x + column + _SPACE, column)
    return canvas.array()


def _shown(inputs: Mapping[str, Fed]) -> list[tuple[NDArray[np.uint8], str, str]]:
    """Two pictures with a heading and a caption: before and after, or the first two of several inputs."""
    fed = next(iter(inputs.values()))
    if len(inputs) == 1 and isinstance(fed, Prepared):
        high, wide = fed.image.pixels.shape[:2]
        return [
            (fed.image.levels(), "As read", f"{wide} × {high} pixels"),
            (fed.picture, "As the network gets it", _times(fed.values.shape)),
        ]
    return [(fed.picture, name, _times(fed.values.shape)) for name, fed in list(inputs.items())[:2]]


def _steps(inputs: Mapping[str, Fed]) -> list[str]:
    """What there is room for of what was done to the inputs."""
    if len(inputs) == 1:
        return list(next(iter(inputs.values())).steps[-4:])
    return [f"{name}: {fed.steps[-1]}" for name, fed in list(inputs.items())[:4]]


def _times(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def _scale(width: int) -> int:
    return max(1, width // _WIDE)


def _draw_drawing(canvas: Canvas, report: Report, x: float, y: float, width: float, scale: int) -> float:
    style = report.style
    canvas.text(x, y, "How it is drawn", 17, bold=True)
    length = int(width * scale)
    bar = palette(style.palette)[np.arange(length) * 256 // length]
    canvas.pixels(x, y + 14, np.broadcast_to(bar, (16 * scale, length, 3)))
    lower, middle, upper = scale_ticks(style.scaling)
    canvas.text(x, y + 48, lower, 14, color=MUTED)
    canvas.text(x + width / 2, y + 48, middle, 14, color=MUTED, align="center")
    canvas.text(x + width, y + 48, upper, 14, color=MUTED, align="right")
    y += 48 + _LINE
    for line in (
        scaling_caption(style.scaling),
        f"{style.palette}, {style.columns} maps a row",
        origin_text(report.network),
        execution_text(report.network),
        *_steps(report.inputs),
    ):
        canvas.text(x, y, line, 14, color=MUTED, width=width)
        y += _LINE - 4
    return y


def _draw_skipped(canvas: Canvas, report: Report, x: float, y: float, width: float) -> None:
    """What is not shown, and the first remarks on the network, as far as there is room."""
    lines: list[str] = []
    if report.skipped:
        name, reason = next(iter(report.skipped.items()))
        lines.append(f"Not shown: {counted(len(report.skipped), 'layer')}, from {name}: {reason}")
    lines += report.network.provenance.notes
    room = max(1, int((_HEIGHT - y) // (_LINE - 4)))
    for place, line in enumerate(lines[:room]):
        canvas.text(x, y + place * (_LINE - 4), line, 14, color=WARNING, width=width)


def _draw_answer(canvas: Canvas, report: Report, x: float, width: float) -> None:
    rows = {layer.name: layer for layer in report.network.layers}
    for name, values in list(report.predictions.items())[:1]:
        prediction = read_prediction(rows[name], values, report.classes)
        probable = prediction.meaning != "numbers"
        extent = canvas.text(x, _ROW, "Prediction" if probable else "Output, no probabilities", 17, bold=True)
        canvas.text(x + extent + 10, _ROW, name, 14, color=MUTED, width=width - extent - 10)
        _draw_bars(canvas, prediction.top(8), x, _ROW + 34, width, probable=probable)


def _draw_bars(
    canvas: Canvas, rows: list[tuple[str, float]], x: float, y: float, width: float, *, probable: bool
) -> None:
    figures = [percent(value) if probable else number(value, 4) for _, value in rows]
    label_width = min(0.45 * width, 12 + max(canvas.measure(label, 16, bold=True) for label, _ in rows))
    bar = width - label_width - 16 - max(canvas.measure(figure, 16, bold=True) for figure in figures)
    finite = [value for _, value in rows if math.isfinite(value)]
    low, high = (0.0, 1.0) if probable else (min([0, *finite]), max([0, *finite]))
    span = (high - low) or 1.0
    for index, ((label, value), figure) in enumerate(zip(rows, figures, strict=True)):
        baseline, bold = y + index * (_LINE + 6), index == 0
        canvas.text(x, baseline, label, 16, bold=bold, width=label_width - 10)
        canvas.box(x + label_width, baseline - 15, bar, 18, WASH)
        if math.isfinite(value):
            start, end = sorted((-low / span, (value - low) / span))
            canvas.box(x + label_width + start * bar, baseline - 15, (end - start) * bar, 18, ACCENT)
        canvas.text(x + width, baseline, figure, 16, bold=bold, align="right")


def _boxed(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A picture whose longer side is `side`: reduced to it, or enlarged to it as far as whole steps go."""
    high, wide = pixels.shape[:2]
    factor = side // max(high, wide)
    if factor >= 1:
        return pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    from PIL import Image

    scale = side / max(high, wide)
    size = (max(1, round(wide * scale)), max(1, round(high * scale)))
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
    return np.asarray(image.resize(size, Image.Resampling.BOX)).reshape(size[1], size[0], pixels.shape[2])
