"""``fluoroscope render``: the outputs hold what the network computes, and a bad picture spoils no other."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fluoroscope as fs
from cli_toy import CLASSES, run, write_network, write_picture
from fluoroscope.network.onnx_network import OnnxNetwork

LAYERS = ("conv_1", "relu_1", "pool_1", "gap", "flat", "dense", "probability")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network, a picture, and three pictures in a folder of which the second is none."""
    write_network(tmp_path / "toy.onnx")
    write_picture(tmp_path / "cat.png")
    (tmp_path / "many").mkdir()
    write_picture(tmp_path / "many" / "a.png", seed=1)
    (tmp_path / "many" / "b.png").write_bytes(b"no picture at all")
    write_picture(tmp_path / "many" / "c.jpg", seed=3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(*args: str | Path, code: int = 0) -> dict[str, Any]:
    return json.loads(run("render", *args, "--json", code=code).stdout)


def test_the_default_is_a_pdf_and_is_said(folder: Path) -> None:
    import pypdf

    text = run("render", "toy.onnx", "cat.png").stdout
    assert "Intermediate_Activations_Visualized.pdf  7 layers, 106 channels" in text
    reader = pypdf.PdfReader(folder / "Intermediate_Activations_Visualized.pdf")
    words = "\n".join(page.extract_text() for page in reader.pages)
    assert all(name in words for name in LAYERS)


def test_values_are_those_of_the_library(folder: Path) -> None:
    run("render", "toy.onnx", "cat.png", "-o", "values.npz")
    acts = fs.capture("toy.onnx", "cat.png")
    with np.load(folder / "values.npz") as values:
        assert [name for name in values.files if not name.startswith("__")] == list(acts) == list(LAYERS)
        for name, maps in acts.items():
            np.testing.assert_array_equal(values[name], maps.values)


def test_a_folder_holds_a_png_a_layer(folder: Path) -> None:
    run("render", "toy.onnx", "cat.png", "-o", "maps/", "--layers", "conv_1,pool_1")
    assert sorted(os.listdir(folder / "maps")) == [
        "1_conv_1.png", "3_pool_1.png", "activations.npz", "manifest.json",
    ]  # fmt: skip


def test_options_of_the_drawing_reach_the_pixels(folder: Path) -> None:
    options = [
        "--scaling",
        "minmax",
        "--scope",
        "layer",
        "--colormap",
        "magma",
        "--columns",
        "5",
        "--zoom",
        "2",
    ]
    run("render", "toy.onnx", "cat.png", "-o", "maps/", "--layers", "conv_1", "--gap", "3", *options)
    sheet = fs.capture("toy.onnx", "cat.png", layers="conv_1")["conv_1"].sheet(
        scaling="minmax", scope="layer", colormap="magma", columns=5, zoom=2, gap=3
    )
    with Image.open(folder / "maps" / "1_conv_1.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), sheet.rgb)


@pytest.mark.parametrize(
    ("options", "scaling"),
    [
        (["--limits", "-1,2"], {"method": "fixed", "low": -1.0, "high": 2.0}),
        (["--scaling", "fixed", "--limits", "0,1"], {"method": "fixed", "low": 0.0, "high": 1.0}),
        (
            ["--scaling", "percentile", "--percentiles", "5,80"],
            {"method": "percentile", "percentiles": [5, 80]},
        ),
        (["--scaling", "percentile"], {"method": "percentile", "percentiles": [1, 99]}),
        (["--scope", "network"], {"method": "zscore", "scope": "network"}),
    ],
)
def test_the_scaling_is_recorded(folder: Path, options: list[str], scaling: dict[str, Any]) -> None:
    run("render", "toy.onnx", "cat.png", "-o", "maps/", "--layers", "conv_1", *options)
    recorded = json.loads((folder / "maps" / "manifest.json").read_text())["drawing"]["scaling"]
    assert {key: recorded[key] for key in scaling} == scaling


def test_options_of_the_picture_reach_the_tensor(folder: Path) -> None:
    options = ["--fit", "crop", "--resample", "lanczos", "--mean", "10,20,30", "--std", "2", "--scale", "0.5"]
    run("render", "toy.onnx", "cat.png", "-o", "v.npz", "--layers", "conv_1", *options)
    how = fs.Preprocessing(fit="crop", resample="lanczos", mean=(10, 20, 30), std=2, scale=0.5)
    maps = fs.capture("toy.onnx", "cat.png", layers="conv_1", preprocessing=how)["conv_1"]
    with np.load(folder / "v.npz") as values:
        np.testing.assert_array_equal(values["conv_1"], maps.values)


def test_a_frame_and_a_size_can_be_chosen(folder: Path) -> None:
    write_network(folder / "free.onnx", size=None)
    frames = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), np.uint8)
    np.save(folder / "film.npy", frames)
    run(
        "render",
        "free.onnx",
        "film.npy",
        "--frame",
        "2",
        "--size",
        "12x16",
        "-o",
        "v.npz",
        "--preprocess",
        "raw",
    )
    expected = fs.capture("free.onnx", frames[2], preprocessing=fs.Preprocessing(preset="raw", size=(12, 16)))
    with np.load(folder / "v.npz") as values:
        assert values["conv_1"].shape == (10, 14, 20)
        np.testing.assert_array_equal(values["conv_1"], expected["conv_1"].values)


def test_one_channel_with_its_legend(folder: Path) -> None:
    text = run("render", "toy.onnx", "cat.png", "--layers", "relu_1", "--channel", "19").stdout
    assert "relu_1_19.png  1 layer, 1 channel" in text
    with Image.open(folder / "relu_1_19.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert holds(
        pixels, fs.capture("toy.onnx", "cat.png", layers="relu_1")["relu_1"][[19]].sheet(zoom=29).rgb
    )


def holds(pixels: Any, part: Any) -> bool:
    """Whether a picture has a part somewhere that looks exactly so."""
    height, width = part.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(pixels[..., 0], (height, width))[:, :, ::7, ::7]
    corners = np.argwhere((windows == part[::7, ::7, 0]).all(axis=(2, 3)))
    return any((pixels[top : top + height, left : left + width] == part).all() for top, left in corners)


def test_a_channel_under_the_scale_of_its_layer(folder: Path) -> None:
    options = ["--scaling", "minmax", "--scope", "layer"]
    run("render", "toy.onnx", "cat.png", "--layers", "relu_1", "--channel", "19", "-o", "map.png", *options)
    sheet = fs.capture("toy.onnx", "cat.png", layers="relu_1")["relu_1"].sheet(
        scaling="minmax", scope="layer", zoom=29, gap=0, columns=20
    )
    with Image.open(folder / "map.png") as picture:
        assert holds(np.asarray(picture.convert("RGB")), sheet.rgb[:, -18 * 29 :])


def test_a_channel_is_of_one_layer_that_has_it(folder: Path) -> None:
    assert (
        "--channel 3 is of one layer, and there are 7"
        in run("render", "toy.onnx", "cat.png", "--channel", "3", code=2).stderr
    )
    words = ["render", "toy.onnx", "cat.png", "--layers", "relu_1", "--channel", "3", "--scope", "network"]
    assert "--scope network is of all layers, and --channel of one" in run(*words, code=2).stderr
    for channel in ("20", "-1"):
        text = run("render", "toy.onnx", "cat.png", "--layers", "conv_1", "--channel", channel, code=2).stderr
        assert f"'conv_1' has 20 channels, from 0 on; there is no {channel}." in text


def test_machines_are_told_what_was_made(folder: Path) -> None:
    answer = told("toy.onnx", "cat.png", "-o", "v.npz", "--classes", "cat,dog,cow")
    (result,) = answer["results"]
    acts = fs.capture("toy.onnx", "cat.png")
    assert result["picture"] == "cat.png"
    assert result["output"] == "v.npz"
    assert result["steps"] == list(acts.prepared.steps)
    assert [layer["name"] for layer in result["layers"]] == list(LAYERS)
    conv, relu = result["layers"][:2]
    assert conv["flat"] == relu["flat"] == [7], "its kernel is zero"
    assert relu["sparsity"] == pytest.approx(np.mean(acts["relu_1"].values <= 0))
    assert relu["shape"] == [18, 18, 20]
    (prediction,) = result["predictions"]
    assert prediction["meaning"] == "exclusive"
    assert prediction["labels"] == ["cat", "dog", "cow"]
    np.testing.assert_allclose(prediction["values"], acts.predictions["probability"], rtol=1e-6)


def test_people_are_told_what_the_network_says_and_what_is_odd(folder: Path) -> None:
    (folder / "names.txt").write_text("\n".join(["[red]cat", "d\x1bog", "猫"][:CLASSES]), "utf-8")
    text = run("render", "toy.onnx", "cat.png", "-o", "v.npz", "--classes", "names.txt").stdout
    best = int(fs.capture("toy.onnx", "cat.png").predictions["probability"].argmax())
    assert "probability: " + ["[red]cat ", "d\\x1bog ", "猫 "][best] in text
    assert "3 flat channels: conv_1 7; relu_1 7; pool_1 7" in text


def test_a_wrong_number_of_classes_is_said(folder: Path) -> None:
    assert (
        "There are 2 class names" in run("render", "toy.onnx", "cat.png", "--classes", "a,b", code=2).stderr
    )


def test_quiet_says_nothing(folder: Path) -> None:
    assert run("render", "toy.onnx", "cat.png", "-q").output == ""


def test_a_small_budget_takes_a_few_layers_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    original = OnnxNetwork.run

    def counted(self: OnnxNetwork, batch: Any, names: Any) -> Any:
        runs.append(len(names))
        return original(self, batch, names)

    monkeypatch.setattr(OnnxNetwork, "run", counted)
    options = ["--layers", "all", "--scope", "network"]
    run("render", "toy.onnx", "cat.png", "-o", "whole", *options)
    assert len(runs) == 1
    # The picture takes 4,800 bytes, conv_1 and relu_1 25,920 each, pool_1 6,480: never all at once.
    run("render", "toy.onnx", "cat.png", "-o", "parts", *options, "--memory", "60k")
    assert len(runs) > 1 + 2 * 2, "two groups, twice: a scale for the network needs to see it first"
    files = sorted(os.listdir(folder / "whole"))
    assert len(files) == 1 + len(LAYERS) + 2
    for file in files:
        assert (folder / "whole" / file).read_bytes() == (folder / "parts" / file).read_bytes(), file


def test_a_budget_that_no_layer_fits_is_code_5(folder: Path) -> None:
    assert "Over the memory budget" in run("render", "toy.onnx", "cat.png", "--memory", "20k", code=5).stderr
    assert not (folder / "Intermediate_Activations_Visualized.pdf").exists()


def test_each_picture_gets_an_output_and_a_bad_one_is_skipped(folder: Path) -> None:
    result = run("render", "toy.onnx", "many", "-o", "out/", "--layers", "conv_1", code=4)
    assert "The picture cannot be read: 'many/b.png'" in result.stderr
    assert "1 of 3 pictures skipped." in result.stderr
    assert sorted(os.listdir(folder / "out")) == ["a", "c"]
    alone = fs.capture("toy.onnx", folder / "many" / "c.jpg", layers="conv_1")["conv_1"].values
    with np.load(folder / "out" / "c" / "activations.npz") as values:
        np.testing.assert_array_equal(values["conv_1"], alone)


def test_several_pictures_go_to_a_folder_of_pdfs_by_default(folder: Path) -> None:
    os.unlink("many/b.png")
    text = run("render", "toy.onnx", "many/*", "cat.png").stdout
    assert sorted(os.listdir("Intermediate_Activations_Visualized")) == ["a.pdf", "c.pdf", "cat.pdf"]
    assert text.count("7 layers") == 3


def test_machines_are_told_of_bad_pictures(folder: Path) -> None:
    answer = told("toy.onnx", "many", "-o", "{name}.npz", code=4)
    good, bad, other = answer["results"]
    assert (good["output"], other["output"]) == ("a.npz", "c.npz")
    assert bad["error"]["kind"] == "PictureError"
    assert bad["error"]["exit_code"] == 4
    assert bad["picture"] == os.path.join("many", "b.png")


def test_a_picture_too_large_for_the_budget_spoils_no_other(folder: Path) -> None:
    write_network(folder / "free.onnx", size=None)
    write_picture(folder / "large.png", size=(600, 600))
    words = ["render", "free.onnx", "cat.png", "large.png", "-o", "{name}.npz", "--memory", "20M"]
    text = run(*words, code=5).stderr
    assert "Skipped. Over the memory budget: " in text
    assert (folder / "cat.npz").exists()
    # Not all failed for the same reason: then that a picture failed is what counts.
    run(*words, "many/b.png", code=4)


def test_a_network_that_scales_by_itself_gets_the_picture_raw(folder: Path) -> None:
    write_network(folder / "scales.onnx", scales=True)
    picture = np.asarray(Image.open("cat.png").resize((20, 20), Image.Resampling.NEAREST), np.float32)
    for options, expected in (
        ([], picture),
        (["--preprocess", "unit"], picture / 255),
        (["--scale", "2"], picture * 2),
    ):
        (result,) = told("scales.onnx", "cat.png", "-o", "v.npz", "--layers", "all", *options)["results"]
        with np.load(folder / "v.npz") as values:
            np.testing.assert_allclose(values["picture"], expected, rtol=1e-6)
        assert "scales by itself" in result["steps"][-1]
        assert ("careful" in result["steps"][-1]) == bool(options)
        text = run("render", "scales.onnx", "cat.png", "-o", "v.npz", *options).stdout
        assert f"  {result['steps'][-1]}\n" in text
    assert "scales by itself" not in run("render", "toy.onnx", "cat.png", "-o", "v.npz").stdout


def test_one_bad_picture_is_an_error(folder: Path) -> None:
    answer = told("toy.onnx", "many/b.png", code=4)
    assert answer["error"]["kind"] == "PictureError"
    assert not os.path.exists("Intermediate_Activations_Visualized.pdf")


def test_files_in_a_folder_that_were_left_out_are_said(folder: Path) -> None:
    (folder / "many" / "notes.txt").touch()
    os.unlink("many/b.png")
    assert "1 other file in folders left out" in run("render", "toy.onnx", "many", "-o", "out/").stderr
    assert told("toy.onnx", "many", "-o", "out/")["left_out"] == 1


def test_nothing_of_somebody_elses_is_written_over(folder: Path) -> None:
    (folder / "thesis.pdf").write_bytes(b"%PDF-1.4 three years of work")
    text = run("render", "toy.onnx", "cat.png", "-o", "thesis.pdf", code=2).stderr
    assert "'thesis.pdf' is there already, and Fluoroscope did not write it." in text
    assert (folder / "thesis.pdf").read_bytes() == b"%PDF-1.4 three years of work"
    # What is written with force is ours from then on.
    run("render", "toy.onnx", "cat.png", "-o", "thesis.pdf", "--force")
    run("render", "toy.onnx", "cat.png", "-o", "thesis.pdf")


@pytest.mark.parametrize("output", ["a.pdf", "a.png", "a.npz", "a/"])
def test_every_output_is_known_again(folder: Path, output: str) -> None:
    for _ in range(2):
        run("render", "toy.onnx", "cat.png", "-o", output)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--percentiles", "1,99"], "--percentiles goes with --scaling percentile, not zscore"),
        (["--limits", "0,1", "--scaling", "minmax"], "--limits goes with --scaling fixed, not minmax"),
        (["--scaling", "fixed"], "--scaling fixed needs --limits"),
        (["--columns", "0"], "columns is a whole number from 1 on"),
        (["--memory", "lots"], "A size is a number with K, M, G or T"),
        (["--threads", "-1"], "--threads is a number from 0 (one a core) to 1,024, not -1"),
        (["--layers", "conv_9"], "Did you mean 'conv_1'"),
        (["--size", "30x30"], "takes pictures of 20 x 20"),
        (["--colormap", "pink"], "Invalid value for '--colormap'"),
        (["-o", "cat.jpeg"], "cannot be told from its suffix"),
    ],
)
def test_options_that_mean_nothing_are_code_2(folder: Path, options: list[str], message: str) -> None:
    assert message in run("render", "toy.onnx", "cat.png", *options, code=2).stderr
    assert sorted(os.listdir(folder)) == ["cat.png", "many", "toy.onnx"]


def test_notes_on_the_network_are_said(folder: Path) -> None:
    write_network(folder / "broken.onnx", broken=True)
    text = run("render", "broken.onnx", "cat.png", "-o", "v.npz").stdout
    assert "note  NaN or infinite weights in kernel\n" in text
    # conv_1, relu_1, pool_1, and everything after: each output of a product with NaN.
    assert "channels with NaN or infinite values: " in text
    layers = told("broken.onnx", "cat.png", "-o", "v.npz")["results"][0]["layers"]
    found = {layer["name"]: layer["nonfinite"] for layer in layers}
    assert found["conv_1"] == found["gap"] == found["flat"] == [3]
    assert found["dense"] == [0, 1, 2]
