"""Write the two networks of the benchmarks as legacy Keras 2 ``.h5`` files.

``lab.h5`` is the 150x150 chest X-ray classifier of a well-known lab on activations: four convolutions,
eight layers with feature maps, 704 channels. Its convolutions are those of the demonstration network, which
are trained; its head is random. ``vgg.h5`` is VGG16 at 300x300 under global average pooling: eighteen layers
with feature maps, 5,696 channels. Its weights are random, the same on every run.

    python benchmarks/models.py OUT_DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tf_keras
from tf_keras import layers

import fluoroscope


def lab() -> tf_keras.Model:
    """The lab's network: ``(150, 150, 3)`` to one sigmoid, 3,453,121 weights."""
    model = tf_keras.Sequential(
        [
            layers.Conv2D(32, (3, 3), activation="relu", input_shape=(150, 150, 3), name="conv2d_1"),
            layers.MaxPooling2D((2, 2), name="max_pooling2d_1"),
            layers.Conv2D(64, (3, 3), activation="relu", name="conv2d_2"),
            layers.MaxPooling2D((2, 2), name="max_pooling2d_2"),
            layers.Conv2D(128, (3, 3), activation="relu", name="conv2d_3"),
            layers.MaxPooling2D((2, 2), name="max_pooling2d_3"),
            layers.Conv2D(128, (3, 3), activation="relu", name="conv2d_4"),
            layers.MaxPooling2D((2, 2), name="max_pooling2d_4"),
            layers.Flatten(name="flatten_1"),
            layers.Dense(512, activation="relu", name="dense_1"),
            layers.Dense(1, activation="sigmoid", name="dense_2"),
        ],
        name="sequential_1",
    )
    set_weights(model, seed=1)
    trained = tf_keras.models.load_model(fluoroscope.demo.network_path(), compile=False)
    for name in ("conv2d_1", "conv2d_2", "conv2d_3", "conv2d_4"):
        model.get_layer(name).set_weights(trained.get_layer(name).get_weights())
    return model


def vgg() -> tf_keras.Model:
    """VGG16 without its top, at ``(300, 300, 3)``, with global average pooling and one sigmoid."""
    base = tf_keras.applications.VGG16(weights=None, include_top=False, input_shape=(300, 300, 3))
    x = layers.GlobalAveragePooling2D(name="global_average_pooling2d_1")(base.output)
    x = layers.Dropout(0.5, name="dropout_1")(x)
    x = layers.Dense(1, activation="sigmoid", name="dense_1")(x)
    model = tf_keras.Model(base.input, x, name="vgg16_custom")
    set_weights(model, seed=2)
    return model


def set_weights(model: tf_keras.Model, *, seed: int) -> None:
    """Give every kernel of `model` He-normal weights, and zero biases.

    He et al., "Delving Deep into Rectifiers", 2015, eq. 10. As in trained networks, some channels stay
    without any activation for a given picture.
    """
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if not layer.weights:
            continue
        kernel, bias = layer.get_weights()
        drawn = rng.normal(scale=np.sqrt(2 / kernel[..., 0].size), size=kernel.shape)
        layer.set_weights([drawn.astype(np.float32), np.zeros_like(bias)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n    ")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, metavar="OUT_DIR", help="folder for lab.h5 and vgg.h5")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, build in {"lab": lab, "vgg": vgg}.items():
        path = out / f"{name}.h5"
        model = build()
        model.save(path, save_format="h5", include_optimizer=False)
        print(f"{path}  {model.count_params():,} weights  {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
