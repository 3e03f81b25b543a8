"""Canonical Keras layers to ONNX: names, layouts, checks and refusals, on models made by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluoroscope.errors import (
    BudgetExceeded,
    DamagedFile,
    FluoroscopeError,
    UnsupportedLayer,
    UsageError,
    WeightMismatch,
)
from fluoroscope.formats.keras.arguments import Arguments, Place
from fluoroscope.formats.keras.model import KerasLayer, KerasModel, LayerCall
from fluoroscope.formats.keras.translate import translate, translation
from fluoroscope.formats.keras.translate.builder import GraphBuilder, Value
from fluoroscope.formats.keras.translate.functions import NAMED
from fluoroscope.formats.keras.translate.interpolation import INTERPOLATIONS, interpolation
from fluoroscope.formats.keras.translate.step import Step
from fluoroscope.formats.keras.translate.table import TABLE, LayerType
from fluoroscope.formats.keras.translate.windows import Window
from fluoroscope.network.onnx_network import OnnxNetwork
from fluoroscope.network.protocol import Provenance

PROVENANCE = Provenance(path=None, format="keras-hdf5", writer=None, backend=None, sha256="", size=0)


def layer(
    kind: str, name: str = "it", *, weights: Mapping[str, Any] | None = None, **config: Any
) -> KerasLayer:
    arrays = {
        key: array if isinstance(array, np.ndarray) else np.array(array, np.float32)
        for key, array in (weights or {}).items()
    }
    return KerasLayer(name=name, kind=kind, config=config, weights=arrays)


def model(
    *layers: KerasLayer | tuple[KerasLayer, Sequence[str]],
    shape: Sequence[int | None] = (4, 4, 1),
    version: tuple[int, int] = (3, 10),
) -> KerasModel:
    """Layers one behind the other, or each with the names of what it is called on."""
    first = layer("InputLayer", "input", batch_shape=[None, *shape])
    calls = [LayerCall(name="input", layer=first)]
    for entry in layers:
        own, sources = entry if isinstance(entry, tuple) else (entry, [calls[-1].name])
        count = sum(call.layer is own for call in calls)
        name = own.name if not count else f"{own.name}#{count + 1}"
        calls.append(LayerCall(name=name, layer=own, inputs=tuple((source, 0) for source in sources)))
    return KerasModel(
        name="net",
        calls=tuple(calls),
        inputs=("input",),
        outputs=((calls[-1].name, 0),),
        keras_version=version,
    )


def network(*layers: Any, **options: Any) -> OnnxNetwork:
    return OnnxNetwork(translate(model(*layers, **options)), PROVENANCE)


def conv(name: str = "it", *, inputs: int = 1, filters: int = 1, size: int = 1, **config: Any) -> KerasLayer:
    """A convolution whose every weight is 1 and whose bias is 0."""
    weights = {
        "kernel": np.ones((size, size, inputs, filters), np.float32),
        "bias": np.zeros(filters, np.float32),
    }
    return layer("Conv2D", name, weights=weights, filters=filters, kernel_size=[size, size], **config)


# Names, rows and layouts


def test_tensors_are_called_as_their_layers():
    graph = translate(
        model(conv("a", activation="relu"), layer("MaxPooling2D", "a/b"), layer("Dropout", "c"))
    )
    assert {row.layer.name: (row.tensor, row.pre) for row in graph.rows} == {
        "input": ("input", None),
        "a": ("a", "a:pre"),
        "a/b": ("a/b", None),
        "c": ("a/b", None),  # nothing happens in a dropout: it shares what it is given
    }
    assert [node.name for node in graph.nodes] == ["a/Conv", "a/Relu", "a/b/MaxPool"]
    assert set(graph.weights) == {"a/kernel", "a/bias"}


def test_names_that_collide_with_generated_ones_stay_the_layers():
    clash = [conv("a", activation="relu"), conv("a/Conv"), conv("a/kernel"), layer("ReLU", "a:pre")]
    graph = translate(model(*clash))
    tensors = [row.tensor for row in graph.rows]
    assert tensors == ["input", "a", "a/Conv", "a/kernel", "a:pre"]
    assert graph.rows[1].pre not in tensors
    made = [name for node in graph.nodes for name in node.output] + list(graph.weights)
    assert len(made) == len(set(made))


def test_a_row_says_what_keras_says():
    batch = layer(
        "BatchNormalization",
        "bn",
        weights={name: np.ones(2) for name in ("gamma", "beta", "moving_mean", "moving_variance")},
    )
    rows = network(conv("c", filters=2, activation="linear"), batch).layers
    assert [(row.name, row.kind, row.family, row.shape, row.parameters, row.trainable) for row in rows] == [
        ("input", "InputLayer", "input", (4, 4, 1), 0, 0),
        ("c", "Conv2D", "conv", (4, 4, 2), 4, 4),
        ("bn", "BatchNormalization", "normalization", (4, 4, 2), 8, 4),
    ]
    assert rows[1].activation is None
    assert not rows[1].has_pre
    assert rows[2].inputs == ("c",)


def test_a_frozen_layer_trains_nothing():
    frozen = KerasLayer(
        name="d", kind="Dense", config={"units": 1, "use_bias": False}, weights={"kernel": np.ones((3, 1))},
        trainable=False,
    )  # fmt: skip
    (_, row) = network(frozen, shape=[3]).layers
    assert (row.parameters, row.trainable) == (3, 0)


def test_a_shared_layer_counts_once_and_is_kept_once():
    tower = conv("tower")
    graph = translate(model(tower, (tower, ["input"]), (layer("Add", "sum"), ["tower", "tower#2"])))
    assert [row.layer.parameters for row in graph.rows] == [0, 2, 0, 0]
    assert sorted(graph.weights) == ["tower/bias", "tower/kernel"]


def test_convolutions_need_no_transposes_between_them():
    graph = translate(
        model(
            conv("a"),
            layer("MaxPooling2D", "b"),
            (layer("Concatenate", "c"), ["b", "b"]),
            conv("d", inputs=2),
            layer("Flatten", "e"),
            layer("Activation", "f", activation="tanh"),
        )
    )
    assert [node.op_type for node in graph.nodes] == [
        "Conv",
        "MaxPool",
        "Concat",
        "Conv",
        "Transpose",
        "Flatten",
        "Tanh",
    ]


def test_one_transpose_serves_every_reader():
    dense = {"kernel": np.ones((1, 2)), "bias": np.ones(2)}
    graph = translate(
        model(
            (layer("Dense", "a", weights=dense, units=2), ["input"]),
            (layer("Dense", "b", weights=dense, units=2), ["input"]),
        )
    )
    assert sum(node.op_type == "Transpose" for node in graph.nodes) == 1


def test_channels_first_models_are_shown_channels_last():
    first = {"data_format": "channels_first"}
    net = network(
        layer("Rescaling", "scale", scale=2.0),
        layer("ZeroPadding2D", "pad", padding=[[0, 0], [0, 1]], **first),
        layer("Flatten", "flat", **first),
        shape=(3, 4, 5),
    )
    assert [row.shape for row in net.layers] == [(4, 5, 3), (4, 5, 3), (4, 6, 3), (72,)]
    assert net.inputs[0].shape == (4, 5, 3)
    picture = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    out = net.run(picture, ["scale", "pad", "flat"])
    np.testing.assert_array_equal(out["scale"], 2 * picture)
    np.testing.assert_array_equal(out["pad"][:, :, :5], 2 * picture)
    np.testing.assert_array_equal(out["flat"], out["pad"].reshape(2, -1))


def test_a_permute_before_convolutions_says_where_the_channels_are():
    net = network(
        layer("Permute", "turn", dims=[2, 3, 1]),
        conv("c", inputs=3, data_format="channels_last"),
        shape=(3, 4, 5),
    )
    assert [row.shape for row in net.layers] == [(4, 5, 3), (4, 5, 3), (4, 5, 1)]
    picture = np.random.default_rng(0).normal(size=(1, 4, 5, 3)).astype(np.float32)
    out = net.run(picture, ["input", "turn", "c"])
    np.testing.assert_array_equal(out["turn"], picture)
    np.testing.assert_allclose(out["c"][..., 0], picture.sum(-1), rtol=1e-6, atol=1e-6)


def test_a_reshape_before_channels_first_layers_says_where_the_channels_are():
    pad = layer("ZeroPadding2D", "pad", padding=1, data_format="channels_first")
    net = network(layer("Reshape", "fold", target_shape=[3, 4, 5]), pad, shape=[60])
    assert [row.shape for row in net.layers] == [(60,), (4, 5, 3), (6, 7, 3)]
    values = np.arange(60, dtype=np.float32)[None]
    expected = np.moveaxis(values.reshape(1, 3, 4, 5), 1, -1)
    np.testing.assert_array_equal(net.run(values, ["fold"])["fold"], expected)


def test_values_of_fewer_axes_are_broadcast_behind_the_batch():
    gate = layer("GlobalMaxPooling2D", "gate")
    net = network(gate, (layer("Multiply", "out"), ["input", "gate"]), shape=(2, 2, 3))
    picture = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)
    np.testing.assert_array_equal(net.run(picture, ["out"])["out"], picture * [9, 10, 11])


# Layers by hand


@pytest.mark.parametrize(
    ("padding", "stride", "sums"),
    [
        ("valid", 1, [[4, 4], [4, 4]]),
        ("same", 1, [[4, 4, 2], [4, 4, 2], [2, 2, 1]]),  # the odd pixel of padding comes behind
        ("same", 2, [[4, 2], [2, 1]]),
        ("valid", 2, [[4]]),
    ],
)
def test_padding_of_an_even_kernel(padding: str, stride: int, sums: list[list[int]]):
    net = network(conv(size=2, padding=padding, strides=[stride, stride]), shape=(3, 3, 1))
    np.testing.assert_array_equal(net.run(np.ones((1, 3, 3, 1), np.float32), ["it"])["it"][0, ..., 0], sums)


def test_the_mean_does_not_count_padding():
    net = network(layer("AveragePooling2D", padding="same", strides=1), shape=(2, 2, 1))
    picture = np.array([[1, 3], [5, 7]], np.float32)[None, ..., None]
    np.testing.assert_array_equal(net.run(picture, ["it"])["it"][0, ..., 0], [[4, 5], [6, 7]])


def test_the_value_before_an_activation():
    net = network(
        layer("Dense", weights={"kernel": [[1, -1]], "bias": [0, 0]}, units=2, activation="relu"), shape=[1]
    )
    out = net.run(np.array([[2]], np.float32), ["it", "it:pre"])
    np.testing.assert_array_equal(out["it"], [[2, 0]])
    np.testing.assert_array_equal(out["it:pre"], [[2, -2]])


def test_public_functions_are_those_of_torch():
    import torch

    x = np.linspace(-6, 6, 97, dtype=np.float32)
    given = torch.from_numpy(x)
    wanted = {
        "gelu": torch.nn.functional.gelu(given),
        "gelu_tanh": torch.nn.functional.gelu(given, approximate="tanh"),
        "quick_gelu": given * torch.sigmoid(1.702 * given),
        "lisht": given * torch.tanh(given),
        "mish": torch.nn.functional.mish(given),
        "hard_silu": torch.nn.functional.hardswish(given),
        "abs": given.abs(),
        "cos": given.cos(),
        "erf": given.erf(),
        "sin": given.sin(),
        "sqrt": given.sqrt(),
        "square": given.square(),
    }
    calls = [(layer("Activation", name, activation=name), ["input"]) for name in wanted]
    found = network(*calls, shape=[97]).run(x[None], list(wanted))
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name][0], values.numpy(), rtol=1e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("hard_sigmoid", [0, 1 / 3, 0.5, 2 / 3, 1]),
        ("hard_sigmoid_keras2", [0, 0.3, 0.5, 0.7, 1]),
        ("relu6", [0, 0, 0, 1, 4]),
        ("hard_tanh", [-1, -1, 0, 1, 1]),
        ("sparse_plus", [0, 0, 0.25, 1, 4]),
    ],
)
def test_activations_by_hand(name: str, values: list[float]):
    net = network(layer("Activation", activation=name), shape=[5])
    x = np.array([[-4, -1, 0, 1, 4]], np.float32)
    np.testing.assert_allclose(net.run(x, ["it"])["it"], [values], atol=1e-6)
    assert net.layer("it").activation == name
    assert not net.layer("it").has_pre


def test_a_layer_with_options_as_activation():
    leaky = {"class_name": "LeakyReLU", "config": {"name": "leaky", "negative_slope": 0.1}}
    net = network(
        layer("Dense", weights={"kernel": [[1, -1]]}, units=2, use_bias=False, activation=leaky), shape=[1]
    )
    out = net.run(np.array([[2]], np.float32), ["it", "it:pre"])
    np.testing.assert_allclose(out["it"], [[2, -0.2]], rtol=1e-6)
    np.testing.assert_array_equal(out["it:pre"], [[2, -2]])
    assert net.layer("it").activation == "LeakyReLU"
    odd = {"class_name": "PReLU", "config": {}}
    (_, row) = network(layer("Activation", activation=odd)).layers
    assert "Layers that can be one are ELU, LeakyReLU, ReLU, Softmax" in str(row.problem)


def test_weights_of_sixteen_and_sixty_four_bits_are_widened_and_narrowed():
    for dtype in (np.float16, np.float64):
        weights = {"kernel": np.full((1, 1), 0.5, dtype), "bias": np.full(1, 0.25, dtype)}
        graph = translate(model(layer("Dense", weights=weights, units=1), shape=[1]))
        assert {array.dtype for array in graph.weights.values()} == {np.dtype(np.float32)}
        np.testing.assert_array_equal(graph.weights["it/kernel"], [[0.5]])
        assert weights["kernel"].dtype == dtype


# Windows: what TensorFlow's documentation says of "same", counted out


@given(
    size=st.integers(1, 30), kernel=st.integers(1, 6), stride=st.integers(1, 5), dilation=st.integers(1, 3)
)
def test_same_padding_counted_out(size: int, kernel: int, stride: int, dilation: int):
    window = Window(kernel=(kernel,), strides=(stride,), dilations=(dilation,), padding="same")
    (out,), attributes = window.over(None, (size,))  # type: ignore[arg-type]  # a step only serves refusals
    begin, end = attributes["pads"]
    assert out == -(-size // stride)
    # The last window ends where the padded picture does, unless the picture goes on beyond it by itself.
    last = (out - 1) * stride + (kernel - 1) * dilation + 1
    assert begin + end == max(last - size, 0)
    assert end - begin in (0, 1)


def test_receptive_fields_go_through_a_resizing():
    """Halved bilinearly, each pixel is made of two each way; a window of three of these spans six."""
    net = network(layer("Resizing", "half", height=5, width=7), conv("c", size=3), shape=(10, 14, 1))
    half, made = net.layer("half").receptive_field, net.layer("c").receptive_field
    assert half is not None
    assert (half.size, half.stride, half.offset) == ((2, 2), (2, 2), (0, 0))
    assert made is not None
    assert (made.size, made.stride, made.offset) == ((6, 6), (2, 2), (0, 0))


@pytest.mark.parametrize("method", ["nearest", "bicubic", "lanczos5", "area", "gaussian"])
@pytest.mark.parametrize(("size", "new"), [(40, 13), (9, 20), (200, 9)])
def test_receptive_fields_hold_every_pixel_that_is_looked_at(method: str, size: int, new: int):
    antialias = method not in ("nearest", "area")  # so that there are many taps
    made = layer("Resizing", height=new, width=1, interpolation=method, antialias=antialias)
    field = network(made, shape=(size, 1, 1)).layer("it").receptive_field
    assert field is not None
    begins = np.arange(new) * field.stride[0] + field.offset[0]
    taps = interpolation(size, new, method, antialias=antialias)
    used = taps.matrix(size) != 0
    for begin, row in zip(begins, used, strict=True):
        seen = np.flatnonzero(row)
        assert begin <= seen.min() + 1e-9
        assert seen.max() + 1 <= begin + field.size[0] + 1e-9


# Free sizes


def test_sizes_left_free_are_fixed_on_request():
    tower = model(conv("c", size=3, strides=[2, 2], padding="same"), shape=(None, None, 1))
    assert [row.layer.shape for row in translate(tower).rows] == [(None, None, 1), (None, None, 1)]
    assert [row.layer.shape for row in translate(tower, size=(7, 4)).rows] == [(7, 4, 1), (4, 2, 1)]
    picture = np.random.default_rng(0).normal(size=(1, 7, 4, 1)).astype(np.float32)
    free, fixed = (OnnxNetwork(translate(tower, size=size), PROVENANCE) for size in (None, (7, 4)))
    np.testing.assert_allclose(free.run(picture, ["c"])["c"], fixed.run(picture, ["c"])["c"], rtol=1e-6)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["conv", "MaxPooling2D", "AveragePooling2D"])
def test_padding_of_free_sizes_is_that_of_known_ones(kind: str, size: int, stride: int):
    """Where padding depends on the size, onnxruntime finds it when it runs, by the same rule."""
    made = (
        conv(size=size, strides=stride, padding="same")
        if kind == "conv"
        else layer(kind, pool_size=size, strides=stride, padding="same")
    )
    free = model(made, shape=(None, None, 1))
    open_size = OnnxNetwork(translate(free), PROVENANCE)
    if 1 < size < stride:
        assert "which depends on the picture's size" in str(open_size.layer("it").problem)
        return
    for sides in ((6, 7), (9, 5), (12, 8)):
        picture = np.random.default_rng(0).normal(size=(1, *sides, 1)).astype(np.float32)
        fixed = OnnxNetwork(translate(free, size=sides), PROVENANCE)
        np.testing.assert_allclose(
            open_size.run(picture, ["it"])["it"], fixed.run(picture, ["it"])["it"], rtol=1e-5, atol=1e-6
        )


def test_a_size_that_contradicts_the_file():
    with pytest.raises(UsageError, match=r"takes pictures of 4 x 4 \(None: any\), not of \(8, 8\)"):
        translate(model(conv()), size=(8, 8))
    with pytest.raises(UsageError, match="takes no pictures, so no height and width"):
        translate(model(layer("ReLU"), shape=[3]), size=(8, 8))
    with pytest.raises(UsageError, match=r"2 x 2 pixels are too few for 'net': .*window of 3 pixels"):
        translate(model(conv(size=3), shape=(None, None, 1)), size=(2, 2))
    with pytest.raises(UsageError, match="at least one pixel"):
        translate(model(conv(), shape=(None, None, 1)), size=(0, 2))


def test_what_needs_the_size_says_so_until_it_is_given():
    cropped = model(layer("CenterCrop", height=2, width=2), shape=(None, None, 1))
    (_, row) = translate(cropped).rows
    assert "which depends on the picture's size" in str(row.layer.problem)
    (_, row) = translate(cropped, size=(4, 4)).rows
    assert row.layer.problem is None
    assert row.layer.shape == (2, 2, 1)


# Layers that cannot be run


def test_a_layer_without_translation_leaves_the_others():
    odd = KerasLayer(
        name="odd",
        kind="Lambda",
        config={},
        weights={},
        problem="it holds Python bytecode, which is never run",
    )
    net = network(conv("a"), odd, layer("ReLU", "b"), (conv("c"), ["a"]), (layer("Add", "d"), ["b", "c"]))
    problems = {row.name: row.problem for row in net.layers if row.problem}
    assert list(problems) == ["odd", "b", "d"]
    assert (
        problems["odd"] == "Layer 'odd' (Lambda) cannot be run: it holds Python bytecode, which is never run"
    )
    assert all("Layer 'odd' (Lambda)" in text for text in problems.values())
    assert net.layer("b").shape == ()
    picture = np.ones((1, 4, 4, 1), np.float32)
    np.testing.assert_array_equal(net.run(picture, ["c"])["c"], picture)
    with pytest.raises(UnsupportedLayer, match=r"'b' cannot be run: .*Layer 'odd'"):
        net.run(picture, ["b"])


def test_a_layer_given_up_halfway_leaves_nothing_behind():
    graph = translate(model(conv("a"), conv("b", activation="threshold")))
    assert [node.name for node in graph.nodes] == ["a/Conv"]
    assert set(graph.weights) == {"a/kernel", "a/bias"}


def test_graphs_are_valid_onnx():
    """By ONNX's own checker, with its shape inference, so that a graph can be kept as a file."""
    from onnx import TensorProto, checker, helper, numpy_helper

    layers = [layer("Activation", f"activation {name}", activation=name) for name in NAMED]
    layers += [
        layer("Resizing", f"resizing {name}", height=5, width=9, interpolation=name)
        for name in INTERPOLATIONS
    ]
    layers += [
        layer("UpSampling2D", "up", size=2, interpolation="bicubic"),
        layer("ReLU", "relu", max_value=1, threshold=0.5, negative_slope=0.1),
        layer("LayerNormalization", "layer norm", axis=[1, 2], scale=False, center=False),
        layer("BatchNormalization", "norm", axis=2, scale=False, center=False,
              weights={"moving_mean": [1] * 6, "moving_variance": [1] * 6}),
        layer("PReLU", "prelu", weights={"alpha": np.ones((4, 6, 2), np.float32)}),
        layer("Softmax", "softmax", axis=[1, 3]),
        layer("GlobalMaxPooling2D", "pool"),
        layer("CenterCrop", "crop", height=2, width=3),
        layer("Reshape", "reshape", target_shape=[-1, 3]),
    ]  # fmt: skip
    graph = translate(model(*((own, ["input"]) for own in layers), shape=(4, 6, 2)))
    assert not [row.layer.problem for row in graph.rows if row.layer.problem]
    outputs = {
        row.tensor: [None] * (len(row.layer.shape) + 1) for row in graph.rows[1:] if row.tensor != "input"
    }
    proto = helper.make_graph(
        list(graph.nodes),
        graph.name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 2, 4, 6])],
        [
            helper.make_tensor_value_info(str(name), TensorProto.FLOAT, shape)
            for name, shape in outputs.items()
        ],
        [numpy_helper.from_array(array, name) for name, array in graph.weights.items()],
    )
    opsets = [helper.make_opsetid("", graph.opset)]
    checker.check_model(helper.make_model(proto, opset_imports=opsets, ir_version=8), full_check=True)


def test_a_window_on_too_many_axes_is_a_row_with_its_reason():
    (_, row) = network(layer("Conv1D", "it", filters=1, kernel_size=1)).layers
    assert "takes 2 axes and the batch here, not a shape of 4 x 4 x 1" in str(row.problem)


def test_a_kind_that_is_not_known():
    (_, row) = network(layer("Mystery", "m", weights={"w": [1, 2]})).layers
    assert row.problem == (
        "Layer 'm' (Mystery) has no translation; what comes before it can be shown. "
        "If it is like a layer that has one, say so: --replace m=KIND"
    )
    assert (row.family, row.parameters) == ("other", 2)


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        (
            "activation",
            "threshold",
            "has activation='threshold', which has no translation. Translated are abs, celu",
        ),
        ("magic", 3, "has magic=3, which has no translation. Nothing is known of this option"),
        ("padding", "full", "has padding='full', which has no translation. Translated are same, valid"),
        ("padding", "causal", "has padding='causal'"),
    ],
)
def test_an_option_without_translation_is_a_problem_of_its_row(option: str, value: Any, text: str):
    (_, row) = network(conv(**{option: value})).layers
    assert text in str(row.problem)
    assert str(row.problem).startswith("Layer 'it' (Conv2D)")


@pytest.mark.parametrize(
    "stray",
    [
        {
            "batch_input_shape": [None, 4, 4, 1],
            "kernel_initializer": {"class_name": "Zeros"},
            "dtype": "float32",
        },
        {"bias_constraint": {"class_name": "NonNeg"}, "activity_regularizer": {"l1": 1}, "seed": 7},
        {"something_switched_off": False, "something_unset": None, "something_empty": []},
    ],
)
def test_options_without_meaning_at_inference_are_ignored(stray: dict[str, Any]):
    assert network(conv(**stray)).layer("it").problem is None


# Files that contradict themselves


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (
            {"kernel": np.ones((1, 1, 1, 1), "f4")},
            "needs a variable 'bias' of shape 1; the file has kernel 1 x 1 x 1 x 1",
        ),
        ({}, "needs a variable 'kernel' of shape 1 x 1 x 1 x 1; the file has none"),
        (
            {"kernel": np.ones((1, 1, 2, 1), "f4"), "bias": np.ones(1, "f4")},
            "shape 1 x 1 x 2 x 1, expected 1 x 1 x 1 x 1",
        ),
        (
            {"kernel": np.ones((1, 1, 1, 1), "i8"), "bias": np.ones(1, "f4")},
            "'kernel' holds int64, expected float16",
        ),
        (
            {"kernel": np.ones((1, 1, 1, 1), "f4"), "bias": np.ones(1, "f4"), "scale": np.ones(2, "f4")},
            r"has a variable 'scale' of shape \(2,\) that its options have no use for",
        ),
    ],
)
def test_every_variable_is_checked(weights: dict[str, Any], text: str):
    with pytest.raises(WeightMismatch, match=rf"Layer 'it' \(Conv2D\).*{text}"):
        translate(model(layer("Conv2D", weights=weights, filters=1, kernel_size=1)))


def test_a_bias_that_the_options_switch_off_is_left_over():
    with pytest.raises(WeightMismatch, match="'bias' of shape"):
        translate(
            model(layer("Dense", weights={"kernel": [[1]], "bias": [1]}, units=1, use_bias=False), shape=[1])
        )


def test_state_of_training_is_not_left_over():
    weights = {"mean": [0.0], "variance": [1.0], "count": np.array(7)}
    assert network(layer("Normalization", weights=weights)).layer("it").parameters == 3


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (layer("Conv2D", filters="many", kernel_size=1), "has filters='many', not an integer from 1"),
        (layer("Conv2D", kernel_size=1), "has filters=None, not an integer from 1"),
        (layer("Conv2D", filters=True, kernel_size=1), "has filters=True, not an integer"),
        (layer("Conv2D", filters=10**30, kernel_size=1), "not an integer from 1 to 2147483647"),
        (layer("Conv2D", filters=1, kernel_size=[1, 2, 3]), "not 2 integers"),
        (layer("Conv2D", filters=1, kernel_size=0), "has kernel_size=0"),
        (conv(padding=7), "has padding=7, not one of same, valid"),
        (conv(use_bias="yes"), "has use_bias='yes', not true or false"),
        (conv(size=9), "has a window of 9 pixels, more than the 4 there are"),
        (conv(groups=3), "has 3 groups for 1 channels and 1 filters"),
        (layer("Reshape", target_shape=[3, -1]), "cannot bring the shape"),
        (layer("Reshape", target_shape=[-1, -1]), "more than one -1"),
        (layer("Permute", dims=[1, 1, 2]), "no order of 3 axes"),
        (layer("Cropping2D", cropping=[[2, 2], [0, 0]]), "crops all"),
        (layer("ZeroPadding2D", padding=[1, 2, 3]), "not two numbers for each of 2 axes"),
        (layer("ZeroPadding2D", padding=-1), "has padding=-1, not an integer from 0"),
        (layer("ReLU", negative_slope="steep"), "has negative_slope='steep', not a number"),
        (layer("ReLU", negative_slope=float("nan")), "not a finite number"),
        (layer("Rescaling", scale=[1, [2]]), "not a number or lists of numbers"),
        (layer("Rescaling", scale=[1, 2]), "has 2 numbers as scale"),
        (layer("Softmax", axis=0), "has axis=0, not axes from 1 to 3"),
        (layer("Softmax", axis=9), "has axis=9, not axes from 1 to 3"),
        (layer("Add"), "takes several inputs, not 1"),
        (layer("Activation", activation=[1]), r"has activation=\[1\], not one of"),
    ],
)
def test_options_that_no_keras_writes(made: KerasLayer, text: str):
    with pytest.raises(DamagedFile, match=rf"Layer 'it' \({made.kind}\).*{text}"):
        translate(model(made))


def test_a_layer_called_on_what_comes_later():
    with pytest.raises(DamagedFile, match="takes the output of 'b', which does not come before it"):
        translate(model((layer("ReLU", "a"), ["b"]), layer("ReLU", "b")))


def test_shapes_that_cannot_be_merged():
    wide = layer("ZeroPadding2D", "wide", padding=1)
    with pytest.raises(DamagedFile, match="merges shapes that do not fit"):
        translate(model(wide, (layer("Add"), ["input", "wide"])))
    with pytest.raises(DamagedFile, match="joins shapes that differ elsewhere"):
        translate(model(wide, (layer("Concatenate"), ["input", "wide"])))


# Sizes that a small file declares: refused from the numbers alone


def test_a_billion_units_are_checked_against_the_weights():
    with pytest.raises(WeightMismatch, match="shape 1 x 1, expected 1 x 1500000000"):
        translate(
            model(layer("Dense", weights={"kernel": [[1]], "bias": [1]}, units=1_500_000_000), shape=[1])
        )


def test_a_chain_of_enlargements_is_refused_by_its_size():
    chain = [layer("UpSampling2D", f"u{i}", size=[128, 128]) for i in range(4)]
    with pytest.raises(BudgetExceeded, match=r"'u2'.*declares an output of"):
        translate(model(*chain))


def test_padding_is_only_counted():
    (_, row) = translate(model(layer("ZeroPadding2D", padding=100_000))).rows
    assert row.layer.shape == (200_004, 200_004, 1)


def test_tables_as_large_as_declared_are_not_made():
    with pytest.raises(BudgetExceeded, match="asks for a table of 200,000,000 numbers"):
        translate(model(layer("Resizing", height=100_000_000, width=1), shape=(3, 3, 1)))


def test_weights_that_are_no_numbers_stay_so():
    weights = {name: np.full(1, np.nan) for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    net = network(layer("BatchNormalization", weights=weights, axis=1), shape=(1, 4, 4))
    assert np.isnan(net.run(np.ones((1, *net.inputs[0].shape), np.float32), ["it"])["it"]).all()


def test_the_callers_arrays_are_left_alone():
    made = conv(size=2)
    before = {name: array.copy() for name, array in made.weights.items()}
    for array in made.weights.values():
        array.flags.writeable = False
    translate(model(made))
    for name, array in made.weights.items():
        np.testing.assert_array_equal(array, before[name])


# Whatever stands in a config: a typed error, a problem of the row, or a graph

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-3, 5),
    st.floats(),
    st.text(max_size=3),
    st.sampled_from(
        ["same", "valid", "causal", "channels_first", "bilinear", "bicubic", "lanczos5", "relu", "glu"]
    ),
)
VALUES = st.recursive(
    JUNK, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner)
)
NAMES = (
    "filters kernel_size strides padding dilation_rate groups data_format activation use_bias "
    "depth_multiplier output_padding pool_size keepdims units axis epsilon scale center rms_scaling "
    "target_shape dims n cropping size interpolation height width crop_to_aspect_ratio "
    "pad_to_aspect_ratio fill_mode fill_value antialias offset mean variance invert negative_slope "
    "max_value threshold theta alpha shared_axes batch_shape"
).split()
SOUND: dict[str, Any] = {
    "filters": 2, "kernel_size": [1], "units": 2, "target_shape": [-1], "dims": [2, 1, 3], "n": 2,
    "height": 3, "width": 3, "scale": 1.0, "depth_multiplier": 1,
}  # fmt: skip
VARIABLES = {name for entry in TABLE.values() for name in (*entry.variables, *entry.statistics, *entry.state)}
SHAPES = st.lists(st.none() | st.integers(1, 6), min_size=1, max_size=4)
ARRAYS = st.builds(
    np.ones, st.lists(st.integers(0, 3), max_size=5), st.sampled_from(["f2", "f4", "f8", "i4", "S2"])
)


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(sorted(TABLE)),
    config=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4),
    weights=st.dictionaries(st.sampled_from(sorted(VARIABLES)), ARRAYS, max_size=3),
    shape=SHAPES,
    count=st.integers(1, 2),
    version=st.sampled_from([(1, 2), (2, 15), (3, 3), (3, 10)]),
    size=st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_nothing_in_a_config_breaks_it(
    kind: str,
    config: dict[str, Any],
    weights: dict[str, Any],
    shape: list[int | None],
    count: int,
    version: tuple[int, int],
    size: tuple[int, int] | None,
):
    odd = KerasLayer(name="it", kind=kind, config={**SOUND, **config}, weights=weights)
    try:
        graph = translate(model((odd, ["input"] * count), shape=shape, version=version), size=size)
    except FluoroscopeError:
        return
    assert (graph.rows[1].tensor is None) == (graph.rows[1].layer.problem is not None)


class TestCallArguments:
    """What a call has besides its tensors is read, or refused by name."""

    @staticmethod
    def called(arguments: Arguments, tensors: int = 1) -> OnnxNetwork:
        base = model()
        call = LayerCall(
            name="it", layer=layer("ReLU"), inputs=(("input", 0),) * tensors, arguments=arguments
        )
        return OnnxNetwork(
            translate(replace(base, calls=(*base.calls, call), outputs=(("it", 0),))), PROVENANCE
        )

    @pytest.mark.parametrize(
        "arguments",
        [
            Arguments((Place(0),)),
            Arguments((), {"inputs": Place(0)}),
            Arguments((Place(0), None), {"mask": None, "training": True, "flag": False}),
        ],
    )
    def test_what_changes_nothing_is_no_problem(self, arguments: Arguments) -> None:
        assert self.called(arguments).layers[-1].problem is None

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (Arguments((Place(0), 2.5)), "is called with 2.5 as argument 2"),
            (Arguments((Place(0), Place(0))), "is called with a tensor as argument 2"),
            (Arguments((Place(0),), {"mask": Place(0)}), "is called with a tensor as mask"),
            (Arguments((Place(0),), {"axis": 0}), "is called with 0 as axis"),
        ],
    )
    def test_what_may_change_something_is_one(self, arguments: Arguments, said: str) -> None:
        assert said in str(self.called(arguments).layers[-1].problem)

    def test_a_tensor_that_is_not_there(self) -> None:
        with pytest.raises(DamagedFile, match="a tensor that is not there"):
            self.called(Arguments((Place(1),)))


class TestSeveralOutputs:
    @pytest.fixture(autouse=True)
    def two_outputs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A layer that gives twice its input, and its input."""

        def translate_two(step: Step) -> tuple[Value, ...]:
            value = step.value
            return step.like(value, step.node("Add", value.tensor, value.tensor)), value

        entry = LayerType(family="other", translate=translate_two)
        monkeypatch.setattr(translation, "TABLE", {**TABLE, "Two": entry})

    def opened(self, *outputs: tuple[str, int]) -> OnnxNetwork:
        base = model(layer("Two", "two"))
        calls = [
            *base.calls,
            LayerCall(name="first", layer=layer("ReLU", "first"), inputs=(("two", 0),)),
            LayerCall(name="second", layer=layer("ReLU", "second"), inputs=(("two", 1),)),
        ]
        return OnnxNetwork(translate(replace(base, calls=tuple(calls), outputs=outputs)), PROVENANCE)

    def test_each_has_a_row_and_can_be_taken(self) -> None:
        opened = self.opened(("two", 1), ("second", 0))
        assert [entry.name for entry in opened.layers] == ["input", "two", "two:1", "first", "second"]
        assert opened.outputs == ("two:1", "second")
        assert opened.layers[-1].inputs == ("two:1",)
        batch = np.ones((1, 4, 4, 1), np.float32)
        values = opened.run(batch, ["two", "two:1", "first", "second"])
        assert [float(array.max()) for array in values.values()] == [2, 1, 2, 1]

    def test_there_is_no_third(self) -> None:
        base = self.opened(("two", 0))
        assert base.layers
        third = LayerCall(name="third", layer=layer("ReLU", "third"), inputs=(("two", 2),))
        broken = model(layer("Two", "two"))
        with pytest.raises(DamagedFile, match="takes output 2 of 'two', which has only 2"):
            translate(replace(broken, calls=(*broken.calls, third)))


def test_weights_of_a_graph_are_aligned_wherever_the_file_has_them() -> None:
    builder = GraphBuilder()
    stored = np.frombuffer(b"\0" + np.arange(4, dtype=np.float32).tobytes(), np.float32, 4, 1)
    kept = builder.weights[builder.weight("x", stored)]
    assert not stored.flags.aligned
    assert kept.flags.aligned
    assert kept.tolist() == [0, 1, 2, 3]
