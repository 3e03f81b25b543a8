"""What the levels 0..255 stand for: the limits of each channel, and how they are chosen.

`levels` divides the range from `low` to `high` into 256 equal parts, and clips what lies outside. The methods
differ only in where the two come from:

========== ============================ ======================================================================
method     low, high                    remarks
========== ============================ ======================================================================
zscore     mean - 2 std, mean + 2 std   the same as ``(x - mean) / std * 64 + 128`` with the population's
                                        std: F. Chollet, "Deep Learning with Python", 2018, section 5.4.1
minmax     least, greatest value        the greatest gets level 255
percentile two percentiles              by linear interpolation, as `numpy.percentile`
symmetric  -m, m with m = max |x|       zero is the lower edge of level 128, exactly the middle
fixed      given                        the same for all channels
========== ============================ ======================================================================
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import UsageError

if TYPE_CHECKING:
    from fluoroscope.statistics.channels import ChannelStatistics
    from fluoroscope.statistics.pooled import PooledStatistics

Method = Literal["zscore", "minmax", "percentile", "symmetric", "fixed"]
"""Where the limits come from."""

Scope = Literal["channel", "layer", "network"]
"""Whose values the limits come from: each channel's own, all of the layer's, all of the network's."""


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """What the levels of each channel stand for; arrays have one entry a channel.

    Attributes
    ----------
    low, high
        float64, in activation units: where level 0 starts and where level 255 ends. Equal where there is no
        range to scale by, NaN where a channel has no finite value.
    flat
        True where all finite values are equal. Under limits of its own such a channel has no range; under
        limits that it shares it has a level, as any value has.
    nonfinite
        How many values are NaN or infinite.
    shared
        True when all channels have the same limits, because of the scope or the method.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    flat: NDArray[np.bool_]
    nonfinite: NDArray[np.int64]
    shared: bool = False

    def __post_init__(self) -> None:
        for name in ("low", "high", "flat", "nonfinite"):
            array = getattr(self, name).view()
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        """Number of channels."""
        return len(self.low)

    def __getitem__(self, channels: slice) -> Limits:
        """The limits of some channels."""
        return Limits(
            self.low[channels],
            self.high[channels],
            self.flat[channels],
            self.nonfinite[channels],
            self.shared,
        )

    @property
    def scaled(self) -> NDArray[np.bool_]:
        """True for channels that have a range, and so levels."""
        return self.high > self.low

    def value(self, level: float, channel: int) -> float:
        """The value where a level starts, in activation units; 256 gives where the last one ends."""
        low, high = float(self.low[channel]), float(self.high[channel])
        return low + (high - low) * level / 256


@dataclass(frozen=True, slots=True)
class Scaling:
    """How limits are chosen.

    Attributes
    ----------
    method
        ``zscore``, ``minmax``, ``percentile``, ``symmetric`` or ``fixed``; the module's table tells which
        limits they mean.
    scope
        ``channel``: each has limits of its own, and they cannot be compared by colour. ``layer`` and
        ``network``: all share those of the values taken together. Without meaning for ``fixed``.
    percentiles
        Lower and upper, 0..100, for ``percentile``.
    low, high
        In activation units, for ``fixed``.

    Raises
    ------
    UsageError
        An unknown method or scope; percentiles or limits that are missing, out of order or out of range, or
        limits given to a method that has its own.
    """

    method: Method = "zscore"
    _: KW_ONLY
    scope: Scope = "channel"
    percentiles: tuple[float, float] = (1, 99)
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise UsageError(
                f"No scaling is called {self.method!r}. There are {', '.join(get_args(Method))}."
            )
        if self.scope not in get_args(Scope):
            raise UsageError(
                f"No scope of a scaling is called {self.scope!r}. There are {', '.join(get_args(Scope))}."
            )
        lower, upper = self.percentiles
        if not 0 <= lower < upper <= 100:
            raise UsageError(
                f"Percentiles {lower} and {upper}: the lower must be less than the upper, both in 0..100."
            )
        if self.method == "fixed":
            if self.low is None or self.high is None:
                raise UsageError("Fixed scaling needs both limits, low and high, in activation units.")
            if not (self.low < self.high and np.isfinite(self.high - self.low)):
                raise UsageError(
                    f"Fixed limits {self.low} and {self.high}: low must be less than high, both finite."
                )
        elif self.low is not None or self.high is not None:
            raise UsageError(
                f"The limits {self.low} and {self.high} were given to {self.method} scaling, which takes its "
                "own from the values. For given limits the method is 'fixed'."
            )
        # NumPy's numbers are not JSON's, into which records put them.
        object.__setattr__(self, "percentiles", (float(lower), float(upper)))
        for name in ("low", "high"):
            limit = getattr(self, name)
            object.__setattr__(self, name, None if limit is None else float(limit))

    def __str__(self) -> str:
        """A phrase for legends and records, such as ``mean ± 2 std, per channel``."""
        if self.method == "fixed":
            return f"{self.low:g} to {self.high:g}, fixed"
        lower, upper = self.percentiles
        phrase = {
            "zscore": "mean ± 2 std",
            "minmax": "least to greatest value",
            "percentile": f"percentiles {lower:g} to {upper:g}",
            "symmetric": "± greatest magnitude",
        }[self.method]
        return f"{phrase}, per {self.scope}"

    @property
    def needs_pooled(self) -> bool:
        """True when `limits` must be given the pooled statistics of the network."""
        return self.scope == "network" and self.method != "fixed"

    @property
    def needs_histogram(self) -> bool:
        """True when those must hold a histogram."""
        return self.needs_pooled and self.method == "percentile"

    def limits(
        self,
        maps: NDArray[np.float32],
        statistics: ChannelStatistics,
        pooled: PooledStatistics | None = None,
    ) -> Limits:
        """The limits of the channels of a layer.

        Only finite values count. A channel that is flat has no range under limits of its own: low and high
        are both its value. The same goes for all channels of a flat layer or network. Percentiles that
        coincide although the values differ (a channel with less than one value in a hundred above zero) give
        way to the least and greatest value, so that it is seen.

        Percentiles of a layer are exact. Those of a network come from a histogram: they are within 1/128 of
        themselves (see `PooledStatistics.percentile`).

        Parameters
        ----------
        maps
            float32 ``(channels, height, width)``. Only percentiles look at it.
        statistics
            Its statistics.
        pooled
            Those of the whole network; needed when `needs_pooled`, unused otherwise.

        Raises
        ------
        UsageError
            Pooled statistics that are needed and missing.
        """
        channels = len(statistics)
        if self.method == "fixed" and self.low is not None and self.high is not None:
            low, high = np.full(channels, float(self.low)), np.full(channels, float(self.high))
        elif self.scope == "channel":
            low, high = self._own(maps, statistics)
        else:
            common = statistics.pooled() if self.scope == "layer" else pooled
            if common is None:
                raise UsageError(
                    "A scale for the whole network needs the pooled statistics of all its layers. Merge "
                    "those of each (ChannelStatistics.pooled), or take the scope 'layer'."
                )
            least, greatest = self._common(maps, common)
            low, high = np.full(channels, least), np.full(channels, greatest)
        shared = self.scope != "channel" or self.method == "fixed"
        return Limits(low, high, statistics.flat, statistics.nonfinite, shared)

    def _own(
        self, maps: NDArray[np.float32], statistics: ChannelStatistics
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Limits of each channel by itself."""
        if self.method == "zscore":
            low, high = statistics.mean - 2 * statistics.std, statistics.mean + 2 * statistics.std
        elif self.method == "symmetric":
            high = np.maximum(np.abs(statistics.minimum), np.abs(statistics.maximum))
            low = -high
        else:
            low, high = statistics.minimum.copy(), statistics.maximum.copy()
            if self.method == "percentile":
                for channel in np.flatnonzero(~statistics.flat & (statistics.finite > 0)):
                    lower, upper = _percentiles(maps[channel], self.percentiles)
                    if lower < upper:
                        low[channel], high[channel] = lower, upper
        flat = statistics.flat
        return np.where(flat, statistics.minimum, low), np.where(flat, statistics.minimum, high)

    def _common(self, maps: NDArray[np.float32], pooled: PooledStatistics) -> tuple[float, float]:
        """Limits of all values together."""
        if not pooled.count or pooled.minimum == pooled.maximum:
            return pooled.minimum, pooled.minimum
        if self.method == "zscore":
            return pooled.mean - 2 * pooled.std, pooled.mean + 2 * pooled.std
        if self.method == "symmetric":
            greatest = max(abs(pooled.minimum), abs(pooled.maximum))
            return -greatest, greatest
        if self.method == "percentile":
            if self.scope == "layer":
                lower, upper = _percentiles(maps, self.percentiles)
            else:
                lower, upper = (pooled.percentile(percent) for percent in self.percentiles)
            if lower < upper:
                return lower, upper
        return pooled.minimum, pooled.maximum


def _percentiles(values: NDArray[np.float32], percents: tuple[float, float]) -> tuple[float, float]:
    """Two percentiles of the finite values, of which there must be one, by linear interpolation."""
    kept = values[np.isfinite(values)]
    ranks = np.array(percents) / 100 * (kept.size - 1)
    below = ranks.astype(np.intp)
    above = np.minimum(below + 1, kept.size - 1)
    kept.partition(np.concatenate([below, above]))
    low, high = kept[below].astype(np.float64), kept[above].astype(np.float64)
    first, second = low + (high - low) * (ranks - below)
    return float(first), float(second)
