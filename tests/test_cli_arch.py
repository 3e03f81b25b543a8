"""PyTorch weights on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import fluoroscope as fs
import torch_models
from cli_toy import run


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    state = torch_models.timm("resnet10t", num_classes=3).state_dict()
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, folder / "w.pth")
    save_file(state, folder / "w.safetensors")
    return folder


@pytest.mark.parametrize("order", ["as MODEL", "as --weights", "as --weights="])
def test_render(order: str, weights: Path, tmp_path: Path) -> None:
    file, picture = str(weights / "w.pth"), str(fs.demo.image_path())
    given = {
        "as MODEL": [file, picture],
        "as --weights": ["--weights", file, picture],
        "as --weights=": [picture, f"--weights={file}"],
    }[order]
    result = run(
        "render", "--arch", "timm:resnet10t", *given, "--size", "64", "--preprocess", "torch",
        "--layers", "conv,layer1.0.add", "-o", tmp_path / "maps", "--json",
    )  # fmt: skip
    assert json.loads(result.stdout)["results"][0]["layers"][-1]["name"] == "layer4.0.downsample.1"
    manifest = json.loads((tmp_path / "maps" / "manifest.json").read_text())
    assert manifest["network"]["format"] == "torch-state-dict"
    assert "num_classes=3, from the weights" in manifest["network"]["notes"]


def test_summary(weights: Path) -> None:
    arguments = ("--arch", "timm:resnet10t", "--size", "64", "--json")
    told = json.loads(run("summary", weights / "w.safetensors", *arguments).stdout)["network"]
    assert told["file"]["format"] == "safetensors"
    shapes = {layer["name"]: layer["shape"] for layer in told["layers"]}
    assert shapes["layer1.0.add"] == [16, 16, 64]


def test_without_the_right_architecture(weights: Path) -> None:
    assert "--arch timm:resnet18" in run("summary", weights / "w.pth", code=3).stderr
    said = run("summary", weights / "w.pth", "--arch", "timm:resnet18", code=3).stderr
    assert "The weights are not those of timm:resnet18" in " ".join(said.split())
