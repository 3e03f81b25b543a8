"""What the tests of activations, drawing and saving share: activations of networks that never were run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from drawn_reports import PaperNetwork, layer
from fluoroscope.activations import Activations, FeatureMaps
from fluoroscope.images import open_image, preprocess
from fluoroscope.network.protocol import Layer


def feature_maps(values: Any, name: str = "conv") -> FeatureMaps:
    """Feature maps of these values, channels last."""
    array = np.asarray(values, np.float32)
    return FeatureMaps(name, layer(name.removesuffix(":pre"), array.shape), 0, array)


def activations(
    values: Mapping[str, Any],
    predictions: Mapping[str, Any] | None = None,
    *,
    network: str = "net",
    picture: np.ndarray | None = None,
    broken: tuple[Layer, ...] = (),
) -> Activations:
    """Activations of these values by name, channels last; ``name:pre`` is of the layer `name`."""
    arrays = {name: np.asarray(array, np.float32) for name, array in values.items()}
    rows = {
        name.removesuffix(":pre"): layer(name.removesuffix(":pre"), array.shape)
        for name, array in arrays.items()
    }
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3) if picture is None else picture
    image = open_image(pixels)
    prepared = preprocess(image, height=pixels.shape[0], width=pixels.shape[1], channels=image.channels)
    outputs = {name: np.asarray(array, np.float32) for name, array in (predictions or {}).items()}
    paper = PaperNetwork(network, (*rows.values(), *broken), tuple(outputs))
    return Activations(paper, prepared, arrays, outputs)


def ramp(*shape: int, low: float = -1.0, high: float = 3.0) -> np.ndarray:
    """Values in even steps from low to high, in memory order."""
    return np.linspace(low, high, int(np.prod(shape))).reshape(shape).astype(np.float32)
