"""``fluoroscope image``: the numbers are those of the pictures, and the PNG shows both."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fluoroscope as fs
from cli_toy import in_terminal, plain, run, write_network, write_picture


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_network(tmp_path / "toy.onnx")
    write_picture(tmp_path / "cat.png", size=(24, 30))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_machines_get_the_numbers_of_both(folder: Path) -> None:
    told = json.loads(run("image", "toy.onnx", "cat.png", "--json").stdout)
    with Image.open("cat.png") as picture:
        pixels = np.asarray(picture)
        resized = np.asarray(picture.resize((20, 20), Image.Resampling.NEAREST)) / 255
    assert told["picture"]["shape"] == [24, 30, 3]
    assert told["picture"]["dtype"] == "uint8"
    assert told["tensor"]["shape"] == [20, 20, 3]
    for entry, values in (("picture", pixels), ("tensor", resized)):
        for name in ("min", "max", "mean", "std"):
            np.testing.assert_allclose(told[entry][name], getattr(np, name)(values, axis=(0, 1)), rtol=1e-6)
    assert told["steps"] == list(fs.capture("toy.onnx", "cat.png", layers="conv_1").prepared.steps)
    assert told["output"] is None


def test_people_get_a_line_a_channel_and_every_step(folder: Path) -> None:
    text = run("image", "toy.onnx", "cat.png", "--preprocess", "tf", "--fit", "pad").stdout
    assert "as read: 24 × 30 × 3 uint8" in text
    assert "as given: 20 × 20 × 3 float32" in text
    assert re.search(r"^1  PNG, 30 x 24, RGB, 8 bits$", text, re.MULTILINE)
    assert "value / 127.5 - 1 (tf)" in text
    assert "−1" in text, "black at the rim, as tf has it"


def test_both_pictures_side_by_side(folder: Path) -> None:
    text = run("image", "toy.onnx", "cat.png", "-o", "pair.png").stdout
    assert "Both side by side: pair.png" in text
    prepared = fs.capture("toy.onnx", "cat.png", layers="conv_1").prepared
    with Image.open("pair.png") as pair:
        sheet = np.asarray(pair)
    assert sheet.shape == (24, 30 + 16 + 20, 3)
    np.testing.assert_array_equal(sheet[:, :30], prepared.image.pixels)
    np.testing.assert_array_equal(sheet[:20, 46:], prepared.picture)
    assert (sheet[:, 30:46] == 255).all()
    assert (sheet[20:, 46:] == 255).all()


def test_a_small_input_is_enlarged_beside_a_large_grey_picture(folder: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (65, 50), np.uint8)
    Image.fromarray(grey).save("grey.png")
    run("image", "toy.onnx", "grey.png", "-o", "pair.png")
    with Image.open("pair.png") as pair:
        sheet = np.asarray(pair)
    assert sheet.shape == (65, 50 + 16 + 60, 3)
    np.testing.assert_array_equal(sheet[:, :50], grey[..., None].repeat(3, axis=2))
    picture = fs.capture("toy.onnx", "grey.png", layers="conv_1").prepared.picture
    np.testing.assert_array_equal(sheet[:60:3, 66::3], picture)
    np.testing.assert_array_equal(sheet[2:60:3, 68::3], picture)


def test_outputs_are_as_careful_as_those_of_render(folder: Path) -> None:
    assert "should end in .png" in run("image", "toy.onnx", "cat.png", "-o", "pair.pdf", code=2).stderr
    assert "is what is read" in run("image", "toy.onnx", "cat.png", "-o", "cat.png", code=2).stderr
    (folder / "pair.png").write_bytes(b"a holiday picture")
    assert "--force" in run("image", "toy.onnx", "cat.png", "-o", "pair.png", code=2).stderr
    run("image", "toy.onnx", "cat.png", "-o", "pair.png", "--force")
    run("image", "toy.onnx", "cat.png", "-o", "pair.png")


def test_a_bad_picture_is_code_4(folder: Path) -> None:
    assert "no such file" in run("image", "toy.onnx", "dog.png", code=4).stderr


@pytest.mark.parametrize(("columns", "wide"), [(60, 20), (12, 11)])
def test_a_terminal_shows_the_picture(folder: Path, columns: int, wide: int) -> None:
    text = in_terminal(folder, columns, "image", "toy.onnx", "cat.png")
    rows = [line for line in text.splitlines() if "▀" in line]
    assert {plain(row).rstrip().count("▀") for row in rows} == {wide}
    picture = fs.capture("toy.onnx", "cat.png", layers="conv_1").prepared.picture
    colours = re.findall(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m", rows[0])
    if wide == 20:
        assert len(rows) == 10, "two pixels in a character"
        np.testing.assert_array_equal(
            np.array(colours, int).reshape(20, 2, 3), picture[:2].transpose(1, 0, 2).astype(int)
        )


def test_no_picture_where_there_are_no_colours(folder: Path) -> None:
    text = in_terminal(folder, 80, "image", "toy.onnx", "cat.png", env={"NO_COLOR": "1"})
    assert "▀" not in text
