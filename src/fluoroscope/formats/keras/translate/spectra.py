"""Layers that turn sound into spectra: short-time Fourier transforms, written as convolutions.

A frame's spectrum is its products with a cosine and a sine of each frequency: a convolution with these as
kernels, as Keras computes STFTSpectrogram, and as exact in float32 as its fast transform.
"""

from __future__ import annotations

from math import log, log10, pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.functions import scaled
from fluoroscope.formats.keras.translate.step import Planes, Step
from fluoroscope.formats.keras.translate.windows import PADDINGS, Window
from fluoroscope.network.protocol import FloatArray, Shape

_SMALLEST = 1e-7
"""Keras's epsilon, the least that roots and logarithms are taken of."""

_TINY = 1e-30
"""Stands for 0 where something is divided by it."""

_MODES = frozenset({"log", "magnitude", "psd", "real", "imag", "angle", "stft"})
_WINDOWS = {"hann": 0.5, "hamming": 0.54}
"""The constant part of each window; the rest is a cosine."""

_MEL_BREAK, _MEL_SCALE = 700.0, 1127.0
"""Of the mel scale ``1127 ln(1 + f / 700)``: O'Shaughnessy, "Speech communication", 1987."""


def stft_spectrogram(step: Step) -> Value:
    """STFTSpectrogram: of each channel, as `mode` says, with kernels that the file holds."""
    planes = step.planes(1)
    options = step.options
    mode = options.choice("mode", _MODES, default="log")
    length = options.integer("frame_length", default=256)
    given = options.raw("frame_step")
    stride = max(length // 2, 1) if given is None else options.integer("frame_step")
    for name in ("window", "periodic", "scaling"):
        options.raw(name)  # the kernels have them in them
    count = (
        (1 << (length - 1).bit_length())
        if options.raw("fft_length") is None
        else options.integer("fft_length")
    ) // 2 + 1
    window = Window(
        kernel=(length,),
        strides=(stride,),
        dilations=(1,),
        padding=options.choice("padding", PADDINGS, default="valid"),
    )
    kernels = [
        step.variable(f"{part}_kernel", (length, 1, count)).transpose(2, 1, 0)
        for part, without in (("real", "imag"), ("imag", "real"))
        if mode != without
    ]
    if mode in ("real", "imag", "stft"):
        sizes, tensor = _each_channel(step, planes, window, "kernel", np.concatenate(kernels))
        return _arranged(step, planes, tensor, sizes, count * len(kernels))
    sizes, real = _each_channel(step, planes, window, "real_kernel", kernels[0])
    _, imaginary = _each_channel(step, planes, window, "imag_kernel", kernels[1])
    if mode == "angle":
        return _arranged(step, planes, _angle(step, imaginary, real), sizes, count)
    power = step.node("Add", step.node("Mul", real, real), step.node("Mul", imaginary, imaginary))
    if mode == "psd":
        # All frequencies but the first and the last stand for their negative ones too.
        twice = np.tile([1, *[2] * (count - 2), 1][:count], planes.channels).astype(np.float32)
        power = step.node("Mul", power, step.constant("counts", twice[:, None]))
        return _arranged(step, planes, power, sizes, count)
    least = step.graph.scalar(_SMALLEST)
    made = step.node("Sqrt", step.node("Max", power, least))
    if mode == "log":
        made = step.node("Log", step.node("Max", made, least))
    return _arranged(step, planes, made, sizes, count)


def mel_spectrogram(step: Step) -> Value:
    """MelSpectrogram: power by frequency on the mel scale and time, in decibels if asked for.

    `top_db` counts down from the loudest of each sound; Keras takes the loudest of the whole batch, which is
    the same for a sound alone.
    """
    value, options = step.value, step.options
    if value.rank != 1:
        step.damaged(f"takes sounds of one channel, not a shape of {value.shape}")
    length, stride = (
        options.integer("fft_length", default=2048),
        options.integer("sequence_stride", default=512),
    )
    bins, side = options.integer("num_mel_bins", default=128), length // 2
    count = length // 2 + 1
    step.allow_table(length * count)
    step.allow_table(bins * count)
    (samples,) = value.shape
    if samples is not None and samples <= side:
        step.does_not_fit(f"mirrors {side} samples at each end of a sound of {samples}")
    mirrored = step.node("Pad", value.tensor, step.graph.integers([0, side, 0, side]), mode="reflect")
    signal = step.node("Unsqueeze", mirrored, step.graph.integers([1]))
    parts = [
        step.node(
            "Conv", signal, step.constant(label, kernel), kernel_shape=[length], strides=[stride]
        )
        for label, kernel in zip(("cosines", "sines"), _waves(step, length), strict=True)
    ]  # fmt: skip
    power = step.node("Add", *(step.node("Mul", part, part) for part in parts))
    exponent = options.number("mag_exp", default=2.0)
    if exponent != 2:
        power = step.node("Pow", power, step.graph.scalar(exponent / 2))
    tensor = step.node("MatMul", step.constant("mel", _mel_matrix(step, bins, count)), power)
    tensor = _decibels(step, tensor)
    frames = None if samples is None else (samples + 2 * side - length) // stride + 1
    return Value(tensor=tensor, shape=(bins, frames), channel=1)


def _each_channel(
    step: Step, planes: Planes, window: Window, label: str, kernel: FloatArray
) -> tuple[Shape, str]:
    """Convolve each channel with the same kernels; sizes of what comes out, and the tensor."""
    sizes, attributes = window.over(step, planes.sizes)
    step.allow_table(planes.channels * kernel.size)
    weights = np.tile(kernel, (planes.channels, 1, 1))
    tensor = step.node(
        "Conv", planes.tensor, step.constant(label, weights), group=planes.channels, **attributes
    )
    return sizes, tensor


def _arranged(step: Step, planes: Planes, tensor: str, sizes: Shape, count: int) -> Value:
    """``(batch, channels * frequencies, time)`` in Keras's order; with `expand_dims` three axes."""
    if not step.options.flag("expand_dims", default=False):
        return planes.value(tensor, channels=planes.channels * count, sizes=sizes)
    (time,) = sizes
    apart = step.graph.integers([0, planes.channels, count, -1])
    tensor = step.node("Transpose", step.node("Reshape", tensor, apart), perm=(0, 1, 3, 2))
    return planes.value(tensor, sizes=(time, count))


def _angle(step: Step, y: str, x: str) -> str:
    """The angle of ``(x, y)`` from -pi to pi, which ONNX has no operator for."""
    zero, half_turn = step.graph.scalar(0.0), step.graph.scalar(pi)
    some = step.node("Where", step.node("Equal", x, zero), step.graph.scalar(_TINY), x)
    slope = step.node("Atan", step.node("Div", y, some))
    turn = step.node("Where", step.node("Less", y, zero), step.graph.scalar(-pi), half_turn)
    behind = step.node("Where", step.node("Less", x, zero), turn, zero)
    return step.node("Add", slope, behind)


def _waves(step: Step, length: int) -> tuple[FloatArray, FloatArray]:
    """Cosines and sines of every frequency under the window: two ``(frequencies, 1, length)``."""
    taken = length if step.options.raw("sequence_length") is None else step.options.integer("sequence_length")
    if taken > length:
        step.damaged(f"takes {taken} samples for a transform of {length}")
    before = (length - taken) // 2
    window = np.pad(_window(step, taken), (before, length - taken - before))
    turns = np.outer(np.arange(length // 2 + 1), np.arange(length)) % length * (2 * pi / length)
    cosines, sines = ((wave(turns) * window)[:, None].astype(np.float32) for wave in (np.cos, np.sin))
    return cosines, sines


def _window(step: Step, length: int) -> NDArray[np.float64]:
    """The window as ``tf.signal`` makes it: periodic when even, symmetric when odd."""
    if step.options.raw("window", "hann") is None or length == 1:
        return np.ones(length)
    level = _WINDOWS[step.options.choice("window", _WINDOWS, default="hann")]
    return level - (1 - level) * np.cos(2 * pi * np.arange(length) / (length - length % 2))


def _mel_matrix(step: Step, bins: int, count: int) -> FloatArray:
    """``(bins, frequencies)``: triangles on the mel scale, each from its neighbours' peaks to its own.

    The constant part of the sound is in none of them, as in the Hidden Markov Model Toolkit.
    """
    options = step.options
    rate = options.number("sampling_rate", default=16000)
    low = options.number("min_freq", default=20.0)
    high = options.number("max_freq") if options.raw("max_freq") else int(rate / 2)
    edges = np.linspace(_mel(low), _mel(high), bins + 2)
    heard = _mel(np.linspace(0.0, rate / 2, count))[None]
    left, peak, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    matrix = np.maximum(0.0, np.minimum((heard - left) / (peak - left), (right - heard) / (right - peak)))
    matrix[:, 0] = 0.0
    return matrix.astype(np.float32)


def _mel(hertz: Any) -> Any:
    return _MEL_SCALE * np.log(1.0 + np.asarray(hertz) / _MEL_BREAK)


def _decibels(step: Step, power: str) -> str:
    """Ten times the decimal logarithm of power over `ref_power`, at most `top_db` below the loudest."""
    options = step.options
    least, reference = options.number("min_power", default=1e-10), options.number("ref_power", default=1.0)
    reach = options.number("top_db", default=80.0)
    if not options.flag("power_to_db", default=True):
        return power
    if least <= 0:
        step.damaged(f"has min_power={least:g}, which has no logarithm")
    logarithm = step.node("Log", step.node("Max", power, step.graph.scalar(least)))
    level = scaled(step, logarithm, 10 / log(10))
    over = step.graph.scalar(10 * log10(max(abs(reference), least)))
    level = step.node("Sub", level, over)
    loudest = step.node("ReduceMax", level, step.graph.integers([1, 2]))
    return step.node("Max", level, step.node("Sub", loudest, step.graph.scalar(reach)))
