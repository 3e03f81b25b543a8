"""One channel as a PNG, with a legend that tells the value of every colour."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import UsageError
from fluoroscope.files import check_suffix
from fluoroscope.output.draw import draw_sheet, layer_limits
from fluoroscope.output.png import encode
from fluoroscope.output.typography import REGULAR, SEMIBOLD, fitted, number, percent, printable, speakable

if TYPE_CHECKING:
    from fluoroscope.activations import FeatureMap
    from fluoroscope.drawing.sheet import Sheet
    from fluoroscope.drawing.style import Style

_SIDE = 512
"""Pixels of the map's longer side with a legend, at least; reached by a whole zoom."""

_MARGIN, _BAR, _TICK, _SIZE = 24, 22, 96, 15
_INK, _FAINT, _PAPER = (28, 32, 38), (110, 116, 124), (255, 255, 255)


def save_channel(
    maps: FeatureMap, path: str | os.PathLike[str], style: Style, *, legend: bool = True
) -> None:
    """Write the channel as a PNG.

    Parameters
    ----------
    style
        Its scaling and colour map. Its zoom is used as it is for bare pixels; with a legend the map is
        enlarged further, in whole steps, to be seen.
    legend
        The channel's name, a bar of colours with values in activation units, and its numbers around it.

    Raises
    ------
    UsageError
        A single value, which is no picture, or a name that does not end in ``.png``.
    """
    check_suffix(path, ".png", "A channel is saved as")
    parent = maps.parent[[maps.place]]
    if parent.is_vector:
        raise UsageError(
            f"{maps.name} is the single value {maps.values.item():.6g}: there is no picture of it. "
            "Leave the channel out for the whole vector."
        )
    if legend:
        side = max(parent.maps.shape[1:]) * style.zoom
        style = replace(style, zoom=style.zoom * max(1, -(-_SIDE // side)))
    limits = None
    if style.scaling.scope != "channel":
        # A scale over the layer is that of all its channels, not of the one that is drawn.
        limits = layer_limits(maps.parent, style)[maps.place : maps.place + 1]
    sheet = draw_sheet(parent, style, limits=limits)
    text = {"Software": "Fluoroscope", "Title": speakable(maps.name), "Description": str(style.scaling)}
    if not legend:
        encode(sheet.indices, sheet.palette).save(path, text)
        return
    encode(_with_legend(maps, sheet, style)).save(path, text)


def _with_legend(maps: FeatureMap, sheet: Sheet, style: Style) -> NDArray[np.uint8]:
    """RGB ``(height, width, 3)``: title above, colour bar at the right, numbers below."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = sheet.indices.shape
    top, below = _MARGIN + 2 * _SIZE, _MARGIN + 2 * _SIZE
    canvas = Image.new("RGB", (width + 3 * _MARGIN + _BAR + _TICK, height + top + below), _PAPER)
    draw = ImageDraw.Draw(canvas)
    bold = ImageFont.truetype(str(SEMIBOLD), _SIZE + 3)
    regular = ImageFont.truetype(str(REGULAR), _SIZE)

    def write(at: tuple[float, float], text: str, font: Any, colour: tuple[int, int, int]) -> None:
        room = canvas.width - at[0] - 4
        draw.text(at, fitted(printable(text), room, font.getlength), font=font, fill=colour, anchor="lm")

    write((_MARGIN, top / 2), maps.name, bold, _INK)
    canvas.paste(Image.fromarray(sheet.rgb), (_MARGIN, top))

    statistics = maps.statistics
    left = 2 * _MARGIN + width
    low, high = float(sheet.limits.low[0]), float(sheet.limits.high[0])
    if low < high:
        # The palette as it is meant: what a marker took from it is one level of 256.
        from fluoroscope.drawing.colormaps import palette

        rows = np.linspace(255.999, 0, height).astype(int)
        bar = np.repeat(palette(style.palette)[rows][:, None], _BAR, axis=1)
        canvas.paste(Image.fromarray(np.ascontiguousarray(bar)), (left, top))
        # As many as lie apart: a low map has a low bar.
        parts = next((count for count in (4, 2, 1) if height >= count * (_SIZE + 5)), 0)
        for share in (step / parts for step in range(parts + 1)) if parts else ():
            y = top + (1 - share) * (height - 1)
            draw.line((left + _BAR, y, left + _BAR + 5, y), fill=_INK)
            write((left + _BAR + 10, y), number(low + share * (high - low), 4), regular, _INK)
    elif statistics.flat[0]:
        write((left, top + height / 2), f"flat: all {number(float(statistics.minimum[0]), 4)}", regular, _INK)
    else:
        write((left, top + height / 2), "no finite value", regular, _INK)

    facts = (
        f"{' × '.join(map(str, maps.values.shape))} · {style.scaling} · "
        f"least {number(float(statistics.minimum[0]), 4)} · mean {number(float(statistics.mean[0]), 4)} · "
        f"greatest {number(float(statistics.maximum[0]), 4)} · active {percent(float(statistics.active[0]))}"
    )
    if statistics.nonfinite[0]:
        facts += f" · {int(statistics.nonfinite[0])} NaN or infinite"
    write((_MARGIN, top + height + below / 2), facts, regular, _FAINT)
    return np.asarray(canvas)
