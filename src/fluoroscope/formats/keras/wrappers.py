"""Layers that wrap others: which entries of their config are layers in their own right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from fluoroscope.errors import DamagedFile
from fluoroscope.formats.keras.entries import listed, options
from fluoroscope.formats.keras.json import JsonObject, plain

DEEPEST = 16
"""Wrappers inside each other. Each takes an axis of its input or is a direction; no network has this many."""

Inner = Iterator[tuple[str, JsonObject]]
"""Attribute of the wrapper in Keras, and the entry of what it holds."""


def inner_entries(kind: str, config: Mapping[str, Any]) -> dict[str, JsonObject]:
    """The layers in a layer, by the attribute that holds them in Keras; none where it is no wrapper.

    Parameters
    ----------
    kind
        By Keras 3.
    config
        As it is in the file.

    Raises
    ------
    DamagedFile
        A wrapper without what it should hold.
    """
    wrapped = _WRAPPERS.get(kind)
    return {} if wrapped is None else dict(wrapped(config))


def _entry(kind: str, value: Any) -> JsonObject:
    entry = cast(JsonObject, value) if isinstance(value, dict) else {}
    if not isinstance(entry.get("class_name"), str):
        raise DamagedFile(f"A {kind} layer in it does not say which layer it wraps.")
    return entry


def _layer(config: Mapping[str, Any]) -> Inner:
    yield "layer", _entry("wrapping", config.get("layer"))


def _cell(config: Mapping[str, Any]) -> Inner:
    """An RNN's cell; a bare list of several, as it is taken by its constructor, is StackedRNNCells."""
    cell = plain(config.get("cell"))
    if isinstance(cell, list):
        cell = {"class_name": "StackedRNNCells", "config": {"cells": cell}}
    yield "cell", _entry("RNN", cell)


def _cells(config: Mapping[str, Any]) -> Inner:
    cells = listed({"cells": plain(config.get("cells"))}, "cells")
    if not cells:
        raise DamagedFile("A StackedRNNCells in it has no cells.")
    for number, cell in enumerate(cells):
        yield f"cells/{number}", _entry("StackedRNNCells", cell)


def _pipeline(config: Mapping[str, Any]) -> Inner:
    """A Pipeline's layers, one behind the other; of no layers is a pipeline that does nothing."""
    for number, layer in enumerate(listed({"layers": plain(config.get("layers"))}, "layers")):
        yield f"layers/{number}", _entry("Pipeline", layer)


def _directions(config: Mapping[str, Any]) -> Inner:
    """A Bidirectional's layer, and another like it that goes the other way, unless that is given as well."""
    forward = _entry("Bidirectional", config.get("layer"))
    inner = options(forward)
    name = str(inner.get("name") or "layer")
    yield "forward_layer", {**forward, "config": {**inner, "name": _named("forward", name)}}
    given = config.get("backward_layer")
    if given is not None:
        yield "backward_layer", _entry("Bidirectional", given)
        return
    turned = {**inner, "name": _named("backward", name), "go_backwards": not inner.get("go_backwards")}
    yield "backward_layer", {**forward, "config": turned}


def _named(direction: str, name: str) -> str:
    """Keras puts the direction before the name; Keras 3 stores the layer with the name it then has."""
    return name if name.startswith(f"{direction}_") else f"{direction}_{name.removeprefix('forward_')}"


_WRAPPERS: Mapping[str, Callable[[Mapping[str, Any]], Inner]] = {
    "Bidirectional": _directions,
    "Pipeline": _pipeline,
    "RNN": _cell,
    "SpectralNormalization": _layer,
    "StackedRNNCells": _cells,
    "TimeDistributed": _layer,
}
