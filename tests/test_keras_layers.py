"""Every layer type with its options: written by Keras 2 and 3, opened by Fluoroscope, compared.

The options of a layer are branches of one model, so that a file and a run serve dozens of them. Whatever is
between input and output of a branch is compared too.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fluoroscope
from keras_conformance import (
    BAR,
    FILES,
    FRAMEWORKS,
    assert_same,
    branches,
    check_file,
    framework,
    pictures,
    randomise,
    reference,
    save,
)

Branches = Iterator[Any]


def conv2d(x: Any, keras: Any) -> Branches:
    kernels: list[Any] = [1, 2, 3, 4, 5, [2, 3], [5, 1]]
    for kernel, stride, padding in product(kernels, (1, 2, 3), ("valid", "same")):
        yield keras.Conv2D(4, kernel, strides=stride, padding=padding)(x)
    for stride, padding in product(([1, 2], [3, 1]), ("valid", "same")):
        yield keras.Conv2D(4, 3, strides=stride, padding=padding)(x)
    for dilation, padding in product((2, [1, 3]), ("valid", "same")):
        yield keras.Conv2D(4, [3, 2], dilation_rate=dilation, padding=padding)(x)
    for groups in (2, 4):
        yield keras.Conv2D(8, 3, groups=groups, padding="same", strides=2)(x)
    yield keras.Conv2D(4, 3, use_bias=False)(x)
    yield keras.Conv2D(4, 3, activation="tanh", use_bias=False)(x)


def conv1d(x: Any, keras: Any) -> Branches:
    for kernel, stride, padding in product((1, 2, 3, 4), (1, 2, 3), ("valid", "same", "causal")):
        yield keras.Conv1D(3, kernel, strides=stride, padding=padding)(x)
    for dilation, padding in product((2, 3), ("valid", "same", "causal")):
        yield keras.Conv1D(3, 3, dilation_rate=dilation, padding=padding, activation="relu")(x)
    yield keras.Conv1D(4, 3, groups=2)(x)


def conv3d(x: Any, keras: Any) -> Branches:
    for kernel, stride, padding in product((1, 2, [3, 2, 1]), (1, 2), ("valid", "same")):
        yield keras.Conv3D(3, kernel, strides=stride, padding=padding)(x)
        yield keras.Conv3DTranspose(3, kernel, strides=stride, padding=padding)(x)


def depthwise(x: Any, keras: Any) -> Branches:
    for kernel, stride, padding, many in product((1, 2, 3, [2, 3]), (1, 2, 3), ("valid", "same"), (1, 3)):
        yield keras.DepthwiseConv2D(kernel, strides=stride, padding=padding, depth_multiplier=many)(x)
    for padding in ("valid", "same"):
        yield keras.DepthwiseConv2D(3, dilation_rate=2, padding=padding, activation="relu", use_bias=False)(x)


def depthwise1d(x: Any, keras: Any) -> Branches:
    for kernel, stride, padding, many in product((1, 2, 3), (1, 2), ("valid", "same"), (1, 2)):
        yield keras.DepthwiseConv1D(kernel, strides=stride, padding=padding, depth_multiplier=many)(x)


def separable(x: Any, keras: Any) -> Branches:
    for kernel, stride, padding, many in product((1, 2, 3, [2, 3]), (1, 2, 3), ("valid", "same"), (1, 3)):
        yield keras.SeparableConv2D(5, kernel, strides=stride, padding=padding, depth_multiplier=many)(x)
    for padding in ("valid", "same"):
        yield keras.SeparableConv2D(5, 3, dilation_rate=2, padding=padding, activation="elu", use_bias=False)(
            x
        )


def separable1d(x: Any, keras: Any) -> Branches:
    for kernel, stride, padding in product((1, 2, 3), (1, 2), ("valid", "same")):
        yield keras.SeparableConv1D(5, kernel, strides=stride, padding=padding, depth_multiplier=2)(x)
    if "tf_keras" in keras.__name__:
        yield keras.SeparableConv1D(5, 3, dilation_rate=2, padding="causal")(x)


def transposed(x: Any, keras: Any) -> Branches:
    for kernel, stride, padding in product((1, 2, 3, 4, [2, 5]), (1, 2, 3), ("valid", "same")):
        yield keras.Conv2DTranspose(3, kernel, strides=stride, padding=padding)(x)
    for kernel, extra, padding in product((2, 3, 4, 5), (0, 1), ("valid", "same")):
        if padding == "same" and not extra and not kernel % 2:
            continue  # no picture of that size would give this one back: TensorFlow refuses
        yield keras.Conv2DTranspose(3, kernel, strides=2, padding=padding, output_padding=extra)(x)
    for padding in ("valid", "same"):
        yield keras.Conv2DTranspose(3, 3, dilation_rate=2, padding=padding, activation="relu")(x)
    yield keras.Conv2DTranspose(3, [3, 2], strides=[2, 1], use_bias=False)(x)


def transposed1d(x: Any, keras: Any) -> Branches:
    for kernel, stride, padding in product((1, 2, 3, 4), (1, 2, 3), ("valid", "same")):
        yield keras.Conv1DTranspose(3, kernel, strides=stride, padding=padding)(x)


def pooling(x: Any, keras: Any) -> Branches:
    sizes: list[Any] = [1, 2, 3, [2, 3], [4, 1]]
    strides: list[Any] = [None, 1, 2, 3, [2, 1]]
    for size, stride, padding in product(sizes, strides, ("valid", "same")):
        yield keras.MaxPooling2D(size, strides=stride, padding=padding)(x)
        yield keras.AveragePooling2D(size, strides=stride, padding=padding)(x)
    for keep in (False, True):
        yield keras.GlobalAveragePooling2D(keepdims=keep)(x)
        yield keras.GlobalMaxPooling2D(keepdims=keep)(x)


def pooling1d(x: Any, keras: Any) -> Branches:
    for size, stride, padding in product((1, 2, 3), (None, 1, 2), ("valid", "same")):
        yield keras.MaxPooling1D(size, strides=stride, padding=padding)(x)
        yield keras.AveragePooling1D(size, strides=stride, padding=padding)(x)
    for keep in (False, True):
        yield keras.GlobalAveragePooling1D(keepdims=keep)(x)
        yield keras.GlobalMaxPooling1D(keepdims=keep)(x)


def pooling3d(x: Any, keras: Any) -> Branches:
    for size, stride, padding in product((2, [1, 2, 3]), (None, 1), ("valid", "same")):
        yield keras.MaxPooling3D(size, strides=stride, padding=padding)(x)
        yield keras.AveragePooling3D(size, strides=stride, padding=padding)(x)
    yield keras.GlobalAveragePooling3D()(x)
    yield keras.GlobalMaxPooling3D(keepdims=True)(x)


def dense(x: Any, keras: Any) -> Branches:
    for use_bias, activation in product((True, False), (None, "relu", "softmax")):
        yield keras.Dense(5, use_bias=use_bias, activation=activation)(x)
        yield keras.Dense(5, use_bias=use_bias, activation=activation)(keras.Flatten()(x))
        yield keras.Dense(5, use_bias=use_bias, activation=activation)(keras.Reshape((-1, 4))(x))
    yield keras.Conv2D(3, 2)(keras.Dense(5)(keras.Conv2D(3, 2)(x)))  # there and back again


COMMON = (
    "elu exponential gelu hard_sigmoid linear mish relu selu sigmoid softmax softplus softsign swish tanh"
)
KERAS_3 = (
    "celu glu hard_shrink hard_silu hard_swish hard_tanh leaky_relu log_sigmoid log_softmax relu6 silu "
    "soft_shrink sparse_plus sparse_sigmoid sparsemax squareplus tanh_shrink"
)


def activations(x: Any, keras: Any) -> Branches:
    names = COMMON if "tf_keras" in keras.__name__ else f"{COMMON} {KERAS_3}"
    wide = keras.Rescaling(3.0)(x)
    vector = keras.GlobalAveragePooling2D()(wide)
    for name in names.split():
        yield keras.Activation(name)(wide)
        yield keras.Activation(name)(vector)
        yield keras.Conv2D(4, 2, activation=name)(wide)
        yield keras.Dense(4, activation=name)(vector)


def activation_layers(x: Any, keras: Any) -> Branches:
    for largest, slope, threshold in product((None, 1.0, 6.0), (0.0, 0.25), (0.0, 0.5)):
        yield keras.ReLU(max_value=largest, negative_slope=slope, threshold=threshold)(x)
    for slope in (0.0, 0.1, 0.3):
        yield keras.LeakyReLU(slope)(x)
    for alpha in (0.5, 1.0, 2.0):
        yield keras.ELU(alpha)(x)
    for axis in (-1, 1, 2, 3, [1, 2], [2, 3], [1, 2, 3]):
        yield keras.Softmax(axis=axis)(x)
    for shared in (None, [1, 2], [3], [1, 2, 3]):
        yield keras.PReLU(shared_axes=shared)(x)
    if "tf_keras" in keras.__name__:
        yield keras.ThresholdedReLU(0.4)(x)
    vector = keras.Flatten()(x)
    for layer in (keras.PReLU(), keras.Softmax(), keras.LeakyReLU(), keras.ReLU()):
        yield layer(vector)


def layers_as_activations(x: Any, keras: Any) -> Branches:
    def made() -> Iterator[Any]:
        """Anew for each: Keras 3 names every layer, and a model's names are unique."""
        yield from (keras.LeakyReLU(0.1), keras.LeakyReLU(0.2), keras.ReLU(6.0), keras.ELU(0.5))
        yield from (keras.ReLU(max_value=1.0, negative_slope=0.1), keras.Softmax(axis=1), keras.Softmax())

    for activation in made():
        yield keras.Conv2D(4, 3, activation=activation)(x)
    for activation in made():
        yield keras.Activation(activation)(x)


def normalization(x: Any, keras: Any) -> Branches:
    row = keras.Reshape((-1, 4))(x)
    vector = keras.Flatten()(x)
    for scale, center in product((True, False), (True, False)):
        for value in (x, row, vector):
            yield keras.BatchNormalization(scale=scale, center=center, epsilon=0.01)(value)
            yield keras.LayerNormalization(scale=scale, center=center)(value)
    for axis in (1, 2, 3):
        yield keras.BatchNormalization(axis=axis)(x)
    for axis in (1, 2, [1, 2], [2, 3], [1, 3], [1, 2, 3], [-1, -2]):
        yield keras.LayerNormalization(axis=axis, epsilon=1e-6)(x)
    if "tf_keras" not in keras.__name__:
        yield scaled_by_deviation(x, keras)


def scaled_by_deviation(x: Any, keras: Any) -> Any:
    """A deprecated option that files of Keras 3 may still have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return keras.LayerNormalization(rms_scaling=True)(x)


def merging(x: Any, keras: Any) -> Branches:
    other = keras.Conv2D(4, 3, padding="same")(x)
    flat = keras.Reshape((6, 32, 1))(keras.Reshape((32, 6))(x))  # in Keras's order
    flat = keras.Reshape((6, 8, 4))(flat)
    vector, gate = keras.GlobalMaxPooling2D()(x), keras.GlobalMaxPooling2D(keepdims=True)(x)
    for layer in (keras.Add, keras.Multiply, keras.Average, keras.Maximum, keras.Minimum):
        yield layer()([x, other])
        yield layer()([flat, x, other])
        yield layer()([other, gate])
        yield layer()([gate, other])
        yield layer()([vector, keras.Flatten()(gate)])
    yield keras.Multiply()([other, vector])
    yield keras.Multiply()([vector, other])
    yield keras.Subtract()([x, other])
    yield keras.Subtract()([flat, other])
    for axis in (-1, 1, 2, 3):
        yield keras.Concatenate(axis=axis)([x, flat, other])
    yield keras.Concatenate()([vector, keras.Flatten()(x)])
    yield keras.Concatenate()([x, keras.Conv2D(2, 1)(x)])


def reshaping(x: Any, keras: Any) -> Branches:
    for target in ((-1,), (192,), (32, 6), (4, -1), (6, 8, 4), (2, 3, -1, 4), (8, 6, 4)):
        yield keras.Reshape(target)(x)
    for dims in ((1, 2, 3), (3, 1, 2), (2, 3, 1), (2, 1, 3), (3, 2, 1)):
        turned = keras.Permute(dims)(x)
        yield turned
        yield keras.Conv2D(3, 2)(turned)
    yield keras.Flatten()(x)
    yield keras.Flatten()(keras.Flatten()(x))
    yield keras.RepeatVector(3)(keras.Flatten()(x))
    for padding in (0, 2, (1, 2), ((0, 1), (2, 0))):
        yield keras.ZeroPadding2D(padding)(x)
    for cropping in (0, 1, (1, 2), ((0, 1), (2, 0)), ((1, 0), (0, 3))):
        yield keras.Cropping2D(cropping)(x)
    row = keras.Reshape((-1, 4))(x)
    for width in (1, (2, 0), (0, 3)):
        yield keras.ZeroPadding1D(width)(row)
        yield keras.Cropping1D(width)(row)
    yield keras.UpSampling1D(3)(row)
    yield keras.Permute((2, 1))(row)
    volume = keras.Reshape((6, 4, 2, 4))(x)
    yield keras.UpSampling3D((1, 2, 3))(volume)
    yield keras.ZeroPadding3D(((0, 1), (2, 0), (1, 1)))(volume)
    yield keras.Cropping3D(((0, 1), (2, 0), (0, 0)))(volume)


def methods(keras: Any, *, up: bool = False) -> list[str]:
    known = ["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"]
    return [*known, "area", "gaussian", "mitchellcubic"] if "tf_keras" in keras.__name__ else known


def up_sampling(x: Any, keras: Any) -> Branches:
    for method, size in product(methods(keras), (1, 2, 3, (2, 5), (4, 8))):
        yield keras.UpSampling2D(size, interpolation=method)(x)
    yield keras.UpSampling2D(2, interpolation="bilinear")(keras.Reshape((8, 6, 4))(x))


def resizing(x: Any, keras: Any) -> Branches:
    for method, size in product(
        methods(keras), ((6, 8), (12, 16), (9, 5), (3, 2), (1, 1), (17, 31), (11, 8))
    ):
        yield keras.Resizing(*size, interpolation=method)(x)
        yield keras.Resizing(*size, interpolation=method, crop_to_aspect_ratio=True)(x)
        if "tf_keras" not in keras.__name__:
            yield keras.Resizing(*size, interpolation=method, antialias=True)(x)
            yield keras.Resizing(*size, interpolation=method, pad_to_aspect_ratio=True, fill_value=0.5)(x)
    for size in ((4, 4), (5, 3), (6, 8), (7, 5), (10, 3), (9, 12)):
        yield keras.CenterCrop(*size)(x)
        if "tf_keras" in keras.__name__:
            yield keras.RandomCrop(*size)(x)


def preprocessing(x: Any, keras: Any) -> Branches:
    yield keras.Rescaling(1 / 127.5, offset=-1)(x)
    yield keras.Rescaling([0.5, 1.0, 2.0, 4.0], offset=[1.0, 2.0, 3.0, 4.0])(x)
    yield keras.Normalization()(x)
    yield keras.Normalization(axis=None)(x)
    yield keras.Normalization(axis=(1, 3))(x)
    yield keras.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[0.0, 0.5, 1.0, 2.0])(x)
    yield keras.Normalization(axis=None, mean=0.5, variance=4.0, invert=True)(x)
    yield keras.Normalization(axis=(2, 3), mean=2.0, variance=0.25)(x)


def unchanged(x: Any, keras: Any) -> Branches:
    row = keras.Reshape((-1, 4))(x)
    volume = keras.Reshape((6, 4, 2, 4))(x)
    for kind in (keras.Dropout, keras.GaussianDropout, keras.GaussianNoise, keras.AlphaDropout):
        yield kind(0.5)(x)
    yield keras.ActivityRegularization(l1=1.0)(x)
    yield keras.Identity()(x)
    yield keras.SpatialDropout1D(0.5)(row)
    yield keras.SpatialDropout2D(0.5)(x)
    yield keras.SpatialDropout3D(0.5)(volume)
    yield keras.Conv2D(2, 2)(keras.Dropout(0.5)(keras.Conv2D(2, 2)(x)))
    if "tf_keras" in keras.__name__:  # Keras 3 cannot write its augmentation to .h5: it has a test of its own
        yield keras.RandomFlip()(x)
        for kind in (keras.RandomRotation, keras.RandomZoom, keras.RandomHeight, keras.RandomWidth):
            yield kind(0.2)(x)
        yield keras.RandomTranslation(0.1, 0.1)(x)
        yield keras.RandomContrast(0.5)(x)
        yield keras.RandomBrightness(0.5)(x)


PICTURE, ROW, VOLUME = (6, 8, 4), (11, 4), (5, 6, 4, 2)
FAMILIES: dict[str, tuple[Callable[[Any, Any], Branches], tuple[int, ...]]] = {
    "conv2d": (conv2d, (13, 10, 4)),
    "conv1d": (conv1d, ROW),
    "conv3d": (conv3d, VOLUME),
    "depthwise": (depthwise, (9, 8, 3)),
    "depthwise1d": (depthwise1d, ROW),
    "separable": (separable, (9, 8, 3)),
    "separable1d": (separable1d, ROW),
    "transposed": (transposed, (5, 4, 3)),
    "transposed1d": (transposed1d, ROW),
    "pooling": (pooling, (9, 8, 3)),
    "pooling1d": (pooling1d, ROW),
    "pooling3d": (pooling3d, VOLUME),
    "dense": (dense, PICTURE),
    "activations": (activations, (5, 4, 4)),
    "activation_layers": (activation_layers, PICTURE),
    "layers_as_activations": (layers_as_activations, PICTURE),
    "normalization": (normalization, PICTURE),
    "merging": (merging, PICTURE),
    "reshaping": (reshaping, PICTURE),
    "up_sampling": (up_sampling, PICTURE),
    "resizing": (resizing, PICTURE),
    "preprocessing": (preprocessing, PICTURE),
    "unchanged": (unchanged, PICTURE),
}


@cache
def built(family: str, name: str) -> tuple[Any, list[np.ndarray], dict[str, np.ndarray]]:
    """A family's model, a batch, and what Keras makes of it: once for both file formats."""
    make, shape = FAMILIES[family]
    keras = framework(name)
    model = branches(keras, shape, make)
    batches = pictures(model)
    return model, batches, reference(keras, model, batches)


@pytest.mark.parametrize(("name", "suffix"), FILES)
@pytest.mark.parametrize("family", FAMILIES)
def test_layers_agree_with_keras(family: str, name: str, suffix: str, tmp_path: Path):
    model, batches, expected = built(family, name)
    network = fluoroscope.open_network(save(model, tmp_path / f"model{suffix}"))
    assert_same(network, batches, expected)
    assert [layer.name for layer in network.layers] == [layer.name for layer in model.layers]
    for row, layer in zip(network.layers, model.layers, strict=True):
        assert row.parameters == layer.count_params(), row
        assert row.kind == type(layer).__name__


# channels_first: TensorFlow cannot run it on a CPU; the same weights in a channels-last twin are the oracle


def first_and_last(x: Any, keras: Any, data_format: str) -> Branches:
    """Layers of a ``channels_first`` or ``channels_last`` model; axes that a layer wants by number follow."""
    first = data_format == "channels_first"
    channel, (rows, columns) = (1, (2, 3)) if first else (3, (1, 2))
    place = {"data_format": data_format}
    for kernel, stride, padding in product((1, 2, 3), (1, 2), ("valid", "same")):
        yield keras.Conv2D(4, kernel, strides=stride, padding=padding, activation="relu", **place)(x)
        yield keras.Conv2DTranspose(4, kernel, strides=stride, padding=padding, **place)(x)
        yield keras.DepthwiseConv2D(kernel, strides=stride, padding=padding, **place)(x)
        yield keras.SeparableConv2D(4, kernel, strides=stride, padding=padding, **place)(x)
        yield keras.MaxPooling2D(kernel, strides=stride, padding=padding, **place)(x)
        yield keras.AveragePooling2D(kernel, strides=stride, padding=padding, **place)(x)
    pooled = keras.GlobalAveragePooling2D(**place)(x)
    yield pooled
    yield keras.GlobalMaxPooling2D(keepdims=True, **place)(x)
    yield keras.ZeroPadding2D(((1, 0), (2, 3)), **place)(x)
    yield keras.Cropping2D(((1, 0), (2, 1)), **place)(x)
    yield keras.UpSampling2D((2, 3), interpolation="bilinear", **place)(x)
    yield keras.Dense(3)(keras.Flatten(**place)(x))
    yield keras.SpatialDropout2D(0.5, **place)(x)
    normal = keras.BatchNormalization(axis=channel)(keras.Conv2D(4, 3, **place)(x))
    yield keras.Concatenate(axis=channel)([normal, keras.ReLU()(normal)])
    yield keras.Add()([normal, keras.Conv2D(4, 3, **place)(x)])
    yield keras.Softmax(axis=channel)(normal)
    yield keras.LayerNormalization(axis=channel)(normal)
    yield keras.PReLU(shared_axes=[rows, columns])(normal)
    yield keras.Dropout(0.5)(normal)


@pytest.mark.parametrize(("name", "suffix"), FILES)
def test_channels_first_models_agree_with_their_twins(name: str, suffix: str, tmp_path: Path):
    keras = framework(name)
    entries = {"channels_last": keras.Input((7, 8, 3)), "channels_first": keras.Input((3, 7, 8))}
    twins = {
        form: keras.Model(entry, list(first_and_last(entry, keras.layers, form)))
        for form, entry in entries.items()
    }
    randomise(twins["channels_last"])
    for own, other in zip(twins["channels_first"].layers, twins["channels_last"].layers, strict=True):
        arrays = other.get_weights()
        own.set_weights([np.moveaxis(array, -1, 0) for array in arrays] if "p_re_lu" in own.name else arrays)
    batches = pictures(twins["channels_last"])
    values = reference(keras, twins["channels_last"], batches)
    names = [layer.name for layer in twins["channels_first"].layers]
    known = [layer.name for layer in twins["channels_last"].layers]
    expected = {names[known.index(key)]: value for key, value in values.items()}
    network = fluoroscope.open_network(save(twins["channels_first"], tmp_path / f"model{suffix}"))
    assert network.inputs[0].shape == (7, 8, 3)
    assert_same(network, batches, expected)


# Pictures of any size


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_free_sizes_agree_at_every_size(name: str, tmp_path: Path):
    keras = framework(name)

    def make(x: Any, layers: Any) -> Branches:
        for kernel, stride, padding in product((1, 2, 3, 5), (1, 2, 3), ("valid", "same")):
            yield layers.Conv2D(4, kernel, strides=stride, padding=padding)(x)
            yield layers.MaxPooling2D(kernel, strides=stride, padding=padding)(x)
            yield layers.AveragePooling2D(kernel, strides=stride, padding=padding)(x)
            yield layers.Conv2DTranspose(3, kernel, strides=stride, padding=padding)(x)
        yield layers.UpSampling2D(3, interpolation="bicubic")(x)
        yield layers.Resizing(5, 6, crop_to_aspect_ratio=True)(x)
        yield layers.Reshape((-1, 3))(x)
        yield layers.Dense(4)(layers.GlobalAveragePooling2D()(layers.ZeroPadding2D()(layers.Cropping2D()(x))))

    model = branches(keras, (None, None, 3), make)
    network = fluoroscope.open_network(save(model, tmp_path / "model.h5"))
    assert network.inputs[0].shape == (None, None, 3)
    for sizes in ((9, 12), (10, 7), (8, 8), (11, 13)):
        batches = pictures(model, sizes=sizes)
        assert_same(network.at_size(*sizes), batches, reference(keras, model, batches))


# What Keras 3 augments pictures with does nothing at inference; layers that do something are not among them


ACTIVE = {
    "AutoContrast",
    "CenterCrop",
    "ContrastLimitedAdaptiveHistogramEqualization",
    "MaxNumBoundingBoxes",
    "Resizing",
}
APART = {"Equalization"}
"""Cannot be in a model: it says that its output is its input, which Keras takes for a cycle."""


AUGMENTATION: dict[str, dict[str, Any]] = {
    "RandomBrightness": {"factor": 0.1},
    "RandomColorDegeneration": {"factor": 0.1},
    "RandomColorJitter": {"brightness_factor": 0.1},
    "RandomContrast": {"factor": 0.1},
    "RandomCrop": {"height": 6, "width": 8},
    "RandomHue": {"factor": 0.1},
    "RandomPosterization": {"factor": 4},
    "RandomRotation": {"factor": 0.1},
    "RandomSaturation": {"factor": 0.1},
    "RandomSharpness": {"factor": 0.1},
    "RandomShear": {"x_factor": 0.1, "y_factor": 0.1},
    "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1},
    "RandomZoom": {"height_factor": 0.1},
}
"""Arguments that layers cannot do without."""


def test_every_augmentation_is_known_for_what_it_is(tmp_path: Path):
    keras = framework("keras")
    base = keras.layers.RandomFlip.__mro__[1]
    kinds = {
        kind
        for kind in dir(keras.layers)
        if isinstance(own := getattr(keras.layers, kind), type) and issubclass(own, base)
    }
    assert kinds > ACTIVE

    def make(x: Any, layers: Any) -> Branches:
        for kind in sorted(kinds - ACTIVE - APART - {base.__name__}):
            yield getattr(layers, kind)(**AUGMENTATION.get(kind, {}), name=kind.lower())(x)

    model = branches(keras, (6, 8, 3), make)
    batches = pictures(model)
    expected = reference(keras, model, batches)
    network = fluoroscope.open_network(save(model, tmp_path / "model.keras"))
    assert_same(network, batches, expected, tolerance=0)
    for value in expected.values():
        np.testing.assert_array_equal(value, batches[0])


# Anything after anything


def step(keras: Any, kind: str, pick: Callable[[int, int], int], x: Any) -> Any:
    """One layer of a random network; `pick(low, high)` draws its options."""
    layers, rank = keras.layers, len(x.shape) - 1
    padding = ("valid", "same")[pick(0, 1)]
    if rank == 3 and kind in ("conv", "pool", "resize", "merge"):
        least = min(x.shape[1:3])
        kernel = pick(1, min(3, least))
        if kind == "conv":
            name = ("Conv2D", "SeparableConv2D", "Conv2DTranspose")[pick(0, 2)]
            activation = ("relu", "softmax", "tanh", None)[pick(0, 3)]
            convolution = getattr(layers, name)
            return convolution(
                pick(1, 4), kernel, strides=pick(1, 2), padding=padding, activation=activation
            )(x)
        if kind == "pool":
            name = ("MaxPooling2D", "AveragePooling2D")[pick(0, 1)]
            return getattr(layers, name)(kernel, strides=pick(1, 3), padding=padding)(x)
        if kind == "resize":
            interpolation = ("nearest", "bilinear", "bicubic", "lanczos3")[pick(0, 3)]
            return layers.Resizing(pick(1, 9), pick(1, 9), interpolation=interpolation)(x)
        other = layers.Conv2D(x.shape[-1], 1)(x)
        return (layers.Add(), layers.Concatenate(), layers.Multiply())[pick(0, 2)]([x, other])
    if kind == "turn" and rank > 1:
        return layers.Permute([rank, *range(1, rank)])(x)
    if kind == "reshape":
        count = int(np.prod(x.shape[1:]))
        height = next(size for size in (pick(1, 6), 1) if count % size == 0)
        return layers.Reshape((height, -1, 1) if pick(0, 1) else (height, -1))(x)
    if kind == "normalize" and x.shape[-1] > 1:  # alone, a channel is nothing but rounding off its mean
        return (layers.BatchNormalization(), layers.LayerNormalization())[pick(0, 1)](x)
    return layers.Dense(pick(1, 5), activation=("relu", None)[pick(0, 1)])(x)


KINDS = ("conv", "pool", "resize", "merge", "turn", "reshape", "normalize", "dense")


@pytest.mark.parametrize(("name", "suffix"), [("tf_keras", ".h5"), ("keras", ".keras")])
def test_random_networks_agree(name: str, suffix: str, tmp_path: Path):
    keras = framework(name)

    @settings(max_examples=25, deadline=None)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        def pick(low: int, high: int) -> int:
            return data.draw(st.integers(low, high))

        entry = keras.Input((pick(3, 9), pick(3, 9), pick(1, 3)))
        value = entry
        for kind in data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6)):
            value = step(keras, kind, pick, value)
        model = randomise(keras.Model(entry, value))
        check_file(keras, model, tmp_path / f"model{suffix}", tolerance=BAR)
        if name == "tf_keras":  # one graph holds all its models, and grows; Keras 3 has none
            keras.backend.clear_session()

    check()
