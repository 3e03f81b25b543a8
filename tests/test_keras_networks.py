"""Whole networks of Keras 2 and 3, as files: every layer compared, with statistics that are not trivial."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fluoroscope
from keras_conformance import (
    FILES,
    FRAMEWORKS,
    TOLERANCE,
    assert_same,
    check_file,
    framework,
    pictures,
    randomise,
    reference,
    save,
)

SMALLEST = 32
"""Pixels a side: the least that all the networks take."""


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("kind", ["VGG16", "ResNet50V2", "MobileNetV2", "DenseNet121"])
def test_every_layer_of_a_network_agrees(kind: str, name: str, tmp_path: Path):
    keras = framework(name)
    make = getattr(keras.applications, kind)
    model = randomise(make(weights=None, input_shape=(SMALLEST, SMALLEST, 3), classes=10))
    check_file(keras, model, tmp_path / ("model.h5" if name == "tf_keras" else "model.keras"))
    keras.backend.clear_session()


@pytest.mark.parametrize(("name", "suffix"), FILES)
def test_models_in_models_and_layers_called_twice(name: str, suffix: str, tmp_path: Path):
    keras = framework(name)
    layers = keras.layers
    inside = keras.Input((8, 8, 3), name="inside")
    value = layers.Conv2D(4, 3, activation="relu", name="conv")(inside)
    tower = keras.Model(inside, layers.BatchNormalization(name="norm")(value), name="tower")
    head = keras.Sequential(
        [keras.Input((6, 6, 4), name="top"), layers.Flatten(name="flat"), layers.Dense(3, name="dense")],
        name="head",
    )
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    both = layers.Add(name="sum")([tower(left), tower(right)])
    model = randomise(keras.Model([left, right], [head(both), both], name="whole"))
    batches = pictures(model)
    answer, total = model(batches, training=False)
    network = fluoroscope.open_network(save(model, tmp_path / f"model{suffix}"))
    assert [spec.name for spec in network.inputs] == ["left", "right"]
    assert network.outputs == ("head/dense", "sum")
    probe = keras.Model(tower.inputs, [layer.output for layer in tower.layers[1:]])
    expected = {"head/dense": answer, "sum": total}
    for batch, call in zip(batches, ("", "#2"), strict=True):
        expected |= {
            f"tower/{layer.name}{call}": value
            for layer, value in zip(tower.layers[1:], probe([batch], training=False), strict=True)
        }
    assert_same(network, batches, {key: np.asarray(value) for key, value in expected.items()})
    assert sum(layer.parameters for layer in network.layers) == model.count_params()
    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_weights)
    assert sum(layer.trainable for layer in network.layers) == trainable


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_networks_of_half_precision_run_in_full(name: str, tmp_path: Path):
    """Mixed precision is a way of training: the variables are float32, and float32 is what is shown."""
    keras = framework(name)
    policies = keras.mixed_precision
    before = policies.global_policy() if name == "tf_keras" else policies.dtype_policy()
    models = {}
    try:
        for policy in ("mixed_float16", "float32"):
            (policies.set_global_policy if name == "tf_keras" else policies.set_dtype_policy)(policy)
            entry = keras.Input((8, 8, 3))
            value = keras.layers.Conv2D(4, 3, activation="relu")(entry)
            value = keras.layers.BatchNormalization()(value)
            value = keras.layers.Dense(3)(keras.layers.Flatten()(value))
            models[policy] = randomise(keras.Model(entry, value))
    finally:
        (policies.set_global_policy if name == "tf_keras" else policies.set_dtype_policy)(before)
    batches = pictures(models["float32"])
    values = reference(keras, models["float32"], batches)
    names = [layer.name for layer in models["mixed_float16"].layers[1:]]
    network = fluoroscope.open_network(save(models["mixed_float16"], tmp_path / "model.h5"))
    assert_same(network, batches, dict(zip(names, values.values(), strict=True)), TOLERANCE)


def test_functions_between_layers_leave_the_layers_their_weights(tmp_path: Path):
    """Keras 3 keeps ``x + y`` as an operation called add; the layer Add beside it has a name like it."""
    keras = framework("keras")
    entry = keras.Input((4, 4, 3))
    left = keras.layers.Conv2D(3, 1, name="left")(entry)
    right = keras.layers.Conv2D(3, 1, name="right")(keras.layers.Add()([left, entry]))
    model = randomise(keras.Model(entry, [right, left + entry]))
    batches = pictures(model)
    network = fluoroscope.open_network(save(model, tmp_path / "model.keras"))
    values = reference(keras, keras.Model(entry, right), batches)
    results = network.run(batches[0], list(values))
    for name, value in values.items():
        np.testing.assert_allclose(results[name], value, atol=TOLERANCE * np.abs(value).max())
    assert [layer.kind for layer in network.layers if layer.problem] == []
    assert [layer.kind for layer in network.layers].count("ops.Add") == 1
