"""What modules return: tensors, alone or in tuples, mappings and dataclasses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch

_DEPTH = 8
"""Levels of nesting that are looked into."""


def tensors_in(value: object, depth: int = _DEPTH) -> Iterator[torch.Tensor]:
    """Every tensor in arguments or results, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth:
        for _, part in _parts(value):
            yield from tensors_in(part, depth - 1)


def outputs_in(value: object) -> list[tuple[str, torch.Tensor]]:
    """The tensors that a module or function returned, each with what stands behind the name of its row.

    A tensor has nothing; of a sequence the first has nothing and the others their place (``:1``); of a
    mapping or dataclass each has its key (``:out``). Nested ones have both (``:1.0``). What is no number is
    left out.
    """
    return [(f":{'.'.join(keys)}" if keys else "", tensor) for keys, tensor in _named(value, (), _DEPTH)]


def _named(
    value: object, keys: tuple[str, ...], depth: int
) -> Iterator[tuple[tuple[str, ...], torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        if not value.is_complex() and value.layout == torch.strided and not value.is_nested:
            yield keys, value
        return
    parts = list(_parts(value)) if depth else []
    first = not keys and isinstance(value, (tuple, list))
    for key, part in parts:
        # The first of a tuple is what the module is known for; what else it returns is an addition.
        bare = first and key == "0"
        yield from _named(part, keys if bare else (*keys, key), depth - 1)


def _parts(value: object) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(str(key), part) for key, part in value.items()]
    if isinstance(value, (tuple, list)):
        return [(str(place), part) for place, part in enumerate(value)]
    if is_dataclass(value) and not isinstance(value, type):
        return [(entry.name, getattr(value, entry.name)) for entry in fields(value)]
    return []
