"""Train the demonstration network: a small convnet that tells normal from pneumonia on chest X-rays.

It wants TensorFlow and tf_keras (``pip install tensorflow tf_keras pillow``), which Fluoroscope itself never
needs, and writes a legacy Keras 2 ``.h5``. On two idle cores it takes about a quarter of an hour.

    python examples/train_demo.py --data DIR --out chest_xray.h5

DIR holds:

``pneumoniamnist.npz`` (or ``pneumoniamnist_balanced.npz``)
    28x28 grey pictures and labels, 0 normal and 1 pneumonia, from MedMNIST v2, https://medmnist.com,
    doi 10.5281/zenodo.6496656, CC BY 4.0. Each split is balanced here by leaving out pictures of the
    larger class.
``chest_xray/*.jpeg``
    Chest X-rays with the file names of Kermany et al. 2018, ``person100_virus_184.jpeg`` and
    ``person1_bacteria_2.jpeg``, doi 10.17632/rscbjbr9sj.2, CC BY 4.0. All show pneumonia. A hundred
    are enough.

How it is trained, and why
--------------------------
*Detail.* The labelled pictures have 28 pixels a side, the network looks at 150, and its users at sharp
pictures. Sharp ones are at hand with pneumonia only: taken as further positives they would teach that sharp
means ill. So their fine detail alone, what is lost in 28 pixels, is added to random training pictures of
both classes, turned and mirrored at random, and says nothing about the label.

*Batch normalization*, in training only, keeps every channel alive. Afterwards it is folded into the
convolution before it, which changes nothing but rounding, so the file holds plain convolutions.

*Decorrelation.* Two classes need few features, and the last layers would hold the same four a dozen times
over. The mean squared correlation between channels is part of the loss (Cogswell et al., "Reducing
Overfitting in Deep Networks by Decorrelating Representations", ICLR 2016, here of normalized channels), with
a weight of 0.1: at 0 the channels of the last layer are worth 8 independent ones, at 0.1 twice as many; at 1
six times as many, but by speckling that nobody can read.

*Grey.* The network is trained on one channel; at the end each kernel is spread evenly over three.

The epoch is chosen on the validation pictures. The test pictures are looked at once, when all is done.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import tensorflow as tf
import tf_keras
from tf_keras import layers

SIDE = 150
FILTERS = (32, 64, 128, 128)
DECORRELATION = 0.1
BATCH = 32

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


class DataMissing(Exception):
    """The data folder lacks something; the message says what, and where it comes from."""


# --- Data ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Split:
    """Pictures ``(n, 150, 150, 1)`` uint8 and labels ``(n,)`` float32, 1 for pneumonia."""

    pictures: Bytes
    labels: Floats


def read_splits(folder: Path) -> dict[str, Split]:
    """The splits ``train``, ``val`` and ``test`` of PneumoniaMNIST, balanced and enlarged to 150 pixels.

    Pictures that are also in ``val`` or ``test`` are taken out of ``train``: a few are there twice.
    """
    found = sorted(folder.glob("pneumoniamnist*.npz"))
    if not found:
        raise DataMissing(
            f"{folder} holds no pneumoniamnist.npz. It is part of MedMNIST v2: download it from "
            "https://zenodo.org/records/6496656 (doi 10.5281/zenodo.6496656)."
        )
    with np.load(found[0], allow_pickle=False) as arrays:
        raw = {
            name: balanced(arrays[f"{name}_images"], arrays[f"{name}_labels"].ravel())
            for name in ("train", "val", "test")
        }
    held_out = {picture.tobytes() for name in ("val", "test") for picture in raw[name][0]}
    pictures, labels = raw["train"]
    new = np.array([picture.tobytes() not in held_out for picture in pictures])
    raw["train"] = pictures[new], labels[new]
    return {
        name: Split(np.stack([enlarged(p) for p in pictures])[..., None], labels.astype(np.float32))
        for name, (pictures, labels) in raw.items()
    }


def balanced(pictures: Bytes, labels: Bytes) -> tuple[Bytes, Bytes]:
    """As many pictures of each class as the smaller one has, drawn at random, in their order."""
    rng = np.random.default_rng(0)
    of_class = [np.flatnonzero(labels == c) for c in (0, 1)]
    fewest = min(map(len, of_class))
    chosen = np.sort(np.concatenate([rng.choice(indices, fewest, replace=False) for indices in of_class]))
    return pictures[chosen], labels[chosen]


def enlarged(picture: Bytes) -> Bytes:
    """A grey picture at 150x150, bicubic."""
    return np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def read_details(folder: Path) -> Floats:
    """The fine detail of the sharp pictures: what is lost in 28 pixels. ``(n, 150, 150, 1)``, about 0."""
    paths = [path for path in sorted(folder.glob("chest_xray/*.jpeg")) if not_held_out(path.name)]
    if not paths:
        raise DataMissing(
            f"{folder / 'chest_xray'} holds no picture called person..._virus_....jpeg or "
            "person..._bacteria_....jpeg to train with. They are the chest X-rays of Kermany et al., "
            "doi 10.17632/rscbjbr9sj.2; copy some of them there."
        )
    details: list[Floats] = []
    for path in paths:
        with Image.open(path) as opened:
            sharp = opened.convert("L")
        coarse = sharp.resize((28, 28), Image.Resampling.BICUBIC)
        # Nearest, as most people's loading functions do it: then its aliasing is known to the network too.
        fine = np.asarray(sharp.resize((SIDE, SIDE), Image.Resampling.NEAREST), np.float32)
        details.append((fine - enlarged(np.asarray(coarse))) / 255)
    return np.stack(details)[..., None]


def not_held_out(name: str) -> bool:
    """False for pictures of the patients that Kermany et al. hold out for testing, and PneumoniaMNIST too.

    Found by comparing the sharp pictures with the 28x28 ones of each split: viruses up to person 77 are
    in ``test``, those from person 100 on in ``train`` or ``val``; bacteria are in ``test`` from 78 to 175.
    """
    match = re.fullmatch(r"person(\d+)_(virus|bacteria)_\d+\.jpeg", name)
    if match is None:
        return False
    person = int(match[1])
    return person >= 100 if match[2] == "virus" else not 78 <= person <= 175


# --- Augmentation --------------------------------------------------------------------------------------


def augmented(pictures: tf.Tensor, details: tf.Tensor) -> tf.Tensor:
    """Random views of pictures: ``(n, 150, 150, 1)`` uint8 to float32 in [0, 1].

    Turned, zoomed, stretched, sheared, shifted and mirrored; for half of them the detail of a random sharp
    picture is added; then gamma, contrast and brightness vary, as exposures do.
    """
    n = tf.shape(pictures)[0]

    def uniform(low: float, high: float) -> tf.Tensor:
        return tf.random.uniform([n], low, high)

    def each(values: tf.Tensor) -> tf.Tensor:
        return tf.reshape(values, [-1, 1, 1, 1])

    x = tf.cast(pictures, tf.float32) / 255

    # An affine map from output to input pixels about the centre.
    angle, shear = uniform(-0.2, 0.2), uniform(-0.1, 0.1)
    zoom_x, zoom_y = tf.exp(uniform(-0.2, 0.2)), tf.exp(uniform(-0.2, 0.2))
    mirror = tf.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    cos, sin = tf.cos(angle), tf.sin(angle)
    xx, xy = zoom_x * cos * mirror, shear - zoom_x * sin
    yx, yy = zoom_y * sin * mirror, zoom_y * cos
    centre, reach = (SIDE - 1) / 2, 0.1 * SIDE
    shift_x = centre * (1 - xx - xy) + uniform(-reach, reach)
    shift_y = centre * (1 - yx - yy) + uniform(-reach, reach)
    zero = tf.zeros([n])
    x = tf.raw_ops.ImageProjectiveTransformV3(
        images=x,
        transforms=tf.stack([xx, xy, shift_x, yx, yy, shift_y, zero, zero], axis=1),
        output_shape=[SIDE, SIDE],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )

    detail = tf.gather(details, tf.random.uniform([n], 0, tf.shape(details)[0], tf.int32))
    detail = tf.where(each(uniform(0, 1)) < 0.5, detail, detail[:, :, ::-1])
    detail = tf.where(each(uniform(0, 1)) < 0.5, detail, detail[:, ::-1])
    x = tf.clip_by_value(x + detail * each(tf.nn.relu(uniform(-1, 1))), 0, 1)

    x = x ** each(tf.exp(uniform(-0.5, 0.5)))
    mean = tf.reduce_mean(x, axis=[1, 2, 3], keepdims=True)
    x = mean + (x - mean) * each(tf.exp(uniform(-0.4, 0.4))) + each(uniform(-0.15, 0.15))
    return tf.clip_by_value(x, 0, 1)


# --- Networks ------------------------------------------------------------------------------------------


class Decorrelated(layers.Layer):
    """Identity; adds `DECORRELATION` times the mean squared correlation between channels to the loss.

    Each position of each picture, ``(n * height * width)`` in all, is one observation of all channels.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        channels = inputs.shape[-1]
        values = tf.reshape(inputs, [-1, channels])
        values -= tf.reduce_mean(values, axis=0)
        values /= tf.sqrt(tf.reduce_mean(values**2, axis=0) + 1e-4)
        correlations = tf.matmul(values, values, transpose_a=True) / tf.cast(len(values), tf.float32)
        off_diagonal = tf.linalg.set_diag(correlations, tf.zeros([channels]))
        mean_square = tf.reduce_sum(off_diagonal**2) / (channels * (channels - 1))
        self.add_loss(DECORRELATION * mean_square)
        return inputs


def training_network() -> tf_keras.Model:
    """Grey pictures ``(150, 150, 1)`` to a logit, with batch normalization and decorrelation."""
    x = pictures = layers.Input((SIDE, SIDE, 1))
    for number, filters in enumerate(FILTERS, start=1):
        x = layers.Conv2D(
            filters, 3, use_bias=False, kernel_initializer="he_normal", name=f"conv2d_{number}"
        )(x)
        x = layers.BatchNormalization(momentum=0.97, name=f"batch_normalization_{number}")(x)
        # ReLU after the pooling, which is the same as before it, on a quarter of the values.
        x = layers.ReLU()(layers.MaxPooling2D()(x))
        x = Decorrelated()(x)
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
    return tf_keras.Model(pictures, layers.Dense(1, name="dense_1")(x))


def plain_network() -> tf_keras.Model:
    """What is shipped: pictures ``(150, 150, 3)`` in [0, 1] to the probability of pneumonia."""
    network = tf_keras.Sequential(name="chest_xray")
    network.add(layers.InputLayer((SIDE, SIDE, 3), name="input_1"))
    for number, filters in enumerate(FILTERS, start=1):
        network.add(layers.Conv2D(filters, 3, activation="relu", name=f"conv2d_{number}"))
        network.add(layers.MaxPooling2D(name=f"max_pooling2d_{number}"))
    network.add(layers.GlobalAveragePooling2D(name="global_average_pooling2d_1"))
    network.add(layers.Dropout(0.3, name="dropout_1"))
    network.add(layers.Dense(1, activation="sigmoid", name="dense_1"))
    return network


def folded(trained: tf_keras.Model, *, scale: float, offset: float) -> tf_keras.Model:
    """The plain network that computes ``sigmoid(scale * logit + offset)`` of the trained one's logit."""
    plain = plain_network()
    for number in range(1, len(FILTERS) + 1):
        name = f"conv2d_{number}"
        (kernel,) = trained.get_layer(name).get_weights()
        normalization = trained.get_layer(f"batch_normalization_{number}")
        gamma, beta, mean, variance = normalization.get_weights()
        gain = gamma / np.sqrt(variance + normalization.epsilon)
        kernel = kernel * gain
        if number == 1:  # one grey channel to three equal ones
            kernel = np.repeat(kernel / 3, 3, axis=2)
        plain.get_layer(name).set_weights([kernel, beta - gain * mean])
    weights, bias = trained.get_layer("dense_1").get_weights()
    plain.get_layer("dense_1").set_weights([scale * weights, scale * bias + offset])
    return plain


# --- Training and scores -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Score:
    """How well logits ``(n,)`` fit labels: 1 is pneumonia, 0 the threshold."""

    loss: float  # mean cross-entropy, in nats
    sensitivity: float
    specificity: float
    area: float  # under the ROC curve

    @classmethod
    def of(cls, logits: Floats, labels: Floats) -> Score:
        ill, well = logits[labels == 1], logits[labels == 0]
        return cls(
            loss=float(np.logaddexp(0, np.where(labels == 1, -logits, logits)).mean()),
            sensitivity=float((ill > 0).mean()),
            specificity=float((well <= 0).mean()),
            area=float(((ill[:, None] > well) + 0.5 * (ill[:, None] == well)).mean()),
        )


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95% confidence interval of a proportion. Wilson, JASA 22, 1927."""
    z = 1.959964
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return middle - half, middle + half


def calibration(logits: Floats, labels: Floats) -> tuple[float, float]:
    """Scale and offset of the logits that fit the labels best, by Newton's method.

    Platt, "Probabilistic Outputs for Support Vector Machines", 1999. Label smoothing leaves the network too
    cautious, and its threshold moves about during training. A weak pull towards (1, 0) keeps the fit finite.
    """
    columns = np.stack([logits, np.ones_like(logits)], axis=1).astype(np.float64)
    start = fit = np.array([1.0, 0.0])
    for _ in range(20):
        p = 0.5 + 0.5 * np.tanh(columns @ fit / 2)  # the sigmoid, without overflow
        gradient = columns.T @ (p - labels) + (fit - start)
        curvature = (columns * (p * (1 - p))[:, None]).T @ columns + np.eye(2)
        fit = fit - np.linalg.solve(curvature, gradient)
    return float(fit[0]), float(fit[1])


def views(split: Split, details: tf.Tensor, *, times: int) -> Split:
    """The pictures as they are, and `times` augmented views of them, the same on every run."""
    tf_keras.utils.set_random_seed(99)
    pictures = [split.pictures / np.float32(255)]
    pictures += [augmented(split.pictures, details).numpy() for _ in range(times)]
    return Split(np.concatenate(pictures), np.tile(split.labels, times + 1))


def logits_of(network: tf_keras.Model, pictures: Floats) -> Floats:
    """One logit a picture, ``(n,)``; `pictures` are ``(n, 150, 150, 1)`` in [0, 1]."""
    return network.predict(pictures, batch_size=BATCH, verbose=0)[:, 0]


def train(splits: Mapping[str, Split], details: tf.Tensor, *, epochs: int, seed: int) -> tf_keras.Model:
    """The network trained, calibrated and folded; prints a line an epoch."""
    validation = views(splits["val"], details, times=3)
    plain_count = len(splits["val"].labels)

    tf_keras.utils.set_random_seed(seed)
    pictures, labels = splits["train"].pictures, splits["train"].labels
    batches = (
        tf.data.Dataset.from_tensor_slices((pictures, labels[:, None]))
        .shuffle(len(labels))
        .repeat()
        .batch(BATCH)
        .map(lambda x, y: (augmented(x, details), y))
        .prefetch(2)
    )
    steps = len(labels) // BATCH
    network = training_network()
    warm_up = steps // 2
    rate = tf_keras.optimizers.schedules.CosineDecay(
        1e-4, epochs * steps - warm_up, alpha=0.01, warmup_target=2e-3, warmup_steps=warm_up
    )
    network.compile(
        tf_keras.optimizers.AdamW(rate, weight_decay=1e-4),
        tf_keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.05),
    )

    print(
        f"{len(labels)} pictures to train with, the detail of {len(details)} sharp ones; {plain_count} to "
        "validate with, as they are (plain) and in three augmented views each (all)\n"
        "epoch   loss | all: loss   area | plain: loss   area  sens.  spec. | seconds"
    )
    started = time.perf_counter()
    best = math.inf, network.get_weights()
    for epoch in range(1, epochs + 1):
        history = network.fit(batches, steps_per_epoch=steps, verbose=0).history
        logits = logits_of(network, validation.pictures)
        everything = Score.of(logits, validation.labels)
        plain = Score.of(logits[:plain_count], splits["val"].labels)
        if everything.loss < best[0]:
            best = everything.loss, network.get_weights()
        print(
            f"{epoch:5} {history['loss'][0]:6.3f} | {everything.loss:9.3f} {everything.area:6.3f} | "
            f"{plain.loss:11.3f} {plain.area:6.3f} {plain.sensitivity:6.3f} {plain.specificity:6.3f} | "
            f"{time.perf_counter() - started:7.0f}",
            flush=True,
        )
    network.set_weights(best[1])
    scale, offset = calibration(logits_of(network, validation.pictures), validation.labels)
    print(f"kept the epoch with loss {best[0]:.3f} (all); calibrated: {scale:.2f} * logit {offset:+.2f}")
    return folded(network, scale=scale, offset=offset)


def report(network: tf_keras.Model, name: str, split: Split) -> None:
    """Print how many of a split's pictures the finished network gets right."""
    probabilities = network.predict(split.pictures.repeat(3, axis=3) / np.float32(255), verbose=0)[:, 0]
    score = Score.of(np.log(probabilities / (1 - probabilities)), split.labels)
    n = len(split.labels)
    right = int(((probabilities > 0.5) == (split.labels == 1)).sum())
    low, high = wilson(right, n)
    print(
        f"{name}: accuracy {right / n:.3f} ({right} of {n}; 95% confidence {low:.3f} to {high:.3f}), "
        f"sensitivity {score.sensitivity:.3f}, specificity {score.specificity:.3f}, area {score.area:.3f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="laid out as above")
    parser.add_argument("--out", type=Path, default=Path("chest_xray.h5"), metavar="FILE", help="%(default)s")
    parser.add_argument("--epochs", type=int, default=24, metavar="N", help="%(default)s")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="%(default)s")
    args = parser.parse_args()
    if args.epochs < 1:
        parser.error(f"--epochs {args.epochs}: at least one is needed")

    tf.config.experimental.enable_op_determinism()
    try:
        splits = read_splits(args.data)
        details = tf.constant(read_details(args.data))
    except DataMissing as missing:
        print(f"train_demo.py: {missing}\n`python {sys.argv[0]} --help` shows the layout.", file=sys.stderr)
        return 1
    network = train(splits, details, epochs=args.epochs, seed=args.seed)
    network.save(args.out, save_format="h5", include_optimizer=False)
    for name in ("val", "test"):
        report(network, name, splits[name])
    print(f"{args.out}: {network.count_params():,} weights, {args.out.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
