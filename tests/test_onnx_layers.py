"""Nodes of ONNX graphs grouped into layers and named as whoever made the network knows them.

Names are those that the exporters write; values are compared with plain onnxruntime.
"""

import math

import numpy as np
import pytest
from onnx import helper

import fluoroscope as fs
from onnx_models import floats, model, node, plainly, value

PICTURE = [value("x", ["N", 3, 12, 10])]
K = {"k": floats(4, 3, 3, 3), "b": floats(4), "g": floats(4, low=0.5), "v": floats(1, 4, 1, 1)}


def opened(nodes, outputs, weights=None, *, inputs=PICTURE, **options):
    made = model(nodes, inputs, outputs, K if weights is None else weights, named=False, **options)
    return fs.open_network(made.SerializeToString()), made


def table(network):
    """Name, kind and activation of each layer but the inputs."""
    return [(layer.name, layer.kind, layer.activation) for layer in network.layers if layer.kind != "Input"]


def agrees(network, made):
    """Each layer, and what comes before its activation, is what plain onnxruntime makes of the tensor."""
    batch = floats(2, *network.inputs[0].shape)
    rows = [row for row in network._rows.values() if row.tensor is not None]
    tensors = {row.layer.name: (row.tensor, row.channel_axis) for row in rows}
    tensors |= {f"{row.layer.name}:pre": (row.pre, row.channel_axis) for row in rows if row.pre}
    found = network.run(batch, list(tensors))
    fed = np.moveaxis(batch, -1, network._graph.inputs[0].channel_axis)
    expected = plainly(made, {"x": np.ascontiguousarray(fed)}, [name for name, _ in tensors.values()])
    for name, (tensor, axis) in tensors.items():
        np.testing.assert_allclose(found[name], np.moveaxis(expected[tensor], axis, -1), atol=1e-5)
    return found


# Dialects.


def torch_script():
    """As torch.onnx.export(dynamo=False) writes: a batch normalization is folded, a ReLU is a module."""
    block = "/layer1/layer1.0"
    return [
        node(
            "Conv",
            ["x", "onnx::Conv_193", "onnx::Conv_194"],
            [f"{block}/conv1/Conv_output_0"],
            f"{block}/conv1/Conv",
        ),
        node("Relu", [f"{block}/conv1/Conv_output_0"], ["r"], f"{block}/relu/Relu"),
        node("Sigmoid", ["r"], ["s"], f"{block}/act/Sigmoid"),
        node("Mul", ["r", "s"], ["m"], f"{block}/act/Mul"),
        node("Add", ["m", "r"], ["a"], f"{block}/Add"),
        node("Relu", ["a"], ["r1"], f"{block}/relu_1/Relu"),
        node("GlobalAveragePool", ["r1"], ["p"], "/avgpool/GlobalAveragePool"),
        node("Flatten", ["p"], ["f"], "/Flatten"),
        node("MatMul", ["f", "onnx::MatMul_219"], ["d"], "/head/fc/MatMul"),
        node("Add", ["head.fc.bias", "d"], ["e"], "/head/fc/Add"),
    ]


def test_scopes_of_torch_script():
    weights = {
        "onnx::Conv_193": K["k"],
        "onnx::Conv_194": K["b"],
        "onnx::MatMul_219": floats(4, 5),
        "head.fc.bias": floats(5),
    }
    network, made = opened(torch_script(), ["e"], weights)
    assert table(network) == [
        ("layer1.0.conv1", "Conv", None),
        ("layer1.0.relu", "Relu", None),
        ("layer1.0.act", "Swish", None),
        ("layer1.0.Add", "Add", None),
        ("layer1.0.relu_1", "Relu", None),
        ("avgpool", "GlobalAveragePool", None),
        ("head.fc", "MatMul", None),
    ]
    assert network.layer("head.fc").inputs == ("avgpool",)
    assert network.layer("head.fc").parameters == 25
    assert network.outputs == ("head.fc",)
    assert fs.select(network, "conv,pool") == ("layer1.0.conv1", "avgpool")
    agrees(network, made)


def exported(operator, inputs, output, scopes, rule=""):
    """A node as torch.export writes it: `scopes` are those of its modules, and the name of the function."""
    made = node(operator, inputs, [output], f"node_{output}")
    entries = {"pkg.torch.onnx.name_scopes": str(["", *scopes]), "pkg.onnxscript.rewriter.rule_name": rule}
    for key, content in entries.items():
        made.metadata_props.add(key=key, value=content)
    return made


def test_scopes_of_torch_export():
    block = ["layer1", "layer1.0"]
    nodes = [
        exported(
            "Conv",
            ["x", "layer1.0.conv1.weight", "layer1.0.conv1.weight_bias"],
            "getitem_3",
            [*block, "layer1.0.bn1", "_native_batch_norm"],
            "FuseBatchNormIntoConv, Other",
        ),
        exported("Relu", ["getitem_3"], "relu_1", [*block, "layer1.0.relu", "relu_1"]),
        exported("Mul", ["relu_1", "half"], "val_1", [*block, "softly"]),
        exported("Add", ["val_1", "relu_1"], "softly", [*block, "softly"]),
        exported("Mul", ["softly", "half"], "mul", ["mul"]),
    ]
    weights = {"layer1.0.conv1.weight": K["k"], "layer1.0.conv1.weight_bias": K["b"], "half": np.float32(0.5)}
    network, made = opened(nodes, ["mul"], weights)
    assert table(network) == [
        ("layer1.0.conv1", "Conv", None),
        ("layer1.0.relu", "Relu", None),
        ("layer1.0.softly.Mul", "Mul", None),
        ("layer1.0.softly", "Add", None),
        ("mul", "Mul", None),
    ]
    agrees(network, made)


@pytest.mark.parametrize("prefix", ["model/", "StatefulPartitionedCall/model/", "a/b/"])
def test_scopes_of_tf2onnx(prefix):
    def named(operator, inputs, name, **attributes):
        return node(operator, inputs, [f"{prefix}{name}:0"], f"{prefix}{name}", **attributes)

    nodes = [
        named("Transpose", ["x"], "conv2d/Conv2D__6", perm=[0, 3, 1, 2]),
        named("Pad", [f"{prefix}conv2d/Conv2D__6:0", "pads"], "conv1_pad/Pad"),
        named("Conv", [f"{prefix}conv1_pad/Pad:0", "k"], "conv2d/Conv2D"),
        named("Add", [f"{prefix}conv2d/Conv2D:0", "v"], "conv2d/BiasAdd"),
        named("Relu", [f"{prefix}conv2d/BiasAdd:0"], "conv2d/Relu"),
        named("BatchNormalization", [f"{prefix}conv2d/Relu:0", "g", "g", "g", "g"], "bn/FusedBatchNormV3"),
        named("Relu", [f"{prefix}bn/FusedBatchNormV3:0"], "activation/Relu"),
        named("Transpose", [f"{prefix}activation/Relu:0"], "flatten/Reshape__9", perm=[0, 2, 3, 1]),
        named("Reshape", [f"{prefix}flatten/Reshape__9:0", "flat"], "flatten/Reshape"),
        named("MatMul", [f"{prefix}flatten/Reshape:0", "w"], "sub/dense/MatMul"),
        named("Add", [f"{prefix}sub/dense/MatMul:0", "c"], "sub/dense/BiasAdd"),
        named("Softmax", [f"{prefix}sub/dense/BiasAdd:0"], "sub/dense/Softmax"),
        node("Identity", [f"{prefix}sub/dense/Softmax:0"], ["dense"], "dense__1"),
    ]
    weights = K | {
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "flat": np.array([-1, 12 * 10 * 4]),
        "w": floats(12 * 10 * 4, 3, low=-0.1, high=0.1),
        "c": floats(3),
    }
    network, made = opened(nodes, ["dense"], weights, inputs=[value("x", ["N", 12, 10, 3])])
    assert table(network) == [
        ("conv1_pad", "Pad", None),
        ("conv2d", "Conv", "relu"),
        ("bn", "BatchNormalization", None),
        ("activation", "Relu", None),
        ("flatten", "Reshape", None),
        ("sub/dense", "MatMul", "softmax"),
    ]
    assert [layer.parameters for layer in network.layers] == [0, 0, 112, 4, 0, 0, 1443]
    assert network.layer("conv1_pad").inputs == ("x",)
    assert network.outputs == ("sub/dense",)
    found = agrees(network, made)
    assert found["conv2d:pre"].min() < 0 == found["conv2d"].min()


@pytest.mark.parametrize(
    ("kernel", "made", "called", "expected"),
    [
        ("542", "363", "", "Conv_363"),
        ("542", "363", "Conv_0", "Conv_0"),
        ("conv1.weight", "363", "Conv_0", "conv1"),
        ("gpu_0/res2_branch2a_w_0", "r1", "n0", "gpu_0/res2_branch2a"),
        ("conv2d_0.w_0", "conv2d_450.tmp_0", "p2o.Conv.0", "conv2d_0"),
        ("conv1_weights", "conv2d_53.tmp_0", "Conv@0", "conv1"),
        ("conv1/kernel:0", "y", "", "conv1"),
        ("k", "conv2d_450.tmp_0", "", "conv2d_450"),
        ("k", "res1", "", "res1"),
        ("k", "res1", "conv1", "conv1"),
        ("k", "res1", "conv", "conv"),
        ("vgg0_conv0_weight", "vgg0_conv0_fwd", "vgg0_conv0_fwd", "vgg0_conv0_fwd"),
    ],
)
def test_names_without_scopes(kernel, made, called, expected):
    network, _ = opened([node("Conv", ["x", kernel], [made], called)], [made], {kernel: K["k"]})
    assert [layer.name for layer in network.layers] == ["x", expected]


def test_a_weight_that_several_layers_use_names_none():
    nodes = [
        node("Conv", ["x", "a.weight"], ["1"]),
        node("Conv", ["x", "a.weight"], ["2"]),
        node("Sum", ["1", "2"], ["3"]),
    ]
    network, _ = opened(nodes, ["3"], {"a.weight": K["k"]})
    assert [layer.name for layer in network.layers] == ["x", "Conv_1", "Conv_2", "Sum_3"]
    assert [layer.parameters for layer in network.layers] == [0, 108, 0, 0]


# What joins a layer, and what does not.


def conv(*rest, named=""):
    return [node("Conv", ["x", "k"], ["c"], named), *rest]


@pytest.mark.parametrize(
    ("nodes", "outputs", "expected"),
    [
        ("relu", "r", [("Conv_1", "Conv", "relu")]),
        ("bias relu", "r", [("Conv_1", "Conv", "relu")]),
        ("bn relu", "r", [("Conv_1", "Conv", None), ("BatchNormalization_2", "BatchNormalization", "relu")]),
        ("bn scale shift relu", "r",
         [("Conv_1", "Conv", None), ("BatchNormalization_2", "BatchNormalization", "relu")]),
        ("scale relu", "r", [("Conv_1", "Conv", None), ("Mul_4", "Mul", None), ("Relu_3", "Relu", None)]),
        ("sum relu", "r", [("Conv_1", "Conv", None), ("Add_6", "Add", "relu")]),
        ("pool relu", "r",
         [("Conv_1", "Conv", None), ("MaxPool_7", "MaxPool", None), ("Relu_3", "Relu", None)]),
        ("relu", "1 r", [("Conv_1", "Conv", None), ("Relu_3", "Relu", None)]),
        ("named", "r", [("Conv_1", "Conv", None), ("act", "Relu", None)]),
        ("relu relu6", "8", [("Conv_1", "Conv", "relu6")]),
        ("relu6", "8", [("Conv_1", "Conv", "relu6")]),
        ("clip", "9", [("Conv_1", "Conv", "clip")]),
    ],
)  # fmt: skip
def test_what_joins(nodes, outputs, expected):
    parts = {
        "relu": ("Relu", [], "3", {}),
        "named": ("Relu", [], "3", {"name": "act"}),
        "bias": ("Add", ["v"], "10", {}),
        "bn": ("BatchNormalization", ["g", "g", "g", "g"], "2", {}),
        "scale": ("Mul", ["v"], "4", {}),
        "shift": ("Add", ["v"], "5", {}),
        "sum": ("Add", ["1"], "6", {}),
        "pool": ("MaxPool", [], "7", {"kernel_shape": [2, 2]}),
        "relu6": ("Clip", ["zero", "six"], "8", {}),
        "clip": ("Clip", ["zero", "one"], "9", {}),
    }
    made, last = [node("Conv", ["x", "k"], ["1"])], "1"
    for part in nodes.split():
        operator, more, output, attributes = parts[part]
        made.append(node(operator, [last, *more], [output], **attributes))
        last = output
    outputs = [last if name == "r" else name for name in outputs.split()]
    bounds = {"zero": np.float32(0), "one": np.float32(1), "six": np.float32(6)}
    network, graph = opened(made, outputs, K | bounds)
    assert table(network) == expected
    found = agrees(network, graph)
    for name, _, activation in expected:
        assert network.layer(name).has_pre == (activation is not None) == (f"{name}:pre" in found)


def test_a_value_that_others_take_before_the_activation_keeps_its_row():
    nodes = conv(node("Relu", ["c"], ["1"]), node("Sum", ["1", "c"], ["y"]))
    network, made = opened(nodes, ["y"])
    assert [layer.name for layer in network.layers] == ["x", "c", "Relu_1", "y"]
    agrees(network, made)


def test_what_is_multiplied_with_the_picture_is_no_dense_layer():
    """The softmax of attention is a layer: its maps are what one wants to see."""
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]),
        node("MatMul", ["x", "t"], ["1"]),
        node("Softmax", ["1"], ["2"], axis=-1),
        node("MatMul", ["2", "x"], ["3"]),
    ]
    network, made = opened(nodes, ["3"], {})
    assert table(network) == [
        ("MatMul_1", "MatMul", None),
        ("Softmax_2", "Softmax", None),
        ("MatMul_3", "MatMul", None),
    ]
    # A map for each head.
    assert [layer.shape for layer in network.layers[1:]] == [(12, 12, 3), (12, 12, 3), (12, 10, 3)]
    agrees(network, made)


def test_what_only_moves_values_is_no_layer_but_an_output_is():
    nodes = [
        node("Identity", ["x"], ["i"]),
        node("Cast", ["i"], ["f"], to=1),
        node("Conv", ["f", "k"], ["c"], "conv"),
        node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]),
        node("Slice", ["t", "one", "two", "one"], ["s"]),
        node("Squeeze", ["s", "one"], ["q"]),
        node("Dropout", ["q"], ["d"]),
        node("Unsqueeze", ["d", "one"], ["u"]),
        node("Abs", ["u"], ["a"], "abs"),
        node("Reshape", ["a", "flat"], ["y"]),
        node("Identity", ["a"], ["z"]),
    ]
    weights = K | {"one": np.array([1]), "two": np.array([2]), "flat": np.array([-1, 32])}
    network, made = opened(nodes, ["y", "z"], weights)
    assert table(network) == [("conv", "Conv", None), ("abs", "Abs", None), ("y", "Reshape", None)]
    assert network.outputs == ("y", "abs")
    assert network.layer("abs").inputs == ("conv",)
    agrees(network, made)


@pytest.mark.parametrize("named", [False, True])
def test_padding_before_a_window(named):
    nodes = [
        node("Pad", ["x", "pads"], ["p"], "conv1_pad" if named else ""),
        node("Conv", ["p", "k"], ["c"], "conv1"),
        node("Pad", ["c", "pads"], ["q"]),
        node("Abs", ["q"], ["a"], "abs"),
    ]
    network, made = opened(nodes, ["a"], K | {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])})
    names = [layer.name for layer in network.layers]
    # Before what is no window padding is something to see.
    assert names == ["x", *(["conv1_pad"] if named else []), "conv1", "q", "abs"]
    assert network.layer("conv1").receptive_field.offset == (-1, -1)
    agrees(network, made)


# Activations and normalizations that are written out.


def spelled(*steps, last="y"):
    """Nodes of a chain: ``(operator, inputs...)``; inputs are numbers, ``c`` or those before, by place."""
    nodes, weights = [], {}
    for place, (operator, *inputs) in enumerate(steps):
        names = []
        for entry in inputs:
            if isinstance(entry, float):
                names.append(f"number {entry}")
                weights[names[-1]] = np.float32(entry)
            else:
                names.append(entry)
        nodes.append(node(operator, names, [last if place == len(steps) - 1 else f"{place}"]))
    return nodes, weights


SPELLED = {
    "silu": [("Sigmoid", "c"), ("Mul", "c", "0")],
    "silu turned": [("Sigmoid", "c"), ("Mul", "0", "c")],
    "quick_gelu": [("Mul", "c", 1.702), ("Sigmoid", "0"), ("Mul", "c", "1")],
    "hard_swish": [("HardSigmoid", "c"), ("Mul", "c", "0")],
    "hard_swish of a clip": [
        ("Add", "c", 3.0), ("Clip", "0", 0.0, 6.0), ("Mul", "c", "1"), ("Div", "2", 6.0)],
    "hard_swish of a relu": [
        ("Add", "c", 3.0), ("Relu", "0"), ("Min", "1", 6.0), ("Div", "2", 6.0), ("Mul", "3", "c"),
    ],
    "hard_sigmoid": [("Mul", "c", 1 / 6), ("Add", "0", 0.5), ("Clip", "1", 0.0, 1.0)],
    "mish": [("Softplus", "c"), ("Tanh", "0"), ("Mul", "c", "1")],
    "mish of a logarithm": [("Exp", "c"), ("Add", "0", 1.0), ("Log", "1"), ("Tanh", "2"), ("Mul", "c", "3")],
    "gelu halved first": [
        ("Mul", "c", 0.5), ("Mul", "c", math.sqrt(0.5)), ("Erf", "1"), ("Add", "2", 1.0),
        ("Mul", "0", "3"),
    ],
    "gelu_tanh": [
        ("Pow", "c", 3.0), ("Mul", "0", 0.044715), ("Add", "c", "1"), ("Mul", "2", math.sqrt(2 / math.pi)),
        ("Tanh", "3"), ("Add", "4", 1.0), ("Mul", "c", 0.5), ("Mul", "6", "5"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLED)
def test_activations_that_are_written_out(name):
    nodes, weights = spelled(*SPELLED[name])
    if name == "hard_swish":
        nodes[0].attribute.append(helper.make_attribute("alpha", 1 / 6))
    network, made = opened(conv(*nodes), ["y"], K | weights)
    assert table(network) == [("c", "Conv", name.split()[0])]
    assert network.layer("c").parameters == 108
    agrees(network, made)


@pytest.mark.parametrize("named", ["", "act"])
def test_an_activation_that_is_written_out_alone(named):
    nodes = [node("Sigmoid", ["x"], ["1"]), node("Mul", ["x", "1"], ["2"], named)]
    network, made = opened(nodes, ["2"])
    assert table(network) == [(named or "Mul_2", "Swish", None)]
    agrees(network, made)


@pytest.mark.parametrize(
    "nodes",
    [
        [("Sigmoid", "c"), ("Mul", "c", "0"), ("Add", "0", "1")],
        [("Sigmoid", "c"), ("Mul", "x2", "0")],
        [("Mul", "c", 1.5), ("Sigmoid", "0"), ("Mul", "c", "1")],
        [("Sigmoid", "c"), ("Mul", "0", "0")],
    ],
)
def test_what_is_no_known_activation_stays_as_it_is(nodes):
    """The sigmoid has another taker; its other factor is something else; it is none that is known."""
    parts, weights = spelled(*nodes)
    first = conv(node("Conv", ["x", "k"], ["x2"]), *parts)
    network, made = opened(first, ["y"], K | weights)
    assert {layer.activation for layer in network.layers} <= {None, "sigmoid"}
    assert {layer.kind for layer in network.layers} <= {"Input", *(one.op_type for one in first)}
    agrees(network, made)


@pytest.mark.parametrize("square", ["Pow", "Mul"])
def test_layer_normalization_that_is_written_out(square):
    nodes = [
        node("ReduceMean", ["x"], ["1"], axes=[-1]),
        node("Sub", ["x", "1"], ["2"]),
        node(square, ["2", "two" if square == "Pow" else "2"], ["3"]),
        node("ReduceMean", ["3"], ["4"], axes=[-1]),
        node("Add", ["4", "eps"], ["5"]),
        node("Sqrt", ["5"], ["6"]),
        node("Div", ["2", "6"], ["7"]),
        node("Mul", ["7", "gamma"], ["8"]),
        node("Add", ["8", "beta"], ["9"]),
    ]
    weights = {"two": np.float32(2), "eps": np.float32(1e-5), "gamma": floats(10), "beta": floats(10)}
    network, made = opened(nodes, ["9"], weights, opset=13)
    assert table(network) == [("Div_7", "LayerNormalization", None)]
    assert network.layers[1].parameters == 20
    assert network.layers[1].family == "normalization"
    agrees(network, made)


# Quantized.


def quantizer():
    return {
        "xs": np.float32(0.02), "xz": np.uint8(120), "ys": np.float32(0.05), "yz": np.uint8(100),
        "w": np.arange(-54, 54).astype(np.int8).reshape(4, 3, 3, 3),
        "ws": np.array([0.01, 0.02, 0.03, 0.04], np.float32),
        "wz": np.zeros(4, np.int8), "one": np.float32(0.01), "zero": np.int8(0),
    }  # fmt: skip


def test_quantize_and_dequantize_show_what_those_behind_get():
    nodes = [
        node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        node("DequantizeLinear", ["q", "xs", "xz"], ["d"]),
        node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        node("Conv", ["d", "wd"], ["c"], "conv"),
        node("Relu", ["c"], ["r"]),
        node("QuantizeLinear", ["r", "ys", "yz"], ["rq"]),
        node("DequantizeLinear", ["rq", "ys", "yz"], ["rd1"]),
        node("DequantizeLinear", ["rq", "ys", "yz"], ["rd2"]),
        node("MaxPool", ["rd1"], ["p"], "pool", kernel_shape=[2, 2]),
        node("Add", ["rd2", "rd2"], ["y"], "twice"),
    ]
    network, made = opened(nodes, ["p", "y"], quantizer())
    assert table(network) == [("conv", "Conv", "relu"), ("pool", "MaxPool", None), ("twice", "Add", None)]
    assert network.layer("conv").parameters == 108
    found = agrees(network, made)
    steps = found["conv"] / 0.05
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
    assert np.abs(found["conv:pre"] / 0.05 - np.round(found["conv:pre"] / 0.05)).max() > 0.1


def test_convolutions_of_whole_numbers_are_shown_as_the_numbers_they_mean():
    nodes = [
        node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        node("QLinearConv", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["c"], "conv"),
        node("MaxPool", ["c"], ["p"], "pool", kernel_shape=[2, 2]),
        node("QLinearConv", ["p", "ys", "yz", "w2", "one", "zero", "xs", "xz"], ["e"], "conv2"),
        node("DequantizeLinear", ["e", "xs", "xz"], ["y"]),
    ]
    weights = quantizer() | {"w2": np.ones((2, 4, 1, 1), np.int8)}
    network, made = opened(nodes, ["y"], weights)
    assert table(network) == [
        ("conv", "QLinearConv", None),
        ("pool", "MaxPool", None),
        ("conv2", "QLinearConv", None),
    ]
    assert network.outputs == ("conv2",)
    batch = floats(1, 12, 10, 3)
    found = network.run(batch, ["conv", "pool", "conv2"])
    raw = plainly(made, {"x": np.ascontiguousarray(np.moveaxis(batch, -1, 1))}, ["c", "p", "y"])
    for name, tensor in (("conv", "c"), ("pool", "p")):
        meant = (raw[tensor].astype(np.float32) - 100) * np.float32(0.05)
        np.testing.assert_allclose(found[name], np.moveaxis(meant, 1, -1), atol=1e-6)
    np.testing.assert_array_equal(found["conv2"], np.moveaxis(raw["y"], 1, -1))


def test_quantized_as_it_runs():
    """As onnxruntime's quantize_dynamic writes: scales are computed for each picture."""
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("ConvInteger", ["q", "w", "z"], ["i"], "conv_quant"),
        node("Cast", ["i"], ["f"], to=1),
        node("Mul", ["s", "one"], ["m"]),
        node("Mul", ["f", "m"], ["c"]),
        node("Add", ["c", "v"], ["d"]),
        node("Relu", ["d"], ["y"]),
    ]
    network, made = opened(nodes, ["y"], quantizer() | {"v": K["v"]})
    assert table(network) == [("conv_quant", "ConvInteger", "relu")]
    assert network.layer("conv_quant").family == "conv"
    agrees(network, made)
