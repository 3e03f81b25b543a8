"""From activations to levels, against the formula in real numbers and as the notebooks computed it."""

from importlib.resources import as_file, files

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from fluoroscope import blocks
from fluoroscope.drawing.levels import levels
from fluoroscope.drawing.scaling import Limits, Scaling
from fluoroscope.statistics.channels import channel_statistics

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def limits_of(maps, scaling=None):
    return (scaling or Scaling()).limits(maps, channel_statistics(maps))


def between(low, high, *, channels=1, nonfinite=0):
    return Limits(
        np.full(channels, float(low)),
        np.full(channels, float(high)),
        np.zeros(channels, bool),
        np.full(channels, nonfinite),
    )


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 256, {-1e30: 0, -1: 0, 0: 0, 0.99: 0, 1: 1, 255: 255, 255.99: 255, 256: 255, 1e30: 255}),
        (-2, 2, {-2: 0, -1e-6: 127, 0: 128, 1: 192, 1.99: 255}),
        (1000, 1000.25, {1000: 0, 1000.125: 128, 1000.2499: 255}),
        (-1e300, 1e300, {-3e38: 128, 0: 128, 3e38: 128}),
        (0, 1e-40, {0: 0, 0.5e-40: 127, 1e-40: 255, 1: 255, -1: 0}),
        (-3e38, 3e38, {-3e38: 0, 0: 128, 3e38: 255}),
    ],
)
def test_levels_by_hand(low, high, expected):
    maps = np.array([[list(expected)]], np.float32)
    assert levels(maps, between(low, high))[0, 0].tolist() == list(expected.values())


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5), elements=FINITE),
    st.sampled_from(["zscore", "minmax", "symmetric"]),
    st.sampled_from(["channel", "layer"]),
)
def test_levels_are_those_of_the_formula(maps, method, scope):
    limits = limits_of(maps, Scaling(method, scope=scope))
    found = levels(maps, limits)
    assert found.dtype == np.uint8
    for channel in range(len(maps)):
        if not limits.scaled[channel]:
            assert not found[channel].any()
            continue
        low, high = limits.low[channel], limits.high[channel]
        real = 256 * ((maps[channel].astype(np.float64) - low) / (high - low))
        # On either side of an edge, but for rounding.
        for slack in (-2e-4, 2e-4):
            nearby = np.clip(np.floor(real + slack), 0, 255)
            agrees = found[channel] == nearby
            other = found[channel] == np.clip(np.floor(real - slack), 0, 255)
            assert (agrees | other).all()


@example(np.full((1, 3, 5), 1.06311695e37, np.float32))
@given(hnp.arrays(np.float32, (1, 3, 5), elements=FINITE))
def test_zero_is_the_middle_of_a_symmetric_scale_exactly(maps):
    maps[0, 0, 0] = 0
    limits = limits_of(maps, Scaling("symmetric"))
    if limits.scaled[0]:
        found = levels(maps, limits)
        assert found[0, 0, 0] == 128
        assert (found[maps < -1e-6 * limits.high[0]] < 128).all()
        assert (found[maps > 0] >= 128).all()


def real_maps():
    """Two layers of random 3x3 convolutions with ReLU over a chest X-ray: smooth, sparse, some all zero."""
    with as_file(files("fluoroscope.demo") / "person3_virus_16.jpeg") as path, Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB").resize((100, 90)), np.float32)
    values = np.moveaxis(pixels, -1, 0) / 255
    generator = np.random.default_rng(7)
    for channels in (24, 40):
        windows = np.lib.stride_tricks.sliding_window_view(values, (3, 3), axis=(1, 2))
        kernel = generator.normal(scale=(2 / (9 * len(values))) ** 0.5, size=(channels, len(values), 3, 3))
        values = np.einsum("cyxij,ocij->oyx", windows, kernel.astype(np.float32), optimize=True)
        yield np.ascontiguousarray(values)
        values = np.ascontiguousarray(np.maximum(values, 0))
        yield values


def test_levels_agree_with_the_notebooks():
    apart = pixels = 0
    for maps in real_maps():
        found = levels(maps, limits_of(maps))
        for channel, image in enumerate(maps):
            # Word for word, but for the copy and the channels without variation, where it divides by 0.
            channel_image = image.copy()
            if channel_image.std() == 0:
                continue
            channel_image -= channel_image.mean()
            channel_image /= channel_image.std()
            channel_image *= 64
            channel_image += 128
            channel_image = np.clip(channel_image, 0, 255).astype("uint8")
            difference = np.abs(found[channel].astype(int) - channel_image)
            assert difference.max() <= 1
            apart += np.count_nonzero(difference)
            pixels += difference.size
    assert pixels > 900_000
    assert apart <= pixels / 1000


def test_non_finite_values_have_stated_levels():
    nan, inf = np.nan, np.inf
    maps = np.array(
        [[[1, nan, 3, inf, -inf]], [[nan, nan, inf, -inf, nan]], [[2, nan, 2, inf, 2]]], np.float32
    )
    found = levels(maps, limits_of(maps, Scaling("minmax")))
    assert found[0, 0].tolist() == [0, 0, 255, 255, 0]
    assert not found[1:].any()


def test_float_noise_is_drawn_by_the_formula():
    # Where float32 alone would have the mean wrong by as much as the noise.
    steps = np.arange(64).reshape(1, 8, 8)
    maps = (16_000_000 + steps).astype(np.float32)
    real = (steps - steps.mean()) / steps.std() * 64 + 128
    difference = levels(maps, limits_of(maps)) - np.clip(np.floor(real), 0, 255)
    assert np.count_nonzero(difference) == 0


def test_a_given_array_is_filled():
    maps = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    maps.flags.writeable = False
    out = np.empty((3, 2, 2), np.uint8)
    assert levels(maps, between(0, 12, channels=3), out=out) is out
    assert out.tolist() == levels(maps, between(0, 12, channels=3)).tolist()
    assert out.ravel()[[0, 6, 11]].tolist() == [0, 128, 234]


def test_blocks_do_not_show(monkeypatch):
    maps = np.random.default_rng(8).normal(size=(7, 6, 5)).astype(np.float32)
    whole = levels(maps, limits_of(maps))
    monkeypatch.setattr(blocks, "BLOCK", 70)
    np.testing.assert_array_equal(levels(maps, limits_of(maps)), whole)


def test_any_memory_order():
    last = np.random.default_rng(9).normal(size=(6, 5, 7)).astype(np.float32)
    maps = np.moveaxis(last, -1, 0)
    np.testing.assert_array_equal(levels(maps, limits_of(maps)), levels(maps.copy(), limits_of(maps.copy())))
