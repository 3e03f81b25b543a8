"""Configs of Keras 1, 2 and 3 to one canonical form: hand-written ones, in the words each version used."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import marshal
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluoroscope.errors import BudgetExceeded, DamagedFile, FluoroscopeError, UnsupportedLayer
from fluoroscope.formats.keras import activations as keras_activations
from fluoroscope.formats.keras import lambda_hints as keras_lambda
from fluoroscope.formats.keras import layers as keras_layers
from fluoroscope.formats.keras.arguments import Arguments, Place
from fluoroscope.formats.keras.config import keras_major, read_config
from fluoroscope.formats.keras.graph import Unfolded, unfold
from fluoroscope.formats.keras.json import parse, plain
from fluoroscope.formats.keras.tree import LayerNode
from fluoroscope.formats.limits import Limits

Config = dict[str, Any]


def layer(class_name: str, name: str | None = None, nodes: Any = None, **config: Any) -> Config:
    """An entry of a model's list of layers; with `nodes`, of a Functional's."""
    entry: Config = {"class_name": class_name, "config": config if name is None else {"name": name, **config}}
    return entry if nodes is None else {**entry, "name": name, "inbound_nodes": nodes}


def sequential(*layers: Config, **config: Any) -> Config:
    return {"class_name": "Sequential", "config": {"name": "net", "layers": list(layers), **config}}


def functional(layers: Sequence[Config], inputs: Any, outputs: Any, name: str = "net") -> Config:
    body = {"name": name, "layers": list(layers), "input_layers": inputs, "output_layers": outputs}
    return {"class_name": "Model", "config": body}


def unfolded(config: Config, *, major: int = 2, limits: Limits | None = None) -> Unfolded:
    limits = limits or Limits()
    root, _ = read_config(copy.deepcopy(config), major=major, limits=limits)
    return unfold(root, {}, limits=limits)


def connections(result: Unfolded) -> dict[str, list[str]]:
    """For each call what it takes; an output but the first with its number behind a colon."""
    return {
        call.name: [name if output == 0 else f"{name}:{output}" for name, output in call.inputs]
        for call in result.calls
    }


def canonical(
    class_name: str, *, major: int = 2, data_format: str = "channels_last", **config: Any
) -> LayerNode:
    entry = {"class_name": class_name, "config": config}
    return keras_layers.canonical(entry, name="x", major=major, data_format=data_format)


def keras_tensor(name: str, call: int = 0, output: int = 0) -> Config:
    history = {"shape": [None, 4], "dtype": "float32", "keras_history": [name, call, output]}
    return {"class_name": "__keras_tensor__", "config": history}


def node(*args: Any, **kwargs: Any) -> Config:
    return {"args": list(args), "kwargs": kwargs}


SHAPE = [None, 8, 8, 3]
ENTRY = layer("InputLayer", "in", [], batch_input_shape=SHAPE)
OTHER = layer("InputLayer", "other", [], batch_input_shape=SHAPE)


class TestSequential:
    @pytest.mark.parametrize(
        ("config", "major"),
        [
            ([layer("Conv2D", "conv", batch_input_shape=SHAPE), layer("Flatten", "flat")], 2),
            (
                {
                    "class_name": "Sequential",
                    "config": [layer("Conv2D", "conv", batch_input_shape=SHAPE), layer("Flatten", "flat")],
                },
                2,
            ),
            (sequential(layer("Conv2D", "conv", batch_input_shape=SHAPE), layer("Flatten", "flat")), 2),
            (
                {
                    "name": "net",
                    "layers": [layer("Conv2D", "conv", batch_input_shape=SHAPE), layer("Flatten", "flat")],
                },
                2,
            ),
        ],
    )
    def test_a_list_of_layers_in_all_its_wrappings(self, config: Any, major: int) -> None:
        config = config if isinstance(config, dict) else {"config": config}
        result = unfolded(config, major=major)
        assert connections(result) == {"conv_input": [], "conv": ["conv_input"], "flat": ["conv"]}
        assert result.inputs == ("conv_input",)
        assert result.outputs == (("flat", 0),)
        assert result.calls[0].layer.config["batch_shape"] == SHAPE

    @pytest.mark.parametrize(
        ("config", "shape"),
        [
            ({"batch_input_shape": SHAPE}, SHAPE),
            ({"batch_shape": SHAPE}, SHAPE),
            ({"input_shape": [8, 8, 3]}, SHAPE),
            ({"input_shape": {"class_name": "__tuple__", "items": [8, 8, 3]}}, SHAPE),
            ({"input_dim": 20}, [None, 20]),
            ({"input_dim": 20, "input_length": 7}, [None, 7, 20]),
            ({"input_dim": 20, "input_length": None}, [None, 20]),
        ],
    )
    def test_the_input_layer_that_is_not_written(self, config: Config, shape: list[int | None]) -> None:
        call = unfolded(sequential(layer("Dense", "d", **config))).calls[0]
        assert (call.name, call.layer.kind, call.layer.config["batch_shape"]) == (
            "d_input",
            "InputLayer",
            shape,
        )

    def test_an_embeddings_input_dim_is_its_vocabulary(self) -> None:
        config = sequential(layer("Embedding", "e", input_dim=1000, output_dim=8, input_length=5))
        assert unfolded(config).calls[0].layer.config["batch_shape"] == [None, 5]

    def test_build_input_shape_of_the_model_or_the_layer(self) -> None:
        for config in (
            sequential(layer("Conv2D", "c"), build_input_shape=SHAPE),
            sequential({**layer("Conv2D", "c"), "build_config": {"input_shape": SHAPE}}),
        ):
            assert unfolded(config).calls[0].layer.config["batch_shape"] == SHAPE

    def test_a_shape_on_inner_layers_means_nothing(self) -> None:
        config = sequential(
            layer("InputLayer", "in", batch_input_shape=SHAPE),
            layer("Conv2D", "c", batch_input_shape=[None, 1, 1, 1]),
        )
        result = unfolded(config)
        assert [call.name for call in result.calls] == ["in", "c"]
        assert "batch_input_shape" not in result.calls[1].layer.config

    def test_nothing_tells_the_shape(self) -> None:
        with pytest.raises(DamagedFile, match="The shape of its input is not in the file"):
            unfolded(sequential(layer("Dense", "d", units=2)))

    def test_no_layers(self) -> None:
        with pytest.raises(DamagedFile, match="has no layers"):
            unfolded(sequential())

    def test_a_layer_added_twice_up_to_keras_2_is_called_twice(self) -> None:
        relu, flat = layer("ReLU", "relu"), layer("Flatten", "flat")
        config = sequential(layer("Dense", "d", batch_input_shape=[None, 4]), relu, flat, relu)
        result = unfolded(config)
        assert connections(result)["relu#2"] == ["flat"]
        assert result.calls[-1].layer is result.calls[2].layer

    @pytest.mark.parametrize(("major", "second"), [(3, {}), (2, {"max_value": 6})])
    def test_two_layers_of_one_name(self, major: int, second: Config) -> None:
        config = sequential(
            layer("Dense", "d", input_dim=4), layer("ReLU", "r"), layer("ReLU", "r", **second)
        )
        with pytest.raises(DamagedFile, match="Two layers of a model are called 'r'"):
            unfolded(config, major=major)

    def test_nested_sequentials_without_names(self) -> None:
        """Up to Keras 2.2.2 a Sequential's config was a bare list, without a name."""
        inner = {"class_name": "Sequential", "config": [layer("Conv2D", "c", batch_input_shape=SHAPE)]}
        last = {"class_name": "Sequential", "config": [layer("Flatten", "f")]}
        result = unfolded({"class_name": "Sequential", "config": [inner, last]})
        assert connections(result) == {
            "sequential_1/c_input": [],
            "sequential_1/c": ["sequential_1/c_input"],
            "sequential_2/f": ["sequential_1/c"],
        }

    def test_a_nested_models_input_layer_is_the_models(self) -> None:
        inner = functional(
            [ENTRY, layer("Conv2D", "c", [[["in", 0, 0]]])], [["in", 0, 0]], [["c", 0, 0]], "base"
        )
        result = unfolded(sequential(inner, layer("Flatten", "flat")))
        assert result.inputs == ("base/in",)
        assert connections(result) == {"base/in": [], "base/c": ["base/in"], "flat": ["base/c"]}


class TestFunctional:
    @pytest.mark.parametrize(
        "nodes",
        [
            [[["in", 0, 0]]],
            [[["in", 0, 0, {}]]],
            [["in", 0, 0, {}]],
            [{"inputs": ["in", 0, 0, {}]}],
            [node(keras_tensor("in"))],
            [node([keras_tensor("in")], mask=None)],
            [node(inputs=keras_tensor("in"))],
        ],
    )
    @pytest.mark.parametrize("ends", [[["c", 0, 0]], ["c", 0, 0], {"out": ["c", 0, 0]}, [[["c", 0, 0]]]])
    def test_one_tensor_in_every_version(self, nodes: Any, ends: Any) -> None:
        config = functional([ENTRY, layer("Conv2D", "c", nodes)], [["in", 0, 0]], ends)
        result = unfolded(config, major=3 if "args" in nodes[0] else 2)
        assert connections(result) == {"in": [], "c": ["in"]}
        assert result.inputs == ("in",)
        assert result.outputs == (("c", 0),)

    @pytest.mark.parametrize(
        "nodes",
        [
            [[["in", 0, 0, {}], ["other", 0, 0, {}]]],
            [[["in", 0, 0, {"y": ["other", 0, 0]}]]],
            [{"a": ["in", 0, 0], "b": ["other", 0, 0]}],
            [node([keras_tensor("in"), keras_tensor("other")])],
            [node(keras_tensor("in"), keras_tensor("other"))],
            [node(keras_tensor("in"), value=keras_tensor("other"), flag=True)],
        ],
    )
    def test_two_tensors_in_every_version(self, nodes: Any) -> None:
        config = functional(
            [ENTRY, OTHER, layer("Add", "sum", nodes)], [["other", 0, 0], ["in", 0, 0]], [["sum", 0, 0]]
        )
        result = unfolded(config, major=3)
        assert connections(result)["sum"] == ["in", "other"]
        assert result.inputs == ("other", "in")

    def test_a_shared_layer_is_called_twice(self) -> None:
        config = functional(
            [
                ENTRY,
                OTHER,
                layer("Conv2D", "tower", [[["in", 0, 0]], [["other", 0, 0]]]),
                layer("Add", "sum", [[["tower", 1, 0], ["tower", 0, 0]]]),
            ],
            [["in", 0, 0], ["other", 0, 0]],
            [["sum", 0, 0], ["tower", 1, 0]],
        )
        result = unfolded(config)
        assert connections(result) == {
            "in": [],
            "other": [],
            "tower": ["in"],
            "tower#2": ["other"],
            "sum": ["tower#2", "tower"],
        }
        assert result.calls[2].layer is result.calls[3].layer
        assert result.outputs == (("sum", 0), ("tower#2", 0))

    def test_the_order_is_the_files_where_that_is_topological(self) -> None:
        """A layer called twice, the second time behind a layer that stands behind it."""
        config = functional(
            [
                layer("Conv2D", "last", [[["tower", 1, 0]]]),
                layer("Conv2D", "tower", [[["in", 0, 0]], [["mid", 0, 0]]]),
                layer("Conv2D", "mid", [[["tower", 0, 0]]]),
                ENTRY,
            ],
            [["in", 0, 0]],
            [["last", 0, 0]],
        )
        assert [call.name for call in unfolded(config).calls] == ["in", "tower", "mid", "tower#2", "last"]

    def test_what_a_layer_needs_comes_in_the_order_it_takes_it(self) -> None:
        ends = [layer("ReLU", name, [[["in", 0, 0]]]) for name in ("b", "a")]
        layers = [layer("Add", "sum", [[["a", 0, 0], ["b", 0, 0]]]), *ends, ENTRY]
        config = functional(layers, [["in", 0, 0]], [["sum", 0, 0]])
        assert [call.name for call in unfolded(config).calls] == ["in", "a", "b", "sum"]

    def test_a_long_chain_in_reverse(self) -> None:
        count = 3000
        chain = [layer("ReLU", f"r{n}", [[["in" if n == 0 else f"r{n - 1}", 0, 0]]]) for n in range(count)]
        result = unfolded(functional([*chain[::-1], ENTRY], [["in", 0, 0]], [[f"r{count - 1}", 0, 0]]))
        assert [call.name for call in result.calls] == ["in", *(f"r{n}" for n in range(count))]

    def test_a_circle(self) -> None:
        layers = [
            ENTRY,
            layer("Add", "a", [[["in", 0, 0], ["b", 0, 0]]]),
            layer("ReLU", "b", [[["a", 0, 0]]]),
        ]
        with pytest.raises(DamagedFile, match="feeds itself in a circle"):
            unfolded(functional(layers, [["in", 0, 0]], [["b", 0, 0]]))

    @pytest.mark.parametrize(
        ("layers", "ends", "message"),
        [
            (
                [ENTRY, layer("ReLU", "a", [[["gone", 0, 0]]])],
                [["a", 0, 0]],
                "leads to 'gone', 0, 0, which is not there",
            ),
            (
                [ENTRY, layer("ReLU", "a", [[["in", 0, -1]]])],
                [["a", 0, 0]],
                "leads to 'in', 0, -1, which is not there",
            ),
            ([ENTRY, layer("ReLU", "a", [[["in", 0, 0]]])], [["gone", 0, 0]], "leads to 'gone'"),
            (
                [ENTRY, layer("ReLU", "a", [[["in", 0, 0]]])],
                [["a", 3, 0]],
                "Call 3 of layer 'a' is used, but it is called 1 times",
            ),
            (
                [ENTRY, OTHER, layer("ReLU", "a", [[["other", 0, 0]]])],
                [["a", 0, 0]],
                "'other' is used but never called",
            ),
            ([ENTRY, ENTRY], [["in", 0, 0]], "Two layers of a model are called 'in'"),
            ([ENTRY], [], "lacks an input or an output"),
            ([ENTRY, "x"], [["in", 0, 0]], "an entry that tells no class"),
            ([ENTRY, {"config": {}}], [["in", 0, 0]], "an entry that tells no class"),
            (
                [ENTRY, layer("ReLU", "a", [node({"class_name": "__keras_tensor__"})])],
                [["a", 0, 0]],
                "which tensor it takes",
            ),
        ],
    )
    def test_configs_that_contradict_themselves(self, layers: Any, ends: Any, message: str) -> None:
        with pytest.raises(DamagedFile, match=message):
            unfolded(functional(layers, [["in", 0, 0]], ends))

    def test_an_input_that_is_none(self) -> None:
        layers = [ENTRY, layer("ReLU", "a", [[["in", 0, 0]]])]
        with pytest.raises(DamagedFile, match="input 'a' is no input layer"):
            unfolded(functional(layers, [["a", 0, 0]], [["a", 0, 0]]))


def base(output_count: int = 1) -> Config:
    """A model of two convolutions, nested as ``base``."""
    ends = [["c", 0, 0], ["d", 0, 0]][:output_count]
    layers = [ENTRY, layer("Conv2D", "c", [[["in", 0, 0]]]), layer("Conv2D", "d", [[["c", 0, 0]]])]
    return functional(layers, [["in", 0, 0]], ends, "base")


class TestNested:
    @pytest.mark.parametrize("first", [0, 1])
    def test_calls_are_counted_from_0_or_1(self, first: int) -> None:
        """Up to Keras 2 a nested model's making is its call 0, unless it was unwrapped."""
        nested = {**base(), "name": "base", "inbound_nodes": [[["in", 0, 0]], [["other", 0, 0]]]}
        add = layer("Add", "sum", [[["base", first, 0], ["base", first + 1, 0]]])
        config = functional([ENTRY, OTHER, nested, add], [["in", 0, 0], ["other", 0, 0]], [["sum", 0, 0]])
        result = unfolded(config)
        assert connections(result) == {
            "in": [],
            "other": [],
            "base/in": ["in"],
            "base/c": ["base/in"],
            "base/d": ["base/c"],
            "base/in#2": ["other"],
            "base/c#2": ["base/in#2"],
            "base/d#2": ["base/c#2"],
            "sum": ["base/c", "base/c#2"],
        }
        assert result.inputs == ("in", "other")

    @pytest.mark.parametrize("first", [0, 1])
    def test_keras_3_counts_outputs_otherwise(self, first: int) -> None:
        nested = {
            **base(),
            "name": "base",
            "inbound_nodes": [node(keras_tensor("in")), node(keras_tensor("other"))],
        }
        relu = layer("ReLU", "relu", [node(keras_tensor("base", 0))])
        ends = [["base", first + 1, 0], ["relu", 0, 0], *([["base", 0, 0]] if first == 0 else [])]
        config = functional([ENTRY, OTHER, nested, relu], [["in", 0, 0], ["other", 0, 0]], ends)
        result = unfolded(config, major=3)
        assert connections(result)["relu"] == ["base/c"]
        assert result.outputs[:2] == (("base/c#2", 0), ("relu", 0))

    def test_keras_3_0_counts_calls_of_other_models_along(self) -> None:
        config = functional(
            [
                ENTRY,
                layer("Conv2D", "c", [node(keras_tensor("in")), node(keras_tensor("in"))]),
                layer("Add", "sum", [node([keras_tensor("c", 2), keras_tensor("c", 5)])]),
            ],
            [["in", 0, 0]],
            [["sum", 0, 0]],
        )
        assert connections(unfolded(config, major=3))["sum"] == ["c", "c#2"]

    def test_outputs_of_a_nested_model_are_those_of_its_layers(self) -> None:
        nested = {**base(2), "name": "base", "inbound_nodes": [[["in", 0, 0]]]}
        config = functional(
            [ENTRY, nested, layer("ReLU", "r", [[["base", 1, 1]]])],
            [["in", 0, 0]],
            [["r", 0, 0], ["base", 1, 0]],
        )
        result = unfolded(config)
        assert connections(result)["r"] == ["base/d"]
        assert result.outputs == (("r", 0), ("base/c", 0))

    def test_an_output_too_many(self) -> None:
        nested = {**base(1), "name": "base", "inbound_nodes": [[["in", 0, 0]]]}
        config = functional([ENTRY, nested], [["in", 0, 0]], [["base", 1, 1]])
        with pytest.raises(DamagedFile, match="Output 1 of a model with 1 is taken"):
            unfolded(config)

    def test_a_tensor_too_many(self) -> None:
        nested = {**base(), "name": "base", "inbound_nodes": [[["in", 0, 0], ["other", 0, 0]]]}
        config = functional([ENTRY, OTHER, nested], [["in", 0, 0], ["other", 0, 0]], [["base", 1, 0]])
        with pytest.raises(DamagedFile, match="'base' takes 1 tensors and gets 2"):
            unfolded(config)

    def test_a_frozen_model_freezes_its_layers(self) -> None:
        inner = sequential(
            layer("Conv2D", "c", trainable=True), layer("BatchNormalization", "b", trainable=False)
        )
        inner["config"]["name"], inner["config"]["trainable"] = "inner", False
        result = unfolded(sequential(layer("Conv2D", "a", batch_input_shape=SHAPE), inner))
        assert {call.name: call.layer.trainable for call in result.calls} == {
            "a_input": True,
            "a": True,
            "inner/c": False,
            "inner/b": False,
        }

    def test_names_stay_unique_whatever_they_are(self) -> None:
        inner = sequential(layer("ReLU", "c"))
        inner["config"]["name"] = "a"
        config = sequential(
            layer("Conv2D", "a/c", batch_input_shape=SHAPE),
            inner,
            layer("ReLU", "a/c#2"),
            layer("ReLU", "tower#2"),
        )
        names = [call.name for call in unfolded(config).calls]
        assert len(set(names)) == len(names) == 5

    def test_models_that_call_models_twice_do_not_grow_without_end(self) -> None:
        config = base()
        for _ in range(20):
            config = functional(
                [
                    ENTRY,
                    {**config, "name": "base", "inbound_nodes": [[["in", 0, 0]], [["base", 1, 0]]]},
                ],
                [["in", 0, 0]],
                [["base", 2, 0]],
                "base",
            )
        with pytest.raises(BudgetExceeded, match="make over 50000 calls"):
            unfolded(config)


class TestKeras1:
    def test_fields_and_classes(self) -> None:
        conv = canonical(
            "Convolution2D",
            major=1,
            nb_filter=32,
            nb_row=3,
            nb_col=5,
            subsample=[2, 1],
            border_mode="same",
            dim_ordering="th",
            bias=False,
            init="glorot_uniform",
            W_regularizer=None,
            b_constraint=None,
            activation="relu",
            batch_input_shape=SHAPE,
            input_dtype="float32",
        )
        assert conv.kind == "Conv2D"
        assert conv.config == {
            "filters": 32,
            "kernel_size": [3, 5],
            "strides": [2, 1],
            "padding": "same",
            "data_format": "channels_first",
            "use_bias": False,
            "activation": "relu",
        }

    @pytest.mark.parametrize(
        ("class_name", "config", "kind", "wanted"),
        [
            (
                "Dense",
                {"output_dim": 5, "input_dim": 9, "bias": True},
                "Dense",
                {"units": 5, "use_bias": True},
            ),
            ("TimeDistributedDense", {"output_dim": 5}, "Dense", {"units": 5}),
            ("Dropout", {"p": 0.25}, "Dropout", {"rate": 0.25}),
            ("GaussianNoise", {"sigma": 0.5}, "GaussianNoise", {"stddev": 0.5}),
            (
                "Convolution1D",
                {
                    "nb_filter": 4,
                    "filter_length": 3,
                    "subsample_length": 2,
                    "input_dim": 7,
                    "input_length": None,
                },
                "Conv1D",
                {"filters": 4, "kernel_size": [3], "strides": [2], "data_format": "channels_last"},
            ),
            (
                "AtrousConvolution2D",
                {"nb_filter": 4, "nb_row": 3, "nb_col": 3, "atrous_rate": [2, 2], "dim_ordering": "tf"},
                "Conv2D",
                {
                    "filters": 4,
                    "kernel_size": [3, 3],
                    "dilation_rate": [2, 2],
                    "data_format": "channels_last",
                },
            ),
            (
                "Deconvolution2D",
                {"nb_filter": 4, "nb_row": 3, "nb_col": 3, "subsample": [2, 2], "dim_ordering": "tf"},
                "Conv2DTranspose",
                {"filters": 4, "kernel_size": [3, 3], "strides": [2, 2], "data_format": "channels_last"},
            ),
            (
                "SeparableConvolution2D",
                {"nb_filter": 4, "nb_row": 3, "nb_col": 3, "depth_multiplier": 2, "dim_ordering": "tf"},
                "SeparableConv2D",
                {"filters": 4, "kernel_size": [3, 3], "depth_multiplier": 2, "data_format": "channels_last"},
            ),
            (
                "MaxPooling1D",
                {"pool_length": 2, "stride": 3, "border_mode": "valid"},
                "MaxPooling1D",
                {"pool_size": [2], "strides": [3], "padding": "valid", "data_format": "channels_last"},
            ),
            ("UpSampling1D", {"length": 2}, "UpSampling1D", {"size": 2}),
            (
                "UpSampling2D",
                {"size": [2, 2]},
                "UpSampling2D",
                {"size": [2, 2], "data_format": "channels_first"},
            ),
            (
                "ZeroPadding2D",
                {"padding": [1, 2]},
                "ZeroPadding2D",
                {"padding": [[1, 1], [2, 2]], "data_format": "channels_first"},
            ),
            (
                "ZeroPadding2D",
                {"padding": [1, 2, 3, 4]},
                "ZeroPadding2D",
                {"padding": [[1, 2], [3, 4]], "data_format": "channels_first"},
            ),
            (
                "ZeroPadding2D",
                {"padding": {"right_pad": 4, "top_pad": 1, "left_pad": 3, "bottom_pad": 2}},
                "ZeroPadding2D",
                {"padding": [[1, 2], [3, 4]], "data_format": "channels_first"},
            ),
            ("ZeroPadding1D", {"padding": {"left_pad": 1}}, "ZeroPadding1D", {"padding": [1, 0]}),
            ("LeakyReLU", {"alpha": 0.1}, "LeakyReLU", {"negative_slope": 0.1}),
            (
                "Embedding",
                {"input_dim": 9, "output_dim": 4, "input_length": None, "init": "uniform"},
                "Embedding",
                {"input_dim": 9, "output_dim": 4},
            ),
            (
                "BatchNormalization",
                {
                    "epsilon": 1e-5,
                    "mode": 0,
                    "axis": 1,
                    "momentum": 0.9,
                    "beta_init": "zero",
                    "gamma_init": "one",
                },
                "BatchNormalization",
                {"epsilon": 1e-5, "axis": 1, "momentum": 0.9},
            ),
            (
                "LSTM",
                {
                    "output_dim": 3,
                    "inner_activation": "hard_sigmoid",
                    "inner_init": "orthogonal",
                    "consume_less": "cpu",
                },
                "LSTM",
                {"units": 3, "recurrent_activation": "hard_sigmoid_keras2"},
            ),
        ],
    )
    def test_every_field_that_was_renamed(
        self, class_name: str, config: Config, kind: str, wanted: Config
    ) -> None:
        found = canonical(class_name, major=1, data_format="channels_first", **config)
        found_config = {
            name: value for name, value in found.config.items() if name in wanted or name != "data_format"
        }
        if "data_format" not in wanted:
            found_config.pop("data_format", None)
        if class_name in ("Convolution1D", "MaxPooling1D"):
            wanted = {**wanted, "data_format": "channels_first"}
            found_config["data_format"] = found.config["data_format"]
        assert (found.kind, found_config, found.problem) == (kind, wanted, None)

    def test_batch_normalization_of_each_batch(self) -> None:
        assert "mode=2 of Keras 1" in str(canonical("BatchNormalization", major=1, mode=2).problem)
        assert canonical("BatchNormalization", major=1, mode=1).config["mode"] == 1

    def test_the_ordering_of_the_model_is_that_of_its_layers(self) -> None:
        """Padding and upsampling layers did not record it."""
        config = sequential(
            layer("ZeroPadding2D", "pad", padding=[1, 1], batch_input_shape=[None, 3, 8, 8]),
            layer("Convolution2D", "conv", nb_filter=2, nb_row=3, nb_col=3, dim_ordering="th"),
            layer("UpSampling2D", "up", size=[2, 2]),
        )
        formats = {
            call.name: call.layer.config.get("data_format") for call in unfolded(config, major=1).calls
        }
        assert formats["pad"] == formats["conv"] == formats["up"] == "channels_first"

    @pytest.mark.parametrize(
        ("mode", "kind", "wanted"),
        [
            ("sum", "Add", {}),
            ("mul", "Multiply", {}),
            ("ave", "Average", {}),
            ("max", "Maximum", {}),
            ("concat", "Concatenate", {"axis": 1}),
            ("dot", "Dot", {"axes": [1, 2], "normalize": False}),
        ],
    )
    def test_merge_has_a_layer_of_its_own_for_each_mode(self, mode: str, kind: str, wanted: Config) -> None:
        config = {
            "mode": mode,
            "mode_type": "raw",
            "concat_axis": 1,
            "dot_axes": [1, 2],
            "output_shape": None,
        }
        found = canonical("Merge", major=1, **config)
        assert (found.kind, dict(found.config), found.problem) == (kind, wanted, None)

    @pytest.mark.parametrize(
        ("config", "problem"),
        [
            ({"mode": "xor"}, "merges by mode 'xor', which no later Keras has"),
            ({"mode": ["4wEA", None, None], "mode_type": "lambda"}, "merges by Python bytecode"),
            ({"mode": "my_merge", "mode_type": "function"}, "or a function of the author's"),
        ],
    )
    def test_merges_that_are_not_understood(self, config: Config, problem: str) -> None:
        assert problem in str(canonical("Merge", major=1, **config).problem)

    def test_a_sequential_that_begins_by_merging_others(self) -> None:
        branches = [
            {"class_name": "Sequential", "config": [layer("Dense", f"d{number}", input_dim=4, output_dim=2)]}
            for number in (1, 2)
        ]
        merge = layer("Merge", "merge_1", mode="concat", mode_type="raw", concat_axis=-1, layers=branches)
        config = {"class_name": "Sequential", "config": [merge, layer("Dense", "d3", output_dim=1)]}
        result = unfolded(config, major=1)
        assert connections(result) == {
            "sequential_1/d1_input": [],
            "sequential_1/d1": ["sequential_1/d1_input"],
            "sequential_2/d2_input": [],
            "sequential_2/d2": ["sequential_2/d2_input"],
            "merge_1": ["sequential_1/d1", "sequential_2/d2"],
            "d3": ["merge_1"],
        }
        assert result.inputs == ("sequential_1/d1_input", "sequential_2/d2_input")

    def test_before_1_0_the_class_stood_in_the_name(self) -> None:
        old = [
            {"name": "Dense", "custom_name": "first", "output_dim": 3, "input_dim": 4},
            {"name": "Dropout", "p": 0.5},
        ]
        assert [call.name for call in unfolded({"config": old}, major=1).calls] == [
            "first_input",
            "first",
            "dropout_1",
        ]


class TestVersion:
    @pytest.mark.parametrize(
        ("config", "major"),
        [
            (sequential(layer("Convolution2D", "c", nb_filter=3)), 1),
            (sequential(layer("Dense", "d", output_dim=3)), 1),
            (sequential(sequential(layer("MaxPooling2D", "m", border_mode="same"))), 1),
            (sequential(layer("Embedding", "e", output_dim=3)), 2),
            (sequential(layer("InputLayer", "i", batch_input_shape=SHAPE)), 2),
            (sequential(layer("InputLayer", "i", batch_shape=SHAPE)), 3),
        ],
    )
    def test_it_shows_in_the_style(self, config: Config, major: int) -> None:
        assert keras_major(config) == major


class TestFields:
    def test_keras_2_becomes_keras_3(self) -> None:
        conv = canonical("Conv2D", filters=4, kernel_size=3, strides=2, dilation_rate=[1, 1], dtype="float32")
        assert conv.config["kernel_size"] == [3, 3]
        assert conv.config["strides"] == [2, 2]
        assert conv.config["data_format"] == "channels_last"

    def test_wrapped_values_are_unwrapped(self) -> None:
        array = {"class_name": "__numpy__", "config": {"value": [1.0, 2.0], "dtype": "float64"}}
        pair = {"class_name": "__tuple__", "items": [1, {"class_name": "__tuple__", "items": [2]}]}
        assert canonical("Rescaling", scale=array, offset=pair).config == {
            "scale": [1.0, 2.0],
            "offset": [1, [2]],
        }
        assert plain({"type": "ndarray", "value": [3]}) == [3]

    @pytest.mark.parametrize(("axis", "wanted"), [([3], 3), (-1, -1), ([1, 2], [1, 2])])
    def test_an_axis_in_a_list(self, axis: Any, wanted: Any) -> None:
        assert canonical("BatchNormalization", axis=axis).config["axis"] == wanted

    def test_policies_are_names(self) -> None:
        policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "mixed_float16"}}
        assert canonical("Conv2D", dtype=policy).config["dtype"] == "mixed_float16"
        _, notes = read_config(
            sequential(layer("Dense", "d", input_dim=3, dtype=policy)), major=2, limits=Limits()
        )
        assert notes == ("dtype policy mixed_float16: computed here in float32",)

    def test_quantized_weights_are_a_problem(self) -> None:
        policy = {"class_name": "QuantizedDTypePolicy", "config": {"name": "int8_from_float32"}}
        assert "quantized" in str(canonical("Dense", dtype=policy).problem)

    @pytest.mark.parametrize("kind", ["DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose"])
    def test_groups_of_1_where_there_are_none(self, kind: str) -> None:
        assert "groups" not in canonical(kind, kernel_size=[3, 3], groups=1).config
        assert canonical(kind, kernel_size=[3, 3], groups=2).config["groups"] == 2

    def test_pooling_steps_by_its_window(self) -> None:
        assert canonical("MaxPooling2D", pool_size=[2, 3], strides=None).config["strides"] == [2, 3]

    @pytest.mark.parametrize(
        ("kind", "value", "wanted"),
        [
            ("ZeroPadding1D", 2, [2, 2]),
            ("ZeroPadding1D", [1, 2], [1, 2]),
            ("ZeroPadding2D", 1, [[1, 1], [1, 1]]),
            ("ZeroPadding2D", [[1, 2], [3, 4]], [[1, 2], [3, 4]]),
            ("ZeroPadding3D", [1, 2, 3], [[1, 1], [2, 2], [3, 3]]),
        ],
    )
    def test_margins(self, kind: str, value: Any, wanted: Any) -> None:
        assert canonical(kind, padding=value).config["padding"] == wanted

    def test_aliases(self) -> None:
        assert canonical("BatchNormalizationV1").kind == "BatchNormalization"


class TestActivations:
    @pytest.mark.parametrize(
        ("value", "name"),
        [
            (None, "linear"),
            ("linear", "linear"),
            ("relu", "relu"),
            ("swish", "silu"),
            ("hard_swish", "hard_silu"),
            ("softmax_v2", "softmax"),
            ("keras.activations>gelu", "gelu"),
            ({"class_name": "function", "config": "relu", "module": "keras.activations"}, "relu"),
            (
                {"class_name": "function", "config": "relu", "module": "builtins", "registered_name": "relu"},
                "relu",
            ),
            (
                {
                    "class_name": "ReLU",
                    "config": {"max_value": None, "negative_slope": 0.0, "threshold": 0.0},
                },
                "relu",
            ),
            (
                {"class_name": "ReLU", "config": {"max_value": 6.0, "negative_slope": 0.0, "threshold": 0.0}},
                "relu6",
            ),
            ({"class_name": "LeakyReLU", "config": {"alpha": 0.20000000298023224}}, "leaky_relu"),
            ({"class_name": "ELU", "config": {"alpha": 1.0}}, "elu"),
            ({"class_name": "Softmax", "config": {"axis": -1}}, "softmax"),
            ({"class_name": "Activation", "config": {"activation": "tanh"}}, "tanh"),
            ("h_swish", "hard_silu"),
            ("gelu_new", "gelu_tanh"),
            ("log_softmax_v2", "log_softmax"),
            ("sin", "sin"),
            ("Custom>hard_swish", "hard_silu"),
            ("Custom>gelu", "gelu"),
            ("Addons>gelu", "gelu_tanh"),  # whose default is the approximation
            ("Addons>softshrink", "soft_shrink"),
            ({"class_name": "function", "config": "mish", "registered_name": "mine>mish"}, "mish"),
            ({"class_name": "function", "config": "Custom>mish", "registered_name": "Custom>mish"}, "mish"),
        ],
    )
    def test_every_spelling(self, value: Any, name: str) -> None:
        assert keras_activations.canonical(value, major=3) == (name, None)

    @pytest.mark.parametrize(
        ("value", "told"),
        [
            ("Custom>swish", "swish"),
            ({"class_name": "function", "config": "mish", "registered_name": "mine>mish"}, "mish"),
            ("swish", None),
            ("Addons>mish", None),
            ({"class_name": "ReLU", "config": {}, "registered_name": "mine>relu6"}, None),
        ],
    )
    def test_functions_known_by_a_public_name_are_told(self, value: Any, told: str | None) -> None:
        config = sequential(layer("Dense", "d", units=1, activation=value, batch_input_shape=[None, 2]))
        _, notes = read_config(config, major=2, limits=Limits())
        assert [note for note in notes if "read as the public function" in note] == (
            [f"the author's own activation {told!r} is read as the public function of that name"]
            if told
            else []
        )

    @pytest.mark.parametrize(
        ("kind", "given", "options"),
        [
            ("LeakyReLU", {"alpha": 0.1}, {"negative_slope": 0.1}),
            ("LeakyReLU", {"negative_slope": 0.1}, {"negative_slope": 0.1}),
            ("ReLU", {"max_value": 3.0}, {"max_value": 3.0}),
            ("ELU", {"alpha": 0.5}, {"alpha": 0.5}),
        ],
    )
    def test_layers_with_options_that_no_function_has(
        self, kind: str, given: dict[str, Any], options: dict[str, Any]
    ) -> None:
        value = {"class_name": kind, "config": given, "module": "keras.layers", "registered_name": None}
        assert keras_activations.canonical(value, major=2) == ({"class_name": kind, "config": options}, None)

    @pytest.mark.parametrize(
        ("major", "name"), [(1, "hard_sigmoid_keras2"), (2, "hard_sigmoid_keras2"), (3, "hard_sigmoid")]
    )
    def test_hard_sigmoid_changed_its_meaning(self, major: int, name: str) -> None:
        assert canonical("Activation", major=major, activation="hard_sigmoid").config["activation"] == name
        assert (
            canonical("LSTM", major=major, recurrent_activation="hard_sigmoid").config["recurrent_activation"]
            == name
        )

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            ("my_act", "'my_act' is none of Keras's"),
            ("threshold", "'threshold' is none of Keras's"),
            ("Addons>snake", "'Addons>snake' is none of Keras's"),
            ("Custom>relu", "'Custom>relu' is none of Keras's"),
            (
                {"class_name": "function", "config": "relu", "registered_name": "mine>relu"},
                "'relu' is none of Keras's",
            ),
            (
                {"class_name": "__lambda__", "config": {"code": "4wEA"}},
                "is a lambda: marshalled Python bytecode",
            ),
            ({"class_name": "PReLU", "config": {"shared_axes": [1]}}, "is a PReLU layer with options"),
            (
                {"class_name": "LeakyReLU", "config": {"alpha": 0.1}, "registered_name": "mine>LeakyReLU"},
                "is a LeakyReLU layer",
            ),
            ({"class_name": "ReLU", "config": {"max_value": 3.0}, "module": "os"}, "is a ReLU layer"),
            (["relu"], "none of Keras's"),
            (7, "'7' is none of Keras's"),
        ],
    )
    def test_what_is_no_plain_function(self, value: Any, problem: str) -> None:
        name, found = keras_activations.canonical(value, major=2)
        assert name == "linear"
        assert problem in str(found)


class TestAuthors:
    """Classes whose code is not in the file are kept, with a problem, and never imported."""

    @pytest.mark.parametrize(
        ("entry", "problem"),
        [
            ({"class_name": "Custom>Conv2D"}, "a class of its author's (Custom)"),
            (
                {"class_name": "Conv2D", "registered_name": "my.pkg>Conv2D"},
                "a class of its author's (my.pkg)",
            ),
            ({"class_name": "Conv2D", "module": "os"}, "'Conv2D' is a class from 'os'"),
            ({"class_name": "system", "module": "subprocess"}, "'system' is a class from 'subprocess'"),
            ({"class_name": "Conv2D", "module": "keras_but_not_really.layers"}, "is a class from"),
            ({"class_name": "Conv2D", "module": "tensorflow.keras_.layers"}, "is a class from"),
            (
                {"class_name": "TorchModuleWrapper", "module": "keras.layers"},
                "wraps a PyTorch module as a pickle",
            ),
            ({"class_name": "TFSMLayer", "module": "keras.layers"}, "calls a TensorFlow SavedModel"),
        ],
    )
    def test_a_problem_says_why(self, entry: Config, problem: str) -> None:
        found = keras_layers.canonical(
            {"config": {}, **entry}, name="x", major=3, data_format="channels_last"
        )
        assert problem in str(found.problem)

    @pytest.mark.parametrize(
        "module",
        [
            None,
            "",
            "keras",
            "keras.layers",
            "keras.src.layers.convolutional.conv2d",
            "keras.layers.convolutional",
            "tf_keras.src.layers",
            "tensorflow.keras.layers",
            "tensorflow.python.keras.layers",
        ],
    )
    def test_keras_own_modules(self, module: str | None) -> None:
        entry = {"class_name": "Conv2D", "module": module, "config": {"dtype": "float32"}}
        found = keras_layers.canonical(entry, name="x", major=3, data_format="channels_last")
        assert (found.kind, found.problem) == ("Conv2D", None)

    @pytest.mark.parametrize("module", ["keras.src.ops.numpy", "keras.ops"])
    def test_functions_of_keras_3_are_no_layers(self, module: str) -> None:
        entry = {"class_name": "Add", "module": module, "config": {"name": "add"}}
        assert keras_layers.canonical(entry, name="x", major=3, data_format="channels_last").kind == "ops.Add"

    def test_in_an_h5_file_they_tell_no_dtype(self) -> None:
        assert canonical("Add", major=3).kind == "ops.Add"
        assert canonical("Add", major=3, trainable=True, dtype="float32").kind == "Add"
        assert canonical("Add", major=2).kind == "Add"

    def test_a_model_class_of_the_author_is_read_as_its_layers(self) -> None:
        config = {**base(), "class_name": "Custom>MyNet"}
        root, notes = read_config(config, major=2, limits=Limits())
        assert [leaf.name for leaf in root.leaves()] == ["in", "c", "d"]
        assert notes == ("Custom>MyNet (a class of its author's) is read as the layers it lists",)

    @pytest.mark.parametrize(
        "config", [{"class_name": "MyNet", "config": {"units": 3}}, {"class_name": "MyNet"}, {}]
    )
    def test_a_model_that_lists_no_layers(self, config: Config) -> None:
        with pytest.raises(UnsupportedLayer, match="no list of layers"):
            read_config(config, major=2, limits=Limits())

    def test_a_layer_that_lists_layers_is_no_model(self) -> None:
        block = {"class_name": "Custom>Block", "config": {"name": "block", "layers": [layer("ReLU", "r")]}}
        calls = unfolded(sequential(layer("Dense", "d", input_dim=2), block)).calls
        assert [call.name for call in calls] == ["d_input", "d", "block"]
        assert "author" in str(calls[-1].layer.problem)


class TestCalls:
    def test_keras_2_with_training_true_is_a_problem(self) -> None:
        nodes = [[["in", 0, 0, {"training": True}]]]
        config = functional(
            [
                ENTRY,
                layer("BatchNormalization", "b", nodes),
                layer("ReLU", "r", [[["b", 0, 0, {"training": True}]]]),
            ],
            [["in", 0, 0]],
            [["r", 0, 0]],
        )
        problems = {call.name: call.layer.problem for call in unfolded(config).calls}
        assert "training=True" in str(problems["b"])
        assert problems["r"] is None

    def test_of_a_nested_model_too(self) -> None:
        inner = sequential(layer("Dropout", "drop", rate=0.5), layer("ReLU", "r"))
        nested = {**inner, "name": "net", "inbound_nodes": [[["in", 0, 0, {"training": True}]]]}
        calls = unfolded(functional([ENTRY, nested], [["in", 0, 0]], [["net", 1, 0]])).calls
        assert "training=True" in str(calls[1].layer.problem)
        assert calls[2].layer.problem is None

    @pytest.mark.parametrize(
        ("nodes", "args", "kwargs"),
        [
            ([[["in", 0, 0]]], (Place(0),), {}),
            ([["in", 0, 0, {"axis": 1}]], (Place(0),), {"axis": 1}),
            ([[["in", 0, 0, {"y": 2.0}]]], (Place(0),), {"y": 2.0}),
            ([[["in", 0, 0, {}], ["_CONSTANT_VALUE", -1, 2, {}]]], ([Place(0), 2],), {}),
            ([["_CONSTANT_VALUE", -1, [1, 2], {"y": ["in", 0, 0]}]], ([1, 2],), {"y": Place(0)}),
            ([[["in", 0, 0, {"y": ["in", 0, 0]}]]], (Place(0),), {"y": Place(1)}),
            ([[["in", 0, 0, {"y": ["relu", 1, 2]}]]], (Place(0),), {"y": ["relu", 1, 2]}),
            ([{"a": ["in", 0, 0], "b": [["in", 0, 0]]}], ({"a": Place(0), "b": Place(1)},), {}),
            ([node(keras_tensor("in"), 0.5)], (Place(0), 0.5), {}),
            ([node([keras_tensor("in"), keras_tensor("in")])], ([Place(0), Place(1)],), {}),
        ],
    )
    def test_what_else_it_is_called_with_is_kept(self, nodes: Any, args: Any, kwargs: Any) -> None:
        config = functional([ENTRY, layer("Add", "a", nodes)], [["in", 0, 0]], [["a", 0, 0]])
        call = unfolded(config).calls[-1]
        assert call.arguments == Arguments(args, kwargs)
        assert set(call.inputs) == {("in", 0)}

    def test_a_name_in_an_argument_is_no_tensor(self) -> None:
        config = functional(
            [ENTRY, layer("Conv2D", "c", [[["in", 0, 0, {"what": ["relu", 1, 2]}]]])],
            [["in", 0, 0]],
            [["c", 0, 0]],
        )
        assert connections(unfolded(config))["c"] == ["in"]


class TestLambda:
    CODE = base64.b64encode(
        marshal.dumps(compile("tf.image.resize(x, (64, 64)) / 127.5", "f", "eval"))
    ).decode()

    @pytest.mark.parametrize(
        "function",
        [[CODE, None, None], {"class_name": "__lambda__", "config": {"code": CODE, "defaults": None}}],
    )
    def test_it_hints_at_what_it_mentions(self, function: Any) -> None:
        found = canonical("Lambda", function=function, function_type="lambda")
        assert "marshalled Python bytecode, which is never run" in str(found.problem)
        for hint in ("tf", "image", "resize", "127.5"):
            assert hint in str(found.problem)

    @pytest.mark.parametrize(
        "function", [None, "my_function", [], [None], ["?"], {"config": 3}, ["x" * 99_999], 7]
    )
    def test_what_is_no_bytecode_has_no_hints(self, function: Any) -> None:
        assert keras_lambda.hints({"function": function}) == ""

    @given(st.binary(max_size=300))
    def test_any_bytes_are_looked_at_without_harm(self, code: bytes) -> None:
        hints = keras_lambda.hints({"function": [base64.b64encode(code).decode()]})
        assert len(hints) < 5000


class TestJson:
    @pytest.mark.parametrize("opening", ["[", '{"a":'])
    def test_depth_is_bounded_before_parsing(self, opening: str) -> None:
        text = opening * 5000 + "1" + ("]" if opening == "[" else "}") * 5000
        with pytest.raises(BudgetExceeded, match="The text is nested 5000 levels deep; at most 256"):
            parse(text, what="The text", limits=Limits())

    def test_brackets_in_strings_are_no_levels(self) -> None:
        text = json.dumps({"a": "[" * 1000, "b": '\\"[[' * 300, "c": ["]" * 9]})
        assert parse(text, what="x", limits=Limits()) == json.loads(text)

    def test_closing_brackets_in_strings_hide_nothing(self) -> None:
        text = '["]]]]]",' * 300 + "1" + "]" * 300
        with pytest.raises(BudgetExceeded, match="300 levels"):
            parse(text, what="x", limits=Limits())

    @pytest.mark.parametrize(
        ("text", "error", "message"),
        [
            ("{", DamagedFile, "x is no valid JSON"),
            ('"text"', DamagedFile, "x is a JSON str, not an object"),
            ("9" * 5000, DamagedFile, "x is no valid JSON"),
            ("[" + "1," * 100 + "1]", BudgetExceeded, "x has 203 characters; at most 200"),
        ],
    )
    def test_what_is_no_architecture(self, text: str, error: type[Exception], message: str) -> None:
        limits = Limits(config=200) if error is BudgetExceeded else Limits()
        with pytest.raises(error, match=message):
            parse(text, what="x", limits=limits)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
            max_leaves=30,
        )
    )
    def test_as_pythons_own(self, value: Any) -> None:
        text = json.dumps({"value": value})
        assert parse(text, what="x", limits=Limits()) == {"value": value}


class TestLimits:
    def test_layers(self) -> None:
        config = sequential(
            layer("Dense", "d", input_dim=2), *(layer("ReLU", f"r{number}") for number in range(99))
        )
        with pytest.raises(BudgetExceeded, match="more than 50 layers"):
            unfolded(config, limits=Limits(layers=50))

    def test_a_name_of_a_megabyte(self) -> None:
        with pytest.raises(BudgetExceeded, match="name has 1048576 characters; at most 1024"):
            unfolded(sequential(layer("Dense", "d" * (1 << 20), input_dim=2)))


ODD: Sequence[Any] = (
    None,
    True,
    -1,
    2**70,
    1.5,
    "",
    "x",
    [],
    [None],
    [[1, 2], [3, 4]],
    {},
    {"class_name": "x", "config": "y"},
    {"class_name": "__tuple__", "items": [1, 2]},
    [["in", 0, 0]],
    ["base", 1, 0],
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    children: Mapping[Any, Any] = (
        value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, list) else {}
    )
    for key, child in children.items():
        found += _places(child, (*path, key))
    return found


def _whole() -> Config:
    # Copied, for the changes are made in place.
    entry, other = copy.deepcopy(ENTRY), copy.deepcopy(OTHER)
    nested = {**copy.deepcopy(base(2)), "name": "base", "inbound_nodes": [[["in", 0, 0]], [["other", 0, 0]]]}
    inner = {
        **sequential(layer("BatchNormalization", "b", axis=[3])),
        "name": "seq",
        "inbound_nodes": [[["base", 1, 1]]],
    }
    merge = layer("Concatenate", "cat", [[["seq", 1, 0], ["base", 2, 0, {"training": False}]]], axis=-1)
    last = layer("Lambda", "lam", [[["cat", 0, 0]]], function=["4wEA", None, None])
    return functional(
        [entry, other, nested, inner, merge, last], [["in", 0, 0], ["other", 0, 0]], [["lam", 0, 0]]
    )


@given(st.data(), st.sampled_from([1, 2, 3]))
@settings(deadline=None, max_examples=300)
def test_any_value_anywhere_is_read_or_refused(data: st.DataObject, major: int) -> None:
    config = _whole()
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from([place for place in _places(config) if place]))
        parent = config
        for key in path:
            parent = parent[key]
        parent[last] = copy.deepcopy(data.draw(st.sampled_from([*ODD, config["config"]])))
        if not isinstance(config.get("config"), dict):
            break
    with contextlib.suppress(FluoroscopeError):
        unfolded(config, major=major)


def test_the_whole_is_read_before_it_is_changed() -> None:
    names = [call.name for call in unfolded(_whole()).calls]
    assert names[-3:] == ["seq/b", "cat", "lam"]
    assert np.unique(names).size == len(names) == 11
