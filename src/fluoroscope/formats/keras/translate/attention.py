"""Attention: each place of a sequence, the query, takes a mean of others, weighted by how well they match.

``softmax(Q K^T / sqrt(d)) V``: Vaswani et al. 2017, arXiv 1706.03762; with a learned sum in place of the
product, Bahdanau et al. 2014, arXiv 1409.0473; with keys shared by groups of queries, Ainslie et al. 2023,
arXiv 2305.13245. The weights are a view of their own, ``name:attention``: queries by keys, a channel a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt
from string import ascii_lowercase
from typing import Any

import numpy as np
from onnx import TensorProto

from fluoroscope.formats.keras.translate.builder import Mask, Value
from fluoroscope.formats.keras.translate.options import brief
from fluoroscope.formats.keras.translate.step import Step
from fluoroscope.network.protocol import FloatArray

Made = Value | tuple[Value, ...]

VIEW = "attention"
"""What a view of attention weights is called, behind the layer's name and a colon."""

_MASKED = -1e9
"""Keras's score of what is not to be looked at."""

_ZEROED_SINCE = (3, 10)
"""From this version on, Keras's Softmax gives 0 where a mask leaves nothing to look at, not a plain mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heads:
    """Options of an attention of several heads.

    Attributes
    ----------
    groups
        Heads that keys and values have; each serves as many heads of the query.
    key, value
        Numbers a head has for each place.
    """

    heads: int
    groups: int
    key: int
    value: int


def multi_head_attention(step: Step) -> Made:
    """MultiHeadAttention: along `attention_axes`, all but the last by default."""
    heads, size = step.options.integer("num_heads"), step.options.integer("key_dim")
    value = size if step.options.raw("value_dim") is None else step.options.integer("value_dim")
    for name in ("query_shape", "key_shape", "value_shape", "softmax_robust_masking"):
        step.options.raw(name)  # Keras 2 repeats what the tensors say
    return _attention(step, _Heads(heads=heads, groups=heads, key=size, value=value))


def group_query_attention(step: Step) -> Made:
    """GroupQueryAttention, whose keys and values have fewer heads than its queries."""
    size, heads = step.options.integer("head_dim"), step.options.integer("num_query_heads")
    groups = step.options.integer("num_key_value_heads")
    if heads % groups:
        step.damaged(f"has {heads} heads of queries for {groups} of keys")
    return _attention(step, _Heads(heads=heads, groups=groups, key=size, value=size))


def _attention(step: Step, sizes: _Heads) -> Made:
    for name in ("dropout", "seed", "flash_attention"):
        step.options.raw(name)
    query, value = step.arguments.tensor("query", 0), step.arguments.tensor("value", 1)
    if query is None or value is None:
        step.damaged("is called without a query or without values")
    given = step.arguments.tensor("key", 2)
    key = value if given is None else given
    if not query.rank == key.rank == value.rank or query.rank < 2:
        step.unsupported("is called on a query and values of other numbers of axes, which has no translation")
    rank = query.rank + 1
    axes = _axes(step, rank)
    scaled = step.node(
        "Mul",
        _projected(step, query, "query", sizes.heads, sizes.key, sizes.heads),
        step.graph.scalar(1 / sqrt(sizes.key)),
    )
    keys = _projected(step, key, "key", sizes.groups, sizes.key, sizes.heads)
    values = _projected(step, value, "value", sizes.groups, sizes.value, sizes.heads)
    score, combine, product = _equations(rank + 1, axes)
    scores = step.node("Einsum", keys, scaled, equation=score)
    mask = _mask(step, query, value, None if given is None else key, len(axes))
    returned = _flag(step, "return_attention_scores")
    # Without scores to return, Keras 3 takes another way, whose softmax does not look back at the mask.
    fused = step.keras_version >= (3, 0) and not returned and not step.options.raw("dropout") and rank == 3
    weights = _softmax(
        step, scores, mask, len(axes), zeroed=step.keras_version >= _ZEROED_SINCE and not fused
    )
    mixed = step.node("Einsum", weights, values, equation=combine)
    if step.options.flag("use_gate", default=False):
        gate = _projected(step, query, "gate", sizes.heads, sizes.value, sizes.heads)
        mixed = step.node("Mul", mixed, step.node("Sigmoid", gate))
    shown = _scores(step, query, key, weights, sizes.heads, axes, product)
    step.views[VIEW] = shown
    output = _out(step, query, mixed, sizes)
    return (output, shown) if returned else output


def _axes(step: Step, rank: int) -> tuple[int, ...]:
    """Axes along which places look at each other, the batch counted as 0."""
    given: Any = step.options.raw("attention_axes")
    if given is None:
        return tuple(range(1, rank - 1))
    if step.keras_version < (3, 0) and any(
        isinstance(axis, int) and axis < 0
        for axis in (given if isinstance(given, (list, tuple)) else [given])
    ):
        # It counts them behind the heads that it has put in by then, and so attends along others.
        step.unsupported("has attention_axes counted from the end, which Keras 2 takes for others than meant")
    places = step.options.axes("attention_axes", rank - 1)
    if rank - 2 in places or not places:
        step.damaged(f"attends along attention_axes={brief(given)} of {rank} axes")
    return tuple(place + 1 for place in places)


def _projected(step: Step, value: Value, name: str, heads: int, size: int, repeated: int) -> str:
    """A matrix over the last axis, ``(..., heads, size)``; heads that serve several queries repeated."""
    value = step.graph.in_keras_order(value)
    channels = value.shape[-1]
    if channels is None:
        step.damaged("needs a known size of the last axis")
    kernel = step.variable(f"{name}/kernel", (channels, heads, size))
    biased = step.options.flag("use_bias", default=True)
    bias = step.variable(f"{name}/bias", (heads, size)) if biased else None
    if repeated != heads:
        step.allow_table(channels * repeated * size)
        kernel = np.repeat(kernel, repeated // heads, axis=1)
        bias = None if bias is None else np.repeat(bias, repeated // heads, axis=0)
    matrix = step.constant(f"{name}/kernel", kernel.reshape(channels, repeated * size))
    tensor = step.node("MatMul", value.tensor, matrix)
    if bias is not None:
        tensor = step.node("Add", tensor, step.constant(f"{name}/bias", bias.ravel()))
    return step.node("Reshape", tensor, step.graph.integers([0] * value.rank + [repeated, size]))


def _out(step: Step, query: Value, mixed: str, sizes: _Heads) -> Value:
    """The heads' results as one vector for each place; as `output_shape` or as large as the query."""
    given: Any = step.options.raw("output_shape")
    listed = [query.shape[-1]] if not given else given if isinstance(given, (list, tuple)) else [given]
    shape = tuple(step.options.whole("output_shape", size, 1) for size in listed)
    kernel = step.variable("attention_output/kernel", (sizes.heads, sizes.value, *shape))
    flat = step.node("Reshape", mixed, step.graph.integers([0] * query.rank + [sizes.heads * sizes.value]))
    matrix = kernel.reshape(sizes.heads * sizes.value, prod(shape))
    tensor = step.node("MatMul", flat, step.constant("attention_output/kernel", matrix))
    if step.options.flag("use_bias", default=True):
        bias = step.variable("attention_output/bias", shape).ravel()
        tensor = step.node("Add", tensor, step.constant("attention_output/bias", bias))
    if len(shape) > 1:
        tensor = step.node("Reshape", tensor, step.graph.integers([0] * query.rank + list(shape)))
    full = (*query.shape[:-1], *shape)
    return Value(tensor=tensor, shape=full, channel=len(full) - 1)


def _equations(rank: int, axes: Sequence[int]) -> tuple[str, str, str]:
    """How keys and queries make scores, how scores and values make the result, and the scores' indices.

    `rank` counts the batch and the heads, which are the last axis but one.
    """
    target = ascii_lowercase[:rank]
    letters = iter(ascii_lowercase[rank:])
    batch = [axis for axis in range(rank - 1) if axis not in axes]
    source = "".join(
        target[axis] if axis in batch or axis == rank - 1 else next(letters) for axis in range(rank)
    )
    product = "".join(
        [target[axis] for axis in batch] + [target[axis] for axis in axes] + [source[axis] for axis in axes]
    )
    # The result's last axis is the values', which may have another size than the keys'.
    return f"{source},{target}->{product}", f"{product},{source}->{target}", product


def _scores(
    step: Step, query: Value, key: Value, weights: str, heads: int, axes: Sequence[int], product: str
) -> Value:
    """The weights as a value: what is apart, heads, places of the query, places of the keys."""
    apart = [axis for axis in range(1, query.rank) if axis not in axes]
    shape = (
        *(query.shape[axis - 1] for axis in apart),
        heads,
        *(query.shape[axis - 1] for axis in axes),
        *(key.shape[axis - 1] for axis in axes),
    )
    assert len(shape) == len(product) - 1
    return Value(tensor=weights, shape=shape, channel=len(apart))


def _flag(step: Step, name: str) -> bool:
    value = step.arguments.get(name)
    if value not in (None, True, False):
        step.unsupported(f"is called with {name}={brief(value)}, which has no translation")
    return value is True


def _mask(step: Step, query: Value, value: Value, key: Value | None, axes: int) -> str | None:
    """Where queries may look: truth values that broadcast against ``(batch, heads, queries, keys)``."""
    integers, parts = step.graph.integers, list[str]()
    for masked, place in ((query, 2), (value, 1), (key, 1)):
        mask = masked.mask if masked is not None else None
        if mask is None:
            continue
        if axes != 1 or mask.rank != 1:
            step.unsupported("skips what masks say along several axes, which has no translation")
        parts.append(step.node("Unsqueeze", mask.tensor, integers([1, 3 if place == 2 else 2])))
    given = step.arguments.tensor("attention_mask")
    if given is not None:
        ordered = step.graph.in_keras_order(given)
        missing = 2 * axes + 1 - ordered.rank
        if missing not in (0, 1):
            step.unsupported("is called with an attention_mask of a rank that has no translation")
        truths = step.node("Cast", ordered.tensor, to=TensorProto.BOOL)
        parts.append(step.node("Unsqueeze", truths, integers([1])) if missing else truths)
    window = step.options.raw("sliding_window")
    causal = _flag(step, "use_causal_mask")
    if causal or window:
        if axes != 1:
            step.unsupported("masks by the order of places along several axes, which has no translation")
        width = step.options.integer("sliding_window") if window else None
        parts.append(_order(step, query.shape[0], value.shape[0], causal=causal, width=width))
    mask = None
    for part in dict.fromkeys(parts):
        mask = part if mask is None else step.node("And", mask, part)
    return mask


def _order(step: Step, queries: int | None, keys: int | None, *, causal: bool, width: int | None) -> str:
    """Places not behind the query's own, or fewer than `width` away from it."""
    if queries is None or keys is None:
        step.needs_size("masks by the order of places")
    step.allow_table(queries * keys)
    apart = np.arange(queries)[:, None] - np.arange(keys)
    allowed = np.ones((queries, keys), np.bool_)
    if causal:
        allowed &= apart >= 0
    if width is not None:
        allowed &= abs(apart) < width
    return step.constant("order", allowed)


def _softmax(step: Step, scores: str, mask: str | None, axes: int, *, zeroed: bool) -> str:
    """Over the last `axes` axes; nothing is taken from where the mask is false."""
    if mask is not None:
        scores = step.node("Where", mask, scores, step.graph.scalar(_MASKED))
    if axes == 1:
        weights = step.node("Softmax", scores, axis=-1)
    else:
        last = step.graph.integers(range(-axes, 0))
        grown = step.node("Exp", step.node("Sub", scores, step.node("ReduceMax", scores, last)))
        weights = step.node("Div", grown, step.node("ReduceSum", grown, last))
    if mask is None or not zeroed:
        return weights
    return step.node("Where", mask, weights, step.graph.scalar(0.0))


def attention(step: Step) -> Made:
    """Attention: a query, values and maybe keys, without heads; scores are products, or a sum's tanh."""
    mode = step.options.choice("score_mode", frozenset({"dot", "concat"}), default="dot")
    scale = step.variable("scale", ()) if step.options.flag("use_scale", default=False) else None
    if mode == "dot":
        return _single(step, scale, summed=None)
    return _single(step, scale, summed=step.variable("concat_score_weight", ()))


def additive_attention(step: Step) -> Made:
    """AdditiveAttention: scores are the weighted sum of ``tanh(query + key)``."""
    query, *_ = _given(step)
    size = query.shape[-1]
    scale = None
    if step.options.flag("use_scale", default=True):
        scale = step.variable("scale", (size,))
    return _single(step, None, summed=np.ones((), np.float32) if scale is None else scale)


def _given(step: Step) -> tuple[Value, Value, Value]:
    """Query, value and key."""
    if len(step.inputs) not in (2, 3) or any(value.rank != 2 for value in step.inputs):
        step.unsupported("is called on other than two or three sequences, which has no translation")
    query, value, *keys = map(step.graph.in_keras_order, step.inputs)
    return query, value, keys[0] if keys else value


def _single(step: Step, scale: FloatArray | None, *, summed: FloatArray | None) -> Made:
    """One attention without heads.

    Parameters
    ----------
    scale
        What scores are multiplied by, or what is under the tanh.
    summed
        Weight of each number in the sum of tanh; None for a product.
    """
    for name in ("dropout", "seed"):
        step.options.raw(name)
    query, value, key = _given(step)
    if summed is None:
        scores = step.node("MatMul", query.tensor, step.node("Transpose", key.tensor, perm=(0, 2, 1)))
        if scale is not None:
            scores = step.node("Mul", scores, step.constant("scale", scale))
    else:
        pair = step.node(
            "Add",
            step.node("Unsqueeze", query.tensor, step.graph.integers([2])),
            step.node("Unsqueeze", key.tensor, step.graph.integers([1])),
        )
        if scale is not None:
            pair = step.node("Mul", pair, step.constant("scale", scale))
        weighted = step.node("Mul", step.node("Tanh", pair), step.constant("weight", summed))
        scores = step.node("ReduceSum", weighted, step.graph.integers([3]), keepdims=0)
    query_mask, mask = _single_masks(step, query, value)
    weights = _softmax(step, scores, mask, 1, zeroed=False)
    tensor = step.node("MatMul", weights, value.tensor)
    if query_mask is not None:
        kept = step.node("Unsqueeze", query_mask.tensor, step.graph.integers([2]))
        tensor = step.node("Where", kept, tensor, step.graph.scalar(0.0))
    places = (query.shape[0], key.shape[0])
    one = step.node("Unsqueeze", weights, step.graph.integers([1]))
    step.views[VIEW] = Value(tensor=one, shape=(1, *places), channel=0)
    output = Value(tensor=tensor, shape=(query.shape[0], value.shape[1]), channel=1)
    if _flag(step, "return_attention_scores"):
        return output, Value(tensor=weights, shape=places, channel=1)
    return output


def _single_masks(step: Step, query: Value, value: Value) -> tuple[Mask | None, str | None]:
    """The query's mask, and where it may look: truth values against ``(batch, queries, keys)``."""
    given: Any = step.arguments.get("mask")
    masks: list[Mask | None] = [query.mask, value.mask]
    if isinstance(given, list):
        masks = [_as_mask(step, entry) for entry in [*given, None, None][:2]]
    elif given is not None:
        step.unsupported("is called with a mask that is no list of two, which has no translation")
    allowed = None
    if masks[1] is not None:
        allowed = step.node("Unsqueeze", masks[1].tensor, step.graph.integers([1]))
    # Up to Keras 2.9 it was an option of the layer.
    if _flag(step, "use_causal_mask") or step.options.flag("causal", default=False):
        order = _order(step, query.shape[0], value.shape[0], causal=True, width=None)
        allowed = order if allowed is None else step.node("And", allowed, order)
    return masks[0], allowed


def _as_mask(step: Step, entry: Any) -> Mask | None:
    if entry is None:
        return None
    if not isinstance(entry, Value) or entry.rank != 1:
        step.unsupported("is called with a mask that is no sequence, which has no translation")
    return Mask(tensor=step.node("Cast", entry.tensor, to=TensorProto.BOOL), rank=1)
