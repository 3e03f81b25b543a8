"""Files of past releases of Keras 3, with what these computed; ``data/make_keras_versions.py`` made them."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fluoroscope as fs

DATA = Path(__file__).parent / "data"
sys.path.append(str(DATA))

from make_keras_versions import VERSIONS  # noqa: E402


@pytest.fixture(scope="module")
def archive() -> zipfile.ZipFile:
    return zipfile.ZipFile(DATA / "keras_versions.zip")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.weights.h5"])
def test_every_layer_is_what_its_version_computed(version: str, name: str, archive: zipfile.ZipFile) -> None:
    config = archive.read(f"{version}/model.json") if "weights" in name else None
    network = fs.open_network(archive.read(f"{version}/{name}"), config=config)
    with np.load(io.BytesIO(archive.read(f"{version}/values.npz"))) as values:
        picture = values["entry"]
        expected = {layer: values[layer] for layer in values.files if layer != "entry"}
    results = network.run(picture, list(expected))
    for layer, value in expected.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(results[layer], value, rtol=0, atol=1e-5 * scale, err_msg=layer)
    if config is None:
        assert network.provenance.writer == f"Keras {version}"
        # No warning that is not true: there is nothing to warn of.
        assert network.provenance.notes == ()
    assert not [layer.name for layer in network.layers if layer.problem]
    assert {"tower/conv", "tower/conv#2"} <= {layer.name for layer in network.layers}
