"""Every function with a translation, by the name that ``keras.ops`` has for it. A new one is a new entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fluoroscope.formats.keras.translate.functions import NAMED
from fluoroscope.formats.keras.translate.operations import (
    arranging,
    imaging,
    indexing,
    joining,
    multiplying,
    reducing,
    repeating,
)
from fluoroscope.formats.keras.translate.operations import elementwise as each
from fluoroscope.formats.keras.translate.operations.call import Call, Result
from fluoroscope.network.protocol import Family


@dataclass(frozen=True, slots=True)
class Function:
    """A function.

    Attributes
    ----------
    family
        Of the row that a call of it is.
    translate
        Reads the arguments, emits nodes and returns what they make.
    """

    family: Family
    translate: Callable[[Call], Result]


def _of(family: Family, entries: Mapping[str, Callable[[Call], Result]]) -> Iterator[tuple[str, Function]]:
    for name, translate in entries.items():
        yield name, Function(family, translate)


_ACTIVATIONS = {name: each.named(name) for name in NAMED} | {
    "celu": each.sloped("Celu", "alpha", 1.0),
    "elu": each.sloped("Elu", "alpha", 1.0),
    "gelu": each.gelu,
    "glu": imaging.on_last_axis("glu"),
    "hard_shrink": each.shrunk(soft=False),
    "leaky_relu": each.sloped("LeakyRelu", "negative_slope", 0.2),
    "log_softmax": imaging.soft_max("LogSoftmax"),
    "silu": each.silu,
    "soft_shrink": each.shrunk(soft=True),
    "softmax": imaging.soft_max("Softmax"),
    "sparsemax": imaging.on_last_axis("sparsemax"),
    "squareplus": each.squareplus,
    "threshold": each.threshold,
}

_PAIRS = {
    "add": each.pairwise("Add", np.add),
    "subtract": each.pairwise("Sub", np.subtract),
    "multiply": each.pairwise("Mul", np.multiply),
    "divide": each.pairwise("Div", np.true_divide),
    "divide_no_nan": each.pairwise(each.divided_or_zero),
    "floor_divide": each.pairwise(each.floor_divided, np.floor_divide),
    "mod": each.pairwise(each.modulo, np.mod),
    "fmod": each.pairwise(each.remainder, np.fmod),
    "power": each.pairwise("Pow", np.power),
    "maximum": each.pairwise("Max", np.maximum),
    "minimum": each.pairwise("Min", np.minimum),
    "squared_difference": each.pairwise(each.squared_difference),
    "hypot": each.pairwise(each.hypotenuse),
    "logaddexp": each.pairwise(each.log_add_exp),
    "equal": each.compared("Equal", np.equal),
    "not_equal": each.pairwise(each.differs, np.not_equal),
    "greater": each.compared("Greater", np.greater),
    "greater_equal": each.compared("GreaterOrEqual", np.greater_equal),
    "less": each.compared("Less", np.less),
    "less_equal": each.compared("LessOrEqual", np.less_equal),
    "logical_and": each.pairwise(each.logical("And"), np.logical_and),
    "logical_or": each.pairwise(each.logical("Or"), np.logical_or),
    "logical_xor": each.pairwise(each.logical("Xor"), np.logical_xor),
    "where": each.where,
    "add_n": each.total,
}

_EACH = {
    "absolute": each.unary("Abs", np.abs),
    "negative": each.unary("Neg", np.negative),
    "sign": each.unary("Sign", np.sign),
    "floor": each.unary("Floor", np.floor),
    "ceil": each.unary("Ceil", np.ceil),
    "round": each.rounded,
    "trunc": each.elementwise(each.truncated, np.trunc),
    "exp": each.unary("Exp", np.exp),
    "exp2": each.elementwise(each.power_of(2.0)),
    "expm1": each.elementwise(each.exp_minus_one),
    "log": each.unary("Log", np.log),
    "log10": each.elementwise(each.logarithm(10.0)),
    "log1p": each.elementwise(each.plus_one_log),
    "log2": each.elementwise(each.logarithm(2.0)),
    "sqrt": each.unary("Sqrt", np.sqrt),
    "rsqrt": each.elementwise(each.inverse_root),
    "square": each.elementwise(each.squared, np.square),
    "reciprocal": each.unary("Reciprocal", np.reciprocal),
    "sin": each.unary("Sin"),
    "cos": each.unary("Cos"),
    "tan": each.unary("Tan"),
    "arcsin": each.unary("Asin"),
    "arccos": each.unary("Acos"),
    "arctan": each.unary("Atan"),
    "sinh": each.unary("Sinh"),
    "cosh": each.unary("Cosh"),
    "arcsinh": each.unary("Asinh"),
    "arccosh": each.unary("Acosh"),
    "arctanh": each.unary("Atanh"),
    "erf": each.unary("Erf"),
    "deg2rad": each.elementwise(each.times(np.pi / 180)),
    "rad2deg": each.elementwise(each.times(180 / np.pi)),
    "isnan": each.elementwise(each.tested("IsNaN")),
    "isinf": each.elementwise(each.tested("IsInf")),
    "isposinf": each.elementwise(each.tested("IsInf", detect_negative=0)),
    "isneginf": each.elementwise(each.tested("IsInf", detect_positive=0)),
    "isfinite": each.elementwise(each.finite),
    "logical_not": each.elementwise(each.negated, np.logical_not),
    "nan_to_num": each.nan_to_num,
    "clip": each.clip,
    "cast": each.cast,
    "identity": each.same,
    "zeros_like": each.filled_like(0.0),
    "ones_like": each.filled_like(1.0),
    "full_like": each.filled_like(None),
    "sum": reducing.reduction("ReduceSum", np.sum),
    "mean": reducing.reduction("ReduceMean", np.mean),
    "prod": reducing.reduction("ReduceProd", np.prod),
    "max": reducing.reduction("ReduceMax", np.max),
    "min": reducing.reduction("ReduceMin", np.min),
    "logsumexp": reducing.reduction("ReduceLogSumExp"),
    "var": reducing.reduced(reducing.variance),
    "std": reducing.reduced(reducing.deviation),
    "ptp": reducing.reduced(reducing.spread),
    "any": reducing.reduced(reducing.any_of, np.any),
    "all": reducing.reduced(reducing.all_of, np.all),
    "count_nonzero": reducing.reduced(reducing.counted),
    "norm": reducing.norm,
    "argmax": reducing.extreme_place("ArgMax"),
    "argmin": reducing.extreme_place("ArgMin"),
    "moments": reducing.moments,
    "cumsum": reducing.cumulated,
    "top_k": reducing.top_k,
    "shape": indexing.shape,
    "arange": indexing.counted_up,
}

_MOVED = {
    "reshape": arranging.reshape,
    "broadcast_to": arranging.broadcast_to,
    "transpose": arranging.transpose,
    "swapaxes": arranging.swap_axes,
    "moveaxis": arranging.move_axis,
    "squeeze": arranging.squeeze,
    "expand_dims": arranging.expand_dims,
    "split": joining.split,
    "split_sizes": joining.split_sizes,
    "unstack": joining.unstack,
    "tile": repeating.tile,
    "repeat": repeating.repeat,
    "pad": repeating.pad,
    "flip": repeating.flip,
    "roll": repeating.roll,
    "rot90": repeating.rotated,
    "tril": repeating.triangle(upper=False),
    "triu": repeating.triangle(upper=True),
    "zeros": arranging.filled(0.0),
    "ones": arranging.filled(1.0),
    "full": arranging.filled(None),
    "get_item": indexing.get_item,
    "slice": indexing.cut_out,
    "strided_slice": indexing.strided_slice,
    "take": indexing.take,
    "take_along_axis": indexing.take_along_axis,
    "one_hot": indexing.one_hot,
    "depth_to_space": imaging.depth_to_space,
    "space_to_depth": imaging.space_to_depth,
    "extract_patches": imaging.patches,
    "pad_images": imaging.framed(cut=False),
    "crop_images": imaging.framed(cut=True),
}

FUNCTIONS: Mapping[str, Function] = {
    **dict(_of("activation", _ACTIVATIONS)),
    **dict(_of("merge", _PAIRS)),
    **dict(_of("other", _EACH)),
    **dict(_of("reshape", _MOVED)),
    **dict(
        _of(
            "merge",
            {
                "concatenate": joining.concatenate,
                "stack": joining.stack,
                "hstack": joining.stacked_along(1),
                "dstack": joining.stacked_along(2),
            },
        )
    ),
    **dict(
        _of(
            "dense",
            {
                "matmul": multiplying.matmul,
                "einsum": multiplying.einsum,
                "tensordot": multiplying.tensordot,
                "dot": multiplying.dot,
                "inner": multiplying.inner,
                "outer": multiplying.outer,
                "bias_add": imaging.bias_add,
            },
        )
    ),
    **dict(
        _of(
            "conv",
            {
                "conv": imaging.convolved,
                "depthwise_conv": imaging.depthwise_convolved,
                "separable_conv": imaging.separably_convolved,
                "conv_transpose": imaging.conv_transposed,
            },
        )
    ),
    **dict(_of("pool", {"max_pool": imaging.pooled("Max"), "average_pool": imaging.pooled("Average")})),
    **dict(
        _of(
            "normalization",
            {
                "normalize": reducing.normalized,
                "l2_normalize": reducing.l2_normalized,
                "local_response_normalization": imaging.locally_normalized,
                "batch_norm": imaging.batch_normalized,
                "layer_norm": imaging.layer_normalized(rms=False),
                "rms_norm": imaging.layer_normalized(rms=True),
            },
        )
    ),
    **dict(
        _of(
            "preprocessing",
            {
                "resize": imaging.resized,
                "resize_v1": imaging.resized_by(None),
                "resize_v1_bilinear": imaging.resized_by("bilinear"),
                "resize_v1_nearest": imaging.resized_by("nearest"),
                "resize_images": imaging.enlarged,
                "rgb_to_grayscale": imaging.grey,
            },
        )
    ),
}
"""Functions by name."""
