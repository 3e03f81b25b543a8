"""Running a network layer by layer: values, layout, and what is refused before anything is run."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fluoroscope as fs
from fluoroscope.errors import (
    BudgetExceeded,
    LayerNotFound,
    NetworkError,
    UnsupportedLayer,
    UsageError,
)
from fluoroscope.network import session as session_module
from fluoroscope.network.budget import Budget
from fluoroscope.network.graph import GraphInput, LayerGraph, LayerOutput
from fluoroscope.network.onnx_network import OnnxNetwork
from fluoroscope.network.protocol import Layer, Network, Provenance
from onnx_models import after, chain, floats, model, node, plainly, value

PROVENANCE = Provenance(path=None, format="onnx", writer=None, backend=None, sha256="", size=0)
KERNEL, BIAS = floats(5, 2, 3, 3), floats(5)
DENSE = floats(5, 4)


def row(name, tensor, shape, kind="Conv2D", family="conv", **more):
    """A row of a layer table; what is no argument of `LayerOutput` describes the layer."""
    outputs = {key: more.pop(key) for key in ("channel_axis", "pre") if key in more}
    return LayerOutput(
        layer=Layer(name=name, kind=kind, family=family, shape=shape, **more), tensor=tensor, **outputs
    )


def toy(**options):
    """A convolution with a fused activation, pooled, and a dense layer; as the translators make them."""
    graph = LayerGraph(
        name="toy",
        inputs=[GraphInput(tensor="x", layer="picture", shape=(None, 2, 8, 7), channel_axis=1)],
        nodes=[
            node("Conv", ["x", "k", "b"], ["conv:pre"], kernel_shape=[3, 3]),
            node("Relu", ["conv:pre"], ["conv"]),
            node("GlobalAveragePool", ["conv"], ["pooled"]),
            node("Flatten", ["pooled"], ["flat"]),
            node("MatMul", ["flat", "w"], ["dense"]),
        ],
        weights={"k": KERNEL, "b": BIAS, "w": DENSE},
        rows=[
            row("picture", "x", (8, 7, 2), "InputLayer", "input"),
            row(
                "conv",
                "conv",
                (6, 5, 5),
                inputs=("picture",),
                activation="relu",
                has_pre=True,
                pre="conv:pre",
            ),
            row("same", "conv", (6, 5, 5), "Dropout", "regularization", inputs=("conv",)),
            row("odd", None, (), "Lambda", "other", inputs=("same",), problem="it holds bytecode, never run"),
            row("dense", "dense", (4,), "Dense", "dense", inputs=("same",)),
        ],
        outputs=["dense"],
    )
    return OnnxNetwork(graph, PROVENANCE, **options)


def by_hand(batch):
    """The same network in NumPy, channels last."""
    conv = np.zeros((len(batch), 6, 5, 5), np.float32) + BIAS
    for y in range(6):
        for x in range(5):
            window = batch[:, y : y + 3, x : x + 3, :]
            conv[:, y, x] += np.einsum("nhwc,ochw->no", window, KERNEL)
    relu = np.maximum(conv, 0)
    return {
        "picture": batch,
        "conv:pre": conv,
        "conv": relu,
        "same": relu,
        "dense": relu.mean((1, 2)) @ DENSE,
    }


NAMES = ("picture", "conv:pre", "conv", "same", "dense")


@pytest.mark.parametrize("count", [1, 2, 5])
def test_values_are_those_of_the_formulas(count):
    batch = floats(count, 8, 7, 2)
    found = toy().run(batch, NAMES)
    assert list(found) == list(NAMES)
    for name, expected in by_hand(batch).items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], expected, atol=1e-5)


def test_it_is_a_network():
    network = toy()
    assert isinstance(network, Network)
    assert [layer.name for layer in network.layers] == ["picture", "conv", "same", "odd", "dense"]
    assert network.outputs == ("dense",)
    assert network.inputs[0].shape == (8, 7, 2)
    assert repr(network) == "<OnnxNetwork 'toy': 5 layers, from onnx>"
    assert "Lambda" in network.summary()
    assert network._repr_html_().startswith("<div>")
    assert network.provenance is PROVENANCE
    assert network.budget == Budget()


def test_arrays_are_read_only_and_each_channel_is_contiguous():
    found = toy().run(floats(2, 8, 7, 2), NAMES)
    for name, array in found.items():
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
        if array.ndim == 4:
            assert array[0, :, :, 1].flags.c_contiguous, name


def test_the_batch_is_neither_changed_nor_kept():
    batch = floats(1, 8, 7, 1)
    graph = LayerGraph(
        name="toy",
        # One channel: channels first and channels last are the same memory.
        inputs=[GraphInput(tensor="x", layer="x", shape=(None, 1, 8, 7), channel_axis=1)],
        nodes=[node("Relu", ["x"], ["y"])],
        weights={},
        rows=[row("x", "x", (8, 7, 1), family="input"), row("y", "y", (8, 7, 1))],
        outputs=["y"],
    )
    before = batch.copy()
    found = OnnxNetwork(graph, PROVENANCE).run(batch, ["x", "y"])
    np.testing.assert_array_equal(batch, before)
    assert batch.flags.writeable
    batch[...] = 7
    np.testing.assert_array_equal(found["x"], before)
    np.testing.assert_array_equal(found["y"], np.maximum(before, 0))


def test_one_tensor_that_is_the_output_of_two_layers():
    found = toy().run(floats(1, 8, 7, 2), ["same", "conv"])
    np.testing.assert_array_equal(found["conv"], found["same"])
    assert found["conv"] is not found["same"]


def test_names_are_taken_once_and_a_single_one_may_stand_alone():
    network, batch = toy(), floats(1, 8, 7, 2)
    assert list(network.run(batch, ["dense", "conv", "dense"])) == ["dense", "conv"]
    assert list(network.run(batch, "dense")) == ["dense"]
    assert network.run(batch, []) == {}


def test_inputs_alone_start_no_engine(monkeypatch):
    monkeypatch.setattr(session_module, "_start", None)
    batch = floats(2, 8, 7, 2)
    np.testing.assert_array_equal(toy().run(batch, ["picture"])["picture"], batch)


def test_lists_and_other_numbers_are_taken_as_they_are():
    network, batch = toy(), np.arange(8 * 7 * 2).reshape(1, 8, 7, 2)
    expected = network.run(batch.astype(np.float32), ["dense"])["dense"]
    for given in (batch, batch.astype(np.float64), batch.astype(np.uint8), batch.tolist(), batch[:, :, ::1]):
        np.testing.assert_array_equal(network.run(given, ["dense"])["dense"], expected)
    turned = np.asfortranarray(batch.astype(np.float32))
    np.testing.assert_array_equal(network.run(turned, ["dense"])["dense"], expected)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (floats(8, 7, 2), r"'picture' takes \(n, 8, 7, 2\), channels last; given \(8, 7, 2\)"),
        (floats(1, 2, 8, 7), r"channels last; given \(1, 2, 8, 7\).*`fluoroscope.preprocess`"),
        (floats(1, 8, 7, 3), r"given \(1, 8, 7, 3\)"),
        (floats(0, 8, 7, 2), "batch for input 'picture' is empty"),
        (np.zeros((1, 8, 7, 2), bool), "takes numbers, not bool"),
        (np.full((1, 8, 7, 2), "a"), "takes numbers, not <U1"),
        (np.zeros((1, 8, 7, 2), complex), "takes numbers, not complex128"),
        (np.full((1, 8, 7, 2), 1e300), "type float32; some of those given are too large"),
        ({}, "Input 'picture' is missing from the batch"),
    ],
    ids=repr,
)
def test_wrong_batches(batch, message):
    with pytest.raises(UsageError, match=message):
        toy().run(batch, ["dense"])


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("dence", LayerNotFound, "No layer is called 'dence'. Did you mean 'dense'"),
        ("zzz", LayerNotFound, "`fluoroscope summary MODEL` lists them"),
        ("zzz:pre", LayerNotFound, "No layer is called 'zzz'"),
        (
            "dense:pre",
            LayerNotFound,
            "'dense' has no fused activation, so nothing before it: ask for 'dense'",
        ),
        ("odd", UnsupportedLayer, "'odd' cannot be run: it holds bytecode, never run"),
        ("odd:pre", UnsupportedLayer, "'odd' cannot be run"),
    ],
)
def test_wrong_names(name, error, message):
    with pytest.raises(error, match=message):
        toy().run(floats(1, 8, 7, 2), ["conv", name])


def test_an_input_of_another_name():
    with pytest.raises(LayerNotFound, match=r"No input is called 'pictures'. Inputs: 'picture'\."):
        toy().run({"pictures": floats(1, 8, 7, 2)}, ["dense"])


def test_two_layers_of_one_name():
    graph = toy()._graph
    twice = replace(graph, rows=[*graph.rows, graph.rows[1]])
    with pytest.raises(NetworkError, match="Two layers are called 'conv'"):
        OnnxNetwork(twice, PROVENANCE)


def test_layers_by_name_and_their_memory():
    network = toy()
    assert network.layer("conv").shape == (6, 5, 5)
    assert network.layer("conv:pre").name == "conv"
    assert network.memory(["conv", "dense", "conv:pre"], batch=3) == 4 * 3 * (150 + 4 + 150)
    with pytest.raises(LayerNotFound, match="Did you mean 'conv'"):
        network.layer("convv")


# Several inputs.


def two_inputs():
    made = model(
        [node("Concat", ["a", "b"], ["c"], axis=1, name="c"), node("Relu", ["a"], ["r"], name="r")],
        [value("a", ["N", 2, 4, 4]), value("b", ["N", 3, 4, 4])],
        ["c"],
    )
    return fs.open_network(made.SerializeToString())


def test_several_inputs_go_by_name():
    batch = {"b": floats(2, 4, 4, 3), "a": floats(2, 4, 4, 2)}
    found = two_inputs().run(batch, ["c", "r", "b"])
    np.testing.assert_array_equal(found["c"], np.concatenate([batch["a"], batch["b"]], axis=-1))
    np.testing.assert_array_equal(found["r"], np.maximum(batch["a"], 0))
    np.testing.assert_array_equal(found["b"], batch["b"])


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (floats(1, 4, 4, 2), "has 2 inputs: give a mapping of 'a', 'b'"),
        ({"a": floats(1, 4, 4, 2)}, "Input 'b' is missing"),
        ({"a": floats(1, 4, 4, 2), "b": floats(2, 4, 4, 3)}, r"as many pictures as each other, not \[1, 2\]"),
    ],
    ids=["an array", "one missing", "unequal"],
)
def test_several_inputs_wrongly_given(batch, message):
    with pytest.raises(UsageError, match=message):
        two_inputs().run(batch, ["r"])


# Batches and sizes that the file fixes or leaves open.


@pytest.mark.parametrize("fixed", [1, 3])
def test_a_batch_that_cannot_be_changed_runs_in_batches_of_that_size(fixed):
    """The reshape names the batch: seven pictures go through it by ones, or by threes with two repeated."""
    data = chain(
        [after("Reshape", "shape"), after("ReduceMean", axes=[1], keepdims=0)],
        {"shape": np.array([fixed, 4, 8])},
        shape=(fixed, 2, 4, 4),
        opset=13,
    )
    network = fs.open_network(data)
    assert network._graph.inputs[0].shape[0] == fixed
    batch = floats(7, 4, 4, 2)
    found = network.run(batch, ["x", "t0", "t1"])
    first = np.moveaxis(batch, -1, 1)
    np.testing.assert_array_equal(found["x"], batch)
    expected = [plainly(data, {"x": first[[i] * fixed]}, ["t0", "t1"]) for i in range(7)]
    for name, axis in (("t0", network._rows["t0"].channel_axis), ("t1", 1)):
        wanted = np.stack([np.moveaxis(one[name], axis, -1)[0] for one in expected])
        np.testing.assert_allclose(found[name], wanted, rtol=1e-6)


def test_a_batch_fixed_without_need_is_free():
    data = chain([after("Conv", "k"), after("Relu")], {"k": KERNEL}, shape=(10, 2, 8, 7))
    network = fs.open_network(data)
    assert network._graph.inputs[0].shape[0] is None
    batch = floats(3, 8, 7, 2)
    expected = plainly(data, {"x": np.moveaxis(np.resize(batch, (10, 8, 7, 2)), -1, 1)}, ["t1"])["t1"]
    np.testing.assert_allclose(network.run(batch, ["t1"])["t1"], np.moveaxis(expected, 1, -1)[:3], atol=1e-6)


def test_a_file_that_says_any_batch_but_mixes_pictures_gets_one_at_a_time():
    data = chain([after("Reshape", "shape"), after("Relu")], {"shape": np.array([1, -1])})
    network = fs.open_network(data)
    assert network._graph.inputs[0].shape[0] == 1
    batch = floats(3, 16, 12, 2)
    expected = np.maximum(np.moveaxis(batch, -1, 1).reshape(3, -1), 0)
    np.testing.assert_array_equal(network.run(batch, ["t1"])["t1"], expected)


def free():
    nodes = [after("Conv", "k", pads=[1, 1, 1, 1]), after("MaxPool", kernel_shape=[2, 2], strides=[2, 2])]
    return fs.open_network(chain(nodes, {"k": KERNEL}, shape=("N", 2, "H", "W")))


def test_a_free_size_is_made_anew_for_a_size_and_kept():
    network = free()
    assert network.inputs[0].shape == (None, None, 2)
    assert [layer.shape for layer in network.layers] == [(None, None, 2), (None, None, 5), (None, None, 5)]
    sized = network.at_size(10, 6)
    assert [layer.shape for layer in sized.layers] == [(10, 6, 2), (10, 6, 5), (5, 3, 5)]
    assert network.at_size(10, 6) is sized
    assert sized.at_size(10, 6) is sized
    assert network.at_size(6, 10) is not sized
    assert sized.provenance is network.provenance


def test_a_free_size_takes_that_of_the_batch():
    network = free()
    for height, width in ((10, 6), (7, 9), (10, 6)):
        batch = floats(2, height, width, 2)
        found = network.run(batch, ["t1"])["t1"]
        np.testing.assert_array_equal(found, network.at_size(height, width).run(batch, ["t1"])["t1"])
        assert found.shape == (2, height // 2, width // 2, 5)


def test_a_budget_for_small_pictures_is_no_reason_not_to_open_a_network_of_free_size():
    nodes = [after("Conv", "k", pads=[1, 1, 1, 1]), after("Relu")]
    data = chain(nodes, {"k": KERNEL}, shape=("N", 2, "H", "W"))
    network = fs.open_network(data, budget=Budget(memory=2**16))
    assert network.run(floats(1, 20, 20, 2), ["t1"])["t1"].shape == (1, 20, 20, 5)
    with pytest.raises(BudgetExceeded, match=r"makes, \[1, 5, 200, 200\]"):
        network.run(floats(1, 200, 200, 2), ["t1"])


def test_weights_are_shared_by_all_sizes():
    network = free()
    first, second = network.at_size(10, 6), network.at_size(7, 9)
    assert first._graph.weights["k"] is second._graph.weights["k"] is network._graph.weights["k"]


def test_sizes_that_cannot_be():
    network = fs.open_network(chain([after("Relu")], shape=("N", 2, 8, 7)))
    assert network.at_size(8, 7) is network
    with pytest.raises(UsageError, match=r"takes pictures of 8 x 7, not 10 x 6\. Leave the size out"):
        network.at_size(10, 6)
    half = fs.open_network(chain([after("Relu")], shape=("N", 2, 8, "W")))
    assert half.at_size(8, 30).inputs[0].shape == (8, 30, 2)
    with pytest.raises(UsageError, match="takes pictures of 8 x None"):
        half.at_size(9, 30)


def test_a_size_that_the_network_cannot_take():
    """Two ways of different stride meet again only where the size is even."""
    made = model(
        [
            node("MaxPool", ["x"], ["a"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Resize", ["a", "", "s"], ["b"], mode="nearest"),
            node("Add", ["x", "b"], ["c"], name="meet"),
        ],
        [value("x", ["N", 3, "H", "W"])],
        ["c"],
        {"s": np.array([1, 1, 2, 2], np.float32)},
    )
    network = fs.open_network(made.SerializeToString())
    assert network.at_size(6, 8).run(floats(1, 6, 8, 3), ["meet"])["meet"].shape == (1, 6, 8, 3)
    with pytest.raises(UsageError, match=r"pictures of 7 x 8: Node 'meet' \(Add\).*\. Choose .*--size"):
        network.at_size(7, 8)


# Types.


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int8", "int32", "int64"])
def test_inputs_of_every_type(dtype):
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    made = model(
        [node("Cast", ["x"], ["f"], to=1, name="f"), node("Relu", ["f"], ["r"], name="r")],
        [value("x", ["N", 2, 4, 3], kind)],
        ["r"],
    )
    network = fs.open_network(made.SerializeToString())
    assert network.inputs[0].dtype == dtype
    batch = np.arange(48, dtype=np.float32).reshape(2, 4, 3, 2)
    found = network.run(batch, ["x", "r"])
    for array in found.values():
        np.testing.assert_array_equal(array, batch)
        assert array.dtype == np.float32


@pytest.mark.parametrize("wrong", [0.5, -1, 256, np.nan, np.inf])
def test_numbers_that_an_input_of_whole_numbers_cannot_take(wrong):
    from onnx import TensorProto

    data = model([node("Cast", ["x"], ["f"], to=1)], [value("x", ["N", 1, 2, 2], TensorProto.UINT8)], ["f"])
    network = fs.open_network(data.SerializeToString())
    batch = np.zeros((1, 2, 2, 1), np.float32)
    batch[0, 1, 1, 0] = wrong
    with pytest.raises(
        UsageError, match=r"whole numbers of type uint8, 0 to 255; .*preprocess it with 'raw'"
    ):
        network.run(batch, ["f"])


def test_half_floats_do_not_overflow_in_silence():
    from onnx import TensorProto

    data = model([node("Relu", ["x"], ["f"])], [value("x", ["N", 1, 2, 2], TensorProto.FLOAT16)], ["f"])
    network = fs.open_network(data.SerializeToString())
    assert network.run(np.full((1, 2, 2, 1), 65504.0), ["f"])["f"].max() == 65504
    with pytest.raises(UsageError, match="type float16; some of those given are too large"):
        network.run(np.full((1, 2, 2, 1), 7e4), ["f"])
    infinite = network.run(np.full((1, 2, 2, 1), np.inf), ["f"])["f"]
    assert np.isinf(infinite).all()


def test_values_of_other_types_come_out_as_float32():
    data = chain(
        [after("ArgMax", axis=1, keepdims=1), after("Cast", to=11), after("Greater", "one")], {"one": 1.0}
    )
    found = fs.open_network(data).run(floats(2, 16, 12, 2), ["t0", "t2"])
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}


# Budgets: held against the cost before anything is allocated.


@pytest.fixture
def no_engine(monkeypatch):
    """onnxruntime must not even be started."""

    def start(*_):
        raise AssertionError("started")

    monkeypatch.setattr(session_module, "_start", start)


@pytest.mark.usefixtures("no_engine")
def test_activations_over_the_budget():
    network = toy(budget=Budget(memory=4000))
    message = r"activations of 2 layers for 4 pictures would take 4\.69 KiB; .*Capture fewer layers"
    with pytest.raises(BudgetExceeded, match=message):
        network.run(floats(4, 8, 7, 2), ["conv", "conv:pre", "same"])


@pytest.mark.usefixtures("no_engine")
def test_what_is_only_passed_through_counts_as_well():
    """The last layer is small; what it is made of is not, though each tensor alone would fit."""
    data = chain(
        [after("Resize", "", "s", mode="nearest"), after("Relu"), after("GlobalAveragePool")],
        {"s": np.array([1, 1, 64, 64], np.float32)},
    )
    network = fs.open_network(data, budget=Budget(memory=2**23))
    assert network.layer("t0").shape == (1024, 768, 2)
    assert network.memory(["t2"]) == 8
    message = r"For 1 picture, node 't1' \(Relu\), with all that is needed by then, would take 12 MiB"
    with pytest.raises(BudgetExceeded, match=message):
        network.run(floats(1, 16, 12, 2), ["t2"])
    with pytest.raises(BudgetExceeded, match=r"What node 't0' \(Resize\) makes, \[2, 2, 1024, 768\]"):
        network.run(floats(2, 16, 12, 2), ["t2"])


@pytest.mark.usefixtures("no_engine")
def test_too_much_work():
    network = toy(budget=Budget(work=10**4))
    with pytest.raises(BudgetExceeded, match=r"Running 'toy' for 3 pictures would take .* multiplications"):
        network.run(floats(3, 8, 7, 2), ["dense"])


def test_weights_over_the_budget():
    with pytest.raises(BudgetExceeded, match="The weights of 'toy' would take 460 bytes"):
        toy(budget=Budget(memory=459))


def test_what_does_not_fit_at_once_fits_in_parts():
    network = fs.open_network(chain([after("Relu") for _ in range(6)]), budget=Budget(memory=6000))
    batch, names = floats(1, 16, 12, 2), fs.select(network)
    with pytest.raises(BudgetExceeded, match="activations of 6 layers for 1 picture would"):
        network.run(batch, names)
    for name in names:
        network.run(batch, [name])


def test_costs_are_counted_once_for_each_shape(monkeypatch):
    network, counted = toy(), []
    plain = session_module.trace
    monkeypatch.setattr(session_module, "trace", lambda *given: counted.append(given) or plain(*given))
    for count in (1, 1, 2, 1, 2):
        network.run(floats(count, 8, 7, 2), ["dense"])
    assert len(counted) == 2


def test_only_what_is_needed_is_computed():
    """A node that cannot be run harms no layer before it."""
    made = model(
        [
            node("Relu", ["x"], ["a"], name="a"),
            node("Gather", ["a", "far"], ["b"], axis=1, name="b"),
        ],
        [value("x", ["N", 2, 4, 4])],
        ["b"],
        {"far": np.array([9])},
    )
    network = fs.open_network(made.SerializeToString())
    assert network.run(floats(1, 4, 4, 2), ["a"])["a"].shape == (1, 4, 4, 2)
    with pytest.raises(
        NetworkError, match=r"onnxruntime could not run 'toy'.*indices element out of data bounds"
    ):
        network.run(floats(1, 4, 4, 2), ["b"])


def test_values_of_another_shape_than_was_expected():
    """ONNX and onnxruntime understand this setting in two ways; what was checked was not what was made."""
    data = chain(
        [after("ConvTranspose", "k", auto_pad="SAME_UPPER", output_padding=[1, 1], strides=[2, 2])],
        {"k": floats(2, 3, 3, 3)},
    )
    with pytest.raises(NetworkError, match=r"'t0'. are of shapes .* they would be"):
        fs.open_network(data).run(floats(1, 16, 12, 2), ["t0"])


def test_a_few_sessions_are_kept(monkeypatch):
    started = []
    plain = session_module._start
    monkeypatch.setattr(session_module, "_start", lambda *given: started.append(given[3]) or plain(*given))
    network, batch = toy(), floats(1, 8, 7, 2)
    sets = (["conv"], ["conv:pre"], ["dense"], ["conv", "dense"], ["conv", "conv:pre"])
    for names in sets:
        network.run(batch, names)
        network.run(batch, names)
    assert len(started) == 5
    network.run(batch, sets[-1])
    network.run(batch, sets[1])
    assert len(started) == 5
    # The one used longest ago has made room.
    network.run(batch, sets[0])
    assert len(started) == 6


def test_onnxruntime_keeps_to_itself(tmp_path):
    """From 1.29 on it has telemetry: a cache of its own, and a thread that sends it."""
    code = (
        "import os, numpy as np, fluoroscope as fs\n"
        "from test_onnx_network import toy, floats\n"
        "toy().run(floats(1, 8, 7, 2), ['dense'])\n"
        "print([path for entry in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{entry}') "
        "for path in [os.readlink(f'/proc/self/fd/{entry}')] if 'socket' in path or 'ort' in path])\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        **{key: value for key, value in os.environ.items() if "TELEMETRY" not in key and key != "CI"},
        **dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "TMPDIR"), str(home)),
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
    assert list(home.rglob("*")) == []


def test_threads_are_passed_on(monkeypatch):
    import onnxruntime

    seen = []
    plain = onnxruntime.InferenceSession

    def spy(data, options, **more):
        seen.append(
            (
                options.intra_op_num_threads,
                options.get_session_config_entry("session.intra_op.allow_spinning"),
            )
        )
        return plain(data, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    toy(threads=3).run(floats(1, 8, 7, 2), ["dense"])
    assert seen == [(3, "0")]


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_weights_are_lent_not_copied(monkeypatch, dtype):
    import onnxruntime

    sizes = []
    plain = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda data, *given, **more: sizes.append(len(data)) or plain(data, *given, **more),
    )
    weights = {"w": np.ones((2, 16, 12), dtype).repeat(50, axis=0)}
    made = model(
        [node("Cast", ["w"], ["v"], to=1), node("Add", ["x", "v"], ["y"], name="y")],
        [value("x", ["N", 100, 16, 12])],
        ["y"],
        weights,
    )
    found = fs.open_network(made.SerializeToString()).run(np.zeros((1, 16, 12, 100), np.float32), ["y"])["y"]
    assert (found == 1).all()
    assert sizes[0] < 1000 < weights["w"].nbytes
