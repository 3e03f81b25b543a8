"""Interpolation weights as TensorFlow computes them: what each output pixel of an axis is made of.

They are made in float32, step by step as TensorFlow's kernels make them: a coordinate of 1,000 has four
digits behind the point, so that the same operations in another order (onnxruntime's, say) give weights that
differ by 1e-4, and nearest pixels that differ by one.

Sources: the documented kernels of ``tf.image.resize`` and ``tf.raw_ops.ScaleAndTranslate`` (radius, formula,
half-pixel centres); Keys, "Cubic convolution interpolation for digital image processing", 1981, for bicubic
with a = -1/2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fluoroscope.network.protocol import FloatArray

_CUBIC_STEPS = 1024
"""TensorFlow reads bicubic weights from a table of this many positions between two pixels."""

_f32 = np.float32


@dataclass(frozen=True, slots=True)
class Taps:
    """What each output pixel of one axis is made of.

    Attributes
    ----------
    indices
        ``(out, taps)``, of input pixels.
    weights
        ``(out, taps)``; None where the one tap counts fully.
    """

    indices: NDArray[np.int64]
    weights: FloatArray | None

    def matrix(self, size: int) -> FloatArray:
        """The same as a matrix ``(out, size)``."""
        weights = np.ones(self.indices.shape, _f32) if self.weights is None else self.weights
        matrix = np.zeros((len(self.indices), size), _f32)
        np.add.at(matrix, (np.arange(len(self.indices))[:, None], self.indices), weights)
        return matrix


Grid = Literal["half_pixel", "asymmetric", "align_corners"]
"""What positions are measured from: pixels' centres (TensorFlow 2), their first edges, or the centres of the
first and the last pixel, which stay (TensorFlow 1)."""


def interpolation(
    size: int, new: int, method: str, *, antialias: bool = False, grid: Grid = "half_pixel"
) -> Taps:
    """What each of `new` pixels is made of, of an axis of `size` pixels.

    Parameters
    ----------
    method
        One of `INTERPOLATIONS`.
    grid
        For ``nearest`` and ``bilinear``.
    """
    if grid != "half_pixel":
        return _on_old_grid(size, new, method, grid)
    if method == "nearest":
        centers = (np.arange(new, dtype=_f32) + _f32(0.5)) * (_f32(size) / _f32(new))
        return Taps(np.minimum(np.floor(centers).astype(np.int64), size - 1)[:, None], None)
    if method == "area":
        return _area(size, new)
    if method in _PLAIN and not antialias:
        return _PLAIN[method](size, new)
    return _kernel_taps(size, new, INTERPOLATIONS[method], antialias=antialias)


def tap_count(size: int, new: int, method: str, *, antialias: bool = False) -> int:
    """How many input pixels `interpolation` takes for each output pixel, before it is made."""
    if method == "area":
        return min(ceil(size / new) + 1, size + 1)
    if method == "nearest" or (method in _PLAIN and not antialias):
        return {"nearest": 1, "bilinear": 2, "bicubic": 4}[method]
    reach = INTERPOLATIONS[method].radius * (max(size / new, 1.0) if antialias else 1.0)
    return min(2 * ceil(_f32(reach)) + 1, size)


def _positions(size: int, new: int) -> FloatArray:
    """Where output pixels lie among input pixels, both measured from the first one's centre."""
    return (np.arange(new, dtype=_f32) + _f32(0.5)) * (_f32(size) / _f32(new)) - _f32(0.5)


def _bilinear(size: int, new: int) -> Taps:
    positions = _positions(size, new)
    floor = np.floor(positions)
    upper = np.minimum(np.ceil(positions).astype(np.int64), size - 1)
    lower = np.minimum(np.maximum(floor.astype(np.int64), 0), upper)
    share = positions - floor
    return Taps(np.stack([lower, upper], 1), np.stack([1 - share, share], 1))


def _on_old_grid(size: int, new: int, method: str, grid: Grid) -> Taps:
    """TensorFlow 1's ``resize_nearest_neighbor`` and ``resize_bilinear``."""
    between = grid == "align_corners" and new > 1
    scale = _f32(size - 1) / _f32(new - 1) if between else _f32(size) / _f32(new)
    positions = np.arange(new, dtype=_f32) * scale
    if method == "nearest":
        nearest = np.floor(positions + _f32(0.5)) if grid == "align_corners" else np.floor(positions)
        return Taps(np.minimum(nearest.astype(np.int64), size - 1)[:, None], None)
    lower = np.floor(positions)
    share = positions - lower
    first = np.minimum(lower.astype(np.int64), size - 1)
    return Taps(np.stack([first, np.minimum(first + 1, size - 1)], 1), np.stack([1 - share, share], 1))


def _bicubic(size: int, new: int) -> Taps:
    """Keys's kernel at the nearest of 1,024 positions; taps outside the picture do not count."""
    positions = _positions(size, new)
    floor = np.floor(positions).astype(np.int64)
    share = np.rint((positions - floor).astype(_f32) * _CUBIC_STEPS) / _CUBIC_STEPS
    indices = floor[:, None] + np.arange(-1, 3)
    distances = np.abs(share[:, None] - np.arange(-1, 3))
    inside = (indices >= 0) & (indices < size)
    weights = np.where(inside, _keys(distances), 0.0)
    weights /= weights.sum(1, keepdims=True)
    return Taps(np.clip(indices, 0, size - 1), weights.astype(_f32))


def _area(size: int, new: int) -> Taps:
    """The mean of the input under each output pixel, pixels at its edges by the part that is under it."""
    scale = _f32(size) / _f32(new)
    starts = np.arange(new, dtype=_f32) * scale
    ends = np.arange(1, new + 1, dtype=_f32) * scale
    count = tap_count(size, new, "area")
    indices = np.floor(starts).astype(np.int64)[:, None] + np.arange(count)
    left, right = indices.astype(_f32), (indices + 1).astype(_f32)
    begins, stops = starts[:, None], ends[:, None]
    # A pixel that holds the whole output pixel counts fully, whatever the difference of its ends rounds to.
    covered = np.select(
        [(left < begins) & (right > stops), left < begins, right > stops],
        [scale, right - begins, stops - left],
        _f32(1.0),
    )
    weights = np.where((right > begins) & (left < stops), covered, 0) / scale
    return Taps(np.minimum(indices, size - 1), weights.astype(_f32))


@dataclass(frozen=True, slots=True)
class _Kernel:
    """A weight by distance (in input pixels, 0 or more), 0 beyond `radius`."""

    radius: float
    weight: Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _kernel_taps(size: int, new: int, kernel: _Kernel, *, antialias: bool) -> Taps:
    """Every pixel within the kernel's radius by its weight there, the sum brought to 1."""
    inverse = _f32(1.0) / (_f32(new) / _f32(size))
    stretch = max(inverse, _f32(1.0)) if antialias else _f32(1.0)
    centers = (np.arange(new, dtype=_f32) + _f32(0.5)) * inverse
    reach = _f32(kernel.radius) * stretch
    first = np.clip(np.ceil(centers - reach - _f32(0.5)).astype(np.int64), 0, size - 1)
    last = np.clip(np.floor(centers + reach - _f32(0.5)).astype(np.int64), 0, size - 1)
    count = min(2 * ceil(reach) + 1, size)
    indices = first[:, None] + np.arange(count)
    distances = np.abs((indices + _f32(0.5) - centers[:, None]).astype(_f32) / stretch)
    weights = np.where(indices <= last[:, None], kernel.weight(distances.astype(np.float64)), 0.0)
    weights /= weights.sum(1, keepdims=True)
    return Taps(np.minimum(indices, size - 1), weights.astype(_f32))


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1.0 - x, 0.0)


def _keys(x: NDArray[np.float64]) -> NDArray[np.float64]:
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.select([x < 1.0, x < 2.0], [near, far], 0.0)


def _mitchell(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mitchell and Netravali 1988, with B = C = 1/3."""
    near = (7.0 / 6.0 * x - 2.0) * x * x + 8.0 / 9.0
    far = ((-7.0 / 18.0 * x + 2.0) * x - 10.0 / 3.0) * x + 16.0 / 9.0
    return np.select([x < 1.0, x < 2.0], [near, far], 0.0)


def _gaussian(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of standard deviation 1/2, cut off at three of them."""
    return np.where(x < 1.5, np.exp(-2.0 * x * x), 0.0)


def _lanczos(radius: float) -> _Kernel:
    """``sinc(x) sinc(x / radius)``: Duchon 1979."""
    return _Kernel(radius, lambda x: np.where(x <= radius, np.sinc(x) * np.sinc(x / radius), 0.0))


INTERPOLATIONS: Mapping[str, _Kernel] = {
    "area": _Kernel(0.5, np.ones_like),
    "bicubic": _Kernel(2.0, _keys),
    "bilinear": _Kernel(1.0, _triangle),
    "gaussian": _Kernel(1.5, _gaussian),
    "lanczos3": _lanczos(3.0),
    "lanczos5": _lanczos(5.0),
    "mitchellcubic": _Kernel(2.0, _mitchell),
    "nearest": _Kernel(0.5, np.ones_like),
}
"""Every interpolation of Keras 2 and 3 by name."""

_PLAIN: Mapping[str, Callable[[int, int], Taps]] = {"bilinear": _bilinear, "bicubic": _bicubic}
"""Methods that TensorFlow computes in a way of their own when they need not antialias."""
