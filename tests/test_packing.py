from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fluoroscope.output.packing import pack

SIZES = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=30)


def test_shelves_are_filled_in_order():
    packing = pack([(60, 10), (30, 20), (50, 5)], gap=10, least_width=100)
    assert packing.width == 100
    first, second = packing.shelves
    assert (first.y, first.height, first.places) == (0, 20, ((0, 0), (1, 70)))
    assert (second.y, second.height, second.places) == (30, 5, ((2, 0),))
    assert packing.height == 35


def test_the_width_that_wastes_least_is_chosen():
    # Two of 60 need 130: at 100 they would stand one below the other, and most of it stay empty.
    packing = pack([(100, 10), (60, 50), (60, 50)], gap=10)
    assert packing.width >= 130
    assert len(packing.shelves) == 2


def test_many_rectangles_do_not_make_a_tower():
    packing = pack([(100, 100)] * 100, gap=0)
    assert packing.height <= 1.5 * packing.width


def test_nothing_is_packed_into_nothing():
    assert pack([], gap=10, least_width=7).shelves == ()
    assert pack([], gap=10, least_width=7).height == 0


@settings(deadline=None)
@given(SIZES, st.integers(0, 20))
def test_nothing_overlaps_and_nothing_is_left_out(sizes, gap):
    packing = pack(sizes, gap=gap)
    assert [index for shelf in packing.shelves for index, _ in shelf.places] == list(range(len(sizes)))
    bottom = -gap
    for shelf in packing.shelves:
        assert shelf.y == bottom + gap
        right = -gap
        for index, x in shelf.places:
            width, height = sizes[index]
            assert x == right + gap
            assert height <= shelf.height
            right = x + width
        assert right <= packing.width
        bottom = shelf.y + shelf.height
    assert bottom == packing.height
