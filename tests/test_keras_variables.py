"""The table of variables against Keras, names and roles, old kernels against TF-Keras's conversion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fluoroscope.errors import WeightMismatch
from fluoroscope.formats.keras.kernels import modern_layout
from fluoroscope.formats.keras.variables import (
    VARIABLES,
    Variable,
    contradicts,
    expected,
    is_stray,
    named,
    role,
)
from keras_conformance import framework

LAYERS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "Conv1D": ({"filters": 4, "kernel_size": 3}, (9, 2)),
    "Conv2D": ({"filters": 4, "kernel_size": (3, 2), "groups": 2}, (9, 9, 2)),
    "Conv3D": ({"filters": 4, "kernel_size": 2}, (5, 5, 5, 2)),
    "Conv1DTranspose": ({"filters": 4, "kernel_size": 3}, (9, 2)),
    "Conv2DTranspose": ({"filters": 4, "kernel_size": 3}, (9, 9, 2)),
    "Conv3DTranspose": ({"filters": 4, "kernel_size": 2}, (5, 5, 5, 2)),
    "DepthwiseConv1D": ({"kernel_size": 3, "depth_multiplier": 2}, (9, 2)),
    "DepthwiseConv2D": ({"kernel_size": 3, "depth_multiplier": 2}, (9, 9, 2)),
    "SeparableConv1D": ({"filters": 4, "kernel_size": 3}, (9, 2)),
    "SeparableConv2D": ({"filters": 4, "kernel_size": 3}, (9, 9, 2)),
    "Dense": ({"units": 4}, (6,)),
    "PReLU": ({}, (6,)),
    "BatchNormalization": ({}, (9, 9, 2)),
    "LayerNormalization": ({}, (9, 9, 2)),
    "GroupNormalization": ({"groups": 1}, (9, 9, 2)),
    "Normalization": ({}, (9, 9, 2)),
    "SimpleRNN": ({"units": 3}, (4, 2)),
    "GRU": ({"units": 3}, (4, 2)),
    "LSTM": ({"units": 3}, (4, 2)),
}
WRAPPERS = ("Bidirectional", "Pipeline", "RNN", "StackedRNNCells", "TimeDistributed")
SWITCHES = {"use_bias", "scale", "center"}


@pytest.mark.parametrize("kind", list(LAYERS))
@pytest.mark.parametrize("on", [True, False])
def test_the_table_is_what_keras_has(kind: str, on: bool) -> None:
    keras = framework("keras")
    options, shape = LAYERS[kind]
    switches = {variable.option for variable in VARIABLES[kind]} & SWITCHES
    layer = getattr(keras.layers, kind)(**options, **dict.fromkeys(switches, on))
    layer.build((None, *shape))
    live = [variable for variable in layer.weights if variable.dtype != "uint32"]
    found = expected(kind, layer.get_config(), major=3)
    assert found is not None
    assert [variable.name for variable in found] == [variable.name for variable in live]
    statistics = {variable.name for variable in live if not variable.trainable}
    assert {variable.name for variable in found if not variable.trainable} == statistics


@pytest.mark.parametrize("kind", [kind for kind, variables in VARIABLES.items() if not variables])
def test_the_others_have_none(kind: str) -> None:
    keras = framework("tf_keras")
    if not hasattr(keras.layers, kind):
        keras = framework("keras")
    if not hasattr(keras.layers, kind):
        return
    if kind in ("InputLayer", "Merge", "Identity", "RandomCrop", *WRAPPERS):
        return
    needs: dict[str, Any] = {
        "Activation": {"activation": "relu"},
        "Reshape": {"target_shape": (1,)},
        "Permute": {"dims": (1,)},
        "RepeatVector": {"n": 2},
        "Rescaling": {"scale": 1},
        "Resizing": {"height": 2, "width": 2},
        "CenterCrop": {"height": 2, "width": 2},
        "Dot": {"axes": 1},
        "CategoryEncoding": {"num_tokens": 3},
        "GaussianNoise": {"stddev": 1},
        "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1},
    }
    if kind.startswith("Adaptive"):
        needs[kind] = {"output_size": 2}
    rates = {"rate": 0.1} if "Dropout" in kind else {}
    factors = (
        {"factor": 0.1}
        if kind.startswith("Random") and kind not in ("RandomFlip", "RandomTranslation")
        else {}
    )
    if kind == "RandomZoom":
        factors = {"height_factor": 0.1}
    assert getattr(keras.layers, kind)(**needs.get(kind, {}), **rates, **factors).weights == []


def test_options_that_change_what_there_is() -> None:
    def names(kind: str, **config: Any) -> list[str]:
        return [variable.name for variable in expected(kind, config, major=3) or ()]

    assert names("BatchNormalization", renorm=True)[-2:] == ["renorm_mean", "renorm_stddev"]
    assert names("Normalization", mean=[1.0]) == []
    assert names("LayerNormalization", rms_scaling=True) == ["gamma"]
    assert expected("LSTM", {}, major=1) is None
    assert expected("SomethingElse", {}, major=3) is None


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        ("conv2d_1/kernel:0", "kernel"),
        ("kernel:0", "kernel"),
        ("block/kernel_1:0", "kernel"),
        ("model/conv/depthwise_kernel:0", "depthwise_kernel"),
        ("separable_1_pointwise_kernel", "pointwise_kernel"),
        ("lstm/lstm_cell/recurrent_kernel:0", "recurrent_kernel"),
        ("convolution2d_1_W", "kernel"),
        ("convolution2d_1_W:0", "kernel"),
        ("my_bias_b", "bias"),
        ("batchnormalization_1_running_std", "moving_variance"),
        ("batch_normalization/moving_variance:0", "moving_variance"),
        ("prelu_1_alphas", "alpha"),
        ("embedding_1/embeddings:0", "embeddings"),
        ("param_0", None),
        ("0", None),
        ("dense_1_W_regularizer", None),
        ("Variable:0", None),
    ],
)
def test_names_tell_roles(stored: str, wanted: str | None) -> None:
    assert role(stored) == wanted


@pytest.mark.parametrize(
    ("stored", "kind", "name", "wrong"),
    [
        ("c/kernel:0", "Conv2D", "kernel", False),
        ("c/kernel:0", "Conv2D", "bias", True),
        ("c/depthwise_kernel:0", "DepthwiseConv2D", "kernel", False),
        ("c/depthwise_kernel:0", "SeparableConv2D", "pointwise_kernel", True),
        ("embedding_1_W", "Embedding", "embeddings", False),
        ("param_1", "Conv2D", "bias", False),
    ],
)
def test_names_contradict(stored: str, kind: str, name: str, wrong: bool) -> None:
    assert contradicts(stored, kind, Variable(name=name)) == wrong


@pytest.mark.parametrize(
    ("stored", "stray"),
    [
        ("seed_generator/vars/0", True),
        ("random_flip/StateVar:0", True),
        ("dropout/seed_generator_state", True),
        ("layers/dropout/seed_generator/vars/0", True),
        ("seed_generator/kernel:0", False),
        ("layers/seed_generator/vars/kernel", False),
        ("conv/kernel:0", False),
        ("strange/kernel:0", False),
    ],
)
def test_states_of_random_generators(stored: str, stray: bool) -> None:
    assert is_stray(stored) == stray


def test_unknown_kinds_keep_the_files_names() -> None:
    one, two = np.zeros(1), np.ones(2)
    assert list(named("x", "Mine", None, [("x/kernel:0", one), ("x/scale:0", two)])) == [
        "kernel",
        "x/scale:0",
    ]
    twice = [("x/f/kernel:0", one), ("x/b/kernel:0", two)]
    assert list(named("x", "Bidirectional", None, twice)) == ["x/f/kernel:0", "x/b/kernel:0"]


@pytest.mark.parametrize(
    ("kind", "data_format", "shape"),
    [
        ("Conv1D", "channels_last", (3, 1, 2, 4)),
        ("Conv1D", "channels_last", (4, 2, 3, 1)),
        ("Conv2D", "channels_last", (3, 2, 2, 4)),
        ("Conv2D", "channels_first", (4, 2, 3, 2)),
        ("Conv2DTranspose", "channels_last", (3, 2, 2, 4)),
        ("Conv2DTranspose", "channels_first", (4, 2, 3, 2)),
        ("Conv3D", "channels_first", (4, 2, 3, 2, 5)),
        ("Conv3D", "channels_last", (3, 2, 5, 2, 4)),
    ],
)
def test_keras_1_kernels_as_tf_keras_converts_them(
    kind: str, data_format: str, shape: tuple[int, ...]
) -> None:
    framework("tf_keras")
    import tf_keras
    from tf_keras.src.saving.legacy.hdf5_format import preprocess_weights_for_loading

    rank = int(kind[4])
    sides = {1: 3, 2: (3, 2), 3: (3, 2, 5)}[rank]
    layer = getattr(tf_keras.layers, kind)(4, sides, data_format=data_format)
    layer.build((None, 2, *[9] * rank) if data_format == "channels_first" else (None, *[9] * rank, 2))
    kernel = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    [wanted, _] = preprocess_weights_for_loading(layer, [kernel, np.zeros(4)], "1", "tensorflow")
    config = {"filters": 4, "kernel_size": [3] if rank == 1 else list(sides), "data_format": data_format}
    found = modern_layout("x", kind, config, {"kernel": kernel}, major=1, backend=None)["kernel"]
    np.testing.assert_array_equal(found, wanted)


def test_a_keras_1_kernel_of_another_rank() -> None:
    with pytest.raises(WeightMismatch, match="'x' should have 4 axes in Keras 1; it has 3"):
        modern_layout("x", "Conv1D", {}, {"kernel": np.zeros((3, 2, 4))}, major=1, backend=None)


def test_theano_convolves_where_others_correlate() -> None:
    """A kernel that looks one pixel to the left looks to the right under the other meaning."""
    kernel = np.zeros((1, 3, 1, 1), np.float32)
    kernel[0, 0] = 1
    found = modern_layout("x", "Conv2D", {}, {"kernel": kernel}, major=2, backend="theano")["kernel"]
    row = np.array([5.0, 7.0, 11.0])
    assert np.convolve(row, kernel.ravel(), "same")[1] == np.correlate(row, found.ravel(), "same")[1] == 11
    untouched = modern_layout("x", "DepthwiseConv2D", {}, {"kernel": kernel}, major=2, backend="theano")[
        "kernel"
    ]
    assert untouched is kernel
