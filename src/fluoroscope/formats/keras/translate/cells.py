"""What recurrent layers do at each step: the cells of SimpleRNN, GRU and LSTM.

A cell is told in two ways. As ONNX's operator of that name, where its activations are among those that
onnxruntime computes exactly; and as the nodes of one step, for a loop. Keras has the gates of a GRU in the
order ``z, r, h``, those of an LSTM as ``i, f, c, o``; ONNX wants ``z, r, h`` and ``i, o, f, c``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fluoroscope.formats.keras.translate.activations import chosen
from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.functions import Named
from fluoroscope.formats.keras.translate.loops import Body
from fluoroscope.formats.keras.translate.step import Step
from fluoroscope.network.protocol import FloatArray, Shape

_FUSED: Mapping[str, tuple[str, tuple[float, float] | None]] = {
    "sigmoid": ("Sigmoid", None),
    "tanh": ("Tanh", None),
    "relu": ("Relu", None),
    "hard_sigmoid": ("HardSigmoid", (1 / 6, 0.5)),
    "hard_sigmoid_keras2": ("HardSigmoid", (0.2, 0.5)),
}
"""Activations that ONNX's recurrent operators are given by name, with alpha and beta."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fused:
    """A cell as one operator.

    Attributes
    ----------
    operator
        ``RNN``, ``GRU`` or ``LSTM``.
    weights
        Tensors of its kernel, its recurrent kernel and its bias.
    attributes
        But for the direction.
    """

    operator: str
    weights: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What a recurrent layer does at each step.

    Attributes
    ----------
    shape, channel, moved
        Of an output and of each state, as in `Value`.
    states
        How many states there are; the first is the output.
    prepared
        From a sequence to a tensor ``(batch, steps, ...)``: what needs no state, done for all steps at once.
    body
        From a step of that, and the states, to new states.
    fused
        The same as one operator; None where there is none.
    """

    shape: Shape
    states: int
    prepared: Callable[[Step, Value], str]
    body: Body
    fused: Fused | None = None
    channel: int = 0
    moved: bool = field(default=False)


def simple(step: Step, features: int) -> Cell:
    """SimpleRNN: ``h = activation(x W + b + h U)``."""
    units = step.options.integer("units")
    name, function = chosen(step, "activation", default="tanh")
    kernel, recurrent = _kernels(step, features, units, 1)
    bias = step.variable("bias", (units,)) if step.options.flag("use_bias", default=True) else None
    own = _Weights(step, kernel, recurrent, bias)

    def body(x: str, states: Sequence[Value]) -> Sequence[Value]:
        total = step.node("Add", x, step.node("MatMul", states[0].tensor, own.recurrent))
        return [function(step, step.like(states[0], total))]

    return Cell(
        shape=(units,), states=1, prepared=own.prepared, body=body, fused=own.fused("RNN", units, (name,))
    )


def gated(step: Step, features: int, *, reset_after: bool) -> Cell:
    """GRU: Cho et al., arXiv 1406.1078; with `reset_after` as cuDNN has it.

    ``z`` and ``r`` are gates of ``x`` and ``h``; ``h' = z h + (1 - z) activation(x W + (r h) U)``, or, with
    the reset after the matrix, ``... activation(x W + r (h U + b))``.
    """
    units = step.options.integer("units")
    gate_name, gate = chosen(step, "recurrent_activation", default="sigmoid")
    name, function = chosen(step, "activation", default="tanh")
    kernel, recurrent = _kernels(step, features, units, 3)
    bias, inner_bias = _gru_bias(step, units, reset_after=reset_after)
    own = _Weights(step, kernel, recurrent, bias, inner_bias)
    halves = [step.constant(f"recurrent_kernel/{part}", array) for part, array in (
        ("gates", recurrent[:, : 2 * units]), ("candidate", recurrent[:, 2 * units :])
    )]  # fmt: skip

    def body(x: str, states: Sequence[Value]) -> Sequence[Value]:
        (h,) = states
        x_gates, x_new = _split(step, x, (2 * units, units))
        if reset_after:
            inner = step.node("MatMul", h.tensor, own.recurrent)
            if own.inner_bias is not None:
                inner = step.node("Add", inner, own.inner_bias)
            h_gates, h_new = _split(step, inner, (2 * units, units))
        else:
            h_gates, h_new = step.node("MatMul", h.tensor, halves[0]), ""
        gates = step.node("Add", x_gates, h_gates)
        z, r = (gate(step, step.like(h, part)).tensor for part in _split(step, gates, (units, units)))
        if reset_after:
            new = step.node("Mul", r, h_new)
        else:
            new = step.node("MatMul", step.node("Mul", r, h.tensor), halves[1])
        candidate = function(step, step.like(h, step.node("Add", x_new, new))).tensor
        # z h + (1 - z) c, in one product less.
        kept = step.node("Mul", z, step.node("Sub", h.tensor, candidate))
        return [step.like(h, step.node("Add", candidate, kept))]

    fused = own.fused("GRU", units, (gate_name, name), linear_before_reset=int(reset_after))
    return Cell(shape=(units,), states=1, prepared=own.prepared, body=body, fused=fused)


def long_short(step: Step, features: int) -> Cell:
    """LSTM: Hochreiter and Schmidhuber 1997; ``c' = f c + i activation(g)``, ``h' = o activation(c')``."""
    units = step.options.integer("units")
    gate_name, gate = chosen(step, "recurrent_activation", default="sigmoid")
    name, function = chosen(step, "activation", default="tanh")
    kernel, recurrent = _kernels(step, features, units, 4)
    bias = step.variable("bias", (4 * units,)) if step.options.flag("use_bias", default=True) else None
    own = _Weights(step, kernel, recurrent, bias)

    def body(x: str, states: Sequence[Value]) -> Sequence[Value]:
        total = step.node("Add", x, step.node("MatMul", states[0].tensor, own.recurrent))
        parts = [step.like(states[0], part) for part in _split(step, total, (units,) * 4)]
        return long_short_step(step, gate, function, parts, states[1])

    fused = own.fused("LSTM", units, (gate_name, name, name), order=(0, 3, 1, 2))
    return Cell(shape=(units,), states=2, prepared=own.prepared, body=body, fused=fused)


def long_short_step(
    step: Step, gate: Named, function: Named, parts: Sequence[Value], carried: Value
) -> Sequence[Value]:
    """One step of an LSTM from the sums for its four gates: output and carry."""
    i, f, g, o = parts
    i, f, o = (gate(step, part).tensor for part in (i, f, o))
    added = step.node("Mul", i, function(step, g).tensor)
    carry = step.like(carried, step.node("Add", step.node("Mul", f, carried.tensor), added))
    return [step.like(carried, step.node("Mul", o, function(step, carry).tensor)), carry]


class _Weights:
    """Kernels and biases of a cell, for a loop and for an operator: only what is used is kept."""

    def __init__(
        self,
        step: Step,
        kernel: FloatArray,
        recurrent: FloatArray,
        bias: FloatArray | None,
        inner_bias: FloatArray | None = None,
    ) -> None:
        self._step = step
        self._arrays = kernel, recurrent, bias, inner_bias
        self._kernel = step.constant("kernel", kernel)
        self.recurrent = step.constant("recurrent_kernel", recurrent)
        self._bias = None if bias is None else step.constant("bias", bias)
        self.inner_bias = None if inner_bias is None else step.constant("recurrent_bias", inner_bias)

    def prepared(self, step: Step, value: Value) -> str:
        """``x W + b`` of all steps."""
        tensor = step.node("MatMul", value.tensor, self._kernel)
        return tensor if self._bias is None else step.node("Add", tensor, self._bias)

    def fused(
        self, operator: str, units: int, activations: tuple[str, ...], order: Sequence[int] = (), **more: int
    ) -> Fused | None:
        """As an ONNX operator, whose gates are Keras's in this order."""
        if not all(name in _FUSED for name in activations):
            return None
        kernel, recurrent, bias, inner_bias = self._arrays
        gates = kernel.shape[1] // units
        order = order or range(gates)

        def laid(array: FloatArray | None) -> FloatArray:
            """Gates in ONNX's order, one below the other."""
            if array is None:
                return np.zeros(gates * units, np.float32)
            parts = np.split(array, gates, axis=-1)
            return np.concatenate([parts[gate].T for gate in order])

        both = np.concatenate([laid(bias), laid(inner_bias)])
        step = self._step
        weights = (
            step.constant("kernel/onnx", laid(kernel)[None]),
            step.constant("recurrent_kernel/onnx", laid(recurrent)[None]),
            step.constant("bias/onnx", both[None]),
        )
        named = [_FUSED[name] for name in activations]
        numbers = [given for _, given in named if given is not None]
        attributes: dict[str, Any] = {
            "hidden_size": units, "activations": [own for own, _ in named], **more
        }  # fmt: skip
        if numbers:
            attributes["activation_alpha"] = [alpha for alpha, _ in numbers]
            attributes["activation_beta"] = [beta for _, beta in numbers]
        return Fused(operator=operator, weights=weights, attributes=attributes)


def _kernels(step: Step, features: int, units: int, gates: int) -> tuple[FloatArray, FloatArray]:
    kernel = step.variable("kernel", (features, gates * units))
    return kernel, step.variable("recurrent_kernel", (units, gates * units))


def _gru_bias(step: Step, units: int, *, reset_after: bool) -> tuple[FloatArray | None, FloatArray | None]:
    """Of what comes in, and of the state."""
    if not step.options.flag("use_bias", default=True):
        return None, None
    if not reset_after:
        return step.variable("bias", (3 * units,)), None
    both = step.variable("bias", (2, 3 * units))
    return both[0], both[1]


def _split(step: Step, tensor: str, sizes: Sequence[int]) -> tuple[str, ...]:
    """A tensor's last axis in parts."""
    parts = step.graph.node_of_many(
        "Split", [tensor, step.graph.integers(sizes)], len(sizes), scope=step.name, axis=-1
    )
    step.made.update(parts)
    return parts
