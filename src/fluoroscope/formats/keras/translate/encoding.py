"""Layers that turn numbers into categories, and categories into vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.options import brief
from fluoroscope.formats.keras.translate.step import Step
from fluoroscope.network.protocol import FloatArray

_MODES = frozenset({"int", "one_hot", "multi_hot", "binary", "count"})
_LARGEST_EXACT = 2**24
"""Whole numbers up to here are exact in float32, which all values are computed in."""


def discretization(step: Step) -> Value:
    """Discretization: the number of the bin that each value lies in: of boundaries reached."""
    bounds = _boundaries(step)
    reached = step.node("GreaterOrEqual", _apart(step, step.value), step.constant("boundaries", bounds))
    return _encoded(step, step.like(step.value, _count(step, reached)), len(bounds) + 1, default="int")


def category_encoding(step: Step) -> Value:
    """CategoryEncoding: whole numbers as vectors of zeros and ones, or of counts."""
    return _encoded(step, step.value, step.options.integer("num_tokens"), default="multi_hot")


def integer_lookup(step: Step) -> Value:
    """IntegerLookup with its vocabulary among its options: the place of each number in it.

    Before the vocabulary come the mask's place (if there is a `mask_token`) and those of unknown numbers,
    which share them by their remainder.
    """
    options = step.options
    for name in ("max_tokens", "vocabulary_dtype", "vocabulary_size", "has_input_vocabulary", "oov_method"):
        options.raw(name)
    if options.raw("idf_weights") is not None or options.flag("pad_to_max_tokens", default=False):
        step.unsupported("weighs or pads its vocabulary, for which there is no translation")
    unknown = options.integer("num_oov_indices", default=1, least=0)
    special = [] if options.raw("mask_token") is None else [_token(step, "mask_token")]
    masks = len(special)
    special += [_token(step, "oov_token")] * unknown
    tokens = _vocabulary(step)
    if len(special) and tokens[: len(special)].tolist() == special:
        tokens = tokens[len(special) :]
    if options.flag("invert", default=False):
        return _looked_up_back(step, np.concatenate([np.array(special, np.float32), tokens]))
    if masks and options.raw("output_mode", "int") != "int":
        step.unsupported("leaves out masked numbers, for which there is no translation")
    value = step.value
    same = step.node("Equal", _apart(step, value), step.constant("vocabulary", tokens))
    places = step.constant("places", np.arange(len(tokens), dtype=np.float32) + len(special))
    found = step.node("Cast", same, to=TensorProto.FLOAT)
    axes = step.graph.integers([-1])
    place = step.node("ReduceSum", step.node("Mul", found, places), axes, keepdims=0)
    known = step.node("Cast", step.node("ReduceMax", found, axes, keepdims=0), to=TensorProto.BOOL)
    tensor = step.node("Where", known, place, _unknown(step, value, unknown, masks))
    if masks:
        masked = step.node("Equal", value.tensor, step.graph.scalar(special[0]))
        tensor = step.node("Where", masked, step.graph.scalar(0.0), tensor)
    return _encoded(step, step.like(value, tensor), len(special) + len(tokens), default="int")


def _unknown(step: Step, value: Value, count: int, first: int) -> str:
    """Where numbers that are not in the vocabulary go."""
    if count <= 1:
        return step.graph.scalar(float(first if count else -1))
    share = step.graph.scalar(float(count))
    times = step.node("Floor", step.node("Div", value.tensor, share))
    rest = step.node("Sub", value.tensor, step.node("Mul", times, share))
    return step.node("Add", rest, step.graph.scalar(float(first)))


def _looked_up_back(step: Step, tokens: FloatArray) -> Value:
    """From places to the numbers of the vocabulary; from places that it does not have to `oov_token`."""
    value = step.value
    step.options.choice("output_mode", frozenset({"int"}), default="int")
    places = step.constant("places", np.arange(len(tokens), dtype=np.float32))
    same = step.node("Equal", _apart(step, value), places)
    found = step.node("Cast", same, to=TensorProto.FLOAT)
    axes = step.graph.integers([-1])
    number = step.node(
        "ReduceSum", step.node("Mul", found, step.constant("tokens", tokens)), axes, keepdims=0
    )
    known = step.node("Cast", step.node("ReduceMax", found, axes, keepdims=0), to=TensorProto.BOOL)
    rest = step.graph.scalar(_token(step, "oov_token"))
    return step.like(value, step.node("Where", known, number, rest))


def _vocabulary(step: Step) -> FloatArray:
    given: Any = step.options.raw("vocabulary")
    if not isinstance(given, (list, tuple)) or not given:
        step.unsupported("has no vocabulary in its config: it lies in another file, or was never learned")
    if isinstance(given[0], str):
        step.unsupported("has words for its vocabulary, and no network takes words here")
    tokens = step.options.array("vocabulary")
    if tokens.ndim != 1 or (np.abs(tokens) > _LARGEST_EXACT).any():
        step.unsupported(f"has numbers beyond {_LARGEST_EXACT:,} in its vocabulary, which float32 rounds")
    return tokens


def _token(step: Step, name: str) -> float:
    value = step.options.number(name, default=-1)
    if abs(value) > _LARGEST_EXACT:
        step.unsupported(f"has {name}={value:g}, which float32 rounds")
    return value


def _boundaries(step: Step) -> FloatArray:
    """The bins' boundaries: an option, or made of what the layer has seen of its data."""
    options = step.options
    bins, epsilon = options.raw("num_bins"), options.raw("epsilon")
    del epsilon  # of the summary that is made while learning
    given: Any = options.raw("bin_boundaries")
    if isinstance(given, (list, tuple)) and given:
        step.used.update(step.layer.weights)  # what they were made of
        bounds = options.array("bin_boundaries")
        if bounds.ndim != 1:
            step.damaged(f"has bin_boundaries={brief(given)}, not a list of numbers")
        return bounds
    summary = step.layer.weights.get("summary")
    if bins is None or summary is None or summary.ndim != 2 or summary.shape[1] < 1:
        step.unsupported("has no boundaries in its config, nor data that it has learned them from")
    return _learned(step.variable("summary", (2, summary.shape[1])), options.integer("num_bins"))


def _learned(summary: FloatArray, bins: int) -> FloatArray:
    """Boundaries between `bins` bins of equal weight, from values and their weights.

    Source: ``get_bin_boundaries`` in ``layers/preprocessing/discretization.py`` of TF-Keras.
    """
    values, weights = summary.astype(np.float64)
    share = 1.0 / bins
    if summary.shape[1] * share < 1:
        return summary[0, :-1]
    total = np.cumsum(weights)
    wanted = share + np.arange(0.0, 1.0, share)
    return np.interp(wanted, total / total[-1], values)[:-1].astype(np.float32)


def _encoded(step: Step, value: Value, depth: int, *, default: str) -> Value:
    """Categories as they are, or as vectors of `depth` numbers: one each, or one for all of a picture.

    Numbers that are no category have zeros.
    """
    mode = step.options.choice("output_mode", _MODES, default=default)
    if step.options.flag("sparse", default=False):
        step.unsupported("makes sparse values, for which there is no translation")
    if mode == "int":
        return value
    step.allow_table(depth)
    value = step.graph.in_keras_order(value)
    shape, tensor = value.shape, value.tensor
    if mode == "one_hot" and shape and shape[-1] == 1:
        tensor, shape = step.node("Squeeze", tensor, step.graph.integers([value.rank])), shape[:-1]
    numbers = step.node("Cast", tensor, to=TensorProto.INT64)  # which cuts off, as Keras does
    apart = step.node("Unsqueeze", numbers, step.graph.integers([len(shape) + 1]))
    categories: NDArray[np.int64] = np.arange(depth, dtype=np.int64)
    same = step.node("Equal", apart, step.constant("categories", categories))
    marks = step.node("Cast", same, to=TensorProto.FLOAT)
    if mode == "one_hot":
        return Value(tensor=marks, shape=(*shape, depth), channel=len(shape))
    if len(shape) > 1:
        step.unsupported(f"makes {mode} vectors of several axes, which Keras does differently by version")
    if shape:
        operator = "ReduceSum" if mode == "count" else "ReduceMax"
        marks = step.node(operator, marks, step.graph.integers([1]), keepdims=0)
    return Value(tensor=marks, shape=(depth,), channel=0)


def _apart(step: Step, value: Value) -> str:
    """The tensor with an axis of length 1 behind, to compare with a list."""
    return step.node("Unsqueeze", value.tensor, step.graph.integers([value.rank + 1]))


def _count(step: Step, truths: str) -> str:
    """How many are true along the last axis."""
    numbers = step.node("Cast", truths, to=TensorProto.FLOAT)
    return step.node("ReduceSum", numbers, step.graph.integers([-1]), keepdims=0)
