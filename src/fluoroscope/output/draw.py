"""From activations to drawn layers: statistics, limits, sheet and compression, several layers at once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fluoroscope.drawing.scaling import Limits, Scaling
from fluoroscope.drawing.sheet import Sheet
from fluoroscope.drawing.sheet import draw_sheet as sheet_of_maps
from fluoroscope.drawing.sheet import draw_vector as sheet_of_vector
from fluoroscope.drawing.style import Style
from fluoroscope.errors import UsageError
from fluoroscope.output.png import encode
from fluoroscope.output.report import DrawnLayer, Report
from fluoroscope.statistics.pooled import PooledStatistics

if TYPE_CHECKING:
    from fluoroscope.activations import Activations, FeatureMaps

_SCALING = tuple(field.name for field in fields(Scaling))
_STYLE = tuple(field.name for field in fields(Style))


def style_of(style: Style | None = None, **options: Any) -> Style:
    """A style with some of its fields, or its scaling's, given by name.

    >>> style_of(columns=8, scaling="minmax", scope="layer").scaling.scope
    'layer'

    Raises
    ------
    UsageError
        An option that neither has, or a value that means nothing.
    """
    style = style or Style()
    unknown = set(options) - {*_SCALING, *_STYLE}
    if unknown:
        raise UsageError(
            f"Drawing has no option {sorted(unknown)[0]!r}. There are {', '.join((*_STYLE, *_SCALING))}."
        )
    scaling = options.pop("scaling", None)
    if isinstance(scaling, str):
        if options.setdefault("method", scaling) != scaling:
            raise UsageError(
                f"scaling={scaling!r} and method={options['method']!r} contradict each other: give one."
            )
        scaling = None
    elif not isinstance(scaling, (Scaling, type(None))):
        raise UsageError(f"A scaling is one of its methods' names or a Scaling, not {scaling!r}.")
    chosen = {name: options.pop(name) for name in _SCALING if name in options}
    base = scaling or style.scaling
    if chosen:
        # Another method has limits of its own; those of a fixed scaling go with it.
        keep = {} if chosen.get("method", base.method) == base.method else {"low": None, "high": None}
        base = replace(base, **{**keep, **chosen})
    return replace(style, scaling=base, **options)


def draw_sheet(
    maps: FeatureMaps,
    style: Style,
    pooled: PooledStatistics | None = None,
    *,
    limits: Limits | None = None,
) -> Sheet:
    """One layer as a sheet.

    A vector is a strip of cells under one scale. A sequence has its steps along the row and a channel in each
    row, without gaps.

    Parameters
    ----------
    pooled
        Statistics of the whole network, for a scale over it; those of the layer if it is drawn by itself.
    limits
        Those of the channels, where they are known; by default what the scaling makes of `maps`.
    """
    limits = layer_limits(maps, style, pooled) if limits is None else limits
    if maps.is_vector:
        return sheet_of_vector(maps.maps[0, 0], _against_zero(maps, limits), style)
    if maps.is_sequence:
        style = replace(style, columns=1, gap=0)
    return sheet_of_maps(maps.maps, limits, style)


def layer_limits(maps: FeatureMaps, style: Style, pooled: PooledStatistics | None = None) -> Limits:
    """The limits of a layer's channels; `pooled` as in `draw_sheet`."""
    scaling = style.scaling
    if scaling.needs_pooled and pooled is None:
        pooled = maps.statistics.pooled(maps.maps if scaling.needs_histogram else None)
    return scaling.limits(maps.maps, maps.statistics, pooled)


def _against_zero(maps: FeatureMaps, limits: Limits) -> Limits:
    """A vector of a single value has no range of its own, but is not flat: it is drawn against zero."""
    if len(maps) > 1 or limits.scaled.all() or not np.isfinite(maps.maps).all():
        return limits
    value = np.array([maps.maps.item()])
    return Limits(
        np.minimum(value, 0.0),
        np.maximum(value, 0.0),
        flat=np.array([False]),
        nonfinite=np.zeros(1, np.int64),
        shared=limits.shared,
    )


def scaling_text(maps: FeatureMaps, style: Style) -> str:
    """How these maps are scaled, in words: the values of a vector share one scale."""
    scaling = style.scaling
    if maps.is_vector and scaling.scope == "channel":
        scaling = replace(scaling, scope="layer")
    return str(scaling)


def draw_layer(
    maps: FeatureMaps, style: Style, pooled: PooledStatistics | None = None, *, values: bool = False
) -> DrawnLayer:
    """One layer drawn and compressed.

    Parameters
    ----------
    values
        Keep the activation in the result.
    """
    sheet = draw_sheet(maps, style, pooled)
    return DrawnLayer(
        name=maps.name,
        number=maps.number,
        layer=maps.layer,
        channels=maps.channels,
        statistics=maps.statistics,
        limits=sheet.limits,
        image=encode(sheet.indices, sheet.palette),
        geometry=sheet.geometry,
        vector=maps.values.reshape(-1) if maps.is_vector else None,
        values=maps.values if values else None,
        tokens=maps.tokens if maps.values.ndim == 2 else None,
    )


def draw_layers(
    layers: Iterable[FeatureMaps],
    style: Style,
    pooled: PooledStatistics | None = None,
    *,
    values: bool = False,
    threads: int | None = None,
) -> Iterator[DrawnLayer]:
    """Layers drawn side by side on all cores, given back in order.

    NumPy and the compressor let go of the interpreter while they work. A few layers are drawn ahead of the
    one taken, no more, so that memory stays bounded.
    """
    threads = threads or os.cpu_count() or 1
    waiting: deque[Future[DrawnLayer]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for maps in layers:
                waiting.append(pool.submit(draw_layer, maps, style, pooled, values=values))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def pooled_statistics(sources: Iterable[Activations], scaling: Scaling) -> PooledStatistics | None:
    """What a scale over the whole network needs; None for any other scale."""
    if not scaling.needs_pooled:
        return None
    pooled = PooledStatistics()
    for acts in sources:
        for maps in acts.values():
            own = maps.statistics.pooled(maps.maps if scaling.needs_histogram else None)
            pooled = own if not pooled.count and not pooled.nonfinite else pooled.merge(own)
    return pooled


def report(
    sources: Iterable[Activations],
    style: Style,
    *,
    classes: Sequence[str] = (),
    count: int = 0,
    values: bool = False,
) -> Report:
    """Everything about one picture in one network, its layers drawn as they are taken.

    Parameters
    ----------
    sources
        The picture's activations, in parts; walked twice for a scale over the network.
    count
        Layers in all.
    values
        Keep the activations in the drawn layers.
    """
    pooled = pooled_statistics(sources, style.scaling)
    parts = iter(sources)
    first = next(parts)

    def layers() -> Iterator[DrawnLayer]:
        yield from draw_layers(first.values(), style, pooled, values=values)
        for acts in parts:
            yield from draw_layers(acts.values(), style, pooled, values=values)

    return Report(
        network=first.network,
        inputs=first.inputs,
        style=style,
        layers=layers(),
        count=count,
        predictions=first.predictions,
        classes=check_classes(classes, first),
        skipped=first.skipped,
    )


def check_classes(classes: Sequence[str], acts: Activations) -> tuple[str, ...]:
    """Class names, if there is one for each value of an output (a single value may have one or two).

    Raises
    ------
    UsageError
        When no output has as many values as there are names.
    """
    names = tuple(classes)
    sizes = {len(values) for values in acts.predictions.values()}
    if not names or len(names) in sizes or (1 in sizes and len(names) == 2):
        return names
    has = " or ".join(map(str, sorted(sizes))) or "no vector"
    raise UsageError(
        f"There are {len(names)} class names, but the network's output has {has} values. "
        "Give one name for each value, in its order."
    )
