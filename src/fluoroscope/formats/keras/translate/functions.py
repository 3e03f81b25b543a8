"""Activation functions by name.

Formulas are those of ``keras.activations`` with their defaults: of Keras 3, and of 1 and 2 where they differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from math import pi, sqrt

import numpy as np
from onnx import TensorProto

from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.step import Step
from fluoroscope.network.protocol import FloatArray


def clip(step: Step, x: str, low: float, high: float) -> str:
    """`x`, at least `low` and at most `high`."""
    return step.node("Clip", x, step.graph.scalar(low), step.graph.scalar(high))


def scaled(step: Step, x: str, factor: float) -> str:
    """`x` times a number."""
    return step.node("Mul", x, step.graph.scalar(factor))


def along(operator: str, step: Step, value: Value, *, place: int | None = None) -> Value:
    """An operator over one axis of the shape, the last by default."""
    axis = value.axis(value.last if place is None else place)
    return step.like(value, step.node(operator, value.tensor, axis=axis))


def _gelu(step: Step, x: str) -> str:
    """``x / 2 * (1 + erf(x / sqrt(2)))``, exact: Hendrycks and Gimpel, arXiv 1606.08415."""
    erf = step.node("Erf", scaled(step, x, 1 / sqrt(2)))
    return step.node("Mul", scaled(step, x, 0.5), step.node("Add", erf, step.graph.scalar(1.0)))


def _gelu_tanh(step: Step, x: str) -> str:
    """The approximation of the same paper: ``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``."""
    cube = step.node("Mul", step.node("Mul", x, x), scaled(step, x, 0.044715))
    inner = scaled(step, step.node("Add", x, cube), sqrt(2 / pi))
    tanh = step.node("Add", step.node("Tanh", inner), step.graph.scalar(1.0))
    return step.node("Mul", scaled(step, x, 0.5), tanh)


def _quick_gelu(step: Step, x: str) -> str:
    """Their other approximation: ``x * sigmoid(1.702 * x)``."""
    return step.node("Mul", x, step.node("Sigmoid", scaled(step, x, 1.702)))


def _lisht(step: Step, x: str) -> str:
    """``x * tanh(x)``: Roy et al., arXiv 1901.05894."""
    return step.node("Mul", x, step.node("Tanh", x))


def _square(step: Step, x: str) -> str:
    return step.node("Mul", x, x)


def _silu(step: Step, x: str) -> str:
    return step.node("Mul", x, step.node("Sigmoid", x))


def _hard_silu(step: Step, x: str) -> str:
    return step.node("Mul", x, step.node("HardSigmoid", x, alpha=1 / 6, beta=0.5))


def _log_sigmoid(step: Step, x: str) -> str:
    return step.node("Neg", step.node("Softplus", step.node("Neg", x)))


def _mish(step: Step, x: str) -> str:
    return step.node("Mul", x, step.node("Tanh", step.node("Softplus", x)))


def _sparse_plus(step: Step, x: str) -> str:
    """0 up to -1, ``(x + 1)**2 / 4`` up to 1, then `x`: the parabola of the clipped value, and the rest."""
    raised = step.node("Add", clip(step, x, -1.0, 1.0), step.graph.scalar(1.0))
    above = step.node("Relu", step.node("Sub", x, step.graph.scalar(1.0)))
    return step.node("Add", scaled(step, step.node("Mul", raised, raised), 0.25), above)


def _squareplus(step: Step, x: str) -> str:
    """``(x + sqrt(x**2 + 4)) / 2``: Barron, arXiv 2112.11687."""
    root = step.node("Sqrt", step.node("Add", step.node("Mul", x, x), step.graph.scalar(4.0)))
    return scaled(step, step.node("Add", x, root), 0.5)


def _tanh_shrink(step: Step, x: str) -> str:
    return step.node("Sub", x, step.node("Tanh", x))


def _glu(step: Step, value: Value) -> Value:
    """The first half of the last axis times the sigmoid of the second: Dauphin et al., arXiv 1612.08083."""
    size = value.shape[-1]
    if size is None or size % 2:
        step.damaged(f"splits its last axis in two, which {size} values do not allow")
    axis = step.graph.integers([value.axis(value.last)])
    bounds = [step.graph.integers([bound]) for bound in (0, size // 2, size)]
    first, second = (step.node("Slice", value.tensor, begin, end, axis) for begin, end in pairwise(bounds))
    tensor = step.node("Mul", first, step.node("Sigmoid", second))
    return Value(
        tensor=tensor, shape=(*value.shape[:-1], size // 2), channel=value.channel, moved=value.moved
    )


def _sparsemax(step: Step, value: Value) -> Value:
    """Martins and Astudillo, arXiv 1602.02068, along the last axis, as Keras 3 computes it.

    Sorted descending, with sums ``s_k`` of the first `k`, the support is where ``z_k > (s_k - 1) / k``. Keras
    takes off ``tau = (sum of s_k over the support - 1) / its size`` where the paper has the last `s_k` alone;
    what a network was trained with is what is shown.
    """
    size = value.shape[-1]
    if size is None:
        step.unsupported("takes sparsemax over an axis of free size")
    step.allow_table(size)
    axis = value.axis(value.last)
    axes = step.graph.integers([axis])
    one = step.graph.scalar(1.0)
    # TopK has two outputs; only the sorted values are read.
    ordered = step.node("TopK", value.tensor, step.graph.integers([size]), axis=axis)
    step.graph.nodes[-1].output.append(step.graph.unique(f"{step.name}/TopK/indices"))
    sums = step.node("CumSum", ordered, step.graph.integers([axis]))
    ranks: FloatArray = np.arange(1, size + 1, dtype=np.float32)
    counts = step.constant("ranks", value.aligned(ranks, [value.last]))
    level = step.node("Div", step.node("Sub", sums, one), counts)
    support = step.node("Cast", step.node("Greater", ordered, level), to=TensorProto.FLOAT)
    total = step.node("ReduceSum", step.node("Mul", sums, support), axes)
    tau = step.node("Div", step.node("Sub", total, one), step.node("ReduceSum", support, axes))
    return step.like(value, step.node("Relu", step.node("Sub", value.tensor, tau)))


Named = Callable[[Step, Value], Value]


def _operator(operator: str, **attributes: float) -> Named:
    """A function of each element that is one ONNX operator."""
    return lambda step, value: step.like(value, step.node(operator, value.tensor, **attributes))


def _elementwise(formula: Callable[[Step, str], str]) -> Named:
    """A function of each element made of several operators."""
    return lambda step, value: step.like(value, formula(step, value.tensor))


NAMED: Mapping[str, Named] = {
    "abs": _operator("Abs"),
    "celu": _operator("Elu", alpha=1.0),  # the two differ only where alpha is not 1
    "cos": _operator("Cos"),
    "elu": _operator("Elu", alpha=1.0),
    "erf": _operator("Erf"),
    "exponential": _operator("Exp"),
    "gelu": _elementwise(_gelu),
    "gelu_tanh": _elementwise(_gelu_tanh),
    "glu": _glu,
    "hard_shrink": _operator("Shrink", lambd=0.5, bias=0.0),
    "hard_sigmoid": _operator("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard_sigmoid_keras2": _operator("HardSigmoid", alpha=0.2, beta=0.5),
    "hard_silu": _elementwise(_hard_silu),
    "hard_swish": _elementwise(_hard_silu),
    "hard_tanh": _elementwise(partial(clip, low=-1.0, high=1.0)),
    "leaky_relu": _operator("LeakyRelu", alpha=0.2),
    "linear": lambda _, value: value,
    "lisht": _elementwise(_lisht),
    "log_sigmoid": _elementwise(_log_sigmoid),
    "log_softmax": partial(along, "LogSoftmax"),
    "mish": _elementwise(_mish),
    "quick_gelu": _elementwise(_quick_gelu),
    "relu": _operator("Relu"),
    "relu6": _elementwise(partial(clip, low=0.0, high=6.0)),
    "selu": _operator("Selu"),
    "sigmoid": _operator("Sigmoid"),
    "silu": _elementwise(_silu),
    "sin": _operator("Sin"),
    "soft_shrink": _operator("Shrink", lambd=0.5, bias=0.5),
    "softmax": partial(along, "Softmax"),
    "softplus": _operator("Softplus"),
    "softsign": _operator("Softsign"),
    "sparse_plus": _elementwise(_sparse_plus),
    "sparse_sigmoid": _operator("HardSigmoid", alpha=0.5, beta=0.5),
    "sparsemax": _sparsemax,
    "sqrt": _operator("Sqrt"),
    "square": _elementwise(_square),
    "squareplus": _elementwise(_squareplus),
    "swish": _elementwise(_silu),
    "tanh": _operator("Tanh"),
    "tanh_shrink": _elementwise(_tanh_shrink),
}
"""Every named activation of Keras 1 to 3 that can be called without arguments, Keras 1 and 2's
``hard_sigmoid`` under a name of its own, and TensorFlow's and public functions that files name."""
