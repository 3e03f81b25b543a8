"""Where the channels lie in values whose own layer does not say: where the layers that read them look."""

from __future__ import annotations

from collections.abc import Sequence

from fluoroscope.formats.keras.model import LayerCall
from fluoroscope.formats.keras.translate.options import DataFormat

_OPAQUE = frozenset({"Flatten", "Reshape", "Dense", "RepeatVector"})
"""Layers that read values in Keras's order, whatever it means."""


def reader_formats(calls: Sequence[LayerCall]) -> dict[str, DataFormat]:
    """For each call, how the first layer behind it that says so takes its axes.

    An input of a ``channels_first`` model says nothing of that itself; its first convolution does. Layers
    that work element by element pass on what is asked of them; Permute turns it round.
    """
    formats: dict[str, DataFormat] = {}
    for call in reversed(calls):
        wish = _wish(call, formats.get(call.name))
        if wish is not None:
            for parent, _ in call.inputs:
                formats[parent] = wish
    return formats


def _wish(call: LayerCall, asked: DataFormat | None) -> DataFormat | None:
    """How `call` takes its input, `asked` being how its output is taken."""
    config = call.layer.config
    if call.layer.kind == "Permute":
        dims = config.get("dims")
        if asked is None or not isinstance(dims, (list, tuple)) or len(dims) < 3:
            return None
        source = dims[0 if asked == "channels_first" else -1]
        return "channels_first" if source == 1 else "channels_last" if source == len(dims) else None
    if config.get("data_format") == "channels_first":
        return "channels_first"
    if call.layer.kind in _OPAQUE:
        return None
    return "channels_last" if config.get("data_format") == "channels_last" else asked
