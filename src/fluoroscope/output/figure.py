"""Matplotlib figures, for those who want to go on in matplotlib. Without pyplot, and imported late."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fluoroscope.drawing.colormaps import palette
from fluoroscope.errors import MissingDependency, UsageError
from fluoroscope.output.draw import draw_sheet, scaling_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fluoroscope.activations import FeatureMap, FeatureMaps
    from fluoroscope.drawing.style import Style

_LONGEST_SIDE = 16.0
"""Inches, of the figure of a sheet."""


def map_figure(maps: FeatureMap, colormap: str | None = None) -> Figure:
    """One channel as ``pyplot.matshow`` draws it, with a colour bar in activation units.

    Parameters
    ----------
    colormap
        Name of a palette; viridis by default. Its ends are the channel's smallest and largest finite value;
        NaN is left blank.

    Raises
    ------
    UsageError
        A single value, which is no picture.
    MissingDependency
        Matplotlib is not installed.
    """
    values = maps.maps[0]
    if values.size == 1:
        raise UsageError(f"{maps.name} is the single value {values.item():.6g}: there is no picture of it.")
    statistics = maps.statistics
    height, width = values.shape
    # As matplotlib.figure.figaspect, within sides that a page can hold.
    aspect = float(np.clip(height / width, 0.2, 5))
    figure = _figure((4.8 * max(1.0, 1 / aspect) ** 0.5 + 1.2, 4.8 * max(1.0, aspect) ** 0.5))
    axes = figure.add_subplot()
    low, high = float(statistics.minimum[0]), float(statistics.maximum[0])
    image = axes.matshow(values, cmap=_colormap(colormap or "viridis"), vmin=low, vmax=high)
    note = ""
    if statistics.nonfinite[0]:
        note = f" — {int(statistics.nonfinite[0])} values NaN or infinite"
    elif statistics.flat[0]:
        note = f" — flat, all {low:.4g}"
    axes.set_title(f"{_plain(maps.name)}{note}")
    if low < high:
        figure.colorbar(image, ax=axes, label="activation")
    return figure


def maps_figure(maps: FeatureMaps, style: Style) -> Figure:
    """A layer's sheet with the number of each row's first channel.

    Raises
    ------
    MissingDependency
        Matplotlib is not installed.
    """
    sheet = draw_sheet(maps, style)
    height, width = sheet.indices.shape
    scale = _LONGEST_SIDE / max(height, width)
    figure = _figure((max(width * scale, 3), max(height * scale, 1.5) + 0.6))
    axes = figure.add_subplot()
    axes.imshow(sheet.rgb, interpolation="nearest")
    geometry = sheet.geometry
    rows = [sheet.box(row * geometry.columns) for row in range(geometry.rows)]
    axes.set_yticks(
        [box.top + box.height / 2 for box in rows],
        [
            str(maps.channels[row * geometry.columns]) if not maps.is_vector else str(row * geometry.columns)
            for row in range(geometry.rows)
        ],
    )
    axes.set_xticks([])
    axes.set_ylabel("first channel of the row")
    axes.set_title(f"{_plain(maps.name)}: {len(maps)} channels, {scaling_text(maps, style)}")
    return figure


def _figure(size: tuple[float, float]) -> Figure:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] != "matplotlib":
            raise
        raise MissingDependency(
            "A figure needs matplotlib: pip install 'fluoroscope[figure]'. "
            "Pictures without it: .sheet(), .save()."
        ) from missing

    class ShownFigure(Figure):
        """Shows itself in a notebook, which plain figures do only once pyplot is set up there."""

        def _repr_png_(self) -> bytes:
            stream = io.BytesIO()
            cast("Any", self).savefig(stream, format="png")
            return stream.getvalue()

    figure = ShownFigure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _colormap(name: str) -> Any:
    """Our palette as matplotlib's colour map."""
    from matplotlib.colors import ListedColormap

    return ListedColormap(palette(name) / 255, name=name)


def _plain(text: str) -> str:
    """Text that matplotlib takes as it is: a dollar sign would start a formula."""
    return text.replace("$", r"\$")
