"""Functions on pictures: convolution, pooling, resizing, patches, blocks, colours; and normalizations.

Most are what a layer does too: they are that layer, its options taken from the arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fluoroscope.formats.keras.translate import (
    activations,
    convolution,
    functions,
    normalization,
    pooling,
    preprocessing,
)
from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.operations.call import Call, Result
from fluoroscope.formats.keras.translate.options import brief
from fluoroscope.formats.keras.translate.resampling import GRIDS, resample
from fluoroscope.formats.keras.translate.step import Step

Function = Callable[[Call], Result]

_GREY = (0.2989, 0.5870, 0.1140)
"""Of red, green and blue: ITU-R BT.601, as TensorFlow and Keras round it."""


def _as_layer(
    call: Call,
    kind: str,
    translate: Callable[[Step], Value | tuple[Value, ...]],
    config: Mapping[str, Any],
    value: Value,
    weights: Mapping[str, NDArray[Any]] | None = None,
) -> Value:
    """What a layer of this config makes of the value."""
    step = call.step.within(kind, config, value, weights or {})
    made = translate(step)
    assert isinstance(made, Value)
    return made


def _data_format(call: Call) -> str:
    """``channels_last`` or ``channels_first``, which TensorFlow calls ``NHWC`` and ``NCHW``."""
    given = call.text("data_format", "channels_last")
    first = given == "channels_first" or given.startswith("NC")
    if not first and given != "channels_last" and not (given[:1] == "N" and given[-1:] == "C"):
        call.unsupported(f"has data_format={given[:40]!r}, which has no translation")
    return "channels_first" if first else "channels_last"


def _window(call: Call, name: str, rank: int, default: int = 1) -> list[int]:
    """Sizes along the spatial axes: one for all, one each, or one each with batch and channels around."""
    found = call.integers(name)
    if found is None:
        return [default] * rank
    if len(found) == 1:
        return found * rank
    if len(found) == rank + 2:
        first = _data_format(call) == "channels_first"
        spatial, rest = (found[2:], found[:2]) if first else (found[1:-1], [found[0], found[-1]])
        if rest != [1, 1]:
            call.unsupported(f"has {name}={brief(found)}, over batch or channels, which has no translation")
        return spatial
    if len(found) != rank:
        call.unsupported(f"has {name}={brief(found)} for {rank} axes")
    return found


def _padding(call: Call, default: str = "valid") -> str:
    padding = call.raw("padding", default)
    if not isinstance(padding, str):
        call.unsupported("pads by explicit numbers, which has no translation: a ZeroPadding layer has one")
    return padding.lower()


def pooled(reduction: pooling.Reduction) -> Function:
    """max_pool, average_pool."""

    def function(call: Call) -> Result:
        value = call.value("inputs")
        rank = value.rank - 1
        pool = _window(call, "pool_size", rank)
        config: dict[str, Any] = {
            "pool_size": pool,
            "strides": pool if call.raw("strides") is None else _window(call, "strides", rank),
            "padding": _padding(call),
            "data_format": _data_format(call),
        }
        translate = partial(pooling.pooling, rank=rank, reduction=reduction)
        return _as_layer(call, f"{reduction}Pooling{rank}D", translate, config, value)

    return function


def _kernel(call: Call, name: str, rank: int) -> NDArray[Any]:
    kernel = call.known(name)
    if kernel is None or kernel.ndim != rank + 2:
        call.unsupported(f"has a {name} of other than {rank + 2} axes")
    return kernel.astype(np.float32)


def _convolution(call: Call, rank: int, kernel: NDArray[Any]) -> dict[str, Any]:
    return {
        "kernel_size": list(kernel.shape[:rank]),
        "strides": _window(call, "strides", rank),
        "padding": _padding(call),
        "data_format": _data_format(call),
        "dilation_rate": _window(call, "dilation_rate", rank),
        "use_bias": False,
    }


def convolved(call: Call) -> Result:
    """conv: with a kernel ``(*spatial, in, out)`` of numbers."""
    value = call.value("inputs")
    rank = value.rank - 1
    kernel = _kernel(call, "kernel", rank)
    channels = value.shape[0 if _data_format(call) == "channels_first" else -1] or 0
    groups, rest = divmod(channels, kernel.shape[-2]) if kernel.shape[-2] else (0, 1)
    if rest or groups < 1:
        call.unsupported(f"has a kernel of shape {kernel.shape} for {channels} channels")
    config = _convolution(call, rank, kernel) | {"filters": kernel.shape[-1], "groups": groups}
    translate = partial(convolution.convolution, rank=rank)
    return _as_layer(call, f"Conv{rank}D", translate, config, value, {"kernel": kernel})


def depthwise_convolved(call: Call) -> Result:
    """depthwise_conv: with a kernel ``(*spatial, in, multiplier)``."""
    value = call.value("inputs")
    rank = value.rank - 1
    kernel = _kernel(call, "kernel", rank)
    config = _convolution(call, rank, kernel) | {"depth_multiplier": kernel.shape[-1]}
    translate = partial(convolution.depthwise_convolution, rank=rank)
    return _as_layer(call, f"DepthwiseConv{rank}D", translate, config, value, {"kernel": kernel})


def separably_convolved(call: Call) -> Result:
    """separable_conv: depthwise, then 1 x 1."""
    value = call.value("inputs")
    rank = value.rank - 1
    kernel, point = _kernel(call, "depthwise_kernel", rank), _kernel(call, "pointwise_kernel", rank)
    config = _convolution(call, rank, kernel)
    config |= {"depth_multiplier": kernel.shape[-1], "filters": point.shape[-1]}
    translate = partial(convolution.separable_convolution, rank=rank)
    weights = {"depthwise_kernel": kernel, "pointwise_kernel": point}
    return _as_layer(call, f"SeparableConv{rank}D", translate, config, value, weights)


def conv_transposed(call: Call) -> Result:
    """conv_transpose: with a kernel ``(*spatial, out, in)``."""
    value = call.value("inputs")
    rank = value.rank - 1
    kernel = _kernel(call, "kernel", rank)
    config = _convolution(call, rank, kernel) | {"filters": kernel.shape[-2]}
    if call.raw("output_padding") is not None:
        config["output_padding"] = _window(call, "output_padding", rank)
    translate = partial(convolution.transposed_convolution, rank=rank)
    return _as_layer(call, f"Conv{rank}DTranspose", translate, config, value, {"kernel": kernel})


def bias_add(call: Call) -> Result:
    """One number a channel."""
    value, bias = call.value("value"), call.known("bias")
    place = 0 if _data_format(call) == "channels_first" else value.last
    if bias is None or bias.shape != (value.shape[place],):
        call.unsupported(f"adds a bias that does not fit the shape {value.shape}")
    tensor = call.step.constant("bias", value.aligned(bias.astype(np.float32), [place]))
    return call.step.like(value, call.step.node("Add", value.tensor, tensor))


def soft_max(operator: str) -> Function:
    """softmax, log_softmax along one axis; softmax also along several."""

    def function(call: Call) -> Result:
        value = call.value("x")
        places = call.places("axis", value, default=[-1])
        if operator == "Softmax":
            config = {"axis": [place + 1 for place in places]}
            return _as_layer(call, "Softmax", activations.softmax_layer, config, value)
        if len(places) != 1:
            call.unsupported("takes the logarithm of a softmax over several axes, which has no translation")
        return functions.along(operator, call.step, value, place=places[0])

    return function


def on_last_axis(name: str) -> Function:
    """glu and sparsemax, which are translated along the last axis."""

    def function(call: Call) -> Result:
        value = call.value("x")
        if call.places("axis", value, default=[-1]) != (value.last,):
            call.unsupported("works along another axis than the last, which has no translation")
        return functions.NAMED[name](call.step, value)

    return function


def depth_to_space(call: Call) -> Result:
    """Channels to blocks of pixels."""
    planes, block = _blocks(call)
    if planes.channels % block**2:
        call.unsupported(f"makes blocks of {block} x {block} of {planes.channels} channels")
    sizes = tuple(None if size is None else size * block for size in planes.sizes)
    tensor = call.step.node("DepthToSpace", planes.tensor, blocksize=block, mode="DCR")
    return planes.value(tensor, channels=planes.channels // block**2, sizes=sizes)


def space_to_depth(call: Call) -> Result:
    """Blocks of pixels to channels."""
    planes, block = _blocks(call)
    if any(size is not None and size % block for size in planes.sizes):
        call.unsupported(f"takes blocks of {block} x {block} from a picture of {planes.sizes}")
    sizes = tuple(None if size is None else size // block for size in planes.sizes)
    tensor = call.step.node("SpaceToDepth", planes.tensor, blocksize=block)
    return planes.value(tensor, channels=planes.channels * block**2, sizes=sizes)


def _blocks(call: Call) -> tuple[Any, int]:
    block = call.integer("block_size")
    if not 1 <= block <= 2**15:
        call.unsupported(f"has blocks of {block}")
    return _planes(call, call.value("x")), block


def _planes(call: Call, value: Value) -> Any:
    """The value as a picture whose channels lie where `data_format` says."""
    return call.step.within("Function", {"data_format": _data_format(call)}, value, {}).planes(2)


def resized(call: Call) -> Result:
    """image.resize, Keras's and TensorFlow 2's: by pixels' centres."""
    value = call.value("images")
    size = call.integers("size")
    if size is None or len(size) != 2:
        call.unsupported(f"brings a picture to the size {brief(size)}")
    if call.flag("preserve_aspect_ratio"):
        call.unsupported("keeps the aspect ratio, which has no translation")
    config: dict[str, Any] = {
        "height": size[0],
        "width": size[1],
        "interpolation": call.text("interpolation", "bilinear"),
        "antialias": call.flag("antialias"),
        "crop_to_aspect_ratio": call.flag("crop_to_aspect_ratio"),
        "pad_to_aspect_ratio": call.flag("pad_to_aspect_ratio"),
        "fill_mode": call.text("fill_mode", "constant"),
        "fill_value": call.number("fill_value", 0.0),
        "data_format": _data_format(call),
    }
    return _as_layer(call, "Resizing", preprocessing.resizing, config, value)


_METHODS = ("bilinear", "nearest", "bicubic", "area")
"""TensorFlow 1's ``ResizeMethod``, which files hold as a number."""


def resized_by(method: str | None) -> Function:
    """TensorFlow 1's resizing: pixels measured from their edges, their centres, or between the corners."""

    def function(call: Call) -> Result:
        given = call.raw("method")
        chosen = method or "bilinear"
        if isinstance(given, str):
            chosen = given.lower()
        elif given is not None:
            number = call.integer("method")
            chosen = _METHODS[number] if 0 <= number < len(_METHODS) else str(number)
        size = call.integers("size")
        corners, centres = call.flag("align_corners"), call.flag("half_pixel_centers")
        grid = "align_corners" if corners else "half_pixel" if centres else "asymmetric"
        if size is None or len(size) != 2 or min(size) < 1:
            call.unsupported(f"brings a picture to the size {brief(size)}")
        if chosen not in GRIDS or call.flag("preserve_aspect_ratio"):
            call.unsupported(f"resizes by {chosen[:40]} on TensorFlow 1's grid, which has no translation")
        planes = _planes(call, call.value("images"))
        target = (size[0], size[1])
        tensor = resample(call.step, planes, target, chosen, grid=grid)
        return cast(Value, planes.value(tensor, sizes=target))

    return function


def enlarged(call: Call) -> Result:
    """``keras.backend.resize_images``: each side a whole number of times as long."""
    planes = _planes(call, call.value("x"))
    factors = (call.integer("height_factor"), call.integer("width_factor"))
    if min(factors) < 1:
        call.unsupported(f"enlarges by {factors}")
    sizes = tuple(
        None if size is None else size * factor for size, factor in zip(planes.sizes, factors, strict=True)
    )
    method = call.text("interpolation", "nearest")
    if method not in GRIDS:
        call.unsupported(f"resizes by {method[:40]}, which has no translation")
    return cast(Value, planes.value(resample(call.step, planes, sizes, method, factors=factors), sizes=sizes))


def patches(call: Call) -> Result:
    """Windows of a picture, each as one pixel whose channels are all that is in it: row, column, channel."""
    value = call.value("images")
    size = _window(call, "size", 2)
    strides = size if call.raw("strides") is None else _window(call, "strides", 2)
    dilation = _window(call, "dilation_rate", 2)
    first = _data_format(call) == "channels_first"
    channels = value.shape[0 if first else -1] or 0
    padding = _padding(call)
    if size == strides and dilation == [1, 1] and size[0] == size[1] and padding == "valid":
        planes = _planes(call, value)
        if all(extent is not None and extent % size[0] == 0 for extent in planes.sizes):
            tensor = call.step.node("SpaceToDepth", planes.tensor, blocksize=size[0])
            sizes = tuple((extent or 0) // size[0] for extent in planes.sizes)
            return cast(Value, planes.value(tensor, channels=channels * size[0] ** 2, sizes=sizes))
    count = size[0] * size[1] * channels
    call.step.allow_table(count * count)
    # A convolution each of whose kernels picks one of the numbers in the window.
    kernel = np.eye(count, dtype=np.float32).reshape(*size, channels, count)
    config: dict[str, Any] = {
        "kernel_size": size, "strides": strides, "padding": padding, "dilation_rate": dilation,
        "data_format": "channels_first" if first else "channels_last", "use_bias": False,
        "filters": count, "groups": 1,
    }  # fmt: skip
    translate = partial(convolution.convolution, rank=2)
    return _as_layer(call, "Conv2D", translate, config, value, {"kernel": kernel})


def grey(call: Call) -> Result:
    """The brightness of red, green and blue."""
    planes = _planes(call, call.value("images"))
    if planes.channels != 3:
        call.unsupported(f"takes {planes.channels} channels for red, green and blue")
    weights = call.step.constant("brightness", np.array(_GREY, np.float32).reshape(1, 3, 1, 1))
    return cast(Value, planes.value(call.step.node("Conv", planes.tensor, weights), channels=1))


def framed(*, cut: bool) -> Function:
    """pad_images, crop_images: by margins, or two of them and the size that comes out."""
    word = "cropping" if cut else "padding"

    def function(call: Call) -> Result:
        planes = _planes(call, call.value("images"))
        margins: list[int] = []
        for sides, target, size in (
            (("top", "bottom"), "target_height", planes.sizes[0]),
            (("left", "right"), "target_width", planes.sizes[1]),
        ):
            given = [call.integers(f"{side}_{word}") for side in sides]
            wanted = call.integers(target)
            found = [None if entry is None else entry[0] for entry in given]
            if wanted is not None and None in found:
                if size is None:
                    call.step.needs_size("frames a picture")
                left = abs(wanted[0] - size)
                found = [left - (found[1] or 0) if found[0] is None else found[0], found[1]]
                found[1] = left - (found[0] or 0) if found[1] is None else found[1]
            margins += [entry or 0 for entry in found]
        if min(margins) < 0:
            call.unsupported(f"frames a picture by {margins}")
        top, bottom, left, right = margins
        sign = -1 if cut else 1
        sizes = tuple(
            None if size is None else size + sign * (before + behind)
            for size, before, behind in zip(planes.sizes, (top, left), (bottom, right), strict=True)
        )
        if any(size is not None and size < 1 for size in sizes):
            call.unsupported(f"cuts all of a picture of {planes.sizes}")
        signed = [sign * margin for margin in (top, left, bottom, right)]
        pads = call.graph.integers((0, 0, *signed[:2], 0, 0, *signed[2:]))
        return cast(Value, planes.value(call.step.node("Pad", planes.tensor, pads), sizes=sizes))

    return function


def batch_normalized(call: Call) -> Result:
    """``(x - mean) / sqrt(variance + epsilon) * scale + offset``, all of them numbers along `axis`."""
    x = call.value("x")
    places = call.places("axis", x, default=[-1])
    arrays = {name: call.known(name) for name in ("mean", "variance", "offset", "scale")}
    epsilon = call.number("epsilon", 1e-3)
    mean, variance = arrays["mean"], arrays["variance"]
    if len(places) != 1 or mean is None or variance is None:
        call.unsupported("normalizes without a mean and a variance along one axis")
    weights = {
        name: array.astype(np.float32)
        for name, array in (
            ("gamma", arrays["scale"]), ("beta", arrays["offset"]),
            ("moving_mean", mean), ("moving_variance", variance),
        )
        if array is not None
    }  # fmt: skip
    config = {
        "axis": places[0] + 1, "epsilon": epsilon, "scale": "gamma" in weights, "center": "beta" in weights,
    }  # fmt: skip
    translate = normalization.batch_normalization
    return _as_layer(call, "BatchNormalization", translate, config, x, weights)


def layer_normalized(*, rms: bool) -> Function:
    """layer_norm, rms_norm: by the mean and variance, or the mean square, of each picture along axes."""

    def function(call: Call) -> Result:
        x = call.value("x")
        places = call.places("axis", x, default=[-1])
        axes = call.graph.integers(x.axis(place) for place in places)
        step = call.step
        only_scaled = call.flag("rms_scaling") or rms
        centred = x.tensor
        if not only_scaled:
            centred = step.node("Sub", x.tensor, step.node("ReduceMean", x.tensor, axes))
        square = step.node("ReduceMean", step.node("Mul", centred, centred), axes)
        root = step.node("Sqrt", step.node("Add", square, call.graph.scalar(call.number("epsilon", 1e-7))))
        tensor = step.node("Div", centred, root)
        for operator, name in (("Mul", "gamma"), ("Add", "beta")):
            array = call.known(name)
            if array is None or (name == "beta" and only_scaled):
                continue
            if array.shape != tuple(x.shape[place] for place in places):
                call.unsupported(f"scales a shape of {x.shape} by an array of shape {array.shape}")
            fitted = step.constant(name, x.aligned(array.astype(np.float32), places))
            tensor = step.node(operator, tensor, fitted)
        return step.like(x, tensor)

    return function


def locally_normalized(call: Call) -> Result:
    """``x / (bias + alpha * sum(x**2)) ** beta``, the sum over channels up to `depth_radius` away.

    Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012.
    ONNX divides its alpha by the count of channels summed over.
    """
    planes = _planes(call, call.value("x"))
    radius = call.integer("depth_radius", 5)
    if not 0 <= radius < planes.channels + 2**16:
        call.unsupported(f"normalizes over channels up to {radius} away")
    size = 2 * radius + 1
    tensor = call.step.node(
        "LRN",
        planes.tensor,
        size=size,
        bias=call.number("bias", 1.0),
        alpha=call.number("alpha", 1.0) * size,
        beta=call.number("beta", 0.5),
    )
    return cast(Value, planes.value(tensor))
