"""Masks: which steps of a sequence Keras skips, and what becomes of that from layer to layer.

A mask comes from Masking, from an Embedding with ``mask_zero``, or as an argument. It goes along with the
value through layers that say they support masks, and ends at any other. What each version supports is as
found in ``supports_masking`` and ``compute_mask`` of the layers of Keras 2 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import numpy as np
from onnx import TensorProto, numpy_helper

from fluoroscope.formats.keras.functions import is_function
from fluoroscope.formats.keras.translate.builder import Mask, Value
from fluoroscope.formats.keras.translate.known import Operand
from fluoroscope.formats.keras.translate.step import Step

_PASS = frozenset(
    (
        "InputLayer Dense Activation ReLU LeakyReLU PReLU ELU ThresholdedReLU Softmax Dropout "
        "SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianDropout GaussianNoise AlphaDropout "
        "ActivityRegularization BatchNormalization LayerNormalization GroupNormalization "
        "UnitNormalization Attention AdditiveAttention MultiHeadAttention GroupQueryAttention"
    ).split()
)
"""Layers whose output has the mask of their (first) input, in every version that has them."""

_PASS_SINCE_3 = frozenset("Identity Rescaling Normalization".split())

_OWN = frozenset("Bidirectional Concatenate Embedding Masking ReversibleEmbedding TimeDistributed".split())
"""Layers whose translation says which mask their output has; so do all that are recurrent."""

_MERGE = frozenset("Add Subtract Multiply Average Maximum Minimum".split())


def settled(step: Step, made: tuple[Operand, ...]) -> tuple[Operand, ...]:
    """What a layer made, each value with the mask that Keras gives it; a function's has none."""
    values = tuple(value for value in made if isinstance(value, Value))
    if is_function(step.layer.kind) or len(values) < len(made):
        return tuple(replace(value, mask=None) if isinstance(value, Value) else value for value in made)
    return _of_layer(step, values)


def _of_layer(step: Step, made: tuple[Value, ...]) -> tuple[Value, ...]:
    kind, major = step.layer.kind, step.keras_version[0]
    if kind in _OWN or kind.endswith(("RNN", "GRU", "LSTM")) or kind.startswith("ConvLSTM"):
        return made
    mask = None
    if kind in _PASS or (kind in _PASS_SINCE_3 and major >= 3):
        mask = step.inputs[0].mask if step.inputs else None
    elif kind in _MERGE:
        mask = _merged(step)
    return (replace(made[0], mask=mask), *(replace(value, mask=None) for value in made[1:]))


def _merged(step: Step) -> Mask | None:
    """Of values merged: Keras 2 keeps what no mask skips; Keras 3 what any mask keeps, if all have one."""
    masks = [value.mask for value in step.inputs]
    known = [mask for mask in masks if mask is not None]
    if not known or (step.keras_version[0] >= 3 and len(known) < len(masks)):
        return None
    return combined(step, "Or" if step.keras_version[0] >= 3 else "And", known)


def combined(step: Step, operator: str, masks: Sequence[Mask]) -> Mask:
    """Several masks as one, by a logical operator."""
    if len({mask.rank for mask in masks}) > 1:
        step.unsupported("takes values whose masks run along different axes, which it does not mix")
    return reduce(
        lambda left, right: (
            left if left == right else replace(left, tensor=step.node(operator, left.tensor, right.tensor))
        ),
        masks,
    )


def masking(step: Step) -> Value:
    """Masking: a step whose values are all `mask_value` is skipped, and set to 0."""
    value = step.graph.in_keras_order(step.value)
    wanted = step.graph.scalar(step.options.number("mask_value", default=0.0))
    differs = step.node("Not", step.node("Equal", value.tensor, wanted))
    # Keras: any(x != mask_value, axis=-1).
    kept = some(step, differs, value.rank, keepdims=True)
    values = step.node("Mul", value.tensor, step.node("Cast", kept, to=TensorProto.FLOAT))
    mask = step.node("Squeeze", kept, step.graph.integers([value.rank]))
    return replace(value, tensor=values, mask=Mask(tensor=mask, rank=value.rank - 1))


def some(step: Step, truths: str, axis: int, *, keepdims: bool = False) -> str:
    """Whether any truth value along an axis is true."""
    numbers = step.node("Cast", truths, to=TensorProto.FLOAT)
    largest = step.node("ReduceMax", numbers, step.graph.integers([axis]), keepdims=int(keepdims))
    return step.node("Cast", largest, to=TensorProto.BOOL)


def effective(step: Step, value: Value, place: int | None = None) -> Mask | None:
    """The mask that a layer works with: the one it is called with, else that of its input.

    Parameters
    ----------
    place
        Where it stands among positional arguments.
    """
    given = step.arguments.tensor("mask", place)
    if given is None:
        return value.mask
    given = step.graph.in_keras_order(given)
    truths = given.tensor if given.dtype == "bool" else step.node("Cast", given.tensor, to=TensorProto.BOOL)
    return Mask(tensor=truths, rank=given.rank)


def concatenated(step: Step, axis: int) -> Mask | None:
    """Of values joined along `axis` (the batch is 0).

    Along the last axis, Keras 2 keeps what no mask skips and Keras 3 what any keeps; a value without a mask
    is kept whole. Along another the masks are joined as well.
    """
    values = step.inputs
    known = [value.mask for value in values if value.mask is not None]
    if not known:
        return None
    rank = values[0].rank
    if any(mask.rank != rank - 1 for mask in known):
        step.unsupported("joins values with masks that do not run along all but the last of their axes")
    if axis == rank:
        if step.keras_version[0] >= 3 and len(known) < len(values):
            return None
        return combined(step, "Or" if step.keras_version[0] >= 3 else "And", known)
    parts = [value.mask.tensor if value.mask is not None else _ones(step, value) for value in values]
    return Mask(tensor=step.node("Concat", *parts, axis=axis), rank=rank - 1)


def _ones(step: Step, value: Value) -> str:
    """The mask that skips nothing, for a value without one."""
    tensor = step.graph.in_keras_order(value).tensor
    sizes = step.node("Shape", tensor, end=value.rank)
    true = numpy_helper.from_array(np.ones(1, np.bool_))
    return step.node("ConstantOfShape", sizes, value=true)
