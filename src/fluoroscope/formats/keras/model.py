"""The one canonical form that every Keras file is brought to, whatever version wrote it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from fluoroscope.formats.keras.arguments import Arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasLayer:
    """A layer with its weights.

    Attributes
    ----------
    name
        Path of the layer: its own name behind those of the models it is nested in.
    kind
        Class name by Keras 3 (``Conv2D``, also for Keras 1's ``Convolution2D``).
    config
        Keyword arguments as Keras 3 names them: tuples as lists of int, ``data_format`` always present
        where the class has one, ``activation`` a name, or ``{"class_name", "config"}`` of a layer whose
        options no named function has. What has no meaning at inference may be left in.
    weights
        Variables by their Keras 3 names (``kernel``, ``bias``, ``gamma``, ``moving_mean``...), as stored,
        in Keras's layout: convolution kernels ``(*spatial, in, out)``.
    trainable
        As the file says, a frozen parent model included.
    problem
        Why this layer cannot be understood (a Lambda, a custom class); None if it can.
    inner
        Of a wrapper, the layers and models in it, by the attribute that holds them in Keras (``layer``,
        ``forward_layer``, ``cell``).
    asked
        Of a layer that a user put in the place of another, the names of the options that the user gave; other
        options are those of the author's class, and may be unknown. None for a layer as it is in the file.
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    weights: Mapping[str, NDArray[Any]]
    trainable: bool = True
    problem: str | None = None
    inner: Mapping[str, KerasLayer | Submodel] = field(default_factory=dict[str, "KerasLayer | Submodel"])
    asked: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCall:
    """One call of a layer on tensors.

    Attributes
    ----------
    name
        The layer's path; ``path#2`` for its second call. Unique.
    layer
        What is called. Shared by the calls of a shared layer.
    inputs
        For each tensor taken: name of the call that made it, and which of its outputs (0 for the first).
        An ``InputLayer`` of the whole model has none; one of a nested model has the tensor passed in.
    arguments
        How these stand among the call's other arguments; None for the usual call, with tensors alone.
    """

    name: str
    layer: KerasLayer
    inputs: tuple[tuple[str, int], ...] = ()
    arguments: Arguments | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submodel:
    """A model in a wrapper, nested models in it unfolded; its attributes are those of `KerasModel`.

    Its calls are called by their whole path: ``time_distributed/cnn/conv1``.
    """

    name: str
    calls: tuple[LayerCall, ...]
    inputs: tuple[str, ...]
    outputs: tuple[tuple[str, int], ...]

    def renamed(self, name: Callable[[str], str]) -> Submodel:
        """The same with its calls called as `name` says of their names."""
        names = {call.name: name(call.name) for call in self.calls}
        calls = (
            replace(
                call,
                name=names[call.name],
                inputs=tuple((names.get(source, source), index) for source, index in call.inputs),
            )
            for call in self.calls
        )
        return replace(
            self,
            calls=tuple(calls),
            inputs=tuple(names[own] for own in self.inputs),
            outputs=tuple((names.get(own, own), index) for own, index in self.outputs),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasModel:
    """A whole model, nested models unfolded, its calls in topological order.

    Attributes
    ----------
    calls
        Order of the file where that is topological.
    inputs, outputs
        Call and output index, in the model's order.
    keras_version
        ``(major, minor)`` of what wrote the file; ``(2, 0)`` where the config leaves it open.
    writer
        The full version, ``2.0.5``; None if the file does not say.
    backend
        ``tensorflow``, ``theano``...; None if the file does not say.
    sequential
        The outermost model is a Sequential, which does not count its input among its layers.
    notes
        Facts worth a line: optimizer state left out, a dtype policy, how a doubt was settled.
    """

    name: str
    calls: tuple[LayerCall, ...]
    inputs: tuple[str, ...]
    outputs: tuple[tuple[str, int], ...]
    keras_version: tuple[int, int]
    writer: str | None = None
    backend: str | None = None
    sequential: bool = False
    notes: tuple[str, ...] = ()
