"""Calls of functions as layers: from a layer's config and arguments to the function that it calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

import numpy as np

from fluoroscope.formats.keras.functions import GRAPH, OPERATIONS, TENSORFLOW_FUNCTIONS
from fluoroscope.formats.keras.translate.known import Known, Operand
from fluoroscope.formats.keras.translate.operations.call import Call
from fluoroscope.formats.keras.translate.operations.graph_nodes import GRAPH_NODES, attributes
from fluoroscope.formats.keras.translate.operations.keras_ops import KERAS
from fluoroscope.formats.keras.translate.operations.spelling import Spelling
from fluoroscope.formats.keras.translate.operations.table import FUNCTIONS, Function
from fluoroscope.formats.keras.translate.operations.tensorflow import TENSORFLOW
from fluoroscope.formats.keras.translate.options import brief
from fluoroscope.formats.keras.translate.step import Step

_NOT_ARGUMENTS = frozenset({"name", "trainable", "dtype_policy"})
_UNSAID = frozenset({"name", "use_cudnn_on_gpu"})
"""Arguments of TensorFlow's functions that change nothing of what is computed."""
_MOST_NUMBERS = 2**24
"""In one array of a file: 64 MiB of float32."""


def functions() -> Iterator[tuple[str, Function, partial[Operand | tuple[Operand, ...]]]]:
    """Every kind of layer that is a call of a function: its name, the function, and its translation."""
    for prefix, spellings, translate in (
        (OPERATIONS, KERAS, keras_operation),
        (TENSORFLOW_FUNCTIONS, TENSORFLOW, tensorflow_function),
        (GRAPH, GRAPH_NODES, graph_node),
    ):
        for name, spelling in spellings.items():
            yield f"{prefix}{name}", FUNCTIONS[spelling.function], partial(translate, spelling=spelling)


def keras_operation(step: Step, spelling: Spelling) -> Operand | tuple[Operand, ...]:
    """An operation of Keras 3: what its constructor took is in the config, the rest in the call."""
    args, kwargs = step.arguments.everything()
    config = {name: step.options.raw(name) for name in step.layer.config if name not in _NOT_ARGUMENTS}
    return _called(step, spelling, args, {**config, **kwargs})


def tensorflow_function(step: Step, spelling: Spelling) -> Operand | tuple[Operand, ...]:
    """A function of TensorFlow."""
    step.options.raw("function")
    args, kwargs = step.arguments.everything()
    if spelling.function == "einsum" and not any(map(_is_tensor, args[1:])):
        step.unsupported(
            "sums tensors of which the file does not tell any: tf.keras writes only the equation"
        )
    return _called(step, spelling, args, kwargs)


def graph_node(step: Step, spelling: Spelling) -> Operand | tuple[Operand, ...]:
    """An operation of a TensorFlow graph: constants stand in its config by the number of the input."""
    node, given = step.options.raw("node_def"), step.options.raw("constants")
    args, _ = step.arguments.everything()
    tensors = iter(cast(list[Any], args[0]) if len(args) == 1 and isinstance(args[0], list) else args)
    constants = cast(Mapping[str, Any], given) if isinstance(given, Mapping) else {}
    count = len(constants) + len(list(step.arguments.tensors))
    inputs = [constants[str(at)] if str(at) in constants else next(tensors, None) for at in range(count)]
    return _called(step, spelling, inputs, attributes(node))


def _called(
    step: Step, spelling: Spelling, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Operand | tuple[Operand, ...]:
    bound = spelling.bound(
        [_decoded(step, value) for value in args],
        {name: _decoded(step, value) for name, value in kwargs.items() if name not in _UNSAID},
    )
    if bound is None:
        step.unsupported(f"is called with {len(args)} arguments, more than it has")
    call = Call(step, bound)
    made = FUNCTIONS[spelling.function].translate(call)
    call.refuse_unread()
    return made


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Operand)


def _decoded(step: Step, value: Any) -> Any:
    """An argument with what JSON does not have: slices, ellipses, arrays, types."""
    if isinstance(value, list):
        return [_decoded(step, part) for part in cast(list[Any], value)]
    if not isinstance(value, Mapping):
        return value
    given = cast(Mapping[str, Any], value)
    inner = given.get("config")
    config = cast(Mapping[str, Any], inner) if isinstance(inner, Mapping) else given
    kind = given.get("class_name")
    if kind == "__ellipsis__":
        return Ellipsis
    if kind == "__slice__" or (kind is None and set(given) == {"start", "stop", "step"}):
        return slice(*(_decoded(step, config.get(name)) for name in ("start", "stop", "step")))
    if kind in ("__tuple__", "TensorShape"):
        return _decoded(step, given.get("items", inner))
    if kind in ("__numpy__", "__tensor__") or given.get("type") == "ndarray":
        return _array(step, config.get("value"))
    if kind == "DTypePolicy":
        return config.get("name")
    return step.unsupported(f"is called with {brief(given)}, which has no translation")


def _array(step: Step, value: Any) -> Known:
    try:
        array = np.array(value)
    except ValueError:
        array = np.array(None)
    if array.dtype.kind not in "fiub" or array.size > _MOST_NUMBERS:
        step.unsupported(f"is called with {brief(value)} for an array of numbers")
    return Known(array)
