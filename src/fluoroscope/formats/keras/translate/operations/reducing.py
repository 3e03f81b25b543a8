"""Functions that make one number of many: sums, means, extremes along axes of a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.known import Known
from fluoroscope.formats.keras.translate.operations.call import Call, Result
from fluoroscope.formats.keras.translate.operations.elementwise import number, squared, truth
from fluoroscope.network.protocol import Shape

Function = Callable[[Call], Result]
Formula = Callable[[Call, str, str], str]
"""From a call, a tensor and the axes to what is left, those axes of length 1."""


def over(call: Call, value: Value, places: Sequence[int], operator: str, *, keep: bool) -> Value:
    """An operator along some places of the shape, which stay with length 1 or go."""
    axes = call.graph.integers(value.axis(place) for place in places)
    tensor = call.step.node(operator, value.tensor, axes, keepdims=int(keep))
    return left(value, places, tensor, keep=keep)


def left(value: Value, places: Sequence[int], tensor: str, *, keep: bool) -> Value:
    """`tensor` as what is left of `value`."""
    if keep:
        sizes: Shape = tuple(1 if place in places else size for place, size in enumerate(value.shape))
        return Value(tensor=tensor, shape=sizes, channel=value.channel, moved=value.moved)
    rest = [place for place in range(value.rank) if place not in places]
    channel = rest.index(value.channel) if value.channel in rest else len(rest) - 1
    moved = value.moved and value.last in rest and len(rest) > 1
    return Value(
        tensor=tensor,
        shape=tuple(value.shape[place] for place in rest),
        channel=len(rest) - 1 if moved else channel,
        moved=moved,
    )


def reduction(operator: str, known: Callable[..., Any] | None = None) -> Function:
    """A function along axes that is one operator; `known` is the same in NumPy."""
    return reduced(lambda call, x, axes: call.step.node(operator, x, axes, keepdims=1), known)


def reduced(formula: Formula, known: Callable[..., Any] | None = None) -> Function:
    """A function along axes made of several operators."""

    def function(call: Call) -> Result:
        call.raw("dtype")
        x, keep = call.operand("x"), call.flag("keepdims")
        if isinstance(x, Known):
            axis = call.integers("axis")
            axes = None if axis is None else tuple(axis)
            if known is None:
                call.unsupported("is called on numbers, for which it has no translation")
            return call.computed(partial(known, axis=axes, keepdims=keep), x)
        places = call.places("axis", x)
        axes = call.graph.integers(x.axis(place) for place in places)
        kept = left(x, places, formula(call, x.tensor, axes), keep=True)
        return kept if keep else without(call, kept, places)

    return function


def without(call: Call, value: Value, places: Sequence[int]) -> Value:
    """The value without places of length 1."""
    if not places:
        return value
    axes = call.graph.integers(value.axis(place) for place in places)
    return left(value, places, call.step.node("Squeeze", value.tensor, axes), keep=False)


def variance(call: Call, x: str, axes: str) -> str:
    """The mean square of the distance from the mean."""
    distance = call.step.node("Sub", x, call.step.node("ReduceMean", x, axes))
    return call.step.node("ReduceMean", squared(call, distance), axes)


def deviation(call: Call, x: str, axes: str) -> str:
    """The root of the variance."""
    return call.step.node("Sqrt", variance(call, x, axes))


def spread(call: Call, x: str, axes: str) -> str:
    """The largest less the smallest."""
    return call.step.node("Sub", call.step.node("ReduceMax", x, axes), call.step.node("ReduceMin", x, axes))


def any_of(call: Call, x: str, axes: str) -> str:
    """1 where any is not 0."""
    return call.step.node("ReduceMax", number(call, truth(call, x)), axes)


def all_of(call: Call, x: str, axes: str) -> str:
    """1 where none is 0."""
    return call.step.node("ReduceMin", number(call, truth(call, x)), axes)


def counted(call: Call, x: str, axes: str) -> str:
    """How many are not 0."""
    return call.step.node("ReduceSum", number(call, truth(call, x)), axes)


def norm(call: Call) -> Result:
    """The length of vectors: the root of the sum of squares, or of order 1 or infinity; also of 2 axes."""
    x, order = call.value("x"), call.raw("ord", "fro")
    if isinstance(order, Known):
        order = call.number("ord", 2.0)
    places = call.places("axis", x)
    operators: dict[str | float, str] = {
        "euclidean": "ReduceL2", "fro": "ReduceL2", 2: "ReduceL2", 1: "ReduceL1",
        np.inf: "ReduceMax", "inf": "ReduceMax",
    }  # fmt: skip
    operator = operators.get(order) if isinstance(order, (int, float, str)) else None
    matrix = len(places) > 1 and order not in ("fro", "euclidean")
    if operator is None or matrix:
        call.unsupported("is a norm that has no translation")
    if operator == "ReduceMax":
        x = call.step.like(x, call.step.node("Abs", x.tensor))
    return over(call, x, places, operator, keep=call.flag("keepdims"))


def extreme_place(operator: str) -> Function:
    """ArgMax, ArgMin: where along an axis it lies, the first of several."""

    def function(call: Call) -> Result:
        x = call.value("x")
        call.raw("dtype")
        if call.raw("axis") is None:
            call.mixes_pictures("looks for a place in all axes together")
        places = call.places("axis", x)
        if len(places) != 1:
            call.unsupported("looks along several axes")
        tensor = call.step.node(operator, x.tensor, axis=x.axis(places[0]), keepdims=1)
        kept = left(x, places, number(call, tensor), keep=True)
        return kept if call.flag("keepdims") else without(call, kept, places)

    return function


def moments(call: Call) -> Result:
    """Mean and variance."""
    x, keep = call.value("x"), call.flag("keepdims")
    call.raw("synchronized")
    places = call.places("axes", x)
    axes = call.graph.integers(x.axis(place) for place in places)
    both = [call.step.node("ReduceMean", x.tensor, axes), variance(call, x.tensor, axes)]
    kept = [left(x, places, tensor, keep=True) for tensor in both]
    return tuple(kept if keep else [without(call, value, places) for value in kept])


def cumulated(call: Call) -> Result:
    """The sum of all up to each place along an axis."""
    x = call.value("x")
    call.raw("dtype")
    places = call.places("axis", x)
    if len(places) != 1:
        call.unsupported("sums up along several axes")
    axis = call.graph.integer(x.axis(places[0]))
    exclusive, reverse = int(call.flag("exclusive")), int(call.flag("reverse"))
    return call.step.like(x, call.step.node("CumSum", x.tensor, axis, exclusive=exclusive, reverse=reverse))


def normalized(call: Call) -> Result:
    """Divided by the norm along `axis`, which is taken as `epsilon` at least."""
    x, order = call.value("x"), call.number("order", 2.0)
    epsilon = call.graph.scalar(call.number("epsilon", 1e-7))
    places = call.places("axis", x, default=[-1])
    axes = call.graph.integers(x.axis(place) for place in places)
    step = call.step
    size = x.tensor if order == 2 else step.node("Abs", x.tensor)
    if order == 2:
        length = step.node("ReduceL2", size, axes)
    elif order == 1:
        length = step.node("ReduceL1", size, axes)
    elif np.isinf(order) and order > 0:
        length = step.node("ReduceMax", size, axes)
    elif np.isfinite(order) and order > 0:
        powers = step.node("ReduceSum", step.node("Pow", size, call.graph.scalar(order)), axes)
        length = step.node("Pow", powers, call.graph.scalar(1 / order))
    else:
        call.unsupported(f"divides by a norm of order {order}, which has no translation")
    return step.like(x, step.node("Div", x.tensor, step.node("Max", length, epsilon)))


def l2_normalized(call: Call) -> Result:
    """``x / sqrt(max(sum(x**2), epsilon))``, as TensorFlow has it."""
    x = call.value("x")
    places = call.places("axis", x)
    axes = call.graph.integers(x.axis(place) for place in places)
    step = call.step
    total = step.node("ReduceSumSquare", x.tensor, axes)
    floor = step.node("Max", total, call.graph.scalar(call.number("epsilon", 1e-12)))
    return step.like(x, step.node("Div", x.tensor, step.node("Sqrt", floor)))


def top_k(call: Call) -> Result:
    """The `k` largest along the last axis, and where they lie."""
    x, k = call.graph.in_keras_order(call.value("x")), call.integer("k", 1)
    call.raw("sorted")
    if not x.rank or k < 1 or k > (x.shape[-1] or k):
        call.unsupported(f"takes the {k} largest of a shape of {x.shape}")
    values, places = call.step.outputs("TopK", 2, x.tensor, call.graph.integers([k]), axis=x.rank)
    shape = (*x.shape[:-1], k)
    return call.reread(values, shape), call.reread(number(call, places), shape)
