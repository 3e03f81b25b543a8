"""Networks written as ONNX files: what plain onnxruntime makes of them, and what is read back."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest

import fluoroscope as fs
from cli_toy import run
from fluoroscope.errors import UnsupportedLayer, UsageError
from fluoroscope.network import export
from onnx_models import floats, model, node, value


def branches():
    """Two inputs, one of them channels last; a sum with an activation; an output that is a single number."""
    return model(
        [
            node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
            node("Conv", ["t", "k.weight"], ["Conv_c"]),
            node("Mul", ["scale", "Conv_c"], ["1"]),
            node("Add", ["1", "Conv_c"], ["2"]),
            node("Relu", ["2"], ["3"]),
            node("MaxPool", ["3"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Identity", ["pool"], ["same"]),
            node("GlobalAveragePool", ["pool"], ["4"]),
        ],
        [value("x", ["N", 8, 6, 3]), value("scale", ["N", 4, 1, 1])],
        ["4", "same"],
        {"k.weight": floats(4, 3, 3, 3)},
        named=False,
        name="branches",
    ).SerializeToString()


def attention():
    """Heads take the place of the batch, so pictures are run one at a time."""
    return model(
        [
            node("Reshape", ["x", "tokens"], ["t"]),
            node("Transpose", ["t"], ["h"], perm=[1, 0, 2]),
            node("Transpose", ["h"], ["k"], perm=[0, 2, 1]),
            node("MatMul", ["h", "k"], ["scores"], "scores"),
            node("Softmax", ["scores"], ["maps"], "maps", axis=-1),
            node("MatMul", ["maps", "h"], ["mixed"], "mixed"),
            node("Transpose", ["mixed"], ["back"], perm=[1, 0, 2]),
            node("Reshape", ["back", "picture"], ["y"], "y"),
        ],
        [value("x", [1, 3, 4, 4])],
        ["y"],
        {"tokens": np.array([16, 3, 1]), "picture": np.array([1, 48])},
    ).SerializeToString()


def whole_numbers():
    s, z = np.float32(0.05), np.uint8(128)
    return model(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            node("QLinearConv", ["q", "s", "z", "w", "ws", "wz", "s", "z"], ["c"], "conv"),
            node("MaxPool", ["c"], ["p"], "pool", kernel_shape=[2, 2]),
            node("DequantizeLinear", ["p", "s", "z"], ["y"]),
        ],
        [value("x", ["N", 2, 6, 5])],
        ["y"],
        {"s": s, "z": z, "w": np.ones((3, 2, 1, 1), np.int8), "ws": np.float32(0.1), "wz": np.int8(0)},
    ).SerializeToString()


SOURCES = {
    "Keras": lambda: fs.demo.network_path().read_bytes(),
    "branches": branches,
    "attention": attention,
    "whole numbers": whole_numbers,
}


@pytest.fixture(params=SOURCES, scope="module")
def network(request):
    return fs.open_network(SOURCES[request.param]())


def outputs_of(path, network, batch, *, channels_last):
    """What plain onnxruntime makes, by name."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options)
    axes = {entry.layer: entry.channel_axis for entry in network._graph.inputs}
    feeds = {
        name: np.ascontiguousarray(array if channels_last else np.moveaxis(array, -1, axes[name]))
        for name, array in batch.items()
    }
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


@pytest.mark.parametrize("channels_last", [False, True])
def test_every_layer_is_there_and_is_the_same(network, tmp_path, channels_last):
    names = [layer.name for layer in network.layers if layer.family != "input"]
    names += [f"{layer.name}:pre" for layer in network.layers if layer.has_pre]
    path = network.save(tmp_path / "all.onnx", layers=names, channels_last=channels_last)
    onnx.checker.check_model(str(path), full_check=True)
    pictures = 1 if network._graph.whole or network._graph.inputs[0].shape[0] == 1 else 2
    batch = {spec.name: floats(pictures, *spec.shape, low=0) for spec in network.inputs}
    found = network.run(batch, names)
    given = outputs_of(path, network, batch, channels_last=channels_last)
    assert set(given) == set(names)
    rows = network._rows
    for name, array in given.items():
        row = rows[name.removesuffix(":pre")]
        if row.tensor in network._graph.whole:
            array = np.moveaxis(array[np.newaxis], row.channel_axis, -1)
        elif not channels_last:
            array = np.moveaxis(array, row.channel_axis, -1)
        np.testing.assert_allclose(array, found[name], atol=1e-6, err_msg=name)


@pytest.mark.parametrize("channels_last", [False, True])
def test_what_is_read_back_is_what_was_written(network, tmp_path, channels_last):
    again = fs.open_network(network.save(tmp_path / "again.onnx", channels_last=channels_last))
    assert again.inputs == network.inputs
    assert again.outputs == network.outputs
    assert again.name == network.name
    inner = [layer for layer in network.layers if layer.family != "input"]
    assert [layer for layer in again.layers if layer.family != "input"] == inner
    batch = {spec.name: floats(1, *spec.shape, low=0) for spec in network.inputs}
    names = [layer.name for layer in inner]
    for name, array in again.run(batch, names).items():
        np.testing.assert_allclose(array, network.run(batch, [name])[name], atol=1e-6)
    assert again.provenance.writer == f"fluoroscope {fs.__version__}"


def test_a_reader_that_knows_nothing_of_the_table_finds_the_names(tmp_path):
    network = fs.open_network(fs.demo.network_path())
    written = onnx.load(network.save(tmp_path / "demo.onnx"))
    made = {output for one in written.graph.node for output in one.output}
    assert {layer.name for layer in network.layers if layer.family != "input"} <= made
    assert {one.name for one in written.graph.node} >= {"conv2d_1", "dense_1"}
    assert written.producer_name == "fluoroscope"
    assert [one.name for one in written.graph.input] == ["input_1"]
    assert [one.name for one in written.graph.output] == ["dense_1"]
    props = {entry.key: entry.value for entry in written.metadata_props}
    assert props["fluoroscope.source.sha256"] == network.provenance.sha256
    assert [entry["name"] for entry in json.loads(props["fluoroscope.layers"])][:2] == [
        "conv2d_1",
        "max_pooling2d_1",
    ]


def test_names_that_are_taken_are_given_way(tmp_path):
    """A tensor within is called as another layer is."""
    data = model(
        [node("Conv", ["x", "b"], ["a"], "first"), node("Abs", ["a"], ["first"], "a")],
        [value("x", ["N", 3, 6, 6])],
        ["first"],
        {"b": floats(3, 3, 1, 1)},
    ).SerializeToString()
    network = fs.open_network(data)
    path = network.save(tmp_path / "taken.onnx", layers="first,a")
    batch = floats(1, 6, 6, 3)
    given = outputs_of(path, network, {"x": batch}, channels_last=False)
    found = network.run(batch, ["first", "a"])
    for name in ("first", "a"):
        np.testing.assert_allclose(np.moveaxis(given[name], 1, -1), found[name], atol=1e-6)


def test_what_cannot_be_written(tmp_path, monkeypatch):
    network = fs.open_network(branches())
    path = tmp_path / "out.onnx"
    with pytest.raises(UsageError, match=r"saved as \.onnx; .*out\.h5"):
        network.save(tmp_path / "out.h5")
    with pytest.raises(UsageError, match="would have no output"):
        network.save(path, layers="x")
    monkeypatch.setattr(export, "_LARGEST", 100)
    with pytest.raises(UsageError, match="are 432 bytes; one ONNX file holds up to 100 bytes"):
        network.save(path)
    free = model([node("Relu", ["x"], ["y"])], [value("x", ["N", 3, "H", "W"])], ["y"])
    with pytest.raises(UsageError, match=r"pictures of any size; .*--size 224x224"):
        fs.open_network(free.SerializeToString()).save(path)
    assert list(tmp_path.iterdir()) == []


def test_layers_that_cannot_be_run_are_left_out(tmp_path):
    data = model(
        [
            node("Relu", ["x"], ["a"], "a"),
            node("Bernoulli", ["a"], ["b"], "b"),
            node("Abs", ["a"], ["c"], "c"),
        ],
        [value("x", ["N", 2, 3, 4])],
        ["b"],
    ).SerializeToString()
    network = fs.open_network(data)
    network._graph.outputs.append("b") if "b" not in network.outputs else None
    with pytest.raises(UnsupportedLayer, match="'b' cannot be run"):
        network.save(tmp_path / "out.onnx", layers=["b"])
    written = onnx.load(network.save(tmp_path / "out.onnx", layers="c"))
    assert [one.op_type for one in written.graph.node] == ["Relu", "Abs"]


TABLES = {
    "no JSON": "{",
    "no list": "7",
    "something else": '[{"name": 1}]',
    "an unknown family": None,
    "twice the same": None,
    "deep": "[" * 100_000,
    "huge": "[" + " " * 2**24 + "]",
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_that_are_not_sound_are_no_tables(kind, tmp_path):
    path = fs.open_network(branches()).save(tmp_path / "a.onnx")
    made = onnx.load(path)
    (entry,) = (entry for entry in made.metadata_props if entry.key == "fluoroscope.layers")
    listed = json.loads(entry.value)
    if kind == "an unknown family":
        listed[0]["family"] = "program"
    elif kind == "twice the same":
        listed.append(listed[0])
    entry.value = TABLES[kind] or json.dumps(listed)
    network = fs.open_network(made.SerializeToString())
    assert network.layer("pool").kind == "MaxPool"


def test_a_table_that_lies_tells_no_more_than_names(tmp_path):
    """Layers that are not there are none; what they take is only said of those that are."""
    made = onnx.load(fs.open_network(branches()).save(tmp_path / "a.onnx"))
    (entry,) = (entry for entry in made.metadata_props if entry.key == "fluoroscope.layers")
    listed = json.loads(entry.value)
    listed[0] |= {"inputs": ["nowhere", "x"], "channel_axis": 1_000_001, "parameters": 7}
    entry.value = json.dumps([{**listed[0], "name": "nowhere"}, *listed])
    network = fs.open_network(made.SerializeToString())
    assert "nowhere" not in [layer.name for layer in network.layers]
    assert network.layers[2].inputs == ("x",)
    batch = {spec.name: floats(1, *spec.shape) for spec in network.inputs}
    network.run(batch, [layer.name for layer in network.layers])


def test_the_command(tmp_path):
    source, target = fs.demo.network_path(), tmp_path / "model.onnx"
    told = run("convert", source, target, "--layers", "conv,dense_1:pre").stdout
    assert "11 layers" in told
    assert "takes input_1 (batch, 3, 150, 150)" in told
    assert "gives dense_1:pre (batch, 1)" in told
    assert fs.open_network(target).outputs[0] == "conv2d_1"
    # Ours, so it is replaced.
    facts = json.loads(run("convert", source, target, "--channels-last", "--json").stdout)
    assert facts["inputs"] == {"input_1": ["batch", 150, 150, 3]}
    assert facts["bytes"] == target.stat().st_size
    assert run("convert", source, source, code=2).stderr
    other = tmp_path / "other.onnx"
    other.write_bytes(b"somebody's")
    assert "--force" in run("convert", source, other, code=2).stderr
    run("convert", source, other, "--force")
    assert other.stat().st_size > 1000
