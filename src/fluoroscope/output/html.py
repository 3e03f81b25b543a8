"""How activations show themselves in a notebook: plain HTML with PNGs inside, no script, nothing loaded.

Every text from a file is escaped. What is shown is bounded, so that a notebook stays a file one can open.
"""

from __future__ import annotations

from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from fluoroscope.drawing.style import Style
from fluoroscope.network.summary import kind_text, origin_text
from fluoroscope.output.captions import given_names, shape_caption
from fluoroscope.output.draw import draw_layer
from fluoroscope.output.png import EncodedImage, encode
from fluoroscope.output.typography import counted, number, numbers_in_runs, percent, speakable

if TYPE_CHECKING:
    from fluoroscope.activations import Activations, FeatureMap, FeatureMaps
    from fluoroscope.output.report import DrawnLayer

_LARGEST = 6_000_000
"""Bytes of PNG in one output; layers beyond are named but not shown."""

_CHANNEL_SIDE = 320
"""Pixels that one channel is shown in, at least one a value."""

_IMAGE_STYLE = "image-rendering:pixelated;max-width:100%;display:block;margin:4px 0"
_MUTED = "color:#777"


_WIDTH = 1000
"""Pixels of a sheet at most, where 4 maps a row allow it: a notebook would squeeze a wider one."""


def activations_html(acts: Activations) -> str:
    """The picture, the prediction, and every layer's sheet behind a line to open."""
    parts = [
        f"<div><b>{_text(given_names(acts.inputs))}</b> in <b>{_text(acts.network.name)}</b> "
        f"<span style='{_MUTED}'>({_text(origin_text(acts.network))})</span>",
    ]
    for fed in acts.inputs.values():
        parts += [
            _img(encode(_grey_or_rgb(fed.picture)), alt=f"{fed.name} as the network gets it"),
            f"<div style='{_MUTED}'>{_text('; '.join(fed.steps), 2000)}</div>",
        ]
    for name, values in acts.predictions.items():
        best = np.argsort(values)[::-1][:5]
        shown = ", ".join(f"[{int(index)}] {number(float(values[index]), 4)}" for index in best)
        parts.append(f"<div>prediction of {_text(name)}: {shown}</div>")
    left = _LARGEST
    for place, maps in enumerate(acts.values()):
        drawn = draw_layer(maps, _fitting(maps))
        body = drawn.image.png()
        if len(body) > left:
            inner = (
                f"<i>not shown here, to keep the notebook small: activations[{_text(repr(drawn.name))}]</i>"
            )
        else:
            left -= len(body)
            inner = _layer_body(drawn)
        open_ = " open" if place == 0 else ""
        parts.append(
            f"<details{open_}><summary>{_layer_line(drawn)}</summary>"
            f"<div style='margin-left:1em'>{inner}</div></details>"
        )
    for name, why in acts.skipped.items():
        parts.append(f"<div>{_text(name)} was not run: {_text(why)}</div>")
    return "".join(parts) + "</div>"


def maps_html(maps: FeatureMaps) -> str:
    """One layer's sheet."""
    drawn = draw_layer(maps, _fitting(maps))
    return f"<div>{_layer_line(drawn)}{_layer_body(drawn)}</div>"


def _fitting(maps: FeatureMaps) -> Style:
    """As many maps a row as fit a notebook's width at true pixels; small maps enlarged in whole steps."""
    width = maps.maps.shape[2]
    if maps.is_vector or maps.is_sequence:
        return Style()
    columns = min(16, max(4, (_WIDTH + 1) // (width + 1)))
    return Style(columns=columns, zoom=max(1, (_WIDTH // columns - 1) // (2 * width)))


def map_html(maps: FeatureMap) -> str:
    """One channel, enlarged, with its numbers."""
    parent = maps.parent[[maps.place]]
    name = f"<b>{_text(maps.name)}</b>"
    if parent.is_vector:
        return f"<div>{name} = {number(maps.values.item(), 6)}</div>"
    side = max(parent.maps.shape[1:])
    drawn = draw_layer(parent, Style(zoom=max(1, round(_CHANNEL_SIDE / side))))
    statistics = drawn.statistics
    numbers = (
        f"least {number(float(statistics.minimum[0]), 4)}, mean {number(float(statistics.mean[0]), 4)}, "
        f"greatest {number(float(statistics.maximum[0]), 4)}, active {percent(float(statistics.active[0]))}"
    )
    return f"<div>{name} <span style='{_MUTED}'>{numbers}</span>{_layer_body(drawn)}</div>"


def _layer_line(drawn: DrawnLayer) -> str:
    layer, statistics = drawn.layer, drawn.statistics
    facts = [_text(kind_text(layer)), _text(shape_caption(drawn)), _colours(drawn)]
    if drawn.vector is None:
        facts.append(f"{percent(statistics.sparsity)} zero or less")
    if drawn.vector is None and statistics.flat_count:
        facts.append(f"{statistics.flat_count} flat")
    if statistics.nonfinite_count:
        facts.append(f"{counted(statistics.nonfinite_count, 'channel')} with NaN or infinite values")
    return f"<b>{_text(drawn.name)}</b> <span style='{_MUTED}'>{' · '.join(facts)}</span>"


def _colours(drawn: DrawnLayer) -> str:
    """What the darkest and lightest colour stand for, in activation units."""
    low, high = drawn.limits.low, drawn.limits.high
    if drawn.limits.shared or drawn.vector is not None:
        return f"colours {number(float(low[0]), 3)} to {number(float(high[0]), 3)}"
    return "colours mean ± 2 std of each channel"


def _layer_body(drawn: DrawnLayer) -> str:
    if len(drawn.image.stream) > _LARGEST:
        return "<div><i>not shown here, to keep the notebook small: .save() writes it</i></div>"
    flat = [drawn.channels[i] for i in np.flatnonzero(drawn.statistics.flat)] if drawn.vector is None else []
    note = f"<div style='{_MUTED}'>flat: {numbers_in_runs(flat, 20)}</div>" if flat else ""
    return _img(drawn.image, alt=f"feature maps of {drawn.name}") + note


def _img(image: EncodedImage, *, alt: str) -> str:
    data = b64encode(image.png()).decode("ascii")
    return f"<img alt='{_text(alt)}' style='{_IMAGE_STYLE}' src='data:image/png;base64,{data}'>"


def _grey_or_rgb(picture: np.ndarray) -> np.ndarray:
    """``(h, w)`` or ``(h, w, 3)`` of a picture ``(h, w, 1 or 3)``."""
    return picture[..., 0] if picture.shape[2] == 1 else picture


def _text(text: str, limit: int = 300) -> str:
    return escape(speakable(text, limit), quote=True)
