"""Known layers in the place of Lambdas and of classes of the author's, against models that have them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import fluoroscope as fs
from fluoroscope.cli.app import app
from fluoroscope.errors import UsageError, WeightMismatch
from fluoroscope.formats.keras.replace import Replacement, parse_replacements, split_option
from fluoroscope.formats.keras.translate.table import TABLE
from keras_conformance import FILES, assert_same, framework, pictures, randomise, reference, save


def lambdas(keras: Any) -> Any:
    """A scaling, a nested one of the same name, and a resize; code that must never run."""
    k = keras.layers
    inside = keras.Input((8, 8, 3), name="inside")
    inner = keras.Model(
        inside, k.Conv2D(2, 3, name="deep")(k.Lambda(lambda x: x / 255.0, name="scale")(inside)), name="inner"
    )
    entry = keras.Input((8, 8, 3), name="entry")
    value = k.Lambda(lambda x: x / 127.5 - 1, name="scale", output_shape=(8, 8, 3))(entry)
    value = k.Conv2D(3, 3, activation="relu", padding="same", name="conv")(value)
    return randomise(keras.Model(entry, inner(value), name="lambdas"))


def plain(keras: Any) -> Any:
    """The same with known layers."""
    k = keras.layers
    inside = keras.Input((8, 8, 3), name="inside")
    inner = keras.Model(
        inside, k.Conv2D(2, 3, name="deep")(k.Rescaling(1 / 255, name="scale")(inside)), name="inner"
    )
    entry = keras.Input((8, 8, 3), name="entry")
    value = k.Rescaling(1 / 127.5, -1, name="scale")(entry)
    value = k.Conv2D(3, 3, activation="relu", padding="same", name="conv")(value)
    return keras.Model(entry, inner(value), name="lambdas")


ASKED = {"scale": "Rescaling:scale=1/127.5,offset=-1", "inner/scale": "Rescaling:1/255"}


@pytest.mark.parametrize(("name", "suffix"), FILES)
def test_a_lambda_is_what_the_user_says(name: str, suffix: str, tmp_path: Path) -> None:
    keras = framework(name)
    model, twin = lambdas(keras), plain(keras)
    twin.set_weights(model.get_weights())
    path = save(model, tmp_path / f"m{suffix}")
    without = fs.open_network(path)
    rows = {layer.name: layer for layer in without.layers}
    assert "--replace scale=Rescaling:scale=1/127.5,offset=-1" in str(rows["scale"].problem)
    assert "marshalled" in str(rows["conv"].problem)  # which depends on it
    network = fs.open_network(path, replace=ASKED)
    batches = pictures(model)
    batches = [batch * 100 for batch in batches]
    shown = keras.Model(twin.inputs, [twin.get_layer("scale").output, twin.get_layer("conv").output])
    expected = dict(zip(("scale", "conv"), map(np.asarray, shown(batches)), strict=True))
    answer = np.asarray(twin(batches[0]))
    # The path counts before the name alone.
    assert_same(network, batches, {**expected, "inner/deep": answer})
    assert network.provenance.notes[:2] == (
        f"scale (Lambda) is replaced by Rescaling(scale={1 / 127.5!r}, offset=-1), as asked",
        f"inner/scale (Lambda) is replaced by Rescaling(scale={1 / 255!r}), as asked",
    )
    assert {layer.name: layer.kind for layer in network.layers}["scale"] == "Rescaling"
    apart = {
        "*/scale": ("Rescaling", {"scale": 1 / 255}),
        "class:Lambda": "Rescaling:scale=1/127.5,offset=-1",
    }
    assert_same(fs.open_network(path, replace=apart), batches, {**expected, "inner/deep": answer})


def own_classes(keras: Any) -> Any:
    """A convolution of the author's, with an option of its own; and a layer like no other."""
    register = keras.saving.register_keras_serializable(package="mine")

    @register
    class MyConv(keras.layers.Conv2D):
        def __init__(self, *args: Any, mood: str = "calm", **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.mood = mood

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "mood": self.mood}

    @register
    class Halves(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.factor = self.add_weight(shape=(shape[-1],), initializer="ones", name="factor")

        def call(self, value: Any) -> Any:
            return value * self.factor

    k = keras.layers
    entry = keras.Input((8, 8, 3), name="entry")
    value = MyConv(4, 3, strides=2, activation="relu", mood="wild", name="own")(entry)
    value = k.Conv2D(2, 1, name="last")(Halves(name="halves")(value))
    return keras.Model(entry, value, name="own_classes")


@pytest.mark.parametrize(("name", "suffix"), FILES)
def test_a_class_derived_from_one_of_keras_keeps_its_options_and_weights(
    name: str, suffix: str, tmp_path: Path
) -> None:
    keras = framework(name)
    model = own_classes(keras)
    path = save(model, tmp_path / f"m{suffix}")
    batches = pictures(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = reference(keras, model, batches)
    problem = str({layer.name: layer for layer in fs.open_network(path).layers}["own"].problem)
    assert "--replace class:MyConv=KIND" in problem
    # The factor is 1, so the layer is the identity; its weight has no place there.
    network = fs.open_network(path, replace={"class:MyConv": "Conv2D", "halves": "Identity"})
    assert_same(network, batches, expected)
    linear = fs.open_network(path, replace={"own": "Conv2D:activation=linear", "halves": "Identity"})
    assert {layer.name: layer.activation for layer in linear.layers}["own"] is None


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras = framework("tf_keras")
    return save(lambdas(keras), tmp_path_factory.mktemp("replace") / "m.h5")


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("replace", "words"),
        [
            ({"scale": "Rescalling:1/255"}, "no layer is called 'Rescalling'. Did you mean Rescaling"),
            ({"scael": "Identity"}, "no layer has this name or path. Did you mean 'scale'"),
            ({"class:Lamda": "Identity"}, "no layer has this class. Did you mean 'class:Lambda'"),
            (
                {"scale": "Rescaling:scal=2"},
                r"--replace scale=Rescaling: .*no option 'scal'. Did you mean 'scale'",
            ),
            (
                {"scale": "Rescaling:scale=big"},
                r"--replace scale=Rescaling: .* has scale='big', not a number",
            ),
            ({"scale": "Identity:scale=2"}, "has no option 'scale'"),
            ({"scale": "Rescaling:scale=1/255,,"}, "is no option=value. For example: lambda_1=Rescaling"),
            ({"scale": "Identity:3"}, "say which option it is"),
            ({"scale": "Rescaling:scale=1,scale=2"}, "'scale' is given twice"),
            ({"": "Identity"}, "the layer's name is missing"),
            ({"conv": "Dense:units=5"}, r"should have shape"),
        ],
    )
    def test_it_is_said(self, path: Path, replace: dict[str, Any], words: str) -> None:
        with pytest.raises((UsageError, WeightMismatch), match=words):
            fs.open_network(path, replace=replace)

    def test_an_open_network_is_not_changed(self, path: Path) -> None:
        with pytest.raises(UsageError, match="open already"):
            fs.open_network(fs.open_network(path), replace={"scale": "Identity"})


@pytest.mark.parametrize(
    ("text", "kind", "options"),
    [
        ("Identity", "Identity", {}),
        ("Rescaling:1/255", "Rescaling", {"scale": 1 / 255}),
        ("Rescaling:scale=0.00784,offset=-1", "Rescaling", {"scale": 0.00784, "offset": -1}),
        ("Activation:relu", "Activation", {"activation": "relu"}),
        ("Resizing:height=64,width=32", "Resizing", {"height": 64, "width": 32}),
        ("Reshape:(4, 2)", "Reshape", {"target_shape": [4, 2]}),
        (
            "ZeroPadding2D:padding=[[1,2],[3,4]],data_format=None",
            "ZeroPadding2D",
            {"padding": [[1, 2], [3, 4]], "data_format": None},
        ),
        (
            ("Rescaling", {"offset": np.float32(2), "scale": (1.0, 2.0)}),
            "Rescaling",
            {"offset": 2.0, "scale": [1.0, 2.0]},
        ),
    ],
)
def test_what_is_typed(text: Any, kind: str, options: dict[str, Any]) -> None:
    found = parse_replacements({"x": text}, TABLE).find("x", "Lambda")
    assert found == ("x", Replacement(kind=kind, options=options))


@pytest.mark.parametrize(
    ("option", "parts"),
    [
        ("a=Identity", ("a", "Identity")),
        ("vgg/a=b=Rescaling:scale=1", ("vgg/a=b", "Rescaling:scale=1")),
        ("class:My=Conv2D", ("class:My", "Conv2D")),
        ("a*=Activation:relu", ("a*", "Activation:relu")),
    ],
)
def test_a_name_and_what_stands_for_it(option: str, parts: tuple[str, str]) -> None:
    assert split_option(option) == parts


@pytest.mark.parametrize("option", ["a", "=Identity", "a=", "a=:x"])
def test_no_name_or_no_class(option: str) -> None:
    with pytest.raises(UsageError, match="it is NAME=KIND"):
        split_option(option)


def test_every_output_tells_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(lambdas(framework("tf_keras")), tmp_path / "m.h5")
    np.save("p.npy", np.full((8, 8, 3), 200, np.uint8))
    words = ["render", "m.h5", "p.npy", "-o", "maps/", "--replace", "scale=Rescaling:scale=1/127.5,offset=-1"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "replaced by Rescaling" in " ".join(done.output.split())
    manifest = json.loads((tmp_path / "maps" / "manifest.json").read_text())
    assert "scale (Lambda) is replaced by Rescaling" in manifest["network"]["notes"][0]
    # The network scales by itself now, and the picture is left at 0..255.
    assert any("its layer 'scale'" in step for step in manifest["inputs"][0]["steps"])
    done = CliRunner().invoke(app, [*words, "--replace", "scale=Identity"])
    assert done.exit_code == 2
    assert "given twice" in done.output
