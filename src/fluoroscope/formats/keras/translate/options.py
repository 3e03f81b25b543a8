"""A layer's config, read key by key with its type checked: what is not understood is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from reprlib import Repr
from typing import Any, Literal, NoReturn

import numpy as np

from fluoroscope.errors import DamagedFile, UnsupportedLayer, UsageError
from fluoroscope.formats.keras.model import KerasLayer
from fluoroscope.network.protocol import FloatArray

DataFormat = Literal["channels_first", "channels_last"]

LARGEST = 2**31 - 1
"""Of any size or count in a config: what fits the integers of every runtime."""

_INERT = frozenset(
    (
        "name trainable dtype batch_shape batch_input_shape input_shape batch_size input_dtype optional seed "
        "build_config autocast sparse ragged momentum synchronized renorm renorm_clipping renorm_momentum "
        "virtual_batch_size fused force_generator rng_type lora_rank lora_alpha robust_masking "
        "bounding_box_format value_range"
    ).split()
)
_INERT_ENDINGS = ("_initializer", "_regularizer", "_constraint")

_brief = Repr()
_brief.maxstring = _brief.maxother = 80


def described(layer: KerasLayer) -> str:
    """``Layer 'conv2d_1' (Conv2D)``: how every message names a layer."""
    return f"Layer {brief(layer.name)} ({layer.kind[:80]})"


def brief(value: Any) -> str:
    """A value of a file for a message, however long it is."""
    return _brief.repr(value)


class Options:
    """Typed access to the config of `layer`; remembers what was read.

    Every reader takes the option's name and a default for a file that leaves it out.

    Raises
    ------
    DamagedFile
        A value that no version of Keras writes there.
    UnsupportedLayer
        A value that may be right but has no translation.
    """

    def __init__(self, layer: KerasLayer) -> None:
        self._layer = layer
        self._config: Mapping[str, Any] = layer.config
        self._read: set[str] = set()

    def raw(self, name: str, default: Any = None) -> Any:
        """The value as it is in the file."""
        self._read.add(name)
        return self._config.get(name, default)

    def flag(self, name: str, *, default: bool) -> bool:
        value = self.raw(name, default)
        return value if isinstance(value, bool) else self._damaged(name, value, "true or false")

    def integer(self, name: str, *, default: int | None = None, least: int = 1) -> int:
        """An integer from `least` on; without a default the file has to have it."""
        return self.whole(name, self.raw(name, default), least)

    def integers(
        self, name: str, count: int, *, default: int | None = None, least: int = 1
    ) -> tuple[int, ...]:
        """`count` integers; a single one stands for all."""
        value = self.raw(name, default)
        if not isinstance(value, (list, tuple)):
            value = [value] * count
        if len(value) != count:
            return self._damaged(name, value, f"{count} integers")
        return tuple(self.whole(name, entry, least) for entry in value)

    def axes(self, name: str, rank: int, *, default: int | None = None) -> tuple[int, ...]:
        """Axes, counted with the batch as 0 or from the end, as places in a shape of `rank`, as listed."""
        value = self.raw(name, default)
        places: dict[int, None] = {}
        for entry in value if isinstance(value, (list, tuple)) else [value]:
            axis = self.whole(name, entry, -rank - 1)
            axis += (rank + 1) * (axis < 0)
            if not 1 <= axis <= rank:
                return self._damaged(name, value, f"axes from 1 to {rank}, or -1 to -{rank}")
            places[axis - 1] = None
        return tuple(places)

    def number(self, name: str, *, default: float | None = None) -> float:
        value = self.raw(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return self._damaged(name, value, "a number")
        return float(value) if abs(value) < 1e300 else self._damaged(name, value, "a finite number")

    def array(self, name: str, *, default: float | None = None) -> FloatArray:
        """A number or nested lists of numbers."""
        value = self.raw(name, default)
        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            return self._damaged(name, value, "a number or lists of numbers")
        with np.errstate(over="ignore"):
            return array.astype(np.float32)

    def choice(self, name: str, known: Mapping[str, Any] | frozenset[str], *, default: str) -> str:
        """One of the names in `known`."""
        value = self.raw(name, default)
        if not isinstance(value, str):
            return self._damaged(name, value, f"one of {', '.join(sorted(known))}")
        if value not in known:
            self.unsupported(name, f"Translated are {', '.join(sorted(known))}.")
        return value

    def data_format(self) -> DataFormat:
        return (
            "channels_first"
            if self.choice("data_format", _DATA_FORMATS, default="channels_last") == "channels_first"
            else "channels_last"
        )

    def unsupported(self, name: str, possible: str) -> NoReturn:
        """Refuse the value that option `name` has."""
        raise UnsupportedLayer(
            f"{described(self._layer)} has {name}={brief(self._config.get(name))}, "
            f"which has no translation. {possible}"
        )

    def refuse_unread(self) -> None:
        """Refuse options that no translation has looked at and that may change what the layer computes.

        An option that is switched off (null, false, an empty list) or speaks of training is none of them. Of
        a layer that a user put there, only those that the user gave are looked at, strictly.
        """
        if self._layer.asked is not None:
            self._refuse_unread_asked(self._layer.asked)
            return
        for name, value in self._config.items():
            inert = name in _INERT or name.endswith(_INERT_ENDINGS) or name in self._read
            if not inert and value is not None and value is not False and value != [] and value != {}:
                self.unsupported(name, "Nothing is known of this option.")

    def _refuse_unread_asked(self, asked: frozenset[str]) -> None:
        unread = sorted(asked - self._read)
        if unread:
            near = get_close_matches(unread[0], self._read, n=1)
            hint = (
                f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(sorted(self._read)) or 'none'}."
            )
            raise UsageError(
                f"--replace {self._layer.name}={self._layer.kind}: it has no option {unread[0]!r}. {hint}"
            )

    def whole(self, name: str, value: Any, least: int) -> int:
        """A value found inside the option `name`, as an integer from `least` on."""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST:
            return self._damaged(name, value, f"an integer from {least} to {LARGEST}")
        return value

    def _damaged(self, name: str, value: Any, expected: str) -> Any:
        raise DamagedFile(f"{described(self._layer)} has {name}={brief(value)}, not {expected}.")


_DATA_FORMATS = frozenset({"channels_first", "channels_last"})
