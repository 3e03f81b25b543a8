"""Every application of Keras 2 and 3, as a file: every layer compared with what the framework computes.

Run by ``make test-applications``. Weights are random; the statistics of batch normalizations are those of
pictures, a fifth of them random, so that hundreds of layers neither vanish nor explode.
"""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fluoroscope
from keras_conformance import FRAMEWORKS, framework, randomise, save, worst

pytestmark = pytest.mark.applications

TOLERANCE, DEEP_TOLERANCE, DEEP = 1e-4, 1e-3, 200
"""Relative to the layer's scale; the second for networks of more than 200 layers."""

SMALLEST = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}
"""Pixels a side; 32 for all others."""

SUFFIXES = {"keras": ".keras", "tf_keras": ".h5"}

CONVNEXT = "Tiny Small Base Large XLarge"
DENSENET = "121 169 201"
EFFICIENTNET = "B0 B1 B2 B3 B4 B5 B6 B7 V2B0 V2B1 V2B2 V2B3 V2S V2M V2L"
INCEPTION = "InceptionResNetV2 InceptionV3 Xception"
MOBILENET = "MobileNet MobileNetV2 MobileNetV3Large MobileNetV3Small"
NASNET = "Mobile Large"
REGNET = "002 004 006 008 016 032 040 064 080 120 160 320"
RESNET = "50 101 152 50V2 101V2 152V2"
RESNET_RS = "50 101 152 200 270 350 420"
VGG = "16 19"


def _family(name: str, sizes: str) -> list[str]:
    return [name + size for size in sizes.split()]


BOTH = [
    *_family("ConvNeXt", CONVNEXT),
    *_family("DenseNet", DENSENET),
    *_family("EfficientNet", EFFICIENTNET),
    *INCEPTION.split(),
    *MOBILENET.split(),
    *_family("NASNet", NASNET),
    *_family("ResNet", RESNET),
    *_family("VGG", VGG),
]
TF_KERAS_ONLY = [*_family("RegNetX", REGNET), *_family("RegNetY", REGNET), *_family("ResNetRS", RESNET_RS)]
NAMES = {"keras": BOTH, "tf_keras": [*BOTH, *TF_KERAS_ONLY]}


@pytest.fixture(autouse=True)
def _one_at_a_time() -> Iterator[None]:
    """The largest take gigabytes: nothing of one is left for the next."""
    yield
    for name in FRAMEWORKS:
        framework(name).backend.clear_session()
    gc.collect()


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_none_is_left_out(framework_name: str) -> None:
    applications = framework(framework_name).applications
    classes = {name for name in dir(applications) if name[0].isupper()}
    assert classes == set(NAMES[framework_name])


@pytest.mark.parametrize(
    ("framework_name", "name"), [(own, name) for own in FRAMEWORKS for name in NAMES[own]]
)
def test_every_layer(
    framework_name: str, name: str, tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    start = time.perf_counter()
    record_property("network", f"{framework_name} {name}")
    keras = framework(framework_name)
    side = SMALLEST.get(name, 32)
    make = getattr(keras.applications, name)
    model = make(weights=None, input_shape=(side, side, 3), classes=10)
    pictures = np.random.default_rng(0).uniform(0, 255, (4, side, side, 3)).astype(np.float32)
    if not _scales_by_itself(model):
        pictures /= 255
    calibrate(randomise_all(model), pictures)
    picture = pictures[:1]
    expected = every_output(keras, model, picture)
    file = save(model, tmp_path / f"model{SUFFIXES[framework_name]}")
    del model
    network = fluoroscope.open_network(file)
    problems = {layer.kind: layer.problem for layer in network.layers if _is_first(layer.problem)}
    assert not problems, problems
    errors = worst(network, [picture], expected)
    file.unlink()
    assert len(errors) == sum(layer.kind != "InputLayer" for layer in network.layers)
    furthest = max(errors, key=lambda layer: errors[layer])
    record_property("layers", len(errors))
    record_property("error", errors[furthest])
    record_property("worst", furthest)
    record_property("seconds", time.perf_counter() - start)
    tolerance = DEEP_TOLERANCE if len(errors) > DEEP else TOLERANCE
    far = {layer: error for layer, error in errors.items() if not error <= tolerance}
    assert not far


def _is_first(problem: str | None) -> bool:
    """Whether a layer cannot be run for a reason of its own."""
    return problem is not None and not problem.startswith("It depends on")


def _scales_by_itself(model: Any) -> bool:
    return any(type(layer).__name__ in ("Rescaling", "Normalization") for layer in model.layers[:4])


def randomise_all(model: Any) -> Any:
    """`randomise`, nested models too."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            randomise_all(layer)
    flat = [layer for layer in model.layers if not hasattr(layer, "layers")]
    randomise(_Layers(flat))
    return model


class _Layers:
    def __init__(self, layers: list[Any]) -> None:
        self.layers = layers


def calibrate(model: Any, pictures: np.ndarray) -> None:
    """Move the statistics of every batch normalization most of the way to those of `pictures`."""
    for layer in _leaves(model):
        if type(layer).__name__ == "BatchNormalization":
            layer.momentum = 0.2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model(pictures, training=True)


def _leaves(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _leaves(layer)
        else:
            yield layer


def every_output(keras: ModuleType, model: Any, batch: np.ndarray, prefix: str = "") -> dict[str, np.ndarray]:
    """What every layer but the inputs makes of `batch`, by path; nested models are run by themselves."""
    # Keras 3 does not count a sum or a product among the layers.
    every = getattr(model, "operations", None) or model.layers
    layers = [layer for layer in every if type(layer).__name__ != "InputLayer"]
    nested = [layer for layer in layers if hasattr(layer, "layers")]
    flat = [layer for layer in layers if layer not in nested]
    # Of a nested model the last call: its own making was one, too.
    tensors = [
        *(layer.output for layer in flat),
        *(layer._inbound_nodes[-1].input_tensors for layer in nested),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = keras.Model(model.inputs, tensors)(batch, training=False)
    found = {
        prefix + layer.name: np.asarray(value) for layer, value in zip(flat, values[: len(flat)], strict=True)
    }
    for layer, value in zip(nested, values[len(flat) :], strict=True):
        taken = value[0] if isinstance(value, (list, tuple)) else value
        found |= every_output(keras, layer, np.asarray(taken), f"{prefix}{layer.name}/")
    return found
