"""A config as JSON has it: lists of entries with ``class_name``, ``config`` and sometimes more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from fluoroscope.errors import DamagedFile
from fluoroscope.formats.keras.json import JsonObject, plain, plain_object


def is_model(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is a model that lists its layers: Sequential, Functional, or derived from these."""
    config = entry.get("config")
    if isinstance(config, list):
        return True
    body = options(entry)
    if not isinstance(body.get("layers"), list):
        return False
    plain_sequential = entry.get("class_name") in (None, "Sequential")
    return plain_sequential or "input_layers" in body or "build_input_shape" in body


def options(entry: Mapping[str, Any]) -> JsonObject:
    """An entry's config, if it is an object; empty if it is a Sequential's bare list."""
    config = entry.get("config")
    return cast(JsonObject, config) if isinstance(config, dict) else {}


def listed(entry: Mapping[str, Any], name: str) -> list[Any]:
    """The list under `name`; empty where there is none."""
    value = entry.get(name)
    return cast(list[Any], value) if isinstance(value, list) else []


def every_layer(config: JsonObject) -> Iterator[tuple[Any, JsonObject]]:
    """Class and config of every layer of a model, those of nested models too."""
    stack: list[Any] = [config]
    while stack:
        entry = stack.pop()
        if not isinstance(entry, dict):
            continue
        given = cast(JsonObject, entry)
        inner = given.get("config", given)
        if isinstance(inner, dict):
            body = cast(JsonObject, inner)
            yield given.get("class_name"), body
            inner = body.get("layers")
        if isinstance(inner, list):
            stack += reversed(cast(list[Any], inner))


def layer_entries(layers: Any) -> list[JsonObject]:
    """A model's list of layers, checked. Before Keras 1.0 the class stood in ``name``: that is put right.

    Raises
    ------
    DamagedFile
        Something else than a list of objects with a class.
    """
    entries = cast(list[Any], layers) if isinstance(layers, list) else [None]
    checked: list[JsonObject] = []
    for entry in entries:
        given = cast(JsonObject, entry) if isinstance(entry, dict) else {}
        if "class_name" not in given and "config" not in given:
            given = {"class_name": given.get("name"), "config": {**given, "name": given.get("custom_name")}}
        if not isinstance(given.get("class_name"), str):
            raise DamagedFile("A model's list of layers has an entry that tells no class.")
        checked.append(given)
    return checked


def layer_names(entries: Sequence[JsonObject]) -> list[str]:
    """The layers' names; a nameless one gets one after its class, as Keras does it."""
    given = [entry.get("name") or options(entry).get("name") for entry in entries]
    taken = {name for name in given if isinstance(name, str)}
    names: list[str] = []
    for name, entry in zip(given, entries, strict=True):
        number = 0
        while not isinstance(name, str):
            number += 1
            made = f"{entry['class_name'].lower()}_{number}"
            name = None if made in taken else made
        taken.add(name)
        names.append(name)
    return names


def input_shape(entry: JsonObject, model: JsonObject) -> list[Any]:
    """The shape, with batch, of the tensor that a Sequential's first layer takes.

    Parameters
    ----------
    entry, model
        The layer's entry, and the config of the Sequential around it.

    Raises
    ------
    DamagedFile
        Neither tells it.
    """
    own = plain_object(entry.get("config"))
    candidates = [
        own.get("batch_input_shape"),
        own.get("batch_shape"),
        _with_batch(own.get("input_shape")),
        _dimensions(entry["class_name"], own),
        plain(model.get("build_input_shape")),
        plain_object(entry.get("build_config")).get("input_shape"),
    ]
    for shape in candidates:
        if isinstance(shape, list) and shape:
            return cast(list[Any], shape)
    raise DamagedFile(
        "The shape of its input is not in the file: it was saved before it was built. Where it was made, "
        "call it once on a picture and save it again."
    )


def _with_batch(shape: Any) -> list[Any] | None:
    return [None, *cast(list[Any], shape)] if isinstance(shape, list) else None


def _dimensions(class_name: str, own: JsonObject) -> list[Any] | None:
    """From ``input_dim`` and ``input_length``; an Embedding's ``input_dim`` is the size of its vocabulary."""
    if class_name in ("Embedding", "ReversibleEmbedding"):
        return [None, own.get("input_length")]
    size, length = own.get("input_dim"), own.get("input_length")
    if size is None:
        return None
    return [None, length, size] if length is not None else [None, size]
