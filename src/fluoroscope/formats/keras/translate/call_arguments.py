"""What a layer is called with, read one by one: what is not understood is refused by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from fluoroscope.errors import DamagedFile, UnsupportedLayer
from fluoroscope.formats.keras.arguments import Arguments, Place, places
from fluoroscope.formats.keras.model import KerasLayer
from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.known import Known, Operand
from fluoroscope.formats.keras.translate.options import brief, described

_INERT = frozenset({"training", "name"})
"""Arguments that change nothing at inference."""


class CallArguments:
    """Typed access to the arguments of one call; remembers what was read.

    Parameters
    ----------
    layer
        What is called, for messages.
    arguments
        As the file has them.
    tensors
        What the places in them stand for.

    Attributes
    ----------
    tensors
        What the places in the arguments stand for.
    count
        How many positional arguments there are.
    """

    def __init__(self, layer: KerasLayer, arguments: Arguments, tensors: Sequence[Operand]) -> None:
        self._layer = layer
        self.tensors = tensors
        self._args = arguments.args
        self._kwargs = arguments.kwargs
        self._read: set[int | str] = set()
        self.count = len(self._args)
        first: Any = ()
        if self._args:
            first = self._args[0]
            self._read.add(0)
        else:
            holding = (name for name, value in self._kwargs.items() if any(places(value)))
            if (name := next(holding, None)) is not None:
                first = self._kwargs[name]
                self._read.add(name)
        self._first = first

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The tensors of the first argument: what most layers work on.

        Raises
        ------
        UnsupportedLayer
            One is no tensor made from a picture, but numbers such as the sizes of one.
        """
        found: list[Value] = []
        for place in places(self._first):
            operand = self._tensor(place)
            if isinstance(operand, Known):
                raise UnsupportedLayer(
                    f"{described(self._layer)} is called on numbers that no picture has a part in, which has "
                    "no translation."
                )
            found.append(operand)
        return tuple(found)

    def everything(self) -> tuple[list[Any], dict[str, Any]]:
        """All arguments, positional and by name, as `get` has them."""
        self._read.update(range(self.count), self._kwargs)
        args = [self._filled(value) for value in self._args]
        return args, {name: self._filled(value) for name, value in self._kwargs.items()}

    def get(self, name: str, place: int | None = None, default: Any = None) -> Any:
        """An argument by name, or where it is positional by its place (0 is the first).

        Returns
        -------
        Any
            As the file has it (null, truth, number, text, lists and dicts of these), with a `Value` wherever
            a tensor stands; `default` if it is not given.
        """
        if place is not None and place < len(self._args):
            self._read.add(place)
            return self._filled(self._args[place])
        if name in self._kwargs:
            self._read.add(name)
            return self._filled(self._kwargs[name])
        return default

    def tensor(self, name: str, place: int | None = None) -> Value | None:
        """An argument that is one tensor, or absent (null).

        Raises
        ------
        UnsupportedLayer
            It is anything else.
        """
        value = self.get(name, place)
        if value is None or isinstance(value, Value):
            return value
        raise UnsupportedLayer(
            f"{described(self._layer)} is called with {name}={brief(value)}, which is no tensor."
        )

    def refuse_unread(self) -> None:
        """Refuse arguments that no translation has looked at and that may change what the layer computes.

        Raises
        ------
        UnsupportedLayer
            Unless what is left is null, false or empty, or speaks of training.
        """
        left = [
            (f"argument {place + 1}", value)
            for place, value in enumerate(self._args)
            if place not in self._read
        ]
        left += [
            (name, value)
            for name, value in self._kwargs.items()
            if name not in self._read and name not in _INERT
        ]
        for name, value in left:
            if value is not None and value is not False and value != [] and value != {}:
                shown = "a tensor" if any(places(value)) else brief(value)
                raise UnsupportedLayer(
                    f"{described(self._layer)} is called with {shown} as {name[:80]}, "
                    "which has no translation."
                )

    def _tensor(self, place: Place) -> Operand:
        if place.index >= len(self.tensors):
            raise DamagedFile(f"{described(self._layer)} is called with a tensor that is not there.")
        return self.tensors[place.index]

    def _filled(self, value: Any) -> Any:
        if isinstance(value, Place):
            return self._tensor(value)
        if isinstance(value, (list, tuple)):
            return [self._filled(child) for child in cast(Sequence[Any], value)]
        if isinstance(value, Mapping):
            return {key: self._filled(child) for key, child in cast(Mapping[str, Any], value).items()}
        return value
