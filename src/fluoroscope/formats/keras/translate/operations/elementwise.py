"""Functions of each number by itself, and of numbers in the same place of several tensors.

Every tensor of the graph holds float32: truth is 1 and 0, integers are whole floats (exact up to 2**24).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.functions import NAMED
from fluoroscope.formats.keras.translate.known import Known, Operand
from fluoroscope.formats.keras.translate.merging import broadcast_shape
from fluoroscope.formats.keras.translate.operations.call import Call, Result

Function = Callable[[Call], Result]
Unary = Callable[[Call, str], str]
Pairwise = Callable[[Call, str, str], str]
"""From a call and the tensors it takes to the tensor it makes."""
Array = NDArray[Any]


def together(call: Call, operands: Sequence[Operand]) -> tuple[list[str], Value]:
    """Tensors that broadcast against each other as NumPy's rules say, and a value like what they make.

    Numbers are lined up with the last axes. Of tensors all must have the same rank: with fewer axes, the
    pictures of one would meet the rows of another.
    """
    values = [operand for operand in operands if isinstance(operand, Value)]
    rank = max(value.rank for value in values)
    if any(value.rank != rank for value in values):
        shapes = ", ".join(str(("n", *value.shape)) for value in values)
        call.mixes_pictures(f"broadcasts shapes of different rank against each other ({shapes})")
    moved = any(value.moved for value in values)
    channel = next((value.channel for value in values if value.channel != value.last), rank - 1)
    order = call.graph.in_moved_order if moved else call.graph.in_keras_order
    shape = reduce(
        lambda left, right: broadcast_shape(call.step, left, right), [value.shape for value in values]
    )
    arrays = {
        place: _trailing(call, operand, rank)
        for place, operand in enumerate(operands)
        if isinstance(operand, Known)
    }
    for array in arrays.values():
        shape = broadcast_shape(call.step, shape, (1,) * (rank - array.ndim) + array.shape)
    like = replace(values[0], shape=shape, channel=rank - 1 if moved else channel, moved=moved)
    tensors: list[str] = []
    for place, operand in enumerate(operands):
        if isinstance(operand, Value):
            tensors.append(order(operand).tensor)
        else:
            array = arrays[place]
            if array.ndim:
                call.step.allow_table(array.size)
                array = like.aligned(array, range(rank - array.ndim, rank))
            tensors.append(call.constant(array))
    return tensors, like


def _trailing(call: Call, operand: Known, rank: int) -> Any:
    """A constant without the axis that would stand for the batch."""
    array = call.numbers(operand)
    if array.ndim == rank + 1 and array.shape[0] == 1:
        array = array[0]
    if array.ndim > rank:
        call.mixes_pictures(f"is called with an array of shape {array.shape} against {rank + 1} axes")
    return array


def unary(operator: str, known: Callable[[Array], Any] | None = None, **attributes: Any) -> Function:
    """A function of one operand that is one operator; `known` is the same in NumPy."""
    return elementwise(lambda call, x: call.step.node(operator, x, **attributes), known)


def _untranslated(call: Call) -> NoReturn:
    call.unsupported("is called on numbers, for which it has no translation")


def elementwise(formula: Unary, known: Callable[[Array], Any] | None = None) -> Function:
    """A function of one operand made of several operators."""

    def function(call: Call) -> Result:
        x = call.operand("x")
        if isinstance(x, Known):
            return call.computed(known or _untranslated(call), x)
        return call.step.like(x, formula(call, x.tensor))

    return function


def named(name: str) -> Function:
    """One of the activations."""
    return lambda call: NAMED[name](call.step, call.value("x"))


def pairwise(formula: Pairwise | str, known: Callable[[Array, Array], Any] | None = None) -> Function:
    """A function of two operands, an operator or a formula."""

    def function(call: Call) -> Result:
        left, right = call.operand("x1"), call.operand("x2")
        if isinstance(left, Known) and isinstance(right, Known):
            return call.fold(known or _untranslated(call), left, right)
        (a, b), like = together(call, [left, right])
        return call.step.like(
            like, call.step.node(formula, a, b) if isinstance(formula, str) else formula(call, a, b)
        )

    return function


def compared(operator: str, known: Callable[[Array, Array], Any]) -> Function:
    """A comparison: 1 where it holds, 0 elsewhere."""
    return pairwise(lambda call, a, b: number(call, call.step.node(operator, a, b)), known)


def differs(call: Call, a: str, b: str) -> str:
    """``a != b``."""
    return number(call, call.step.node("Not", call.step.node("Equal", a, b)))


def logical(operator: str) -> Pairwise:
    """And, Or, Xor of truth values."""
    return lambda call, a, b: number(call, call.step.node(operator, truth(call, a), truth(call, b)))


def truth(call: Call, x: str) -> str:
    """``x != 0`` as ONNX's truth."""
    return call.step.node("Cast", x, to=TensorProto.BOOL)


def number(call: Call, x: str) -> str:
    """ONNX's truth, or an integer, as float32."""
    return call.step.node("Cast", x, to=TensorProto.FLOAT)


def negated(call: Call, x: str) -> str:
    """1 where `x` is 0, else 0."""
    return number(call, call.step.node("Not", truth(call, x)))


def tested(operator: str, **attributes: Any) -> Unary:
    """IsNaN, IsInf."""
    return lambda call, x: number(call, call.step.node(operator, x, **attributes))


def finite(call: Call, x: str) -> str:
    """1 where `x` is neither infinite nor NaN: only then it is equal to itself, and its size is not inf."""
    return number(call, call.step.node("Less", call.step.node("Abs", x), call.graph.scalar(float("inf"))))


def times(factor: float) -> Unary:
    """`x` times a number."""
    return lambda call, x: call.step.node("Mul", x, call.graph.scalar(factor))


def logarithm(base: float) -> Unary:
    """The logarithm to a base."""
    return lambda call, x: call.step.node(
        "Mul", call.step.node("Log", x), call.graph.scalar(1.0 / float(np.log(base)))
    )


def power_of(base: float) -> Unary:
    """``base ** x``."""
    return lambda call, x: call.step.node("Pow", call.graph.scalar(base), x)


def squared(call: Call, x: str) -> str:
    """``x * x``."""
    return call.step.node("Mul", x, x)


def inverse_root(call: Call, x: str) -> str:
    """``1 / sqrt(x)``."""
    return call.step.node("Reciprocal", call.step.node("Sqrt", x))


def plus_one_log(call: Call, x: str) -> str:
    """``log(1 + x)``, exact also where `x` is next to nothing: Goldberg 1991, theorem 4.

    ``x * log(u) / (u - 1)`` with ``u = 1 + x`` rounded, and `x` itself where that is 1.
    """
    step, one = call.step, call.graph.scalar(1.0)
    sum_ = step.node("Add", x, one)
    same = step.node("Equal", sum_, one)
    safe = step.node("Where", same, call.graph.scalar(2.0), sum_)
    ratio = step.node("Div", step.node("Log", safe), step.node("Sub", safe, one))
    return step.node("Where", same, x, step.node("Mul", x, ratio))


def exp_minus_one(call: Call, x: str) -> str:
    """``exp(x) - 1``, exact near 0: ``tanh(x / 2) * (exp(x) + 1)``, infinite where `exp` is."""
    step = call.step
    half = step.node("Tanh", step.node("Mul", x, call.graph.scalar(0.5)))
    return step.node("Mul", half, step.node("Add", step.node("Exp", x), call.graph.scalar(1.0)))


def truncated(call: Call, x: str) -> str:
    """Towards zero."""
    return call.step.node("Mul", call.step.node("Sign", x), call.step.node("Floor", call.step.node("Abs", x)))


def floor_divided(call: Call, a: str, b: str) -> str:
    """``a // b``."""
    return call.step.node("Floor", call.step.node("Div", a, b))


def modulo(call: Call, a: str, b: str) -> str:
    """The remainder with the divisor's sign, as Python has it."""
    step = call.step
    rest = step.node("Mod", a, b, fmod=1)
    crossed = step.node(
        "Less", step.node("Mul", step.node("Sign", rest), step.node("Sign", b)), call.graph.scalar(0.0)
    )
    return step.node("Where", crossed, step.node("Add", rest, b), rest)


def remainder(call: Call, a: str, b: str) -> str:
    """The remainder with the dividend's sign, as C has it."""
    return call.step.node("Mod", a, b, fmod=1)


def divided_or_zero(call: Call, a: str, b: str) -> str:
    """``a / b``, and 0 where `b` is 0."""
    step, zero = call.step, call.graph.scalar(0.0)
    nothing = step.node("Equal", b, zero)
    ratio = step.node("Div", a, step.node("Where", nothing, call.graph.scalar(1.0), b))
    return step.node("Where", nothing, zero, ratio)


def squared_difference(call: Call, a: str, b: str) -> str:
    """``(a - b) ** 2``."""
    return squared(call, call.step.node("Sub", a, b))


def hypotenuse(call: Call, a: str, b: str) -> str:
    """``sqrt(a**2 + b**2)``."""
    step = call.step
    return step.node("Sqrt", step.node("Add", squared(call, a), squared(call, b)))


def log_add_exp(call: Call, a: str, b: str) -> str:
    """``log(exp(a) + exp(b))``: the larger one, and softplus of minus their distance."""
    step = call.step
    distance = step.node("Abs", step.node("Sub", a, b))
    return step.node("Add", step.node("Max", a, b), step.node("Softplus", step.node("Neg", distance)))


def clip(call: Call) -> Result:
    """At least `x_min`, at most `x_max`; either may be left out."""
    x, low, high = call.operand("x"), call.optional("x_min"), call.optional("x_max")
    for operator, known, bound in (("Max", np.maximum, low), ("Min", np.minimum, high)):
        if bound is None:
            continue
        if isinstance(x, Known) and isinstance(bound, Known):
            x = call.fold(known, x, bound)
        else:
            tensors, like = together(call, [x, bound])
            x = call.step.like(like, call.step.node(operator, *tensors))
    return x


def where(call: Call) -> Result:
    """`x1` where the condition holds, `x2` elsewhere."""
    operands = [call.operand(name) for name in ("condition", "x1", "x2")]
    numbers = [operand for operand in operands if isinstance(operand, Known)]
    if len(numbers) == len(operands):
        return call.fold(np.where, *numbers)
    (condition, *choices), like = together(call, operands)
    return call.step.like(like, call.step.node("Where", truth(call, condition), *choices))


def cast(call: Call) -> Result:
    """To whole numbers: towards zero; to truth: 1 for all but 0; to floats of any width: unchanged.

    What Keras would compute in float16 is computed in float32 here, as everywhere.
    """
    x, dtype = call.operand("x"), call.text("dtype", "float32")
    if isinstance(x, Known):
        if not x.plain or dtype not in _TYPES:
            return x
        return call.computed(lambda array: array.astype(_TYPES[dtype]), x)
    if dtype in ("float16", "bfloat16", "float32", "float64", "half", "double"):
        return x
    if dtype == "bool":
        return call.step.like(x, number(call, truth(call, x.tensor)))
    if dtype in _WHOLE:
        return call.step.like(x, number(call, call.step.node("Cast", x.tensor, to=_WHOLE[dtype])))
    return call.unsupported(f"makes numbers of type {dtype[:40]}, which has no translation")


def same(call: Call) -> Result:
    """What comes in goes out: stop_gradient, copy, identity."""
    return call.operand("x")


def filled_like(default: float | None) -> Function:
    """A tensor like `x` that is one number throughout; `default`, or the argument `fill_value`."""

    def function(call: Call) -> Result:
        x = call.operand("x")
        call.raw("dtype")
        fill = call.number("fill_value", 0.0) if default is None else default
        if isinstance(x, Known):
            return call.computed(lambda array: np.full(array.shape, fill), x)
        # As many as x has, whatever x is: NaN times 0 would stay NaN.
        sizes = call.step.node("Shape", x.tensor)
        return call.step.like(x, call.step.node("Expand", call.graph.floats([fill]), sizes))

    return function


def silu(call: Call) -> Result:
    """``x * sigmoid(beta * x)``."""
    x, beta = call.value("x"), call.number("beta", 1.0)
    inner = x.tensor if beta == 1 else call.step.node("Mul", x.tensor, call.graph.scalar(beta))
    return call.step.like(x, call.step.node("Mul", x.tensor, call.step.node("Sigmoid", inner)))


def gelu(call: Call) -> Result:
    """Exact, or by a hyperbolic tangent: Hendrycks and Gimpel, arXiv 1606.08415."""
    x = call.value("x")
    if not call.flag("approximate", default=True):
        return NAMED["gelu"](call.step, x)
    step, scalar = call.step, call.graph.scalar
    cube = step.node("Mul", x.tensor, step.node("Mul", x.tensor, x.tensor))
    inner = step.node("Add", x.tensor, step.node("Mul", cube, scalar(0.044715)))
    grown = step.node("Tanh", step.node("Mul", inner, scalar(float(np.sqrt(2 / np.pi)))))
    half = step.node("Mul", x.tensor, scalar(0.5))
    return step.like(x, step.node("Mul", half, step.node("Add", grown, scalar(1.0))))


def sloped(operator: str, option: str, default: float) -> Function:
    """LeakyRelu, Elu, Celu, whose `option` is ONNX's ``alpha``."""

    def function(call: Call) -> Result:
        x = call.value("x")
        return call.step.like(x, call.step.node(operator, x.tensor, alpha=call.number(option, default)))

    return function


def shrunk(*, soft: bool) -> Function:
    """0 up to `threshold` from 0; beyond it unchanged, or (soft) less by it."""

    def function(call: Call) -> Result:
        x, edge = call.value("x"), call.number("threshold", 0.5)
        return call.step.like(x, call.step.node("Shrink", x.tensor, lambd=edge, bias=edge if soft else 0.0))

    return function


def threshold(call: Call) -> Result:
    """`x` above `threshold`, else `default_value`."""
    x, scalar = call.value("x"), call.graph.scalar
    above = call.step.node("Greater", x.tensor, scalar(call.number("threshold", 0.0)))
    rest = scalar(call.number("default_value", 0.0))
    return call.step.like(x, call.step.node("Where", above, x.tensor, rest))


def squareplus(call: Call) -> Result:
    """``(x + sqrt(x**2 + b)) / 2``: Barron, arXiv 2112.11687."""
    x, step = call.value("x"), call.step
    inner = step.node("Add", squared(call, x.tensor), call.graph.scalar(call.number("b", 4.0)))
    total = step.node("Add", x.tensor, step.node("Sqrt", inner))
    return step.like(x, step.node("Mul", total, call.graph.scalar(0.5)))


def rounded(call: Call) -> Result:
    """To the nearest, of two as near the even one; to `decimals` digits behind the point."""
    x, decimals = call.operand("x"), call.integer("decimals", 0)
    if isinstance(x, Known):
        return call.computed(np.round, x)
    factor = call.graph.scalar(10.0**decimals)
    if not decimals:
        return call.step.like(x, call.step.node("Round", x.tensor))
    grown = call.step.node("Round", call.step.node("Mul", x.tensor, factor))
    return call.step.like(x, call.step.node("Div", grown, factor))


def nan_to_num(call: Call) -> Result:
    """NaN as `nan`, infinite as `posinf` and `neginf`: by default the largest float32 there is."""
    x, step, scalar = call.value("x"), call.step, call.graph.scalar
    largest = float(np.finfo(np.float32).max)
    tensor = step.node("Where", step.node("IsNaN", x.tensor), scalar(call.number("nan", 0.0)), x.tensor)
    for option, default, positive in (("posinf", largest, 1), ("neginf", -largest, 0)):
        found = step.node("IsInf", x.tensor, detect_positive=positive, detect_negative=1 - positive)
        tensor = step.node("Where", found, scalar(call.number(option, default)), tensor)
    return step.like(x, tensor)


def total(call: Call) -> Result:
    """The sum of a list: add_n, accumulate_n."""
    operands = call.operands("xs")
    tensors, like = together(call, operands)
    made = reduce(lambda a, b: call.step.node("Add", a, b), tensors)
    return call.step.like(like, made)


_WHOLE = {
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "int": TensorProto.INT32,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
}
_TYPES = {
    **{name: np.dtype(np.int64) for name in _WHOLE},
    **dict.fromkeys(("float16", "bfloat16", "float32", "float64"), np.dtype(np.float32)),
    "bool": np.dtype(bool),
}
