"""Pooling over windows and over whole pictures, of any number of spatial axes."""

from __future__ import annotations

from typing import Literal

from fluoroscope.formats.keras_translate.builder import Value
from fluoroscope.formats.keras_translate.step import Step
from fluoroscope.formats.keras_translate.windows import PADDINGS, Window

Reduction = Literal["Average", "Max"]


def pooling(step: Step, rank: int, reduction: Reduction) -> Value:
    """MaxPooling*D and AveragePooling*D; padding is neither a maximum nor counted in a mean."""
    planes = step.planes(rank)
    options = step.options
    kernel = options.integers("pool_size", rank, default=2)
    window = Window(
        kernel=kernel,
        strides=kernel if options.raw("strides") is None else options.integers("strides", rank),
        dilations=(1,) * rank,
        padding=options.choice("padding", PADDINGS, default="valid"),
    )
    sizes, attributes = window.over(step, planes.sizes)
    if reduction == "Average":
        attributes["count_include_pad"] = 0
    return planes.value(step.node(f"{reduction}Pool", planes.tensor, **attributes), sizes=sizes)


def global_pooling(step: Step, rank: int, reduction: Reduction) -> Value:
    """GlobalMaxPooling*D and GlobalAveragePooling*D: one number a channel, with `keepdims` as a 1 x 1 map."""
    planes = step.planes(rank)
    keep = step.options.flag("keepdims", default=False)
    tensor = step.node(f"Global{reduction}Pool", planes.tensor)
    if keep:
        return planes.value(tensor, sizes=(1,) * rank)
    return Value(tensor=step.node("Flatten", tensor, axis=1), shape=(planes.channels,), channel=0)
