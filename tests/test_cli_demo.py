"""``fluoroscope demo``: it draws, and what it says to look at was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fluoroscope as fs
from cli_toy import run
from fluoroscope.activations import Activations
from fluoroscope.cli.demo import edge_detectors


@pytest.fixture(scope="module")
def acts() -> Activations:
    smooth = fs.Preprocessing("unit", resample="bilinear")
    return fs.capture(fs.demo.network_path(), fs.demo.image_path(), preprocessing=smooth)


def test_the_tour_is_measured(acts: Activations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = run("demo").stdout
    assert (tmp_path / "Intermediate_Activations_Visualized.pdf").read_bytes().startswith(b"%PDF")
    for name, maps in acts.items():
        if maps.values.ndim == 3:
            share = 100 * float(np.mean(maps.values <= 0))
            said = re.search(rf"^   {name} +([\d.]+) %  (█*)$", text, re.MULTILINE)
            assert said is not None, name
            assert float(said[1]) == pytest.approx(share, abs=0.051)
            assert len(said[2]) == pytest.approx(24 * share / 100, abs=0.51)
    flat = sum(int(maps.statistics.flat.sum()) for maps in acts.values() if maps.values.ndim == 3)
    assert ("No flat channel" in text) if flat == 0 else (f"{flat:,} flat channel" in text)
    edges = edge_detectors(acts, "conv2d_1")
    assert f"conv2d_1: {len(edges)} of 32 channels see edges" in text
    assert "no diagnostic" in text
    assert "CREDITS.md" in text


def test_an_edge_detector_is_one(acts: Activations) -> None:
    """In the place of the first layer: edges, edges of one kind, brightness, darkness, and nothing."""
    brightness = acts.prepared.values.mean(axis=-1, dtype=np.float64)
    vertical, horizontal = np.gradient(brightness)
    edges = np.hypot(vertical, horizontal)
    maps = [edges, np.maximum(vertical, 0), brightness, 1 - brightness, 0 * brightness]
    values = np.stack(maps, axis=-1)[1:-1, 1:-1].astype(np.float32)

    def found(values: Any) -> tuple[int, ...]:
        return edge_detectors(Activations(acts.network, acts.prepared, {"conv2d_1": values}, {}), "conv2d_1")

    assert found(values) == (0, 1)
    assert found(values[..., 4:]) == ()


def test_the_network_that_ships_sees_edges(acts: Activations) -> None:
    assert 1 <= len(edge_detectors(acts, "conv2d_1")) < 32


def test_machines_are_told_the_same(acts: Activations, tmp_path: Path) -> None:
    told = json.loads(run("demo", "-o", tmp_path / "v.npz", "--json").stdout)
    (result,) = told["results"]
    assert [layer["name"] for layer in result["layers"]] == list(acts)
    assert result["layers"][-1]["flat"] == [], "a single value is not flat"
    with np.load(tmp_path / "v.npz") as values:
        np.testing.assert_array_equal(values["conv2d_2"], acts["conv2d_2"].values)
