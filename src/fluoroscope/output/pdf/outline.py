"""The document's outline: layers nested as their names are, by path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

_DEEPEST = 3
"""Levels of nesting; what is deeper stays in one name."""


def nested(entries: Sequence[tuple[str, str]], level: int = 0) -> Iterator[tuple[str, str, int]]:
    """Outline entries in order: bookmark, title and level.

    Neighbours whose names begin with the same part before a ``/`` stand together under that part, which leads
    where the first of them does. A name alone stays whole.

    Parameters
    ----------
    entries
        Bookmark and name of each layer, in order.
    level
        Of the outermost entries.
    """
    for head, group in groupby(entries, key=lambda entry: _head(entry[1])):
        members = list(group)
        if head is None or len(members) == 1 or level >= _DEEPEST:
            yield from ((key, name, level) for key, name in members)
        else:
            yield members[0][0], head, level
            yield from nested([(key, name[len(head) + 1 :]) for key, name in members], level + 1)


def _head(name: str) -> str | None:
    head, slash, rest = name.partition("/")
    return head if slash and head and rest else None
