"""What is said of a drawn layer, in words and numbers: the same in every document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fluoroscope.network.summary import kind_text, shape_text
from fluoroscope.output.typography import counted, number, numbers_in_runs, percent

if TYPE_CHECKING:
    from fluoroscope.drawing.scaling import Limits, Scaling
    from fluoroscope.images import Fed
    from fluoroscope.network.protocol import ReceptiveField
    from fluoroscope.output.report import DrawnLayer


def given_names(inputs: Mapping[str, Fed]) -> str:
    """What a network was given, by name: ``cat.png``; of several inputs ``left: cat.png, right: dog.png``."""
    if len(inputs) == 1:
        return next(iter(inputs.values())).name
    return ", ".join(f"{name}: {fed.name}" for name, fed in inputs.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNumbers:
    """A layer in numbers.

    Attributes
    ----------
    channels
        How many were drawn.
    flat
        Numbers of the channels without variation; none for a vector, whose channels are single values.
    nonfinite
        Numbers of the channels with NaN or infinite values.
    inactive
        Fraction of the finite values that are not above zero, 0..1; NaN without any.
    low, high
        Least and greatest finite value, in activation units; NaN without any.
    """

    channels: int
    flat: tuple[int, ...]
    nonfinite: tuple[int, ...]
    inactive: float
    low: float
    high: float


def layer_numbers(drawn: DrawnLayer) -> LayerNumbers:
    """The numbers of a drawn layer."""
    if drawn.vector is not None:
        finite = drawn.vector[np.isfinite(drawn.vector)]
        inactive = float(np.mean(finite <= 0)) if finite.size else float("nan")
        flat: tuple[int, ...] = ()
        broken = ~np.isfinite(drawn.vector)
        extremes = finite
    else:
        statistics = drawn.statistics
        inactive = statistics.sparsity
        flat = _chosen(drawn, statistics.flat)
        broken = statistics.nonfinite > 0
        extremes = np.concatenate([statistics.minimum, statistics.maximum])
        extremes = extremes[np.isfinite(extremes)]
    return LayerNumbers(
        channels=len(drawn.channels),
        flat=flat,
        nonfinite=_chosen(drawn, broken),
        inactive=inactive,
        low=float(extremes.min()) if extremes.size else float("nan"),
        high=float(extremes.max()) if extremes.size else float("nan"),
    )


def name_caption(drawn: DrawnLayer) -> str:
    """The layer's name; in quotation marks if nothing of it would be seen."""
    return drawn.name if drawn.name.strip() else repr(drawn.name)


def kind_caption(drawn: DrawnLayer) -> str:
    """``Conv2D + relu``; for a value before its activation ``Conv2D, before relu``."""
    layer = drawn.layer
    if drawn.name != layer.name and layer.activation:
        return f"{layer.kind}, before {layer.activation}"
    return kind_text(layer)


def shape_caption(drawn: DrawnLayer) -> str:
    """``148 × 148 × 32``: sizes that the file leaves open are known once it is drawn."""
    shape = drawn.layer.shape
    if None in shape and len(shape) == 3:
        shape = (drawn.geometry.height, drawn.geometry.width, shape[2])
    part = len(drawn.channels)
    text = shape_text(shape)
    if drawn.tokens is not None:
        grid = drawn.tokens
        text += f", tokens as {grid.height} × {grid.width}"
        text += f" and {grid.apart} apart" if grid.apart else ""
    return text if part == drawn.layer.channels else f"{text} ({part} of them)"


def facts(drawn: DrawnLayer, numbers: LayerNumbers) -> list[str]:
    """Short statements: channels, what is wrong with them, activity, range, what a value sees."""
    noun = "value" if drawn.vector is not None else "channel"
    said = [counted(numbers.channels, noun)]
    if numbers.flat:
        said.append(f"{len(numbers.flat):,} flat")
    if numbers.nonfinite:
        said.append(f"{len(numbers.nonfinite):,} not finite")
    if not np.isnan(numbers.inactive):
        said.append(f"{percent(numbers.inactive)} of values 0 or less")
        ends = number(numbers.low), number(numbers.high)
        said.append(f"values {ends[0]} to {ends[1]}" if ends[0] != ends[1] else f"all {ends[0]}")
    seen = field_caption(drawn.layer.receptive_field)
    if seen:
        said.append(f"each sees {seen}")
    return said


def field_caption(field: ReceptiveField | None) -> str:
    """``10 × 10 px, 2 apart``: what a value sees of the network's input; empty where it is not known."""
    if field is None or not (field.size or field.whole):
        return ""
    if field.whole:
        return "the whole picture"
    size = " × ".join(number(side, 4) for side in field.size)
    step = " × ".join(number(side, 4) for side in dict.fromkeys(field.stride))
    return f"{size} px, {step} apart"


def marked_channels(numbers: LayerNumbers, most: int = 40) -> list[tuple[str, str]]:
    """Name of the marker and a sentence, for flat and for non-finite channels, if there are any."""
    notes: list[tuple[str, str]] = []
    for marker, words, channels in (
        ("flat", "Flat (one value everywhere)", numbers.flat),
        ("nonfinite", "With NaN or infinite values", numbers.nonfinite),
    ):
        if channels:
            which = "all" if len(channels) == numbers.channels else numbers_in_runs(channels, most)
            notes.append((marker, f"{words}: {which}"))
    return notes


@dataclass(frozen=True, slots=True, kw_only=True)
class Legend:
    """What the colours of a layer mean.

    Attributes
    ----------
    ticks
        Labels at the lower end, in the middle and at the upper end of the palette.
    remark
        A sentence with the numbers behind them, in activation units.
    """

    ticks: tuple[str, str, str]
    remark: str


def scaling_caption(scaling: Scaling) -> str:
    """``zscore: mean ± 2 std, per channel``."""
    return str(scaling) if scaling.method == "fixed" else f"{scaling.method}: {scaling}"


def legend(scaling: Scaling, limits: Limits) -> Legend:
    """The legend of a layer drawn with `scaling`, which led to `limits`."""
    usable = np.isfinite(limits.low) & np.isfinite(limits.high)
    scaled = usable & limits.scaled
    if not scaled.any():
        return Legend(ticks=("", "", ""), remark="Nothing here has a range to scale by.")
    low, high = limits.low[scaled], limits.high[scaled]
    if limits.shared:
        ends = float(low[0]), float(high[0])
        return Legend(
            ticks=(number(ends[0]), number((ends[0] + ends[1]) / 2), number(ends[1])),
            remark=f"One scale for all: {_shared_phrase(scaling)}.",
        )
    return Legend(
        ticks=scale_ticks(scaling),
        remark=(
            f"Each channel has a scale of its own: from {_span(low)} (lowest colour) "
            f"to {_span(high)} (highest colour)."
        ),
    )


def scale_ticks(scaling: Scaling) -> tuple[str, str, str]:
    """What the lowest, the middle and the highest colour stand for, in words where the numbers differ."""
    lower, upper = scaling.percentiles
    if scaling.method == "fixed" and scaling.low is not None and scaling.high is not None:
        return number(scaling.low), number((scaling.low + scaling.high) / 2), number(scaling.high)
    return {
        "zscore": ("mean − 2 std", "mean", "mean + 2 std"),
        "percentile": (f"percentile {lower:g}", "midway", f"percentile {upper:g}"),
        "symmetric": ("− greatest magnitude", "0", "+ greatest magnitude"),
    }.get(scaling.method, ("least value", "midway", "greatest value"))


def _shared_phrase(scaling: Scaling) -> str:
    if scaling.method == "fixed":
        return str(scaling)
    # A vector has one scale also where maps have one each.
    whose = "network" if scaling.scope == "network" else "layer"
    return f"{str(scaling).removesuffix(f', per {scaling.scope}')} of the {whose}"


def _span(values: NDArray[np.float64]) -> str:
    low, high = number(float(values.min())), number(float(values.max()))
    return low if low == high else f"{low} … {high}"


def _chosen(drawn: DrawnLayer, mask: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(drawn.channels[index] for index in np.flatnonzero(mask).tolist())
