"""Makes ``keras_versions.zip``: one small network as every style of Keras 3 writes it, with what it computes.

For each of the versions below, in an environment of its own with TensorFlow::

    pip install tensorflow-cpu keras==3.6.0
    python make_keras_versions.py 3.6.0.zip

and the members of these archives together in one. Read by ``tests/test_keras_versions.py``.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

VERSIONS = ("3.0.5", "3.3.3", "3.6.0", "3.10.0")

os.environ["KERAS_BACKEND"] = "tensorflow"


def network() -> Any:
    import keras

    k = keras.layers
    tower = keras.Sequential(
        [keras.Input((8, 8, 3)), k.Conv2D(3, 3, padding="same", activation="gelu", name="conv")], name="tower"
    )
    entry = keras.Input((8, 8, 3), name="entry")
    scaled = k.Rescaling(1 / 127.5, -1, name="scaled")(entry)
    again = tower(tower(scaled))
    value = again + scaled
    value = k.BatchNormalization(name="norm")(value)
    value = k.SeparableConv2D(4, 3, activation="hard_sigmoid", name="separable")(value)
    value = k.LeakyReLU(negative_slope=0.2, name="leaky")(value)
    value = k.ZeroPadding2D(((1, 0), (0, 1)), name="padded")(value)
    value = k.Conv2DTranspose(2, 2, strides=2, name="larger")(value)
    value = k.LayerNormalization(name="layer_norm")(value)
    value = k.Flatten(name="flat")(value)
    return keras.Model(entry, k.Dense(3, activation="softmax", name="answer")(value), name="versions")


def main(target: str) -> None:
    import keras
    import numpy as np

    generator = np.random.default_rng(7)
    model = network()
    model.set_weights([generator.uniform(0.1, 0.6, w.shape).astype("float32") for w in model.get_weights()])
    picture = generator.uniform(0, 255, (1, 8, 8, 3)).astype("float32")
    names = ["scaled", "norm", "separable", "leaky", "padded", "larger", "layer_norm", "flat", "answer"]
    watched = keras.Model(model.inputs, [model.get_layer(name).output for name in names])
    arrays = {name: np.asarray(value) for name, value in zip(names, watched(picture), strict=True)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, entry=picture, **arrays)
    version = keras.__version__
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(target, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr(f"{version}/values.npz", buffer.getvalue())
        archive.writestr(f"{version}/model.json", model.to_json())
        for name in ("model.keras", "model.h5"):
            model.save(Path(folder) / name)
            archive.write(Path(folder) / name, f"{version}/{name}")
        model.save_weights(Path(folder) / "model.weights.h5")
        archive.write(Path(folder) / "model.weights.h5", f"{version}/model.weights.h5")


if __name__ == "__main__":
    main(sys.argv[1])
