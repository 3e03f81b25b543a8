"""What a library calls a function, and its arguments: data from which calls are read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SPELLED = re.compile(r"(\w+)\(([^)]*)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """How a library writes a call of a function.

    Attributes
    ----------
    function
        Its name in `table.FUNCTIONS`.
    positional
        Names in `table` of what may be given by position, in order; one may be ``*name`` for a list of all
        that the others leave.
    names
        The library's name of an argument -> that in `table`.
    defaults
        What arguments are that the library leaves out, by their names in `table`.
    """

    function: str
    positional: tuple[str, ...]
    names: Mapping[str, str]
    defaults: Mapping[str, Any]

    def bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
        """Arguments by their names in `table`, others by their own; None where there are too many."""
        given = dict(self.defaults)
        names, left = list(self.positional), list(args)
        starred = next((place for place, name in enumerate(names) if name.startswith("*")), None)
        if starred is not None:
            end = len(left) - (len(names) - starred - 1)
            given[names.pop(starred)[1:]] = left[starred:end]
            del left[starred:end]
        elif len(left) > len(names):
            return None
        given.update(zip(names, left, strict=False))
        given.update((self.names.get(name, name), value) for name, value in kwargs.items())
        return given


def spelled(text: str) -> Spelling:
    """A spelling from a line such as ``mean(x=input_tensor axis keepdims | data_format="NHWC")``.

    The function's name in `table`; in brackets its arguments in the library's order, each by its name in
    `table` or ``that=own`` (or ``that=one,other``); behind a bar arguments that come by name
    only, or (with a JSON value behind ``:``) values that the library leaves out.
    """
    match = _SPELLED.fullmatch(text)
    assert match is not None, text
    before, _, behind = match[2].partition("|")
    positional: list[str] = []
    names: dict[str, str] = {}
    defaults: dict[str, Any] = {}
    for place, token in enumerate((*before.split(), None, *behind.split())):
        if token is None:
            continue
        name, colon, default = token.partition(":")
        name, _, own = name.partition("=")
        if colon:
            defaults[name] = json.loads(default)
        if place < len(before.split()):
            positional.append(name)
        names.update(dict.fromkeys((own or name.lstrip("*")).split(","), name.lstrip("*")))
    return Spelling(function=match[1], positional=tuple(positional), names=names, defaults=defaults)
