"""The script that trains the demonstration network, and the network that ships."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import fluoroscope as fs

SCRIPT = Path(__file__).parents[1] / "examples" / "train_demo.py"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("train_demo", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
        spec.loader.exec_module(module)
        yield module
    del sys.modules[spec.name]


# --- Data ----------------------------------------------------------------------------------------------


def write_data(folder: Path, names: list[str]) -> None:
    """PneumoniaMNIST with a few pictures of noise, one of them twice, and sharp pictures."""
    rng = np.random.default_rng(3)
    arrays = {f"{split}_images": rng.integers(0, 256, (5, 28, 28), np.uint8) for split in ("val", "test")}
    arrays["train_images"] = rng.integers(0, 256, (6, 28, 28), np.uint8)
    arrays["train_images"][1] = arrays["val_images"][0]
    labels = {"train": [0, 0, 0, 1, 1, 1], "val": [0, 1, 1, 1, 0], "test": [1, 1, 1, 0, 1]}
    arrays |= {f"{split}_labels": np.array(values, np.uint8)[:, None] for split, values in labels.items()}
    np.savez(folder / "pneumoniamnist.npz", **arrays)
    (folder / "chest_xray").mkdir()
    for name in names:
        noise = rng.integers(0, 256, (224, 224, 3), np.uint8)
        Image.fromarray(noise).save(folder / "chest_xray" / name)


def test_splits_are_balanced_and_apart(script: ModuleType, tmp_path: Path) -> None:
    write_data(tmp_path, [])
    splits = script.read_splits(tmp_path)
    assert splits["train"].labels.tolist() == [0, 0, 1, 1, 1]  # the second picture is in val
    assert splits["val"].labels.tolist().count(1) == 2
    assert sorted(splits["test"].labels) == [0, 1]
    assert splits["train"].pictures.shape == (5, 150, 150, 1)


def test_a_balanced_split_stays_as_it_is(script: ModuleType) -> None:
    pictures, labels = np.arange(4, dtype=np.uint8).reshape(4, 1, 1), np.array([1, 0, 0, 1], np.uint8)
    same, still = script.balanced(pictures, labels)
    np.testing.assert_array_equal(same, pictures)
    np.testing.assert_array_equal(still, labels)


@pytest.mark.parametrize(
    ("name", "usable"),
    [
        ("person3_virus_16.jpeg", False),  # the demonstration's picture
        ("person99_virus_1.jpeg", False),
        ("person100_virus_184.jpeg", True),
        ("person77_bacteria_376.jpeg", True),
        ("person78_bacteria_378.jpeg", False),
        ("person175_bacteria_835.jpeg", False),
        ("person176_bacteria_1.jpeg", True),
        ("IM-0115-0001.jpeg", False),
    ],
)
def test_held_out_patients_are_known_by_name(script: ModuleType, name: str, usable: bool) -> None:
    assert script.not_held_out(name) is usable


def test_detail_is_what_28_pixels_lose(script: ModuleType, tmp_path: Path) -> None:
    write_data(tmp_path, ["person3_virus_16.jpeg", "person100_virus_184.jpeg"])
    Image.new("L", (224, 224), 90).save(tmp_path / "chest_xray" / "person1_bacteria_1.jpeg")
    flat, noise = script.read_details(tmp_path)[..., 0][[1, 0]]
    assert np.abs(flat).max() == 0
    assert noise.std() > 0.1
    assert script.enlarged(np.zeros((28, 28), np.uint8)).shape == noise.shape == (150, 150)


def test_missing_data_say_where_they_come_from(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(script.DataMissing, match=r"no pneumoniamnist\.npz.*doi 10\.5281/zenodo\.6496656"):
        script.read_splits(tmp_path)
    with pytest.raises(script.DataMissing, match=r"doi 10\.17632/rscbjbr9sj\.2"):
        script.read_details(tmp_path)


def test_augmented_pictures_stay_pictures(script: ModuleType) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (4, 150, 150, 1), np.uint8)
    before = pictures.copy()
    details = np.random.default_rng(1).normal(0, 0.5, (2, 150, 150, 1)).astype(np.float32)

    def views() -> np.ndarray:
        script.tf_keras.utils.set_random_seed(5)
        return script.augmented(pictures, details).numpy()

    first = views()
    assert first.shape == pictures.shape
    assert first.min() >= 0
    assert first.max() <= 1
    assert not np.array_equal(first[0], first[1])
    np.testing.assert_array_equal(first, views())
    np.testing.assert_array_equal(pictures, before)


# --- Networks ------------------------------------------------------------------------------------------


def test_folding_changes_nothing_but_rounding(script: ModuleType) -> None:
    rng = np.random.default_rng(7)
    trained = script.training_network()
    for layer in trained.layers:
        if layer.name.startswith("batch_normalization"):
            shape = layer.get_weights()[0].shape
            gamma, variance = rng.uniform(0.5, 1.5, (2, *shape)) * [[1], [0.3]]
            gamma[::3] *= -1  # then ReLU and pooling still may be swapped
            layer.set_weights([gamma, rng.normal(size=shape), rng.normal(0, 0.3, shape), variance])
    pictures = rng.random((3, 150, 150, 1), np.float32)
    logits = trained(pictures).numpy()
    scale, offset = 0.5 / np.std(logits), 0.2
    plain = script.folded(trained, scale=scale, offset=offset - scale * logits.mean())
    got = plain(np.repeat(pictures, 3, axis=3)).numpy()
    want = 1 / (1 + np.exp(-scale * (logits - logits.mean()) - offset))
    assert np.ptp(want) > 0.1
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_decorrelation_is_the_mean_squared_correlation(script: ModuleType) -> None:
    a, b = np.array([1, 1, -1, -1], np.float32), np.array([1, -1, 1, -1], np.float32)
    layer = script.Decorrelated()

    def penalty(*channels: np.ndarray) -> float:
        layer(script.tf.constant(np.stack(channels, axis=-1).reshape(2, 2, 1, -1)))
        return float(layer.losses[-1]) / script.DECORRELATION

    assert penalty(a, b) == pytest.approx(0, abs=1e-6)
    assert penalty(a, 3 * a + 5) == pytest.approx(1, abs=1e-3)
    assert penalty(a, -a, b) == pytest.approx(1 / 3, abs=1e-3)  # one pair of three


# --- Scores --------------------------------------------------------------------------------------------


def test_scores_by_hand(script: ModuleType) -> None:
    score = script.Score.of(np.array([2, -1, 0, -3, 1]), np.array([1, 1, 0, 0, 0]))
    assert score.sensitivity == 1 / 2
    assert score.specificity == 2 / 3
    assert score.area == 4 / 6  # of the six pairs of ill and well, in which the ill one scores higher
    losses = np.log1p(np.exp([-2, 1, 0, -3, 1]))
    assert score.loss == pytest.approx(losses.mean())


def test_wilson_interval(script: ModuleType) -> None:
    # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I.
    assert script.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert script.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_calibration_finds_the_scale_and_offset(script: ModuleType) -> None:
    rng = np.random.default_rng(11)
    logits = rng.normal(0, 2, 20_000)
    labels = (rng.random(20_000) < 1 / (1 + np.exp(1 - 2 * logits))).astype(np.float32)
    assert script.calibration(logits, labels) == pytest.approx((2, -1), abs=0.1)


def test_calibration_of_separable_logits_is_finite(script: ModuleType) -> None:
    scale, offset = script.calibration(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0, 0, 1, 1]))
    assert 1 < scale < 10
    assert offset == pytest.approx(0, abs=1e-6)


# --- What ships ----------------------------------------------------------------------------------------

BASE = [f"{kind}_{number}" for number in range(1, 5) for kind in ("conv2d", "max_pooling2d")]


def test_the_shipped_network_is_the_scripts(script: ModuleType) -> None:
    path = fs.demo.network_path()
    assert path.stat().st_size <= 1_500_000
    shipped, built = script.tf_keras.models.load_model(path, compile=False), script.plain_network()
    assert [layer.name for layer in shipped.layers][:8] == BASE
    assert [layer.get_config() for layer in shipped.layers] == [layer.get_config() for layer in built.layers]
    kernel = shipped.get_layer("conv2d_1").get_weights()[0]
    np.testing.assert_array_equal(kernel[:, :, 0], kernel[:, :, 1])
    np.testing.assert_array_equal(kernel[:, :, 0], kernel[:, :, 2])


def test_every_channel_of_the_shipped_network_is_alive_on_its_picture() -> None:
    acts = fs.capture(fs.demo.network_path(), fs.demo.image_path(), layers=BASE)
    for name in BASE:
        values = acts[name].values
        assert (values.std(axis=(0, 1)) > 0).all(), name


def test_the_shipped_channels_are_not_copies_of_each_other() -> None:
    acts = fs.capture(fs.demo.network_path(), fs.demo.image_path(), layers=["conv2d_4"])
    values = acts["conv2d_4"].values
    correlations = np.corrcoef(values.reshape(-1, 128).T)
    off_diagonal = correlations[~np.eye(128, dtype=bool)]
    assert np.mean(off_diagonal**2) < 0.15


def test_the_shipped_classes_are_the_outputs() -> None:
    network = fs.open_network(fs.demo.network_path())
    (output,) = (layer for layer in network.layers if layer.name in network.outputs)
    assert len(fs.demo.classes()) == output.channels == 1
