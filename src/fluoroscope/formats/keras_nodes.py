"""Connections between layers, in the three ways that Keras versions write them.

Keras 1 and 2 list ``[name, call, output]``, later with keyword arguments as a fourth; TF-Keras nests these in
lists and dicts as the call's arguments were; Keras 3 writes ``{"args": ..., "kwargs": ...}`` with a
``__keras_tensor__`` for each tensor.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from fluoroscope.errors import DamagedFile
from fluoroscope.formats.keras_json import JsonObject

Reference = tuple[str, int, int]
"""A layer's name, which of its calls (as the file counts them), which of the call's outputs."""

_CONSTANT = "_CONSTANT_VALUE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One call of a layer as the file has it.

    Attributes
    ----------
    tensors
        What it takes, arguments before keyword arguments.
    training
        It is called with ``training=True``: in training's way also at inference. Never so in Keras 3.
    constants
        It takes numbers besides tensors.
    """

    tensors: tuple[Reference, ...]
    training: bool = False
    constants: bool = False


def parse(node: Any, *, names: Collection[str]) -> Node:
    """A call from an entry of ``inbound_nodes``; `names` are those of the model's layers.

    Raises
    ------
    DamagedFile
        A tensor of a layer that the model does not have.
    """
    if isinstance(node, dict) and "args" in node:
        call = cast(JsonObject, node)
        options = call.get("kwargs")
        kwargs = cast(JsonObject, options) if isinstance(options, dict) else {}
        positional = list(_walk_keras_3(call["args"]))
        found = (*positional, *_walk_keras_3(list(kwargs.values())))
        tensors = tuple(entry for entry in found if entry is not None)
        # Keras 3 writes the default of each layer's argument and, at inference, calls all with False.
        training, constants = False, None in positional
    else:
        kwargs = {}
        tensors = tuple(_walk_keras_2(node, names, kwargs))
        training, constants = kwargs.get("training") is True, kwargs.get(_CONSTANT) is True
    check(tensors, names=names)
    return Node(tensors=tensors, training=training, constants=constants)


def check(tensors: Iterable[Reference], *, names: Collection[str]) -> None:
    """Raise `DamagedFile` for a reference to what cannot be there."""
    for name, call, output in tensors:
        if name not in names or call < 0 or output < 0:
            raise DamagedFile(
                f"A connection in it leads to {name[:80]!r}, {call}, {output}, which is not there."
            )


def references(tensors: Any) -> Iterator[Reference]:
    """The tensors in ``input_layers`` or ``output_layers``: one, or any nesting of lists and dicts."""
    if (reference := _reference(tensors)) is not None:
        yield reference
    elif isinstance(tensors, (list, dict)):
        children = (
            cast(JsonObject, tensors).values() if isinstance(tensors, dict) else cast(list[Any], tensors)
        )
        for child in children:
            yield from references(child)


def _children(value: Any) -> list[Any]:
    return list(cast(JsonObject, value).values()) if isinstance(value, dict) else cast(list[Any], value)


def _reference(value: Any) -> Reference | None:
    if not isinstance(value, list):
        return None
    parts = cast(list[Any], value)
    if len(parts) in (3, 4) and isinstance(parts[0], str) and all(type(part) is int for part in parts[1:3]):
        return parts[0], parts[1], parts[2]
    return None


def _walk_keras_2(value: Any, names: Collection[str], kwargs: JsonObject) -> Iterator[Reference]:
    """References in a nested structure. `kwargs` collects what matters of keyword arguments beside them."""
    if (reference := _reference(value)) is not None:
        if reference[0] == _CONSTANT:
            kwargs[_CONSTANT] = True
            return
        yield reference
        parts = cast(list[Any], value)
        options = parts[3] if len(parts) == 4 else None
        if isinstance(options, dict):
            given = cast(JsonObject, options)
            kwargs["training"] = kwargs.get("training") is True or given.get("training") is True
            for option in given.values():
                # A list such as ["relu", 1, 2] may be anything: it is a tensor when there is such a layer.
                yield from (found for found in _walk_keras_2(option, names, kwargs) if found[0] in names)
    elif isinstance(value, list) and value and cast(list[Any], value)[0] == _CONSTANT:
        kwargs[_CONSTANT] = True
    elif isinstance(value, (list, dict)):
        for child in _children(value):
            yield from _walk_keras_2(child, names, kwargs)


def _walk_keras_3(value: Any) -> Iterator[Reference | None]:
    """References in a nested structure; None stands for whatever else is there but null."""
    if isinstance(value, dict):
        given = cast(JsonObject, value)
        if given.get("class_name") == "__keras_tensor__":
            inner = given.get("config")
            history = (
                _reference(cast(JsonObject, inner).get("keras_history")) if isinstance(inner, dict) else None
            )
            if history is None:
                raise DamagedFile("A connection between layers does not say which tensor it takes.")
            yield history
            return
        value = list(given.values())
    if isinstance(value, list):
        for child in cast(list[Any], value):
            yield from _walk_keras_3(child)
    elif value is not None:
        yield None
