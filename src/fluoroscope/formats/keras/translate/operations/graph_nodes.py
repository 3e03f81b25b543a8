"""Operations of TensorFlow's graphs, which Keras of TensorFlow 1.15 to 2.3 writes as TensorFlowOpLayer.

The layer's config holds the node as protobuf's JSON has it, and those of its inputs that are no tensors.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, cast

from fluoroscope.formats.keras.translate.operations.spelling import Spelling, spelled

_ONE = {
    "Abs": "absolute", "Neg": "negative", "Sign": "sign", "Floor": "floor", "Ceil": "ceil", "Round": "round",
    "Exp": "exp", "Expm1": "expm1", "Log": "log", "Log1p": "log1p", "Sqrt": "sqrt", "Rsqrt": "rsqrt",
    "Square": "square", "Reciprocal": "reciprocal", "Inv": "reciprocal", "Sin": "sin", "Cos": "cos",
    "Tan": "tan", "Asin": "arcsin", "Acos": "arccos", "Atan": "arctan", "Sinh": "sinh", "Cosh": "cosh",
    "Tanh": "tanh", "Erf": "erf", "IsNan": "isnan", "IsInf": "isinf", "IsFinite": "isfinite",
    "LogicalNot": "logical_not", "Sigmoid": "sigmoid", "Relu": "relu", "Relu6": "relu6", "Elu": "elu",
    "Selu": "selu", "Softplus": "softplus", "Softsign": "softsign", "Softmax": "softmax",
    "LogSoftmax": "log_softmax", "Identity": "identity", "StopGradient": "identity", "Snapshot": "identity",
    "ZerosLike": "zeros_like", "OnesLike": "ones_like", "Shape": "shape",
}  # fmt: skip

_TWO = {
    "Add": "add", "AddV2": "add", "Sub": "subtract", "Mul": "multiply", "RealDiv": "divide", "Div": "divide",
    "DivNoNan": "divide_no_nan", "FloorDiv": "floor_divide", "FloorMod": "mod", "Pow": "power",
    "Maximum": "maximum", "Minimum": "minimum", "SquaredDifference": "squared_difference", "Equal": "equal",
    "NotEqual": "not_equal", "Greater": "greater", "GreaterEqual": "greater_equal", "Less": "less",
    "LessEqual": "less_equal", "LogicalAnd": "logical_and", "LogicalOr": "logical_or",
}  # fmt: skip

_REDUCED = {
    "Mean": "mean", "Sum": "sum", "Max": "max", "Min": "min", "Prod": "prod", "Any": "any", "All": "all",
}  # fmt: skip

_WINDOW = "inputs|pool_size=ksize strides padding data_format"

_SPELLED: Mapping[str, str] = {
    **{name: f"{function}(x)" for name, function in _ONE.items()},
    **{name: f"{function}(x1 x2)" for name, function in _TWO.items()},
    **{name: f"{function}(x axis|keepdims=keep_dims)" for name, function in _REDUCED.items()},
    "AddN": "add_n(*xs)",
    "ArgMax": "argmax(x axis|dtype=output_type)",
    "ArgMin": "argmin(x axis|dtype=output_type)",
    "AvgPool": f"average_pool({_WINDOW})",
    "BatchMatMul": "matmul(x1 x2|adjoint_a=adj_x adjoint_b=adj_y)",
    "BatchMatMulV2": "matmul(x1 x2|adjoint_a=adj_x adjoint_b=adj_y)",
    "BiasAdd": "bias_add(value bias|data_format)",
    "BroadcastTo": "broadcast_to(x shape)",
    "Cast": "cast(x|dtype=DstT)",
    "ClipByValue": "clip(x x_min x_max)",
    "ConcatV2": "concatenate(*xs axis)",
    "Conv2D": "conv(inputs kernel|strides padding data_format dilation_rate=dilations)",
    "Cumsum": "cumsum(x axis|exclusive reverse)",
    "DepthToSpace": "depth_to_space(x|block_size data_format)",
    "DepthwiseConv2dNative": (
        "depthwise_conv(inputs kernel|strides padding data_format dilation_rate=dilations)"
    ),
    "Einsum": "einsum(*operands|subscripts=equation)",
    "ExpandDims": "expand_dims(x axis)",
    "Fill": "full(shape fill_value)",
    "GatherV2": "take(x indices axis|batch_dims)",
    "LRN": "local_response_normalization(x|depth_radius bias alpha beta)",
    "LeakyRelu": "leaky_relu(x|negative_slope=alpha)",
    "MatMul": "matmul(x1 x2|transpose_a transpose_b)",
    "MaxPool": f"max_pool({_WINDOW})",
    "MirrorPad": "pad(x pad_width|mode)",
    "OneHot": "one_hot(x num_classes on_value off_value|axis)",
    "Pack": "stack(*xs|axis)",
    "Pad": "pad(x pad_width)",
    "PadV2": "pad(x pad_width constant_values)",
    "Range": "arange(start stop step)",
    "Reshape": "reshape(x newshape)",
    "ResizeBilinear": "resize_v1_bilinear(images size|align_corners half_pixel_centers)",
    "ResizeNearestNeighbor": "resize_v1_nearest(images size|align_corners half_pixel_centers)",
    "ReverseV2": "flip(x axis)",
    "Select": "where(condition x1 x2)",
    "SelectV2": "where(condition x1 x2)",
    "Slice": "slice(inputs start_indices shape)",
    "SpaceToDepth": "space_to_depth(x|block_size data_format)",
    "Split": "split_sizes(axis x|num_or_size_splits=num_split)",
    "SplitV": "split_sizes(x num_or_size_splits axis|num=num_split)",
    "Squeeze": "squeeze(x|axis=squeeze_dims)",
    "StridedSlice": (
        "strided_slice(x begin end strides|begin_mask end_mask ellipsis_mask new_axis_mask shrink_axis_mask)"
    ),
    "Tile": "tile(x repeats)",
    "TopKV2": "top_k(x k|sorted)",
    "Transpose": "transpose(x axes)",
    "Unpack": "unstack(x|num axis)",
}

GRAPH_NODES: Mapping[str, Spelling] = {name: spelled(text) for name, text in _SPELLED.items()}
"""Operations by their names in a graph; inputs by position, attributes by name."""

_TYPES = {
    "DT_FLOAT": "float32", "DT_HALF": "float16", "DT_BFLOAT16": "bfloat16", "DT_DOUBLE": "float64",
    "DT_INT8": "int8", "DT_INT16": "int16", "DT_INT32": "int32", "DT_INT64": "int64", "DT_UINT8": "uint8",
    "DT_UINT16": "uint16", "DT_BOOL": "bool",
}  # fmt: skip

_UNSAID = frozenset(
    (
        "N T Tidx Tdim Tlen Tshape Tperm Tpaddings Tmultiples Tblock_shape SrcT Truncate Index Tindices "
        "Tparams Taxis Tindex TI out_type index_type use_cudnn_on_gpu shape Tpad explicit_paddings "
        "incompatible_shape_error Tmask Targmax Tbegin Tout"
    ).split()
)
"""Attributes that repeat what is known or speak of how, not what, is computed."""


def attributes(node: Any) -> dict[str, Any]:
    """A node's attributes, without protobuf's wrapping; of what is no node none."""
    given = cast(Mapping[str, Any], node).get("attr") if isinstance(node, Mapping) else None
    entries = cast(Mapping[str, Any], given) if isinstance(given, Mapping) else {}
    return {
        name: _plain(cast(Mapping[str, Any], value))
        for name, value in entries.items()
        if isinstance(value, Mapping) and name not in _UNSAID and not name.startswith("_")
    }


def _plain(value: Mapping[str, Any]) -> Any:
    if "list" in value:
        inner = value["list"]
        entries = cast(Mapping[str, Any], inner) if isinstance(inner, Mapping) else {}
        kind, found = next(iter(entries.items()), ("", []))
        listed = cast(list[Any], found) if isinstance(found, list) else []
        return [_plain({kind: entry}) for entry in listed]
    for kind, convert in (("b", bool), ("i", _integer), ("f", _number), ("s", _text), ("type", _type)):
        if kind in value:
            return convert(value[kind])
    return None


def _integer(value: Any) -> Any:
    """Protobuf's JSON has 64-bit integers as text."""
    return (
        int(value) if isinstance(value, str) and value.lstrip("-").isdecimal() and len(value) < 20 else value
    )


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity") else value


def _text(value: Any) -> Any:
    try:
        return base64.b64decode(value, validate=True).decode("ascii")
    except (binascii.Error, TypeError, ValueError):
        return value


def _type(value: Any) -> Any:
    return _TYPES.get(value, value) if isinstance(value, str) else value
