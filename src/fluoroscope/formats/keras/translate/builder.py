"""An ONNX graph in the making: nodes, weights, unique names, and values with their two axis orders.

Keras thinks channels last, onnxruntime works channels first. A value knows the order its tensor is in, so a
run of convolutions needs no transpose between them, and what needs Keras's order gets it with one.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from fluoroscope.network.nodes import reads
from fluoroscope.network.protocol import FloatArray, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """Which parts of a value Keras skips, mostly steps of a sequence.

    Attributes
    ----------
    tensor
        Truth values ``(batch, ...)``, false where it skips.
    rank
        How many axes it has without the batch: the first of those that the value has in Keras's order.
    """

    tensor: str
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What a layer makes: a tensor, and how Keras sees it.

    Attributes
    ----------
    tensor
        Name in the graph; its axis 0 is the batch.
    shape
        In Keras's order, without batch; None for a free size.
    channel
        The axis of `shape` that holds the channels: the last, or 0 in a ``channels_first`` model.
    moved
        True when `shape`'s last axis lies at the tensor's axis 1 (channels first); False when the tensor has
        Keras's order.
    dtype
        NumPy's name of the tensor's type: float32, or that of an input of whole numbers.
    mask
        Which of it Keras skips; None where nothing is skipped.
    """

    tensor: str
    shape: Shape
    channel: int
    moved: bool = False
    dtype: str = "float32"
    mask: Mask | None = None

    @property
    def rank(self) -> int:
        """Number of axes without the batch."""
        return len(self.shape)

    @property
    def last(self) -> int:
        """The last axis of `shape`."""
        return len(self.shape) - 1

    def axis(self, place: int) -> int:
        """Where axis `place` of `shape` lies in the tensor (whose axis 0 is the batch)."""
        if not self.moved:
            return place + 1
        return 1 if place == self.last else place + 2

    @property
    def channel_axis(self) -> int:
        """Where the channels lie in the tensor; 0 when there is nothing but a batch."""
        return self.axis(self.channel) if self.shape else 0

    @property
    def tensor_shape(self) -> Shape:
        """The tensor's shape, without batch."""
        return (*self.shape[self.last :], *self.shape[: self.last]) if self.moved else self.shape

    @property
    def channels_last(self) -> Shape:
        """The shape as a caller sees it."""
        rest = tuple(size for place, size in enumerate(self.shape) if place != self.channel)
        return (*rest, self.shape[self.channel]) if self.shape else ()

    def aligned(self, array: FloatArray, places: Sequence[int]) -> FloatArray:
        """`array`, whose axes are the axes `places` of `shape`, shaped to broadcast against the tensor.

        `places` ascend. An axis of length 1 in the result is broadcast.
        """
        spread = [1] * self.rank
        for place, size in zip(places, array.shape, strict=True):
            spread[place] = size
        broad = array.reshape(spread)
        return np.ascontiguousarray(np.moveaxis(broad, -1, 0)) if self.moved else broad


class GraphBuilder:
    """Collects nodes and weights under unique names.

    Parameters
    ----------
    reserved
        Names kept for layers' outputs: no other tensor gets one of them.

    Attributes
    ----------
    tables
        Numbers so far in tables that layers' declared sizes ask for.
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, NDArray[Any]] = {}
        self.tables = 0
        self._taken = set(reserved)
        self._small: dict[tuple[str, tuple[float, ...]], str] = {}
        self._orders: dict[str, Value] = {}
        self._floats: dict[str, str] = {}

    def unique(self, wanted: str) -> str:
        """`wanted`, or with a number behind it, for a tensor or node; never given twice."""
        # ONNX reads the empty name as "no input given".
        wanted = wanted or "unnamed"
        name, count = wanted, 1
        while name in self._taken:
            count += 1
            name = f"{wanted}#{count}"
        self._taken.add(name)
        return name

    def node(self, operator: str, inputs: Sequence[str], *, scope: str, **attributes: Any) -> str:
        """Append a node with one output; node and output are called ``scope/operator``.

        An attribute that is None is left out.
        """
        return self.outputs(operator, inputs, 1, scope=scope, **attributes)[0]

    def outputs(
        self, operator: str, inputs: Sequence[str], count: int, *, scope: str, **attributes: Any
    ) -> tuple[str, ...]:
        """Append a node with `count` outputs."""
        names = tuple(self.unique(f"{scope}/{operator}") for _ in range(count))
        given = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(operator, list(inputs), list(names), name=names[0], **given))
        return names

    def node_of_many(
        self, operator: str, inputs: Sequence[str], count: int, *, scope: str, **attributes: Any
    ) -> tuple[str, ...]:
        """Append a node with `count` outputs; they are called ``scope/operator:0`` and so on."""
        name = self.unique(f"{scope}/{operator}")
        outputs = tuple(self.unique(f"{name}:{place}") for place in range(count))
        self.nodes.append(helper.make_node(operator, list(inputs), list(outputs), name=name, **attributes))
        return outputs

    @contextmanager
    def body(self) -> Generator[list[NodeProto]]:
        """Collect what is emitted within as the body of a loop: it may use all there is, nothing may use it.

        Yields the list that holds the nodes behind the ``with``.
        """
        outside, orders, floats = self.nodes, dict(self._orders), dict(self._floats)
        self.nodes = []
        inside = self.nodes
        try:
            yield inside
        finally:
            self.nodes, self._orders, self._floats = outside, orders, floats

    def rename(self, tensor: str, name: str, *, since: int) -> None:
        """Call `tensor`, known only to ``nodes[since:]``, `name`."""
        for node in self.nodes[since:]:
            for names in (node.input, node.output):
                for index, own in enumerate(names):
                    if own == tensor:
                        names[index] = name

    def weight(self, name: str, array: NDArray[Any]) -> str:
        """Keep `array` as an initializer; an equal one of that name (of a shared layer) is used again."""
        # A weight as the file has it may lie at any byte, which only what runs it minds.
        array = np.require(array, requirements=["C", "A"])
        known = self.weights.get(name)
        if known is not None and known.dtype == array.dtype and np.array_equal(known, array, equal_nan=True):
            return name
        name = self.unique(name)
        self.weights[name] = array
        return name

    def integers(self, values: Iterable[int]) -> str:
        """An int64 vector, kept once however often it is used: axes, shapes, pads."""
        return self._constant("int64", tuple(values))

    def integer(self, value: int) -> str:
        """An int64 of rank 0, kept once."""
        return self._constant("int64 scalar", (value,))

    def floats(self, values: Iterable[float]) -> str:
        """A float32 vector, kept once."""
        return self._constant("float32", tuple(values))

    def scalar(self, value: float) -> str:
        """A float32 of rank 0, kept once."""
        return self._constant("scalar", (value,))

    def _constant(self, kind: str, values: tuple[float, ...]) -> str:
        known = self._small.get((kind, values))
        if known is None:
            known = self.unique(f"{kind}({', '.join(f'{value:.9g}' for value in values)})")
            array = np.array(values, np.int64 if kind.startswith("int64") else np.float32)
            self.weights[known] = array.reshape(()) if kind.endswith("scalar") else array
            self._small[kind, values] = known
        return known

    def prune(self, tensors: Iterable[str]) -> None:
        """Leave out nodes and weights that none of `tensors` is made from."""
        wanted = set(tensors)
        kept: list[NodeProto] = []
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                wanted.update(reads(node))
                kept.append(node)
        self.nodes = kept[::-1]
        self.weights = {name: array for name, array in self.weights.items() if name in wanted}

    def as_floats(self, value: Value) -> Value:
        """The value with a tensor of float32; converted once, however often asked for."""
        if value.dtype == "float32":
            return value
        if value.tensor not in self._floats:
            self._floats[value.tensor] = self.node(
                "Cast", [value.tensor], scope=value.tensor, to=TensorProto.FLOAT
            )
        return replace(value, tensor=self._floats[value.tensor], dtype="float32")

    def in_keras_order(self, value: Value) -> Value:
        """The value with its tensor in Keras's axis order; transposed once, however often asked for."""
        order = (0, *range(2, value.rank + 1), 1)
        return self._ordered(value, order, moved=False) if value.moved else value

    def in_moved_order(self, value: Value) -> Value:
        """The value with Keras's last axis at the tensor's axis 1; transposed once."""
        if value.moved or value.rank < 2:
            return value
        return self._ordered(value, (0, value.rank, *range(1, value.rank)), moved=True)

    def _ordered(self, value: Value, order: tuple[int, ...], *, moved: bool) -> Value:
        if value.tensor not in self._orders:
            tensor = self.node("Transpose", [value.tensor], scope=value.tensor, perm=order)
            self._orders[value.tensor] = replace(value, tensor=tensor, moved=moved)
        # The same tensor can stand for values that differ in what Keras thinks of it, never in its order.
        return replace(value, tensor=self._orders[value.tensor].tensor, moved=moved)
