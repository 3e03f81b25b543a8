from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fluoroscope.drawing.geometry import SheetGeometry
from fluoroscope.output.pdf.tiling import Room, tile_maps, tile_sequence

ROOM = Room(width=760, height=460)
CALM = settings(deadline=None)


@st.composite
def geometries(draw):
    count = draw(st.integers(1, 600))
    return SheetGeometry.fit(
        (count, draw(st.integers(1, 60)), draw(st.integers(1, 60) | st.integers(300, 900))),
        columns=draw(st.integers(1, 40)),
        zoom=draw(st.integers(1, 3)),
        gap=draw(st.integers(0, 2)),
    )


def channels_of(piece, geometry):
    """Channels in a piece, by where its part lies in the sheet; it must lie on the edges of maps."""
    top, left, height, width = piece.part
    high, wide = (side + geometry.gap for side in geometry.cell)
    assert (top % high, left % wide) == (0, 0)
    assert ((height + geometry.gap) % high, (width + geometry.gap) % wide) == (0, 0)
    rows = range(top // high, (top + height + geometry.gap) // high)
    columns = range(left // wide, (left + width + geometry.gap) // wide)
    channels = (row * geometry.columns + column for row in rows for column in columns)
    return [channel for channel in channels if channel < geometry.channels]


@CALM
@given(geometries())
def test_every_map_is_shown_once_in_order_and_whole(geometry):
    tiling = tile_maps(geometry, ROOM)
    shown = [c for page in tiling.pages for piece in page for c in channels_of(piece, geometry)]
    assert shown == list(range(geometry.channels))
    for page in tiling.pages:
        for piece in page:
            assert channels_of(piece, geometry)[0] == piece.first


@CALM
@example(SheetGeometry.fit((2048, 7, 7)))
@given(geometries())
def test_pieces_stay_in_the_room_and_apart(geometry):
    tiling = tile_maps(geometry, ROOM)
    assert tiling.across == tiling.down
    for index, page in enumerate(tiling.pages):
        assert tiling.height(index) <= ROOM.height + 1e-6
        boxes = [
            (p.x, p.y, p.x + p.part.width * tiling.across, p.y + p.part.height * tiling.down) for p in page
        ]
        for left, _, right, _ in boxes:
            assert left >= ROOM.gutter
            assert right <= ROOM.width + 1e-6
        for before, after in pairwise(boxes):
            side_by_side = after[0] >= before[2] + ROOM.gutter - 1e-6
            below = after[1] >= before[3] - 1e-6
            assert side_by_side or below


@CALM
@given(geometries())
def test_a_page_more_is_begun_only_for_maps_that_can_be_seen(geometry):
    tiling = tile_maps(geometry, ROOM)
    side, piece = max(geometry.cell), tiling.pages[0][0]
    largest = min(ROOM.largest_value / geometry.zoom, ROOM.largest_map / side)
    assert tiling.across <= largest * (1 + 1e-9)
    alone = min((ROOM.width - ROOM.gutter) / piece.part.width, ROOM.height / geometry.cell[0])
    wanted = min(ROOM.comfortable / side, 0.75 * largest, alone)
    one_line_a_page = piece.rows == 1 and len({other.y for other in tiling.pages[0]}) == 1
    assert tiling.across >= wanted * 0.95 or one_line_a_page


@pytest.mark.parametrize(
    ("shape", "pages", "strips"),
    [
        ((32, 148, 148), 1, 1),
        ((128, 7, 7), 1, 1),
        ((256, 37, 37), 1, 1),
        ((512, 18, 18), 1, 2),
        ((2048, 7, 7), 3, 2),
        ((1030, 2, 2), 2, 2),
        ((1, 224, 224), 1, 1),
    ],
)
def test_layers_of_well_known_networks(shape, pages, strips):
    tiling = tile_maps(SheetGeometry.fit(shape), ROOM)
    assert len(tiling.pages) == pages
    assert len(tiling.pages[0]) == strips


def test_a_sheet_of_common_shape_fills_the_width():
    geometry = SheetGeometry.fit((32, 148, 148))
    assert tile_maps(geometry, ROOM).across == pytest.approx((ROOM.width - ROOM.gutter) / geometry.shape[1])


def test_small_maps_are_not_blown_up():
    tiling = tile_maps(SheetGeometry.fit((3, 2, 2)), ROOM)
    assert tiling.across == ROOM.largest_value


def test_a_row_of_wide_maps_is_broken_into_lines():
    geometry = SheetGeometry.fit((16, 40, 1000))
    tiling = tile_maps(geometry, ROOM)
    (page,) = tiling.pages
    assert len(page) > 1
    assert {piece.x for piece in page} == {ROOM.gutter}
    # As one row it would be 40 * 740 / 16015 = 1.8 points high.
    assert geometry.height * tiling.down > 10


@CALM
@given(st.integers(1, 1500), st.integers(1, 2000))
def test_sequences_show_every_channel_once_in_rows_that_can_be_seen(channels, steps):
    geometry = SheetGeometry.fit((channels, 1, steps), columns=1, gap=0)
    tiling = tile_sequence(geometry, ROOM)
    pieces = [piece for page in tiling.pages for piece in page]
    assert [c for piece in pieces for c in range(piece.first, piece.first + piece.rows)] == list(
        range(channels)
    )
    assert [piece.part.top for piece in pieces] == [piece.first for piece in pieces]
    assert tiling.down >= 2.5 * 0.99
    for index, page in enumerate(tiling.pages):
        assert tiling.height(index) <= ROOM.height + 1e-6
        assert max(p.x + p.part.width * tiling.across for p in page) <= ROOM.width + 1e-6
