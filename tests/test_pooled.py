"""Statistics that are merged from parts, against the whole at once."""

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fluoroscope.errors import UsageError
from fluoroscope.statistics.channels import channel_statistics
from fluoroscope.statistics.pooled import PooledStatistics, value_histogram

VALUES = st.floats(-1e6, 1e6, width=32)
LAYERS = st.lists(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5), elements=VALUES),
    min_size=1,
    max_size=4,
)


def pooled_of(maps):
    return channel_statistics(maps).pooled(maps)


@given(LAYERS)
def test_layers_merged_are_all_values_together(layers):
    found = functools.reduce(PooledStatistics.merge, map(pooled_of, layers), PooledStatistics())
    values = np.concatenate([maps.ravel() for maps in layers]).astype(np.float64)
    scale = np.abs(values).max()
    assert found.count == values.size
    assert found.minimum == values.min()
    assert found.maximum == values.max()
    assert found.mean == pytest.approx(values.mean(), abs=1e-12 * scale)
    assert found.std == pytest.approx(values.std(), rel=1e-5, abs=1e-7 * scale)
    np.testing.assert_array_equal(found.histogram, value_histogram(values.astype(np.float32)))


@given(LAYERS)
def test_order_does_not_matter(layers):
    forward = functools.reduce(PooledStatistics.merge, map(pooled_of, layers))
    backward = functools.reduce(PooledStatistics.merge, map(pooled_of, reversed(layers)))
    assert forward.mean == pytest.approx(backward.mean, rel=1e-9, abs=1e-9)
    assert forward.sum_of_squares == pytest.approx(backward.sum_of_squares, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("percent", [0, 0.1, 1, 25, 50, 75, 99, 99.9, 100])
@pytest.mark.parametrize("shift", [0.0, -20.0, 3.0])
def test_percentiles_are_within_a_bin(percent, shift):
    values = (np.random.default_rng(5).gamma(0.7, 4, (3, 200, 150)) + shift).astype(np.float32)
    expected = float(np.percentile(values.astype(np.float64), percent, method="lower"))
    found = pooled_of(values).percentile(percent)
    assert abs(found - expected) <= abs(expected) / 128


def test_percentiles_of_many_zeros_are_zero():
    values = np.zeros((1, 10, 100), np.float32)
    values[0, 0, :9] = 5
    pooled = pooled_of(values)
    assert pooled.percentile(99) == pytest.approx(0, abs=1e-40)
    assert pooled.percentile(100) == 5


def test_bins_run_upwards_over_all_of_float32():
    ordered = np.array([-3e38, -2.5, -1, -1e-30, 0, 1e-30, 1, 1.0078125, 2.5, 3e38], np.float32)
    bins = [int(np.flatnonzero(value_histogram(ordered[i : i + 1]))[0]) for i in range(len(ordered))]
    assert bins == sorted(set(bins))


def test_what_is_not_finite_is_left_out():
    maps = np.array([[[1, np.nan, np.inf]], [[2, 3, -np.inf]], [[np.nan] * 3]], np.float32)
    found = pooled_of(maps)
    assert (found.count, found.nonfinite) == (3, 6)
    assert (found.mean, found.minimum, found.maximum) == (2, 1, 3)
    assert found.histogram is not None
    assert found.histogram.sum() == 3


def test_nothing_is_neutral():
    empty = PooledStatistics(nonfinite=2)
    some = pooled_of(np.array([[[1, 2, 6]]], np.float32))
    for both in (empty.merge(some), some.merge(empty)):
        assert (both.count, both.mean, both.minimum, both.nonfinite) == (3, 3, 1, 2)
        assert both.histogram is some.histogram
    assert math.isnan(empty.merge(empty).std)
    nothing = np.full((1, 2, 2), np.nan, np.float32)
    assert math.isnan(pooled_of(nothing).percentile(50))


def test_percentiles_need_the_histogram():
    without = channel_statistics(np.ones((1, 2, 2), np.float32)).pooled()
    with pytest.raises(
        UsageError, match=r"need their histogram: pool with ChannelStatistics\.pooled\(maps\)"
    ):
        without.percentile(50)
    assert without.merge(pooled_of(np.ones((1, 2, 2), np.float32))).histogram is None
