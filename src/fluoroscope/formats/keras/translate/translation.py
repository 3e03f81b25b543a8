"""From a model to a graph: its calls one by one, each a row of the layer table.

Nothing is folded, fused or dropped: every call of a layer is a row, and the tensor behind it is what Keras
computes there. A layer without a translation, and what depends on it, gets a row that says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fluoroscope.errors import BudgetExceeded, DamagedFile, UnsupportedLayer, UsageError
from fluoroscope.formats.keras.arguments import Arguments
from fluoroscope.formats.keras.model import KerasLayer, KerasModel, LayerCall, Submodel
from fluoroscope.formats.keras.refused import PARTS
from fluoroscope.formats.keras.translate.builder import GraphBuilder, Value
from fluoroscope.formats.keras.translate.known import Known, Operand
from fluoroscope.formats.keras.translate.masking import settled
from fluoroscope.formats.keras.translate.options import brief, described
from fluoroscope.formats.keras.translate.orientation import reader_formats
from fluoroscope.formats.keras.translate.step import Applied, DoesNotFit, Shown, Step, elements
from fluoroscope.formats.keras.translate.table import TABLE, TAKE_INTEGERS, UNTRAINED
from fluoroscope.network.graph import GraphInput, LayerGraph, LayerOutput
from fluoroscope.network.protocol import Family, Layer, Shape

_WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
"""Types of inputs that stay as they are; all others are computed with in float32."""

_LARGEST_OUTPUT = 2**40
"""Numbers in one layer's output for one picture: beyond any memory, and what 64-bit sizes still hold."""


def translate(model: KerasModel, *, size: tuple[int, int] | None = None) -> LayerGraph:
    """Translate a Keras model.

    Parameters
    ----------
    model
        In canonical form, its calls in topological order.
    size
        Height and width for the free sizes of every input that is a picture (three axes).

    Returns
    -------
    LayerGraph
        One row a call. Tensors are called as their layers, and ``name:pre`` before a fused activation; layers
        that change nothing at inference share their input's tensor. Nodes and weights are called
        ``layer/operator`` and ``layer/variable``.

    Raises
    ------
    WeightMismatch
        A variable missing, left over, or of another shape or dtype than the architecture needs.
    DamagedFile
        Options that no Keras writes, or layers that do not fit each other.
    BudgetExceeded
        A layer whose declared output no memory could hold.
    UsageError
        A `size` that the architecture does not allow.
    """
    if size is not None and min(size) < 1:
        raise UsageError(f"A picture has at least one pixel each way, not {size[0]} x {size[1]}.")
    try:
        builder = GraphBuilder(reserved=(call.name for call in model.calls))
        return _Translation(model, builder, version=model.keras_version, size=size).graph()
    except DoesNotFit as error:
        if size is None:
            raise DamagedFile(str(error)) from error
        raise UsageError(f"{size[0]} x {size[1]} pixels are too few for {model.name!r}: {error}") from error


def output_name(call: str, index: int) -> str:
    """The row of output `index` of a call: the first has the call's name, the second is ``name:1``."""
    return call if index == 0 else f"{call}:{index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    """What a model in a wrapper is called on.

    Attributes
    ----------
    fed
        Values for its input layers, by the names of their calls.
    parents
        The rows that these come from.
    shown
        From a value in the model to what its row shows.
    """

    fed: Mapping[str, Value]
    parents: tuple[str, ...]
    shown: Shown


class _Translation:
    """The state of one translation: what has been made so far.

    Parameters
    ----------
    model
        What is translated.
    builder
        Collects what is emitted.
    version
        Of the Keras that wrote it.
    size
        Height and width for free sizes of its inputs.
    around
        Where the model is one in a wrapper: what it is called on.
    """

    def __init__(
        self,
        model: KerasModel | Submodel,
        builder: GraphBuilder,
        *,
        version: tuple[int, int],
        size: tuple[int, int] | None = None,
        around: _Around | None = None,
    ) -> None:
        self._model = model
        self._builder = builder
        self._version = version
        self._formats = reader_formats(model.calls)
        self._size = size
        self._around = around
        self._values: dict[str, tuple[Operand, ...]] = {}
        self._problems: dict[str, str] = {}
        self._inputs: dict[str, GraphInput] = {}
        self._counted: set[int] = set()
        self._vectors: dict[str, str] = {}
        self._shown: Shown = around.shown if around is not None else self._drawable
        # Of models in wrappers: they come before the wrapper.
        self._inner_rows: list[LayerOutput] = []

    def graph(self) -> LayerGraph:
        rows = [row for call in self._model.calls for row in self._rows(call)]
        if self._size is not None and not any(len(entry.shape) == 4 for entry in self._inputs.values()):
            raise UsageError(f"{self._model.name!r} takes no pictures, so no height and width.")
        # A layer that proved to have no translation may have left nodes behind.
        self._builder.prune(tensor for row in rows for tensor in (row.tensor, row.pre) if tensor is not None)
        order = dict.fromkeys((*(name for name in self._model.inputs if name in self._inputs), *self._inputs))
        return LayerGraph(
            name=self._model.name,
            inputs=tuple(self._inputs[name] for name in order),
            nodes=self._builder.nodes,
            weights=self._builder.weights,
            rows=rows,
            outputs=tuple(
                dict.fromkeys(
                    self._output(*output) for output in self._model.outputs if not self._is_known(*output)
                )
            ),
        )

    def part(self) -> tuple[list[LayerOutput], tuple[Value, ...], str | None]:
        """A model in a wrapper: its rows, and its outputs or the reason why it has none."""
        rows = [row for call in self._model.calls for row in self._rows(call)]
        for name, _ in self._model.outputs:
            if name in self._problems:
                return rows, (), self._problems[name]
        made = [self._values[name][index] for name, index in self._model.outputs]
        values = tuple(value for value in made if isinstance(value, Value))
        if len(values) < len(made):
            return rows, (), f"{self._model.name!r} makes numbers that no picture has a part in."
        return rows, values, None

    def _rows(self, call: LayerCall) -> list[LayerOutput]:
        """The row of a call's output; of further outputs rows of their own behind it.

        Numbers that are known without a picture, such as a tensor's shape, are no rows.
        """
        layer = call.layer
        parents = self._parents(call)
        blocked = next((self._problems[name] for name, _ in call.inputs if name in self._problems), None)
        step: Step | None = None
        if blocked is not None:
            self._problems[call.name] = blocked
            problem = f"It depends on a layer that cannot be run. {blocked}"
        else:
            tensors = [self._values[name][index] for name, index in call.inputs]
            step, problem = self._attempt(call, tensors)
        before, self._inner_rows = self._inner_rows, []
        parameters, trainable = self._count(layer)
        values = [
            (index, self._shown(value))
            for index, value in enumerate(self._values.get(call.name, ()))
            if isinstance(value, Value)
        ]
        if not values and problem is None:
            return before
        index, value = values[0] if values else (0, None)
        pre = step.pre if step is not None else None
        if pre is not None and step is not None and self._around is not None:
            made = self._values[call.name][0]
            pre = self._shown(step.like(made, pre)).tensor if isinstance(made, Value) else None
        first = LayerOutput(
            layer=Layer(
                name=output_name(call.name, index),
                kind=layer.kind,
                family=_family(layer),
                shape=value.channels_last if value else (),
                parameters=parameters,
                trainable=trainable,
                inputs=tuple(parents),
                activation=step.activation if step is not None else None,
                has_pre=pre is not None,
                problem=problem,
            ),
            tensor=value.tensor if value else None,
            channel_axis=value.channel_axis if value else 1,
            pre=pre,
        )
        further = [
            LayerOutput(
                layer=replace(
                    first.layer,
                    name=output_name(call.name, index),
                    shape=value.channels_last,
                    parameters=0,
                    trainable=0,
                    activation=None,
                    has_pre=False,
                ),
                tensor=value.tensor,
                channel_axis=value.channel_axis,
            )
            for index, value in values[1:]
        ]
        return [*before, first, *further, *self._views(first.layer, step)]

    def _views(self, layer: Layer, step: Step | None) -> list[LayerOutput]:
        """Rows of what a layer computes on the way: attention weights."""
        views = step.views if step is not None else {}
        return [
            LayerOutput(
                layer=Layer(
                    name=self._builder.unique(f"{layer.name}:{name}"),
                    kind=name.capitalize(),
                    family=layer.family,
                    shape=value.channels_last,
                    inputs=layer.inputs,
                ),
                tensor=value.tensor,
                channel_axis=value.channel_axis,
            )
            for name, value in ((name, self._shown(value)) for name, value in views.items())
        ]

    def _parents(self, call: LayerCall) -> list[str]:
        """The rows that a call takes its tensors from."""
        if self._around is not None and call.name in self._around.fed:
            return list(self._around.parents)
        return [self._parent(call, *source) for source in call.inputs if not self._is_known(*source)]

    def _drawable(self, value: Value) -> Value:
        """What a row shows of a value: of one number a picture, a vector of one."""
        if value.shape:
            return value
        if value.tensor not in self._vectors:
            axes = self._builder.integers([1])
            self._vectors[value.tensor] = self._builder.node(
                "Unsqueeze", [value.tensor, axes], scope=value.tensor
            )
        return replace(value, tensor=self._vectors[value.tensor], shape=(1,), channel=0)

    def _is_known(self, name: str, index: int) -> bool:
        """Whether an output is numbers that no picture has a part in."""
        values = self._values.get(name, ())
        return index < len(values) and isinstance(values[index], Known)

    def _parent(self, call: LayerCall, name: str, index: int) -> str:
        if name not in self._values and name not in self._problems:
            raise DamagedFile(
                f"{described(call.layer)} takes the output of {brief(name)}, which does not come before it."
            )
        count = len(self._values.get(name, ()))
        if count and index >= count:
            has = "only one" if count == 1 else f"only {count}"
            raise DamagedFile(
                f"{described(call.layer)} takes output {index} of {brief(name)}, which has {has}."
            )
        return self._output(name, index)

    def _output(self, name: str, index: int) -> str:
        """The row of a call's output; a call without a translation has one row for all."""
        return output_name(name, index) if name in self._values else name

    def _attempt(self, call: LayerCall, tensors: list[Operand]) -> tuple[Step | None, str | None]:
        """Translate a call; returns the step that did, or the reason why there is none."""
        try:
            return self._translated(call, tensors), None
        except UnsupportedLayer as error:
            self._problems[call.name] = str(error)
            return None, str(error)
        except DamagedFile as error:
            if call.layer.asked is None:
                raise
            raise UsageError(f"--replace {call.layer.name}={call.layer.kind}: {error}") from error

    def _translated(self, call: LayerCall, tensors: list[Operand]) -> Step:
        begun = len(self._builder.nodes)
        step = self._step(call, call.layer, tensors, call.arguments, self._shown)
        values = self._run(step)
        if step.pre is not None:
            step.pre = self._named(step.pre, self._builder.unique(f"{call.name}:pre"), begun)
        named: dict[str, str] = {}
        for index, value in enumerate(values):
            if isinstance(value, Known):
                continue
            if value.tensor in step.made and value.tensor not in named and call.name:
                wanted = call.name if index == 0 else self._builder.unique(output_name(call.name, index))
                named[value.tensor] = self._named(value.tensor, wanted, begun)
        # The last layer of a model in a wrapper can show what the wrapper makes.
        self._inner_rows = [
            replace(row, tensor=row.tensor and named.get(row.tensor, row.tensor)) for row in self._inner_rows
        ]
        self._values[call.name] = tuple(
            replace(value, tensor=named.get(value.tensor, value.tensor))
            if isinstance(value, Value)
            else value
            for value in values
        )
        return step

    def _step(
        self,
        call: LayerCall,
        layer: KerasLayer,
        tensors: Sequence[Operand],
        arguments: Arguments | None,
        shown: Shown,
    ) -> Step:
        """What the translation of `layer`, which is that of the call or one in it, is given."""
        if layer.problem is not None:
            raise UnsupportedLayer(f"{described(layer)} cannot be run: {layer.problem}")
        if layer.kind in PARTS:
            raise UnsupportedLayer(f"{described(layer)} cannot be run: {PARTS[layer.kind]}")
        if layer.kind not in TABLE:
            raise UnsupportedLayer(
                f"{described(layer)} has no translation; what comes before it can be shown. If it is like a "
                f"layer that has one, say so: --replace {layer.name[:80]}=KIND"
            )

        def wrapped(
            inner: KerasLayer | Submodel, values: Sequence[Value], arguments: Arguments, own: Shown
        ) -> Applied:
            return self._apply(call, inner, values, arguments, lambda value: shown(own(value)))

        if layer.kind not in TAKE_INTEGERS:
            tensors = [
                tensor if isinstance(tensor, Known) else self._builder.as_floats(tensor) for tensor in tensors
            ]
        return Step(
            self._builder,
            call.name,
            layer,
            tensors,
            arguments=arguments,
            keras_version=self._version,
            reader_format=self._formats.get(call.name, "channels_last"),
            wrapped=wrapped,
        )

    def _run(self, step: Step) -> tuple[Operand, ...]:
        """Emit a layer, and check that all that the file says of it was understood."""
        layer, entry = step.layer, TABLE[step.layer.kind]
        is_input = layer.kind == "InputLayer" and not step.arguments.tensors
        made = self._input(step) if is_input else entry.translate(step)
        values = settled(step, made if isinstance(made, tuple) else (made,))
        step.refuse_unread(entry.state)
        for value in values:
            if isinstance(value, Value) and elements(value.shape) > _LARGEST_OUTPUT:
                raise BudgetExceeded(
                    f"{described(layer)} declares an output of {value.channels_last}, more than "
                    f"{_LARGEST_OUTPUT:,} numbers for one picture. Nothing was allocated."
                )
        return values

    def _apply(
        self,
        call: LayerCall,
        inner: KerasLayer | Submodel,
        values: Sequence[Value],
        arguments: Arguments,
        shown: Shown,
    ) -> Applied:
        """Call what a wrapper holds; the layers of a model in it get rows."""
        if isinstance(inner, KerasLayer):
            step = self._step(call, inner, values, arguments, shown)
            made = tuple(value for value in self._run(step) if isinstance(value, Value))
            pre = None if step.pre is None else step.like(made[0], step.pre)
            return Applied(values=made, activation=step.activation, pre=pre, made=frozenset(step.made))
        if len(values) != len(inner.inputs):
            raise DamagedFile(
                f"Model {brief(inner.name)} takes {len(inner.inputs)} inputs, not {len(values)}."
            )
        begun = len(self._builder.nodes)
        # Its wrapper may be called more than once, and it with it.
        renamed = inner.renamed(self._builder.unique)
        around = _Around(
            fed=dict(zip(renamed.inputs, values, strict=True)),
            parents=tuple(dict.fromkeys(self._parents(call))),
            shown=shown,
        )
        part = _Translation(renamed, self._builder, version=self._version, around=around)
        rows, made, problem = part.part()
        self._inner_rows += rows
        if problem is not None:
            raise UnsupportedLayer(f"{described(call.layer)} wraps a model that cannot be run. {problem}")
        tensors = (name for node in self._builder.nodes[begun:] for name in node.output)
        return Applied(values=made, made=frozenset(tensors))

    def _named(self, tensor: str, name: str, begun: int) -> str:
        self._builder.rename(tensor, name, since=begun)
        return name

    def _input(self, step: Step) -> Value:
        """An input of the whole model: channels first if a picture (three axes), else as Keras has it."""
        if self._around is not None:
            for name in step.layer.config:
                step.options.raw(name)  # what comes in decides
            return self._around.fed[step.name]
        given = step.options.raw("batch_shape")
        if not isinstance(given, (list, tuple)) or not given:
            step.damaged(f"has batch_shape={brief(given)}, not a list of sizes with the batch first")
        shape: Shape = tuple(
            None if extent is None else step.options.whole("batch_shape", extent, 1) for extent in given[1:]
        )
        if step.options.raw("sparse") or step.options.raw("ragged"):
            step.unsupported("is a sparse or ragged input, for which there is no translation")
        first = step.reader_format == "channels_first" and len(shape) > 1
        readers = (call.layer.kind for call in self._model.calls if (step.name, 0) in call.inputs)
        steps = any(kind.startswith("ConvLSTM") for kind in readers)
        channel = int(steps) if first else len(shape) - 1
        if len(shape) == 3:
            shape = self._sized(shape, channel)
        moved = len(shape) > 2 and not first
        dtype: Any = step.options.raw("dtype")
        value = Value(
            tensor=step.name or "input",
            shape=shape,
            channel=channel,
            moved=moved,
            dtype=dtype if dtype in _WHOLE else "float32",
        )
        self._inputs[step.name] = GraphInput(
            tensor=value.tensor,
            layer=step.name,
            shape=(None, *value.tensor_shape),
            channel_axis=value.channel_axis,
            dtype=value.dtype,
        )
        return value

    def _sized(self, shape: Shape, channel: int) -> Shape:
        """The shape of a picture with its free sides as asked for; of several inputs one may have none."""
        fixed = all(side is not None for place, side in enumerate(shape) if place != channel)
        if fixed and len(self._model.inputs) > 1:
            return shape
        asked = iter(self._size or (None, None))
        wanted = [shape[place] if place == channel else next(asked) for place in range(3)]
        if any(new is not None and own not in (None, new) for own, new in zip(shape, wanted, strict=True)):
            sides = " x ".join(str(own) for place, own in enumerate(shape) if place != channel)
            raise UsageError(
                f"{self._model.name!r} takes pictures of {sides} (None: any), not of {self._size}."
            )
        return tuple(new if own is None else own for own, new in zip(shape, wanted, strict=True))

    def _count(self, layer: KerasLayer) -> tuple[int, int]:
        """Parameters, and those that are trainable; of a shared layer at its first call only."""
        if id(layer) in self._counted:
            return 0, 0
        self._counted.add(id(layer))
        sizes = {name: array.size for name, array in layer.weights.items()}
        trained = sum(size for name, size in sizes.items() if name not in UNTRAINED)
        counts = [(sum(sizes.values()), trained if layer.trainable else 0)]
        # The layers of a model in a wrapper have rows of their own.
        counts += [self._count(inner) for inner in layer.inner.values() if isinstance(inner, KerasLayer)]
        return sum(count for count, _ in counts), sum(count for _, count in counts)


def _family(layer: KerasLayer) -> Family:
    """Of a layer for each step of a sequence, that of the layer."""
    inner = layer.inner.get("layer")
    if isinstance(inner, KerasLayer):
        return _family(inner)
    return TABLE[layer.kind].family if layer.kind in TABLE else "other"
