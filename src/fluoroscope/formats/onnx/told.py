"""The layer table that Fluoroscope writes into its own ONNX files: names are then known, not guessed.

It is read as any text of a stranger's is: within bounds, and only where it fits the graph.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, get_args

from fluoroscope.network.export import LAYERS
from fluoroscope.network.protocol import Family

if TYPE_CHECKING:
    import onnx

_LARGEST = 2**24
"""Characters of the table; 20,000 layers take a quarter of it."""

_LONGEST_NAME = 1000
_FAMILIES = frozenset(get_args(Family))


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the table says of a layer; see `Layer`. Its value is the tensor of its name."""

    name: str
    kind: str
    family: Family
    activation: str | None
    pre: str | None
    channel_axis: int
    parameters: int
    trainable: int
    inputs: tuple[str, ...]


def told(model: onnx.ModelProto) -> tuple[Told, ...]:
    """The layers that a model's metadata list, in their order; none unless every entry is sound."""
    text = next((entry.value for entry in model.metadata_props if entry.key == LAYERS), "")
    if not text or len(text) > _LARGEST:
        return ()
    try:
        entries: Any = json.loads(text)
        layers = tuple(_told(entry) for entry in cast("Sequence[Mapping[str, Any]]", entries))
    except (ValueError, TypeError, KeyError, RecursionError):
        return ()
    names = [layer.name for layer in layers]
    return layers if len(set(names)) == len(names) else ()


def _told(entry: Mapping[str, Any]) -> Told:
    texts = {key: _text(entry[key]) for key in ("name", "kind", "family")}
    options = {key: None if entry[key] is None else _text(entry[key]) for key in ("activation", "pre")}
    numbers = {key: _number(entry[key]) for key in ("channel_axis", "parameters", "trainable")}
    if texts["family"] not in _FAMILIES:
        raise ValueError(texts["family"])
    inputs = tuple(_text(name) for name in entry["inputs"])
    return Told(**texts, **options, **numbers, inputs=inputs)  # pyright: ignore[reportArgumentType]


def _text(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME:
        raise ValueError(value)
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or not -1 <= value < 2**40:
        raise ValueError(value)
    return value
