"""A Keras architecture as a tree: models hold layers and models. Read from a config, before any weight is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fluoroscope.formats.keras.arguments import Arguments

OUTSIDE = -1
"""Stands for a layer's position in a `TensorRef`: the tensor is one of those that the model is called on."""


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor inside a model: an output of one call of one of its layers.

    Attributes
    ----------
    layer
        Position in `ModelNode.layers`, or `OUTSIDE`.
    call
        Which call of that layer, from 0.
    output
        Which of the call's outputs; for `OUTSIDE`, which of the model's inputs.
    """

    layer: int
    call: int
    output: int


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer or model.

    Attributes
    ----------
    tensors
        What it takes, in the order of the arguments.
    arguments
        How they stand among the call's other arguments; None for the usual call, with tensors alone.
    """

    tensors: tuple[TensorRef, ...]
    arguments: Arguments | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNode:
    """A layer as the file describes it, in canonical form.

    Attributes
    ----------
    name
        Its own, without those of the models around it.
    kind, config, problem
        As in `KerasLayer`.
    class_name
        As the file spells it.
    trainable
        Its own flag; a frozen model around it is not counted in.
    inner
        Of a wrapper, the layers and models in it, by the attribute that holds them in Keras (``layer``,
        ``forward_layer``, ``cell``).
    note
        How a doubt about it was settled; None if there was none.
    asked
        As in `KerasLayer`.
    """

    name: str
    kind: str
    class_name: str
    config: Mapping[str, Any]
    trainable: bool = True
    problem: str | None = None
    asked: frozenset[str] | None = None
    note: str | None = None
    inner: Mapping[str, LayerNode | ModelNode] = field(default_factory=dict[str, "LayerNode | ModelNode"])

    @property
    def layers(self) -> tuple[LayerNode | ModelNode, ...]:
        """Those in it, as a model has them."""
        return tuple(self.inner.values())

    def leaves(self) -> Iterator[LayerNode]:
        """Itself, and all layers in it."""
        yield self
        for layer in self.layers:
            yield from layer.leaves()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNode:
    """A model with its layers and how they are connected.

    Attributes
    ----------
    named
        False when the file gives no name (a Sequential in a Sequential up to Keras 2.2.2): `name` is ours.
    layers
        In the file's order. The input layer that a Sequential of Keras 1 and 2 leaves out is put in where
        nothing else brings in the tensor.
    calls
        For each layer, its calls.
    arity
        How many tensors it is called on. A model of its own takes them through input layers; the first layer
        of a Sequential inside another model may take one directly.
    """

    name: str
    class_name: str
    sequential: bool
    layers: tuple[LayerNode | ModelNode, ...]
    calls: tuple[tuple[Call, ...], ...]
    arity: int
    outputs: tuple[TensorRef, ...]
    named: bool = True
    trainable: bool = True

    def leaves(self) -> Iterator[LayerNode]:
        """All layers, those of nested models in their place."""
        for layer in self.layers:
            yield from layer.leaves()
