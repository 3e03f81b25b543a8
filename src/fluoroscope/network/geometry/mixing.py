"""Operators that leave the grid as it is, mix along whole axes, or take the grid apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.network.geometry.fields import IRREGULAR, WHOLE, Axis, Context, Field
from fluoroscope.network.nodes import integer, integers


def elementwise(context: Context, fields: Sequence[Field]) -> Field | None:
    """Element by element, with broadcasting: the union of what the operands see."""
    mapped = [_aligned(context, name, field) for name, field in zip(context.names, fields, strict=True)]
    mapped = [field for field in mapped if field is not None and field.axes]
    if not mapped:
        return WHOLE if any(field.whole for field in fields) else IRREGULAR
    if not all(field.regular for field in fields):
        return IRREGULAR
    if len(mapped) != sum(bool(field.axes) for field in fields):
        return None
    if len({field.positions for field in mapped}) > 1:
        return None
    whole = any(field.whole for field in fields)
    axes: list[Axis] = []
    for same in zip(*(field.axes for field in mapped), strict=True):
        # A unit that is spread over a longer axis sees the same from every place.
        long = [axis for axis in same if axis.extent != 1] or list(same)
        if not all(axis.covers for axis in same if axis not in long):
            return None
        whole = whole or len(long) < len(same)
        # One unit alone has no stride.
        strides = {axis.stride for axis in long if axis.extent != 1} or {long[0].stride}
        if len(strides) > 1:
            return None
        start = min(axis.offset for axis in long)
        end = max(axis.offset + axis.size for axis in long)
        axes.append(replace(long[0], offset=start, size=end - start))
    return Field(tuple(axes), whole=whole)


def first_only(context: Context, fields: Sequence[Field]) -> Field | None:
    """Element by element on the first input; the others are parameters."""
    return fields[0] if len(fields) == 1 else None


def concatenate(context: Context, fields: Sequence[Field]) -> Field | None:
    """Along the channels as `elementwise`; along the picture no stride describes what comes out."""
    after = context.after
    if after is None:
        return None
    axis = integer(context.node, "axis", 1) % len(after)
    if any(axis in field.positions for field in fields):
        return None
    return elementwise(context, fields)


def _aligned(context: Context, name: str, field: Field) -> Field | None:
    """The field with its positions counted in the result: broadcasting aligns the last axes."""
    before, after = context.shape(name), context.after
    if before is None or after is None:
        return None
    shift = len(after) - len(before)
    return replace(field, axes=tuple(replace(axis, position=axis.position + shift) for axis in field.axes))


def transpose(context: Context, fields: Sequence[Field]) -> Field | None:
    """Axes change places."""
    field, after = fields[0], context.after
    if not field.axes:
        return field
    if after is None:
        return None
    order = integers(context.node, "perm") or list(range(len(after)))[::-1]
    if not set(field.positions) <= set(order):
        return None
    moved = (replace(axis, position=order.index(axis.position)) for axis in field.axes)
    return replace(field, axes=tuple(sorted(moved, key=lambda axis: axis.position)))


def rearrange(context: Context, fields: Sequence[Field]) -> Field | None:
    """Reshape, Flatten, Squeeze, Unsqueeze.

    Axes before the first and behind the last size that changes are the same axes after it, whatever axes of
    length 1 come or go between them. Where the picture's are not among them, single values keep their boxes,
    but no stride describes them.
    """
    field, before, after = fields[0], context.before, context.after
    if len(fields) > 1 or not field.axes:
        return field if len(fields) == 1 else None
    if before is None or after is None:
        return IRREGULAR
    places = _same_places(before, after)
    axes: list[Axis] = []
    for axis in field.axes:
        if axis.position in places:
            axes.append(replace(axis, position=places[axis.position]))
        elif not axis.covers:
            return IRREGULAR
    # What is dropped without a trace is an axis with one unit, which sees all of it.
    return replace(field, axes=tuple(axes)) if axes else WHOLE


_Sizes = Sequence[int | None]


def _same_places(before: _Sizes, after: _Sizes) -> dict[int, int]:
    """Position before -> position after, of the axes that a reshape leaves as they are."""
    old, new = range(len(before)), range(len(after))
    places: dict[int, int] = {}
    for ones in (True, False):
        kept_old = [place for place in old if ones or before[place] != 1]
        kept_new = [place for place in new if ones or after[place] != 1]
        for order in (1, -1):
            for one, other in zip(kept_old[::order], kept_new[::order], strict=False):
                if before[one] is None or before[one] != after[other]:
                    break
                places[one] = other
    return places


def broadcast(context: Context, fields: Sequence[Field]) -> Field | None:
    """Expand and Tile: where the picture's axes stay as long as they are."""
    field, before, after = fields[0], context.before, context.after
    if not field.axes:
        return field
    if before is None or after is None:
        return None
    shift = len(after) - len(before)
    if any(before[place] is None or before[place] != after[place + shift] for place in field.positions):
        return None
    return replace(field, axes=tuple(replace(axis, position=axis.position + shift) for axis in field.axes))


def gather(context: Context, fields: Sequence[Field]) -> Field | None:
    """Some of the channels, or rows or columns as a resizing picks them."""
    field, before, after = fields[0], context.before, context.after
    if len(fields) > 1 or before is None or after is None or context.names[0] != context.node.input[0]:
        return None
    axis = integer(context.node, "axis", 0) % len(before)
    if axis in field.positions:
        picked = context.weight(1)
        if picked is None or picked.ndim != 1 or (np.diff(picked) < 0).any():
            return None
        return _resampled(field, axis, picked, picked)
    if not field.axes:
        return WHOLE if field.whole and not field.axes else None
    shift = len(after) - len(before)
    return replace(
        field,
        axes=tuple(
            replace(own, position=own.position + (shift if own.position > axis else 0)) for own in field.axes
        ),
    )


def split(context: Context, fields: Sequence[Field]) -> Field | None:
    """Some of the channels, to each output."""
    field, before = fields[0], context.before
    if not field.axes:
        return field if field.whole else None
    if before is None or integer(context.node, "axis", 0) % len(before) in field.positions:
        return None
    return field


def everything(context: Context, fields: Sequence[Field]) -> Field | None:
    """Global pooling: all places at once."""
    return WHOLE if len(fields) == 1 and fields[0].regular else None


def dense(context: Context, fields: Sequence[Field]) -> Field | None:
    """Gemm: all values of a vector at once."""
    return WHOLE if len(fields) == 1 else None


def matrix(context: Context, fields: Sequence[Field]) -> Field | None:
    """MatMul with weights over one axis: a map's places stay, a vector's all mix."""
    field, before = fields[0], context.before
    if len(fields) > 1 or before is None:
        return IRREGULAR
    if not field.axes:
        return WHOLE if field.whole or len(before) == 2 else IRREGULAR
    left = context.names[0] == context.node.input[0]
    mixed = len(before) - (1 if left else 2)
    if mixed not in field.positions:
        return field if left and len(before) > 2 else None
    weights = context.weight(1 if left else 0)
    if weights is not None and weights.ndim == 2 and weights.any(0 if left else 1).all():
        used = (weights.T if left else weights) != 0
        first, last = used.argmax(1), used.shape[1] - 1 - used[:, ::-1].argmax(1)
        if first.any() or (last < used.shape[1] - 1).any():
            return _resampled(field, mixed, first, last)
    return WHOLE if len(field.axes) == 1 else None


def _resampled(field: Field, position: int, first: NDArray[Any], last: NDArray[Any]) -> Field | None:
    """Behind a choice along one axis: unit ``i`` takes units ``first[i]`` to ``last[i]``, about evenly."""
    axes: list[Axis] = []
    for axis in field.axes:
        if axis.position == position:
            if not axis.extent or not first.size:
                return None
            step = axis.extent / first.size
            grid = np.arange(first.size) * step
            low, high = (first % axis.extent - grid).min(), (last % axis.extent - grid).max()
            axis = axis.behind(first.size, float(low), float(high), step)
        axes.append(axis)
    return replace(field, axes=tuple(axes))


def reduce(context: Context, fields: Sequence[Field]) -> Field | None:
    """Mean, sum, extremes over some axes."""
    field, before = fields[0], context.before
    if before is None or len(fields) > 1:
        return None
    if not field.axes:
        return WHOLE if field.whole else None
    over = _reduced_axes(context, len(before))
    if over is None:
        return None
    lost = set(field.positions) & set(over)
    if lost:
        return WHOLE if len(lost) == len(field.axes) else None
    if integer(context.node, "keepdims", 1):
        return field
    return replace(
        field,
        axes=tuple(
            replace(axis, position=axis.position - sum(place < axis.position for place in over))
            for axis in field.axes
        ),
    )


def _reduced_axes(context: Context, rank: int) -> list[int] | None:
    """Positions reduced over; None where they are computed."""
    if context.node.op_type in ("ArgMax", "ArgMin"):
        return [integer(context.node, "axis", 0) % rank]
    listed = context.value(1)
    if context.given(1) and listed is None:
        return None
    axes = listed.ravel().tolist() if listed is not None else integers(context.node, "axes")
    if not axes:
        return [] if integer(context.node, "noop_with_empty_axes", 0) else list(range(rank))
    return [axis % rank for axis in axes]


def along_axis(context: Context, fields: Sequence[Field]) -> Field | None:
    """Softmax and its like: values that share the axis see each other.

    Up to operator set 12 it was all axes from that one on.
    """
    before = context.before
    if before is None:
        return None
    old = context.opset < 13 and context.node.op_type != "LpNormalization"
    axis = integer(context.node, "axis", 1 if old else -1) % len(before)
    return _mixed(context, fields, range(axis, len(before)) if old else [axis])


def from_axis(context: Context, fields: Sequence[Field]) -> Field | None:
    """LayerNormalization: over an axis and all behind it."""
    before = context.before
    if before is None:
        return None
    return _mixed(context, fields, range(integer(context.node, "axis", -1) % len(before), len(before)))


def over_places(context: Context, fields: Sequence[Field]) -> Field | None:
    """Instance and group normalization: over all places of a picture."""
    before = context.before
    return None if before is None else _mixed(context, fields, range(2, len(before)))


def over_axes(context: Context, fields: Sequence[Field]) -> Field | None:
    """MeanVarianceNormalization: over the axes it lists."""
    return _mixed(context, fields, integers(context.node, "axes") or [0, 2, 3])


def _mixed(context: Context, fields: Sequence[Field], over: Sequence[int]) -> Field | None:
    """Values keep their places, but see all others along some axes."""
    field, before = fields[0], context.before
    if len(fields) > 1 or before is None:
        return None
    if not field.axes:
        return WHOLE if field.whole or len(before) == 2 else IRREGULAR
    return replace(field, whole=field.whole or any(place in over for place in field.positions))
