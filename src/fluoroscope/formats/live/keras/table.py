"""The layer table of a live Keras model, found out by running it on nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fluoroscope.errors import UsageError
from fluoroscope.formats.keras.translate.table import TABLE
from fluoroscope.formats.keras.translate.translation import output_name
from fluoroscope.formats.live.keras.inputs import Inputs
from fluoroscope.formats.live.keras.watching import forward, is_keras_own, is_model, is_sequential, tensors_in
from fluoroscope.network.protocol import InputSpec, Layer, Shape

_TRIAL_SIDES = (224, 256)
"""Heights and widths that a model of free size is tried at, to see which sizes in it vary."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table, and the axis of the layer's tensors that holds the channels."""

    layer: Layer
    axis: int


def table_of(model: Any, inputs: Inputs) -> Table:
    """The table, from a pass on zeros; from two at different sizes where the size is free.

    A model that was never called gets its weights by it.

    Raises
    ------
    NetworkError
        The model's own code fails.
    UsageError
        It calls other layers for other sizes.
    """
    if not inputs.is_free:
        return _trial(model, inputs)
    sized = [inputs.at_size(side, side, model.name) for side in _TRIAL_SIDES]
    first, second = (_trial(model, at_side) for at_side in sized)
    first.keep_equal_sizes(second)
    return first


def _trial(model: Any, inputs: Inputs) -> Table:
    table = Table()
    table.add_inputs(inputs.specs, rows=not is_sequential(model))
    forward(model, inputs, inputs.zeros(), table)
    return table


@dataclass(slots=True)
class Table:
    """The layer table, in the making while the model runs on zeros."""

    rows: dict[str, Row] = field(default_factory=dict[str, Row])
    outputs: tuple[str, ...] = ()
    _makers: dict[int, str] = field(default_factory=dict[int, str])
    _kept: list[Any] = field(default_factory=list[Any])
    _counted: set[int] = field(default_factory=set[int])
    _inputs: list[str] = field(default_factory=list[str])

    def add_inputs(self, specs: Iterable[InputSpec], *, rows: bool) -> None:
        """The inputs, with a row for each if the model counts them among its layers."""
        for spec in specs:
            self._inputs.append(spec.name)
            if rows:
                layer = Layer(name=spec.name, kind="InputLayer", family="input", shape=spec.shape)
                self.rows[spec.name] = Row(layer, -1)

    def begin(self, tensors: Sequence[Any]) -> None:
        for name, tensor in zip(self._inputs, tensors, strict=True):
            self._made(name, tensor)

    def heard(self, name: str, layer: Any, taken: tuple[Any, ...], made: Any) -> None:
        tensors = list(tensors_in(made))
        if is_model(layer) and all(id(tensor) in self._makers for tensor in tensors):
            return  # a layer in it made them
        parents = tuple(dict.fromkeys(self._makers[id(one)] for one in taken if id(one) in self._makers))
        for number, tensor in enumerate(tensors):
            self._add(output_name(name, number), layer, parents, tensor)

    def end(self, model: Any, made: Any) -> None:
        tensors = list(tensors_in(made))
        for number, tensor in enumerate(tensors):
            if id(tensor) not in self._makers:
                # No layer's: the model's own functions made it.
                self._add(output_name(model.name, number), model, (), tensor)
        self.outputs = tuple(dict.fromkeys(self._makers[id(tensor)] for tensor in tensors))
        self._kept.clear()
        self._makers.clear()

    def keep_equal_sizes(self, other: Table) -> None:
        """Leave open what is another size there."""
        if list(self.rows) != list(other.rows):
            raise UsageError(
                "The model calls other layers for other sizes of picture. Say which size is meant: "
                "open_network(model, input_shape=(height, width, channels))."
            )
        for name, row in self.rows.items():
            sizes = zip(row.layer.shape, other.rows[name].layer.shape, strict=True)
            shape = tuple(one if one == another else None for one, another in sizes)
            self.rows[name] = Row(replace(row.layer, shape=shape), row.axis)

    def _add(self, name: str, layer: Any, parents: tuple[str, ...], tensor: Any) -> None:
        kind = type(layer).__name__
        entry = TABLE.get(kind) if is_keras_own(type(layer)) else None
        axis = self._axis(layer, parents, len(tensor.shape))
        parameters, trainable = self._count(layer)
        row = Layer(
            name=name,
            kind=kind,
            family=entry.family if entry is not None else "other",
            shape=channels_last(tensor.shape, axis),
            parameters=parameters,
            trainable=trainable,
            inputs=parents,
        )
        self.rows[name] = Row(row, axis)
        self._made(name, tensor)

    def _made(self, name: str, tensor: Any) -> None:
        self._makers[id(tensor)] = name
        self._kept.append(tensor)  # or another may get its id

    def _axis(self, layer: Any, parents: tuple[str, ...], rank: int) -> int:
        """Where the channels of a tensor lie: second where the layer, or what it takes, has them there."""
        own = getattr(layer, "data_format", None)
        if own is None:
            before = [self.rows[parent] for parent in parents if parent in self.rows]
            axes = {row.axis for row in before if len(row.layer.shape) == rank - 1}
            return axes.pop() if len(axes) == 1 and rank > 2 else -1
        return 1 if own == "channels_first" and rank > 2 else -1

    def _count(self, layer: Any) -> tuple[int, int]:
        """Weights that no row has counted yet, and how many of them are trainable."""
        fresh = {id(weight): weight for weight in layer.weights if id(weight) not in self._counted}
        self._counted.update(fresh)
        trained = {id(weight) for weight in layer.trainable_weights}
        sizes = {key: int(np.prod(tuple(weight.shape))) for key, weight in fresh.items()}
        return sum(sizes.values()), sum(size for key, size in sizes.items() if key in trained)


def channels_last(shape: Sequence[int | None], axis: int) -> Shape:
    """A tensor's shape without batch, channels last."""
    rest = [None if size is None else int(size) for size in shape]
    if axis == 1:
        rest.append(rest.pop(1))
    return tuple(rest[1:])
