"""Numbers of every feature map of a layer: mean, deviation, extremes, activity, and what is wrong with it.

The walk is in blocks of channels that fit a core's cache, so that memory is read once however many numbers
are taken. Sums are held in float64; squares are taken in float32 and checked, and the few channels where
that is not good enough are done again in float64 (see `channel_statistics`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fluoroscope.blocks import blocks
from fluoroscope.errors import UsageError
from fluoroscope.statistics.pooled import PooledStatistics, value_histogram

_Scalar = TypeVar("_Scalar", bound=np.generic)

_LONGEST_DOT = 2048
"""Length of the dot products that squares are summed by: a float32 sum of so few stays exact to 1e-7, and
BLAS, which divides long ones among threads of its own, stays out of the way of ours."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChannelStatistics:
    """Numbers of the feature maps of one layer, a picture; arrays have one entry a channel.

    All but `nonfinite` are taken over the finite values of a channel. A channel without any has NaN for
    every float, and is not `flat`.

    Attributes
    ----------
    positions
        Values in a channel: height * width.
    mean, std
        float64, in activation units; std is that of the population (divided by n). The mean is exact to
        float64 rounding, the std to 1e-6 of itself.
    minimum, maximum
        float64, in activation units.
    active
        Fraction of values above zero, 0..1.
    flat
        True where all values are equal, exactly. A channel that varies by float noise alone is not flat: its
        noise is drawn, and its limits tell how small it is.
    nonfinite
        How many values are NaN or infinite.
    """

    positions: int
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    active: NDArray[np.float64]
    flat: NDArray[np.bool_]
    nonfinite: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of channels."""
        return len(self.mean)

    @property
    def finite(self) -> NDArray[np.int64]:
        """How many values of each channel the other numbers are taken over."""
        return self.positions - self.nonfinite

    @property
    def dead(self) -> NDArray[np.bool_]:
        """Channels that are zero everywhere."""
        return self.flat & (self.maximum == 0)

    @property
    def dead_count(self) -> int:
        """Number of channels that are zero everywhere."""
        return int(np.count_nonzero(self.dead))

    @property
    def flat_count(self) -> int:
        """Number of channels whose values are all equal, dead ones included."""
        return int(np.count_nonzero(self.flat))

    @property
    def nonfinite_count(self) -> int:
        """Number of channels with a NaN or infinite value."""
        return int(np.count_nonzero(self.nonfinite))

    @property
    def sparsity(self) -> float:
        """Fraction of the layer's finite values that are not above zero, 0..1; NaN without any."""
        total = int(self.finite.sum())
        active = float(np.sum(self.active * self.finite, where=self.finite > 0))
        return 1 - active / total if total else float("nan")

    def pooled(self, maps: NDArray[np.float32] | None = None) -> PooledStatistics:
        """The numbers of the layer as a whole.

        Parameters
        ----------
        maps
            The maps that these are the statistics of: their histogram is then taken as well, which
            percentiles need.
        """
        histogram = None if maps is None else value_histogram(maps)
        present = self.finite > 0
        if not present.any():
            return PooledStatistics(nonfinite=int(self.nonfinite.sum()), histogram=histogram)
        count, mean, std = self.finite[present], self.mean[present], self.std[present]
        total = int(count.sum())
        centre = float(mean @ count) / total
        return PooledStatistics(
            count=total,
            mean=centre,
            # Within the channels, and between them.
            sum_of_squares=float((std**2 + (mean - centre) ** 2) @ count),
            minimum=float(self.minimum[present].min()),
            maximum=float(self.maximum[present].max()),
            nonfinite=int(self.nonfinite.sum()),
            histogram=histogram,
        )


def channel_statistics(maps: NDArray[np.float32]) -> ChannelStatistics:
    """Take the numbers of every channel in one walk over memory.

    Parameters
    ----------
    maps
        float32 ``(channels, height, width)``; fastest when C-contiguous. It is not written to.

    Raises
    ------
    UsageError
        Another dtype or number of axes, or no values at all.
    """
    if maps.ndim != 3 or maps.dtype != np.float32 or maps.size == 0:
        raise UsageError(
            f"Statistics were asked of a {maps.dtype} array of shape {maps.shape}. They are taken of float32 "
            "maps (channels, height, width) with at least one value."
        )
    channels, height, width = maps.shape
    positions = height * width
    minimum, maximum, pivot = np.empty((3, channels), np.float32)
    total, square = np.empty((2, channels))
    active = np.empty(channels, np.int64)
    # NaN, infinities and overflow show in the results, and are seen to below.
    with np.errstate(over="ignore", invalid="ignore"):
        for part, values, scratch in blocks(maps):
            np.minimum.reduce(values, axis=1, out=minimum[part])
            np.maximum.reduce(values, axis=1, out=maximum[part])
            above = scratch.reshape(-1).view(np.bool_)[: values.size].reshape(values.shape)
            active[part] = _count(np.greater(values, 0, out=above))
            np.add.reduce(values, axis=1, dtype=np.float64, out=total[part])
            np.divide(total[part], positions, out=pivot[part], casting="same_kind")
            np.subtract(values, pivot[part, None], out=scratch)
            square[part] = _sum_of_squares(scratch)
        square /= positions
        mean = total / positions
        # Moved from the pivot to the mean. The two are so near that this takes away half at most.
        variance = square - (mean - pivot) ** 2
        # Squares can leave the range of float32, at either end.
        exact = (square > 1e-30) & np.isfinite(square)

    finite = np.full(channels, positions)
    flat = minimum == maximum
    broken = ~(np.isfinite(minimum) & np.isfinite(maximum))
    for channel in np.flatnonzero(broken | ~(exact | flat)):
        kept = maps[channel][np.isfinite(maps[channel])]
        finite[channel] = kept.size
        active[channel] = np.count_nonzero(kept > 0)
        minimum[channel], maximum[channel] = (kept.min(), kept.max()) if kept.size else (np.nan, np.nan)
        mean[channel], variance[channel] = _moments(kept)

    flat = minimum == maximum
    fraction = np.full(channels, np.nan)
    np.divide(active, finite, out=fraction, where=finite > 0)
    return ChannelStatistics(
        positions=positions,
        mean=_frozen(mean),
        std=_frozen(np.sqrt(variance)),
        minimum=_frozen(minimum.astype(np.float64)),
        maximum=_frozen(maximum.astype(np.float64)),
        active=_frozen(fraction),
        flat=_frozen(flat),
        nonfinite=_frozen(positions - finite),
    )


def _sum_of_squares(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of each row, its parts in float32, together in float64."""
    parts = rows.shape[1] // _LONGEST_DOT
    most = rows[:, : parts * _LONGEST_DOT].reshape(len(rows), parts, _LONGEST_DOT)
    rest = rows[:, parts * _LONGEST_DOT :]
    return np.vecdot(most, most).sum(axis=1, dtype=np.float64) + np.vecdot(rest, rest)


def _moments(values: NDArray[np.float32]) -> tuple[float, float]:
    """Mean and population variance in float64, by two passes; NaN of nothing."""
    if not values.size:
        return float("nan"), float("nan")
    wide = values.astype(np.float64)
    return float(wide.mean()), float(wide.var())


def _count(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """True entries of each row."""
    # NumPy counts a whole array with vector instructions but an axis without; a call costs as much as the
    # latter does on some 500 values.
    if mask.shape[1] < 512:
        return np.count_nonzero(mask, axis=1).astype(np.int64)
    return np.array([np.count_nonzero(row) for row in mask], np.int64)


def _frozen(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    array.flags.writeable = False
    return array
