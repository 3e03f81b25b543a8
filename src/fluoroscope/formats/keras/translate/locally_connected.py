"""Locally connected layers: convolutions whose kernel is another at every place.

Keras 2 keeps the kernels in one of three layouts (`implementation`), Keras 1 in the first of them. Sources:
``locally_connected*.py`` of TF-Keras 2.21 and ``layers/local.py`` of Keras 1.2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.formats.keras.translate.activations import activated
from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.step import Planes, Step
from fluoroscope.formats.keras.translate.windows import PADDINGS, Window
from fluoroscope.network.protocol import FloatArray, Shape

_MUCH_MORE = 4
"""Times the stored numbers that kernels laid out in full may take without being asked about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """Which pixels each place is made of.

    Attributes
    ----------
    inputs, outputs
        Sizes of the picture and of the result.
    pixels
        For each axis ``(out, taps)``: the pixel's number along it; outside the picture when padding.
    channels, filters
        Of the picture and of the result.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    pixels: tuple[NDArray[np.int64], ...]
    channels: int
    filters: int

    @property
    def places(self) -> int:
        """Pixels of the result."""
        return prod(self.outputs)

    @property
    def taps(self) -> int:
        """Pixels of the picture that a place is made of, padding counted."""
        return prod(axis.shape[1] for axis in self.pixels)

    @property
    def connections(self) -> int:
        """Pairs of a place and a pixel inside the picture that it is made of."""
        return prod(int(inside.sum()) for inside in self._inside())

    def inside(self) -> NDArray[np.bool_]:
        """``(places, taps)``: is that tap inside the picture?"""
        return _joined(self._inside(), np.logical_and).astype(bool)

    def numbers(self) -> NDArray[np.int64]:
        """``(places, taps)``: number of the pixel, row by row; of padding the nearest one's."""
        strides = [prod(self.inputs[axis + 1 :]) for axis in range(len(self.inputs))]
        axes = [
            np.clip(pixels, 0, size - 1) * stride
            for pixels, size, stride in zip(self.pixels, self.inputs, strides, strict=True)
        ]
        return _joined(axes, np.add).astype(np.int64)

    def _inside(self) -> list[NDArray[np.bool_]]:
        return [(axis >= 0) & (axis < size) for axis, size in zip(self.pixels, self.inputs, strict=True)]


def locally_connected(step: Step, rank: int) -> Value:
    """LocallyConnected1D, LocallyConnected2D.

    The pixels under each place are laid side by side as channels (by a convolution with kernels of one 1
    each, so that receptive fields stay known), then multiplied by that place's own matrix.
    """
    planes = step.planes(rank)
    options = step.options
    filters = options.integer("filters")
    window = Window(
        kernel=options.integers("kernel_size", rank),
        strides=options.integers("strides", rank, default=1),
        dilations=(1,) * rank,
        padding=options.choice("padding", PADDINGS, default="valid"),
    )
    if None in planes.sizes:
        step.needs_size("has kernels of its own at every place")
    sizes, attributes = _slid(step, planes, window)
    for size, taps in zip(sizes, window.kernel, strict=True):
        step.allow_table((size or 1) * taps)
    grid = _grid(planes, window, sizes, attributes["pads"], filters)
    kernel = _kernel(step, grid, channels_first=planes.data_format == "channels_first")
    spread = step.node(
        "Conv",
        planes.tensor,
        step.constant("neighbours", _neighbours(step, grid, window)),
        group=grid.channels,
        **attributes,
    )
    places_first = step.node("Transpose", spread, perm=(0, *range(2, rank + 2), 1))
    rows = step.node("Unsqueeze", places_first, step.graph.integers([rank + 1]))
    weights = kernel.reshape(*grid.outputs, grid.channels * grid.taps, filters)
    product = step.node("MatMul", rows, step.constant("kernel", weights))
    made = step.node("Squeeze", product, step.graph.integers([rank + 1]))
    tensor = step.node("Transpose", made, perm=(0, rank + 1, *range(1, rank + 1)))
    if options.flag("use_bias", default=True):
        bias = step.variable("bias", (*grid.outputs, filters))
        # For channels first, Keras reshapes what it should transpose; so the network was trained.
        first = planes.data_format == "channels_first"
        bias = bias.reshape(filters, *grid.outputs) if first else np.moveaxis(bias, -1, 0)
        tensor = step.node("Add", tensor, step.constant("bias", bias))
    return activated(step, planes.value(tensor, channels=filters, sizes=sizes))


def _slid(step: Step, planes: Planes, window: Window) -> tuple[Shape, dict[str, Any]]:
    """As `Window.over`; but ``same`` means here that windows are centred on every stride-th pixel."""
    if window.padding == "valid":
        return window.over(step, planes.sizes)
    sizes = tuple(
        -(-(size or 1) // stride) for size, stride in zip(planes.sizes, window.strides, strict=True)
    )
    begins = [taps // 2 for taps in window.kernel]
    ends = [
        max((out - 1) * stride + taps - begin - (size or 1), 0)
        for out, stride, taps, begin, size in zip(
            sizes, window.strides, window.kernel, begins, planes.sizes, strict=True
        )
    ]
    pads = (*begins, *ends)
    return sizes, {"kernel_shape": window.kernel, "strides": window.strides, "pads": pads}


def _grid(
    planes: Planes, window: Window, sizes: tuple[int | None, ...], pads: tuple[int, ...], filters: int
) -> _Grid:
    """The grid of a picture whose size is known."""
    outputs = tuple(size or 0 for size in sizes)
    pixels = tuple(
        np.arange(out)[:, None] * stride + np.arange(taps) - begin
        for out, stride, taps, begin in zip(outputs, window.strides, window.kernel, pads, strict=False)
    )
    inputs = tuple(size or 0 for size in planes.sizes)
    return _Grid(inputs=inputs, outputs=outputs, pixels=pixels, channels=planes.channels, filters=filters)


def _kernel(step: Step, grid: _Grid, *, channels_first: bool) -> FloatArray:
    """The kernels as ``(places, channels, taps, filters)``; 0 for taps outside the picture."""
    implementation = step.options.integer("implementation", default=1)
    if implementation == 1:
        return _of_each_place(step, grid, channels_first=channels_first)
    if implementation == 2:
        return _of_all_pairs(step, grid, channels_first=channels_first)
    if implementation == 3:
        return _of_connections(step, grid, channels_first=channels_first)
    return step.options.unsupported("implementation", "Translated are 1, 2 and 3.")


def _of_each_place(step: Step, grid: _Grid, *, channels_first: bool) -> FloatArray:
    """From a matrix for each place."""
    shape = (grid.places, grid.taps * grid.channels, grid.filters)
    kernel = step.variable("kernel", shape)
    if channels_first:
        return kernel.reshape(grid.places, grid.channels, grid.taps, grid.filters)
    return kernel.reshape(grid.places, grid.taps, grid.channels, grid.filters).swapaxes(1, 2)


def _of_all_pairs(step: Step, grid: _Grid, *, channels_first: bool) -> FloatArray:
    """From a matrix between all pixels and all places, of which only the connected ones count."""
    if channels_first:
        kernel = step.variable("kernel", (grid.channels, *grid.inputs, grid.filters, *grid.outputs))
        kernel = kernel.reshape(grid.channels, -1, grid.filters, grid.places).transpose(1, 3, 0, 2)
    else:
        kernel = step.variable("kernel", (*grid.inputs, grid.channels, *grid.outputs, grid.filters))
        kernel = kernel.reshape(-1, grid.channels, grid.places, grid.filters).transpose(0, 2, 1, 3)
    _allow(step, grid, kernel.size)
    picked = kernel[grid.numbers(), np.arange(grid.places)[:, None]]  # (places, taps, channels, filters)
    return np.where(grid.inside()[..., None, None], picked, np.float32(0)).swapaxes(1, 2)


def _of_connections(step: Step, grid: _Grid, *, channels_first: bool) -> FloatArray:
    """From one number a connection, ordered by what it makes and then by what it takes."""
    stored = step.variable("kernel", (grid.connections * grid.channels * grid.filters,))
    _allow(step, grid, stored.size)
    if channels_first:
        kernel = np.zeros((grid.filters, grid.places, grid.channels, grid.taps), np.float32)
        kernel[np.broadcast_to(grid.inside()[:, None], kernel.shape)] = stored
        return kernel.transpose(1, 2, 3, 0)
    kernel = np.zeros((grid.places, grid.filters, grid.taps, grid.channels), np.float32)
    kernel[np.broadcast_to(grid.inside()[:, None, :, None], kernel.shape)] = stored
    return kernel.transpose(0, 3, 2, 1)


def _allow(step: Step, grid: _Grid, stored: int) -> None:
    """Windows far larger than the picture would lay little out as much."""
    full = grid.places * grid.taps * grid.channels * grid.filters
    if full > _MUCH_MORE * stored:
        step.allow_table(full)


def _neighbours(step: Step, grid: _Grid, window: Window) -> FloatArray:
    """Kernels that bring each tap of each channel into a channel of its own."""
    step.allow_table(grid.channels * grid.taps**2)
    one = np.eye(grid.taps, dtype=np.float32).reshape(grid.taps, 1, *window.kernel)
    return np.tile(one, (grid.channels, *[1] * (one.ndim - 1)))


def _joined(axes: list[NDArray[np.bool_]] | list[NDArray[np.int64]], operator: np.ufunc) -> NDArray[np.int64]:
    """``(out, taps)`` of each axis as one ``(places, taps)``, the first axis varying slowest."""
    joined = np.asarray(axes[0], np.int64)
    for _, axis in pairwise(axes):
        pairs = operator(joined[:, None, :, None], np.asarray(axis, np.int64)[None, :, None, :])
        joined = np.asarray(pairs, np.int64).reshape(len(joined) * len(axis), -1)
    return joined
