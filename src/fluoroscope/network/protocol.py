"""What a network is to the rest of Fluoroscope: inputs, a table of layers, and `run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Shape = tuple[int | None, ...]
"""A shape without its batch axis, channels last; None where the file leaves a size open."""

Family = Literal[
    "input", "conv", "pool", "dense", "normalization", "activation", "merge", "reshape", "preprocessing",
    "regularization", "block", "other",
]  # fmt: skip
"""The coarse kind of a layer, by which layers can be selected. A block is what other layers are in; its
output is mostly that of the last of them, so that it is captured only where it is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceptiveField:
    """The box of network-input pixels that one activation can see.

    The activation at ``(y, x)`` sees rows ``y * stride[0] + offset[0]`` up to, not including,
    ``y * stride[0] + offset[0] + size[0]``, and likewise columns; parts outside the picture are padding.
    Strides are fractions after upsampling. Formulas: Araujo, Norris, Sim, "Computing Receptive Fields of
    Convolutional Neural Networks", Distill 2019, doi 10.23915/distill.00021.

    Attributes
    ----------
    size, stride, offset
        (height, width), in pixels of the network's input. A layer with one spatial axis has 1-tuples.
    whole
        True when every activation depends on all that the network looks at of the picture (after a dense
        layer or global pooling). Without a stride, size is that of the input, or empty where it is not
        known; with one, it is the box that is seen beside (a gate on a map).
    """

    size: tuple[float, ...]
    stride: tuple[float, ...]
    offset: tuple[float, ...]
    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """One input of a network.

    Attributes
    ----------
    name
        The input layer's name.
    shape
        Without batch, channels last: ``(height, width, channels)`` for a picture.
    dtype
        NumPy's name of the type that the network computes with there. Whatever is given is converted; to a
        type of whole numbers only where nothing is lost.
    """

    name: str
    shape: Shape
    dtype: str = "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One row of the layer table: one call of what the network's author calls a layer.

    Attributes
    ----------
    name
        The name in the file; nested layers by path (``vgg16/block1_conv1``); a second call of a shared
        layer is ``tower#2``. Unique in a network.
    kind
        The class, by its modern Keras name (``Conv2D``), or the ONNX operator.
    family
        The coarse kind.
    shape
        Output shape without batch, channels last. Empty tuple when a problem keeps it unknown.
    parameters, trainable
        Number of weights; how many of them are trainable. A shared layer counts at its first call only.
    inputs
        Names of the layers whose outputs this one takes.
    activation
        Name of the activation fused into the layer, or None if it has none (``linear`` counts as none).
    has_pre
        True when ``name:pre``, the value before the fused activation, can be captured.
    receptive_field
        None where it has no meaning (no spatial axes, attention over all positions) or is not known.
    problem
        Why this layer cannot be run (it, or one it depends on, has no translation); None if it can.
    """

    name: str
    kind: str
    family: Family
    shape: Shape
    parameters: int = 0
    trainable: int = 0
    inputs: tuple[str, ...] = ()
    activation: str | None = None
    has_pre: bool = False
    receptive_field: ReceptiveField | None = None
    problem: str | None = None

    @property
    def channels(self) -> int:
        """Size of the last axis; 0 where it is not known."""
        return (self.shape[-1] or 0) if self.shape else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a network came from, as far as its file says.

    Attributes
    ----------
    path
        The file as given; None for bytes.
    format
        ``keras-hdf5``, ``keras-archive`` or ``onnx``.
    writer
        What wrote it: ``Keras 2.0.5``, ``pytorch 2.3``; None if not said.
    backend
        ``tensorflow``, ``theano``, ``jax``...; None if not said.
    sha256
        Of the file's bytes.
    size
        Of the file, in bytes.
    notes
        Other facts worth a line: optimizer state skipped, float16 weights widened, non-finite weights.
    device, precision
        What computes it, and how exactly: ``cuda``, ``float32``.
    """

    path: str | None
    format: str
    writer: str | None
    backend: str | None
    sha256: str
    size: int
    notes: tuple[str, ...] = field(default=())
    device: str = "cpu"
    precision: str = "float32"


@runtime_checkable
class Network(Protocol):
    """Something that can be run layer by layer."""

    @property
    def name(self) -> str: ...
    @property
    def inputs(self) -> tuple[InputSpec, ...]: ...
    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the layers that are the network's outputs."""
        ...

    @property
    def layers(self) -> tuple[Layer, ...]:
        """In network order (topological; the file's order where that is one)."""
        ...

    @property
    def provenance(self) -> Provenance: ...

    def run(
        self, batch: FloatArray | Mapping[str, FloatArray], names: Sequence[str]
    ) -> dict[str, FloatArray]:
        """Run the network on a batch.

        Parameters
        ----------
        batch
            ``(n, *input shape)``, channels last; a mapping by input name if there are several.
        names
            Layer names, or ``name:pre``.

        Returns
        -------
        dict
            For each name ``(n, *layer shape)``, channels last, float32, read-only; memory order is
            channels first, so each channel of a picture is contiguous.

        Raises
        ------
        LayerNotFound
            An unknown name.
        UnsupportedLayer
            A layer that cannot be run; the message names the layer without a translation.
        UsageError
            A batch of the wrong shape or dtype.
        BudgetExceeded
            The activations asked for are over the memory budget.
        """
        ...

    def at_size(self, height: int, width: int) -> Network:
        """The same network for pictures of another size; itself if that is its size already.

        Raises `UsageError` when the architecture fixes another size.
        """
        ...
