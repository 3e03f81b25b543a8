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
from fluoroscope.formats.keras.arguments import Arguments, Place
from fluoroscope.formats.keras.json import JsonObject

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
    arguments
        How they stand among its other arguments.
    training
        It is called with ``training=True``: in training's way also at inference. Never so in Keras 3.
    """

    tensors: tuple[Reference, ...]
    arguments: Arguments
    training: bool = False


def parse(node: Any, *, names: Collection[str]) -> Node:
    """A call from an entry of ``inbound_nodes``; `names` are those of the model's layers.

    Raises
    ------
    DamagedFile
        A tensor of a layer that the model does not have.
    """
    tensors: list[Reference] = []
    if isinstance(node, dict) and "args" in node:
        call = cast(JsonObject, node)
        given, options = call["args"], call.get("kwargs")
        args = [
            _keras_3(value, tensors)
            for value in (cast(list[Any], given) if isinstance(given, list) else [given])
        ]
        named = cast(JsonObject, options) if isinstance(options, dict) else {}
        kwargs = {name: _keras_3(value, tensors) for name, value in named.items()}
        # Keras 3 writes the default of each layer's argument and, at inference, calls all with False.
        training = False
    else:
        named = {}
        args = [_keras_2(node, tensors, named)]
        # A list such as ["relu", 1, 2] may be anything: it is a tensor when there is such a layer.
        kwargs = {name: _keras_2_option(value, tensors, names) for name, value in named.items()}
        training = named.get("training") is True
    check(tensors, names=names)
    return Node(tensors=tuple(tensors), arguments=Arguments(tuple(args), kwargs), training=training)


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


def _reference(value: Any) -> Reference | None:
    if not isinstance(value, list):
        return None
    parts = cast(list[Any], value)
    if len(parts) in (3, 4) and isinstance(parts[0], str) and all(type(part) is int for part in parts[1:3]):
        return parts[0], parts[1], parts[2]
    return None


def _keras_2(value: Any, tensors: list[Reference], kwargs: JsonObject) -> Any:
    """The first argument: a tensor, a constant, or any nesting of these in lists and dicts.

    Every tensor carries the keyword arguments of the call along; they are collected in `kwargs`.
    """
    if isinstance(value, list):
        parts = cast(list[Any], value)
        reference = _reference(parts)
        constant = len(parts) in (3, 4) and parts[0] == _CONSTANT
        if reference is not None or constant:
            if len(parts) == 4 and isinstance(parts[3], dict):
                kwargs.update(cast(JsonObject, parts[3]))
            return parts[2] if reference is None or constant else _placed(reference, tensors)
        children = [_keras_2(child, tensors, kwargs) for child in parts]
        # A list of one is how a single tensor is written.
        return children[0] if len(children) == 1 else children
    if isinstance(value, dict):
        return {key: _keras_2(child, tensors, kwargs) for key, child in cast(JsonObject, value).items()}
    return value


def _keras_2_option(value: Any, tensors: list[Reference], names: Collection[str]) -> Any:
    """A keyword argument of Keras 2."""
    reference = _reference(value)
    if reference is not None and reference[0] in names:
        return _placed(reference, tensors)
    if isinstance(value, list):
        return [_keras_2_option(child, tensors, names) for child in cast(list[Any], value)]
    if isinstance(value, dict):
        given = cast(JsonObject, value)
        return {key: _keras_2_option(child, tensors, names) for key, child in given.items()}
    return value


def _keras_3(value: Any, tensors: list[Reference]) -> Any:
    """An argument of Keras 3, which marks its tensors."""
    if isinstance(value, dict):
        given = cast(JsonObject, value)
        if given.get("class_name") != "__keras_tensor__":
            return {key: _keras_3(child, tensors) for key, child in given.items()}
        inner = given.get("config")
        history = (
            _reference(cast(JsonObject, inner).get("keras_history")) if isinstance(inner, dict) else None
        )
        if history is None:
            raise DamagedFile("A connection between layers does not say which tensor it takes.")
        return _placed(history, tensors)
    if isinstance(value, list):
        return [_keras_3(child, tensors) for child in cast(list[Any], value)]
    return value


def _placed(reference: Reference, tensors: list[Reference]) -> Place:
    tensors.append(reference)
    return Place(len(tensors) - 1)
