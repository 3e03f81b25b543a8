"""The rarer layers with their options: written by Keras 2 and 3, opened by Fluoroscope, compared.

As in `test_keras_layers`: the options of a layer are branches of one model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fluoroscope
from keras_conformance import FILES, assert_same, branches, framework, pictures, randomise, reference, save

Branches = Iterator[Any]


def normalization(x: Any, keras: Any) -> Branches:
    row, vector = keras.Reshape((-1, 4))(x), keras.Flatten()(x)
    for groups, scale, center in product((1, 2, 4, -1), (True, False), (True, False)):
        yield keras.GroupNormalization(groups, scale=scale, center=center)(x)
    for axis, groups in ((1, 3), (2, 4), (3, 2), (-2, 2), (-1, 4)):
        if axis > 0 or "tf_keras" not in keras.__name__:
            yield keras.GroupNormalization(groups, axis=axis, epsilon=0.01)(x)
    yield keras.GroupNormalization(2)(row)
    yield keras.GroupNormalization(8)(vector)
    yield keras.Conv2D(3, 2)(keras.GroupNormalization(2)(keras.Conv2D(4, 2)(x)))
    for axis in (-1, 1, 2, [1, 2], [1, 2, 3], [3]):
        yield keras.UnitNormalization(axis=axis)(x)
    yield keras.UnitNormalization()(vector)
    yield keras.UnitNormalization()(keras.Rescaling(0.0)(x))
    yield keras.UnitNormalization()(keras.Rescaling(1e-8)(x))
    if "tf_keras" not in keras.__name__:
        for value in (x, row, vector):
            yield keras.RMSNormalization()(value)
        yield keras.RMSNormalization(axis=[2, 3], epsilon=0.1)(x)
        yield keras.RMSNormalization(axis=[1, 2, 3])(x)
        yield keras.RMSNormalization(axis=1)(keras.Cropping1D((0, 44))(row))


def convolutions3d(x: Any, keras: Any) -> Branches:
    yield keras.Conv3D(4, 2, groups=2, padding="same", activation="relu")(x)
    for padding in ("valid", "same"):
        yield keras.Conv3D(3, 2, dilation_rate=2, padding=padding)(x)
        yield keras.Conv3D(3, [3, 1, 2], strides=[1, 2, 1], padding=padding, use_bias=False)(x)
        yield keras.Conv3DTranspose(2, 3, strides=2, output_padding=1, padding=padding)(x)
        yield keras.Conv3DTranspose(2, [3, 2, 3], strides=[1, 2, 2], padding=padding, activation="tanh")(x)
    yield keras.GlobalAveragePooling3D(keepdims=True)(x)
    yield keras.SpatialDropout3D(0.5)(keras.BatchNormalization(axis=2)(x))
    yield keras.UpSampling3D(2)(keras.Cropping3D(1)(x))
    yield keras.ZeroPadding3D((1, 0, 2))(x)


def convolutions1d(x: Any, keras: Any) -> Branches:
    for padding in ("valid", "same"):
        yield keras.Conv1DTranspose(3, 3, strides=2, output_padding=1, padding=padding)(x)
        yield keras.Conv1DTranspose(3, 3, dilation_rate=2, padding=padding, use_bias=False)(x)
        yield keras.DepthwiseConv1D(3, dilation_rate=2, padding=padding, activation="relu")(x)
        yield keras.SeparableConv1D(4, 3, dilation_rate=2, padding=padding, depth_multiplier=2)(x)
    for dilation in (1, 3):
        yield keras.Conv1D(4, 3, groups=2, padding="causal", dilation_rate=dilation)(x)
    yield keras.SpatialDropout1D(0.5)(keras.BatchNormalization(axis=1)(x))


def adaptive(x: Any, keras: Any, rank: int) -> Branches:
    for size in (2, 3, 4, 5, 7, 11, 12):
        yield getattr(keras, f"AdaptiveAveragePooling{rank}D")(size)(x)
        yield getattr(keras, f"AdaptiveMaxPooling{rank}D")(size)(x)
    if rank > 1:
        size = (2, 9, 5)[:rank]
        yield getattr(keras, f"AdaptiveAveragePooling{rank}D")(size)(x)
        yield getattr(keras, f"AdaptiveMaxPooling{rank}D")(size)(x)


def dots(x: Any, keras: Any) -> Branches:
    vector = keras.GlobalAveragePooling2D()(x)
    other = keras.Dense(4)(vector)
    for normalize in (False, True):
        yield keras.Dot(1, normalize=normalize)([vector, other])
        yield keras.Dot(-1, normalize=normalize)([vector, other])
        rows, columns = keras.Reshape((48, 4))(x), keras.Reshape((4, 48))(x)
        for axes, pair in (
            (1, (rows, rows)),
            (2, (rows, rows)),
            (-1, (columns, columns)),
            ((2, 1), (rows, columns)),
            ((1, 2), (rows, columns)),
            ((2, 1), (rows, vector)),
            ((1, 2), (vector, rows)),
            ((1, 1), (vector, columns)),
            ((3, 1), (x, vector)),
            ((3, 2), (x, rows)),
            ((1, 1), (x, x)),
            ((2, 2), (x, x)),
            ((1, 3), (vector, x)),
        ):
            if "tf_keras" not in keras.__name__ or max(len(value.shape) for value in pair) < 4:
                yield keras.Dot(axes, normalize=normalize)(list(pair))


def local(x: Any, keras: Any) -> Branches:
    for kernel, strides in ((2, 1), ([3, 2], 2), (1, [1, 2])):
        yield keras.LocallyConnected2D(3, kernel, strides=strides, activation="relu")(x)
        for implementation, padding in ((2, "valid"), (2, "same"), (3, "valid"), (3, "same")):
            yield keras.LocallyConnected2D(
                3, kernel, strides=strides, padding=padding, implementation=implementation
            )(x)
    yield keras.LocallyConnected2D(2, 7, padding="same", implementation=3, use_bias=False)(x)
    yield keras.Conv2D(2, 2)(keras.LocallyConnected2D(2, 2)(keras.Conv2D(2, 2)(x)))


def local1d(x: Any, keras: Any) -> Branches:
    for kernel, strides in ((2, 1), (3, 2), (1, 3)):
        yield keras.LocallyConnected1D(3, kernel, strides=strides)(x)
        for implementation, padding in ((2, "valid"), (2, "same"), (3, "valid"), (3, "same")):
            yield keras.LocallyConnected1D(
                3, kernel, strides=strides, padding=padding, implementation=implementation
            )(x)


def wrapped(x: Any, keras: Any) -> Branches:
    def convolution(**options: Any) -> Any:
        return keras.Conv2D(3, 2, **options)

    yield keras.SpectralNormalization(convolution(use_bias=False))(x)
    yield keras.SpectralNormalization(convolution(activation="relu"), power_iterations=2)(x)
    yield keras.SpectralNormalization(keras.Dense(3))(keras.Flatten()(x))
    yield keras.Conv2D(2, 1)(keras.SpectralNormalization(keras.Conv2DTranspose(3, 2))(convolution()(x)))
    yield keras.Pipeline([keras.Rescaling(2.0), convolution(), keras.RandomFlip(), convolution()])(x)
    yield keras.Pipeline([keras.BatchNormalization(), keras.Dense(3), keras.Pipeline([keras.ReLU()])])(x)


def categories(x: Any, keras: Any) -> Branches:
    vector = keras.Flatten()(x)
    one = keras.Dense(1)(vector)
    bounds = [-1.0, -0.25, 0.0, 0.5]
    yield keras.Discretization(bin_boundaries=bounds)(x)
    for mode in ("int", "one_hot", "multi_hot", "count"):
        yield keras.Discretization(bin_boundaries=bounds, output_mode=mode)(one)
        if "tf_keras" not in keras.__name__ or mode != "one_hot":
            yield keras.Discretization(bin_boundaries=bounds, output_mode=mode)(vector)
    for mode in ("one_hot", "multi_hot", "count"):
        yield keras.CategoryEncoding(num_tokens=6, output_mode=mode)(
            keras.Discretization(bin_boundaries=bounds)(one)
        )
    yield keras.CategoryEncoding(num_tokens=5, output_mode="count")(
        keras.Discretization(bin_boundaries=bounds)(vector)
    )


def contrast(x: Any, keras: Any) -> Branches:
    yield keras.AutoContrast()(keras.Rescaling(100.0, 128.0)(x))
    yield keras.AutoContrast(value_range=(0, 1))(x)
    yield keras.AutoContrast(value_range=(-1, 1))(keras.Rescaling(0.0, 0.5)(x))
    yield keras.AutoContrast()(keras.Rescaling([1.0, 0.0, 2.0, 0.0])(x))


def spectra(x: Any, keras: Any) -> Branches:
    for mode in ("log", "magnitude", "psd", "real", "imag", "stft"):
        yield keras.STFTSpectrogram(mode, frame_length=16, frame_step=5)(x)
        yield keras.STFTSpectrogram(mode, frame_length=12, fft_length=32, padding="same", expand_dims=True)(x)
    sound = keras.Flatten()(x)
    for options in (
        {"fft_length": 32, "sequence_stride": 7},
        {"fft_length": 33, "sequence_stride": 8, "sequence_length": 15, "window": "hamming"},
        {"fft_length": 32, "sequence_stride": 8, "power_to_db": False, "mag_exp": 1.0},
        {"fft_length": 64, "sequence_stride": 16, "top_db": 10.0, "ref_power": 3.0, "max_freq": 3000.0},
    ):
        yield keras.MelSpectrogram(num_mel_bins=5, min_freq=50, **options)(sound)


BOTH, OLD, NEW = ("tf_keras", "keras"), ("tf_keras",), ("keras",)
PICTURE = (6, 8, 4)
FAMILIES: dict[str, tuple[Callable[[Any, Any], Branches], tuple[int, ...], tuple[str, ...]]] = {
    "convolutions1d": (convolutions1d, (11, 4), BOTH),
    "convolutions3d": (convolutions3d, (5, 6, 4, 2), BOTH),
    "normalization": (normalization, PICTURE, BOTH),
    "adaptive1d": (lambda x, keras: adaptive(x, keras, 1), (11, 4), NEW),
    "adaptive2d": (lambda x, keras: adaptive(x, keras, 2), (9, 7, 3), NEW),
    "adaptive3d": (lambda x, keras: adaptive(x, keras, 3), (5, 6, 4, 2), NEW),
    "dots": (dots, PICTURE, BOTH),
    "local": (local, (6, 5, 3), OLD),
    "local1d": (local1d, (11, 4), OLD),
    "wrapped": (wrapped, PICTURE, NEW),
    "categories": (categories, PICTURE, BOTH),
    "contrast": (contrast, PICTURE, NEW),
    "spectra": (spectra, (80, 2), NEW),
}
CASES = [
    (family, name, suffix)
    for family, (_, _, frameworks) in FAMILIES.items()
    for name, suffix in FILES
    if name in frameworks
]
WIDER = {"spectra": 1e-4}
"""Families whose logarithms and phases make more of a rounding."""


@cache
def built(family: str, name: str) -> tuple[Any, list[np.ndarray], dict[str, np.ndarray]]:
    """A family's model, a batch, and what Keras makes of it: once for both file formats."""
    make, shape, _ = FAMILIES[family]
    keras = framework(name)
    model = branches(keras, shape, make)
    batches = pictures(model, count=1 if family == "spectra" else 2)
    return model, batches, reference(keras, model, batches)


@pytest.mark.parametrize(("family", "name", "suffix"), CASES)
def test_layers_agree_with_keras(family: str, name: str, suffix: str, tmp_path: Path):
    model, batches, expected = built(family, name)
    network = fluoroscope.open_network(save(model, tmp_path / f"model{suffix}"))
    assert_same(network, batches, expected, WIDER.get(family, 1e-5))
    for row, layer in zip(network.layers, model.layers, strict=True):
        assert row.parameters == layer.count_params(), row
        assert row.kind == type(layer).__name__


def first_and_last(x: Any, keras: Any, data_format: str, rank: int) -> Branches:
    """Layers on `rank` spatial axes in a model of either order."""
    place = {"data_format": data_format}
    for stride, padding in product((1, 2), ("valid", "same")):
        window = {"strides": stride, "padding": padding, **place}
        yield getattr(keras, f"Conv{rank}D")(4, 2, **window)(x)
        yield getattr(keras, f"Conv{rank}DTranspose")(4, 3, **window)(x)
        yield getattr(keras, f"MaxPooling{rank}D")(2, **window)(x)
        yield getattr(keras, f"AveragePooling{rank}D")(2, **window)(x)
        if rank == 1:
            yield keras.DepthwiseConv1D(2, **window)(x)
            yield keras.SeparableConv1D(3, 2, **window)(x)
    for reduction, keep in product(("Average", "Max"), (False, True)):
        yield getattr(keras, f"Global{reduction}Pooling{rank}D")(keepdims=keep, **place)(x)
    if rank == 3:
        yield keras.ZeroPadding3D(((0, 1), (2, 0), (1, 1)), **place)(x)
        yield keras.Cropping3D(((0, 1), (2, 0), (1, 0)), **place)(x)
        yield keras.UpSampling3D((1, 2, 3), **place)(x)
    if "tf_keras" not in keras.__name__:
        yield getattr(keras, f"AdaptiveMaxPooling{rank}D")(3, **place)(x)
        yield getattr(keras, f"AdaptiveAveragePooling{rank}D")(2, **place)(x)
    yield keras.Dense(3)(keras.Flatten(**place)(x))
    normal = keras.GroupNormalization(2, axis=1 if data_format == "channels_first" else -1)
    yield normal(getattr(keras, f"Conv{rank}D")(4, 2, **place)(x))


@pytest.mark.parametrize(("name", "suffix"), [("tf_keras", ".h5"), ("keras", ".keras")])
@pytest.mark.parametrize("rank", [1, 3])
def test_channels_first_models_agree_with_their_twins(name: str, suffix: str, rank: int, tmp_path: Path):
    """TensorFlow cannot run them on a CPU; the same weights in a channels-last twin are the oracle."""
    keras, sizes = framework(name), (6, 7, 5)[:rank]
    entries = {"channels_last": keras.Input((*sizes, 2)), "channels_first": keras.Input((2, *sizes))}
    last, first = (
        keras.Model(entry, list(first_and_last(entry, keras.layers, form, rank)))
        for form, entry in entries.items()
    )
    randomise(last)
    for own, other in zip(first.layers, last.layers, strict=True):
        own.set_weights(other.get_weights())
    batches = pictures(last)
    values = reference(keras, last, batches)
    names = {twin.name: own.name for twin, own in zip(last.layers, first.layers, strict=True)}
    network = fluoroscope.open_network(save(first, tmp_path / f"model{suffix}"))
    assert_same(network, batches, {names[name]: value for name, value in values.items()})


@pytest.mark.parametrize(("name", "suffix"), FILES)
def test_layers_that_leave_out_what_is_masked(name: str, suffix: str, tmp_path: Path):
    keras = framework(name)
    x, kept = keras.Input((4, 5), name="x"), keras.Input((4, 5), name="kept")
    shown = keras.layers.Masking()(x)
    pools = [keras.layers.GlobalAveragePooling1D(keepdims=keep) for keep in (False, True)]
    outputs = [
        *(pool(keras.layers.Dense(3)(shown)) for pool in pools),
        *(keras.layers.Softmax(axis=axis)(x, mask=kept) for axis in (-1, 1, [1, 2])),
    ]
    model = randomise(keras.Model([x, kept], outputs))
    values, truths = pictures(model)
    values[0, 1:3] = 0
    truths = (truths > -0.5).astype(np.float32)
    truths[1, 2] = name == "tf_keras"  # all of a row left out: Keras 3 makes zeros of it
    expected = reference(keras, model, [values, truths])
    network = fluoroscope.open_network(save(model, tmp_path / f"model{suffix}"))
    assert_same(network, [values, truths], expected)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_adaptive_pooling_is_that_of_torch(rank: int, tmp_path: Path):
    """Also to a single pixel, at which TensorFlow's way ends the process."""
    import torch

    keras = framework("keras")
    shape = (7, 5, 6)[:rank]
    sizes = [(1,) * rank, shape, (4, 9, 1)[:rank], (14, 3, 5)[:rank]]
    kinds = ("Average", "Max")

    def make(x: Any, layers: Any) -> Branches:
        for size, kind in product(sizes, kinds):
            yield getattr(layers, f"Adaptive{kind}Pooling{rank}D")(size)(x)

    model = branches(keras, (*shape, 3), make)
    (batch,) = pictures(model)
    network = fluoroscope.open_network(save(model, tmp_path / "model.keras"))
    found = network.run({network.inputs[0].name: batch}, [layer.name for layer in network.layers[1:]])
    first = torch.from_numpy(np.moveaxis(batch, -1, 1).copy())
    for (size, kind), values in zip(product(sizes, kinds), found.values(), strict=True):
        short = "avg" if kind == "Average" else "max"
        wanted = getattr(torch.nn.functional, f"adaptive_{short}_pool{rank}d")(first, size)
        np.testing.assert_allclose(np.moveaxis(values, -1, 1), wanted.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("rank", [1, 2])
def test_local_layers_with_channels_first(rank: int, suffix: str, tmp_path: Path):
    """Which TensorFlow runs on any machine, unlike convolutions."""
    keras = framework("tf_keras")

    def make(x: Any, layers: Any) -> Branches:
        local = getattr(layers, f"LocallyConnected{rank}D")
        yield local(2, 2, data_format="channels_first")(x)
        for implementation, padding in product((2, 3), ("valid", "same")):
            yield local(
                2, 3, strides=2, padding=padding, implementation=implementation, data_format="channels_first"
            )(x)

    model = branches(keras, (3, 7, 6)[: rank + 1], make)
    batches = pictures(model)
    expected = reference(keras, model, batches)
    network = fluoroscope.open_network(save(model, tmp_path / f"model{suffix}"))
    given = [np.moveaxis(batch, 1, -1) for batch in batches]
    assert_same(network, given, {name: np.moveaxis(value, 1, -1) for name, value in expected.items()})


def test_bins_learned_from_data(tmp_path: Path):
    """Keras 2 keeps what it has seen, Keras 3 the boundaries made of it."""
    data = np.random.default_rng(3).normal(size=(400, 3)).astype(np.float32)
    for name, suffix in FILES:
        keras = framework(name)
        learned = keras.layers.Discretization(num_bins=7, epsilon=0.02)
        learned.adapt(data)
        entry = keras.Input((3,))
        model = keras.Model(entry, learned(entry))
        expected = {learned.name: np.asarray(model(data[:40]))}
        network = fluoroscope.open_network(save(model, tmp_path / f"{name}{suffix}"))
        assert_same(network, [data[:40]], expected, 0)


def test_whole_numbers_looked_up(tmp_path: Path):
    tokens = [12, 36, 1138, 42]
    given = np.array([[12, 42, 7], [-1, 1138, 36], [0, 5, 11]])
    for name, options in product(
        ("tf_keras", "keras"),
        (
            {},
            {"num_oov_indices": 3},
            {"mask_token": 0},
            {"mask_token": 0, "num_oov_indices": 2, "oov_token": -9},
        ),
    ):
        keras = framework(name)
        entry = keras.Input((3,), dtype="int64")
        places = keras.layers.IntegerLookup(vocabulary=tokens, **options)
        model = keras.Model(entry, places(entry))
        expected = {places.name: np.asarray(model(given))}
        network = fluoroscope.open_network(save(model, tmp_path / f"{name}.keras"))
        assert_same(network, [given.astype(np.float32)], expected, 0)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("cap", [None, 0.5])
def test_an_embedding_both_ways(tied: bool, cap: float | None, suffix: str, tmp_path: Path):
    keras = framework("keras")
    table = keras.layers.ReversibleEmbedding(7, 3, tie_weights=tied, logit_soft_cap=cap, name="table")
    entry = keras.Input((4,))
    rows = keras.layers.Dense(3, name="rows")(table(entry))
    model = randomise(keras.Model(entry, table(rows, reverse=True)))
    given = np.array([[0, 6, 3, 2], [1, 1, 5, 4]], np.float32)
    network = fluoroscope.open_network(save(model, tmp_path / f"model{suffix}"))
    wanted = {"table#2": np.asarray(model(given)), "rows": np.asarray(keras.Model(entry, rows)(given))}
    assert_same(network, [given], wanted)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_more_axes_than_a_window_takes_are_a_row_with_the_reason(suffix: str, tmp_path: Path) -> None:
    """Keras 2 slides a Conv1D along every row of a picture; what lies before it is shown."""
    keras = framework("tf_keras")
    model = branches(keras, (4, 6, 3), lambda x, layers: [layers.Conv1D(2, 3)(layers.ReLU()(x))])
    network = fluoroscope.open_network(save(model, tmp_path / f"m{suffix}"))
    relu, conv = network.layers[1:]
    assert relu.problem is None
    assert conv.problem is not None
    assert "takes 2 axes and the batch here, not a shape of 4 x 6 x 3" in conv.problem
