"""Which axis of its input each axis of a function's output was, for functions that move or drop axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

NEW = -1
"""An axis that the input did not have."""

Order = list[int]


def moved(function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], rank: int) -> Order | None:
    """For each axis of the output its place in the input, or `NEW`; None where the function does not say.

    Parameters
    ----------
    function
        Its plain name.
    args, kwargs
        As it was called, with the tensor first.
    rank
        Of that tensor.
    """
    rule = _RULES.get(function)
    if rule is None:
        return None
    try:
        return rule(_Arguments(args[1:], kwargs, rank))
    except (IndexError, KeyError, TypeError, ValueError):
        # Called in a way that is not known here. The sizes of the axes still tell something.
        return None


class _Arguments:
    """The arguments behind the tensor."""

    def __init__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], rank: int) -> None:
        self._args = args
        self._kwargs = kwargs
        self.rank = rank

    def get(self, place: int, *names: str, default: Any = None) -> Any:
        for name in names:
            if name in self._kwargs:
                return self._kwargs[name]
        return self._args[place] if place < len(self._args) else default

    def axis(self, place: int, *names: str, default: Any = None, rank: int | None = None) -> int:
        return int(self.get(place, *names, default=default)) % (rank or self.rank)

    def axes(self, place: int, *names: str) -> list[int]:
        value = self.get(place, *names)
        return [int(axis) % self.rank for axis in (value if isinstance(value, (tuple, list)) else [value])]

    def all(self) -> Order:
        return list(range(self.rank))


def _permuted(given: _Arguments) -> Order:
    numbers = given.get(0, "dims")
    if not isinstance(numbers, (tuple, list)):
        numbers = given._args  # pyright: ignore[reportPrivateUsage]
    return [int(axis) % given.rank for axis in numbers]


def _swapped(given: _Arguments) -> Order:
    order = given.all()
    one, other = given.axis(0, "dim0", "axis0"), given.axis(1, "dim1", "axis1")
    order[one], order[other] = order[other], order[one]
    return order


def _last_two_swapped(given: _Arguments) -> Order:
    order = given.all()
    return [*order[:-2], *reversed(order[-2:])]


def _carried(given: _Arguments) -> Order:
    sources, places = given.axes(0, "source"), given.axes(1, "destination")
    rest = [axis for axis in given.all() if axis not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        rest.insert(place, axis)
    return rest


def _without_one(given: _Arguments) -> Order:
    order = given.all()
    del order[given.axis(0, "dim", default=0)]
    return order


def _with_one_more(given: _Arguments) -> Order:
    order = given.all()
    order.insert(given.axis(0, "dim", rank=given.rank + 1), NEW)
    return order


def _reduced(given: _Arguments) -> Order:
    dropped = given.axes(0, "dim", "axis")
    if given.get(1, "keepdim", "keepdims", default=False):
        return given.all()
    return [axis for axis in given.all() if axis not in dropped]


def _indexed(given: _Arguments) -> Order:
    index = given.get(0)
    parts = list(index) if isinstance(index, tuple) else [index]
    used = sum(part is not None and part is not Ellipsis for part in parts)
    order: Order = []
    axis = 0
    for part in parts:
        if part is None:
            order.append(NEW)
        elif part is Ellipsis:
            for _ in range(given.rank - used):
                order.append(axis)
                axis += 1
        elif isinstance(part, slice):
            order.append(axis)
            axis += 1
        elif isinstance(part, int) and not isinstance(part, bool):
            axis += 1
        else:
            raise TypeError
    return [*order, *range(axis, given.rank)]


_RULES: dict[str, Callable[[_Arguments], Order]] = {
    "permute": _permuted,
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), _swapped),
    **dict.fromkeys(("t", "T", "mT", "adjoint"), _last_two_swapped),
    **dict.fromkeys(("movedim", "moveaxis"), _carried),
    **dict.fromkeys(("unbind", "select"), _without_one),
    "unsqueeze": _with_one_more,
    **dict.fromkeys(("mean", "sum", "amax", "amin", "max", "min", "var", "std", "logsumexp"), _reduced),
    "getitem": _indexed,
}
