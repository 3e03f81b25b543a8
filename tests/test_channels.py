"""Statistics of feature maps, against NumPy in float64 and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fluoroscope import blocks
from fluoroscope.errors import UsageError
from fluoroscope.statistics.channels import channel_statistics

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def maps_of(*channels):
    return np.array(channels, np.float32)


def check(maps):
    """Every number is what NumPy says of the same channel in float64."""
    found = channel_statistics(maps)
    wide = maps.astype(np.float64).reshape(len(maps), -1)
    scale = np.abs(wide).max(axis=1)
    np.testing.assert_array_less(np.abs(found.mean - wide.mean(axis=1)), 1e-13 * scale + 1e-300)
    # NumPy's mean of equal values can miss them by rounding.
    std = np.where(np.ptp(wide, axis=1) > 0, wide.std(axis=1), 0)
    np.testing.assert_allclose(found.std, std, rtol=2e-6, atol=0)
    np.testing.assert_array_equal(found.minimum, wide.min(axis=1))
    np.testing.assert_array_equal(found.maximum, wide.max(axis=1))
    np.testing.assert_array_equal(found.active, (wide > 0).mean(axis=1))
    np.testing.assert_array_equal(found.flat, wide.min(axis=1) == wide.max(axis=1))
    np.testing.assert_array_equal(found.nonfinite, 0)
    return found


def test_numbers_by_hand():
    found = channel_statistics(maps_of([[1, 2], [3, 6]], [[0, 0], [0, 0]], [[-1, 0], [0, 5]], [[-4, 0]] * 2))
    assert len(found) == 4
    assert found.positions == 4
    assert found.mean.tolist() == [3, 0, 1, -2]
    np.testing.assert_allclose(found.std**2, [3.5, 0, 5.5, 4], rtol=1e-6)
    assert found.minimum.tolist() == [1, 0, -1, -4]
    assert found.maximum.tolist() == [6, 0, 5, 0]
    assert found.active.tolist() == [1, 0, 0.25, 0]
    assert found.flat.tolist() == [False, True, False, False]
    assert found.dead.tolist() == [False, True, False, False]
    assert (found.flat_count, found.dead_count, found.nonfinite_count) == (1, 1, 0)
    assert found.sparsity == 1 - 5 / 16


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=FINITE))
def test_numbers_are_those_of_numpy_in_float64(maps):
    # All of float32: squares that overflow and that vanish, channels of one value, zeros of both signs.
    check(maps)


@pytest.mark.parametrize(
    "shape", [(5, 1, 1), (3, 7, 9), (40, 64, 64), (3, 90, 91), (2, 600, 500), (2, 1, 70_001)]
)
def test_every_way_of_summing(shape):
    maps = np.random.default_rng(1).gamma(0.5, 3, shape).astype(np.float32)
    check(np.maximum(maps - 1, 0))


@pytest.mark.parametrize("scale", [1e-42, 1e-21, 1e-16, 1e16, 1e18, 1e19, 1e37])
def test_every_magnitude(scale):
    check((np.random.default_rng(3).normal(size=(3, 40, 50)) * scale).astype(np.float32))


def test_blocks_do_not_show(monkeypatch):
    maps = np.random.default_rng(2).normal(size=(13, 8, 9)).astype(np.float32)
    whole = channel_statistics(maps)
    monkeypatch.setattr(blocks, "BLOCK", 150)  # two channels and a bit
    parts = channel_statistics(maps)
    for name in ("mean", "std", "minimum", "maximum", "active"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


@pytest.mark.parametrize("low", [1.0, 1000.0, 1e30, 1e-30, 1e-44, 3e38])
def test_one_neighbouring_float_among_equals(low):
    # float32 squares about a float32 mean would give nothing, or nonsense, here.
    maps = np.full((1, 100, 100), low, np.float32)
    maps[0, 3, 4] = np.nextafter(np.float32(low), np.float32(np.inf))
    found = check(maps)
    assert found.std[0] > 0
    assert not found.flat[0]


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e38])
def test_flat_channels_are_exactly_so(value):
    found = channel_statistics(np.full((2, 77, 91), value, np.float32))
    assert found.flat.all()
    assert found.std.tolist() == [0, 0]
    assert found.mean.tolist() == found.minimum.tolist() == [np.float32(value)] * 2
    assert found.dead_count == (2 if value == 0 else 0)


def test_zeros_of_both_signs_are_equal():
    found = channel_statistics(maps_of([[0.0, -0.0]]))
    assert found.flat.all()
    assert found.dead.all()


def test_non_finite_values_are_left_out_and_counted():
    nan, inf = np.nan, np.inf
    found = channel_statistics(
        maps_of([[1, nan], [3, -inf]], [[nan, inf], [nan, -inf]], [[2, 2], [nan, 2]], [[1, 2], [3, 4]])
    )
    assert found.nonfinite.tolist() == [2, 4, 1, 0]
    assert found.finite.tolist() == [2, 0, 3, 4]
    np.testing.assert_array_equal(found.mean, [2, nan, 2, 2.5])
    np.testing.assert_array_equal(found.std[:3], [1, nan, 0])
    np.testing.assert_array_equal(found.minimum, [1, nan, 2, 1])
    np.testing.assert_array_equal(found.maximum, [3, nan, 2, 4])
    np.testing.assert_array_equal(found.active, [1, nan, 1, 1])
    assert found.flat.tolist() == [False, False, True, False]
    assert found.nonfinite_count == 3
    assert found.sparsity == 0


def test_sparsity_of_nothing_finite_is_nan():
    assert np.isnan(channel_statistics(np.full((2, 3, 3), np.nan, np.float32)).sparsity)


def test_input_is_not_written_and_results_are_read_only():
    maps = np.random.default_rng(3).normal(size=(4, 5, 6)).astype(np.float32)
    maps.flags.writeable = False
    found = channel_statistics(maps)
    with pytest.raises(ValueError, match="read-only"):
        found.mean[0] = 1


def test_any_memory_order():
    last = np.random.default_rng(4).normal(size=(5, 6, 4)).astype(np.float32)
    check(np.moveaxis(last, -1, 0))


@pytest.mark.parametrize(
    "maps",
    [
        np.zeros((2, 3), np.float32),
        np.zeros((2, 3, 4)),
        np.zeros((0, 3, 4), np.float32),
        np.zeros((2, 0, 4), np.float32),
    ],
)
def test_what_is_no_stack_of_maps_is_refused(maps):
    with pytest.raises(UsageError, match=r"Statistics were asked of a float.. array of shape .*float32 maps"):
        channel_statistics(maps)
