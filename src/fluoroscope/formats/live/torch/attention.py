"""Attention weights, one map a head: softmax(Q K^T / sqrt(d) + mask), Vaswani et al. 2017, arXiv 1706.03762.

Where a model computes them itself, its own are taken (a softmax over the last of four axes). Where it leaves
that to a fused kernel, they are computed a second time, from the same arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
from torch.nn import functional

SUFFIX = ":attention"
"""Behind the name of the module, or of its call, that attends."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Attention weights, perhaps not computed yet.

    Attributes
    ----------
    shape
        (batch, heads, queries, keys).
    compute
        Gives the tensor; to be called at once, before its arguments are overwritten.
    """

    shape: tuple[int, ...]
    compute: Callable[[], torch.Tensor]

    @classmethod
    def of(cls, weights: torch.Tensor) -> Weights:
        """Weights that are there."""
        return cls(tuple(weights.shape), lambda: weights)


def is_attention(output: object) -> bool:
    """True for what a softmax made if it weighs keys for the queries of several heads.

    It has four axes, and along the last it sums to one.
    """
    if not isinstance(output, torch.Tensor) or output.ndim != 4 or not output.is_floating_point():
        return False
    first = output[:1, :1, :1].float().sum(-1)
    return bool(((first - 1).abs() < 0.02).all()) and output.shape[-1] > 1


def of_product(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Weights:
    """The weights in ``scaled_dot_product_attention``.

    Formula and treatment of masks and of grouped queries as in the function's documentation, without dropout.
    """
    given = _bound(("query", "key", "value", "attn_mask", "dropout_p", "is_causal"), args, kwargs)
    query, key = cast("torch.Tensor", given["query"]), cast("torch.Tensor", given["key"])
    mask = given.get("attn_mask")

    def compute() -> torch.Tensor:
        scale = given.get("scale")
        keys = key
        if given.get("enable_gqa") and key.shape[-3] != query.shape[-3]:
            keys = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        scores = (query.float() @ keys.float().transpose(-2, -1)) * (
            query.shape[-1] ** -0.5 if scale is None else scale
        )
        if given.get("is_causal"):
            allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
            scores = scores.masked_fill(~allowed, float("-inf"))
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
        return scores.softmax(-1)

    return Weights((*query.shape[:-1], key.shape[-2]), compute)


def with_weights(
    forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Any, Weights | None]:
    """What ``multi_head_attention_forward`` returns, as it was asked for, and the weights of each head."""
    given = dict(_signature().bind(*args, **kwargs).arguments)
    asked, averaged = given.get("need_weights", True), given.get("average_attn_weights", True)
    output, weights = forward(**{**given, "need_weights": True, "average_attn_weights": False})
    # Of a single sequence without batch axis the weights have three axes.
    heads = Weights.of(weights) if weights.ndim == 4 else None
    if not asked:
        return (output, None), heads
    return (output, weights.mean(-3) if averaged else weights), heads


@cache
def _signature() -> inspect.Signature:
    return inspect.signature(functional.multi_head_attention_forward)


def _bound(names: tuple[str, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {**dict(zip(names, args, strict=False)), **kwargs}
