"""Which limits the methods and scopes of scaling choose, by hand and against NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fluoroscope.drawing.scaling import Limits, Scaling
from fluoroscope.errors import UsageError
from fluoroscope.statistics.channels import channel_statistics

MAPS = np.array([[[0, 1], [2, 5]], [[-8, 0], [0, 0]], [[3, 3], [3, 3]]], np.float32)
VARIANCES = (3.5, 12.0, 0.0)


def limits_of(maps, scaling, pooled=None):
    return scaling.limits(maps, channel_statistics(maps), pooled)


@pytest.mark.parametrize(
    ("scaling", "low", "high"),
    [
        (Scaling(), [2 - 2 * 3.5**0.5, -2 - 2 * 12**0.5, 3], [2 + 2 * 3.5**0.5, -2 + 2 * 12**0.5, 3]),
        (Scaling("minmax"), [0, -8, 3], [5, 0, 3]),
        (Scaling("percentile", percentiles=(0, 50)), [0, -8, 3], [1.5, 0, 3]),
        (Scaling("symmetric"), [-5, -8, 3], [5, 8, 3]),
        (Scaling("fixed", low=-1, high=4), [-1] * 3, [4] * 3),
        (Scaling("minmax", scope="layer"), [-8] * 3, [5] * 3),
        (Scaling("symmetric", scope="layer"), [-8] * 3, [8] * 3),
        (Scaling("percentile", percentiles=(10, 90), scope="layer"), [0] * 3, [3] * 3),
    ],
)
def test_limits_by_hand(scaling, low, high):
    found = limits_of(MAPS, scaling)
    np.testing.assert_allclose(found.low, low, rtol=1e-6)
    np.testing.assert_allclose(found.high, high, rtol=1e-6)
    assert found.flat.tolist() == [False, False, True]
    assert found.nonfinite.tolist() == [0, 0, 0]
    assert found.shared == (scaling.scope != "channel" or scaling.method == "fixed")
    # A constant channel has a level on a scale it shares with others, none of its own.
    assert found.scaled.tolist() == [True, True, found.shared]


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=5),
        elements=st.floats(-1e3, 1e3, width=32),
    ),
    st.sampled_from(["channel", "layer"]),
)
def test_percentiles_are_those_of_numpy(maps, scope):
    found = limits_of(maps, Scaling("percentile", scope=scope, percentiles=(5, 80)))
    groups = [maps] if scope == "layer" else list(maps)
    for channel, values in enumerate(groups):
        low, high = np.percentile(values.astype(np.float64), (5, 80))
        if low == high:
            low, high = values.min(), values.max()
        if values.min() < values.max():
            assert found.low[channel] == pytest.approx(low, rel=1e-9, abs=1e-9)
            assert found.high[channel] == pytest.approx(high, rel=1e-9, abs=1e-9)


def test_the_scale_of_a_layer_is_that_of_all_its_values():
    found = limits_of(MAPS, Scaling(scope="layer"))
    np.testing.assert_allclose(found.low, MAPS.mean() - 2 * MAPS.astype(np.float64).std())
    np.testing.assert_allclose(found.high, MAPS.mean() + 2 * MAPS.astype(np.float64).std())


@pytest.mark.parametrize("method", ["zscore", "minmax", "symmetric", "percentile"])
def test_the_scale_of_a_network_is_that_of_all_its_layers(method):
    layers = [MAPS, np.random.default_rng(6).normal(3, 2, (2, 40, 50)).astype(np.float32)]
    scaling = Scaling(method, scope="network")
    pooled = None
    for maps in layers:
        own = channel_statistics(maps).pooled(maps if scaling.needs_histogram else None)
        pooled = own if pooled is None else pooled.merge(own)
    together = np.concatenate([maps.ravel() for maps in layers])[None, None]
    expected = limits_of(together, Scaling(method, scope="layer"))
    for maps in layers:
        found = limits_of(maps, scaling, pooled)
        assert len(found) == len(maps)
        tolerance = 1 / 64 if method == "percentile" else 1e-6
        np.testing.assert_allclose(found.low, expected.low[0], rtol=tolerance)
        np.testing.assert_allclose(found.high, expected.high[0], rtol=tolerance)


def test_a_few_values_among_zeros_are_not_lost_to_percentiles():
    maps = np.zeros((1, 20, 20), np.float32)
    maps[0, 3, 4] = 6
    for scope in ("channel", "layer"):
        found = limits_of(maps, Scaling("percentile", scope=scope))
        assert (found.low[0], found.high[0]) == (0, 6)
        assert found.scaled[0]


def test_non_finite_values_have_no_part_in_limits():
    nan, inf = np.nan, np.inf
    maps = np.array([[[1, nan, 3, inf]], [[nan, nan, inf, -inf]], [[2, nan, 2, 2]]], np.float32)
    for scaling in (Scaling("minmax"), Scaling("percentile", percentiles=(0, 100))):
        found = limits_of(maps, scaling)
        np.testing.assert_array_equal(found.low, [1, nan, 2])
        np.testing.assert_array_equal(found.high, [3, nan, 2])
        assert found.scaled.tolist() == [True, False, False]
        assert found.flat.tolist() == [False, False, True]
        assert found.nonfinite.tolist() == [2, 4, 1]
    shared = limits_of(maps, Scaling("percentile", percentiles=(0, 100), scope="layer"))
    assert shared.low.tolist() == [1, 1, 1]
    assert shared.high.tolist() == [3, 3, 3]


@pytest.mark.parametrize("method", ["zscore", "minmax", "percentile", "symmetric"])
def test_a_layer_of_one_value_has_no_range(method):
    found = limits_of(np.full((2, 3, 3), 0.1, np.float32), Scaling(method, scope="layer"))
    assert not found.scaled.any()
    assert found.low.tolist() == [np.float32(0.1)] * 2


def test_a_layer_without_finite_values_has_no_range():
    for scope in ("channel", "layer"):
        found = limits_of(np.full((2, 3, 3), np.nan, np.float32), Scaling(scope=scope))
        assert not found.scaled.any()
        assert np.isnan(found.low).all()


def test_float_noise_is_a_range():
    maps = np.full((1, 4, 4), 1000, np.float32)
    maps[0, 0, 0] = np.nextafter(np.float32(1000), np.float32(2000))
    found = limits_of(maps, Scaling())
    assert not found.flat[0]
    assert found.scaled[0]
    assert found.high[0] - found.low[0] < 1e-3


def test_limits_of_some_channels_and_values_of_levels():
    found = limits_of(MAPS, Scaling("minmax"))
    part = found[1:]
    assert len(part) == 2
    assert part.low.tolist() == [-8, 3]
    assert [found.value(level, 1) for level in (0, 128, 256)] == [-8, -4, 0]
    with pytest.raises(ValueError, match="read-only"):
        found.low[0] = 1
    low = np.zeros(1)
    Limits(low, low + 1, low == 0, np.zeros(1, np.int64))
    low[0] = 1  # the caller's array is the caller's still


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"method": "z"},
            r"No scaling is called 'z'\. There are zscore, minmax, percentile, symmetric, fixed",
        ),
        ({"scope": "image"}, r"No scope of a scaling is called 'image'\. There are channel, layer, network"),
        ({"percentiles": (99, 1)}, "Percentiles 99 and 1: the lower must be less"),
        ({"percentiles": (-1, 50)}, r"Percentiles -1 and 50: .* in 0\.\.100"),
        ({"percentiles": (0, float("nan"))}, "Percentiles 0 and nan"),
        ({"method": "fixed"}, "Fixed scaling needs both limits"),
        ({"method": "fixed", "low": 1}, "Fixed scaling needs both limits"),
        ({"method": "fixed", "low": 1, "high": 1}, "low must be less than high, both finite"),
        ({"method": "fixed", "low": 0, "high": float("inf")}, "Fixed limits 0 and inf"),
        ({"method": "fixed", "low": float("nan"), "high": 1}, "Fixed limits nan and 1"),
        ({"low": 0, "high": 1}, r"given to zscore scaling.* the method is 'fixed'"),
    ],
)
def test_what_means_nothing_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        Scaling(**arguments)


def test_the_scale_of_a_network_needs_all_of_it():
    scaling = Scaling(scope="network")
    assert scaling.needs_pooled
    assert not scaling.needs_histogram
    assert Scaling("percentile", scope="network").needs_histogram
    assert not Scaling("fixed", scope="network", low=0, high=1).needs_pooled
    with pytest.raises(UsageError, match=r"needs the pooled statistics of all its layers.*scope 'layer'"):
        limits_of(MAPS, scaling)


@pytest.mark.parametrize(
    ("scaling", "phrase"),
    [
        (Scaling(), "mean ± 2 std, per channel"),
        (Scaling("percentile", percentiles=(0.5, 99.5), scope="layer"), "percentiles 0.5 to 99.5, per layer"),
        (Scaling("minmax", scope="network"), "least to greatest value, per network"),
        (Scaling("symmetric"), "± greatest magnitude, per channel"),
        (Scaling("fixed", low=-1.5, high=4), "-1.5 to 4, fixed"),
    ],
)
def test_it_says_what_it_is(scaling, phrase):
    assert str(scaling) == phrase
