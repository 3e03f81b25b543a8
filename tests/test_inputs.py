"""Networks with several inputs, and inputs that are no pictures: what each gets, and what is said of it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pypdf import PdfReader
from typer.testing import CliRunner

import fluoroscope as fs
from fluoroscope.cli.app import app
from fluoroscope.errors import PictureError, UsageError
from fluoroscope.images import InputArray, Prepared, open_array
from fluoroscope.preparing import prepare_all
from keras_conformance import framework, randomise, save, worst


def picture(seed: int, height: int = 12, width: int = 10) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


META = np.linspace(-1, 1, 5).astype(np.float32)


@pytest.fixture(scope="module")
def pair() -> Any:
    """Two pictures through one shared convolution, one of them scaled by the network, and a vector."""
    keras = framework("tf_keras")
    k = keras.layers
    left, right = keras.Input((12, 10, 3), name="left"), keras.Input((12, 10, 3), name="right")
    meta = keras.Input((5,), name="meta")
    tower = k.Conv2D(4, 3, activation="relu", name="tower")
    one, two = tower(k.Rescaling(1 / 255, name="scale")(left)), tower(right)
    seen = k.GlobalAveragePooling2D(name="seen")(k.Subtract(name="change")([one, two]))
    joined = k.Concatenate(name="joined")([seen, k.Dense(3, activation="tanh", name="facts")(meta)])
    answer = k.Dense(2, activation="softmax", name="answer")(joined)
    return randomise(keras.Model([left, right, meta], answer, name="pair"))


@pytest.fixture(scope="module")
def file(pair: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(pair, tmp_path_factory.mktemp("pair") / "pair.h5")


@pytest.fixture
def desk(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the network, pictures and numbers."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pair.h5").write_bytes(file.read_bytes())
    for seed, name in enumerate(("one", "two", "three")):
        Image.fromarray(picture(seed)).save(tmp_path / f"{name}.png")
    np.save(tmp_path / "meta.npy", META)
    return tmp_path


def test_each_input_gets_its_own(pair: Any, file: Path) -> None:
    keras = framework("tf_keras")
    left, right = picture(0), picture(1)
    acts = fs.capture(file, {"right": right, "left": left, "meta": META}, layers="all")
    assert list(acts.inputs) == ["left", "right", "meta"]
    names = ["scale", "change", "seen", "facts", "joined", "answer"]
    probe = keras.Model(pair.inputs, [pair.get_layer(name).output for name in names])
    # The network scales the left picture by itself: it gets 0..255, the right one 0..1.
    given = [left[None].astype(np.float32), right[None] / np.float32(255), META[None]]
    for name, value in zip(names, probe(given), strict=True):
        np.testing.assert_allclose(acts[name].values, np.asarray(value)[0], rtol=0, atol=1e-5 * 4)
    assert "its layer 'scale'" in acts.inputs["left"].steps[-1]
    assert acts.inputs["right"].steps[-1].endswith("(unit)")
    assert isinstance(acts.inputs["meta"], InputArray)
    assert acts.prepared is acts.inputs["left"]
    assert repr(acts).startswith("<Activations of 'left: array, right: array, meta: array' in 'pair'")


def test_batches_and_groups_and_prepared_inputs_are_the_same(file: Path) -> None:
    network = fs.open_network(file)
    gifts = [{"left": picture(n), "right": picture(n + 1), "meta": META * n} for n in range(3)]
    alone = [fs.capture(network, each) for each in gifts]
    for acts, own in zip(fs.capture_many(network, gifts, batch=2), alone, strict=True):
        for name, maps in own.items():
            np.testing.assert_allclose(acts[name].values, maps.values, rtol=1e-5, atol=1e-6)
    for part in fs.Groups(network, prepare_all(network, gifts[1]), list(alone[1]), memory=1):
        for name, maps in part.items():
            np.testing.assert_array_equal(maps.values, alone[1][name].values)


def test_preprocessing_by_input(file: Path) -> None:
    network = fs.open_network(file)
    gifts = {"left": picture(0), "right": picture(1), "meta": META}
    fed = prepare_all(network, gifts, {"right": "tf"})
    assert fed["right"].steps[-1].endswith("(tf)")
    assert "0..255" in fed["left"].steps[-1]
    assert prepare_all(network, gifts, "tf")["left"].steps[-2].endswith("(tf)")
    assert fs.prepare(network, picture(1), input="right").preprocessing.preset == "unit"


@pytest.mark.parametrize(
    ("gifts", "words"),
    [
        (
            picture(0),
            r"has 3 inputs and was given one thing.*--input left=picture.png .*--input meta=values.npy",
        ),
        ({"left": picture(0)}, r"nothing for its input 'right'. Given: 'left'"),
        ({"lefd": picture(0)}, r"no input 'lefd'. Did you mean 'left'\? Its inputs: 'left', 'right', 'meta'"),
        (
            {"left": picture(0), "right": picture(1), "meta": META[:4]},
            r"Input 'meta' takes numbers of shape \(5\); 'array' has \(4,\)",
        ),
    ],
)
def test_what_is_missing_is_said(file: Path, gifts: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        fs.capture(file, gifts)


def test_inputs_of_open_size_share_one(tmp_path: Path) -> None:
    keras = framework("tf_keras")
    k = keras.layers
    one, two = keras.Input((None, None, 3), name="one"), keras.Input((None, None, 3), name="two")
    fixed = keras.Input((6, 6, 3), name="fixed")
    conv = k.Conv2D(2, 3, padding="same", name="conv")
    both = k.Add(name="both")([conv(one), conv(two)])
    small = k.GlobalAveragePooling2D(name="small")(conv(fixed))
    model = randomise(keras.Model([fixed, one, two], [both, small], name="open"))
    network = fs.open_network(save(model, tmp_path / "open.keras"))
    gifts = {"fixed": picture(0), "one": picture(1, 9, 11), "two": picture(2, 20, 30)}
    acts = fs.capture(network, gifts)
    assert acts["both"].shape == (9, 11, 2)
    batch = {name: fed.values[None] for name, fed in acts.inputs.items()}
    watched = keras.Model(model.inputs, [model.get_layer("both").output, model.get_layer("small").output])
    values = watched([batch[name] for name in ("fixed", "one", "two")])
    expected = dict(zip(("both", "small"), map(np.asarray, values), strict=True))
    errors = worst(network.at_size(9, 11), [batch[spec.name] for spec in network.inputs], expected)
    assert max(errors.values()) < 1e-5
    sized = fs.capture(network, gifts, preprocessing=fs.Preprocessing(size=(16, 8)))
    assert sized["both"].shape == (16, 8, 2)
    assert sized.inputs["fixed"].values.shape == (6, 6, 3)


class TestArrays:
    def test_what_a_file_holds(self, tmp_path: Path) -> None:
        np.save(tmp_path / "v.npy", META[None])
        read = open_array(tmp_path / "v.npy", name="meta", shape=(5,))
        np.testing.assert_array_equal(read.values, META)
        assert read.steps == ("NPY of shape 1 x 5, float32", "its batch of one taken off")
        assert (read.name, read.path) == ("v.npy", str(tmp_path / "v.npy"))
        np.savez(tmp_path / "v.npz", meta=META, other=np.zeros(3))
        np.testing.assert_array_equal(open_array(tmp_path / "v.npz", name="meta", shape=(5,)).values, META)
        with pytest.raises(
            PictureError, match=r"2 arrays \('meta' \(5,\), 'other' \(3,\)\) and none called 'x'"
        ):
            open_array(tmp_path / "v.npz", name="x", shape=(5,))

    @pytest.mark.parametrize(
        ("array", "words"),
        [
            (np.array([1.0, np.nan]), "NaN, infinite or too large"),
            (np.array([1.0, 1e300]), "NaN, infinite or too large"),
            (np.array([2**24 + 1, 0]), "whole numbers over 16,777,216"),
            (np.array(["a", "b"]), "holds <U1; numbers are wanted"),
        ],
    )
    def test_what_is_no_number_is_refused(self, array: np.ndarray, words: str) -> None:
        with pytest.raises(PictureError, match=words):
            open_array(array, name="x", shape=(2,))

    def test_a_picture_for_an_input_of_numbers(self) -> None:
        stream = io.BytesIO()
        Image.fromarray(picture(0)).save(stream, "PNG")
        with pytest.raises(PictureError, match=r"'x' takes numbers of shape \(any x 4\), no picture"):
            open_array(stream.getvalue(), name="x", shape=(None, 4))

    def test_objects_are_never_unpickled(self, tmp_path: Path) -> None:
        np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
        with pytest.raises(PictureError, match="a pickle, which could run code"):
            open_array(tmp_path / "o.npy", name="x", shape=(1,))

    @pytest.mark.parametrize(
        ("shape", "drawn"), [((5,), (1, 5)), ((7, 4), (4, 7)), ((2, 3, 4, 6), (6, 4)), ((), (1, 1))]
    )
    def test_they_can_be_looked_at(self, shape: tuple[int, ...], drawn: tuple[int, int]) -> None:
        values = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
        read = open_array(values, name="x", shape=shape)
        assert read.picture.shape == (*drawn, 1)
        assert read.picture.dtype == np.uint8


class TestCommands:
    def test_a_file_for_each_input(self, desk: Path) -> None:
        words = (
            "render pair.h5 --input left=one.png --input right=two.png --input meta=meta.npy --json".split()
        )
        done = CliRunner().invoke(app, [*words, "-o", "maps/"])
        assert done.exit_code == 0, done.output
        (result,) = json.loads(done.stdout)["results"]
        assert [entry["file"] for entry in result["inputs"]] == ["one.png", "two.png", "meta.npy"]
        assert result["picture"] == "one.png"
        assert "meta: NPY of shape 5, float32" in result["steps"]
        manifest = json.loads((desk / "maps" / "manifest.json").read_text())
        assert [entry["input"] for entry in manifest["inputs"]] == ["left", "right", "meta"]
        assert [entry["kind"] for entry in manifest["inputs"]] == ["picture", "picture", "array"]
        acts = fs.capture("pair.h5", {"left": "one.png", "right": "two.png", "meta": "meta.npy"})
        with np.load(desk / "maps" / "activations.npz") as arrays:
            np.testing.assert_array_equal(arrays["joined"], acts["joined"].values)

    def test_pictures_in_turn_for_the_input_left_out(self, desk: Path) -> None:
        words = (
            "render pair.h5 one.png three.png --input right=two.png --input meta=meta.npy -q -o {name}.npz"
        )
        done = CliRunner().invoke(app, words.split())
        assert done.exit_code == 0, done.output
        for name in ("one", "three"):
            acts = fs.capture("pair.h5", {"left": f"{name}.png", "right": "two.png", "meta": "meta.npy"})
            with np.load(desk / f"{name}.npz") as arrays:
                np.testing.assert_array_equal(arrays["change"], acts["change"].values)

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            ("one.png", "could be for any of 'left', 'right', 'meta'. Say which: --input left=PATH"),
            ("--input left=one.png", "nothing for its input 'right'"),
            ("", "There is nothing to show to the network"),
            ("--input left", "it is NAME=PATH"),
            ("--input left=one.png --input left=two.png", "is given twice"),
            (
                "one.png --input left=one.png --input right=two.png --input meta=meta.npy",
                "nothing is left for 'one.png'",
            ),
            (
                "--input left=one.png --input right=two.png --input meta=one.png",
                "no picture. Give them as an",
            ),
        ],
    )
    def test_what_does_not_fit_is_said(self, desk: Path, words: str, told: str) -> None:
        done = CliRunner().invoke(app, ["render", "pair.h5", *words.split()])
        assert done.exit_code in (2, 4)
        assert told in " ".join(done.output.split()).replace("│ ", "")

    def test_one_of_them_is_looked_at(self, desk: Path) -> None:
        done = CliRunner().invoke(app, "image pair.h5 --input left=one.png --json".split())
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["tensor"]["max"][0] > 1  # as the network scales by itself
        done = CliRunner().invoke(app, "image pair.h5 --input left=one.png one.png".split())
        assert done.exit_code == 2

    @pytest.mark.parametrize("suffix", [".pdf", ".png"])
    def test_they_are_named_in_what_is_drawn(self, desk: Path, suffix: str) -> None:
        acts = fs.capture("pair.h5", {"left": "one.png", "right": "two.png", "meta": "meta.npy"})
        acts.save(f"out{suffix}")
        if suffix == ".pdf":
            text = " ".join(PdfReader("out.pdf").pages[0].extract_text().split())
            assert "left: one.png, right: two.png, meta: meta.npy" in text
            assert "5, meta.npy" in text
        else:
            with Image.open("out.png") as poster:
                record = json.loads(poster.text["Description"])
            assert [entry["name"] for entry in record["inputs"]] == ["one.png", "two.png", "meta.npy"]
        assert isinstance(acts.inputs["left"], Prepared)
        assert "two.png" in acts._repr_html_()
