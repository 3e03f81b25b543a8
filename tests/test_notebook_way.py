"""The rival in the benchmarks draws everything, and the benchmarks' networks are what they are said to be."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pypdf
import pytest
from PIL import Image

import fluoroscope

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def notebook_way() -> ModuleType:
    return script("notebook_way")


@pytest.fixture(scope="module")
def models() -> ModuleType:
    return script("models")


def test_palatable_by_hand(notebook_way: ModuleType) -> None:
    levels = notebook_way.palatable(np.array([[1.0, 3.0], [1.0, 3.0]]))
    np.testing.assert_array_equal(levels, [[64, 192], [64, 192]])
    np.testing.assert_array_equal(notebook_way.palatable(np.full((2, 2), 7.0)), np.full((2, 2), 128))


def activations(channels: int) -> list[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        (name, rng.random((1, height, 4, channels), np.float32))
        for name, height in [("wide", 3), ("tall", 6)]
    ]


def test_vgg_draws_a_file_a_layer_with_every_channel(
    notebook_way: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grids: list[np.ndarray] = []
    imshow = notebook_way.plt.imshow
    monkeypatch.setattr(
        notebook_way.plt, "imshow", lambda grid, **how: (grids.append(grid), imshow(grid, **how))
    )
    named = activations(20)
    last = named[1][1][0, :, :, 19].copy()
    notebook_way.vgg(named, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["tall.png", "wide.png"]
    with Image.open(tmp_path / "out" / "wide.png") as png:
        assert png.size == (1600, 200)
    assert [grid.shape for grid in grids] == [(6, 64), (12, 64)]
    np.testing.assert_array_equal(grids[1][6:, 12:16], notebook_way.palatable(last))


def test_lab_draws_one_figure_with_every_channel(notebook_way: ModuleType, tmp_path: Path) -> None:
    notebook_way.lab(activations(20), tmp_path / "all.pdf")
    (page,) = pypdf.PdfReader(tmp_path / "all.pdf").pages
    assert len(page.images) == 40
    assert page.extract_text().split() == ["wide", "tall"]


def test_lab_is_the_notebooks_network(models: ModuleType, notebook_way: ModuleType) -> None:
    model = models.lab()
    assert model.count_params() == 3_453_121
    drawn = model.layers[notebook_way.VARIANTS["lab"][2]]
    assert [layer.output_shape[-1] for layer in drawn] == [32, 32, 64, 64, 128, 128, 128, 128]
    assert [layer.name for layer in model.layers[8:]] == ["flatten_1", "dense_1", "dense_2"]
    # Its convolutions are the demonstration network's, as another reader finds them; its head is random.
    with h5py.File(fluoroscope.demo.network_path()) as file:
        trained = file["model_weights/conv2d_2/conv2d_2/kernel:0"][()]
    np.testing.assert_array_equal(model.get_layer("conv2d_2").get_weights()[0], trained)
    kernel, bias = model.get_layer("dense_1").get_weights()
    assert kernel.std() == pytest.approx((2 / 6272) ** 0.5, rel=0.02)
    assert not bias.any()


def test_vgg_has_5696_channels(models: ModuleType, notebook_way: ModuleType) -> None:
    model = models.vgg()
    drawn = model.layers[notebook_way.VARIANTS["vgg"][2]]
    assert sum(layer.output_shape[-1] for layer in drawn) == 5_696
    assert (drawn[0].name, drawn[-1].name) == ("block1_conv1", "block5_pool")
    assert model.input_shape == (None, 300, 300, 3)
