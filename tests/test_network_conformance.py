"""The `Network` protocol on every implementation of files: in this process, and isolated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fluoroscope as fs
from keras_conformance import framework, randomise, save
from network_conformance import Arrays, Case, NetworkConformance
from onnx_models import after, chain, floats, model, node, plainly, value

KERNEL = floats(5, 2, 3, 3)


def first(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, -1, 1) if array.ndim > 2 else array


def last(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, 1, -1) if array.ndim > 2 else array


def oracle_of(data: bytes, tensors: dict[str, str]) -> Any:
    """Plain onnxruntime; `tensors` says which tensor is which layer's."""

    def run(batch: Arrays) -> Arrays:
        feeds = {name: np.ascontiguousarray(first(array)) for name, array in batch.items()}
        found = plainly(data, feeds, [tensor for tensor in tensors.values() if tensor not in feeds])
        return {
            name: batch[tensor] if tensor in batch else last(found[tensor])
            for name, tensor in tensors.items()
        }

    return run


def onnx_fixed() -> tuple[bytes, dict[str, Any]]:
    nodes = [after("Conv", "k"), after("Sigmoid"), after("MaxPool", kernel_shape=[2, 2]), after("Flatten")]
    data = chain(nodes, {"k": KERNEL})
    return data, {}


def onnx_free() -> tuple[bytes, dict[str, Any]]:
    nodes = [after("Conv", "k", pads=[1, 1, 1, 1]), after("MaxPool", kernel_shape=[2, 2], strides=[2, 2])]
    return chain(nodes, {"k": KERNEL}, shape=("N", 2, "H", "W")), {"size": (10, 6)}


def onnx_two_inputs() -> tuple[bytes, dict[str, Any]]:
    made = model(
        [
            node("Concat", ["a", "b"], ["c"], axis=1, name="c"),
            node("Tanh", ["a"], ["r"], name="r"),
        ],
        [value("a", ["N", 2, 4, 4]), value("b", ["N", 3, 4, 4])],
        ["c", "r"],
    )
    return made.SerializeToString(), {}


ONNX = {"fixed": onnx_fixed, "free": onnx_free, "two inputs": onnx_two_inputs}


@pytest.fixture(scope="module", params=[False, True], ids=["here", "isolated"])
def isolate(request: pytest.FixtureRequest) -> bool:
    return request.param


def opened(source: Any, oracle: Any, isolate: bool, **more: Any) -> Iterator[Case]:
    network = fs.open_network(source, isolate=isolate)
    yield Case(network=network, oracle=oracle, **more)
    if isolate:
        network.close()  # type: ignore[attr-defined]


@pytest.fixture(scope="module", params=list(ONNX))
def onnx_case(request: pytest.FixtureRequest, isolate: bool) -> Iterator[Case]:
    data, more = ONNX[request.param]()
    rows = fs.open_network(data)._rows.values()  # type: ignore[attr-defined]
    tensors = {row.layer.name: row.tensor for row in rows}
    tensors |= {f"{row.layer.name}:pre": row.pre for row in rows if row.pre is not None}
    yield from opened(data, oracle_of(data, tensors), isolate, **more)


class TestOnnx(NetworkConformance):
    """ONNX files; the oracle is plain onnxruntime."""

    @pytest.fixture
    def case(self, onnx_case: Case) -> Case:
        return onnx_case


@pytest.fixture(scope="module")
def keras_case(isolate: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    path, oracle = keras_file(tmp_path_factory.mktemp("keras") / "net.h5")
    yield from opened(path, oracle, isolate)


class TestKeras(NetworkConformance):
    """A Keras file with fused activations, branches and vectors; the oracle is tf_keras."""

    @pytest.fixture
    def case(self, keras_case: Case) -> Case:
        return keras_case


def keras_file(path: Path) -> tuple[Path, Any]:
    tf_keras = framework("tf_keras")
    layers = tf_keras.layers
    x = inputs = layers.Input((12, 9, 3), name="picture")
    x = layers.Conv2D(6, 3, activation="relu", name="conv")(x)
    y = layers.DepthwiseConv2D(3, padding="same", activation="tanh", name="depthwise")(x)
    x = layers.Add(name="add")([x, y])
    x = layers.BatchNormalization(name="normal")(x)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(4, activation="softmax", name="dense")(x)
    net = tf_keras.Model(inputs, x, name="net")
    randomise(net)
    save(net, path)
    fused = [layer for layer in net.layers if getattr(layer, "activation", None) not in (None,)]
    names = [layer.name for layer in net.layers]

    def oracle(batch: Arrays) -> Arrays:
        found = tf_keras.Model(net.input, [layer.output for layer in net.layers])(batch["picture"])
        values = {name: np.asarray(array) for name, array in zip(names, found, strict=True)}
        for layer in fused:
            kept, layer.activation = layer.activation, tf_keras.activations.linear
            taken = layer.input
            before = np.asarray(tf_keras.Model(net.input, taken)(batch["picture"]))
            values[f"{layer.name}:pre"] = np.asarray(layer(before))
            layer.activation = kept
        return values

    return path, oracle


def test_isolated_is_the_same_to_the_bit(tmp_path: Path) -> None:
    path, _ = keras_file(tmp_path / "net.h5")
    batch = np.random.default_rng(0).random((2, 12, 9, 3), np.float32)
    plain = fs.open_network(path)
    with fs.open_network(path, isolate=True) as network:  # type: ignore[attr-defined]
        assert network.layers == plain.layers
        assert network.inputs == plain.inputs
        assert network.outputs == plain.outputs
        assert network.provenance == plain.provenance
        names = fs.select(plain, "all")
        here, there = (one.run(batch, names) for one in (plain, network))
    for name in names:
        np.testing.assert_array_equal(here[name], there[name])
        assert here[name].strides == there[name].strides
