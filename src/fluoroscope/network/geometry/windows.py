"""Operators that work in windows, or move the grid: convolution, pooling, resizing, padding, cropping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.network.folding import slice_bounds
from fluoroscope.network.geometry.fields import Axis, Context, Field
from fluoroscope.network.nodes import integer, integers, text

_LONGEST = 2**20
"""Axes longer than this are not walked along."""


def window(context: Context, fields: Sequence[Field]) -> Field | None:
    """Convolution and pooling: unit ``i`` takes ``i * stride - begin + tap * dilation``."""
    field = fields[0]
    setting = _kernel(context, fields)
    if setting is None:
        return None if field.axes else field
    spans, strides, pads = setting
    mode = text(context.node, "auto_pad", "NOTSET")
    axes: list[Axis] = []
    for axis in field.axes:
        span, stride, begin = (numbers[axis.position - 2] for numbers in (spans, strides, pads))
        out = context.extent(axis)
        if mode.startswith("SAME"):
            # With a free size the padding depends on it; that of a multiple of the stride is taken.
            free = axis.extent is None or out is None
            total = span + 1 - stride if free else (out - 1) * stride + span + 1 - axis.extent  # pyright: ignore
            begin = _begin(max(total, 0), mode)
        elif mode == "VALID":
            begin = 0
        axes.append(axis.behind(out, -begin, span - begin, stride))
    return replace(field, axes=tuple(axes))


def transposed_window(context: Context, fields: Sequence[Field]) -> Field | None:
    """Transposed convolution: unit ``o`` takes ``i`` if ``i * stride + tap * dilation = o + begin``."""
    field = fields[0]
    setting = _kernel(context, fields)
    if setting is None:
        return None if field.axes else field
    spans, strides, pads = setting
    mode = text(context.node, "auto_pad", "NOTSET")
    sized = integers(context.node, "output_shape") is not None or mode.startswith("SAME")
    extra = integers(context.node, "output_padding") or [0] * len(spans)
    axes: list[Axis] = []
    for axis in field.axes:
        span, stride, begin = (numbers[axis.position - 2] for numbers in (spans, strides, pads))
        out = context.extent(axis)
        if sized and axis.extent is not None and out is not None:
            begin = _begin(
                max((axis.extent - 1) * stride + span + 1 + extra[axis.position - 2] - out, 0), mode
            )
        elif sized:
            begin = _begin(max(span + 1 + extra[axis.position - 2] - stride, 0), mode)
        axes.append(axis.behind(out, (begin - span) / stride, begin / stride, 1 / stride))
    return replace(field, axes=tuple(axes))


def _begin(total: int, mode: str) -> int:
    """Padding before the first unit; the odd one goes behind only with SAME_UPPER."""
    return total // 2 if mode == "SAME_UPPER" else total - total // 2


def _kernel(context: Context, fields: Sequence[Field]) -> tuple[list[int], list[int], list[int]] | None:
    """Span between the first and the last tap, stride and padding before, for each axis it moves along.

    None where there is no map, or an axis of the picture is not one of those.
    """
    node, field, before = context.node, fields[0], context.before
    if not field.axes or len(fields) > 1 or before is None or min(field.positions) < 2:
        return None
    count = len(before) - 2
    sizes = integers(node, "kernel_shape")
    if sizes is None:
        place = 3 if node.op_type == "QLinearConv" else 1
        weights = context.shape(node.input[place]) if place < len(node.input) else None
        if weights is None or None in weights:
            return None
        sizes = [size for size in weights[2:] if size is not None]
    strides = integers(node, "strides") or [1] * count
    dilations = integers(node, "dilations") or [1] * count
    pads = integers(node, "pads") or [0] * (2 * count)
    if not len(sizes) == len(strides) == len(dilations) == len(pads) / 2 == count:
        return None
    return [(size - 1) * step for size, step in zip(sizes, dilations, strict=True)], strides, pads[:count]


def resize(context: Context, fields: Sequence[Field]) -> Field | None:
    """Resize and Upsample: the positions that each unit is interpolated from are counted out."""
    field, before, after = fields[0], context.before, context.after
    if not field.axes:
        return field
    if before is None or after is None or len(fields) > 1:
        return None
    given = _scales(context, len(before))
    axes: list[Axis] = []
    for axis in field.axes:
        extent, out = before[axis.position], after[axis.position]
        scale = given.get(axis.position) if given is not None else None
        if scale is None:
            if not extent or not out:
                return None
            scale = out / extent
        if scale == 1:
            axes.append(axis)
            continue
        if scale <= 0:
            return None
        # Of a free size some length is taken: the pattern repeats.
        length = extent or 64
        resized = out if out and extent else max(1, int(length * scale))
        sources = _sources(context, length, resized, scale) if max(length, resized) <= _LONGEST else None
        if sources is None:
            return None
        low, high, step = sources
        grid = np.arange(resized) * step
        axes.append(axis.behind(out, float((low - grid).min()), float((high - grid).max()), step))
    return replace(field, axes=tuple(axes))


def _scales(context: Context, rank: int) -> dict[int, float] | None:
    """Position -> scale, where the node states scales rather than sizes."""
    place = 2 if context.node.op_type == "Resize" and context.opset >= 11 else 1
    if context.given(3):
        return None
    value = context.value(place)
    listed = value.ravel().tolist() if value is not None else None
    if listed is None:
        # Upsample kept them in an attribute up to operator set 8.
        listed = next((list(a.floats) for a in context.node.attribute if a.name == "scales"), None)
    if not listed:
        return None
    positions = integers(context.node, "axes") or range(rank)
    return {position % rank: scale for position, scale in zip(positions, listed, strict=False)}


_Indices = NDArray[Any]


def _sources(
    context: Context, extent: int, out: int, scale: float
) -> tuple[_Indices, _Indices, float] | None:
    """First and last unit that each of `out` units is made of, and how far apart neighbours' are.

    In float32, as onnxruntime computes it: where rounding decides, it must decide the same way.
    """
    node = context.node
    mode = text(node, "mode", "nearest")
    old = node.op_type == "Upsample" or context.opset < 11
    transform = "asymmetric" if old else text(node, "coordinate_transformation_mode", "half_pixel")
    places, one = np.arange(out, dtype=np.float32), np.float32(1)
    ratio, step = np.float32(scale), 1 / scale
    if transform in ("half_pixel", "pytorch_half_pixel"):
        point = (places + one / 2) / ratio - one / 2
        if transform == "pytorch_half_pixel" and out == 1:
            point = places * 0
    elif transform == "half_pixel_symmetric":
        centre = np.float32(extent) / 2 * (1 - np.float32(out) / (ratio * np.float32(extent)))
        point = centre + (places + one / 2) / ratio - one / 2
    elif transform == "asymmetric":
        point = places / ratio
    elif transform == "tf_half_pixel_for_nn":
        point = (places + one / 2) / ratio
    elif transform == "align_corners":
        step = (extent - 1) / (out - 1) if out > 1 else 0.0
        point = places * np.float32(extent - 1) / np.float32(max(out - 1, 1))
    else:
        return None
    low, high = _neighbours(node, mode, point, scale, old)
    return np.clip(low, 0, extent - 1), np.clip(high, 0, extent - 1), step


def _neighbours(node: Any, mode: str, point: _Indices, scale: float, old: bool) -> tuple[_Indices, _Indices]:
    """First and last unit taken for each sampled point."""
    if mode == "nearest":
        rounding = "floor" if old and scale >= 1 else text(node, "nearest_mode", "round_prefer_floor")
        if old and scale < 1:
            rounding = "ceil"
        half = np.float32(0.5)
        rounded = {
            "round_prefer_floor": lambda: np.ceil(point - half),
            "round_prefer_ceil": lambda: np.floor(point + half),
            "floor": lambda: np.floor(point),
            "ceil": lambda: np.ceil(point),
        }[rounding]()
        return rounded, rounded
    reach = 1.0 if mode == "linear" else 2.0
    if integer(node, "antialias", 0):
        reach *= max(1.0, 1 / scale)
        # At its very end the weight is 0.
        return np.floor(point - reach) + 1, np.ceil(point + reach) - 1
    first = np.floor(point)
    between = point > first
    return np.where(between, first - (reach - 1), first), np.where(between, first + reach, first)


def pad(context: Context, fields: Sequence[Field]) -> Field | None:
    """Pad, and crop where a number is negative."""
    field, before = fields[0], context.before
    if not field.axes:
        return field
    value = context.value(1)
    values = integers(context.node, "pads") if not context.given(1) else None
    if value is not None:
        values = value.ravel().tolist()
    if values is None or before is None:
        return None
    listed = context.value(3)
    if context.given(3) and listed is None:
        return None
    positions = (
        [position % len(before) for position in listed.tolist()] if listed is not None else range(len(before))
    )
    begins = dict(zip(positions, values, strict=False))
    return replace(
        field,
        axes=tuple(
            axis.behind(context.extent(axis), -begins.get(axis.position, 0), -begins.get(axis.position, 0), 1)
            for axis in field.axes
        ),
    )


def crop(context: Context, fields: Sequence[Field]) -> Field | None:
    """Slice, forwards."""
    field, before = fields[0], context.before
    if not field.axes:
        return field if field.whole else None
    if before is None or len(fields) > 1:
        return None
    bounds = slice_bounds(
        context.node, [context.value(place) for place in range(len(context.node.input))], len(before)
    )
    if bounds is None:
        return None
    axes: list[Axis] = []
    for axis in field.axes:
        part = bounds.get(axis.position, slice(None))
        start, step = part.start or 0, part.step or 1
        if step < 1 or (axis.extent is None and start < 0):
            return None
        if axis.extent is not None:
            start = part.indices(axis.extent)[0]
        axes.append(axis.behind(context.extent(axis), start, start, step))
    return replace(field, axes=tuple(axes))


def depth_to_space(context: Context, fields: Sequence[Field]) -> Field | None:
    """Each unit becomes a block of units: unit ``o`` takes ``floor(o / block)``."""
    field, block = fields[0], integer(context.node, "blocksize", 1)
    if field.axes and field.positions != (2, 3):
        return None
    axes = tuple(axis.behind(context.extent(axis), 1 / block - 1, 0, 1 / block) for axis in field.axes)
    return replace(field, axes=axes)


def space_to_depth(context: Context, fields: Sequence[Field]) -> Field | None:
    """A block of units becomes channels of one."""
    field, block = fields[0], integer(context.node, "blocksize", 1)
    if field.axes and field.positions != (2, 3):
        return None
    axes = tuple(axis.behind(context.extent(axis), 0, block - 1, block) for axis in field.axes)
    return replace(field, axes=axes)
