"""Which functions of torch are rows of the layer table, and where they put the channels.

A row is what computes something from the picture. What only looks at the same values another way (``view``,
``permute``, ``chunk``) is none; what uses it is connected past it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fluoroscope.network.protocol import Family


@dataclass(frozen=True, slots=True)
class Function:
    """A function that is a row.

    Attributes
    ----------
    family
        The coarse kind.
    axis
        Where its output has the channels: 1 or -1; None where they stay where they were.
    """

    family: Family
    axis: int | None = None


def _table(words: str, family: Family, axis: int | None = None) -> dict[str, Function]:
    return dict.fromkeys(words.split(), Function(family, axis))


FUNCTIONS: dict[str, Function] = {
    **_table(
        "conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d", "conv", axis=1
    ),
    **_table(
        "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d lp_pool1d lp_pool2d lp_pool3d "
        "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d "
        "adaptive_max_pool3d fractional_max_pool2d fractional_max_pool3d max_unpool1d max_unpool2d "
        "max_unpool3d",
        "pool",
        axis=1,
    ),
    **_table("linear bilinear", "dense", axis=-1),
    **_table("matmul mm bmm baddbmm addmm einsum tensordot", "dense"),
    **_table("batch_norm instance_norm group_norm local_response_norm", "normalization", axis=1),
    **_table("layer_norm rms_norm", "normalization", axis=-1),
    **_table("normalize", "normalization"),
    **_table(
        "relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish sigmoid logsigmoid tanh hardtanh "
        "hardsigmoid hardswish hardshrink softshrink tanhshrink softplus softsign softmax softmin "
        "log_softmax threshold glu erf clamp clip",
        "activation",
    ),
    **_table(
        "add sub subtract rsub mul multiply div divide true_divide truediv maximum minimum addcmul lerp "
        "where cat concat concatenate stack hstack vstack dstack",
        "merge",
    ),
    **_table(
        "flatten interpolate upsample pixel_shuffle pixel_unshuffle grid_sample affine_grid pad roll flip "
        "fold "
        "unfold channel_shuffle",
        "reshape",
    ),
    **_table(
        "mean sum amax amin max min var std norm vector_norm pow square sqrt rsqrt exp log abs neg negative "
        "sin "
        "cos cumsum logsumexp cosine_similarity embedding masked_fill",
        "other",
    ),
    # Heads come second, as channels do.
    **_table("scaled_dot_product_attention", "other", axis=1),
    **_table("multi_head_attention_forward", "other", axis=-1),
}
"""By name, in-place forms and operators included: ``add_``, ``__iadd__`` and ``+`` are ``add``."""

HEAVY = frozenset({"conv", "dense", "pool", "normalization"})
"""Families by which a module that holds no others is seen to be a network of its own."""

_OPERATORS = {"truediv": "div", "floordiv": "floor_divide", "rsub": "sub"}
_names: dict[Any, str] = {}


def name_of(function: Callable[..., Any]) -> str:
    """The plain name of a function that torch reports: ``add`` for ``Tensor.__iadd__``, ``relu`` for
    ``relu_``.

    Empty for what reads an attribute (``x.shape``).
    """
    name = _names.get(function)
    if name is None:
        name = _names[function] = _attribute(function) or _plain(getattr(function, "__name__", ""))
    return name


def _attribute(function: Callable[..., Any]) -> str:
    """The name of the attribute that is read, if it is another view of the tensor."""
    owner: Any = getattr(function, "__self__", None)
    name = getattr(owner, "__name__", "") if getattr(function, "__name__", "") == "__get__" else ""
    return name if name in ("T", "mT", "data") else ""


def _plain(name: str) -> str:
    if name in ("__get__", "__set__"):
        return ""
    dunder = name.startswith("__")
    name = name.strip("_")
    if dunder and name not in FUNCTIONS and name[:1] in ("i", "r") and name[1:] in (*FUNCTIONS, *_OPERATORS):
        name = name[1:]
    return _OPERATORS.get(name, name)
