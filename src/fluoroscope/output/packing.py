"""Rectangles in rows, in reading order, on the least area."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt


@dataclass(frozen=True, slots=True)
class Shelf:
    """Rectangles side by side.

    Attributes
    ----------
    y, height
        Where it begins, and how high the highest is.
    places
        Index of each rectangle and its left side.
    """

    y: int
    height: int
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Packing:
    """Shelves one below the other, and the size of all."""

    width: int
    height: int
    shelves: tuple[Shelf, ...]


def pack(sizes: Sequence[tuple[int, int]], *, gap: int, least_width: int = 1) -> Packing:
    """Put rectangles into shelves, in order, as a text is set.

    The width is one that all fit, and not much less than the height: among those up to half as much again
    the one with the least area, the narrowest of equal ones.

    Parameters
    ----------
    sizes
        (width, height) of each.
    gap
        Between neighbours, in both directions.
    least_width
        The whole is not narrower.
    """
    square = isqrt(sum((width + gap) * (height + gap) for width, height in sizes))
    least = max([least_width, square * 3 // 4, *(width for width, _ in sizes)])
    candidates = (least + least * step // 40 for step in range(21))
    return min(
        (_pack(sizes, gap, width) for width in candidates),
        key=lambda one: (one.width * one.height, one.width),
    )


def _pack(sizes: Sequence[tuple[int, int]], gap: int, width: int) -> Packing:
    shelves: list[Shelf] = []
    places: list[tuple[int, int]] = []
    x = y = highest = 0
    for index, (wide, high) in enumerate(sizes):
        if places and x + wide > width:
            shelves.append(Shelf(y, highest, tuple(places)))
            y += highest + gap
            places, x, highest = [], 0, 0
        places.append((index, x))
        x += wide + gap
        highest = max(highest, high)
    if places:
        shelves.append(Shelf(y, highest, tuple(places)))
        y += highest + gap
    return Packing(width, max(y - gap, 0), tuple(shelves))
