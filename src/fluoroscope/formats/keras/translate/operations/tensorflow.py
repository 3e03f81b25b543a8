"""Functions of TensorFlow that tf.keras writes as layers: ``tf.nn.relu(x)``, ``x[:, 0]``, ``x + y``.

Their layer, a TFOpLambda or SlicingOpLambda, names the function; all arguments but the first come by name.
"""

from __future__ import annotations

from collections.abc import Mapping

from fluoroscope.formats.keras.translate.operations.spelling import Spelling, spelled

_OLD_NAMES = "compat.v1."

_TWO = {
    "math.add": "add", "__operators__.add": "add", "math.subtract": "subtract", "math.multiply": "multiply",
    "math.divide": "divide", "math.truediv": "divide", "math.divide_no_nan": "divide_no_nan",
    "math.floordiv": "floor_divide",
    "floor_div": "floor_divide", "math.floormod": "mod", "math.mod": "mod", "math.pow": "power",
    "math.maximum": "maximum", "math.minimum": "minimum", "math.squared_difference": "squared_difference",
    "math.equal": "equal", "__operators__.eq": "equal", "math.not_equal": "not_equal",
    "__operators__.ne": "not_equal", "math.greater": "greater", "math.greater_equal": "greater_equal",
    "math.less": "less", "math.less_equal": "less_equal", "math.logical_and": "logical_and",
    "math.logical_or": "logical_or", "math.logical_xor": "logical_xor",
}  # fmt: skip

_ONE = {
    "math.abs": "absolute", "math.negative": "negative", "math.sign": "sign", "math.floor": "floor",
    "math.ceil": "ceil", "math.round": "round", "math.exp": "exp", "math.expm1": "expm1", "math.log": "log",
    "math.log1p": "log1p", "math.sqrt": "sqrt", "math.rsqrt": "rsqrt", "math.square": "square",
    "math.reciprocal": "reciprocal", "math.sin": "sin", "math.cos": "cos", "math.tan": "tan",
    "math.asin": "arcsin", "math.acos": "arccos", "math.atan": "arctan", "math.sinh": "sinh",
    "math.cosh": "cosh", "math.tanh": "tanh", "math.erf": "erf", "math.is_nan": "isnan",
    "math.is_inf": "isinf", "math.is_finite": "isfinite", "math.logical_not": "logical_not",
    "math.sigmoid": "sigmoid", "math.log_sigmoid": "log_sigmoid", "nn.sigmoid": "sigmoid", "nn.tanh": "tanh",
}  # fmt: skip

_FEATURES = {
    "nn.relu": "relu", "nn.relu6": "relu6", "nn.elu": "elu", "nn.selu": "selu", "nn.softsign": "softsign",
    "math.softplus": "softplus", "nn.softplus": "softplus",
}  # fmt: skip

_REDUCED = {
    "math.reduce_mean": "mean", "math.reduce_sum": "sum", "math.reduce_max": "max", "math.reduce_min": "min",
    "math.reduce_prod": "prod", "math.reduce_any": "any", "math.reduce_all": "all",
    "math.reduce_std": "std", "math.reduce_variance": "var", "math.reduce_logsumexp": "logsumexp",
    "math.reduce_euclidean_norm": "norm",
}  # fmt: skip

_WINDOW = "inputs=input pool_size=ksize strides padding data_format"

_SPELLED: Mapping[str, str] = {
    **{name: f"{function}(x1=x x2=y)" for name, function in _TWO.items()},
    **{name: f"{function}(x)" for name, function in _ONE.items()},
    **{name: f"{function}(x=features)" for name, function in _FEATURES.items()},
    **{
        name: f"{function}(x=input_tensor axis=axis,reduction_indices keepdims=keepdims,keep_dims)"
        for name, function in _REDUCED.items()
    },
    "math.scalar_mul": "multiply(x1=scalar x2=x)",
    "math.add_n": "add_n(xs=inputs)",
    "math.argmax": "argmax(x=input axis=axis,dimension dtype=output_type)",
    "math.argmin": "argmin(x=input axis=axis,dimension dtype=output_type)",
    "math.cumsum": "cumsum(x axis exclusive reverse|axis:0)",
    "math.count_nonzero": "count_nonzero(x=input axis keepdims dtype)",
    "math.top_k": "top_k(x=input k sorted)",
    "nn.top_k": "top_k(x=input k sorted)",
    "math.l2_normalize": "l2_normalize(x axis=axis,dim epsilon)",
    "nn.l2_normalize": "l2_normalize(x axis=axis,dim epsilon)",
    "nn.leaky_relu": "leaky_relu(x=features negative_slope=alpha)",
    "nn.silu": "silu(x=features beta)",
    "nn.swish": "silu(x=features beta)",
    "nn.gelu": "gelu(x=features approximate|approximate:false)",
    "nn.softmax": "softmax(x=logits axis=axis,dim)",
    "nn.log_softmax": "log_softmax(x=logits axis=axis,dim)",
    "nn.bias_add": "bias_add(value bias data_format)",
    "nn.depth_to_space": "depth_to_space(x=input block_size data_format)",
    "nn.space_to_depth": "space_to_depth(x=input block_size data_format)",
    **dict.fromkeys(
        ("nn.max_pool", "nn.max_pool1d", "nn.max_pool2d", "nn.max_pool3d"), f"max_pool({_WINDOW})"
    ),
    **dict.fromkeys(
        ("nn.avg_pool", "nn.avg_pool1d", "nn.avg_pool2d", "nn.avg_pool3d"), f"average_pool({_WINDOW})"
    ),
    "nn.conv2d": (
        "conv(inputs=input kernel=filters,filter strides padding data_format dilation_rate=dilations)"
    ),
    "nn.depthwise_conv2d": (
        "depthwise_conv(inputs=input kernel=filter strides padding data_format dilation_rate=dilations,rate)"
    ),
    "nn.local_response_normalization": "local_response_normalization(x=input depth_radius bias alpha beta)",
    "nn.moments": "moments(x axes shift keepdims=keepdims,keep_dims)",
    "nn.batch_normalization": "batch_norm(x mean variance offset scale epsilon=variance_epsilon)",
    "nn.embedding_lookup": "take(x=params indices=ids|axis:0)",
    "__operators__.getitem": "get_item(x=tensor key=slice_spec)",
    "concat": "concatenate(xs=values axis)",
    "stack": "stack(xs=values axis)",
    "unstack": "unstack(x=value num axis)",
    "split": "split_sizes(x=value num_or_size_splits axis num)",
    "reshape": "reshape(x=tensor newshape=shape)",
    "transpose": "transpose(x=a axes=perm)",
    "linalg.matrix_transpose": "swapaxes(x=a|axis1:-1 axis2:-2)",
    "expand_dims": "expand_dims(x=input axis=axis,dim)",
    "squeeze": "squeeze(x=input axis=axis,squeeze_dims)",
    "tile": "tile(x=input repeats=multiples)",
    "repeat": "repeat(x=input repeats axis)",
    "pad": "pad(x=tensor pad_width=paddings mode constant_values)",
    "reverse": "flip(x=tensor axis)",
    "roll": "roll(x=input shift axis)",
    "broadcast_to": "broadcast_to(x=input shape)",
    "gather": "take(x=params indices validate_indices axis batch_dims|axis:0)",
    "slice": "slice(inputs=input_ start_indices=begin shape=size)",
    "strided_slice": (
        "strided_slice(x=input_ begin end strides begin_mask end_mask ellipsis_mask new_axis_mask "
        "shrink_axis_mask)"
    ),
    "one_hot": "one_hot(x=indices num_classes=depth on_value off_value axis dtype)",
    "cast": "cast(x dtype)",
    "saturate_cast": "cast(x=value dtype)",
    "clip_by_value": "clip(x=t x_min=clip_value_min x_max=clip_value_max)",
    "where": "where(condition x1=x x2=y)",
    "zeros_like": "zeros_like(x=input,tensor dtype)",
    "ones_like": "ones_like(x=input,tensor dtype)",
    "zeros": "zeros(shape dtype)",
    "ones": "ones(shape dtype)",
    "fill": "full(shape=dims fill_value=value)",
    "range": "arange(start stop=limit step=delta dtype)",
    "shape": "shape(x=input out_type)",
    "convert_to_tensor": "cast(x=value dtype)",
    "identity": "identity(x=input)",
    "stop_gradient": "identity(x=input)",
    "linalg.matmul": "matmul(x1=a x2=b transpose_a transpose_b adjoint_a adjoint_b)",
    "tensordot": "tensordot(x1=a x2=b axes)",
    "einsum": "einsum(subscripts=equation *operands)",
    "norm": "norm(x=tensor ord axis keepdims=keepdims,keep_dims)",
    "image.resize": "resize(images size interpolation=method preserve_aspect_ratio antialias)",
    **dict.fromkeys(
        ("compat.v1.image.resize", "compat.v1.image.resize_images"),
        "resize_v1(images size method align_corners preserve_aspect_ratio)",
    ),
    "compat.v1.image.resize_bilinear": "resize_v1_bilinear(images size align_corners half_pixel_centers)",
    "compat.v1.image.resize_nearest_neighbor": (
        "resize_v1_nearest(images size align_corners half_pixel_centers)"
    ),
    "image.rgb_to_grayscale": "rgb_to_grayscale(images)",
    "image.flip_left_right": "flip(x=image|axis:-2)",
    "image.flip_up_down": "flip(x=image|axis:-3)",
    "image.extract_patches": "extract_patches(images size=sizes strides dilation_rate=rates padding)",
}

_ELSEWHERE = {
    "matmul": "linalg.matmul", "linalg.norm": "norm", "linalg.tensordot": "tensordot",
    "linalg.einsum": "einsum", "math.softmax": "nn.softmax", "math.log_softmax": "nn.log_softmax",
    "linalg.l2_normalize": "math.l2_normalize", "nn.lrn": "nn.local_response_normalization",
}  # fmt: skip
"""Second names, for what older versions list elsewhere; and names without ``math.``."""

_NOW: Mapping[str, Spelling] = {
    name: spelled(text)
    for name, text in {
        **{name.removeprefix("math."): text for name, text in _SPELLED.items() if name.startswith("math.")},
        **{name: _SPELLED[other] for name, other in _ELSEWHERE.items()},
        **_SPELLED,
    }.items()
}

TENSORFLOW: Mapping[str, Spelling] = {
    **{f"{_OLD_NAMES}{name}": _NOW[name] for name in _NOW if not name.startswith(_OLD_NAMES)},
    **_NOW,
}
"""TensorFlow's functions, by their public names without ``tf.``."""
