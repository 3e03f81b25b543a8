"""Convolutions: plain, depthwise, separable, transposed; of any number of spatial axes.

Keras keeps kernels as ``(*spatial, in, out)``, ONNX as ``(out, in, *spatial)``.
"""

from __future__ import annotations

import numpy as np

from fluoroscope.formats.keras.translate.activations import activated
from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.step import Planes, Step
from fluoroscope.formats.keras.translate.windows import PADDINGS, Window
from fluoroscope.network.protocol import FloatArray

_CAUSAL = PADDINGS | {"causal"}


def convolution(step: Step, rank: int) -> Value:
    """Conv1D, Conv2D, Conv3D."""
    planes = step.planes(rank)
    filters, groups = step.options.integer("filters"), step.options.integer("groups", default=1)
    if planes.channels % groups or filters % groups:
        step.damaged(f"has {groups} groups for {planes.channels} channels and {filters} filters")
    window = window_of(step, rank, causal=rank == 1)
    kernel = step.variable("kernel", (*window.kernel, planes.channels // groups, filters))
    bias = _bias(step, filters)
    return activated(step, convolve(step, planes, window, "kernel", out_first(kernel), bias, groups))


def depthwise_convolution(step: Step, rank: int) -> Value:
    """DepthwiseConv1D, DepthwiseConv2D: every channel by itself, to `depth_multiplier` channels."""
    planes = step.planes(rank)
    _check_ungrouped(step)
    window = window_of(step, rank)
    kernel = _depthwise(step, "kernel", planes, window)
    bias = _bias(step, len(kernel))
    return activated(step, convolve(step, planes, window, "kernel", kernel, bias, planes.channels))


def separable_convolution(step: Step, rank: int) -> Value:
    """SeparableConv1D, SeparableConv2D: depthwise, then 1 x 1."""
    planes = step.planes(rank)
    filters = step.options.integer("filters")
    _check_ungrouped(step)
    window = window_of(step, rank, causal=rank == 1)
    depthwise = _depthwise(step, "depthwise_kernel", planes, window)
    between = convolve(step, planes, window, "depthwise_kernel", depthwise, None, planes.channels)
    one = (1,) * rank
    pointwise = step.variable("pointwise_kernel", (*one, len(depthwise), filters))
    point = Window(kernel=one, strides=one, dilations=one, padding="valid")
    bias = _bias(step, filters)
    value = convolve(
        step, step.planes(rank, between), point, "pointwise_kernel", out_first(pointwise), bias, 1
    )
    return activated(step, value)


def transposed_convolution(step: Step, rank: int) -> Value:
    """Conv1DTranspose, Conv2DTranspose, Conv3DTranspose: the gradient of a convolution.

    The output is as long as an input from which that convolution would make this layer's input; Keras says
    which of the possible lengths: ``size * stride`` for ``same``, or the one `output_padding` asks for. What
    the full result has more is cut off, the larger half behind.
    """
    planes = step.planes(rank)
    filters = step.options.integer("filters")
    _check_ungrouped(step)
    window = window_of(step, rank)
    asked = step.options.raw("output_padding")
    paddings = (None,) * rank if asked is None else step.options.integers("output_padding", rank, least=0)
    cuts = [
        _surplus(span, stride, window.padding, extra)
        for span, stride, extra in zip(window.spans, window.strides, paddings, strict=True)
    ]
    sizes = tuple(
        None if size is None else (size - 1) * stride + span - cut
        for size, stride, span, cut in zip(planes.sizes, window.strides, window.spans, cuts, strict=True)
    )
    if any(size is not None and size < 1 for size in sizes):
        step.does_not_fit(f"would make a picture of {sizes} pixels")
    begins = [max(cut, 0) // 2 for cut in cuts]
    ends = [max(cut, 0) - begin for cut, begin in zip(cuts, begins, strict=True)]
    kernel = step.variable("kernel", (*window.kernel, filters, planes.channels))
    bias = _bias(step, filters)
    tensor = step.node(
        "ConvTranspose",
        planes.tensor,
        step.constant("kernel", out_first(kernel)),
        *([] if bias is None else [step.constant("bias", bias)]),
        kernel_shape=window.kernel,
        strides=window.strides,
        dilations=window.dilations,
        pads=(*begins, *ends),
        output_padding=[max(-cut, 0) for cut in cuts],
    )
    return activated(step, planes.value(tensor, channels=filters, sizes=sizes))


def _surplus(span: int, stride: int, padding: str, extra: int | None) -> int:
    """How much longer the full transposed convolution is than Keras's output; negative: shorter."""
    if padding == "valid":
        return min(span - stride, 0) if extra is None else -extra
    return span - stride if extra is None else 2 * (span // 2) - extra


def window_of(step: Step, rank: int, *, causal: bool = False) -> Window:
    """The window by the layer's options."""
    options = step.options
    return Window(
        kernel=options.integers("kernel_size", rank),
        strides=options.integers("strides", rank, default=1),
        dilations=options.integers("dilation_rate", rank, default=1),
        padding=options.choice("padding", _CAUSAL if causal else PADDINGS, default="valid"),
    )


def _check_ungrouped(step: Step) -> None:
    """Keras 2 writes an option `groups` for layers that have none; it means nothing as long as it is 1."""
    if step.options.integer("groups", default=1) != 1:
        step.options.unsupported("groups", "Only 1 is translated.")


def _bias(step: Step, filters: int) -> FloatArray | None:
    return step.variable("bias", (filters,)) if step.options.flag("use_bias", default=True) else None


def _depthwise(step: Step, name: str, planes: Planes, window: Window) -> FloatArray:
    """A depthwise kernel in ONNX's layout: one group a channel, a channel's outputs side by side."""
    multiplier = step.options.integer("depth_multiplier", default=1)
    kernel = step.variable(name, (*window.kernel, planes.channels, multiplier))
    return np.moveaxis(kernel, (-2, -1), (0, 1)).reshape(planes.channels * multiplier, 1, *window.kernel)


def out_first(kernel: FloatArray) -> FloatArray:
    """``(*spatial, a, b)`` as ``(b, a, *spatial)``.

    In two copies, each of which reads or writes runs of memory: faster than one by 2.6 for 3 x 3 x 512 x 512.
    """
    *spatial, a, b = kernel.shape
    taps_last = np.ascontiguousarray(kernel.reshape(-1, a * b).T)
    return np.ascontiguousarray(taps_last.reshape(a, b, *spatial).swapaxes(0, 1))


def convolve(
    step: Step,
    planes: Planes,
    window: Window,
    label: str,
    kernel: FloatArray,
    bias: FloatArray | None,
    groups: int,
) -> Value:
    """A convolution with a kernel in ONNX's layout, kept under `label`."""
    sizes, attributes = window.over(step, planes.sizes)
    tensor = step.node(
        "Conv",
        planes.tensor,
        step.constant(label, kernel),
        *([] if bias is None else [step.constant("bias", bias)]),
        dilations=window.dilations,
        group=groups,
        **attributes,
    )
    return planes.value(tensor, channels=len(kernel), sizes=sizes)
