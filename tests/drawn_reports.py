"""What the tests of the PDF, the poster and their parts share: reports of networks that never were run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fluoroscope.activations import FeatureMaps
from fluoroscope.drawing.style import Style
from fluoroscope.images import open_image, preprocess
from fluoroscope.network.protocol import InputSpec, Layer, Provenance, ReceptiveField
from fluoroscope.output.draw import draw_layer
from fluoroscope.output.report import DrawnLayer, Report

ORIGIN = Provenance(
    path="models/net.h5",
    format="keras-hdf5",
    writer="Keras 2.0.5",
    backend="tensorflow",
    sha256="0123456789abcdef" * 4,
    size=70_000,
)


@dataclass(frozen=True)
class PaperNetwork:
    """All of a network that a report tells, and nothing to run."""

    name: str
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...] = ()
    inputs: tuple[InputSpec, ...] = (InputSpec(name="input_1", shape=(24, 32, 3)),)
    provenance: Provenance = ORIGIN


def layer(name: str, shape: tuple[int, ...], kind: str = "Conv2D", activation: str | None = "relu") -> Layer:
    """A row of a layer table."""
    field = ReceptiveField(size=(3.0, 3.0), stride=(1.0, 1.0), offset=(0.0, 0.0))
    return Layer(
        name=name,
        kind=kind,
        family="conv" if kind == "Conv2D" else "dense",
        shape=shape,
        parameters=100,
        trainable=90,
        activation=activation,
        has_pre=activation is not None,
        receptive_field=field if len(shape) == 3 else None,
    )


def maps(*shape: int, seed: int = 0) -> np.ndarray:
    """Activations ``shape``, channels last, smooth along each axis, half of each channel zero."""
    values = np.random.default_rng(seed).normal(size=shape)
    axes = tuple(range(max(len(shape) - 1, 1)))
    for axis in axes:
        values = np.cumsum(values, axis=axis)
    return np.maximum(values - np.median(values, axis=axes, keepdims=True), 0).astype(np.float32)


def draw(row: Layer, values: np.ndarray, number: int = 0, style: Style | None = None) -> DrawnLayer:
    """A layer drawn as the pipeline draws it."""
    return draw_layer(FeatureMaps(row.name, row, number, values), style or Style())


def report(
    layers: Sequence[tuple[Layer, np.ndarray]],
    *,
    style: Style | None = None,
    name: str = "net",
    outputs: Mapping[str, np.ndarray] | None = None,
    classes: Sequence[str] = (),
    skipped: Mapping[str, str] | None = None,
    picture: np.ndarray | None = None,
    notes: Sequence[str] = (),
) -> Report:
    """A report of these layers, drawn as they are taken."""
    style = style or Style()
    rows = tuple(row for row, _ in layers)
    pixels = np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3) if picture is None else picture
    image = open_image(pixels)
    prepared = preprocess(image, height=pixels.shape[0], width=pixels.shape[1], channels=image.channels)
    network = PaperNetwork(name, rows, tuple(outputs or ()))
    network = replace(network, provenance=replace(network.provenance, notes=tuple(notes)))
    return Report(
        network=network,
        inputs={"input": prepared},
        style=style,
        layers=(draw(row, values, number, style) for number, (row, values) in enumerate(layers)),
        count=len(layers),
        predictions=dict(outputs or {}),
        classes=tuple(classes),
        skipped=dict(skipped or {}),
    )


def stack(count: int, *shape: int) -> list[tuple[Layer, np.ndarray]]:
    """So many convolutions of one shape."""
    return [(layer(f"conv_{index}", shape), maps(*shape, seed=index)) for index in range(count)]


HOSTILE = [
    "a" * 1_000_000,
    "line\nbreak\x00 and \x1b[31m",
    "\u202ereversed \u05d0\u05d1",
    "(unbalanced \\) << /Type /Catalog >> endstream endobj %%EOF",
    "猫/识别层",
    "\ud800 half of a pair",
    "\U0001f600",
    "   ",
    "<img src=x onerror=alert(1)>",
    "a/b/c/d/e/f",
]
"""Names that no layer should have, and that a file may give it."""
