"""Layers that prepare pictures: rescale, normalize, resize, crop."""

from __future__ import annotations

import numpy as np

from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.core import unchanged
from fluoroscope.formats.keras.translate.interpolation import INTERPOLATIONS
from fluoroscope.formats.keras.translate.resampling import resample
from fluoroscope.formats.keras.translate.reshaping import crop
from fluoroscope.formats.keras.translate.step import Planes, Step
from fluoroscope.network.protocol import FloatArray

_SMALLEST_DEVIATION = 1e-7
"""Keras's epsilon: a deviation below it is taken as this much."""


def rescaling(step: Step) -> Value:
    """Rescaling: ``x * scale + offset``, each one number or one a channel."""
    value = step.value
    scale, offset = step.options.array("scale"), step.options.array("offset", default=0.0)
    scaled = step.node("Mul", value.tensor, _broadcast(step, value, "scale", scale))
    return step.like(value, step.node("Add", scaled, _broadcast(step, value, "offset", offset)))


def normalization(step: Step) -> Value:
    """Normalization: ``(x - mean) / sqrt(variance)`` along `axis`, or back again with `invert`.

    Mean and variance were either given as options or learned from data as variables.
    """
    value = step.value
    places = (
        ()
        if step.options.raw("axis", -1) in (None, [], ())
        else step.options.axes("axis", value.rank, default=-1)
    )
    places = tuple(sorted(places))
    sizes = tuple(value.shape[place] for place in places)
    if step.options.raw("mean") is not None:
        mean = _given(step, "mean", value, places)
        variance = _given(step, "variance", value, places)
    else:
        mean = value.aligned(step.variable("mean", sizes), places)
        variance = value.aligned(step.variable("variance", sizes), places)
    with np.errstate(invalid="ignore"):
        deviation = np.maximum(np.sqrt(variance), np.float32(_SMALLEST_DEVIATION))
    centre, spread = step.constant("mean", mean), step.constant("deviation", deviation)
    if step.options.flag("invert", default=False):
        return step.like(value, step.node("Add", step.node("Mul", value.tensor, spread), centre))
    return step.like(value, step.node("Div", step.node("Sub", value.tensor, centre), spread))


def resizing(step: Step) -> Value:
    """Resizing to `height` x `width`: stretched, or cropped or padded to the aspect ratio first."""
    planes = step.planes(2)
    options = step.options
    target = (options.integer("height"), options.integer("width"))
    method = options.raw("interpolation", "bilinear")
    method = method.lower() if isinstance(method, str) else method
    if method not in INTERPOLATIONS:
        options.unsupported("interpolation", f"Translated are {', '.join(sorted(INTERPOLATIONS))}.")
    crops = options.flag("crop_to_aspect_ratio", default=False)
    pads = options.flag("pad_to_aspect_ratio", default=False)
    if crops and pads:
        step.damaged("both crops and pads to the aspect ratio")
    options.choice("fill_mode", frozenset({"constant"}), default="constant")
    fill = options.number("fill_value", default=0.0)
    antialias = options.flag("antialias", default=False)
    if crops:
        planes = _largest_window(step, planes, target)
    elif pads:
        planes = _framed(step, planes, target, fill)
    tensor = resample(step, planes, target, method, antialias=antialias)
    return planes.value(tensor, sizes=target)


def center_crop(step: Step) -> Value:
    """CenterCrop: the middle `height` x `width`; a smaller picture is resized to it, its aspect kept."""
    planes = step.planes(2)
    height, width = target = (step.options.integer("height"), step.options.integer("width"))
    rows, columns = _known(step, planes)
    if rows < height or columns < width:
        return _smart_resize(step, planes, target)
    window = _cut(step, planes, (rows - height) // 2, (columns - width) // 2, target)
    return window.value(window.tensor)


def random_crop(step: Step) -> Value:
    """RandomCrop: outside training Keras 2 resizes, Keras from 3.7 on does nothing.

    What 3.0 to 3.6 did differs between them; only a picture that has the size already is the same for all.
    """
    planes = step.planes(2)
    target = (step.options.integer("height"), step.options.integer("width"))
    step.options.raw("seed")
    if planes.sizes == target or step.keras_version >= (3, 7):
        return unchanged(step)
    if step.keras_version >= (3, 0):
        step.unsupported("crops at random; what Keras 3.0 to 3.6 does then at inference is not translated")
    return _smart_resize(step, planes, target)


def _smart_resize(step: Step, planes: Planes, target: tuple[int, int]) -> Value:
    """The largest window of the target's aspect ratio, resized bilinearly: ``keras.utils.smart_resize``."""
    window = _largest_window(step, planes, target)
    return window.value(resample(step, window, target, "bilinear"), sizes=target)


def _largest_window(step: Step, planes: Planes, target: tuple[int, int]) -> Planes:
    """The middle of the picture, as large as it can be with the aspect ratio of `target`."""
    (rows, columns), (height, width) = _known(step, planes), target
    high, wide = max(min(rows, columns * height // width), 1), max(min(columns, rows * width // height), 1)
    return _cut(step, planes, (rows - high) // 2, (columns - wide) // 2, (high, wide))


def _framed(step: Step, planes: Planes, target: tuple[int, int], fill: float) -> Planes:
    """The picture with a frame of `fill` to the aspect ratio of `target`, as wide before as behind."""
    (rows, columns), (height, width) = _known(step, planes), target
    above = (max(rows, columns * height // width) - rows) // 2
    before = (max(columns, rows * width // height) - columns) // 2
    if not above and not before:
        return planes
    pads = step.graph.integers((0, 0, above, before, 0, 0, above, before))
    tensor = step.node("Pad", planes.tensor, pads, step.graph.scalar(fill))
    sizes = (rows + 2 * above, columns + 2 * before)
    return Planes(tensor=tensor, channels=planes.channels, sizes=sizes, data_format=planes.data_format)


def _cut(step: Step, planes: Planes, top: int, left: int, sizes: tuple[int, int]) -> Planes:
    """`sizes` pixels of the picture from (`top`, `left`) on."""
    if sizes == planes.sizes:
        return planes
    tensor = crop(step, planes, [top, left], [top + sizes[0], left + sizes[1]])
    return Planes(tensor=tensor, channels=planes.channels, sizes=sizes, data_format=planes.data_format)


def _known(step: Step, planes: Planes) -> tuple[int, int]:
    rows, columns = planes.sizes
    if rows is None or columns is None:
        step.needs_size("crops or pads to an aspect ratio")
    return rows, columns


def _given(step: Step, name: str, value: Value, places: tuple[int, ...]) -> FloatArray:
    """A mean or variance among the options: its axes are the last of the axes kept."""
    array = step.options.array(name)
    if array.ndim > len(places):
        step.damaged(f"has a {name} of {array.ndim} axes for {len(places)} axes of the picture")
    return _fitted(step, name, value, array, places[len(places) - array.ndim :])


def _broadcast(step: Step, value: Value, label: str, array: FloatArray) -> str:
    """A number for all, or numbers along the last axes of the shape; along the channels if only they fit."""
    if array.ndim > value.rank:
        step.damaged(f"has a {label} of {array.ndim} axes for a shape of {value.shape}")
    if array.ndim == 0:
        return step.graph.scalar(float(array))
    places = tuple(range(value.rank - array.ndim, value.rank))
    if array.ndim == 1 and value.shape[-1] != len(array) == value.shape[value.channel]:
        places = (value.channel,)
    return step.constant(label, _fitted(step, label, value, array, places))


def _fitted(step: Step, label: str, value: Value, array: FloatArray, places: tuple[int, ...]) -> FloatArray:
    for size, place in zip(array.shape, places, strict=True):
        if size not in (1, value.shape[place]):
            step.damaged(f"has {size} numbers as {label} for a shape of {value.shape}")
    return value.aligned(array, places)
