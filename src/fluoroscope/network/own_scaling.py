"""Whether a network brings the values of a picture, 0..255, to its own scale by itself."""

from __future__ import annotations

import numpy as np

from fluoroscope.errors import FluoroscopeError
from fluoroscope.network.protocol import FloatArray, Layer, Network

_SCALERS = frozenset({"Rescaling", "Normalization", "Mul", "Div", "Sub", "mul", "div", "sub"})
_TRANSPARENT = frozenset(
    {"InputLayer", "Input", "Resizing", "CenterCrop", "ZeroPadding2D", "Cast", "Transpose", "Identity", "Pad"}
)

_STEEP = 1 / 16
"""What is multiplied by less was large before. From 0..255 to 0..1 or -1..1 it is 1/255 or 2/255, to unit
deviation some 1/60; what starts from 0..1 is stretched instead, by 2 to 5."""

_FAR = 2.0
"""What is centred on a value beyond this does not lie in 0..1."""

_SIDE = 64
"""Pixels of a side that the network leaves open, for the trial."""


def own_scaling(network: Network, input: str | None = None) -> str | None:
    """Name of the layer that scales values 0..255 before anything else is done with them; None without one.

    A layer that shifts and stretches may as well start from 0..1, as ``(value - 0.485) / 0.229`` does. So it
    is tried on black and on white: its values tell what it divides by and where its zero lies. One that
    cannot be tried is taken to scale.

    Parameters
    ----------
    input
        What is asked about; the first input by default.
    """
    if not network.inputs:
        return None
    input = network.inputs[0].name if input is None else input
    layer = _first_scaler(network, input)
    if layer is None:
        return None
    try:
        black, white = _tried(network, input, layer.name)
    except FluoroscopeError:  # no translation, too large: it is met again, and told, when the network is run
        return layer.name
    slope = (white - black) / 255
    return layer.name if 0 < abs(slope) < _STEEP or abs(black) > _FAR * abs(slope) else None


def _first_scaler(network: Network, current: str) -> Layer | None:
    takers: dict[str, list[Layer]] = {}
    for layer in network.layers:
        for name in layer.inputs:
            takers.setdefault(name, []).append(layer)
    for _ in network.layers:
        following = takers.get(current, [])
        if len(following) != 1:
            return None
        layer = following[0]
        if layer.kind in _SCALERS:
            return layer
        if layer.kind not in _TRANSPARENT and not layer.kind.startswith("Random"):
            return None
        current = layer.name
    return None


def _tried(network: Network, input: str, name: str) -> tuple[float, float]:
    """The layer's middle value for a black and for a white picture; its border may be padding."""
    batch: dict[str, FloatArray] = {}
    for spec in network.inputs:
        sides = [_SIDE if side is None else side for side in spec.shape[:-1]]
        batch[spec.name] = np.zeros((2, *sides, *(size or 3 for size in spec.shape[-1:])), np.float32)
    batch[input][1] = 255
    values = network.run(batch, [name])[name]
    black, white = np.median(values.reshape(2, -1), axis=1).tolist()
    return black, white
