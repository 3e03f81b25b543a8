"""Pooling over windows and over whole pictures, of any number of spatial axes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from onnx import TensorProto

from fluoroscope.formats.keras.translate.builder import Mask, Value
from fluoroscope.formats.keras.translate.masking import effective
from fluoroscope.formats.keras.translate.step import Planes, Step
from fluoroscope.formats.keras.translate.windows import PADDINGS, Window

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
    """GlobalMaxPooling*D and GlobalAveragePooling*D: one number a channel, with `keepdims` as a 1 x 1 map.

    Of a sequence with steps to skip, GlobalAveragePooling1D takes the mean of the others.
    """
    planes = step.planes(rank)
    keep = step.options.flag("keepdims", default=False)
    mask = effective(step, step.value, 1) if rank == 1 and reduction == "Average" else None
    if mask is None:
        tensor = step.node(f"Global{reduction}Pool", planes.tensor)
    else:
        tensor = _mean_of_some(step, planes.tensor, mask)
    if keep:
        return planes.value(tensor, sizes=(1,) * rank)
    return Value(tensor=step.node("Flatten", tensor, axis=1), shape=(planes.channels,), channel=0)


def _mean_of_some(step: Step, tensor: str, mask: Mask) -> str:
    """The mean of ``(batch, channels, steps)`` over the steps that `mask` keeps; the steps become one."""
    if mask.rank != 1:
        step.unsupported("averages a sequence whose mask does not run along its steps alone")
    kept = step.node("Unsqueeze", mask.tensor, step.graph.integers([1]))
    values = step.node("Where", kept, tensor, step.graph.scalar(0.0))
    axes = step.graph.integers([2])
    count = step.node("ReduceSum", step.node("Cast", kept, to=TensorProto.FLOAT), axes)
    return step.node("Div", step.node("ReduceSum", values, axes), count)


def adaptive_pooling(step: Step, rank: int, reduction: Reduction) -> Value:
    """AdaptiveMaxPooling*D and AdaptiveAveragePooling*D: to `output_size`, whatever size comes in.

    Place `i` of `n` is made of pixels ``floor(i * size / n)`` up to, not including,
    ``ceil((i + 1) * size / n)``, along each axis by itself.
    """
    planes = step.planes(rank)
    target = step.options.integers("output_size", rank)
    if None in planes.sizes:
        step.needs_size(f"pools to {' x '.join(map(str, target))}")
    tensor = planes.tensor
    for axis, (size, count) in enumerate(zip(planes.sizes, target, strict=True)):
        step.allow_table(count)
        tensor = _adapted(step, planes, tensor, axis, size or 1, count, reduction)
    return planes.value(tensor, sizes=target)


def _adapted(
    step: Step, planes: Planes, tensor: str, axis: int, size: int, count: int, reduction: Reduction
) -> str:
    """One axis of `tensor`, from `size` to `count`.

    Windows are `least` or one more pixels wide. All windows of `least` are pooled; the wider ones take the
    two that they consist of, or (average) one of them and the pixel behind it.
    """
    starts = np.arange(count) * size // count
    ends = -(-np.arange(1, count + 1) * size // count)
    least = -(-size // count)
    rank = len(planes.sizes)
    kernel = [least if place == axis else 1 for place in range(rank)]
    strides = [least if place == axis and size % count == 0 else 1 for place in range(rank)]
    pooled = tensor
    if least > 1:
        pooled = step.node(f"{reduction}Pool", tensor, kernel_shape=kernel, strides=strides)
    if size % count == 0:
        return pooled
    first = step.node("Gather", pooled, step.constant(f"starts/{axis}", starts), axis=axis + 2)
    widths = ends - starts
    if (widths == least).all():
        return first
    if reduction == "Max":
        second = step.node("Gather", pooled, step.constant(f"seconds/{axis}", ends - least), axis=axis + 2)
        return step.node("Max", first, second)
    behind = step.node("Gather", tensor, step.constant(f"lasts/{axis}", ends - 1), axis=axis + 2)
    spread = (-1, *[1] * (rank - 1 - axis))
    share = (least / widths).astype(np.float32).reshape(spread)
    rest = np.where(widths > least, 1 / widths, 0).astype(np.float32).reshape(spread)
    return step.node(
        "Add",
        step.node("Mul", first, step.constant(f"shares/{axis}", share)),
        step.node("Mul", behind, step.constant(f"rests/{axis}", rest)),
    )
