"""One call of one layer on its way into the graph: its inputs, options and variables, and what it emits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import BudgetExceeded, DamagedFile, UnsupportedLayer, WeightMismatch
from fluoroscope.formats.keras.arguments import Arguments
from fluoroscope.formats.keras.model import KerasLayer, Submodel
from fluoroscope.formats.keras.translate.builder import GraphBuilder, Value
from fluoroscope.formats.keras.translate.call_arguments import CallArguments
from fluoroscope.formats.keras.translate.known import Operand
from fluoroscope.formats.keras.translate.options import DataFormat, Options, described
from fluoroscope.network.protocol import FloatArray, Shape

_LARGEST_TABLE = 2**24
"""Numbers in a table that a layer's declared sizes ask for, such as interpolation weights: 64 MiB."""

_LARGEST_TABLES = 2**27
"""In all of them together."""


class DoesNotFit(DamagedFile):
    """A picture too small for a layer's window: the file contradicts itself, or the size asked for does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planes:
    """A value as operators on pictures take it: a tensor ``(batch, channels, *sizes)``."""

    tensor: str
    channels: int
    sizes: Shape
    data_format: DataFormat

    def value(self, tensor: str, *, channels: int | None = None, sizes: Shape | None = None) -> Value:
        """`tensor`, laid out as these planes, as a value."""
        channels = self.channels if channels is None else channels
        sizes = self.sizes if sizes is None else sizes
        if self.data_format == "channels_first":
            return Value(tensor=tensor, shape=(channels, *sizes), channel=0)
        return Value(tensor=tensor, shape=(*sizes, channels), channel=len(sizes), moved=len(sizes) > 0)


Shown = Callable[[Value], Value]
"""From a value inside a wrapper to what a caller sees of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What a wrapped layer made.

    Attributes
    ----------
    values
        Its outputs.
    activation, pre
        Name of its fused activation and the value before it, laid out as the first output.
    made
        Tensors made on the way.
    """

    values: tuple[Value, ...]
    activation: str | None = None
    pre: Value | None = None
    made: frozenset[str] = frozenset()


Wrapped = Callable[[KerasLayer | Submodel, Sequence[Value], Arguments, Shown], Applied]
"""Calls what a layer wraps: on these tensors, these its arguments, its parts shown so."""


class Step:
    """What a translation is given: it reads options and variables here, and emits nodes.

    Parameters
    ----------
    graph
        Collects what is emitted.
    name
        The call's name.
    layer
        What is called.
    tensors
        What it is called on.
    arguments
        How these stand among the call's other arguments; by default as the one argument.
    keras_version
        Of the file, where versions of a layer differ.
    reader_format
        How the first layer behind this one that says so takes its axes; for a layer that does not say itself.
    wrapped
        Calls a layer or model that this layer wraps.

    Attributes
    ----------
    arguments
        All of the call's arguments.
    activation, pre
        Name of the fused activation and the tensor before it, once there is one.
    views
        What is computed on the way and worth a row of its own, ``layer:name``.
    """

    def __init__(
        self,
        graph: GraphBuilder,
        name: str,
        layer: KerasLayer,
        tensors: Sequence[Operand],
        *,
        arguments: Arguments | None = None,
        keras_version: tuple[int, int] = (3, 0),
        reader_format: DataFormat = "channels_last",
        wrapped: Wrapped | None = None,
    ) -> None:
        self.graph = graph
        self.name = name
        self.layer = layer
        self.arguments = CallArguments(layer, arguments or Arguments.of_tensors(len(tensors)), tensors)
        self.keras_version = keras_version
        self.reader_format: DataFormat = reader_format
        self.options = Options(layer)
        self._wrapped = wrapped
        self.activation: str | None = None
        self.pre: str | None = None
        self.views: dict[str, Value] = {}
        self.made: set[str] = set()
        self.used: set[str] = set()

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The tensors of the call's first argument."""
        return self.arguments.inputs

    @property
    def value(self) -> Value:
        """The one value the layer is called on."""
        if len(self.inputs) != 1:
            self.damaged(f"takes one input, not {len(self.inputs)}")
        return self.inputs[0]

    def part(self, layer: KerasLayer) -> Step:
        """A layer inside this one whose options and variables this one's translation reads.

        The caller ends it with `refuse_unread`.
        """
        step = Step(self.graph, self.name, layer, [], keras_version=self.keras_version)
        step.made = self.made
        return step

    def refuse_unread(self, state: Iterable[str] = ()) -> None:
        """Refuse what the file says of this layer and no one has looked at.

        Parameters
        ----------
        state
            Names of variables that only training needs.

        Raises
        ------
        UnsupportedLayer
            An option or an argument.
        WeightMismatch
            A variable.
        """
        known = self.used.union(state)
        left = sorted(set(self.layer.weights) - known)
        if left:
            raise WeightMismatch(
                f"{described(self.layer)} has a variable {left[0]!r} of shape "
                f"{self.layer.weights[left[0]].shape} that its options have no use for; expected "
                f"{', '.join(map(repr, sorted(known))) or 'none'}. The weights belong to another "
                "architecture."
            )
        self.options.refuse_unread()
        self.arguments.refuse_unread()

    def within(
        self,
        kind: str,
        config: Mapping[str, Any],
        value: Value,
        weights: Mapping[str, NDArray[Any]] | None = None,
    ) -> Step:
        """A layer inside this one, called on `value`; what it emits is this layer's."""
        layer = KerasLayer(name=self.layer.name, kind=kind, config=config, weights=weights or {})
        step = Step(self.graph, self.name, layer, [value], keras_version=self.keras_version)
        step.made = self.made
        return step

    def inner(self, attribute: str) -> KerasLayer | Submodel:
        """What this layer wraps, by the attribute that holds it in Keras."""
        self.options.raw(attribute)
        found = self.layer.inner.get(attribute)
        return self.damaged(f"wraps no {attribute}") if found is None else found

    def apply(
        self,
        inner: KerasLayer | Submodel,
        values: Sequence[Value],
        *,
        arguments: Arguments | None = None,
        shown: Shown | None = None,
    ) -> Applied:
        """Call what this layer wraps on values.

        Parameters
        ----------
        arguments
            How `values` stand among the call's arguments; by default as the one argument.
        shown
            What is to be shown of a value in a wrapped model, each layer of which has a row of its own; the
            value itself by default.

        Raises
        ------
        UnsupportedLayer
            It, or a layer in it, has no translation.
        """
        assert self._wrapped is not None
        arguments = arguments or Arguments.of_tensors(len(values))
        applied = self._wrapped(inner, values, arguments, shown or (lambda value: value))
        self.made.update(applied.made)
        return applied

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Emit a node of one output, whose name is returned. Attributes that are None are left out."""
        tensor = self.graph.node(operator, inputs, scope=self.name, **attributes)
        self.made.add(tensor)
        return tensor

    def outputs(self, operator: str, count: int, *inputs: str, **attributes: Any) -> tuple[str, ...]:
        """Emit a node of `count` outputs."""
        tensors = self.graph.outputs(operator, inputs, count, scope=self.name, **attributes)
        self.made.update(tensors)
        return tensors

    def constant(self, label: str, array: NDArray[Any]) -> str:
        """Keep an array of this layer as an initializer; calls of a shared layer share it."""
        return self.graph.weight(f"{self.layer.name}/{label}", array)

    def variable(self, name: str, shape: Shape) -> FloatArray:
        """A variable as float32.

        Raises
        ------
        WeightMismatch
            When it is missing, is of another shape, or holds anything but floats of 16, 32 or 64 bits.
        """
        expected = _times(shape)
        array = self.layer.weights.get(name)
        if array is None:
            held = ", ".join(
                f"{own} {_times(own_array.shape)}" for own, own_array in self.layer.weights.items()
            )
            raise WeightMismatch(
                f"{described(self.layer)} needs a variable {name!r} of shape {expected}; "
                f"the file has {held or 'none'} for it. The weights belong to another architecture, or the "
                "file was cut short when it was written."
            )
        if array.dtype.kind != "f" or array.dtype.itemsize not in (2, 4, 8):
            raise WeightMismatch(
                f"{described(self.layer)}: variable {name!r} holds {array.dtype}, "
                "expected float16, float32 or float64. Quantised networks are not read."
            )
        if array.shape != shape:
            raise WeightMismatch(
                f"{described(self.layer)}: variable {name!r} has shape {_times(array.shape)}, expected "
                f"{expected} from the options and the input. The weights belong to another architecture."
            )
        self.used.add(name)
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, as it would in Keras
            return np.asarray(array, dtype=np.float32, order="C")

    def planes(self, rank: int, value: Value | None = None) -> Planes:
        """The input with its channels in front, for an operator on `rank` spatial axes."""
        value = self.value if value is None else value
        if value.rank != rank + 1:
            self.unsupported(
                f"takes {rank + 1} axes and the batch here, not a shape of {_times(value.shape)}"
            )
        data_format = self.options.data_format()
        if data_format == "channels_last":
            value = self.graph.in_moved_order(value)
            *sizes, channels = value.shape
        else:
            value = self.graph.in_keras_order(value)
            channels, *sizes = value.shape
        if channels is None:
            self.unsupported("needs a known number of channels, which the file leaves free")
        return Planes(tensor=value.tensor, channels=channels, sizes=tuple(sizes), data_format=data_format)

    def like(self, value: Value, tensor: str) -> Value:
        """`tensor`, of the shape and layout of `value`."""
        return Value(tensor=tensor, shape=value.shape, channel=value.channel, moved=value.moved)

    def allow_table(self, count: int) -> None:
        """Refuse to make a table of `count` numbers whose size the file merely declares."""
        self.graph.tables += min(count, _LARGEST_TABLES)
        if count > _LARGEST_TABLE or self.graph.tables > _LARGEST_TABLES:
            raise BudgetExceeded(
                f"{described(self.layer)} asks for a table of {count:,} numbers; at most {_LARGEST_TABLE:,} "
                f"are made for one layer, and {_LARGEST_TABLES:,} for all. It was not allocated."
            )

    def damaged(self, what: str) -> NoReturn:
        """Refuse a file whose layer contradicts what it is called on."""
        raise DamagedFile(f"{described(self.layer)} {what}.")

    def does_not_fit(self, what: str) -> NoReturn:
        """Refuse a size that leaves the layer nothing to work on."""
        raise DoesNotFit(f"{described(self.layer)} {what}.")

    def needs_size(self, what: str) -> NoReturn:
        """Give up on a layer until the picture's size is known."""
        self.unsupported(
            f"{what}, which depends on the picture's size, and the file leaves it free: "
            "fix it with `network.at_size(height, width)`"
        )

    def unsupported(self, what: str) -> NoReturn:
        """Give up on a layer that Keras can run and we cannot."""
        raise UnsupportedLayer(f"{described(self.layer)} {what}.")


def elements(shape: Shape) -> int:
    """Numbers in a value of this shape for one picture; a free size counts as 1."""
    return prod(1 if size is None else size for size in shape)


def _times(shape: Shape) -> str:
    return " x ".join("any" if size is None else str(size) for size in shape) or "a single number"
