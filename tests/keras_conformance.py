"""Models written by Keras, opened by Fluoroscope, and compared layer by layer. Not a test itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import fluoroscope
from fluoroscope.network.protocol import Network

FRAMEWORKS = ("tf_keras", "keras")
FILES = (("tf_keras", ".h5"), ("tf_keras", ".keras"), ("keras", ".keras"), ("keras", ".h5"))
"""Who writes, and which format: the files that Keras 2 and Keras 3 leave in the wild."""

TOLERANCE = 1e-5
"""Of the largest value of the layer."""

BAR = 1e-4
"""The same, where a normalization may divide by next to nothing."""


def framework(name: str) -> ModuleType:
    """``tf_keras`` (Keras 2) or ``keras`` (3, on TensorFlow)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "tf_keras":
            import tf_keras

            return tf_keras
        import keras

        assert keras.backend.backend() == "tensorflow"
        return keras


def randomise(model: Any, seed: int = 0) -> Any:
    """Give every variable values of its own: no bias 0, no gamma 1; kernels that keep the values' size."""
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        arrays: list[Any] = []
        for variable in layer.weights:
            shape, name = tuple(variable.shape), variable.name.split("/")[-1]
            if name.startswith(("gamma", "moving_variance", "variance")):
                values = generator.uniform(0.5, 1.5, shape)
            elif len(shape) > 1 and name.startswith(("kernel", "depthwise_kernel", "pointwise_kernel")):
                inputs = np.prod(shape[:-2]) if "depthwise" in layer.name else np.prod(shape[:-1])
                values = generator.normal(size=shape) * np.sqrt(1.5 / max(inputs, 1))
            else:
                values = generator.normal(size=shape) * 0.3
            arrays.append(values.astype("int64") if "int" in str(variable.dtype) else values)
        if arrays:
            layer.set_weights(arrays)
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()  # Normalization keeps copies of its variables
    return model


def pictures(model: Any, count: int = 2, sizes: Sequence[int] = (9, 12), seed: int = 0) -> list[np.ndarray]:
    """A random batch for every input, free sizes filled in."""
    generator = np.random.default_rng(seed)
    batches: list[np.ndarray] = []
    for tensor in model.inputs:
        free = iter(sizes)
        shape = [next(free) if size is None else size for size in tensor.shape[1:]]
        batches.append(generator.normal(size=(count, *shape)).astype(np.float32))
    return batches


def reference(keras: ModuleType, model: Any, batches: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """What Keras computes in every layer but the inputs, by name."""
    layers = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    watched = keras.Model(model.inputs, [layer.output for layer in layers])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = watched(list(batches), training=False)
    values = values if len(layers) > 1 or isinstance(values, (list, tuple)) else [values]
    return {layer.name: np.asarray(value) for layer, value in zip(layers, values, strict=True)}


def save(model: Any, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras's advice to use another format, and that nothing is compiled
        model.save(path)
    return path


def worst(
    network: Network, batches: Sequence[np.ndarray], expected: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """For each layer the largest difference over the largest value; shapes and declared shapes must agree."""
    problems = {layer.name: layer.problem for layer in network.layers if layer.problem}
    assert not problems, problems
    feeds = {spec.name: batch for spec, batch in zip(network.inputs, batches, strict=True)}
    results = network.run(feeds, list(expected))
    declared = {layer.name: layer.shape for layer in network.layers}
    errors: dict[str, float] = {}
    for name, value in expected.items():
        result = results[name]
        assert result.shape == value.shape, name
        assert result.dtype == np.float32
        assert len(declared[name]) == value.ndim - 1, name
        assert all(own in (None, real) for own, real in zip(declared[name], value.shape[1:], strict=True)), (
            name,
            declared[name],
            value.shape,
        )
        scale = float(np.abs(value).max()) or 1.0
        errors[name] = float(np.abs(result - value).max()) / scale
    return errors


def assert_same(
    network: Network,
    batches: Sequence[np.ndarray],
    expected: Mapping[str, np.ndarray],
    tolerance: float = TOLERANCE,
) -> float:
    """Every layer within `tolerance` of its scale; returns the largest error."""
    errors = worst(network, batches, expected)
    far = {name: error for name, error in errors.items() if not error <= tolerance}
    assert not far, far
    return max(errors.values())


def check_file(keras: ModuleType, model: Any, path: Path, tolerance: float = TOLERANCE) -> float:
    """Write, open, compare every layer."""
    batches = pictures(model)
    expected = reference(keras, model, batches)
    return assert_same(fluoroscope.open_network(save(model, path)), batches, expected, tolerance)


def branches(keras: ModuleType, shape: Sequence[int | None], make: Callable[..., Iterable[Any]]) -> Any:
    """A model of one input and as many outputs as `make(input, layers)` yields."""
    entry = keras.Input(tuple(shape), name="entry")
    return randomise(keras.Model(entry, list(make(entry, keras.layers))))
