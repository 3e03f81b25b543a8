"""What Keras files in the wild look like, by the numbers of the table of such (C1 to C20), and other traps.

Each file is written by tf_keras or Keras, then changed into what other versions left; the model in memory is
what its layers are held against.
"""

from __future__ import annotations

import base64
import io
import json
import marshal
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

import fluoroscope as fs
from fluoroscope.errors import UnknownFormat
from fluoroscope.formats.keras.translate.table import TABLE
from keras_conformance import assert_same, framework, pictures, randomise, reference, save

Config = dict[str, Any]


def small(keras: Any) -> Any:
    """Layers that versions write differently."""
    k = keras.layers
    return randomise(
        keras.Sequential(
            [
                keras.Input((8, 8, 3), name="entry"),
                k.Conv2D(4, 3, activation="relu", name="conv"),
                k.BatchNormalization(name="norm"),
                k.SeparableConv2D(4, 2, name="separable"),
                k.DepthwiseConv2D(2, name="depthwise"),
                k.Conv2DTranspose(3, 2, strides=2, name="transposed"),
                k.Activation("hard_sigmoid", name="gate"),
                k.Dropout(0.5, name="dropout"),
                k.Flatten(name="flat"),
                k.Dense(3, activation="softmax", name="answer"),
            ],
            name="small",
        )
    )


@pytest.fixture(scope="module")
def model() -> Any:
    return small(framework("tf_keras"))


@pytest.fixture(scope="module")
def file(model: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return save(model, tmp_path_factory.mktemp("wild") / "small.h5").read_bytes()


def changed(data: bytes, change: Callable[[Config], Any], **attributes: Any) -> bytes:
    """The file with another architecture, and other attributes (None: without it)."""
    stream = io.BytesIO(data)
    with h5py.File(stream, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        result = change(config)
        file.attrs["model_config"] = json.dumps(config if result is None else result)
        for name, value in attributes.items():
            if value is None:
                file.attrs.pop(name, None)
            else:
                file.attrs[name] = value
    return stream.getvalue()


def layers_of(config: Config) -> dict[str, Config]:
    """The options of each layer by its name."""
    return {entry["config"]["name"]: entry["config"] for entry in config["config"]["layers"]}


def check(model: Any, data: bytes) -> fs.Network:
    network = fs.open_network(data)
    batches = pictures(model)
    assert_same(network, batches, reference(framework("tf_keras"), model, batches))
    return network


def bare_list(config: Config) -> Config:
    return {**config, "config": config["config"]["layers"]}


def without_input(shape: Any, key: str) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        entries = config["config"]["layers"]
        del entries[0]
        entries[0]["config"][key] = shape
        config["config"].pop("build_input_shape", None)

    return change


def stray_shapes(config: Config) -> None:
    for options in layers_of(config).values():
        options.setdefault("batch_input_shape", [None, 8, 8, 3])


def stray_groups(config: Config) -> None:
    layers = layers_of(config)
    for name in ("depthwise", "transposed", "separable"):
        layers[name]["groups"] = 1
    layers["separable"] |= {"kernel_initializer": None, "kernel_regularizer": None, "kernel_constraint": None}


def old_initializers(config: Config) -> None:
    layers_of(config)["conv"]["kernel_initializer"] = {
        "class_name": "GlorotUniform",
        "config": {"seed": None, "dtype": "float32"},
    }


def stray_options(config: Config) -> None:
    layers = layers_of(config)
    layers["dropout"] |= {"noise_shape": None, "rng_type": "default", "seed": 1}
    layers["norm"] |= {"renorm": False, "fused": True, "virtual_batch_size": None}
    layers["gate"] |= {"time_major": False, "value_range": [0, 1], "query_shape": None}


def other_modules(config: Config) -> None:
    for place, entry in enumerate(config["config"]["layers"]):
        entry["module"] = ("keras.src.engine.functional", "tensorflow.python.keras.layers", "keras.layers")[
            place % 3
        ]


def newer_axis_and_policy(config: Config) -> None:
    layers = layers_of(config)
    layers["norm"]["axis"] = [3]
    layers["conv"]["dtype"] = {
        "class_name": "Policy",
        "config": {"name": "float32"},
        "module": "keras.mixed_precision",
        "registered_name": None,
    }


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(bare_list, id="C1-a-sequential-is-a-bare-list"),
        pytest.param(without_input([None, 8, 8, 3], "batch_input_shape"), id="C2-batch_input_shape"),
        pytest.param(without_input([32, 8, 8, 3], "batch_input_shape"), id="C2-with-its-batch-in-it"),
        pytest.param(without_input([8, 8, 3], "input_shape"), id="C2-input_shape"),
        pytest.param(stray_shapes, id="C2b-stray-shapes-on-inner-layers"),
        pytest.param(stray_groups, id="C3-groups-of-one"),
        pytest.param(old_initializers, id="C4-initializers-with-a-dtype"),
        pytest.param(stray_options, id="C9-arguments-that-change-nothing"),
        pytest.param(other_modules, id="C13-modules-of-other-versions"),
        pytest.param(newer_axis_and_policy, id="C17-axis-as-list-policy-as-dict"),
    ],
)
def test_it_means_the_same(change: Callable[[Config], Any], model: Any, file: bytes) -> None:
    network = check(model, changed(file, change))
    assert network.inputs[0].shape == (8, 8, 3)
    assert network.provenance.notes == ()


def test_c2_input_dim(tmp_path: Path) -> None:
    keras = framework("tf_keras")
    model = randomise(
        keras.Sequential([keras.Input((7,), name="entry"), keras.layers.Dense(3, name="d")], name="dim")
    )
    data = save(model, tmp_path / "dim.h5").read_bytes()
    check(model, changed(data, without_input(7, "input_dim")))


def test_c5_and_c10_what_lies_before_is_shown(model: Any, file: bytes) -> None:
    code = base64.b64encode(marshal.dumps(compile("x / 127.5", "f", "eval"))).decode()

    def change(config: Config) -> None:
        entries = config["config"]["layers"]
        entries[6] = {
            "class_name": "Lambda",
            "config": {"name": "gate", "function": [code, None, None], "function_type": "lambda"},
        }
        entries[8]["class_name"] = "TheirFlatten"

    network = fs.open_network(changed(file, change))
    rows = {layer.name: layer for layer in network.layers}
    assert rows["transposed"].problem is None
    assert "it mentions x, 127.5" in str(rows["gate"].problem) or "127.5" in str(rows["gate"].problem)
    assert "--replace gate=Rescaling:scale=1/127.5,offset=-1" in str(rows["gate"].problem)
    replaced = fs.open_network(changed(file, change), replace={"gate": "Identity"})
    problem = str({layer.name: layer for layer in replaced.layers}["flat"].problem)
    assert "(TheirFlatten)" in problem
    assert "--replace flat=KIND" in problem
    whole = fs.open_network(
        changed(file, change), replace={"gate": "Activation:hard_sigmoid", "class:TheirFlatten": "Flatten"}
    )
    batches = pictures(model)
    assert_same(whole, batches, reference(framework("tf_keras"), model, batches))


@pytest.mark.parametrize("first", [0, 1], ids=["C7-calls-from-0", "C7-calls-from-1"])
@pytest.mark.parametrize("listed", [False, True], ids=["one-output", "C8-a-list-of-one"])
def test_nested_models_are_called_as_the_file_counts(first: int, listed: bool, tmp_path: Path) -> None:
    keras = framework("tf_keras")
    k = keras.layers
    inside = keras.Input((6, 6, 2), name="inside")
    tower = keras.Model(inside, k.Conv2D(2, 1, activation="tanh", name="deep")(inside), name="tower")
    entry = keras.Input((6, 6, 2), name="entry")
    total = k.Add(name="total")([tower(entry), tower(tower(entry))])
    model = randomise(keras.Model(entry, k.Flatten(name="flat")(total), name="whole"))
    tower.set_weights([np.full_like(w, 0.3) for w in tower.get_weights()])

    def change(config: Config) -> None:
        layers = {entry["name"]: entry for entry in config["config"]["layers"]}
        for node in layers["total"]["inbound_nodes"]:
            for tensor in node:
                tensor[1] += first - 1
        for node in layers["tower"]["inbound_nodes"]:
            for tensor in node:
                if tensor[0] == "tower":
                    tensor[1] += first - 1
        inner = layers["tower"]["config"]
        if listed:
            inner["output_layers"] = [inner["output_layers"][0]]

    data = save(model, tmp_path / "whole.h5").read_bytes()
    with h5py.File(io.BytesIO(data)) as opened:
        own = json.loads(opened.attrs["model_config"])
    nodes = next(layer for layer in own["config"]["layers"] if layer["name"] == "total")["inbound_nodes"]
    assert min(tensor[1] for node in nodes for tensor in node) == 1  # TF-Keras 2 counts from 1
    network = fs.open_network(changed(data, change))
    batch = pictures(model)
    expected = np.asarray(model(batch[0]))
    np.testing.assert_allclose(network.run(batch[0], ["flat"])["flat"], expected, rtol=1e-5, atol=1e-6)


def test_c9_an_argument_that_would_change_something_is_refused_by_name(file: bytes) -> None:
    def change(config: Config) -> None:
        layers_of(config)["flat"]["sort"] = "up"

    rows = {layer.name: layer for layer in fs.open_network(changed(file, change)).layers}
    assert "'flat' (Flatten) has sort='up'" in str(rows["flat"].problem)
    assert rows["gate"].problem is None


def test_c15_functions_of_tensorflow(tmp_path: Path) -> None:
    keras = framework("tf_keras")
    import tensorflow as tf

    entry = keras.Input((6, 6, 3), name="entry")
    value = tf.nn.relu(keras.layers.Conv2D(4, 3, name="conv")(entry) - 0.1)
    value = keras.layers.Flatten(name="flat")(tf.math.multiply(value, 2.0)[:, 1:, :, ::2])
    model = randomise(keras.Model(entry, value, name="functions"))
    network = fs.open_network(save(model, tmp_path / "m.h5"))
    batch = pictures(model)
    np.testing.assert_allclose(
        network.run(batch[0], ["flat"])["flat"], np.asarray(model(batch[0])), rtol=1e-4, atol=1e-5
    )


def test_c16_names_are_names(tmp_path: Path) -> None:
    keras = framework("tf_keras")
    k = keras.layers
    entry = keras.Input((6, 6, 3), name="the/entry")
    value = k.Conv2D(2, 3, name="block/expand/conv")(entry)
    model = randomise(keras.Model(entry, k.ReLU(name="block/expand")(value), name="slashes"))
    network = check(model, save(model, tmp_path / "m.h5").read_bytes())
    acts = fs.capture(network, np.zeros((6, 6, 3), np.uint8))
    acts.save(tmp_path / "maps")
    assert len(list((tmp_path / "maps").glob("*.png"))) == 2


@pytest.mark.parametrize(("version", "slope"), [("2.3.1", 0.2), ("2.0.5", 0.2), ("3.0.5", 1 / 6)])
def test_c18_hard_sigmoid_is_that_of_its_version(version: str, slope: float, file: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = fs.open_network(changed(file, lambda config: None, keras_version=version))
    batch = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype(np.float32)
    values = network.run(batch, ["transposed", "gate"])
    expected = np.clip(values["transposed"] * slope + 0.5, 0, 1)
    np.testing.assert_allclose(values["gate"], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "kind", "LocallyConnected1D LocallyConnected2D ThresholdedReLU MaxoutDense Highway Conv2D".split()
)
def test_c19_layers_that_later_versions_dropped_have_a_translation(kind: str) -> None:
    assert kind in TABLE  # compared with their definitions in test_keras_layers*.py


def test_c20_an_empty_file() -> None:
    stream = io.BytesIO()
    with h5py.File(stream, "w"):
        pass
    assert len(stream.getvalue()) == 800
    with pytest.raises(UnknownFormat, match="HDF5 file with nothing in it"):
        fs.open_network(stream.getvalue())


@pytest.mark.parametrize("layout", ["a-matrix-a-gate", "in-one"])
@pytest.mark.parametrize(("kind", "gates"), [("LSTM", (0, 2, 1, 3)), ("GRU", (0, 1, 2)), ("SimpleRNN", (0,))])
def test_c6_recurrent_layers_of_keras_1(kind: str, gates: tuple[int, ...], layout: str) -> None:
    keras = framework("tf_keras")
    options = {"return_sequences": True, "activation": "tanh", "name": "r"}
    if kind != "SimpleRNN":
        options["recurrent_activation"] = "hard_sigmoid"
    if kind == "GRU":
        options["reset_after"] = False
    layer = getattr(keras.layers, kind)(5, **options)
    model = randomise(keras.Sequential([keras.Input((7, 4), name="entry"), layer], name="old"))
    # i, f, c, o of today were i, c, f, o.
    apart = [np.split(array, len(gates), axis=-1) for array in layer.get_weights()]
    arrays = [(f"r_{name}_{gate}", apart[place][gate]) for gate in gates for place, name in enumerate("WUb")]
    if layout == "in-one":
        arrays = [(f"r_{name}", array) for name, array in zip("WUb", layer.get_weights(), strict=True)]
    config = {
        "name": "r",
        "output_dim": 5,
        "init": "glorot_uniform",
        "inner_init": "orthogonal",
        "forget_bias_init": "one",
        "activation": "tanh",
        "inner_activation": "hard_sigmoid",
        "W_regularizer": None,
        "dropout_W": 0.0,
        "dropout_U": 0.0,
        "return_sequences": True,
        "go_backwards": False,
        "stateful": False,
        "unroll": False,
        "consume_less": "cpu",
        "batch_input_shape": [None, 7, 4],
        "input_dim": 4,
        "input_length": 7,
    }
    if kind == "SimpleRNN":
        del config["inner_activation"], config["forget_bias_init"]
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.attrs["keras_version"] = b"1.2.2"
        file.attrs["model_config"] = json.dumps(
            {"class_name": "Sequential", "config": [{"class_name": kind, "config": config}]}
        ).encode()
        group = file.create_group("model_weights/r")
        file["model_weights"].attrs["layer_names"] = [b"r"]
        group.attrs["weight_names"] = [name.encode() for name, _ in arrays]
        for name, array in arrays:
            group.create_dataset(name, data=array)
    check(model, stream.getvalue())


@pytest.mark.parametrize("kind", [str, bytes, np.bytes_], ids=["str", "bytes", "numpy-bytes"])
def test_texts_in_any_type(kind: Any, model: Any, file: bytes) -> None:
    stream = io.BytesIO(file)
    with h5py.File(stream, "r+") as opened:
        for name in ("model_config", "keras_version", "backend"):
            text = str(opened.attrs[name])
            opened.attrs[name] = text if kind is str else kind(text.encode())
    check(model, stream.getvalue())


@pytest.mark.parametrize("name", ["tf_keras", "keras"])
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize(
    ("policy", "tolerance"), [("float64", 1e-6), ("float16", 5e-3), ("mixed_bfloat16", 5e-2)]
)
def test_precisions_are_computed_in_float32_and_that_is_said(
    name: str, suffix: str, policy: str, tolerance: float, tmp_path: Path
) -> None:
    keras = framework(name)
    k = keras.layers
    layers = [
        keras.Input((8, 8, 3), name="entry"),
        k.Conv2D(4, 3, activation="relu", name="conv", dtype=policy),
        k.BatchNormalization(name="norm", dtype=policy),
        k.Flatten(name="flat", dtype=policy),
        k.Dense(3, name="answer", dtype=policy),
    ]
    model = randomise(keras.Sequential(layers, name="low"))
    network = fs.open_network(save(model, tmp_path / f"low{suffix}"))
    batch = pictures(model)[0]
    expected = np.asarray(model(batch)).astype(np.float32)
    result = network.run(batch, ["answer"])["answer"]
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance * np.abs(expected).max())
    said = [note for note in network.provenance.notes if f"dtype policy {policy}" in note]
    assert len(said) == (policy != "float64")


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_inputs_of_bytes_get_bytes(suffix: str, tmp_path: Path) -> None:
    keras = framework("keras")
    entry = keras.Input((8, 8, 3), name="entry", dtype="uint8")
    value = keras.layers.Conv2D(2, 3, name="conv")(keras.layers.Rescaling(1 / 255, name="scale")(entry))
    model = randomise(keras.Model(entry, value, name="bytes"))
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    acts = fs.capture(save(model, tmp_path / f"m{suffix}"), picture)
    expected = np.asarray(model(picture[None]))[0]
    np.testing.assert_allclose(acts["conv"].values, expected, rtol=0, atol=1e-5)
    assert acts.network.inputs[0].dtype == "uint8"
    assert "0..255" in acts.prepared.steps[-1]


@pytest.mark.parametrize("mode", ["int8", "float8"])
def test_quantized_layers_are_refused_by_name(mode: str, tmp_path: Path) -> None:
    keras = framework("keras")
    k = keras.layers
    model = keras.Sequential(
        [keras.Input((4, 4, 3)), k.Conv2D(2, 3, name="conv"), k.Flatten(name="flat"), k.Dense(2, name="d")]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.quantize(mode)
    rows = {layer.name: layer for layer in fs.open_network(save(model, tmp_path / "q.keras")).layers}
    assert rows["flat"].problem is None
    assert f"its weights are quantized ({mode})" in str(rows["d"].problem)
    assert "before model.quantize" in str(rows["d"].problem)


class TestTrapsOfPeers:
    @pytest.fixture
    def acts(self, tmp_path: Path) -> fs.Activations:
        keras = framework("tf_keras")
        k = keras.layers
        model = randomise(
            keras.Sequential(
                [
                    keras.Input((9, 14, 3), name="entry"),
                    k.Conv2D(20, 3, name="twenty"),
                    k.ReLU(name="input_gate"),
                    k.Flatten(name="flat"),
                    k.Dense(5, name="answer"),
                ]
            )
        )
        kernel, bias = model.get_layer("twenty").get_weights()
        kernel[..., 7] = 0
        model.get_layer("twenty").set_weights([kernel, bias])
        picture = np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)
        return fs.capture(save(model, tmp_path / "m.h5"), picture)

    def test_a_flat_channel_is_counted_and_drawn(self, acts: fs.Activations) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert acts["twenty"].statistics.flat_count == 1
            assert acts["twenty"].sheet().png()

    def test_twenty_channels_of_sixteen_a_row_are_all_there(self, acts: fs.Activations) -> None:
        with Image.open(io.BytesIO(acts["twenty"].sheet(columns=16).png())) as sheet:
            assert sheet.size == (16 * 12 + 15, 2 * 7 + 1)  # not square, a gap of a pixel

    def test_names_and_arrays_travel_together(self, acts: fs.Activations) -> None:
        assert list(acts) == ["twenty", "input_gate", "flat", "answer"]  # "input" in a name is no input
        np.testing.assert_array_equal(acts["input_gate"].values, np.maximum(acts["twenty"].values, 0))
        assert acts["twenty"].shape == (7, 12, 20)
        assert acts["flat"].is_vector

    def test_arrays_are_read_only(self, acts: fs.Activations) -> None:
        with pytest.raises(ValueError, match="read-only"):
            acts["twenty"].values[...] -= 1


def test_stray_keys_in_an_archive(tmp_path: Path) -> None:
    """C2b: TF-Keras 2.15 wrote a shape for every layer of a ``.keras`` file."""
    keras = framework("tf_keras")
    model = small(keras)
    path = save(model, tmp_path / "m.keras")
    target = tmp_path / "stray.keras"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as out:
        for member in source.infolist():
            content = source.read(member)
            if member.filename == "config.json":
                config = json.loads(content)
                stray_shapes(config)
                content = json.dumps(config).encode()
            out.writestr(member, content)
    check(model, target.read_bytes())
