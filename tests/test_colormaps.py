"""Palettes, against matplotlib's of the same names, and the colours that mark what has no level."""

import matplotlib
import numpy as np
import pytest

from fluoroscope.drawing.colormaps import COLORMAPS, MARKERS, palette
from fluoroscope.errors import UsageError


def lab(colours):
    """CIELAB of sRGB 0..255 under D65, by the definitions of IEC 61966-2-1 and CIE 15."""
    unit = np.asarray(colours, float) / 255
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ratio = linear @ np.transpose(matrix) / [0.9505, 1, 1.089]
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack(
        [116 * root[..., 1] - 16, 500 * (root[..., 0] - root[..., 1]), 200 * (root[..., 1] - root[..., 2])],
        -1,
    )


@pytest.mark.parametrize("name", COLORMAPS)
def test_colours_are_those_of_matplotlib(name):
    expected = matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]
    np.testing.assert_array_equal(palette(name), expected)


def test_the_names_promised_are_there():
    assert set(COLORMAPS) == set("viridis magma inferno plasma cividis gray turbo RdBu coolwarm".split())
    np.testing.assert_array_equal(palette(), palette("viridis"))


def test_palettes_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        palette("gray")[0] = 1


def test_another_name_is_refused_with_those_there_are():
    with pytest.raises(
        UsageError, match=r"No colour map is called 'jet'\. There are viridis, magma, .*coolwarm"
    ):
        palette("jet")


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize("name", COLORMAPS)
def test_markers_are_far_from_every_colour(name, marker):
    assert np.linalg.norm(lab(palette(name)) - lab(MARKERS[marker]), axis=1).min() > 28


def test_markers_are_far_from_one_another_and_from_paper():
    colours = {**{name: lab(colour) for name, colour in MARKERS.items()}, "paper": lab((255, 255, 255))}
    for first in colours:
        for second in set(colours) - {first}:
            assert np.linalg.norm(colours[first] - colours[second]) > 20, (first, second)
