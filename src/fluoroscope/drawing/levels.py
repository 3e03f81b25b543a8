"""From activations to levels 0..255, by limits.

::

    level = floor(256 * (value - low) / (high - low))    clipped to 0..255

So level L stands for the values from ``low + L * (high - low) / 256`` up to where the next one starts; level
0 also for all below `low`, level 255 for all from `high` on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fluoroscope.blocks import blocks
from fluoroscope.drawing.scaling import Limits


def levels(
    maps: NDArray[np.float32], limits: Limits, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Turn activations into levels by their limits.

    Levels are those of the formula above in real numbers but for float32 rounding, which can move a value
    that lies on the edge of two to the other. Infinities are level 0 or 255 by their sign; NaN, and channels
    without a range, are level 0: `Limits` tells which, and a sheet marks them.

    Parameters
    ----------
    maps
        float32 ``(channels, height, width)``. It is not written to.
    limits
        One entry a channel.
    out
        uint8 of the shape of `maps`, C-contiguous, to be filled instead of a new array.

    Returns
    -------
    array
        uint8 ``(channels, height, width)``.
    """
    result = np.empty(maps.shape, np.uint8) if out is None else out
    filled = result.reshape(len(maps), -1)
    exact, narrow = _coefficients(limits)
    # What overflows lies outside the limits, and is clipped; channels with worse are drawn again below.
    with np.errstate(over="ignore", invalid="ignore"):
        pivot, slope, offset = exact.astype(np.float32)[:, :, None]
        for part, values, scratch in blocks(maps):
            np.subtract(values, pivot[part], out=scratch)
            np.multiply(scratch, slope[part], out=scratch)
            np.add(scratch, offset[part], out=scratch)
            np.clip(scratch, 0, 255, out=scratch)
            np.copyto(filled[part], scratch, casting="unsafe")
        for channel in np.flatnonzero(~narrow | (limits.nonfinite > 0)):
            row = (maps[channel].astype(np.float64) - exact[0, channel]) * exact[1, channel]
            result[channel] = np.nan_to_num(np.clip(row + exact[2, channel], 0, 255))
    return result


def _coefficients(limits: Limits) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The formula as ``(value - pivot) * slope + offset``, and where float32 holds it.

    The pivot is the middle of the range, rounded to float32: differences from it are exact where they are
    small, however far from zero the range lies. The offset makes up for the rounding.

    Returns
    -------
    coefficients
        float64 ``(3, channels)``: pivot, slope, offset; zeros for channels without a range.
    narrow
        ``(channels,)``.
    """
    span = limits.high - limits.low
    middle = limits.low + span / 2
    scaled = limits.scaled
    narrow = ~scaled | ((span > 1e-30) & (span < 1e30) & (np.abs(middle) < 1e30))
    pivot = np.where(narrow, np.where(narrow, middle, 0).astype(np.float32), middle)
    coefficients = np.zeros((3, len(limits)))
    # Divided before it is multiplied: half of a range is 0.5 exactly, whatever its size.
    offset = (pivot - limits.low)[scaled] / span[scaled] * 256
    coefficients[:, scaled] = pivot[scaled], 256 / span[scaled], offset
    return coefficients, narrow
