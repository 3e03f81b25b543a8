"""What a layer is called with: tensors in their places among numbers, lists and names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class Place:
    """Stands in a call's arguments for a tensor: number `index` of those that the call takes."""

    index: int


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one call, as the author's code had them.

    Attributes
    ----------
    args, kwargs
        Positional and by name. Each is what JSON can hold (null, truth, number, text, list, dict), as the
        file writes it, with a `Place` wherever a tensor stands.
    """

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def of_tensors(cls, count: int) -> Arguments:
        """The usual call: one tensor, or a list of several, and nothing else."""
        places = [Place(index) for index in range(count)]
        return cls((places[0] if count == 1 else places,) if places else ())


def places(value: Any) -> Iterator[Place]:
    """The tensors in a nested value, in order."""
    if isinstance(value, Place):
        yield value
    elif isinstance(value, (list, tuple)):
        for child in cast(list[Any], value):
            yield from places(child)
    elif isinstance(value, Mapping):
        for child in cast(Mapping[str, Any], value).values():
            yield from places(child)
