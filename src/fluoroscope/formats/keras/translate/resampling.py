"""Resizing pictures as TensorFlow does, and Keras on it.

ONNX's operator is taken where it agrees exactly, and a weighted sum of picked rows and columns elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fluoroscope.formats.keras.translate.interpolation import Grid, interpolation, tap_count
from fluoroscope.formats.keras.translate.step import Planes, Step
from fluoroscope.network.protocol import Shape

_MOST_GATHERS = 12
"""Taps taken one by one; more are a matrix. Lanczos of radius 5 has 11."""


def resample(
    step: Step,
    planes: Planes,
    sizes: Shape,
    method: str,
    *,
    antialias: bool = False,
    factors: Sequence[int] | None = None,
    grid: Grid = "half_pixel",
) -> str:
    """Bring `planes` to `sizes`; returns the tensor.

    Parameters
    ----------
    method
        One of `INTERPOLATIONS`.
    antialias
        Widen the kernel by the factor of reduction (no effect on nearest and area, as in TensorFlow).
    factors
        Output over input size where that is a whole number by definition, for pictures of free size.
    grid
        Between which points positions are measured; other than TensorFlow 2's only for methods in `GRIDS`.
    """
    antialias = antialias and method not in ("nearest", "area")
    if sizes == planes.sizes and None not in sizes and method not in _BLURRING:
        return planes.tensor
    if factors is None and all(
        size and new and new % size == 0 for size, new in zip(planes.sizes, sizes, strict=True)
    ):
        factors = [(new or 0) // (size or 1) for size, new in zip(planes.sizes, sizes, strict=True)]
    if (
        grid == "half_pixel"
        and not antialias
        and factors is not None
        and all(_exact(method, factor) for factor in factors)
    ):
        scales = step.graph.floats((1.0, 1.0, *factors))
        return step.node("Resize", planes.tensor, "", scales, **_OPERATORS[method])
    if None in planes.sizes or None in sizes:
        return _resample_free(step, planes, sizes, method, antialias, factors, grid)
    tensor = planes.tensor
    axes = [
        (new / size, axis, size, new)
        for axis, (size, new) in enumerate(zip(planes.sizes, sizes, strict=True), start=2)
        if size and new and (size != new or method in _BLURRING)
    ]
    for _, axis, size, new in sorted(axes):  # what shrinks first, so that the rest has less to do
        tensor = _resample_axis(step, tensor, axis, len(sizes) + 2, size, new, method, antialias, grid)
    return tensor


def _exact(method: str, factor: int) -> bool:
    """Enlarging by a power of two (any factor, for nearest) needs coordinates that float32 holds exactly."""
    return method == "nearest" or (method in _OPERATORS and factor & (factor - 1) == 0)


def _resample_free(
    step: Step,
    planes: Planes,
    sizes: Shape,
    method: str,
    antialias: bool,
    factors: Sequence[int] | None,
    grid: Grid,
) -> str:
    """For a picture whose size is not known yet, by ONNX's operator: to 3e-4, and one pixel for nearest."""
    if antialias or method not in ("nearest", "bilinear"):
        step.needs_size(f"resizes by {method}{' with antialiasing' if antialias else ''}")
    operator: dict[str, Any] = dict(_OPERATORS[method])
    if grid != "half_pixel":
        operator |= {"coordinate_transformation_mode": grid}
        if method == "nearest" and grid == "align_corners":
            operator |= {"nearest_mode": "round_prefer_ceil"}
    elif factors is not None:
        return step.node("Resize", planes.tensor, "", step.graph.floats((1.0, 1.0, *factors)), **operator)
    elif method == "nearest":
        operator |= {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"}
    target = step.graph.integers(size or 1 for size in sizes)
    return step.node("Resize", planes.tensor, "", "", target, axes=list(range(2, len(sizes) + 2)), **operator)


def _resample_axis(
    step: Step,
    tensor: str,
    axis: int,
    rank: int,
    size: int,
    new: int,
    method: str,
    antialias: bool,
    grid: Grid,
) -> str:
    """One axis of a tensor of `rank` axes, from `size` to `new`."""
    width = tap_count(size, new, method, antialias=antialias)
    step.allow_table(new * width)
    taps = interpolation(size, new, method, antialias=antialias, grid=grid)
    label = "rows" if axis == 2 else "columns"
    if width > _MOST_GATHERS:
        step.allow_table(new * size)
        matrix = taps.matrix(size)
        if axis == rank - 1:
            return step.node("MatMul", tensor, step.constant(f"{label}/matrix", matrix.T))
        return step.node("MatMul", step.constant(f"{label}/matrix", matrix), tensor)
    total = ""
    for tap in range(width):
        picked = step.constant(f"{label}/{tap}", taps.indices[:, tap])
        part = step.node("Gather", tensor, picked, axis=axis)
        if taps.weights is not None:
            along = taps.weights[:, tap].reshape([-1] + [1] * (rank - 1 - axis))
            part = step.node("Mul", part, step.constant(f"{label}/{tap}/weights", along))
        total = step.node("Add", total, part) if total else part
    return total


GRIDS = frozenset({"bilinear", "nearest"})
"""Methods that TensorFlow 1 had on grids of its own."""

_BLURRING = frozenset({"gaussian", "mitchellcubic"})
"""Kernels that change a picture even where its size stays."""

_OPERATORS: Mapping[str, Mapping[str, Any]] = {
    "nearest": {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    },
    "bilinear": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    "bicubic": {
        "mode": "cubic",
        "coordinate_transformation_mode": "half_pixel",
        "cubic_coeff_a": -0.5,
        "exclude_outside": 1,
    },
}
"""Attributes of ONNX's Resize for the methods it has."""
