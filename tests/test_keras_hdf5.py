"""Full-model .h5 files: those of TF-Keras and Keras 3 against the live model, those of Keras 1 by hand."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import numpy as np
import pytest

import fluoroscope
import keras_zoo as zoo
from fluoroscope.errors import DamagedFile, UnknownFormat, WeightMismatch
from fluoroscope.formats.hdf5 import signature as hdf5_signature
from fluoroscope.formats.keras import hdf5 as keras_hdf5
from fluoroscope.formats.keras.model import KerasModel
from keras_1_files import Array, Groups, keras_1_file
from keras_conformance import FRAMEWORKS, framework, pictures, save


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Each model of the zoo, written once by each Keras: (model, path)."""
    folder = tmp_path_factory.mktemp("zoo")
    cache: dict[tuple[str, str], tuple[Any, Path]] = {}

    def get(framework_name: str, name: str) -> tuple[Any, Path]:
        key = framework_name, name
        if key not in cache:
            model = zoo.built(framework(framework_name), zoo.ALL[name])
            cache[key] = model, save(model, folder / f"{framework_name}_{name}.h5")
        return cache[key]

    return get


def opened(path: Path) -> KerasModel:
    return keras_hdf5.read(path.read_bytes())


def layer_weights(model: KerasModel) -> dict[str, dict[str, Array]]:
    return {call.layer.name: dict(call.layer.weights) for call in model.calls}


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
@pytest.mark.parametrize("name", list(zoo.ALL))
def test_every_array_is_where_keras_has_it(framework_name: str, name: str, written: Any) -> None:
    model, path = written(framework_name, name)
    found = layer_weights(opened(path))
    for layer, arrays in zoo.weights(model).items():
        assert len(found[layer]) == len(arrays), layer
        for own, array in zip(found[layer].values(), arrays, strict=True):
            assert own.dtype == array.dtype
            np.testing.assert_array_equal(own, array, err_msg=layer)


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_variables_are_named_as_keras_3_names_them(framework_name: str, written: Any) -> None:
    model, path = written(framework_name, "layer_kinds")
    for layer, names in zoo.variable_names(model).items():
        depthwise = "depthwise_conv" in layer
        wanted = [name.replace("depthwise_", "") if depthwise else name for name in names]
        assert list(layer_weights(opened(path))[layer]) == wanted, layer


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
@pytest.mark.parametrize("name", ["nested", "sequentials", "shared", "many_outputs", "twins", "lent"])
def test_what_comes_out_is_what_keras_gives(framework_name: str, name: str, written: Any) -> None:
    """The connections: inputs, shared calls and outputs in their order."""
    model, path = written(framework_name, name)
    batches = pictures(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = model(batches if len(batches) > 1 else batches[0], training=False)
    wanted = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    network = fluoroscope.open_network(path)
    feeds = {spec.name: batch for spec, batch in zip(network.inputs, batches, strict=True)}
    found = network.run(feeds, network.outputs)
    assert len(network.outputs) == len(wanted)
    for output, array in zip(network.outputs, wanted, strict=True):
        np.testing.assert_allclose(found[output], np.asarray(array), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_what_the_file_says_of_itself(framework_name: str, written: Any) -> None:
    keras = framework(framework_name)
    _, path = written(framework_name, "nested")
    found = opened(path)
    version = tuple(int(part) for part in keras.__version__.split(".")[:2])
    assert (found.name, found.writer, found.backend) == ("nested", keras.__version__, "tensorflow")
    assert found.keras_version == version
    assert not found.sequential
    assert opened(written(framework_name, "sequentials")[1]).sequential
    trainable = {
        call.layer.name: call.layer.trainable
        for call in opened(written(framework_name, "frozen_model")[1]).calls
    }
    assert trainable["head"]
    assert not trainable["middle/block/conv"]


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_an_optimizers_state_is_left_out(framework_name: str, tmp_path: Path) -> None:
    keras = framework(framework_name)
    model = zoo.built(keras, zoo.sequentials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.compile("adam", "mse")
        model.fit(np.zeros((2, *zoo.SHAPE)), np.zeros((2, 2)), verbose=0)
    assert opened(save(model, tmp_path / "m.h5")).notes == ("the optimizer's state in the file is not read",)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_precisions_are_kept_as_stored(dtype: str, tmp_path: Path) -> None:
    keras = framework("keras")
    k = keras.layers
    model = keras.Sequential([keras.Input((4,)), k.Dense(3, dtype=dtype, name="d")])
    found = opened(save(model, tmp_path / "m.h5"))
    assert {array.dtype for array in found.calls[-1].layer.weights.values()} == {np.dtype(dtype)}
    assert any("float16" in note for note in found.notes) == (dtype == "float16")


def test_lists_of_names_in_pieces(tmp_path: Path) -> None:
    """Over 64 KiB they are spread over layer_names0, layer_names1..."""
    model = zoo.built(framework("tf_keras"), zoo.layer_kinds)
    with mock.patch("tf_keras.src.saving.legacy.hdf5_format.HDF5_OBJECT_HEADER_LIMIT", 60):
        path = save(model, tmp_path / "m.h5")
    with h5py.File(path) as file:
        groups = file["model_weights"]
        assert "layer_names" not in groups.attrs
        assert any("weight_names1" in group.attrs for group in groups.values())
    found = layer_weights(opened(path))
    for layer, arrays in zoo.weights(model).items():
        for own, array in zip(found[layer].values(), arrays, strict=True):
            np.testing.assert_array_equal(own, array)


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_classes_of_the_author_keep_the_rest_intact(framework_name: str, tmp_path: Path) -> None:
    keras = framework(framework_name)
    k = keras.layers

    class Mine(k.Layer):
        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(name="scale", shape=(3,), initializer="ones")

        def call(self, value: Any) -> Any:
            return value * self.scale

        def get_config(self) -> Any:
            return super().get_config()

    with keras.utils.custom_object_scope({"Mine": Mine}):
        inner = keras.Sequential(
            [
                keras.Input(zoo.SHAPE),
                k.Conv2D(3, 3, name="conv"),
                Mine(name="mine"),
                k.BatchNormalization(name="norm"),
            ],
            name="inner",
        )
        layers = [keras.Input(zoo.SHAPE), inner, k.Lambda(lambda x: x / 127.5, name="scaled"), k.Conv2D(2, 1)]
        model = zoo.built(keras, lambda keras: keras.Sequential(layers))
        path = save(model, tmp_path / "m.h5")
    found = opened(path)
    problems = {call.name: call.layer.problem for call in found.calls}
    assert "bytecode, which is never run (it mentions 127.5" in str(problems["scaled"])
    weights = layer_weights(found)
    for layer, arrays in zoo.weights(model).items():
        for own, array in zip(weights[layer].values(), arrays, strict=True):
            np.testing.assert_array_equal(own, array)


# Files of Keras 1, as Keras 1.2 wrote them.


def arange(*shape: int) -> Array:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def conv_2d(name: str, filters: int, ordering: str, **config: Any) -> dict[str, Any]:
    kept = {
        "nb_filter": filters,
        "nb_row": 2,
        "nb_col": 3,
        "dim_ordering": ordering,
        "bias": True,
        "init": "he_normal",
    }
    fixed = {"subsample": [1, 1], "border_mode": "valid", "activation": "relu", "W_regularizer": None}
    return {
        "class_name": "Convolution2D",
        "config": {"name": name, "trainable": True, **kept, **fixed, **config},
    }


class TestKeras1:
    @pytest.mark.parametrize("suffix", ["", ":0"])
    @pytest.mark.parametrize("version", ["1.2.2", "1.0.8", None])
    def test_a_convnet_in_th_ordering(self, version: str | None, suffix: str) -> None:
        config = {
            "class_name": "Sequential",
            "config": [
                conv_2d("convolution2d_1", 4, "th", batch_input_shape=[None, 3, 8, 8], input_dtype="float32"),
                {
                    "class_name": "BatchNormalization",
                    "config": {
                        "name": "batchnormalization_1",
                        "epsilon": 1e-5,
                        "mode": 0,
                        "axis": 1,
                        "momentum": 0.9,
                    },
                },
                {"class_name": "Flatten", "config": {"name": "flatten_1", "trainable": True}},
                {
                    "class_name": "Dense",
                    "config": {
                        "name": "dense_1",
                        "output_dim": 2,
                        "input_dim": None,
                        "bias": True,
                        "activation": "softmax",
                    },
                },
            ],
        }
        kernel = arange(4, 3, 2, 3)
        statistics = ("gamma", "beta", "running_mean", "running_std")
        groups = {
            "convolution2d_1": [
                ("convolution2d_1_W" + suffix, kernel),
                ("convolution2d_1_b" + suffix, arange(4)),
            ],
            "batchnormalization_1": [
                (f"batchnormalization_1_{name}{suffix}", arange(4)) for name in statistics
            ],
            "flatten_1": [],
            "dense_1": [("dense_1_W" + suffix, arange(9, 2)), ("dense_1_b" + suffix, arange(2))],
        }
        model = keras_hdf5.read(keras_1_file(config, groups, version=version))
        assert [call.name for call in model.calls] == ["convolution2d_1_input", *groups]
        assert model.keras_version == ((1, int(version[2])) if version else (1, 0))
        assert model.writer == version
        weights = layer_weights(model)
        # (out, in, rows, columns) to (rows, columns, in, out)
        assert weights["convolution2d_1"]["kernel"][1, 2, 0, 3] == kernel[3, 0, 1, 2]
        assert weights["convolution2d_1"]["kernel"].shape == (2, 3, 3, 4)
        assert list(weights["batchnormalization_1"]) == ["gamma", "beta", "moving_mean", "moving_variance"]
        assert model.notes == (
            "Keras 1 did not record its backend: kernels are taken as TensorFlow's; trained with Theano they "
            "would have to be rotated by 180°",
        )

    @pytest.mark.parametrize("backend", [None, "theano"])
    def test_it_computes_what_the_same_layers_of_today_compute(self, backend: str | None) -> None:
        """A network in th ordering, against TF-Keras with the kernels laid out as TF-Keras has them."""
        keras = framework("tf_keras")
        k = keras.layers
        today = keras.Sequential(
            [
                keras.Input((7, 6, 2)),
                k.ZeroPadding2D((1, 2)),
                k.Conv2D(3, (2, 3), strides=(2, 1), padding="same", activation="relu", name="conv"),
                k.BatchNormalization(epsilon=1e-5, name="norm"),
                k.UpSampling2D((2, 1)),
                k.MaxPooling2D((2, 3), strides=(1, 2)),
                k.Permute((3, 1, 2)),  # th ordering flattens channel by channel
                k.Flatten(),
                k.Dense(4, activation="hard_sigmoid", name="dense"),
            ]
        )
        zoo.built(keras, lambda keras: today)
        [kernel, bias], [matrix, offset] = (today.get_layer(name).get_weights() for name in ("conv", "dense"))
        kernel = kernel.transpose(3, 2, 0, 1)
        if backend == "theano":
            kernel = kernel[:, :, ::-1, ::-1]

        def old(class_name: str, name: str, **config: Any) -> dict[str, Any]:
            return {"class_name": class_name, "config": {"name": name, "trainable": True, **config}}

        statistics = ("gamma", "beta", "running_mean", "running_std")
        layers = [
            old(
                "ZeroPadding2D",
                "pad",
                padding=[1, 2],
                batch_input_shape=[None, 2, 7, 6],
                input_dtype="float32",
            ),
            conv_2d("conv", 3, "th", subsample=[2, 1], border_mode="same"),
            old("BatchNormalization", "norm", epsilon=1e-5, mode=0, axis=1, momentum=0.99),
            old("UpSampling2D", "up", size=[2, 1]),
            old(
                "MaxPooling2D",
                "pool",
                pool_size=[2, 3],
                strides=[1, 2],
                border_mode="valid",
                dim_ordering="th",
            ),
            old("Flatten", "flat"),
            old(
                "Dense",
                "dense",
                output_dim=4,
                input_dim=None,
                bias=True,
                init="uniform",
                activation="hard_sigmoid",
            ),
        ]
        groups: Groups = {
            **{layer["config"]["name"]: [] for layer in layers},
            "conv": [("conv_W", kernel), ("conv_b", bias)],
            "norm": list(
                zip(
                    [f"norm_{name}" for name in statistics],
                    today.get_layer("norm").get_weights(),
                    strict=True,
                )
            ),
            "dense": [("dense_W", matrix), ("dense_b", offset)],
        }
        data = keras_1_file({"class_name": "Sequential", "config": layers}, groups, backend=backend)
        network = fluoroscope.open_network(data)
        [batch] = pictures(today)
        assert network.inputs[0].shape == (7, 6, 2)
        found = network.run(batch, ["conv", "norm", "dense"])
        watched = keras.Model(today.inputs, [today.get_layer(name).output for name in found])
        for name, wanted in zip(found, watched(batch, training=False), strict=True):
            np.testing.assert_allclose(found[name], np.asarray(wanted), rtol=1e-5, atol=1e-5, err_msg=name)

    def test_kernels_in_tf_ordering_stay(self) -> None:
        kernel = arange(2, 3, 3, 4)
        config = [conv_2d("c", 4, "tf", batch_input_shape=[None, 8, 8, 3])]
        data = keras_1_file(
            {"class_name": "Sequential", "config": config}, {"c": [("c_W", kernel), ("c_b", arange(4))]}
        )
        model = keras_hdf5.read(data)
        np.testing.assert_array_equal(layer_weights(model)["c"]["kernel"], kernel)
        assert model.notes == ()

    def test_a_functional_model_with_merges(self) -> None:
        def merge(name: str, mode: str, *inputs: str) -> dict[str, Any]:
            config = {
                "name": name,
                "mode": mode,
                "mode_type": "raw",
                "concat_axis": 1,
                "dot_axes": -1,
                "arguments": {},
            }
            return {
                "class_name": "Merge",
                "config": config,
                "name": name,
                "inbound_nodes": [[[x, 0, 0] for x in inputs]],
            }

        convs = [
            {
                **conv_2d(name, 3, "th", border_mode="same"),
                "name": name,
                "inbound_nodes": [[["input_1", 0, 0]]],
            }
            for name in ("a", "b")
        ]
        entry = {
            "class_name": "InputLayer",
            "config": {
                "batch_input_shape": [None, 3, 8, 8],
                "input_dtype": "float32",
                "sparse": False,
                "name": "input_1",
            },
            "name": "input_1",
            "inbound_nodes": [],
        }
        config = {
            "name": "model_1",
            "layers": [
                entry,
                *convs,
                merge("merge_1", "sum", "a", "b"),
                merge("merge_2", "concat", "merge_1", "b"),
            ],
            "input_layers": [["input_1", 0, 0]],
            "output_layers": [["merge_2", 0, 0]],
        }
        groups: Groups = {
            "input_1": [],
            **{name: [(f"{name}_W", arange(3, 3, 2, 3)), (f"{name}_b", arange(3))] for name in ("a", "b")},
            "merge_1": [],
            "merge_2": [],
        }
        model = keras_hdf5.read(keras_1_file({"class_name": "Model", "config": config}, groups))
        assert [(call.name, call.layer.kind, [name for name, _ in call.inputs]) for call in model.calls] == [
            ("input_1", "InputLayer", []),
            ("a", "Conv2D", ["input_1"]),
            ("b", "Conv2D", ["input_1"]),
            ("merge_1", "Add", ["a", "b"]),
            ("merge_2", "Concatenate", ["merge_1", "b"]),
        ]
        assert model.calls[-1].layer.config["axis"] == 1

    def test_merged_sequentials_are_stored_flat(self) -> None:
        branches = [
            {
                "class_name": "Sequential",
                "config": [
                    {
                        "class_name": "Dense",
                        "config": {"name": name, "input_dim": 3, "output_dim": 2, "bias": True},
                    }
                ],
            }
            for name in ("dense_1", "dense_2")
        ]
        merge = {
            "class_name": "Merge",
            "config": {"name": "merge_1", "mode": "mul", "mode_type": "raw", "layers": branches},
        }
        config = [
            merge,
            {"class_name": "Dense", "config": {"name": "dense_3", "output_dim": 1, "bias": False}},
        ]
        groups: Groups = {
            "dense_1": [("dense_1_W", arange(3, 2)), ("dense_1_b", arange(2))],
            "dense_2": [("dense_2_W", arange(3, 2) + 9), ("dense_2_b", arange(2))],
            "dense_3": [("dense_3_W", arange(2, 1))],
        }
        model = keras_hdf5.read(keras_1_file({"class_name": "Sequential", "config": config}, groups))
        weights = layer_weights(model)
        assert weights["sequential_2/dense_2"]["kernel"][0, 0] == 9
        assert model.inputs == ("sequential_1/dense_1_input", "sequential_2/dense_2_input")

    def test_sequentials_without_names_take_the_groups_that_are_left(self) -> None:
        """Up to Keras 2.2.2 a Sequential in a Sequential tells its name in its weights only."""

        def block(name: str, **config: Any) -> dict[str, Any]:
            return {"class_name": "Sequential", "config": [conv_2d(name, 3, "tf", **config)]}

        config = [block("c1", batch_input_shape=[None, 9, 9, 3]), conv_2d("c2", 3, "tf"), block("c3")]
        arrays = {name: arange(2, 3, 3, 3) + number for number, name in enumerate(("c1", "c2", "c3"))}
        groups: Groups = {
            group: [(f"{name}_W", arrays[name]), (f"{name}_b", arange(3))]
            for group, name in (("base_model", "c1"), ("c2", "c2"), ("sequential_7", "c3"))
        }
        weights = layer_weights(
            keras_hdf5.read(keras_1_file({"class_name": "Sequential", "config": config}, groups))
        )
        for name, array in (
            ("sequential_1/c1", arrays["c1"]),
            ("c2", arrays["c2"]),
            ("sequential_2/c3", arrays["c3"]),
        ):
            np.testing.assert_array_equal(weights[name]["kernel"], array)


class TestTheano:
    @pytest.mark.parametrize("major", [1, 2])
    def test_kernels_are_rotated(self, major: int) -> None:
        kernel = arange(2, 3, 3, 4)
        entry = conv_2d("c", 4, "tf", batch_input_shape=[None, 8, 8, 3])
        if major == 2:
            fields = {"filters": 4, "kernel_size": [2, 3], "data_format": "channels_last"}
            entry = {
                "class_name": "Conv2D",
                "config": {"name": "c", "batch_input_shape": [None, 8, 8, 3], **fields},
            }
        data = keras_1_file(
            {"class_name": "Sequential", "config": [entry]},
            {"c": [("c_W", kernel), ("c_b", arange(4))]},
            version=f"{major}.0.9",
            backend="theano",
        )
        model = keras_hdf5.read(data)
        found = layer_weights(model)["c"]["kernel"]
        np.testing.assert_array_equal(found, kernel[::-1, ::-1])
        assert found[0, 0, 1, 2] == kernel[1, 2, 1, 2]
        assert model.backend == "theano"
        assert any("Theano" in note for note in model.notes)

    @pytest.mark.parametrize(
        ("config", "told"),
        [
            ({"border_mode": "same", "subsample": [2, 2]}, True),
            ({"border_mode": "same", "subsample": [1, 1]}, True),  # two rows: an even kernel
            ({"border_mode": "same", "nb_row": 3}, False),
            ({"border_mode": "valid", "subsample": [2, 2]}, False),
        ],
    )
    def test_padding_that_may_be_a_pixel_off_is_told(self, config: dict[str, Any], told: bool) -> None:
        entry = conv_2d("c", 4, "tf", batch_input_shape=[None, 8, 8, 3])
        entry["config"] |= config
        groups = {"c": [("c_W", arange(entry["config"]["nb_row"], 3, 3, 4)), ("c_b", arange(4))]}
        data = keras_1_file({"class_name": "Sequential", "config": [entry]}, groups, backend="theano")
        assert any("the maps of c may be a pixel off" in note for note in keras_hdf5.read(data).notes) == told

    def test_dense_kernels_are_not(self) -> None:
        entry = {"class_name": "Dense", "config": {"name": "d", "units": 3, "batch_input_shape": [None, 2]}}
        data = keras_1_file(
            {"class_name": "Sequential", "config": [entry]},
            {"d": [("d/kernel:0", arange(2, 3)), ("d/bias:0", arange(3))]},
            version="2.0.9",
            backend="theano",
        )
        np.testing.assert_array_equal(layer_weights(keras_hdf5.read(data))["d"]["kernel"], arange(2, 3))


# Files that are not what they should be.

DENSE = {
    "class_name": "Sequential",
    "config": {
        "name": "net",
        "layers": [
            {"class_name": "Dense", "config": {"name": "d", "units": 3, "batch_input_shape": [None, 2]}},
            {"class_name": "ReLU", "config": {"name": "r"}},
        ],
    },
}
KERNEL, BIAS = ("d/kernel:0", arange(2, 3)), ("d/bias:0", arange(3))


def dense_file(**groups: Sequence[tuple[str, Array]]) -> bytes:
    return keras_1_file(DENSE, groups, version="2.2.4-tf")


class TestMismatches:
    def test_the_file_that_the_others_are_made_of(self) -> None:
        model = keras_hdf5.read(dense_file(d=[KERNEL, BIAS], r=[]))
        assert list(layer_weights(model)["d"]) == ["kernel", "bias"]
        assert (model.keras_version, model.writer) == ((2, 2), "2.2.4-tf")

    @pytest.mark.parametrize(
        ("groups", "message"),
        [
            (
                {"d": [KERNEL], "r": []},
                r"'d' \(Dense\) should have 2 weights \(kernel, bias\); the file has 1",
            ),
            (
                {"d": [KERNEL, BIAS, ("d/more:0", arange(3))], "r": []},
                r"2 weights \(kernel, bias\); the file has 3",
            ),
            ({"d": [], "r": []}, r"2 weights \(kernel, bias\); the file has 0 \(none\)"),
            ({"r": []}, "the file has 0"),
            ({"d": [BIAS, KERNEL], "r": []}, "should have 'kernel' where the file has 'd/bias:0'"),
            ({"d": [KERNEL, BIAS], "r": [("x", arange(1))]}, r"'r' \(ReLU\) should have 0 weights"),
            (
                {"d": [KERNEL, BIAS], "gone": [("x", arange(1))]},
                "weights that no layer of its architecture has: gone/x",
            ),
            (
                {"d": [("k", arange(2, 4)), BIAS], "r": []},
                r"should have shape \(any, 3\) by the architecture; the file has \(2, 4\)",
            ),
            ({"d": [("k", arange(2, 3, 1)), BIAS], "r": []}, r"shape \(any, 3\) .* has \(2, 3, 1\)"),
            ({"d": [KERNEL, ("b", arange(4))], "r": []}, r"'bias' .* shape \(3\) .* \(4,\)"),
            ({}, "an architecture but no weights"),
        ],
    )
    def test_weights_that_do_not_fit(self, groups: Groups, message: str) -> None:
        with pytest.raises(WeightMismatch, match=message):
            keras_hdf5.read(keras_1_file(DENSE, groups, version="2.3.1"))

    def test_a_name_without_its_array(self) -> None:
        buffer = io.BytesIO(dense_file(d=[KERNEL, BIAS]))
        with h5py.File(buffer, "r+") as file:
            del file["model_weights/d/d/bias:0"]
        with pytest.raises(WeightMismatch, match="'d/d/bias:0' is listed among its weights but missing"):
            keras_hdf5.read(buffer.getvalue())

    def test_an_array_without_its_name(self) -> None:
        buffer = io.BytesIO(dense_file(d=[KERNEL, BIAS]))
        with h5py.File(buffer, "r+") as file:
            file["model_weights/d/more"] = arange(3)
        with pytest.raises(WeightMismatch, match="that no layer of its architecture has: d/more"):
            keras_hdf5.read(buffer.getvalue())

    def test_the_state_of_a_random_generator_is_none_of_the_weights(self) -> None:
        config = json.loads(json.dumps(DENSE).replace("ReLU", "RandomFlip"))
        data = keras_1_file(
            config, {"d": [KERNEL, BIAS], "r": [("random_flip/StateVar:0", arange(3))]}, version="2.6.0"
        )
        assert layer_weights(keras_hdf5.read(data))["r"] == {}

    @pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
    def test_where_orders_are_alike_names_tell(self, order: tuple[str, str]) -> None:
        """A frozen layer's weights come last, or do not: kernel and bias follow each other either way."""
        layers = [
            {"class_name": "Dense", "config": {"name": name, "units": 2, "trainable": name == "two"}}
            for name in ("one", "two")
        ]
        inner = {"class_name": "Sequential", "config": {"name": "inner", "layers": layers}}
        entry = {"class_name": "InputLayer", "config": {"name": "in", "batch_input_shape": [None, 2]}}
        config = {"class_name": "Sequential", "config": {"name": "net", "layers": [entry, inner]}}
        arrays = {"one": arange(2, 2), "two": arange(2, 2) + 9}
        stored = [
            pair
            for name in order
            for pair in ((f"inner/{name}_1/kernel:0", arrays[name]), (f"inner/{name}_1/bias:0", arange(2)))
        ]
        weights = layer_weights(keras_hdf5.read(keras_1_file(config, {"inner": stored}, version="2.3.1")))
        for name, array in arrays.items():
            np.testing.assert_array_equal(weights[f"inner/{name}"]["kernel"], array)

    def test_nested_weights_that_no_order_explains(self) -> None:
        inner = {"class_name": "Sequential", "config": {"name": "in", "layers": DENSE["config"]["layers"]}}  # type: ignore[index]
        config = {"class_name": "Sequential", "config": {"name": "out", "layers": [inner]}}
        for arrays, message in (
            ([BIAS, KERNEL], "'d' of model 'in' should have 'kernel' where the file has 'd/bias:0'"),
            ([KERNEL], "layers of model 'in' should have 2 weights; the file has 1"),
        ):
            with pytest.raises(WeightMismatch, match=message):
                keras_hdf5.read(keras_1_file(config, {"in": arrays}, version="2.3.1"))


class TestOtherFiles:
    def test_nothing_in_it(self) -> None:
        buffer = io.BytesIO()
        h5py.File(buffer, "w").close()
        assert len(buffer.getvalue()) <= 2048
        with pytest.raises(UnknownFormat, match="an HDF5 file with nothing in it"):
            keras_hdf5.read(buffer.getvalue())

    @pytest.mark.parametrize("framework_name", FRAMEWORKS)
    def test_weights_only(self, framework_name: str, tmp_path: Path) -> None:
        model = zoo.built(framework(framework_name), zoo.sequentials)
        names = ["w.weights.h5"] + (["w.h5"] if framework_name == "tf_keras" else [])
        for name in names:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.save_weights(tmp_path / name)
            with pytest.raises(
                UnknownFormat, match=r"weights only: the architecture is missing.*model\.save"
            ):
                opened(tmp_path / name)

    def test_something_else(self) -> None:
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            file["pictures/train"] = arange(3)
        with pytest.raises(UnknownFormat, match="no Keras model: it has pictures"):
            keras_hdf5.read(buffer.getvalue())

    def test_an_architecture_without_weights(self) -> None:
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            file.attrs["model_config"] = json.dumps(DENSE)
        with pytest.raises(WeightMismatch, match="an architecture but no weights"):
            keras_hdf5.read(buffer.getvalue())

    def test_a_model_that_needs_no_weights(self) -> None:
        config = {
            "class_name": "Sequential",
            "config": [{"class_name": "ReLU", "config": {"name": "r", "batch_input_shape": [None, 4]}}],
        }
        assert [call.name for call in keras_hdf5.read(keras_1_file(config, {"r": []})).calls] == [
            "r_input",
            "r",
        ]

    def test_text_that_is_none(self) -> None:
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            file.attrs["model_config"] = np.bytes_(b"\xff\xfe")
        with pytest.raises(DamagedFile, match="no UTF-8"):
            keras_hdf5.read(buffer.getvalue())


@pytest.mark.parametrize("block", [0, 512, 1024, 1 << 21])
def test_recognition(block: int) -> None:
    assert hdf5_signature.start(b"\0" * block + dense_file(d=[KERNEL, BIAS])) == block


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\0" * 100 + b"\x89HDF\r\n\x1a\n"])
def test_what_is_no_hdf5(data: bytes) -> None:
    assert hdf5_signature.start(data) is None


@pytest.mark.parametrize(
    ("writer", "version"),
    [
        ("2.0.5", (2, 0)),
        ("2.2.4-tf", (2, 2)),
        ("3.15.1", (3, 15)),
        ("1", None),
        ("x", None),
        (None, None),
        ("9" * 99, None),
    ],
)
def test_versions(writer: str | None, version: tuple[int, int] | None) -> None:
    assert keras_hdf5.version_of(writer) == version
