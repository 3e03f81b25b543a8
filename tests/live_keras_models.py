"""Live Keras models, and what must hold of each; a program for backends that need a process of their own.

KERAS_BACKEND=jax python tests/live_keras_models.py
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fluoroscope.errors import NetworkError
from fluoroscope.formats.live.keras import open_model
from fluoroscope.formats.live.keras.network import LiveKeras
from fluoroscope.network.budget import Budget
from fluoroscope.network.onnx_network import OnnxNetwork
from fluoroscope.network.protocol import Network

Array = np.ndarray[Any, Any]


def opened(keras: ModuleType, model: Any, **options: Any) -> Any:
    return open_model(model, library=keras, budget=Budget(), **options)


def values(tensor: Any) -> Array:
    return np.asarray(tensor.detach().cpu() if hasattr(tensor, "detach") else tensor)


def batch(*shape: int) -> Array:
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


def custom_layer(keras: ModuleType) -> Any:
    """A layer of the author's with a layer in it, and a shared layer."""

    class Twice(keras.layers.Layer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.inner = keras.layers.Conv2D(4, 3, padding="same", name="inner")

        def call(self, inputs: Any) -> Any:
            return self.inner(inputs) * 2.0

    k = keras.layers
    entry = keras.Input((10, 12, 3), name="entry")
    shared = k.Conv2D(4, 1, name="shared")
    value = Twice(name="twice")(k.Conv2D(4, 3, activation="relu", name="conv")(entry))
    value = k.Concatenate(name="joined")([shared(value), shared(value)])
    value = k.BatchNormalization(name="norm")(value)
    return keras.Model(entry, k.Dense(2, name="head")(k.Flatten(name="flat")(value)), name="custom")


def convolution(keras: ModuleType) -> Any:
    """One layer of Keras's own."""
    entry = keras.Input((10, 12, 3))
    return keras.Model(entry, keras.layers.Conv2D(4, 3, name="conv")(entry))


def subclassed(keras: ModuleType) -> Any:
    """A model whose call is its author's, never called yet, with layers in a list and a Sequential."""

    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="net")
            self.first = keras.layers.Conv2D(3, 3, name="first")
            self.rest = [
                keras.layers.ReLU(name="relu"),
                keras.Sequential(
                    [
                        keras.layers.Conv2D(3, 3, padding="same", name="inner"),
                        keras.layers.Dropout(0.5, name="drop"),
                    ],
                    name="block",
                ),
            ]

        def call(self, inputs: Any, training: Any = None) -> Any:
            value = self.first(inputs)
            for layer in self.rest:
                value = layer(value)
            return value + 1.0, self.rest[0](value)

    return Net()


def check_translated(keras: ModuleType) -> None:
    """All layers Keras's own: run by onnxruntime, equal to Keras, and frozen at the moment of opening."""
    k = keras.layers
    inner = keras.Sequential([keras.Input((8, 10, 4)), k.BatchNormalization(name="norm")], name="inner")
    model = keras.Sequential(
        [
            keras.Input((10, 12, 3)),
            k.Conv2D(4, 3, activation="relu", name="conv"),
            inner,
            k.Flatten(),
            k.Dense(2),
        ]
    )
    for weight in model.weights:
        weight.assign(np.abs(batch(*weight.shape)) + 0.1)
    network = opened(keras, model)
    assert isinstance(network, OnnxNetwork)
    assert "inner/norm" in [layer.name for layer in network.layers]
    picture = batch(2, 10, 12, 3)
    expected = values(model(picture, training=False))
    result = network.run(picture, [network.outputs[0]])[network.outputs[0]]
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
    model.get_layer("conv").set_weights([np.zeros((3, 3, 3, 4)), np.zeros(4)])
    again = network.run(picture, [network.outputs[0]])[network.outputs[0]]
    np.testing.assert_array_equal(again, result)


def check_wrappers(keras: ModuleType) -> None:
    """What is inside of wrappers has its weights there: a layer, a model, two directions, cells in a row."""
    k = keras.layers
    inner = keras.Sequential([keras.Input((6, 7, 1)), k.Conv2D(2, 3), k.BatchNormalization(), k.Flatten()])
    model = keras.Sequential(
        [
            keras.Input((4, 6, 7, 1)),
            k.TimeDistributed(inner),
            k.TimeDistributed(k.Dense(3)),
            k.Bidirectional(k.GRU(2, return_sequences=True)),
            k.RNN([k.LSTMCell(3), k.SimpleRNNCell(2)]),
        ]
    )
    for weight in model.weights:
        weight.assign(np.abs(batch(*weight.shape)) + 0.1)
    network = opened(keras, model)
    assert isinstance(network, OnnxNetwork)
    assert network.provenance.notes == ()
    films = batch(2, 4, 6, 7, 1)
    found = network.run(films, [network.outputs[0]])[network.outputs[0]]
    np.testing.assert_allclose(found, values(model(films, training=False)), rtol=1e-4, atol=1e-5)


def check_custom(keras: ModuleType) -> None:
    """Every layer equals what Keras gives for a model that ends there; nothing is left on the layers."""
    model = custom_layer(keras)
    network = opened(keras, model)
    assert isinstance(network, LiveKeras)
    assert "class of its author's" in network.provenance.notes[0]
    names = [layer.name for layer in network.layers]
    assert names == "entry conv twice/inner twice shared shared#2 joined norm flat head".split()
    picture = batch(3, 10, 12, 3)
    found = network.run(picture, names)
    for name in ("conv", "twice", "joined", "norm", "flat", "head"):
        ending = keras.Model(model.inputs, model.get_layer(name).output)
        expected = values(ending([picture], training=False))
        np.testing.assert_array_equal(found[name], expected, err_msg=name)
    np.testing.assert_array_equal(found["twice"], found["twice/inner"] * 2)
    np.testing.assert_array_equal(found["shared"], found["shared#2"])
    np.testing.assert_array_equal(found["entry"], picture)
    by_name = {layer.name: layer for layer in network.layers}
    assert by_name["shared"].parameters == 20
    assert by_name["shared#2"].parameters == 0
    assert by_name["twice"].kind == "Twice"
    assert by_name["joined"].inputs == ("shared", "shared#2")
    assert by_name["conv"].family == "conv"
    assert sum(layer.parameters for layer in network.layers) == model.count_params()
    assert network.outputs == ("head",)
    assert untouched(model)


def check_subclassed(keras: ModuleType) -> None:
    """A model that says nothing of itself: its layers by path, what its own functions make, free sizes."""
    model = subclassed(keras)
    network = opened(keras, model, input_shape=(9, 9, 3))
    names = [layer.name for layer in network.layers]
    assert names == "input first relu block/inner block/drop relu#2 net".split()
    assert network.outputs == ("net", "relu#2")
    picture = batch(2, 9, 9, 3)
    found = network.run(picture, names)
    plain = [values(value) for value in model(picture, training=False)]
    np.testing.assert_array_equal(found["net"], plain[0])
    np.testing.assert_array_equal(found["relu#2"], plain[1])
    np.testing.assert_array_equal(found["net"], found["block/drop"] + 1)
    # What was captured is of the weights at that moment.
    model.get_layer("first").set_weights([np.zeros((3, 3, 3, 3)), np.ones(3)])
    np.testing.assert_array_equal(network.run(picture, ["first"])["first"], np.ones((2, 7, 7, 3)))
    free = opened(keras, model, input_shape=(None, None, 3))
    assert {layer.name: layer.shape for layer in free.layers}["relu"] == (None, None, 3)
    assert free.run(batch(1, 20, 30, 3), ["relu"])["relu"].shape == (1, 18, 28, 3)
    assert free.at_size(20, 30).layers[1].shape == (18, 28, 3)
    assert untouched(model)


def check_failure(keras: ModuleType) -> None:
    """A call that fails leaves the model as it was."""
    model = subclassed(keras)
    with pytest.raises(NetworkError, match=r"own call failed for an input of \(1, 9\)"):
        opened(keras, model, input_shape=(9,))
    assert untouched(model)


def untouched(model: Any) -> bool:
    """No layer has a call of its own left on it."""
    return not any("call" in vars(layer) for layer in model._flatten_layers())


CHECKS: tuple[Callable[[ModuleType], None], ...] = (
    check_translated,
    check_wrappers,
    check_custom,
    check_subclassed,
    check_failure,
)


def network_of(keras: ModuleType, make: Callable[[ModuleType], Any], **options: Any) -> Network:
    return opened(keras, make(keras), **options)


if __name__ == "__main__":
    library = importlib.import_module("keras")
    for check in CHECKS:
        check(library)
    print(library.backend.backend(), len(CHECKS), "checks")
    sys.exit(0)
