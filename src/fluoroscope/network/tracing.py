"""What is known of a graph's tensors before it is run: types, shapes, and the small numbers sizes come from.

One walk over the nodes. `Inference` says what each node makes of the shapes it takes; numbers that depend on
shapes alone (``Shape``, ``Gather``, ``Concat``... down to the target of a ``Reshape``) are computed on the
way, in NumPy. Each tensor is held against the budget as soon as its size is known, before the next node can
make a larger one of it; nothing of the sizes named is ever allocated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import DamagedFile
from fluoroscope.network.budget import Budget
from fluoroscope.network.folding import FOLDABLE, SMALL, fold
from fluoroscope.network.inference import Inference
from fluoroscope.network.nodes import LOOP, body, integer, reads, title
from fluoroscope.network.tensors import TensorType

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class Trace:
    """What is known of a graph's tensors, for inputs of certain shapes.

    Attributes
    ----------
    types
        Of every tensor whose rank is known: inputs, weights, what nodes make.
    values
        Small tensors whose values depend on nothing but weights and shapes.
    unknown
        Tensors of which no size can be known before the graph is run -> the node that is to blame.
    """

    types: Mapping[str, TensorType] = field(default_factory=dict[str, TensorType])
    values: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    unknown: Mapping[str, str] = field(default_factory=dict[str, str])


def trace(
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, NDArray[Any]],
    inputs: Mapping[str, TensorType],
    opset: int,
    budget: Budget,
    *,
    forgiving: bool = False,
) -> Trace:
    """Walk over `nodes`, which are in topological order.

    Parameters
    ----------
    inputs
        Of the graph, by tensor name. A size may be None: what follows from it is then None too.
    budget
        Bound for every single tensor.
    forgiving
        Of a node that cannot take what it is given nothing is known then, and nothing is raised.

    Raises
    ------
    DamagedFile
        A node cannot take what it is given, by shape or type.
    UnsupportedLayer
        An operator that this operator set does not have.
    BudgetExceeded
        A tensor is over the budget.
    """
    walk = _Walk(weights, inputs, opset, budget, forgiving=forgiving)
    for node in nodes:
        walk.step(node)
    return Trace(walk.types, walk.values, walk.unknown)


class _Walk:
    def __init__(
        self,
        weights: Mapping[str, NDArray[Any]],
        inputs: Mapping[str, TensorType],
        opset: int,
        budget: Budget,
        *,
        forgiving: bool,
    ) -> None:
        self._inference = Inference(opset)
        self._budget = budget
        self._forgiving = forgiving
        self.types: dict[str, TensorType] = dict(inputs)
        self.types.update((name, TensorType(array.dtype, array.shape)) for name, array in weights.items())
        self.values = {name: array for name, array in weights.items() if array.size <= SMALL}
        self.unknown: dict[str, str] = {}

    def step(self, node: onnx.NodeProto) -> None:
        culprit = next((self.unknown[name] for name in reads(node) if name in self.unknown), None)
        if culprit is not None:
            self.unknown.update((name, culprit) for name in node.output if name)
            return
        if node.op_type == LOOP:
            self._loop(node)
            return
        free = any(not self.types[name].known for name in reads(node))
        try:
            made = self._inference.infer(node, self.types, self.values)
        except DamagedFile:
            if not self._forgiving:
                raise
            made = {}
        for name in filter(None, node.output):
            kind = made.get(name)
            # Of known shapes a shape that is not known: it hangs on what is in the picture.
            if kind is None or not (kind.known or free):
                self.unknown[name] = title(node)
                continue
            if kind.nbytes > self._budget.memory:
                self._budget.allow(kind.nbytes, f"What node {title(node)} makes, {list(kind.shape)},")
            self.types[name] = kind
        self._fold(node)

    def _loop(self, node: onnx.NodeProto) -> None:
        """A loop over axis 1 of some tensors: its body is walked once, its outputs are as many as steps."""
        inner = body(node)
        scanned = integer(node, "num_scan_inputs", 0)
        states = len(node.input) - scanned
        steps = self.types[node.input[-1]].shape[1]
        for place, (name, own) in enumerate(zip(node.input, inner.input, strict=True)):
            kind = self.types[name]
            if place >= states:
                kind = TensorType(kind.dtype, (kind.shape[0], *kind.shape[2:]))
            self.types[own.name] = kind
        for part in inner.node:
            self.step(part)
        for place, (name, own) in enumerate(zip(node.output, inner.output, strict=True)):
            if own.name in self.unknown:
                self.unknown[name] = self.unknown[own.name]
                continue
            kind = self.types[own.name]
            if place >= states:
                kind = TensorType(kind.dtype, (kind.shape[0], steps, *kind.shape[1:]))
                self._budget.allow(kind.nbytes, f"What node {title(node)} makes, {list(kind.shape)},")
            self.types[name] = kind

    def _fold(self, node: onnx.NodeProto) -> None:
        """Compute what the node makes, if it depends on shapes alone and is small."""
        name = node.output[0]
        kind = self.types.get(name)
        if node.op_type not in FOLDABLE or kind is None or not kind.known or kind.elements > SMALL:
            return
        if node.op_type in ("Shape", "Size"):
            shape = self.types[node.input[0]].shape
            arrays = [np.array(shape, np.int64)] if None not in shape else []
        else:
            arrays = [self.values.get(name) if name else None for name in node.input]
        if not arrays or any(name and array is None for name, array in zip(node.input, arrays, strict=False)):
            return
        value = fold(node, arrays)
        # Where NumPy and ONNX disagree on what comes out, nothing is claimed to be known.
        if value is not None and (value.dtype, value.shape) == (kind.dtype, kind.shape):
            self.values[name] = value
