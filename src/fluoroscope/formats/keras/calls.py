"""Which call of which layer a reference in a config means, and calls that change what a layer does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from fluoroscope.errors import DamagedFile
from fluoroscope.formats.keras.nodes import Node, Reference
from fluoroscope.formats.keras.tree import LayerNode, ModelNode, TensorRef

_DIFFERS_IN_TRAINING = ("BatchNorm", "Dropout", "Gaussian", "Random")

Numbers = Mapping[int, int]
"""From a call's number in the file to its number from 0."""


class Resolver:
    """From references to tensors, for one model.

    Up to Keras 2 a nested model's own making counted as its call 0, so calls of it are counted from 1; every
    call is used by something, so the smallest number in use is the first. Keras 3 counts from 0 between
    layers, but in ``output_layers`` still counts calls of a nested Functional from 1.

    Parameters
    ----------
    layers, nodes
        The model's layers, and the calls of each.
    places
        Positions in these by name.
    outputs
        The model's outputs.
    keras_3
        The calls are written in Keras 3's way.

    Raises
    ------
    DamagedFile
        More or other calls are referred to than there are.
    """

    def __init__(
        self,
        layers: Sequence[LayerNode | ModelNode],
        nodes: Sequence[Sequence[Node]],
        places: Mapping[str, int],
        outputs: Sequence[Reference],
        *,
        keras_3: bool,
    ) -> None:
        self._places = places
        self._between: dict[str, Numbers] = {}
        self._outside: dict[str, Numbers] = {}
        between = _used(reference for calls in nodes for node in calls for reference in node.tensors)
        outside = _used(outputs)
        for name, place in places.items():
            layer = layers[place]
            nested = isinstance(layer, ModelNode)
            count = 1 if not nested and layer.kind == "InputLayer" else len(nodes[place])
            inner, outer = between.get(name, set()), outside.get(name, set())
            if keras_3:
                from_one = nested and not layer.sequential and min(outer, default=0) > 0
                self._between[name] = _from_zero(inner, count, first=0, layer=name, gaps=True)
                self._outside[name] = _from_zero(outer, count, first=int(from_one), layer=name, gaps=True)
            else:
                first = min(inner | outer, default=0) if nested else 0
                self._between[name] = _from_zero(inner | outer, count, first=first, layer=name, gaps=False)
                self._outside[name] = self._between[name]

    def tensor(self, reference: Reference) -> TensorRef:
        """What a call takes."""
        name, call, output = reference
        return TensorRef(self._places[name], self._between[name][call], output)

    def output(self, reference: Reference) -> TensorRef:
        """What the model gives."""
        name, call, output = reference
        return TensorRef(self._places[name], self._outside[name][call], output)


def as_called(layer: LayerNode | ModelNode, calls: Sequence[Node]) -> LayerNode | ModelNode:
    """The layer, with a problem if the way it is called is one."""
    return _in_training(layer) if any(node.training for node in calls) else layer


def _in_training(layer: LayerNode | ModelNode) -> LayerNode | ModelNode:
    if isinstance(layer, ModelNode):
        return replace(layer, layers=tuple(map(_in_training, layer.layers)))
    if any(kind in layer.kind for kind in _DIFFERS_IN_TRAINING):
        problem = "is called with training=True: it works with each batch's own values, or at random"
        return replace(layer, problem=layer.problem or problem)
    return layer


def _used(found: Iterable[Reference]) -> dict[str, set[int]]:
    """For each layer, the numbers of its calls that are referred to."""
    used: dict[str, set[int]] = {}
    for name, call, _ in found:
        used.setdefault(name, set()).add(call)
    return used


def _from_zero(used: set[int], calls: int, *, first: int, layer: str, gaps: bool) -> Numbers:
    """The calls of one layer, of which the file counts from `first` and refers to those `used`.

    With `gaps` calls that belong to other models may be counted along, as Keras 3.0 does.
    """
    numbers = sorted(used)
    if all(0 <= number - first < calls for number in numbers):
        return {number: number - first for number in numbers}
    if gaps and len(numbers) == calls:
        return {number: place for place, number in enumerate(numbers)}
    raise DamagedFile(f"Call {numbers[-1]} of layer {layer[:80]!r} is used, but it is called {calls} times.")
