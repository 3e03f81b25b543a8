"""ONNX files of many makes: what is found in them, and that its values are onnxruntime's."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import fluoroscope as fs
from fluoroscope.errors import BudgetExceeded, UnsupportedLayer
from fluoroscope.network.budget import Budget
from onnx_models import after, chain, floats, model, node, plainly, value

LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("light_*.onnx"))


def opened(made, **options):
    return fs.open_network(made if isinstance(made, bytes) else made.SerializeToString(), **options)


def agree(network, data, batch, names=None, tolerance=1e-5):
    """Every layer is what plain onnxruntime makes of the whole file, up to rounding."""
    rows = [row for row in network._rows.values() if row.tensor is not None]
    rows = [row for row in rows if names is None or row.layer.name in names]
    (entry,) = network._graph.inputs
    first = np.ascontiguousarray(np.moveaxis(batch, -1, entry.channel_axis))
    expected = plainly(data, {entry.tensor: first}, [row.tensor for row in rows])
    found = network.run(batch, [row.layer.name for row in rows])
    for row in rows:
        wanted = np.moveaxis(expected[row.tensor].astype(np.float32), row.channel_axis, -1)
        assert wanted.shape[1:] == row.layer.shape
        scale = max(float(np.abs(wanted).max()), 1e-30)
        np.testing.assert_allclose(found[row.layer.name], wanted, rtol=0, atol=tolerance * scale)
    return len(rows)


# Real files: the network shapes that onnx brings along for its own tests, with weights computed on loading.


@pytest.mark.parametrize(
    ("name", "layers", "first", "last"),
    [
        ("light_bvlc_alexnet", 14, ("Conv", (54, 54, 96)), ("softmax", (1000,))),
        ("light_densenet121", 306, ("Conv", (112, 112, 64)), ("Conv", (1, 1, 1000))),
        ("light_inception_v1", 84, ("Conv", (112, 112, 64)), ("softmax", (1000,))),
        ("light_inception_v2", 163, ("Conv", (112, 112, 64)), ("softmax", (1000,))),
        ("light_resnet50", 126, ("Conv", (112, 112, 64)), ("softmax", (1000,))),
        ("light_shufflenet", 121, ("Conv", (112, 112, 24)), ("softmax", (1000,))),
        ("light_squeezenet", 40, ("Conv", (111, 111, 64)), ("Softmax", (1, 1, 1000))),
        ("light_vgg19", 25, ("Conv", (224, 224, 64)), ("softmax", (1000,))),
        ("light_zfnet512", 14, ("Conv", (109, 109, 96)), ("softmax", (1000,))),
    ],
)
def test_well_known_networks(name, layers, first, last):
    (path,) = [path for path in LIGHT if path.stem == name]
    network = fs.open_network(path)
    assert len(network.layers) == layers
    assert network.inputs[0].shape == (224, 224, 3)
    assert (network.layers[1].kind, network.layers[1].shape) == first
    (output,) = network.outputs
    assert (
        network.layer(output).activation or network.layer(output).kind,
        network.layer(output).shape,
    ) == last
    assert all(layer.problem is None for layer in network.layers)
    assert network.provenance.writer == "onnx-caffe2"
    assert network.provenance.path == str(path)
    # Compared with plain onnxruntime: the shallow ones whole, of the deep ones the beginning and the end.
    names = [layer.name for layer in network.layers]
    chosen = names if layers < 60 and "vgg" not in name else [*names[:12], *names[12:-12:40], *names[-12:]]
    assert agree(network, path.read_bytes(), floats(1, 224, 224, 3, low=0), chosen) == len(set(chosen))


def test_all_light_models_are_known_here():
    assert len(LIGHT) == 9


# Operator sets and versions of the format.


@pytest.mark.parametrize("opset", range(7, 27))
def test_every_operator_set(opset):
    """The same network, written as each operator set wants it; 6 and older are not run, nor ones to come."""
    axes = {"axes": [2, 3]} if opset < 18 else {}
    pads = {"pads": [0, 0, 1, 1, 0, 0, 1, 1]} if opset < 11 else {}
    cut = {"starts": [1, 1], "ends": [17, 12], "axes": [2, 3]} if opset < 10 else {}
    data = chain(
        [
            after("Pad", *([] if pads else ["pads"]), **pads),
            after("Conv", "k", name="conv"),
            after("BatchNormalization", "g", "g", "g", "g", name="bn"),
            after("Relu"),
            after("Slice", *([] if cut else ["starts", "ends", "axes"]), **cut),
            after("MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
            after("ReduceMean", *([] if axes else ["axes"]), keepdims=0, **axes),
            after("Gemm", "w", "b"),
            after("Softmax", axis=1),
        ],
        {
            "k": floats(4, 2, 3, 3),
            "g": floats(4, low=0.5),
            "w": floats(4, 3),
            "b": floats(3),
            "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
            "starts": np.array([1, 1]),
            "ends": np.array([17, 12]),
            "axes": np.array([2, 3]),
        },
        opset=opset,
    )
    network = opened(data)
    assert [layer.shape for layer in network.layers][2:] == [
        (16, 12, 4),
        (16, 12, 4),
        (16, 12, 4),
        (15, 11, 4),
        (7, 5, 4),
        (4,),
        (3,),
        (3,),
    ]
    assert network.layer("conv").parameters == 72
    assert (network.layer("bn").parameters, network.layer("bn").trainable) == (4, 4)
    assert agree(network, data, floats(2, 16, 12, 2)) == 10


@pytest.mark.parametrize("opset", [1, 6, 99])
def test_operator_sets_that_are_not_run(opset):
    with pytest.raises(UnsupportedLayer, match=f"operator set {opset}; 7 to .* onnx.version_converter"):
        opened(chain([after("Relu")], opset=opset))


@pytest.mark.parametrize("ir_version", [3, 4, 7, 10, 13])
def test_weights_that_are_listed_among_the_inputs(ir_version):
    """As version 3 of the format demanded; later such weights are only defaults."""
    made = model(
        [node("Conv", ["x", "k"], ["y"], name="conv")],
        [value("x", ["N", 2, 8, 8]), value("k", [4, 2, 3, 3])],
        ["y"],
        {"k": floats(4, 2, 3, 3)},
        ir_version=ir_version,
    )
    network = opened(made)
    assert [spec.name for spec in network.inputs] == ["x"]
    assert network.layer("conv").parameters == 72
    agree(network, made, floats(1, 8, 8, 2))


@pytest.mark.parametrize("by", ["value", "raw", "floats", "single"])
def test_weights_in_constant_nodes(by):
    kernel = floats(4, 2, 3, 3) if by in ("value", "raw") else floats(4)
    if by == "value":
        constant = node("Constant", [], ["k"], value=helper.make_tensor("", 1, kernel.shape, kernel.ravel()))
    elif by == "raw":
        constant = node("Constant", [], ["k"], value=numpy_helper.from_array(kernel))
    elif by == "floats":
        constant = node("Constant", [], ["k"], value_floats=kernel.tolist())
    else:
        constant = node("Constant", [], ["k"], value_float=0.25)
    first = (
        node("Conv", ["x", "k"], ["y"], name="y")
        if kernel.ndim == 4
        else node("Mul", ["x", "k"], ["y"], name="y")
    )
    width = 4 if by == "floats" else 9
    made = model([constant, first], [value("x", ["N", 2, 8, width])], ["y"])
    network = opened(made)
    assert [layer.name for layer in network.layers] == ["x", "y"]
    assert network.layer("y").parameters == {"value": 72, "raw": 72, "floats": 4, "single": 1}[by]
    agree(network, made, floats(2, 8, width, 2))


def test_whole_numbers_in_constant_nodes():
    made = model(
        [
            node("Constant", [], ["i"], value_ints=[0, -1]),
            node("Constant", [], ["one"], value_int=1),
            node("Reshape", ["x", "i"], ["y"], name="y"),
            node("Gather", ["y", "one"], ["z"], axis=1, name="z"),
            node("Unsqueeze", ["z", "axes"], ["u"], name="u"),
        ],
        [value("x", ["N", 2, 3])],
        ["u"],
        {"axes": np.array([1])},
    )
    network = opened(made)
    # What is left without an axis of channels is no layer, but what follows is connected past it.
    assert {layer.name: layer.inputs for layer in network.layers} == {"x": (), "y": ("x",), "u": ("y",)}
    assert network.layer("u").parameters == 0


# Layouts.


def nhwc(*, size=(9, 8), channels=3):
    """As tf2onnx writes: the picture comes channels last and is turned first."""
    return model(
        [
            node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2], name="turn"),
            node("Conv", ["t", "k"], ["c"], name="conv"),
            node("Relu", ["c"], ["r"], name="relu"),
            node("Transpose", ["r"], ["b"], perm=[0, 2, 3, 1], name="back"),
            node("MatMul", ["b", "w"], ["m"], name="matmul"),
            node("Add", ["m", "v"], ["a"], name="bias"),
        ],
        [value("x", ["N", *size, channels])],
        ["a"],
        {"k": floats(4, channels, 3, 3), "w": floats(4, 5), "v": floats(5)},
    )


@pytest.mark.parametrize("channels", [1, 3, 12])
def test_channels_last_at_the_input(channels):
    made = nhwc(channels=channels)
    network = opened(made)
    assert network.inputs[0].shape == (9, 8, channels)
    assert {layer.name: layer.shape for layer in network.layers} == {
        "x": (9, 8, channels),
        "turn": (9, 8, channels),
        "conv": (7, 6, 4),
        "relu": (7, 6, 4),
        "back": (7, 6, 4),
        "matmul": (7, 6, 5),
    }
    batch = floats(2, 9, 8, channels)
    agree(network, made, batch)
    np.testing.assert_array_equal(network.run(batch, ["turn"])["turn"], batch)


@pytest.mark.parametrize(
    ("dims", "expected"),
    [
        (["N", 3, 224, 200], (224, 200, 3)),
        (["N", 224, 200, 3], (224, 200, 3)),
        (["N", 1, 28, 28], (28, 28, 1)),
        (["N", 28, 28, 1], (28, 28, 1)),
        (["N", 12, 64, 3], (12, 64, 3)),
        (["N", 12, 64, 64], (64, 64, 12)),
        (["N", 2, 4, 4], (4, 4, 2)),
        (["N", "H", "W", 3], (None, None, 3)),
        (["N", 3, "H", "W"], (None, None, 3)),
        (["N", 100, 7], (100, 7)),
        (["N", 10], (10,)),
        ([None, 0, -1, 3], (None, None, 3)),
    ],
    ids=str,
)
def test_the_layout_where_nothing_but_the_shape_tells_it(dims, expected):
    made = model([node("Reshape", ["x", "s"], ["y"])], [value("x", dims)], ["y"], {"s": np.array([0, -1])})
    assert opened(made).inputs[0].shape == expected


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        # Three columns of a picture with five channels: only the convolution tells.
        ([after("Conv", "k")], (30, 3, 5)),
        ([after("Relu"), after("Mul", "two"), after("Pad", "pads"), after("Conv", "k")], (30, 3, 5)),
        ([after("BatchNormalization", "g", "g", "g", "g")], (30, 3, 5)),
        ([after("Transpose", perm=[0, 2, 3, 1]), after("MatMul", "w")], (30, 3, 5)),
        ([after("Transpose", perm=[0, 3, 1, 2])], (5, 30, 3)),
        ([after("Flatten")], (5, 30, 3)),
    ],
    ids=["Conv", "behind others", "BatchNormalization", "turned", "turned back", "Flatten"],
)
def test_the_layout_that_the_first_operators_tell(nodes, expected):
    weights = {
        "k": floats(4, 5, 3, 3),
        "two": np.float32(2),
        "pads": np.array([0] * 8),
        "g": floats(5, low=0.5),
        "w": floats(5, 2),
    }
    assert opened(chain(nodes, weights, shape=("N", 5, 30, 3))).inputs[0].shape == expected


def test_channels_that_the_file_leaves_open_are_those_of_the_first_convolution():
    network = opened(chain([after("Conv", "k")], {"k": floats(4, 5, 3, 3)}, shape=("N", "C", "H", "W")))
    assert network.inputs[0].shape == (None, None, 5)
    assert network.run(floats(1, 6, 7, 5), ["t0"])["t0"].shape == (1, 4, 5, 4)


def test_a_sequence_of_free_length():
    nodes = [after("Conv", "k", name="conv"), after("Relu", name="relu")]
    data = chain(nodes, {"k": floats(4, 2, 3)}, shape=("N", 2, "T"))
    network = opened(data)
    assert network.inputs[0].shape == (None, 2)
    assert network.layer("relu").shape == (None, 4)
    for length in (9, 5):
        batch = floats(2, length, 2)
        expected = plainly(data, {"x": np.moveaxis(batch, -1, 1)}, ["t1"])["t1"]
        np.testing.assert_allclose(
            network.run(batch, ["relu"])["relu"], np.moveaxis(expected, 1, -1), atol=1e-6
        )
    # What it costs hangs on the length that is given.
    network = opened(data, budget=Budget(memory=2**14))
    network.run(floats(2, 2**6, 2), ["relu"])
    with pytest.raises(BudgetExceeded, match=r"\[2, 4, 1022\]"):
        network.run(floats(2, 2**10, 2), ["relu"])


# Names and connections.


def test_names():
    made = model(
        [
            node("Relu", ["x"], ["a"]),
            node("Relu", ["a"], ["b"], name="/block1/act/Relu"),
            node("Relu", ["b"], ["c"], name="same"),
            node("Relu", ["c"], ["d"], name="same"),
            node("Relu", ["d"], ["e"], name="same#2"),
            node("Relu", ["e"], ["f"], name="x"),
            node("Relu", ["f"], ["/"], name="/"),
            node("Relu", ["/"], ["h"], name="schräg ✓, a.b"),
        ],
        [value("x", ["N", 2, 4, 4])],
        ["h"],
    )
    network = opened(made)
    names = [layer.name for layer in network.layers]
    assert names == [*"x a block1.act same same#2 same#2#2 x#2 Relu".split(), "schräg ✓, a.b"]
    assert [layer.inputs for layer in network.layers] == [(), *((name,) for name in names[:-1])]
    for name in names[1:]:
        assert fs.select(network, name) == (name,)
    batch = floats(1, 4, 4, 2)
    for array in network.run(batch, names[1:]).values():
        np.testing.assert_array_equal(array, np.maximum(batch, 0))


def test_an_order_that_is_one_is_kept():
    nodes = [node("Relu", ["x"], [name], name=name) for name in "dacb"]
    made = model([*nodes, node("Sum", [*"abcd"], ["y"], name="sum")], [value("x", ["N", 2, 4, 4])], ["y"])
    assert [layer.name for layer in opened(made).layers] == ["x", *"dacb", "sum"]


def test_nodes_out_of_order_are_put_in_order():
    made = model(
        [
            node("Add", ["b", "a"], ["y"], name="third"),
            node("Abs", ["a"], ["b"], name="second"),
            node("Relu", ["x"], ["a"], name="first"),
        ],
        [value("x", ["N", 2, 4, 4])],
        ["y"],
    )
    network = opened(made)
    assert [layer.name for layer in network.layers] == ["x", "first", "second", "third"]
    assert network.layer("third").inputs == ("second", "first")
    agree(network, made, floats(1, 4, 4, 2))


def test_outputs():
    """Several, one of them an input, one a second output, one of no channels."""
    made = model(
        [
            node("Split", ["x", "sizes"], ["a", "b", "c"], axis=1, name="split"),
            node("Relu", ["b"], ["r"], name="relu"),
            node("ReduceMax", ["r"], ["m"], name="max", keepdims=0, axes=[1, 2, 3]),
        ],
        [value("x", ["N", 6, 4, 4])],
        ["r", "x", "c", "m"],
        {"sizes": np.array([1, 2, 3])},
        opset=13,
    )
    network = opened(made)
    assert [(layer.name, layer.shape) for layer in network.layers] == [
        ("x", (4, 4, 6)),
        ("split", (4, 4, 1)),
        ("split#2", (4, 4, 2)),
        ("split#3", (4, 4, 3)),
        ("relu", (4, 4, 2)),
    ]
    assert network.outputs == ("relu", "x", "split#3")
    batch = floats(2, 4, 4, 6)
    found = network.run(batch, fs.select(network, "all"))
    parts = np.split(batch, [1, 3], axis=-1)
    for name, part in zip(("split", "split#2", "split#3"), parts, strict=True):
        np.testing.assert_array_equal(found[name], part)
    np.testing.assert_array_equal(found["relu"], np.maximum(parts[1], 0))


def test_families():
    made = model(
        [
            node("Sub", ["x", "half"], ["s"], name="sub"),
            node("Conv", ["s", "k"], ["c"], name="conv"),
            node("Sigmoid", ["c"], ["g"], name="sigmoid"),
            node("Mul", ["c", "g"], ["m"], name="mul"),
            node("GlobalAveragePool", ["m"], ["p"], name="pool"),
            node("Flatten", ["p"], ["f"], name="flatten"),
            node("Gemm", ["f", "w"], ["d"], name="gemm"),
            node("Dropout", ["d"], ["o"], name="dropout"),
        ],
        [value("x", ["N", 3, 8, 8])],
        ["o"],
        {"half": np.float32(0.5), "k": floats(4, 3, 3, 3), "w": floats(4, 2)},
    )
    network = opened(made)
    assert [layer.family for layer in network.layers] == [
        "input",
        "other",
        "conv",
        "activation",
        "merge",
        "pool",
        "reshape",
        "dense",
        "regularization",
    ]
    assert fs.select(network, "conv,merge") == ("conv", "mul")


def test_parameters():
    """Each counted where it is used first; what is computed of them, quantized or a setting, as it is."""
    made = model(
        [
            node("Transpose", ["w"], ["v"], perm=[1, 0]),
            node("MatMul", ["x", "v"], ["a"], name="a"),
            node("MatMul", ["a", "w"], ["b"], name="b"),
            node("DequantizeLinear", ["q", "s", "z"], ["dq"]),
            node("MatMul", ["b", "dq"], ["c"], name="c"),
            node("Clip", ["c", "low"], ["d"], name="d"),
            node("BatchNormalization", ["d", "g", "be", "m", "va"], ["e"], name="e"),
        ],
        [value("x", ["N", 6])],
        ["e"],
        {
            "w": floats(4, 6),
            "q": np.ones((6, 5), np.int8),
            "s": np.float32(0.1),
            "z": np.int8(0),
            "low": np.float32(0),
            "g": floats(5),
            "be": floats(5),
            "m": floats(5),
            "va": floats(5, low=0.1),
        },
    )
    counts = {layer.name: (layer.parameters, layer.trainable) for layer in opened(made).layers}
    assert counts == {"x": (0, 0), "a": (24, 24), "b": (0, 0), "c": (30, 30), "d": (0, 0), "e": (20, 10)}


def test_quantized_networks():
    weights = {
        "s": np.float32(0.02),
        "z": np.uint8(128),
        "wq": np.arange(-36, 36).reshape(4, 2, 3, 3).astype(np.int8),
        "ws": np.full(4, 0.01, np.float32),
        "wz": np.zeros(4, np.int8),
        "ws1": np.float32(0.01),
        "wz1": np.int8(0),
        "bias": np.arange(4, dtype=np.int32),
    }
    made = model(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["q"], name="quantize"),
            node("DequantizeLinear", ["q", "s", "z"], ["dq"], name="dequantize"),
            node("DequantizeLinear", ["wq", "ws", "wz"], ["wd"], axis=0),
            node("Conv", ["dq", "wd"], ["c"], name="conv"),
            node("QLinearConv", ["q", "s", "z", "wq", "ws1", "wz1", "s", "z", "bias"], ["qc"], name="qconv"),
            node("DequantizeLinear", ["qc", "s", "z"], ["y"], name="y"),
        ],
        [value("x", ["N", 2, 6, 6])],
        ["y", "c"],
        weights,
        opset=17,
    )
    network = opened(made)
    assert network.inputs[0].shape == (6, 6, 2)
    assert [(layer.name, layer.parameters) for layer in network.layers] == [
        ("x", 0),
        ("conv", 72),
        ("qconv", 4),
    ]
    assert network.outputs == ("qconv", "conv")
    assert agree(network, made, floats(2, 6, 6, 2)) == 3


def test_networks_of_half_floats():
    kernel = floats(4, 2, 3, 3).astype(np.float16)
    made = model(
        [node("Conv", ["x", "k"], ["c"], name="c"), node("Relu", ["c"], ["r"], name="r")],
        [value("x", ["N", 2, 6, 6], TensorProto.FLOAT16)],
        [value("r", None, TensorProto.FLOAT16)],
        {"k": kernel},
    )
    network = opened(made)
    assert network.inputs[0].dtype == "float16"
    found = network.run(floats(1, 6, 6, 2), ["c", "r"])
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(found["r"], np.maximum(found["c"], 0))


# What is no layer, or cannot be run.


def test_programs_of_shapes_are_no_layers():
    made = model(
        [
            node("Shape", ["x"], ["s"], name="shape"),
            node("Slice", ["s", "zero", "one"], ["n"], name="slice"),
            node("Concat", ["n", "rest"], ["t"], axis=0, name="concat"),
            node("Relu", ["x"], ["r"], name="relu"),
            node("Reshape", ["r", "t"], ["y"], name="reshape"),
        ],
        [value("x", ["N", 2, 4, 6])],
        ["y"],
        {"zero": np.array([0]), "one": np.array([1]), "rest": np.array([2, 24])},
    )
    network = opened(made)
    assert [(layer.name, layer.shape) for layer in network.layers] == [
        ("x", (4, 6, 2)),
        ("relu", (4, 6, 2)),
        ("reshape", (24, 2)),
    ]
    assert network._graph.inputs[0].shape[0] is None
    agree(network, made, floats(3, 4, 6, 2))


def test_what_depends_on_the_size_of_the_batch_alone_mixes_no_pictures():
    """The largest of the sizes, which is not computed beforehand."""
    made = model(
        [
            node("Shape", ["x"], ["s"]),
            node("ReduceMax", ["s"], ["m"]),
            node("Cast", ["m"], ["f"], to=1),
            node("Div", ["x", "f"], ["y"], name="y"),
        ],
        [value("x", ["N", 2, 4, 6])],
        ["y"],
    )
    network = opened(made)
    assert network._graph.inputs[0].shape[0] is None
    batch = floats(3, 4, 6, 2)
    np.testing.assert_allclose(network.run(batch, ["y"])["y"], batch / 6, rtol=1e-6)


def test_layers_behind_what_cannot_be_run_say_why_and_the_others_are_shown():
    made = model(
        [
            node("Relu", ["x"], ["a"], name="relu"),
            node("NonZero", ["a"], ["nz"], name="where"),
            node("Cast", ["nz"], ["f"], to=1, name="cast"),
            node("Bernoulli", ["a"], ["r"], name="dice"),
            node("Add", ["r", "a"], ["s"], name="sum"),
            node("Abs", ["a"], ["y"], name="abs"),
        ],
        [value("x", ["N", 2, 4, 4])],
        ["y", "f", "s"],
    )
    network = opened(made)
    problems = {layer.name: layer.problem for layer in network.layers if layer.problem}
    assert problems == {
        "where": "how much node 'where' (NonZero) makes can only be known by running it.",
        "cast": "how much node 'where' (NonZero) makes can only be known by running it.",
        "dice": "node 'dice' (Bernoulli) is of an operator that is not run here.",
        "sum": "node 'dice' (Bernoulli) is of an operator that is not run here.",
    }
    assert fs.select(network) == ("relu", "abs")
    assert network.outputs == ("abs",)
    agree(network, made, floats(1, 4, 4, 2))
    with pytest.raises(UnsupportedLayer, match="'sum' cannot be run: node 'dice'"):
        network.run(floats(1, 4, 4, 2), ["sum"])


def test_what_is_never_run_leaves_the_rest():
    """A loop over boxes, or an operator of a library, behind a network does not hide the network."""
    given = [value("i", [], TensorProto.INT64), value("c", [], TensorProto.BOOL)]
    body = helper.make_graph(
        [node("Identity", ["c"], ["d"])], "body", given, [value("d", [], TensorProto.BOOL)]
    )
    made = model(
        [
            node("Relu", ["x"], ["a"], name="relu"),
            node("Loop", ["", "yes"], ["l"], name="loop", body=body),
            node("Fused", ["a"], ["m"], name="strange", domain="com.microsoft"),
            node("Relu", ["m"], ["r"], name="behind"),
            node("Relu", ["x"], ["e"], name="stranger's Relu", domain="elsewhere"),
        ],
        [value("x", ["N", 2, 4, 4])],
        ["a", "r", "l", "e"],
        {"yes": np.array(True)},
    )
    network = opened(made)
    problems = {layer.name: layer.problem for layer in network.layers if layer.problem}
    assert list(problems) == ["loop", "strange", "behind", "stranger's Relu"]
    assert "'loop' (Loop) is control flow" in problems["loop"]
    assert "'strange' (Fused) is of an operator outside standard ONNX ('com.microsoft')" in problems["behind"]
    assert network.outputs == ("relu",)
    batch = floats(1, 4, 4, 2)
    np.testing.assert_array_equal(network.run(batch, ["relu"])["relu"], np.maximum(batch, 0))


def test_functions_are_put_in_where_they_are_called():
    """As torch.onnx.export(..., export_modules_as_functions=True) wrote, and libraries do."""
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    half = [
        node("Constant", [], ["h"], value_float=0.5),
        node("Mul", ["a", "h"], ["b"]),
    ]
    twice = [node("Half", ["a"], ["m"], domain="own"), node("Half", ["m"], ["b"], domain="own")]
    made = model(
        [
            node("Conv", ["x", "k"], ["c"], name="conv"),
            node("Quarter", ["c"], ["q"], name="quarter", domain="own"),
            node("Relu", ["q"], ["y"], name="relu"),
        ],
        [value("x", ["N", 2, 6, 6])],
        ["y"],
        {"k": floats(3, 2, 3, 3)},
    )
    made.opset_import.append(imports[1])
    made.functions.append(helper.make_function("own", "Half", ["a"], ["b"], half, imports))
    made.functions.append(helper.make_function("own", "Quarter", ["a"], ["b"], twice, imports))
    network = opened(made)
    assert [layer.kind for layer in network.layers] == ["Input", "Conv", "Mul", "Mul", "Relu"]
    batch = floats(2, 6, 6, 2)
    found = network.run(batch, ["conv", "relu"])
    np.testing.assert_allclose(found["relu"], np.maximum(found["conv"], 0) / 4, atol=1e-6)
    expected = plainly(made, {"x": np.ascontiguousarray(np.moveaxis(batch, -1, 1))}, ["y"])["y"]
    np.testing.assert_allclose(found["relu"], np.moveaxis(expected, 1, -1), atol=1e-6)
    made.functions[0].opset_import[0].version = 17
    with pytest.raises(UnsupportedLayer, match=r"Function 'Half' .* operator set 17, the model of 18"):
        opened(made)


def test_layers_whose_first_axis_is_not_the_batch():
    data = chain(
        [after("Transpose", perm=[1, 0, 2], name="t"), after("ReduceMax", axes=[0], keepdims=0, name="m")],
        shape=("N", 5, 3),
        opset=13,
    )
    batch = floats(4, 5, 3)
    network = opened(data)
    # Run a picture at a time, all of it is that picture's; behind it others can be run together.
    assert network.layer("t").shape == (5, 1, 3)
    assert network.layer("m").shape == (3,)
    found = network.run(batch, ["t", "m"])
    np.testing.assert_array_equal(found["t"], batch[:, :, np.newaxis])
    np.testing.assert_array_equal(found["m"], batch.max(axis=1))


def test_layers_whose_first_axis_is_not_the_batch_where_that_is_fixed():
    """Two pictures are always run together, and which row is whose cannot be said."""
    data = chain(
        [
            after("Reshape", "s", name="mixed"),
            after("Transpose", perm=[1, 0, 2], name="t"),
            after("ReduceMax", axes=[0], keepdims=0, name="m"),
        ],
        {"s": np.array([2, 5, 3])},
        shape=(2, 5, 3),
        opset=13,
    )
    network = opened(data)
    assert "the first axis of its output, [5, 2, 3], is not the batch" in network.layer("t").problem
    batch = floats(3, 5, 3)
    np.testing.assert_array_equal(network.run(batch, ["m"])["m"], batch.max(axis=1))


def test_layers_that_hold_nothing():
    data = chain(
        [after("Slice", "s", "s", "a", name="none"), after("Relu", name="relu")],
        {"s": np.array([2]), "a": np.array([2])},
    )
    network = opened(data)
    assert network.layer("none").problem == "its output is empty: [1, 2, 0, 12]."
    assert fs.select(network, "all") == ("x",)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (TensorProto.STRING, "is of type object"),
        (TensorProto.BOOL, "is of type bool"),
        (TensorProto.BFLOAT16, "is of type bfloat16"),
    ],
)
def test_inputs_that_are_no_numbers(kind, message):
    made = model([node("Identity", ["x"], ["y"])], [value("x", ["N", 2], kind)], [value("y", None, kind)])
    with pytest.raises(UnsupportedLayer, match=f"Input 'x' {message}"):
        opened(made)


@pytest.mark.parametrize("what", ["no input", "no rank", "no batch", "a sequence"])
def test_inputs_that_are_no_pictures(what):
    given = {
        "no input": [],
        "no rank": [value("x")],
        "no batch": [value("x", [])],
        "a sequence": [helper.make_tensor_sequence_value_info("x", 1, None)],
    }[what]
    nodes = [node("Relu", ["w" if what == "no input" else "x"], ["y"])]
    with pytest.raises(UnsupportedLayer, match=r"takes no input|no tensor of known rank|no batch axis"):
        opened(model(nodes, given, ["y"], {"w": floats(2, 2)}))


@pytest.mark.parametrize("kind", [TensorProto.BFLOAT16, TensorProto.FLOAT8E4M3FN, TensorProto.INT4])
def test_weights_of_types_that_are_not_shown(kind):
    made = model(
        [node("Cast", ["w"], ["v"], to=1), node("Add", ["x", "v"], ["y"])],
        [value("x", ["N", 2])],
        ["y"],
        opset=21,
        ir_version=10,
    )
    made.graph.initializer.append(helper.make_tensor("w", kind, [2], [1.0, 2.0]))
    with pytest.raises(UnsupportedLayer, match=r"Weight 'w' is of type .*, which is not shown"):
        opened(made)


def test_non_finite_weights_are_noted():
    kernel = floats(4, 2, 3, 3)
    kernel[1, 0, 0, 0] = np.nan
    large = np.full((4, 4), 3e38, np.float32)
    made = chain(
        [after("Conv", "k"), after("GlobalAveragePool"), after("Flatten"), after("Gemm", "w")],
        {"k": kernel, "w": large},
    )
    # Not the large ones: only their sum is infinite.
    assert opened(made).provenance.notes == ("NaN or infinite weights in k",)


def test_who_wrote_it_and_what_it_is_called(tmp_path):
    path = tmp_path / "my network.onnx"
    made = model([node("Relu", ["x"], ["y"])], [value("x", ["N", 2, 4, 4])], ["y"], name="")
    made.producer_name, made.producer_version = "pytorch", "2.3"
    path.write_bytes(made.SerializeToString())
    network = fs.open_network(path)
    assert network.name == "my network"
    origin = network.provenance
    assert (origin.path, origin.format, origin.writer, origin.backend) == (
        str(path),
        "onnx",
        "pytorch 2.3",
        None,
    )
    assert origin.size == path.stat().st_size
    assert fs.open_network(path.read_bytes()).name == "network"
    made.graph.name, made.producer_version = "classifier", ""
    named = opened(made)
    assert (named.name, named.provenance.writer, named.provenance.path) == ("classifier", "pytorch", None)
