"""The JSON that Keras keeps an architecture in: parsed within bounds, its wrapped values unwrapped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np

from fluoroscope.errors import BudgetExceeded, DamagedFile
from fluoroscope.formats.limits import Limits

_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_STEPS = np.zeros(256, np.int8)
_STEPS[[ord("["), ord("{")]] = 1
_STEPS[[ord("]"), ord("}")]] = -1

JsonObject = dict[str, Any]


def parse(text: str, *, what: str, limits: Limits) -> JsonObject:
    """A JSON object, or the list of layers that a Sequential was up to Keras 2.2.2, as ``{"config": list}``.

    Parameters
    ----------
    what
        Names the text in messages.

    Raises
    ------
    BudgetExceeded
        The text is too long or nested too deeply: checked before it is parsed, for Python's parser recurses.
    DamagedFile
        It is no JSON, or something else than an architecture.
    """
    if len(text) > limits.config:
        raise BudgetExceeded(f"{what} has {len(text)} characters; at most {limits.config} are read.")
    brackets = np.frombuffer(_STRING.sub("", text).encode("utf-8", "replace"), np.uint8)
    depth = int(np.cumsum(_STEPS[brackets], dtype=np.int32).max(initial=0))
    if depth > limits.depth:
        raise BudgetExceeded(f"{what} is nested {depth} levels deep; at most {limits.depth} are read.")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"{what} is no valid JSON: {error}.") from error
    if isinstance(value, list):
        return {"config": value}
    if not isinstance(value, dict):
        raise DamagedFile(f"{what} is a JSON {type(cast(object, value)).__name__}, not an object.")
    return cast(JsonObject, value)


def plain(value: Any) -> Any:
    """`value` with what Keras wraps to get it through JSON unwrapped: tuples to lists, arrays to lists.

    Wrapped objects of other classes stay as they are.
    """
    if isinstance(value, list):
        return [plain(entry) for entry in cast(list[Any], value)]
    if not isinstance(value, dict):
        return value
    wrapped = cast(JsonObject, value)
    unwrap = _WRAPPERS.get(str(wrapped.get("class_name")))
    inner = wrapped.get("config")
    if unwrap is not None and ("items" in wrapped or isinstance(inner, (dict, list))):
        return plain(unwrap(wrapped))
    if wrapped.get("type") == "ndarray" and "value" in wrapped:
        return plain(wrapped["value"])
    return {name: plain(entry) for name, entry in wrapped.items()}


def plain_object(value: Any) -> JsonObject:
    """`plain` of an object, which is an object again; empty for anything else."""
    unwrapped = plain(value)
    return cast(JsonObject, unwrapped) if isinstance(unwrapped, dict) else {}


def _items(wrapped: JsonObject) -> Any:
    return wrapped.get("items", wrapped.get("config"))


def _value(wrapped: JsonObject) -> Any:
    inner = wrapped.get("config")
    return cast(JsonObject, inner).get("value") if isinstance(inner, dict) else inner


_WRAPPERS: Mapping[str, Callable[[JsonObject], Any]] = {
    "__tuple__": _items,
    "TensorShape": _items,
    "__numpy__": _value,
    "__tensor__": _value,
}
