"""A tree of models and layers unfolded into one row of calls, in topological order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from fluoroscope.errors import BudgetExceeded, DamagedFile
from fluoroscope.formats.keras.arguments import Arguments
from fluoroscope.formats.keras.model import KerasLayer, LayerCall, Submodel
from fluoroscope.formats.keras.tree import OUTSIDE, LayerNode, ModelNode, TensorRef
from fluoroscope.formats.keras.variables import Array
from fluoroscope.formats.limits import Limits

TreePath = tuple[int, ...]
"""A node in a tree: the positions to go down by."""

Weights = Mapping[TreePath, Mapping[str, Array]]

_Source = tuple[str | None, int]
"""A call and which of its outputs; without a call, an input of the whole model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfolded:
    """As in `KerasModel`."""

    calls: tuple[LayerCall, ...]
    inputs: tuple[str, ...]
    outputs: tuple[tuple[str, int], ...]


def unfold(root: ModelNode, weights: Weights, *, limits: Limits) -> Unfolded:
    """All calls of all layers. A model that is called twice has its layers called twice.

    Models in wrappers are unfolded for themselves.

    Raises
    ------
    DamagedFile
        Layers that feed each other in a circle, or tensors that do not exist.
    BudgetExceeded
        More calls than `limits` allow.
    """
    return _unfolded(_Unfolder(weights, limits), root, (), "", root.trainable)


def _unfolded(unfolder: _Unfolder, root: ModelNode, path: TreePath, prefix: str, trainable: bool) -> Unfolded:
    """A model by itself, called on tensors from outside."""
    outside: list[_Source] = [(None, number) for number in range(root.arity)]
    outputs = unfolder.run(root, path, prefix, trainable, outside)
    if set(unfolder.inputs) != set(range(root.arity)) or not outputs:
        raise DamagedFile("A model in it lacks an input or an output.")
    return Unfolded(
        calls=tuple(unfolder.calls),
        inputs=tuple(unfolder.inputs[number] for number in range(root.arity)),
        outputs=tuple((call, output) for call, output in outputs if call is not None),
    )


class _Unfolder:
    def __init__(self, weights: Weights, limits: Limits, counter: Iterator[int] | None = None) -> None:
        self.calls: list[LayerCall] = []
        self.inputs: dict[int, str] = {}
        self._weights = weights
        self._limits = limits
        self._counter = counter or count(1)
        self._layers: dict[TreePath, KerasLayer] = {}
        self._times: Counter[str] = Counter()
        self._names: set[str] = set()

    def run(
        self, model: ModelNode, path: TreePath, prefix: str, trainable: bool, outside: Sequence[_Source]
    ) -> list[_Source]:
        """Call a model on tensors: every call in it, what it needs first before it. Returns its outputs.

        Parameters
        ----------
        prefix
            Goes before the names of its layers.
        trainable
            False when a model around it is frozen.
        outside
            The tensors it is called on.
        """
        results: dict[tuple[int, int], list[_Source]] = {}

        def source(reference: TensorRef) -> _Source:
            if reference.layer == OUTSIDE:
                found = list(outside)
            elif isinstance(model.layers[reference.layer], ModelNode):
                found = results[reference.layer, reference.call]
            else:
                return results[reference.layer, reference.call][0][0], reference.output
            if not 0 <= reference.output < len(found):
                raise DamagedFile(f"Output {reference.output} of a model with {len(found)} is taken.")
            return found[reference.output]

        for place, number in _topological(model):
            layer = model.layers[place]
            call = model.calls[place][number]
            tensors = [source(reference) for reference in call.tensors]
            self._count()
            here = (*path, place)
            if isinstance(layer, ModelNode):
                if len(tensors) != layer.arity:
                    raise DamagedFile(
                        f"Model {layer.name[:80]!r} takes {layer.arity} tensors and gets {len(tensors)}."
                    )
                inner = trainable and layer.trainable
                results[place, number] = self.run(layer, here, f"{prefix}{layer.name}/", inner, tensors)
            else:
                called = self._layer(layer, here, prefix, trainable)
                results[place, number] = [(self._call(called, tensors, call.arguments), 0)]
        return [source(reference) for reference in model.outputs]

    def _layer(self, node: LayerNode, path: TreePath, prefix: str, trainable: bool) -> KerasLayer:
        if path not in self._layers:
            trainable = trainable and node.trainable
            self._layers[path] = KerasLayer(
                name=prefix + node.name,
                kind=node.kind,
                config=node.config,
                weights=self._weights.get(path, {}),
                trainable=trainable,
                problem=node.problem,
                inner={
                    attribute: self._inside(child, (*path, place), f"{prefix}{node.name}/", trainable)
                    for place, (attribute, child) in enumerate(node.inner.items())
                },
                asked=node.asked,
            )
        return self._layers[path]

    def _inside(
        self, node: LayerNode | ModelNode, path: TreePath, prefix: str, trainable: bool
    ) -> KerasLayer | Submodel:
        """What a wrapper holds."""
        if isinstance(node, LayerNode):
            return self._layer(node, path, prefix, trainable)
        inner = _Unfolder(self._weights, self._limits, self._counter)
        unfolded = _unfolded(inner, node, path, f"{prefix}{node.name}/", trainable and node.trainable)
        return Submodel(
            name=prefix + node.name,
            calls=unfolded.calls,
            inputs=unfolded.inputs,
            outputs=unfolded.outputs,
        )

    def _call(self, layer: KerasLayer, tensors: Sequence[_Source], arguments: Arguments | None) -> str:
        name = self._name(layer.name)
        if layer.kind == "InputLayer":
            for call, number in tensors:
                if call is None:
                    self.inputs[number] = name
        elif any(call is None for call, _ in tensors):
            raise DamagedFile(f"Layer {layer.name[:80]!r} takes the model's input without an input layer.")
        inputs = tuple((call, output) for call, output in tensors if call is not None)
        self.calls.append(LayerCall(name=name, layer=layer, inputs=inputs, arguments=arguments))
        return name

    def _name(self, layer_name: str) -> str:
        """The layer's name, with its number behind it from the second call on; never given twice."""
        while True:
            self._times[layer_name] += 1
            times = self._times[layer_name]
            name = layer_name if times == 1 else f"{layer_name}#{times}"
            if name not in self._names:
                self._names.add(name)
                return name

    def _count(self) -> None:
        if next(self._counter) > self._limits.calls:
            raise BudgetExceeded(
                f"Its models, called inside each other, make over {self._limits.calls} calls."
            )


def _topological(model: ModelNode) -> list[tuple[int, int]]:
    """A model's calls, as position and number: the file's order, but each behind all that it needs."""
    order: list[tuple[int, int]] = []
    done: set[tuple[int, int]] = set()
    begun: set[tuple[int, int]] = set()
    everything = [(place, number) for place, calls in enumerate(model.calls) for number in range(len(calls))]
    existing = set(everything)
    stack = everything[::-1]
    while stack:
        call = stack[-1]
        if call not in existing:
            raise DamagedFile(f"Layer {model.layers[call[0]].name[:80]!r} is used but never called.")
        if call in done:
            stack.pop()
            continue
        tensors = model.calls[call[0]][call[1]].tensors
        taken = (reference for reference in tensors if reference.layer != OUTSIDE)
        needed = [feed for reference in taken if (feed := (reference.layer, reference.call)) not in done]
        if not needed:
            order.append(call)
            done.add(call)
            stack.pop()
        elif call in begun:
            raise DamagedFile(f"Layer {model.layers[call[0]].name[:80]!r} feeds itself in a circle.")
        else:
            begun.add(call)
            stack += needed[::-1]
    return order
