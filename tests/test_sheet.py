"""Sheets: levels, and what takes the place of a level, by hand and as properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fluoroscope.drawing import sheet as sheet_module
from fluoroscope.drawing.colormaps import MARKERS, palette
from fluoroscope.drawing.geometry import untile
from fluoroscope.drawing.levels import levels
from fluoroscope.drawing.scaling import Scaling
from fluoroscope.drawing.sheet import draw_sheet, draw_vector
from fluoroscope.drawing.style import Style
from fluoroscope.errors import BudgetExceeded, UsageError
from fluoroscope.statistics.channels import channel_statistics

BYTES = Scaling("fixed", low=0, high=256)
"""Under which a whole number 0..255 is its own level."""

ANY = st.floats(width=32)


def drawn(maps, **style):
    style = Style(**{"scaling": BYTES, **style})
    return draw_sheet(maps, style.scaling.limits(maps, channel_statistics(maps)), style)


def colour(sheet, y, x):
    return tuple(sheet.rgb[y, x].tolist())


def test_one_channel_fills_the_sheet_with_all_256_levels():
    maps = np.arange(256, dtype=np.float32).reshape(1, 16, 16)
    sheet = drawn(maps)
    np.testing.assert_array_equal(sheet.indices, maps[0])
    np.testing.assert_array_equal(sheet.palette, palette("viridis"))
    assert sheet.markers == {}
    assert sheet.moved == 0


def test_without_anything_to_mark_levels_are_exact():
    maps = np.random.default_rng(10).integers(0, 256, (8, 16, 16)).astype(np.float32)
    sheet = drawn(maps, columns=4, gap=0)
    assert sheet.markers == {}
    np.testing.assert_array_equal(untile(sheet.indices, sheet.geometry), maps)


@pytest.mark.parametrize("zoom", [1, 3])
def test_a_gap_takes_the_index_of_the_rarest_level(zoom):
    maps = np.arange(256, dtype=np.float32).repeat(2).reshape(2, 16, 16)
    maps[1, 0, 0] = 0  # where a 128 was: it is the only level that is there once
    sheet = drawn(maps, columns=2, zoom=zoom)
    assert dict(sheet.markers) == {"gap": 128}
    assert (sheet.indices[:, 16 * zoom] == 128).all()
    assert colour(sheet, 5, 16 * zoom) == MARKERS["gap"]
    assert sheet.moved == 1
    expected = maps.copy()
    expected[maps == 128] = 127
    np.testing.assert_array_equal(untile(sheet.indices, sheet.geometry), expected)


def test_levels_0_and_255_stay_however_rare():
    # 255 is nowhere, 0 in the fewest places.
    maps = np.arange(1, 255, dtype=np.float32).repeat(4).reshape(2, 4, 127)
    maps[0, 0, 0] = 0
    sheet = drawn(maps, columns=1)
    assert dict(sheet.markers) == {"gap": 1}
    assert sheet.moved == 3


def test_twenty_channels_of_sixteen_a_row_are_all_there_and_the_rest_is_blank():
    maps = np.arange(20, dtype=np.float32).reshape(20, 1, 1) * np.ones((1, 2, 3), np.float32) * 10
    maps[:, 0, 0] += 1  # none is flat
    sheet = drawn(maps)
    assert sheet.indices.shape == (5, 63)
    np.testing.assert_array_equal(untile(sheet.indices, sheet.geometry), maps)
    gap = sheet.markers["gap"]
    assert (sheet.indices[2] == gap).all()
    assert (sheet.indices[3:, 15:] == gap).all()
    assert sheet.channel_at(4, 14) == 19
    assert sheet.channel_at(4, 16) is None
    assert sheet.box(19) == (3, 12, 2, 3)


def test_blank_cells_are_marked_without_a_gap_as_well():
    sheet = drawn(np.array([[[0, 1]], [[2, 3]], [[4, 5]]], np.float32), columns=2, gap=0)
    gap = sheet.markers["gap"]
    assert sheet.indices.tolist() == [[0, 1, 2, 3], [4, 5, gap, gap]]


def test_a_flat_channel_is_hatched():
    maps = np.zeros((2, 12, 12), np.float32)
    maps[1] = np.arange(144).reshape(12, 12)
    sheet = drawn(maps, scaling=Scaling(), columns=2)
    cell = sheet.indices[:, :12]
    assert set(np.unique(cell)) == {sheet.markers["gap"], sheet.markers["flat"]}
    assert np.mean(cell == sheet.markers["flat"]) > 0.7
    assert colour(sheet, 0, 1) == MARKERS["flat"]
    assert colour(sheet, 0, 0) == MARKERS["gap"]
    assert sheet.flat == (0,)
    found = untile(sheet.indices, sheet.geometry)[1]
    exact = levels(maps, sheet.limits)[1]
    assert ((exact - found) <= 1).all()


def test_on_a_shared_scale_a_flat_channel_has_its_level_and_is_listed():
    maps = np.array([[[7, 7]], [[0, 14]]], np.float32)
    sheet = drawn(maps, scaling=Scaling("minmax", scope="layer"), columns=1, gap=0)
    assert sheet.indices.tolist() == [[128, 128], [0, 255]]
    assert sheet.flat == (0,)
    assert sheet.markers == {}


def test_values_that_are_not_finite_are_marked_one_by_one():
    maps = np.array([[[1, np.nan], [3, 4]], [[np.inf, 6], [-np.inf, 8]], [[np.nan] * 2] * 2], np.float32)
    sheet = drawn(maps, columns=3, gap=0, zoom=2)
    mark = sheet.markers["nonfinite"]
    assert sheet.indices[::2, ::2].tolist() == [[1, mark, mark, 6, mark, mark], [3, 4, mark, 8, mark, mark]]
    np.testing.assert_array_equal(sheet.indices[::2, ::2], sheet.indices[1::2, 1::2])
    assert colour(sheet, 0, 2) == MARKERS["nonfinite"]
    assert sheet.nonfinite == (0, 1, 2)
    assert list(sheet.markers) == ["nonfinite"]


def test_a_flat_channel_shows_what_is_not_finite_in_it():
    maps = np.full((1, 4, 4), 2, np.float32)
    maps[0, 1, 2] = np.nan
    sheet = drawn(maps, scaling=Scaling())
    assert sheet.indices[1, 2] == sheet.markers["nonfinite"]
    assert np.count_nonzero(sheet.indices == sheet.markers["nonfinite"]) == 1
    assert sorted(sheet.markers) == ["flat", "gap", "nonfinite"]


def test_maps_keep_their_aspect():
    sheet = drawn(np.array([[[0, 1, 2]], [[3, 4, 5]]], np.float32), columns=1, zoom=3, gap=2)
    assert sheet.indices.shape == (8, 9)
    assert sheet.indices[:3].tolist() == [[0, 0, 0, 1, 1, 1, 2, 2, 2]] * 3


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7), elements=ANY),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 2),
    st.sampled_from(["zscore", "minmax", "symmetric", "percentile"]),
    st.sampled_from(["channel", "layer"]),
)
def test_every_value_is_drawn_as_what_it_is(maps, columns, zoom, gap, method, scope):
    sheet = drawn(maps, columns=columns, zoom=zoom, gap=gap, scaling=Scaling(method, scope=scope))
    found = untile(sheet.indices, sheet.geometry)
    exact = levels(maps, sheet.limits)
    given_away = set(sheet.markers.values())
    moved = 0
    for channel in range(len(maps)):
        finite = np.isfinite(maps[channel])
        assert (found[channel][~finite] == sheet.markers.get("nonfinite")).all()
        if not finite.any():
            continue
        if not sheet.limits.scaled[channel]:
            box = sheet.box(channel)
            cell = sheet.indices[box.top : box.top + box.height, box.left : box.left + box.width]
            hatch = {sheet.markers["flat"], sheet.markers["gap"], sheet.markers.get("nonfinite")}
            assert set(cell.ravel().tolist()) <= hatch
            assert sheet.limits.flat[channel]
            continue
        below = np.isin(exact[channel], list(given_away))
        np.testing.assert_array_equal(found[channel][finite], (exact[channel] - below)[finite])
        moved += np.count_nonzero(below)
    assert sheet.moved == moved
    assert len(given_away) == len(sheet.markers)
    assert not given_away & {0, 255}
    assert not given_away & {index + 1 for index in given_away}
    for name, index in sheet.markers.items():
        assert tuple(sheet.palette[index]) == MARKERS[name]
    kept = sorted(set(range(256)) - given_away)
    np.testing.assert_array_equal(sheet.palette[kept], palette(Style(scaling=Scaling(method)).palette)[kept])


def test_large_sheets_are_sampled_and_drawn_in_strips(monkeypatch):
    monkeypatch.setattr(sheet_module, "BLOCK", 1000)
    maps = np.random.default_rng(11).integers(0, 256, (50, 40, 41)).astype(np.float32)
    maps[maps == 77] = 78
    sheet = drawn(maps)
    assert dict(sheet.markers) == {"gap": 77}
    assert sheet.moved == 0
    np.testing.assert_array_equal(untile(sheet.indices, sheet.geometry), maps)


def test_arrays_are_read_only_and_the_input_is_not_written():
    maps = np.random.default_rng(12).normal(size=(3, 4, 5)).astype(np.float32)
    maps.flags.writeable = False
    sheet = drawn(maps)
    for array in (sheet.indices, sheet.palette):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def vector_limits(values, scaling):
    whole = values.reshape(1, 1, -1)
    return scaling.limits(whole, channel_statistics(whole))


def test_a_vector_is_a_cell_a_value_under_one_scale():
    values = np.array([0, 64, 128, 192, np.nan], np.float32)
    sheet = draw_vector(values, vector_limits(values, BYTES), Style(gap=1), columns=3, zoom=2)
    gap, mark = sheet.markers["gap"], sheet.markers["nonfinite"]
    first = [0, 0, gap, 64, 64, gap, 128, 128]
    second = [192, 192, gap, mark, mark, gap, gap, gap]
    assert sheet.indices.tolist() == [first, first, [gap] * 8, second, second]
    assert sheet.channel_at(4, 4) == 4
    assert sheet.limits.shared
    assert sheet.nonfinite == (4,)


def test_a_vector_of_equal_values_is_flat():
    values = np.full(5, 3, np.float32)
    sheet = draw_vector(values, vector_limits(values, Scaling()), columns=5)
    assert sheet.flat == (0, 1, 2, 3, 4)
    assert set(np.unique(sheet.indices)) == {sheet.markers["gap"], sheet.markers["flat"]}


def test_what_cannot_be_drawn_is_refused():
    maps = np.zeros((3, 4, 5), np.float32)
    limits = BYTES.limits(maps, channel_statistics(maps))
    with pytest.raises(UsageError, match=r"maps of shape \(2, 4, 5\) with limits for 3 channels"):
        draw_sheet(maps[:2], limits)
    with pytest.raises(UsageError, match=r"an array of shape \(3, 4, 5\) with 3 limits"):
        draw_vector(maps, limits)
    with pytest.raises(BudgetExceeded, match="at zoom 100000 would have"):
        drawn(maps, zoom=100_000)
