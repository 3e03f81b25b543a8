"""A live module held to what every network must do; and the same weights in PyTorch, ONNX and Keras."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
import torch_models
from network_conformance import Arrays, Case, NetworkConformance


class Small(nn.Module):
    """A convolutional network with a sum, written out so that an oracle can follow it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.bn = nn.BatchNorm2d(5, eps=1e-3)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.conv(x)
        x = self.relu(self.bn(first))
        x += first
        return self.fc(self.pool(x).mean((2, 3)))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(4)
    return torch_models.disturbed(Small()).eval()


def by_hand(model: Small, batch: Arrays) -> Arrays:
    """Every value, by the formulas and not in place."""
    with torch.no_grad():
        values = {"x": torch.from_numpy(np.moveaxis(batch["x"], -1, 1).copy())}
        values["conv"] = model.conv(values["x"])
        values["bn"] = model.bn(values["conv"])
        values["relu"] = values["bn"].clamp(min=0)
        values["add"] = values["relu"] + values["conv"]
        values["pool"] = model.pool(values["add"])
        values["mean"] = values["pool"].flatten(2).mean(2)
        values["fc"] = model.fc(values["mean"])
    return {name: np.moveaxis(tensor.numpy(), 1, -1) for name, tensor in values.items()}


@pytest.fixture(scope="module", params=["free", "fixed"])
def case(request: pytest.FixtureRequest, model: Small) -> Case:
    if request.param == "free":
        return Case(network=fs.open_network(model), oracle=lambda batch: by_hand(model, batch), size=(9, 7))
    network = fs.open_network(model, input_shape=(8, 6, 3))
    return Case(network=network, oracle=lambda batch: by_hand(model, batch))


class TestTorchNetwork(NetworkConformance):
    pass


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pytorch_onnx_and_keras_agree(model: Small, tmp_path: Path) -> None:
    import keras

    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.zeros(1, 3, 10, 8),), stream, dynamo=False, do_constant_folding=False)
    onnx = fs.open_network(stream.getvalue())
    inputs = keras.Input((10, 8, 3))
    conv = keras.layers.Conv2D(5, 3, padding="same", name="conv")
    bn = keras.layers.BatchNormalization(epsilon=1e-3, name="bn")
    fc = keras.layers.Dense(4, name="fc")
    first = conv(inputs)
    x = keras.layers.ReLU(name="relu")(bn(first))
    x = keras.layers.MaxPooling2D(name="pool")(keras.layers.Add(name="add")([x, first]))
    twin = keras.Model(inputs, fc(keras.layers.GlobalAveragePooling2D(name="mean")(x)))
    numbers = {name: value.numpy() for name, value in model.state_dict().items()}
    conv.set_weights([numbers["conv.weight"].transpose(2, 3, 1, 0), numbers["conv.bias"]])
    bn.set_weights([numbers[f"bn.{name}"] for name in ("weight", "bias", "running_mean", "running_var")])
    fc.set_weights([numbers["fc.weight"].T, numbers["fc.bias"]])
    twin.save(tmp_path / "twin.keras")
    batch = np.random.default_rng(2).random((1, 10, 8, 3), np.float32)
    names = ["conv", "bn", "relu", "add", "pool", "mean", "fc"]
    live = fs.open_network(model, input_shape=(10, 8, 3)).run(batch, names)
    written = fs.open_network(tmp_path / "twin.keras").run(batch, names)
    exported = onnx.run(batch, onnx.outputs)[onnx.outputs[0]]
    for name in names:
        np.testing.assert_allclose(written[name], live[name], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(exported, live["fc"], rtol=1e-5, atol=1e-5)
    shared = [layer for layer in onnx.layers if layer.family in ("conv", "pool")]
    values = onnx.run(batch, [layer.name for layer in shared])
    assert {layer.family for layer in shared} == {"conv", "pool"}
    for layer in shared:
        # What is pooled over the whole picture is the mean.
        ours = live["conv" if layer.family == "conv" else "pool" if len(layer.shape) == 3 else "mean"]
        np.testing.assert_allclose(values[layer.name], ours, rtol=1e-5, atol=1e-5)
