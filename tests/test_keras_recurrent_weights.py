"""Old layouts of recurrent weights, against the conversions of TF-Keras's own loader."""

from typing import Any

import numpy as np
import pytest

from fluoroscope.formats.keras.tree import LayerNode
from fluoroscope.formats.keras.weights import layer_weights
from keras_conformance import framework

UNITS, FEATURES = 3, 5


def oracle(kind: str, stored: list[np.ndarray], version: str) -> list[np.ndarray]:
    """The arrays as TF-Keras would load them into a layer of today."""
    from tf_keras.src.saving.legacy import hdf5_format

    keras = framework("tf_keras")
    options = {"reset_after": version == "2"} if kind == "GRU" else {}
    layer = getattr(keras.layers, kind)(UNITS, **options)
    layer.build((None, 2, FEATURES))
    return hdf5_format.preprocess_weights_for_loading(layer, stored, version)


def found(kind: str, stored: list[tuple[str, np.ndarray]], *, major: int, **config: Any) -> list[np.ndarray]:
    node = LayerNode(name="it", kind=kind, class_name=kind, config={"units": UNITS, **config})
    weights = layer_weights(node, "it", stored, major=major)
    return [weights[name] for name in ("kernel", "recurrent_kernel", "bias")]


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", "icfo"), ("GRU", "zrh")])
def test_a_matrix_for_each_gate(kind: str, gates: str) -> None:
    generator = np.random.default_rng(0)
    stored = [
        (f"it_{own}_{gate}", generator.normal(size=shape))
        for gate in gates
        for own, shape in (("W", (FEATURES, UNITS)), ("U", (UNITS, UNITS)), ("b", (UNITS,)))
    ]
    expected = oracle(kind, [array for _, array in stored], "1")
    for own, array in zip(found(kind, stored, major=1), expected, strict=True):
        np.testing.assert_array_equal(own, array)
    joined = [("it_W", expected[0]), ("it_U", expected[1]), ("it_b", expected[2])]
    for own, array in zip(found(kind, joined, major=1, consume_less="gpu"), expected, strict=True):
        np.testing.assert_array_equal(own, array)


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3)])
def test_cudnn(kind: str, gates: int) -> None:
    generator = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "kernel": (FEATURES, gates * UNITS),
        "recurrent_kernel": (UNITS, gates * UNITS),
    }
    shapes["bias"] = (2 * gates * UNITS,)
    stored = [(f"it/{name}:0", generator.normal(size=shape)) for name, shape in shapes.items()]
    expected = oracle(kind, [array for _, array in stored], "2")
    for own, array in zip(found(f"CuDNN{kind}", stored, major=2), expected, strict=True):
        np.testing.assert_array_equal(own, array)
