"""Interpolation weights against TensorFlow's own resizing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluoroscope.formats.keras.translate.interpolation import INTERPOLATIONS, interpolation, tap_count

SIZES = st.integers(1, 90)
METHODS = st.sampled_from(sorted(INTERPOLATIONS))


@settings(max_examples=300, deadline=None)
@given(size=SIZES, new=SIZES, method=METHODS, antialias=st.booleans(), seed=st.integers(0, 9))
def test_one_axis_as_tensorflow_resizes_it(size: int, new: int, method: str, antialias: bool, seed: int):
    import tensorflow as tf

    column = np.random.default_rng(seed).normal(size=(1, size, 1, 1)).astype(np.float32)
    expected = tf.image.resize(column, (new, 1), method=method, antialias=antialias).numpy().ravel()
    taps = interpolation(size, new, method, antialias=antialias and method not in ("nearest", "area"))
    resized = taps.matrix(size) @ column.ravel()
    np.testing.assert_allclose(resized, expected, atol=3e-6 * np.abs(column).max())


@given(size=SIZES, new=SIZES, method=METHODS, antialias=st.booleans())
def test_what_it_takes_is_known_before_it_is_made(size: int, new: int, method: str, antialias: bool):
    antialias = antialias and method not in ("nearest", "area")
    taps = interpolation(size, new, method, antialias=antialias)
    assert taps.indices.shape == (new, tap_count(size, new, method, antialias=antialias))
    assert taps.indices.min() >= 0
    assert taps.indices.max() < size


@given(size=SIZES, new=SIZES, method=METHODS)
def test_a_flat_picture_stays_flat(size: int, new: int, method: str):
    taps = interpolation(size, new, method)
    weights = np.ones_like(taps.indices, np.float32) if taps.weights is None else taps.weights
    np.testing.assert_allclose(weights.sum(1), 1, atol=3e-5)  # float32 coordinates, as TensorFlow has


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("nearest", [1, 1, 5, 5]),
        ("bilinear", [1, 2, 4, 5]),  # quarters of the way, measured from the pixels' centres
        ("area", [1, 1, 5, 5]),
    ],
)
def test_two_pixels_to_four_by_hand(method: str, values: list[float]):
    assert (interpolation(2, 4, method).matrix(2) @ [1, 5]).tolist() == values


def test_large_pictures_keep_tensorflows_rounding():
    """At a thousand pixels float32 coordinates have four digits behind the point; TensorFlow's are taken."""
    import tensorflow as tf

    column = np.random.default_rng(0).normal(size=(1, 1920, 1, 1)).astype(np.float32)
    for method in ("bilinear", "bicubic", "nearest"):
        expected = tf.image.resize(column, (299, 1), method=method).numpy().ravel()
        resized = interpolation(1920, 299, method).matrix(1920) @ column.ravel()
        np.testing.assert_allclose(resized, expected, atol=1e-6)
