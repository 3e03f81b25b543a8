"""Where channels lie in a sheet, by hand and as properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fluoroscope.drawing.geometry import LARGEST, Box, SheetGeometry, tile, untile
from fluoroscope.errors import BudgetExceeded, LayerNotFound, UsageError

_ = 9  # what gaps and blank cells are filled with

GEOMETRIES = st.builds(
    SheetGeometry,
    channels=st.integers(1, 20),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    columns=st.integers(1, 7),
    zoom=st.integers(1, 3),
    gap=st.integers(0, 3),
)


@pytest.mark.parametrize(
    ("values", "columns", "zoom", "gap", "sheet"),
    [
        ([[[1]]], 16, 1, 5, [[1]]),
        ([[[1]], [[2]], [[3]]], 2, 1, 0, [[1, 2], [3, _]]),
        ([[[1]], [[2]], [[3]]], 2, 1, 1, [[1, _, 2], [_, _, _], [3, _, _]]),
        ([[[1, 2]], [[3, 4]]], 1, 1, 1, [[1, 2], [_, _], [3, 4]]),
        ([[[1], [2]], [[3], [4]]], 2, 1, 2, [[1, _, _, 3], [2, _, _, 4]]),
        ([[[1, 2]], [[3, 4]]], 2, 2, 1, [[1, 1, 2, 2, _, 3, 3, 4, 4]] * 2),
    ],
)
def test_tile_fills_rows_first(values, columns, zoom, gap, sheet):
    maps = np.array(values, np.uint8)
    geometry = SheetGeometry.fit(maps.shape, columns=columns, zoom=zoom, gap=gap)
    assert tile(maps, geometry, fill=_).tolist() == sheet
    np.testing.assert_array_equal(untile(np.array(sheet, np.uint8), geometry), maps)


@given(GEOMETRIES, st.sampled_from([np.uint8, np.float32, np.int64]), st.data())
def test_untile_is_the_inverse_of_tile(geometry, dtype, data):
    shape = (geometry.channels, geometry.height, geometry.width)
    maps = data.draw(hnp.arrays(dtype, shape))
    image = tile(maps, geometry)
    assert image.dtype == dtype
    assert image.shape == geometry.shape
    np.testing.assert_array_equal(untile(image, geometry), maps)
    np.testing.assert_array_equal(untile(np.asfortranarray(image), geometry), maps)


@given(GEOMETRIES)
def test_every_pixel_knows_its_value_and_every_channel_its_box(geometry):
    numbers = np.arange(geometry.channels * geometry.height * geometry.width, dtype=np.int32)
    maps = numbers.reshape(geometry.channels, geometry.height, geometry.width)
    image = tile(maps, geometry, fill=-1)
    height, width = image.shape
    for y in range(-1, height + 1):
        for x in range(-1, width + 1):
            inside = 0 <= y < height and 0 <= x < width and image[y, x] >= 0
            value = geometry.value_at(y, x)
            assert (value is not None) == inside
            assert geometry.channel_at(y, x) == (value[0] if value else None)
            if value is not None:
                assert maps[value] == image[y, x]
    for channel in range(geometry.channels):
        top, left, high, wide = geometry.box(channel)
        part = image[top : top + high, left : left + wide]
        np.testing.assert_array_equal(part[:: geometry.zoom, :: geometry.zoom], maps[channel])


def test_a_row_is_never_longer_than_there_are_channels():
    geometry = SheetGeometry.fit((3, 4, 5))
    assert (geometry.columns, geometry.rows, geometry.shape) == (3, 1, (4, 17))


def test_twenty_channels_of_sixteen_a_row_are_all_there():
    geometry = SheetGeometry.fit((20, 2, 2))
    assert (geometry.rows, geometry.shape) == (2, (5, 47))
    assert geometry.box(19) == Box(3, 9, 2, 2)


def test_the_image_is_seen_not_copied():
    geometry = SheetGeometry.fit((2, 1, 1))
    image = np.zeros(geometry.shape, np.uint8)
    geometry.cells(image)[0, 1] = 7
    assert image.tolist() == [[0, 0, 7]]


@pytest.mark.parametrize("channel", [-1, 3])
def test_a_channel_that_is_not_there(channel):
    with pytest.raises(LayerNotFound, match=rf"There is no channel {channel} in the sheet.* 0 to 2"):
        SheetGeometry.fit((3, 4, 5)).box(channel)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"zoom": 0}, "zoom must be 1 or more, not 0"),
        ({"columns": -2}, "columns must be 1 or more, not -2"),
        ({"gap": -1}, "gap must be 0 or more pixels, not -1"),
    ],
)
def test_numbers_that_mean_nothing(wrong, message):
    with pytest.raises(UsageError, match=message):
        SheetGeometry.fit((3, 4, 5), **wrong)


def test_no_channels_at_all():
    with pytest.raises(UsageError, match="channels must be 1 or more, not 0"):
        SheetGeometry.fit((0, 4, 5))


def test_a_sheet_beyond_the_limit_is_refused_before_it_is_made():
    side = int(LARGEST**0.5)
    SheetGeometry.fit((1, side, side))
    with pytest.raises(BudgetExceeded, match=r"at zoom 2 would have .* pixels\. The most is 1,073,741,824"):
        SheetGeometry.fit((1, side, side), zoom=2)


def test_what_does_not_fit_the_geometry():
    geometry = SheetGeometry.fit((3, 4, 5))
    with pytest.raises(UsageError, match=r"Maps of shape \(2, 4, 5\) do not fit a sheet of \(3, 4, 5\)"):
        tile(np.zeros((2, 4, 5)), geometry)
    with pytest.raises(UsageError, match=r"An image of shape \(4, 16\) is no sheet of \(4, 17\) pixels"):
        untile(np.zeros((4, 16)), geometry)
