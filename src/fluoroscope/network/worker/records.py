"""Records of the network protocol as JSON and back, every value checked: who sent them is not trusted."""

from __future__ import annotations

import types
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

_T = TypeVar("_T")

_LARGEST = 2**63
"""Whole numbers are below this."""


class Malformed(Exception):
    """A message that is not what was agreed on; the text says where."""


def encode(record: Any) -> dict[str, Any]:
    """A dataclass as JSON has it: tuples as lists."""
    return asdict(record)


def decode(kind: type[_T], value: object, where: str) -> _T:
    """A dataclass from JSON.

    Parameters
    ----------
    kind
        Its fields are of type str, int, float, bool, None, literals, tuples and dataclasses of these.
    where
        Names the place in messages.

    Raises
    ------
    Malformed
        A field missing, left over or of another type.
    """
    if not isinstance(value, dict):
        raise Malformed(f"{where} is {type(value).__name__}, not an object")
    given = cast("dict[str, object]", value)
    hints = _hints(kind)
    if given.keys() != hints.keys():
        raise Malformed(f"{where} has the entries {sorted(given)[:20]}, not {sorted(hints)}"[:500])
    return kind(**{name: _value(hint, given[name], f"{where}.{name}") for name, hint in hints.items()})


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {entry.name: hints[entry.name] for entry in fields(kind) if entry.init}


def _value(hint: Any, value: object, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        # A record knows its fields, a number its range: the first that fits says what is wrong, if none does.
        choices = [choice for choice in arguments if choice is not type(None)]
        if value is None and len(choices) < len(arguments):
            return None
        return _first(choices, value, where)
    if origin is Literal:
        if value not in arguments:
            raise Malformed(f"{where} is none of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        return _tuple(arguments, value, where)
    if is_dataclass(hint):
        return decode(cast("type[Any]", hint), value, where)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _bounded(value, where) if isinstance(value, int) else value
    if hint in (str, int, bool) and type(value) is hint:
        return _bounded(value, where) if hint is int else value
    raise Malformed(f"{where} is {type(value).__name__}, not {getattr(hint, '__name__', hint)}")


def _first(choices: list[Any], value: object, where: str) -> Any:
    problem: Malformed | None = None
    for choice in choices:
        try:
            return _value(choice, value, where)
        except Malformed as error:
            problem = problem or error
    raise problem or Malformed(f"{where} cannot be anything")


def _tuple(arguments: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise Malformed(f"{where} is {type(value).__name__}, not a list")
    entries = cast("list[object]", value)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_value(arguments[0], entry, f"{where}[{i}]") for i, entry in enumerate(entries))
    if len(entries) != len(arguments):
        raise Malformed(f"{where} has {len(entries)} entries, not {len(arguments)}")
    return tuple(
        _value(hint, entry, f"{where}[{i}]")
        for i, (hint, entry) in enumerate(zip(arguments, entries, strict=True))
    )


def _bounded(value: Any, where: str) -> Any:
    if not -_LARGEST < value < _LARGEST:
        raise Malformed(f"{where} is out of all range")
    return value
