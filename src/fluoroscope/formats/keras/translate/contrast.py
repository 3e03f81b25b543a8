"""Layers that stretch the contrast of pictures."""

from __future__ import annotations

from typing import Any

from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.functions import clip
from fluoroscope.formats.keras.translate.options import brief
from fluoroscope.formats.keras.translate.step import Step

_WHITE = 255.0


def auto_contrast(step: Step) -> Value:
    """AutoContrast: each channel of each picture spread over the whole range, a flat one left as it is.

    Keras takes extremes along its first two axes, whatever `data_format` the model has.
    """
    value = step.value
    if value.rank != 3:
        step.damaged(f"takes pictures, not a shape of {value.shape}")
    step.options.raw("data_format")
    low, high = _range(step)
    x = value.tensor
    if (low, high) != (0.0, _WHITE):
        x = _moved(step, x, _WHITE / (high - low), -low * _WHITE / (high - low))
    axes = step.graph.integers(sorted(value.axis(place) for place in (0, 1)))
    least, most = (step.node(operator, x, axes) for operator in ("ReduceMin", "ReduceMax"))
    width = step.node("Sub", most, least)
    # Flat channels would divide by nothing; they are put back below.
    flat = step.node("Equal", width, step.graph.scalar(0.0))
    scale = step.node(
        "Div", step.graph.scalar(_WHITE), step.node("Where", flat, step.graph.scalar(1.0), width)
    )
    offset = step.node("Neg", step.node("Mul", least, scale))
    stretched = clip(step, step.node("Add", step.node("Mul", x, scale), offset), 0.0, _WHITE)
    if (low, high) != (0.0, _WHITE):
        stretched = _moved(step, stretched, (high - low) / _WHITE, low)
    return step.like(value, step.node("Where", flat, value.tensor, stretched))


def _moved(step: Step, x: str, factor: float, offset: float) -> str:
    return step.node("Add", step.node("Mul", x, step.graph.scalar(factor)), step.graph.scalar(offset))


def _range(step: Step) -> tuple[float, float]:
    """The least and the largest value that a picture can have."""
    given: Any = step.options.raw("value_range")
    if given is None:
        return 0.0, _WHITE
    array = step.options.array("value_range")
    if array.shape != (2,) or not array.min() < array.max():
        step.damaged(f"has value_range={brief(given)}, not two different numbers")
    return float(array.min()), float(array.max())
