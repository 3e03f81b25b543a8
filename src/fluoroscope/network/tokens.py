"""Tokens of a vision transformer as the grid of patches that they are.

A transformer takes the maps of its patch embedding, ``(height, width, channels)``, as a sequence ``(tokens,
channels)``, row by row, and puts tokens of its own before them: one for the class, some registers
(Dosovitskiy et al. 2021, arXiv 2010.11929; Darcet et al. 2024, arXiv 2309.16588). Nothing in a file says so;
the numbers do: what comes from maps of 14 x 14 and has 197 tokens has 196 of them in a grid and one before
it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fluoroscope.network.protocol import Layer

ATTENTION = "Attention"
"""Kind of a layer of attention weights, ``(queries, keys, heads)``."""

_MOST_APART = 8
"""Tokens before the grid: one for the class, one for a teacher, up to eight registers are published."""

_REMEMBERED = 6
"""Sizes of maps that a layer remembers of what is before it, nearest first."""

_Size = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenGrid:
    """How the tokens of a layer lie.

    Attributes
    ----------
    height, width
        Of the grid, in tokens.
    apart
        Tokens before it that are no patch of the picture.
    """

    height: int
    width: int
    apart: int = 0


def token_grids(layers: Iterable[Layer]) -> dict[str, TokenGrid]:
    """Layer name -> the grid of its tokens, for layers that have one.

    These are sequences ``(tokens, channels)``, and attention weights ``(queries, keys, heads)``, whose keys
    are tokens. A layer's grid is the size of the nearest maps before it that has as many places, or up to
    eight fewer.
    """
    before: dict[str, tuple[_Size, ...]] = {}
    grids: dict[str, TokenGrid] = {}
    for layer in layers:
        sizes = dict.fromkeys(size for name in layer.inputs for size in before.get(name, ()))
        attends = layer.kind == ATTENTION and len(layer.shape) == 3
        if len(layer.shape) == 2 or attends:
            grid = _grid(layer.shape[1 if attends else 0], sizes)
            if grid is not None:
                grids[layer.name] = grid
                sizes = dict.fromkeys([(grid.height, grid.width), *sizes])
        elif len(layer.shape) == 3:
            height, width, _ = layer.shape
            if height is not None and width is not None and min(height, width) > 1:
                sizes = dict.fromkeys([(height, width), *sizes])
        before[layer.name] = tuple(sizes)[:_REMEMBERED]
    return grids


def _grid(tokens: int | None, sizes: Iterable[_Size]) -> TokenGrid | None:
    """The nearest size that leaves the fewest tokens over."""
    if tokens is None:
        return None
    fitting = [
        TokenGrid(height=height, width=width, apart=tokens - height * width)
        for height, width in sizes
        if 0 <= tokens - height * width <= min(_MOST_APART, height * width - 1)
    ]
    return min(fitting, key=lambda grid: grid.apart, default=None)
