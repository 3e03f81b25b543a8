"""ConvLSTM: an LSTM whose gates are convolutions, Shi et al., arXiv 1506.04214."""

from __future__ import annotations

from collections.abc import Sequence

from fluoroscope.formats.keras.translate.activations import chosen
from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.cells import Cell, long_short_step
from fluoroscope.formats.keras.translate.convolution import convolve, out_first, window_of
from fluoroscope.formats.keras.translate.recurrent import Run
from fluoroscope.formats.keras.translate.sequence import FoldedSequence
from fluoroscope.formats.keras.translate.step import Step
from fluoroscope.formats.keras.translate.windows import Window


def conv_lstm(step: Step, rank: int) -> tuple[Value, ...]:
    """ConvLSTM1D, ConvLSTM2D, ConvLSTM3D: over a sequence of pictures.

    What comes in is convolved by the layer's options; the state by the same kernel size in steps of 1, padded
    to stay as large. The former is done for all pictures at once.
    """
    run = Run.of(step)
    value = run.value
    if value.rank != rank + 2:
        step.damaged(f"takes a sequence of {rank + 1} axes each, not a shape of {value.shape}")
    sequence = FoldedSequence(step, value)
    planes = step.planes(rank, sequence.folded(value))
    filters = step.options.integer("filters")
    window = window_of(step, rank)
    _, gate = chosen(step, "recurrent_activation", default="hard_sigmoid_keras2")
    _, function = chosen(step, "activation", default="tanh")
    kernel = step.variable("kernel", (*window.kernel, planes.channels, 4 * filters))
    recurrent = out_first(step.variable("recurrent_kernel", (*window.kernel, filters, 4 * filters)))
    bias = step.variable("bias", (4 * filters,)) if step.options.flag("use_bias", default=True) else None
    coming = convolve(step, planes, window, "kernel", out_first(kernel), bias, 1)
    one = (1,) * rank
    around = Window(kernel=window.kernel, strides=one, dilations=one, padding="same")
    sizes, _ = window.over(step, planes.sizes)
    if None in sizes:
        step.needs_size("keeps a state as large as its pictures")
    state = planes.value("", channels=filters, sizes=sizes)

    def body(x: str, states: Sequence[Value]) -> Sequence[Value]:
        hidden, carried = states
        inner = convolve(step, step.planes(rank, hidden), around, "recurrent_kernel", recurrent, None, 1)
        total = step.node("Add", x, inner.tensor)
        parts = step.graph.node_of_many(
            "Split", [total, step.graph.integers([filters] * 4)], 4, scope=step.name, axis=1
        )
        return long_short_step(step, gate, function, [step.like(hidden, part) for part in parts], carried)

    cell = Cell(
        shape=state.shape,
        states=2,
        prepared=lambda _, __: sequence.in_front(coming.tensor),
        body=body,
        channel=state.channel,
        moved=state.moved,
    )
    return run.whole(step, cell, value)
