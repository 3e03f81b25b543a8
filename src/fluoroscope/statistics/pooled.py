"""Numbers of many values taken together - a layer's, a network's - that can be merged from parts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fluoroscope.blocks import BLOCK
from fluoroscope.errors import UsageError

_BINS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PooledStatistics:
    """Moments, extremes and, if asked for, the histogram of finite values. Without arguments: of none.

    Attributes
    ----------
    count
        Finite values.
    mean
        In activation units; NaN of none.
    sum_of_squares
        Of the differences from the mean.
    minimum, maximum
        In activation units; NaN of none.
    nonfinite
        Values left out because they are NaN or infinite.
    histogram
        As `value_histogram` makes it; None if it was not taken.
    """

    count: int = 0
    mean: float = math.nan
    sum_of_squares: float = 0.0
    minimum: float = math.nan
    maximum: float = math.nan
    nonfinite: int = 0
    histogram: NDArray[np.int64] | None = None

    @property
    def std(self) -> float:
        """Standard deviation of the population (divided by n); NaN of none."""
        return math.sqrt(self.sum_of_squares / self.count) if self.count else math.nan

    def merge(self, other: PooledStatistics) -> PooledStatistics:
        """The numbers of both together, in any order and grouping the same to rounding.

        The histogram stays only where both have one. Moments: Chan, Golub, LeVeque, "Algorithms for Computing
        the Sample Variance", The American Statistician 37 (1983), formulas 2.1.
        """
        if not self.count or not other.count:
            counted = self if self.count else other
            return replace(counted, nonfinite=self.nonfinite + other.nonfinite)
        count = self.count + other.count
        apart = other.mean - self.mean
        share = other.count / count
        histogram = None
        if self.histogram is not None and other.histogram is not None:
            histogram = self.histogram + other.histogram
        return PooledStatistics(
            count=count,
            mean=self.mean + apart * share,
            sum_of_squares=self.sum_of_squares + other.sum_of_squares + apart * apart * self.count * share,
            minimum=min(self.minimum, other.minimum),
            maximum=max(self.maximum, other.maximum),
            nonfinite=self.nonfinite + other.nonfinite,
            histogram=histogram,
        )

    def percentile(self, percent: float) -> float:
        """The value that `percent` (0..100) of the values lie below; NaN of none.

        Of the values in order it is the one at ``percent / 100 * (count - 1)``, rounded down (the method
        ``lower`` of `numpy.percentile`), but known only to within the bin of the histogram that it is in,
        whose values are taken as evenly spread: to 1/128 of itself.

        Raises
        ------
        UsageError
            When the histogram was not taken.
        """
        if self.histogram is None:
            raise UsageError(
                "Percentiles of pooled values need their histogram: pool with ChannelStatistics.pooled(maps)."
            )
        if not self.count:
            return math.nan
        rank = percent / 100 * (self.count - 1)
        upto = np.cumsum(self.histogram)
        bin_ = int(np.searchsorted(upto, rank, side="right"))
        inside = int(self.histogram[bin_])
        # The middle value of a bin's share stands in its middle.
        share = (rank - float(upto[bin_] - inside) + 0.5) / inside
        low, high = _bin_edges(bin_)
        return min(max(low + (high - low) * min(share, 1.0), self.minimum), self.maximum)


def value_histogram(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Count finite float32 values by their upper 16 bits: sign, exponent and 7 bits of the fraction.

    128 bins between a power of two and the next, over the whole range of float32, in ascending order: one
    set of bins for all data, so that histograms add up.

    Parameters
    ----------
    values
        float32 of any shape. NaN and infinities are left out.

    Returns
    -------
    array
        int64 ``(65536,)``.
    """
    counts = np.zeros(_BINS, np.int64)
    for start in range(0, values.size, BLOCK):
        block = values.reshape(-1)[start : start + BLOCK]
        upper = block[np.isfinite(block)].view(np.uint32) >> 16
        # Negative floats, whose first bit is set, grow downwards.
        counts += np.bincount(np.where(upper & 0x8000, 0xFFFF - upper, upper + 0x8000), minlength=_BINS)
    return counts


def _bin_edges(bin_: int) -> tuple[float, float]:
    """Least and greatest float32 that are counted in a bin."""
    keys = np.array([bin_ << 16, bin_ << 16 | 0xFFFF], np.uint32)
    low, high = np.where(keys >> 31, keys ^ 0x80000000, ~keys).astype(np.uint32).view(np.float32)
    return float(low), float(high)
