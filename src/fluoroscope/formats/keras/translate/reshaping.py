"""Layers that move values without changing them: reshape, permute, pad, crop, repeat."""

from __future__ import annotations

from typing import Any

from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.interpolation import INTERPOLATIONS
from fluoroscope.formats.keras.translate.options import brief
from fluoroscope.formats.keras.translate.resampling import resample
from fluoroscope.formats.keras.translate.step import Planes, Step, elements
from fluoroscope.network.protocol import Shape

_REST = 2**62
"""The end of a slice that goes on to the end of an axis of free size."""


def flatten(step: Step) -> Value:
    """Flatten: all axes to one, in channels-last order whatever `data_format` the model has."""
    value = step.value
    if step.options.data_format() == "channels_first" and value.rank > 1:
        # Keras brings (channels, height, width) to (height, width, channels) first.
        ordered = step.graph.in_keras_order(value)
        order = (0, *range(2, value.rank + 1), 1)
        tensor = step.node("Transpose", ordered.tensor, perm=order)
    else:
        tensor = step.graph.in_keras_order(value).tensor
    size = None if None in value.shape else elements(value.shape)
    return Value(tensor=step.node("Flatten", tensor, axis=1), shape=(size,), channel=0)


def reshape(step: Step) -> Value:
    """Reshape to `target_shape`, one size of which may be -1: what is left over."""
    value = step.graph.in_keras_order(step.value)
    given: Any = step.options.raw("target_shape")
    # A null stands for a free size, as -1 does.
    target = tuple(
        step.options.whole("target_shape", -1 if size is None else size, -1)
        for size in (given if isinstance(given, (list, tuple)) else [given])
    )
    if target.count(-1) > 1:
        step.damaged(f"has more than one -1 in target_shape={brief(given)}")
    known = elements(tuple(size for size in target if size != -1))
    shape: Shape = target
    if None in value.shape:
        shape = tuple(None if size == -1 else size for size in target)
    elif -1 in target:
        if not known or elements(value.shape) % known:
            step.damaged(f"cannot bring the shape {value.shape} to {brief(given)}")
        shape = tuple(elements(value.shape) // known if size == -1 else size for size in target)
    elif known != elements(value.shape):
        step.damaged(f"cannot bring the shape {value.shape} to {brief(given)}")
    sizes = step.graph.integers([0, *(-1 if size is None else size for size in shape)])
    return _reread(step, step.node("Reshape", value.tensor, sizes), shape)


def permute(step: Step) -> Value:
    """Permute: axis ``dims[i]`` (counted from 1) comes to place ``i``."""
    value = step.graph.in_keras_order(step.value)
    dims = step.options.integers("dims", value.rank)
    if sorted(dims) != list(range(1, value.rank + 1)):
        step.damaged(f"has dims={brief(dims)}, no order of {value.rank} axes")
    tensor = step.node("Transpose", value.tensor, perm=(0, *dims))
    return _reread(step, tensor, tuple(value.shape[axis - 1] for axis in dims))


def repeat_vector(step: Step) -> Value:
    """RepeatVector: a vector `n` times, one behind the other."""
    value, count = step.value, step.options.integer("n")
    if value.rank != 1:
        step.damaged(f"takes a vector, not a shape of {value.shape}")
    row = step.node("Unsqueeze", value.tensor, step.graph.integers([1]))
    tensor = step.node("Tile", row, step.graph.integers([1, count, 1]))
    return Value(tensor=tensor, shape=(count, *value.shape), channel=1)


def zero_padding(step: Step, rank: int) -> Value:
    """ZeroPadding1D, 2D, 3D."""
    planes = step.planes(rank)
    begins, ends = _borders(step, "padding", rank, default=1)
    sizes = _sizes(planes, [begin + end for begin, end in zip(begins, ends, strict=True)])
    pads = step.graph.integers((0, 0, *begins, 0, 0, *ends))
    return planes.value(step.node("Pad", planes.tensor, pads), sizes=sizes)


def cropping(step: Step, rank: int) -> Value:
    """Cropping1D, 2D, 3D."""
    planes = step.planes(rank)
    begins, ends = _borders(step, "cropping", rank, default=1 if rank == 1 else 0)
    sizes = _sizes(planes, [-begin - end for begin, end in zip(begins, ends, strict=True)])
    if any(size is not None and size < 1 for size in sizes):
        step.does_not_fit(f"crops all of a picture of {planes.sizes}")
    return planes.value(crop(step, planes, begins, [-end or _REST for end in ends]), sizes=sizes)


def crop(step: Step, planes: Planes, begins: list[int], ends: list[int]) -> str:
    """Pixels from `begins` to before `ends`, which count from the end when negative."""
    axes = step.graph.integers(range(2, len(begins) + 2))
    integers = step.graph.integers
    return step.node("Slice", planes.tensor, integers(begins), integers(ends), axes)


def up_sampling(step: Step, rank: int) -> Value:
    """UpSampling1D, 2D, 3D: every pixel `size` times, or (2D) interpolated.

    Interpolation is that of TensorFlow 2 and Keras since 2.4, with pixels' centres half a pixel from their
    edges. Keras 2.2 and 2.3 on TensorFlow 1 measured from edges, which no file tells.
    """
    planes = step.planes(rank)
    factors = step.options.integers("size", rank, default=2)
    method = "nearest"
    if rank == 2:
        method = step.options.choice("interpolation", INTERPOLATIONS, default="nearest")
    sizes = tuple(
        None if size is None else size * factor for size, factor in zip(planes.sizes, factors, strict=True)
    )
    return planes.value(resample(step, planes, sizes, method, factors=factors), sizes=sizes)


def _reread(step: Step, tensor: str, shape: Shape) -> Value:
    """A value whose channels lie where the layers that read it take them."""
    return Value(
        tensor=tensor, shape=shape, channel=0 if step.reader_format == "channels_first" else len(shape) - 1
    )


def _borders(step: Step, name: str, rank: int, *, default: int) -> tuple[list[int], list[int]]:
    """Pixels before and behind along each axis: one number for all, one an axis, or a pair an axis."""
    given: Any = step.options.raw(name, default)
    if rank == 1 and isinstance(given, (list, tuple)) and len(given) == 2:
        given = [given]
    pairs: list[list[Any]] = [
        list(entry) if isinstance(entry, (list, tuple)) else [entry, entry]
        for entry in (given if isinstance(given, (list, tuple)) else [given] * rank)
    ]
    if len(pairs) != rank or any(len(pair) != 2 for pair in pairs):
        step.damaged(f"has {name}={brief(given)}, not two numbers for each of {rank} axes")
    begins = [step.options.whole(name, pair[0], 0) for pair in pairs]
    ends = [step.options.whole(name, pair[1], 0) for pair in pairs]
    return begins, ends


def _sizes(planes: Planes, more: list[int]) -> Shape:
    return tuple(
        None if size is None else size + extra for size, extra in zip(planes.sizes, more, strict=True)
    )
