"""Weights in one file, the architecture in another, against the model that wrote both."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

import fluoroscope as fs
import keras_zoo as zoo
from fluoroscope.cli.app import app
from fluoroscope.errors import DamagedFile, NetworkError, UnknownFormat, UsageError, WeightMismatch
from keras_conformance import FRAMEWORKS, assert_same, framework, pictures, randomise, reference

LAYOUTS = (("tf_keras", ".h5"), ("tf_keras", ".weights.h5"), ("keras", ".weights.h5"))


@pytest.fixture(scope="module", params=LAYOUTS, ids=" ".join)
def layout(request: pytest.FixtureRequest) -> tuple[Any, str]:
    name, suffix = request.param
    return framework(name), suffix


def written(keras: Any, model: Any, folder: Path, suffix: str) -> tuple[Path, Path]:
    """Weights and architecture."""
    weights, config = folder / f"{model.name}{suffix}", folder / f"{model.name}.json"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_weights(weights)
        config.write_text(model.to_json())
    return weights, config


def small(keras: Any, first: str = "one") -> Any:
    k = keras.layers
    return randomise(
        keras.Sequential(
            [
                keras.Input((8, 8, 3), name="entry"),
                k.Conv2D(4, 3, activation="relu", name=first),
                k.BatchNormalization(name="norm"),
                k.Flatten(name="flat"),
                k.Dense(3, activation="softmax", name="answer"),
            ],
            name="small",
        )
    )


def test_every_layer_of_a_pair(layout: tuple[Any, str], tmp_path: Path) -> None:
    keras, suffix = layout
    model = small(keras)
    weights, config = written(keras, model, tmp_path, suffix)
    network = fs.open_network(weights, config=config)
    batches = pictures(model)
    assert_same(network, batches, reference(keras, model, batches))
    assert any("architecture from " in note and "small.json" in note for note in network.provenance.notes)
    assert_same(
        fs.open_network(weights.read_bytes(), config=config.read_bytes()),
        batches,
        reference(keras, model, batches),
    )


@pytest.mark.parametrize("name", ["nested", "frozen_layers", "sequentials", "shared", "twins", "lent"])
def test_models_in_models(name: str, layout: tuple[Any, str], tmp_path: Path) -> None:
    keras, suffix = layout
    model = zoo.built(keras, zoo.ALL[name])
    weights, config = written(keras, model, tmp_path, suffix)
    network = fs.open_network(weights, config=config)
    batches = pictures(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = model(batches, training=False)
    values = values if isinstance(values, (list, tuple)) else [values]
    feeds = {spec.name: batch for spec, batch in zip(network.inputs, batches, strict=True)}
    results = network.run(feeds, network.outputs)
    for output, value in zip(network.outputs, values, strict=True):
        expected = np.asarray(value)
        np.testing.assert_allclose(results[output], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_other_names_are_paired_by_their_order(tmp_path: Path) -> None:
    keras = framework("tf_keras")
    model = small(keras)
    weights, _ = written(keras, model, tmp_path, ".h5")
    other = tmp_path / "other.json"
    # The first layer has the name that in the file is the last one's.
    text = model.to_json().replace('"answer"', '"final"').replace('"one"', '"answer"')
    other.write_text(text)
    network = fs.open_network(weights, config=other)
    batches = pictures(model)
    expected = reference(keras, model, batches)
    renamed = {"answer": expected["one"], "norm": expected["norm"], "final": expected["answer"]}
    assert_same(network, batches, renamed)
    assert any("paired by their order" in note for note in network.provenance.notes)


def test_a_whole_model_gives_its_weights_or_its_architecture(tmp_path: Path) -> None:
    keras = framework("tf_keras")
    model = small(keras)
    weights, config = written(keras, model, tmp_path, ".h5")
    batches = pictures(model)
    expected = reference(keras, model, batches)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(tmp_path / "whole.h5")
        model.save(tmp_path / "whole.keras")
    assert_same(fs.open_network(tmp_path / "whole.h5", config=config), batches, expected)
    for whole in ("whole.h5", "whole.keras"):
        assert_same(fs.open_network(weights, config=tmp_path / whole), batches, expected)
    with pytest.raises(UsageError, match="has its own architecture"):
        fs.open_network(tmp_path / "whole.keras", config=config)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_json_in_all_its_wrappings(name: str, tmp_path: Path) -> None:
    keras = framework(name)
    model = small(keras)
    weights, config = written(keras, model, tmp_path, ".weights.h5")
    text = config.read_text()
    inner = json.loads(text)["config"]
    batches = pictures(model)
    expected = reference(keras, model, batches)
    for wrapped in (json.dumps(text), "\ufeff" + text, json.dumps(inner), json.dumps(inner["layers"])):
        assert_same(fs.open_network(weights, config=wrapped.encode()), batches, expected)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Path, Path]]:
    folder = tmp_path_factory.mktemp("beside")
    tf_keras, keras = framework("tf_keras"), framework("keras")
    return {
        "groups": written(tf_keras, small(tf_keras), folder, ".h5"),
        "paths": written(keras, small(keras), folder, ".weights.h5"),
    }


class TestWhatDoesNotBelongTogether:
    def changed(self, config: Path, **changes: Any) -> bytes:
        text = json.loads(config.read_text())
        for layer in text["config"]["layers"]:
            layer["config"].update(changes.get(layer["config"]["name"], {}))
        layers = text["config"]["layers"]
        text["config"]["layers"] = [
            layer for layer in layers if layer["config"]["name"] not in changes.get("without", ())
        ]
        return json.dumps(text).encode()

    @pytest.mark.parametrize("kind", ["groups", "paths"])
    def test_a_layer_of_another_size(self, files: Any, kind: str) -> None:
        weights, config = files[kind]
        words = (
            r"'kernel' of layer 'one' \(Conv2D\) should have shape \(3, 3, any, 5\).*file has \(3, 3, 3, 4\)"
        )
        with pytest.raises(WeightMismatch, match=words):
            fs.open_network(weights, config=self.changed(config, one={"filters": 5}))

    def test_a_layer_too_few_is_told_by_name(self, files: Any) -> None:
        weights, config = files["groups"]
        words = r"has 2 layers with weights, the file those of 3: .* differ from 'answer' and 'norm' on"
        with pytest.raises(WeightMismatch, match=words):
            fs.open_network(weights, config=self.changed(config, without=["norm"]))
        weights, config = files["paths"]
        with pytest.raises(
            WeightMismatch, match="weights that no layer of its architecture has: layers/batch_no"
        ):
            fs.open_network(weights, config=self.changed(config, without=["norm"]))

    def test_either_alone_says_what_else_is_needed(self, files: Any) -> None:
        weights, config = files["groups"]
        with pytest.raises(UnknownFormat, match=r"holds weights only.*--config model\.json"):
            fs.open_network(weights)
        with pytest.raises(
            UnknownFormat, match=r"JSON: an architecture without.*summary WEIGHTS\.h5 --config"
        ):
            fs.open_network(config)
        with pytest.raises(NetworkError, match=r"JSON: an architecture"):
            fs.open_network(config, config=weights)  # the other way round

    def test_something_else_than_an_architecture(self, files: Any, tmp_path: Path) -> None:
        weights, _ = files["groups"]
        with pytest.raises(DamagedFile, match=r"--config .*no valid JSON"):
            fs.open_network(weights, config=b"{")
        with pytest.raises(UsageError, match="it is no architecture: give the JSON"):
            fs.open_network(weights, config=b"backend: tensorflow\nclass_name: Model\n")
        with pytest.raises(UnknownFormat, match="HDF5 file without an architecture"):
            fs.open_network(weights, config=weights)
        with pytest.raises(UsageError, match="config and replace are for files of Keras"):
            fs.open_network(onnx_bytes(), config=b"{}")

    @pytest.mark.parametrize(
        "content",
        [
            b'model_checkpoint_path: "weights"\nall_model_checkpoint_paths: "weights"\n',
            b"\0" * 40 + bytes.fromhex("57fb808b247547db"),
        ],
    )
    def test_checkpoints_of_tensorflow_are_named(self, content: bytes) -> None:
        with pytest.raises(UnknownFormat, match=r"TensorFlow checkpoint.*save the whole model"):
            fs.open_network(content)

    def test_an_empty_file(self, files: Any, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "empty.h5", "w"):
            pass
        with pytest.raises(UnknownFormat, match="HDF5 file with nothing in it"):
            fs.open_network(tmp_path / "empty.h5", config=files["groups"][1])


def onnx_bytes() -> bytes:
    import onnx_models

    return onnx_models.chain([onnx_models.after("Relu", name="r")], shape=("n", 3, 4, 4))


def test_weights_of_keras_0_in_numbered_groups(tmp_path: Path) -> None:
    """The layout of 2015: VGG16's first weights for Keras were published in it."""
    layers = [
        {
            "class_name": "Convolution2D",
            "config": {
                "name": "c",
                "nb_filter": 2,
                "nb_row": 3,
                "nb_col": 3,
                "dim_ordering": "th",
                "border_mode": "valid",
                "activation": "linear",
                "batch_input_shape": [None, 3, 5, 5],
            },
        },
        {"class_name": "Activation", "config": {"name": "a", "activation": "relu"}},
        {"class_name": "Flatten", "config": {"name": "f"}},
        {"class_name": "Dense", "config": {"name": "d", "output_dim": 2, "activation": "linear"}},
    ]
    generator = np.random.default_rng(0)
    kernel, matrix = generator.normal(size=(2, 3, 3, 3)), generator.normal(size=(18, 2))
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["nb_layers"] = 4
        for index, arrays in enumerate(([kernel, np.ones(2)], [], [], [matrix, np.zeros(2)])):
            group = file.create_group(f"layer_{index}")
            group.attrs["nb_params"] = len(arrays)
            for number, array in enumerate(arrays):
                group.create_dataset(f"param_{number}", data=array.astype(np.float32))
    network = fs.open_network(
        tmp_path / "w.h5", config=json.dumps({"class_name": "Sequential", "config": layers}).encode()
    )
    picture = generator.normal(size=(1, 5, 5, 3)).astype(np.float32)
    values = network.run(picture, ["c", "d"])
    windows = np.lib.stride_tricks.sliding_window_view(picture[0], (3, 3), axis=(0, 1))
    conv = np.einsum("hwcij,ocij->hwo", windows, kernel) + 1
    np.testing.assert_allclose(values["c"][0], conv, rtol=1e-4, atol=1e-5)
    flat = np.maximum(conv, 0).transpose(2, 0, 1).reshape(-1)
    np.testing.assert_allclose(values["d"][0], flat @ matrix, rtol=1e-4, atol=1e-4)


def test_the_commands_take_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keras = framework("tf_keras")
    written(keras, small(keras), tmp_path, ".h5")
    np.save(tmp_path / "p.npy", np.zeros((8, 8, 3), np.uint8))
    monkeypatch.chdir(tmp_path)
    for words in ("summary small.h5", "image small.h5 p.npy", "render small.h5 p.npy -o out.npz"):
        done = CliRunner().invoke(app, [*words.split(), "--config", "small.json"])
        assert done.exit_code == 0, done.output
        assert CliRunner().invoke(app, words.split()).exit_code == 3


def test_a_process_of_its_own_gets_both(tmp_path: Path) -> None:
    keras = framework("tf_keras")
    model = small(keras)
    weights, config = written(keras, model, tmp_path, ".h5")
    network = fs.open_network(weights, config=config, replace={"norm": "Identity"}, isolate=True)
    here = fs.open_network(weights, config=config, replace={"norm": "Identity"})
    batch = pictures(model)[0]
    np.testing.assert_array_equal(
        network.run(batch, ["answer"])["answer"], here.run(batch, ["answer"])["answer"]
    )
    assert network.provenance.notes == here.provenance.notes
    network.close()  # pyright: ignore[reportAttributeAccessIssue]
