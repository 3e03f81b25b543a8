"""Saving: kinds by suffix, folders, arrays, records; whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import fluoroscope as fs
from drawn_reports import HOSTILE
from fluoroscope.activations import Activations
from fluoroscope.errors import UsageError
from fluoroscope.network.protocol import Layer
from fluoroscope.output.arrays import RECORD
from fluoroscope.output.draw import draw_sheet, style_of
from fluoroscope.output.file_names import file_name, layer_name
from fluoroscope.output.save import KINDS, kind_of, save
from toy_activations import activations, ramp

NAN, INF = float("nan"), float("inf")


def toy() -> Activations:
    """Maps, a value before an activation, maps with what is not finite, a flat map, a vector."""
    broken = ramp(3, 4, 3)
    broken[0, 0, 0], broken[1, 1, 1] = np.nan, np.inf
    broken[..., 2] = 5
    return activations(
        {
            "conv/a:pre": ramp(3, 4, 6),
            "conv/a": np.maximum(ramp(3, 4, 6), 0),
            "b b": broken,
            "dense": ramp(5),
        },
        {"dense": [0.1, NAN, INF, 0.2, 0.3]},
        broken=(Layer(name="odd", kind="Odd", family="other", shape=(), problem="no translation"),),
    )


def strict(text: str | bytes) -> Any:
    """JSON as the standard has it: without NaN, Infinity, and keys given twice."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs)
        return dict(pairs)

    return json.loads(text, parse_constant=refuse, object_pairs_hook=unique)


# --- Kinds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.pdf", ".pdf"),
        ("a.PNG", ".png"),
        ("a/b.Npz", ".npz"),
        ("folder", ""),
        ("a.pdf/", ""),
        (".hidden", ""),
    ],
)
def test_the_suffix_says_what_is_written(name: str, kind: str) -> None:
    assert kind_of(name) == kind
    assert kind in KINDS


def test_a_folder_that_is_there_is_one_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "run.v2").mkdir()
    assert kind_of(tmp_path / "run.v2") == ""
    toy().save(tmp_path / "run.v2")
    assert (tmp_path / "run.v2" / "manifest.json").is_file()


@pytest.mark.parametrize("name", ["a.jpeg", "a.npy", "a.pdf.gz", "v1.2"])
def test_another_suffix_is_refused_and_nothing_written(tmp_path: Path, name: str) -> None:
    message = r"cannot be told from its suffix\. Possible: \.pdf: a page a layer; .* no suffix: a folder"
    with pytest.raises(UsageError, match=message):
        toy().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "magic"), [("a.pdf", b"%PDF-"), ("a.png", b"\x89PNG"), ("a.npz", b"PK")])
def test_every_kind_is_written_and_tells_its_progress(tmp_path: Path, name: str, magic: bytes) -> None:
    told: list[tuple[int, int, str]] = []
    acts = toy()
    acts.save(tmp_path / name, progress=lambda *step: told.append(step))
    assert (tmp_path / name).read_bytes().startswith(magic)
    assert told == [(done, 4, layer) for done, layer in enumerate(acts, 1)]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_parts_say_how_many_will_come(tmp_path: Path) -> None:
    parts = [activations({"a": ramp(2, 2, 2)}), activations({"b": ramp(2, 2, 2), "c": ramp(4)})]
    for source, count, total in ((parts, None, 3), (iter(parts), 3, 3), (iter(parts), None, 0)):
        told: list[tuple[int, int, str]] = []
        save(source, tmp_path / "a.npz", count=count, progress=lambda *step, told=told: told.append(step))
        assert told == [(1, total, "a"), (2, total, "b"), (3, total, "c")]


# --- Arrays --------------------------------------------------------------------------------------------


def test_arrays_are_the_values_and_numpy_reads_them(tmp_path: Path) -> None:
    acts = toy()
    acts.save(tmp_path / "a.npz", classes=list("vwxyz"))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert list(arrays) == [*acts, RECORD]
        for name, maps in acts.items():
            assert arrays[name].dtype == np.float32
            assert arrays[name].flags.c_contiguous
            np.testing.assert_array_equal(arrays[name], maps.values)
        record = strict(str(arrays[RECORD]))
    assert record["network"]["name"] == "net"
    assert record["predictions"] == {
        "dense": [pytest.approx(0.1), None, None, *map(pytest.approx, (0.2, 0.3))]
    }
    assert record["classes"] == list("vwxyz")
    assert record["skipped"] == {"odd": "no translation"}
    assert "drawing" not in record


def test_equal_values_make_equal_files(tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        toy().save(tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


@pytest.mark.parametrize("name", ["a.npz", "folder", "a.pdf", "a.png"])
def test_names_that_no_layer_should_have(tmp_path: Path, name: str) -> None:
    hostile = [
        *HOSTILE,
        "../../escape",
        "/etc/passwd",
        "a.npy",
        "a",
        "CON",
        "",
        RECORD,
        "caf\u00e9",
        "x" * 400,
    ]
    acts = activations({layer: ramp(2, 2, 2) + index for index, layer in enumerate(hostile)})
    acts.save(tmp_path / name)
    if name == "folder":
        record = strict((tmp_path / name / "manifest.json").read_bytes())
        assert [layer["name"] for layer in record["layers"]] == hostile
        files = [layer["file"] for layer in record["layers"]]
        assert len({file.casefold() for file in files}) == len(hostile)
        assert all(len(file.encode()) <= 255 for file in files)
        inside = {path.name for path in (tmp_path / name).iterdir()}
        assert inside == {*files, "manifest.json", "activations.npz"}
    path = tmp_path / "folder" / "activations.npz" if name == "folder" else tmp_path / name
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            kept = strict(str(arrays[RECORD]))["arrays"]
            assert set(kept) == set(hostile)
            assert len(set(kept.values())) == len(hostile)
            for index, layer in enumerate(hostile):
                np.testing.assert_array_equal(arrays[kept[layer]], ramp(2, 2, 2) + index)
            assert kept["caf\u00e9"] == "caf\u00e9"
            assert kept["a/b/c/d/e/f"] == "a/b/c/d/e/f"
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


# --- Folders -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "deep" / "folder"
    toy().save(path, scaling="minmax", columns=3, classes=list("vwxyz"))
    return path


def test_a_folder_has_a_picture_a_layer_the_values_and_a_manifest(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "0_conv%2Fa%3Apre.png",
        "0_conv%2Fa.png",
        "1_b%20b.png",
        "2_dense.png",
        "activations.npz",
        "manifest.json",
    }


def test_pictures_are_the_sheets(folder: Path) -> None:
    record = strict((folder / "manifest.json").read_bytes())
    for layer, (name, maps) in zip(record["layers"], toy().items(), strict=True):
        assert layer["name"] == name
        with Image.open(folder / layer["file"]) as picture:
            assert picture.text["Title"] == name
            assert strict(picture.text["Description"])["columns"] == 3
            pixels = np.asarray(picture.convert("RGB"))
        np.testing.assert_array_equal(pixels, draw_sheet(maps, style_of(scaling="minmax", columns=3)).rgb)


def test_the_manifest_tells_everything(folder: Path) -> None:
    record = strict((folder / "manifest.json").read_bytes())
    acts = toy()
    assert record["fluoroscope"] == fs.__version__
    (given,) = record["inputs"]
    assert (given["input"], given["kind"]) == ("input_1", "picture")
    assert given["sha256"] == acts.prepared.image.sha256
    assert given["shape"] == [4, 5, 3]
    assert given["steps"] == list(acts.prepared.steps)
    assert record["drawing"]["scaling"]["method"] == "minmax"
    assert record["drawing"]["colormap"] == "viridis"
    assert record["skipped"] == {"odd": "no translation"}
    layer = record["layers"][1]
    assert (layer["name"], layer["number"], layer["layer"]["kind"]) == ("conv/a", 0, "Conv2D")
    assert layer["channels"] == list(range(6))
    wide = acts["conv/a"].values.astype(np.float64)
    for key, expected in {
        "mean": wide.mean((0, 1)),
        "std": wide.std((0, 1)),
        "minimum": wide.min((0, 1)),
        "maximum": wide.max((0, 1)),
        "active": (wide > 0).mean((0, 1)),
        "low": wide.min((0, 1)),
        "high": wide.max((0, 1)),
    }.items():
        np.testing.assert_allclose(layer[key], expected, rtol=1e-5, atol=1e-7)
    assert layer["sparsity"] == pytest.approx((wide <= 0).mean())
    broken = record["layers"][2]
    assert broken["flat"] == [2]
    assert broken["nonfinite"] == {"0": 1, "1": 1}
    assert all(math.isfinite(value) for value in broken["mean"])


def test_a_layer_without_a_finite_value_has_no_numbers(tmp_path: Path) -> None:
    activations({"a": np.full((2, 2, 2), NAN)}).save(tmp_path / "folder")
    layer = strict((tmp_path / "folder" / "manifest.json").read_bytes())["layers"][0]
    assert layer["mean"] == layer["low"] == [None, None]
    assert layer["sparsity"] is None


def test_numbers_of_numpy_are_options_as_well(tmp_path: Path) -> None:
    values = ramp(2, 2, 2)
    activations({"a": values}).save(
        tmp_path / "folder",
        scaling="fixed",
        low=values.min(),
        high=values.max(),
        columns=np.int64(2),
        percentiles=np.percentile(values, [1, 99]) + 1,
    )
    drawing = strict((tmp_path / "folder" / "manifest.json").read_bytes())["drawing"]
    assert (drawing["scaling"]["low"], drawing["scaling"]["high"], drawing["columns"]) == (-1, 3, 2)


def test_a_folder_is_written_over_and_others_files_stay(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for _ in range(2):
        toy().save(f"{tmp_path}/")
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 7


def test_a_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for name in ("file", "file/folder"):
        with pytest.raises(UsageError, match="is to be a folder, but there is a file in its way"):
            toy().save(tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"


# --- Names ---------------------------------------------------------------------------------------------


@given(st.text(max_size=40), st.text(max_size=40))
def test_names_of_files_are_unique_and_read_back(one: str, other: str) -> None:
    assert (file_name(one) == file_name(other)) == (one == other)
    name = file_name(one)
    if len(name) < 130:
        assert layer_name(name) == one
    assert name.isascii()
    assert not set(name) & set('/\\:*?"<>| ')


def test_names_too_long_are_cut_and_stay_apart() -> None:
    one, other = "x" * 400 + "1", "x" * 400 + "2"
    assert file_name(one) != file_name(other)
    assert len(file_name(one)) <= 150
    assert file_name(one).endswith(f"~{hashlib.sha256(one.encode()).hexdigest()[:16]}")


def test_a_short_name_is_not_that_of_a_cut_one() -> None:
    cut = file_name("x" * 400)
    assert file_name(cut) != cut


# --- Interrupted ---------------------------------------------------------------------------------------


class Stopped(BaseException):
    """As a Ctrl-C."""


@pytest.mark.parametrize("name", ["a.pdf", "a.png", "a.npz"])
@pytest.mark.parametrize("there", [True, False])
def test_what_is_interrupted_leaves_the_old_file_or_none(tmp_path: Path, name: str, there: bool) -> None:
    path = tmp_path / name
    if there:
        path.write_bytes(b"old")

    def stop(done: int, *_: object) -> None:
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        toy().save(path, progress=stop)
    assert [entry.name for entry in tmp_path.iterdir()] == ([name] if there else [])
    assert not there or path.read_bytes() == b"old"


def test_a_folder_that_is_interrupted_has_no_manifest_and_nothing_half(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    toy().save(target)

    def stop(done: int, *_: object) -> None:
        if done == 2:
            raise Stopped

    before = (target / "activations.npz").read_bytes()
    with pytest.raises(Stopped):
        toy().save(target, columns=2, progress=stop)
    assert not (target / "manifest.json").exists()
    assert (target / "activations.npz").read_bytes() == before
    assert not list(target.glob("*.part"))
    assert not list(target.glob(".*"))
    for picture in target.glob("*.png"):
        with Image.open(picture) as opened:
            opened.load()
