"""Layers that only Keras 1 had, by NumPy from the classes of Keras 1.2.2; what rare layers refuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import fluoroscope
from fluoroscope.errors import BudgetExceeded, DamagedFile, WeightMismatch
from keras_1_files import Array, keras_1_file, one_layer, one_merge

RANDOM = np.random.default_rng(7)


def some(*shape: int) -> Array:
    return RANDOM.normal(size=shape).astype(np.float32)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def computed(made: tuple[Any, Any], *batches: Array, version: str = "1.2.2") -> Array:
    network = fluoroscope.open_network(keras_1_file(*made, version=version))
    problems = [layer.problem for layer in network.layers if layer.problem]
    assert not problems, problems
    feeds = {spec.name: batch for spec, batch in zip(network.inputs, batches, strict=True)}
    return network.run(feeds, ["it"])["it"]


def close(found: Array, wanted: Array) -> None:
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("version", ["1.2.2", "2.0.6"])  # Keras 2 kept it under legacy, as it was
def test_maxout(bias: bool, version: str):
    x, kernel, offset = some(2, 5), some(4, 5, 3), some(4, 3)
    weights = {"W": kernel, "b": offset} if bias else {"W": kernel}
    made = one_layer("MaxoutDense", [5], weights, output_dim=3, nb_feature=4, bias=bias, input_dim=5)
    wanted = np.einsum("ni,fio->nfo", x, kernel) + (offset if bias else 0)
    close(computed(made, x, version=version), wanted.max(1))


@pytest.mark.parametrize("order", [("W", "W_carry", "b", "b_carry"), ("W", "b", "W_carry", "b_carry")])
@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_highway(order: Sequence[str], activation: str):
    x = some(2, 4)
    weights = {name: some(4, 4) if name.startswith("W") else some(4) for name in order}
    made = one_layer("Highway", [4], weights, activation=activation, bias=True, input_dim=4)
    gate = sigmoid(x @ weights["W_carry"] + weights["b_carry"])
    inner = x @ weights["W"] + weights["b"]
    inner = np.maximum(inner, 0) if activation == "relu" else inner
    close(computed(made, x), inner * gate + (1 - gate) * x)


def test_highway_without_biases():
    x, kernel, carry = some(2, 4), some(4, 4), some(4, 4)
    made = one_layer("Highway", [4], {"W": kernel, "W_carry": carry}, activation="linear", bias=False)
    gate = sigmoid(x @ carry)
    close(computed(made, x), x @ kernel * gate + (1 - gate) * x)


@pytest.mark.parametrize("shape", [(3, 4, 2), (1, 1, 2), (3, 1, 2)])
def test_s_shaped_relu_with_axes_shared_as_its_variables_say(shape: Sequence[int]):
    x = 3 * some(5, 3, 4, 2)
    names = ("t_left", "a_left", "t_right", "a_right")
    t_left, a_left, t_right, a_right = parts = [some(*shape) for _ in names]
    made = one_layer("SReLU", [3, 4, 2], dict(zip(names, parts, strict=True)), t_left_init="zero")
    right = t_left + np.abs(t_right)
    wanted = np.where(x >= right, right + a_right * (x - right), x)
    close(computed(made, x), np.where(x <= t_left, t_left + a_left * (x - t_left), wanted))


def test_parametric_softplus():
    x, alpha, beta = some(2, 3, 4), some(3, 4), some(3, 4)
    made = one_layer(
        "ParametricSoftplus", [3, 4], {"alphas": alpha, "betas": beta}, alpha_init=0.2, beta_init=5.0
    )
    close(computed(made, x), alpha * np.log1p(np.exp(beta * x)))


def test_prelu_with_axes_shared_as_its_variable_says():
    x, alpha = some(2, 3, 4, 2), some(1, 1, 2)
    made = one_layer("PReLU", [3, 4, 2], {"alphas": alpha}, init="zero")
    close(computed(made, x), np.where(x > 0, x, alpha * x))


def test_variables_of_another_shape_are_none_of_shared_axes():
    made = one_layer("PReLU", [3, 4, 2], {"alphas": some(1, 2, 2)}, init="zero")
    with pytest.raises(WeightMismatch, match="1 x 4 x 2"):
        fluoroscope.open_network(keras_1_file(*made))


def test_batch_normalization_of_each_sample():
    x = some(3, 6)
    weights = {"gamma": some(6), "beta": some(6), "running_mean": some(6), "running_std": some(6) ** 2}
    made = one_layer("BatchNormalization", [6], weights, epsilon=0.01, mode=1, axis=-1, momentum=0.99)
    deviation = np.sqrt(x.var(-1, keepdims=True) + 0.01) + 0.01
    wanted = weights["gamma"] * (x - x.mean(-1, keepdims=True)) / deviation + weights["beta"]
    close(computed(made, x), wanted)


MERGES: dict[str, Callable[[Array, Array], Array]] = {
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) / 2,
    "max": np.maximum,
}


@pytest.mark.parametrize("mode", MERGES)
def test_merging_element_by_element(mode: str):
    a, b = some(2, 3, 4), some(2, 3, 4)
    close(computed(one_merge([(3, 4), (3, 4)], mode), a, b), MERGES[mode](a, b))


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_concatenating(axis: int):
    a, b = some(2, 3, 4), some(2, 3, 4)
    made = one_merge([(3, 4), (3, 4)], "concat", concat_axis=axis)
    close(computed(made, a, b), np.concatenate([a, b], axis))


@pytest.mark.parametrize(
    ("axes", "equation"), [(-1, "nij,nkj->nik"), (1, "nij,nik->njk"), ([1, 2], "nij,nki->njk")]
)
def test_dot_and_cosine_of_sequences(axes: Any, equation: str):
    a, b = some(2, 4, 4), some(2, 4, 4)
    dot = np.einsum(equation, a, b)
    close(computed(one_merge([(4, 4), (4, 4)], "dot", dot_axes=axes), a, b), dot)
    a, b = np.abs(a), np.abs(b)  # Keras 1 takes roots here of what may be negative
    dot = np.einsum(equation, a, b)
    lengths = np.sqrt(np.einsum(equation, a, a) * np.einsum(equation, b, b))
    close(computed(one_merge([(4, 4), (4, 4)], "cos", dot_axes=axes), a, b), (dot / lengths)[:, None])


@pytest.mark.parametrize("axes", [1, -1, [1, 1]])
def test_dot_and_cosine_of_vectors(axes: Any):
    a, b = some(2, 5), some(2, 5)
    dot = (a * b).sum(1, keepdims=True)
    close(computed(one_merge([(5,), (5,)], "dot", dot_axes=axes), a, b), dot)
    cosine = dot / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))[:, None]
    close(computed(one_merge([(5,), (5,)], "cos", dot_axes=axes), a, b), cosine[:, None])


def test_dilated_convolutions():
    x, kernel = some(1, 9, 2), some(3, 1, 2, 4)
    common = {"bias": False, "activation": "linear", "border_mode": "valid"}
    made = one_layer(
        "AtrousConvolution1D", [9, 2], {"W": kernel}, nb_filter=4, filter_length=3, atrous_rate=2, **common
    )
    wanted = sum(np.einsum("nic,cf->nif", x[:, 2 * tap : 5 + 2 * tap], kernel[tap, 0]) for tap in range(3))
    close(computed(made, x), wanted)
    picture, square = some(1, 5, 6, 2), some(2, 2, 2, 3)
    made = one_layer(
        "AtrousConvolution2D",
        [5, 6, 2],
        {"W": square},
        nb_filter=3,
        nb_row=2,
        nb_col=2,
        atrous_rate=[2, 3],
        dim_ordering="tf",
        **common,
    )
    wanted = sum(
        picture[:, 2 * row : 3 + 2 * row, 3 * column : 3 + 3 * column] @ square[row, column]
        for row in range(2)
        for column in range(2)
    )
    close(computed(made, picture), wanted)


@pytest.mark.parametrize("ordering", ["th", "tf"])
def test_locally_connected(ordering: str):
    """As ``call`` of Keras 1.2.2 has it: slices in row order, biases reshaped for ``th``."""
    picture = some(2, 5, 6, 3)
    kernel, bias = some(8, 2 * 3 * 3, 4), some(4, 2, 4)
    made = one_layer(
        "LocallyConnected2D",
        [3, 5, 6] if ordering == "th" else [5, 6, 3],
        {"W": kernel, "b": bias},
        nb_filter=4,
        nb_row=2,
        nb_col=3,
        subsample=[1, 3],
        border_mode="valid",
        dim_ordering=ordering,
        activation="linear",
        bias=True,
    )
    given = picture.transpose(0, 3, 1, 2) if ordering == "th" else picture
    cuts = [(slice(i, i + 2), slice(3 * j, 3 * j + 3)) for i in range(4) for j in range(2)]
    parts = [given[(..., *cut) if ordering == "th" else (slice(None), *cut)].reshape(2, -1) for cut in cuts]
    product = np.stack([part @ matrix for part, matrix in zip(parts, kernel, strict=True)], 1)
    wanted = product.reshape(2, 4, 2, 4)
    own = bias.reshape(4, 4, 2).transpose(1, 2, 0) if ordering == "th" else bias
    close(computed(made, picture), wanted + own)


def test_locally_connected_sequences():
    x, kernel, bias = some(2, 9, 3), some(4, 2 * 3, 5), some(4, 5)
    made = one_layer(
        "LocallyConnected1D",
        [9, 3],
        {"W": kernel, "b": bias},
        nb_filter=5,
        filter_length=2,
        subsample_length=2,
        border_mode="valid",
        activation="linear",
        bias=True,
    )
    wanted = np.stack([x[:, 2 * i : 2 * i + 2].reshape(2, -1) @ kernel[i] for i in range(4)], 1) + bias
    close(computed(made, x), wanted)


HUGE = 2**31 - 1
HOSTILE: dict[str, tuple[str, Sequence[int | None], dict[str, Any]]] = {
    "a window": (
        "LocallyConnected2D",
        [5, 5, 1],
        {"filters": 1, "kernel_size": [HUGE, 1], "padding": "same", "implementation": 3},
    ),
    "a picture": ("LocallyConnected1D", [HUGE, 1], {"filters": 1, "kernel_size": [1], "implementation": 1}),
    "an output": ("AdaptiveAveragePooling1D", [5, 1], {"output_size": [HUGE]}),
    "an input": ("AdaptiveMaxPooling2D", [HUGE, HUGE, 1], {"output_size": [HUGE, 3]}),
    "a transform": ("MelSpectrogram", [HUGE], {"fft_length": 2**20}),
    "bands": ("MelSpectrogram", [5000], {"num_mel_bins": HUGE}),
    "categories": ("CategoryEncoding", [1], {"num_tokens": HUGE, "output_mode": "one_hot"}),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_sizes_that_a_file_merely_declares_are_not_allocated(what: str):
    class_name, shape, options = HOSTILE[what]
    weights = {"W": some(1), "b": some(1)} if "Local" in class_name else {}
    made = one_layer(class_name, shape, weights, **options)
    with pytest.raises(BudgetExceeded):
        fluoroscope.open_network(keras_1_file(*made, version="2.9.0"))


DAMAGED: dict[str, tuple[str, Sequence[int | None], dict[str, Any], str]] = {
    "groups": (
        "GroupNormalization",
        [4, 6],
        {"groups": 4, "scale": False, "center": False},
        "4 groups for 6",
    ),
    "no groups": ("GroupNormalization", [4, 6], {"groups": 0}, "0 groups"),
    "range": ("AutoContrast", [4, 4, 3], {"value_range": [1, 1]}, "not two different numbers"),
    "sound": ("MelSpectrogram", [4, 2], {}, "sounds of one channel"),
    "short": ("MelSpectrogram", [100], {}, "mirrors 1024 samples at each end of a sound of 100"),
    "frame": (
        "MelSpectrogram",
        [5000],
        {"fft_length": 16, "sequence_length": 17},
        "17 samples for",
    ),
    "vector": ("MaxoutDense", [4, 2], {"output_dim": 2, "bias": False}, "a vector of known size"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_layers_that_contradict_themselves(what: str):
    class_name, shape, options, message = DAMAGED[what]
    weights = {"W": some(4, 2, 2)} if class_name == "MaxoutDense" else {}
    if what == "no groups":
        weights = {"gamma": some(6), "beta": some(6)}
    with pytest.raises(DamagedFile, match=message):
        fluoroscope.open_network(
            keras_1_file(*one_layer(class_name, shape, weights, **options), version="2.9.0")
        )


REFUSALS: dict[str, tuple[str, Sequence[int | None], dict[str, Any], str]] = {
    "bins": (
        "Discretization",
        [4],
        {"bin_boundaries": None, "num_bins": None},
        "no boundaries in its config",
    ),
    "words": ("IntegerLookup", [4], {"vocabulary": ["a", "b"]}, "words for its vocabulary"),
    "elsewhere": ("IntegerLookup", [4], {"vocabulary": None}, "it lies in another file"),
    "large": ("IntegerLookup", [4], {"vocabulary": [2**40]}, "which float32 rounds"),
    "sparse": ("CategoryEncoding", [4], {"num_tokens": 3, "sparse": True}, "makes sparse values"),
    "axes": ("CategoryEncoding", [4, 2], {"num_tokens": 3}, "vectors of several axes"),
    "sizes": ("AdaptiveMaxPooling1D", [None, 2], {"output_size": [3]}, "depends on the picture's size"),
    "kernels": ("LocallyConnected1D", [None, 2], {"filters": 1, "kernel_size": [3]}, "at every place"),
    "implementation": (
        "LocallyConnected1D",
        [5, 2],
        {"filters": 1, "kernel_size": [3], "implementation": 4},
        "Translated are 1, 2 and 3",
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_what_has_no_translation_says_why(what: str):
    class_name, shape, options, message = REFUSALS[what]
    stored = {"LocallyConnected1D": {"W": some(1), "b": some(1)}, "Discretization": {"summary": some(2, 0)}}
    network = fluoroscope.open_network(
        keras_1_file(*one_layer(class_name, shape, stored.get(class_name, {}), **options), version="2.9.0")
    )
    assert message in str(network.layers[-1].problem)
