"""Recurrent layers: SimpleRNN, GRU, LSTM, RNN of any cells, and their old cuDNN twins.

Without a mask, and with the usual activations, ONNX's own operator is taken: 4 to 8 times as fast as a loop,
and as exact. Everything else is a loop over the cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from fluoroscope.formats.keras.model import KerasLayer
from fluoroscope.formats.keras.translate import cells
from fluoroscope.formats.keras.translate.builder import Mask, Value
from fluoroscope.formats.keras.translate.cells import Cell, Fused
from fluoroscope.formats.keras.translate.loops import Looped, loop
from fluoroscope.formats.keras.translate.masking import effective
from fluoroscope.formats.keras.translate.step import Step

_FOR_TRAINING = "dropout recurrent_dropout implementation unit_forget_bias unroll use_cudnn stateful".split()
"""Options that change how or what is trained, or how fast it runs; a stateful layer starts from zeros."""


def simple_rnn(step: Step) -> tuple[Value, ...]:
    """SimpleRNN."""
    return _layer(step, _simple)


def gru(step: Step) -> tuple[Value, ...]:
    """GRU."""
    return _layer(step, _gru)


def lstm(step: Step) -> tuple[Value, ...]:
    """LSTM."""
    return _layer(step, cells.long_short)


def cudnn_gru(step: Step) -> tuple[Value, ...]:
    """CuDNNGRU (Keras 2): a GRU that resets after; its kernels come in Keras's layout."""
    return _layer(step, lambda step, features: cells.gated(step, features, reset_after=True), masks=False)


def cudnn_lstm(step: Step) -> tuple[Value, ...]:
    """CuDNNLSTM (Keras 2): an LSTM; its kernels come in Keras's layout."""
    return _layer(step, cells.long_short, masks=False)


def rnn(step: Step) -> tuple[Value, ...]:
    """RNN: one cell, or several of which each takes what the one before makes."""
    parts = _cell_parts(step, step.inner("cell"))
    run = Run.of(step)
    value = _sequence(step, run.value)
    made: list[Cell] = []
    features = _features(step, value)
    for part in parts:
        made.append(CELLS[part.layer.kind](part, features))
        features = cast(int, made[-1].shape[0])
        for name in _FOR_TRAINING:
            part.options.raw(name)
        part.refuse_unread()
    states = _states(step, *made)
    finals: list[Value] = []
    for number, cell in enumerate(made):
        own = states[len(finals) : len(finals) + cell.states] if states else None
        value, after = run.over(step, cell, value, own, sequences=run.sequences or number + 1 < len(made))
        finals += after
        # From the second cell on, steps come in the order in which the first has gone over them.
        run = run.turned(step)
    return run.result(value, finals)


def _layer(step: Step, make: Callable[[Step, int], Cell], *, masks: bool = True) -> tuple[Value, ...]:
    """A layer that is one cell."""
    run = Run.of(step)
    if run.mask is not None and not masks:
        step.unsupported("is given a mask, which Keras refuses")
    value = _sequence(step, run.value)
    cell = make(step, _features(step, value))
    return run.whole(step, cell, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a recurrent layer goes over a sequence."""

    value: Value
    mask: Mask | None
    backwards: bool
    sequences: bool
    states: bool
    zero_masked: bool

    @classmethod
    def of(cls, step: Step) -> Run:
        """By the layer's options and arguments."""
        options = step.options
        for name in (*_FOR_TRAINING, "input_length", "input_dim"):
            options.raw(name)
        if options.flag("time_major", default=False):
            step.unsupported("has time_major=True: its first axis is no batch")
        value = step.inputs[0] if step.inputs else step.value
        mask = effective(step, value, 1 if step.keras_version[0] < 3 else 2)
        if mask is not None and mask.rank != 1:
            step.unsupported("is given a mask that does not run along the steps alone")
        return cls(
            value=value,
            mask=mask,
            backwards=options.flag("go_backwards", default=False),
            sequences=options.flag("return_sequences", default=False),
            states=options.flag("return_state", default=False),
            zero_masked=options.flag("zero_output_for_mask", default=False),
        )

    def turned(self, step: Step) -> Run:
        """Forwards over what this one has made."""
        if not self.backwards:
            return self
        mask = self.mask
        if mask is not None:
            mask = replace(mask, tensor=reversed_steps(step, mask.tensor))
        return replace(self, mask=mask, backwards=False)

    def over(
        self, step: Step, cell: Cell, value: Value, initial: Sequence[Value] | None, *, sequences: bool
    ) -> tuple[Value, list[Value]]:
        """A cell over a sequence: its output, and its states at the end."""
        steps = value.shape[0]
        if cell.fused is not None and self.mask is None:
            looped = _operator(step, cell.fused, cell, value, initial, backwards=self.backwards)
        else:
            resting = _zeros(step, cell, value)
            looped = loop(
                step,
                cell.prepared(step, value),
                initial or [resting] * cell.states,
                resting,
                cell.body,
                mask=self.mask,
                backwards=self.backwards,
                zero_masked=self.zero_masked,
            )
        states = [_state(cell, tensor) for tensor in looped.states]
        if not sequences:
            return _state(cell, looped.last), states
        outputs = looped.outputs
        if cell.moved:
            # From (batch, steps, channels, ...).
            outputs = step.node("Transpose", outputs, perm=(0, 2, 1, *range(3, len(cell.shape) + 2)))
        output = Value(tensor=outputs, shape=(steps, *cell.shape), channel=cell.channel + 1, moved=cell.moved)
        return output, states

    def whole(self, step: Step, cell: Cell, value: Value) -> tuple[Value, ...]:
        """A layer that is one cell, over a sequence."""
        value, finals = self.over(step, cell, value, _states(step, cell), sequences=self.sequences)
        return self.result(value, finals)

    def result(self, value: Value, states: list[Value]) -> tuple[Value, ...]:
        """The layer's outputs; a sequence keeps its mask."""
        if self.sequences:
            value = replace(value, mask=self.mask)
        return (value, *states) if self.states else (value,)


def _operator(
    step: Step, fused: Fused, cell: Cell, value: Value, initial: Sequence[Value] | None, *, backwards: bool
) -> Looped:
    """ONNX's operator: time before batch, and a direction of its own."""
    given = [step.node("Unsqueeze", state.tensor, step.graph.integers([0])) for state in initial or ()]
    made = step.graph.node_of_many(
        fused.operator,
        [
            step.node("Transpose", value.tensor, perm=(1, 0, 2)),
            *fused.weights,
            *(["", *given] if given else []),
        ],
        1 + cell.states,
        scope=step.name,
        direction="reverse" if backwards else "forward",
        **fused.attributes,
    )
    step.made.update(made)
    sequence = step.node("Squeeze", made[0], step.graph.integers([1]))
    outputs = step.node("Transpose", sequence, perm=(1, 0, 2))
    if backwards:
        outputs = reversed_steps(step, outputs)
    states = tuple(step.node("Squeeze", state, step.graph.integers([0])) for state in made[1:])
    return Looped(outputs=outputs, last=states[0], states=states)


def reversed_steps(step: Step, tensor: str, axis: int = 1) -> str:
    """A tensor with one axis, the steps by default, from its end to its begin."""
    integers = step.graph.integers
    return step.node("Slice", tensor, integers([-1]), integers([-(2**62)]), integers([axis]), integers([-1]))


def _zeros(step: Step, cell: Cell, value: Value) -> Value:
    """A state of zeros for each picture of the batch."""
    count = step.node("Shape", value.tensor, end=1)
    state = _state(cell, "")
    sizes = step.node("Concat", count, step.graph.integers(cast(Sequence[int], state.tensor_shape)), axis=0)
    return _state(cell, step.node("ConstantOfShape", sizes))


def _state(cell: Cell, tensor: str) -> Value:
    return Value(tensor=tensor, shape=cell.shape, channel=cell.channel, moved=cell.moved)


def _sequence(step: Step, value: Value) -> Value:
    value = step.graph.in_keras_order(value)
    if value.rank != 2:
        step.damaged(f"takes a sequence of vectors, not a shape of {value.shape}")
    return value


def _features(step: Step, value: Value) -> int:
    features = value.shape[-1]
    if features is None:
        step.damaged("needs a known size of its last axis")
    return features


def _states(step: Step, *own: Cell) -> list[Value] | None:
    """The states to begin with: behind the sequence (Keras 2), or by name; None for zeros."""
    named: Any = step.arguments.get("initial_state", 1 if step.keras_version[0] >= 3 else 3)
    given = flat(named) or list(step.inputs[1:])
    if not given:
        return None
    wanted = [cell for cell in own for _ in range(cell.states)]
    if [state.shape for state in given] != [cell.shape for cell in wanted]:
        step.damaged(f"begins with states of shapes {[state.shape for state in given]}")
    keras, moved = step.graph.in_keras_order, step.graph.in_moved_order
    return [(moved if cell.moved else keras)(state) for state, cell in zip(given, wanted, strict=True)]


def flat(value: Any) -> list[Value]:
    """The tensors in an argument, however they are nested."""
    if isinstance(value, Value):
        return [value]
    if isinstance(value, (list, tuple)):
        return [state for entry in cast(Sequence[Any], value) for state in flat(entry)]
    return []


def _cell_parts(step: Step, inner: Any) -> list[Step]:
    """The cells of an RNN one after the other, each ready to be read."""
    if not isinstance(inner, KerasLayer):
        step.unsupported("has a whole model as its cell, which is not unrolled")
    if inner.problem is not None:
        step.unsupported(f"has a cell that cannot be run: {inner.problem}")
    part = step.part(inner)
    if inner.kind == "StackedRNNCells":
        part.options.raw("cells")
        if part.options.flag("reverse_state_order", default=False):
            step.unsupported("has cells whose states are in reverse order")
        part.refuse_unread()
        return [own for cell in inner.inner.values() for own in _cell_parts(step, cell)]
    if inner.kind not in CELLS:
        step.unsupported(f"has a cell of kind {inner.kind[:80]!r}; translated are {', '.join(CELLS)}")
    return [part]


def _simple(step: Step, features: int) -> Cell:
    return cells.simple(step, features)


def _gru(step: Step, features: int) -> Cell:
    """Files that say nothing of `reset_after` are from before there was a choice."""
    return cells.gated(step, features, reset_after=step.options.flag("reset_after", default=False))


CELLS: Mapping[str, Callable[[Step, int], Cell]] = {
    "GRUCell": _gru,
    "LSTMCell": cells.long_short,
    "SimpleRNNCell": cells.simple,
}
