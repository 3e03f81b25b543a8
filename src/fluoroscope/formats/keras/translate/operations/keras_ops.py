"""``keras.ops`` in files of Keras 3: classes, with options in their config and operands in their call.

An operation's config holds what its constructor took (``axis``, ``keepdims``), its call the tensors and
numbers it was called on, with wrappers for what JSON does not have.
"""

from __future__ import annotations

from collections.abc import Mapping

from fluoroscope.formats.keras.translate.operations.spelling import Spelling, spelled

_ONE = (
    "Absolute Negative Sign Floor Ceil Trunc Exp Exp2 Expm1 Log Log10 Log1p Log2 Sqrt Rsqrt Square "
    "Reciprocal Sin Cos Tan Arcsin Arccos Arctan Sinh Cosh Tanh Arcsinh Arccosh Arctanh Erf Deg2rad Rad2deg "
    "Isnan Isinf Isposinf Isneginf Isfinite LogicalNot Relu Relu6 Sigmoid SparseSigmoid Softplus Softsign "
    "SparsePlus Silu LogSigmoid HardSigmoid HardSilu Selu TanhShrink HardTanh"
).split()
_TWO = (
    "Add Subtract Multiply Divide DivideNoNan FloorDivide Mod Fmod Power Maximum Minimum Hypot Logaddexp "
    "Equal NotEqual Greater GreaterEqual Less LessEqual LogicalAnd LogicalOr LogicalXor Matmul Dot Inner "
    "Outer"
).split()
_ALONG = "Sum Mean Prod Max Min Logsumexp Var Std Ptp Any All CountNonzero Argmax Argmin".split()


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


_SPELLED: Mapping[str, str] = {
    **{name: f"{_snake(name)}(x)" for name in _ONE},
    **{name: f"{_snake(name)}(x1 x2)" for name in _TWO},
    **{name: f"{_snake(name)}(x)" for name in _ALONG},
    "Abs": "absolute(x)",
    "Fabs": "absolute(x)",
    "Average": "mean(x)",
    "Amax": "max(x)",
    "Amin": "min(x)",
    "TrueDivide": "divide(x1 x2)",
    "Copy": "identity(x)",
    "StopGradient": "identity(x=variable)",
    "ConvertToTensor": "cast(x)",
    "SaturateCast": "cast(x)",
    "Cast": "cast(x)",
    "Round": "round(x)",
    "Clip": "clip(x)",
    "Where": "where(condition x1 x2)",
    "NanToNum": "nan_to_num(x)",
    "ZerosLike": "zeros_like(x)",
    "OnesLike": "ones_like(x)",
    "FullLike": "full_like(x fill_value)",
    "LeakyRelu": "leaky_relu(x)",
    "Elu": "elu(x)",
    "Celu": "celu(x)",
    "Gelu": "gelu(x)",
    "Glu": "glu(x)",
    "HardShrink": "hard_shrink(x)",
    "SoftShrink": "soft_shrink(x)",
    "Squareplus": "squareplus(x)",
    "Threshold": "threshold(x)",
    "Softmax": "softmax(x)",
    "LogSoftmax": "log_softmax(x)",
    "Sparsemax": "sparsemax(x)",
    "Norm": "norm(x)",
    "Moments": "moments(x)",
    "Cumsum": "cumsum(x)",
    "TopK": "top_k(x)",
    "Reshape": "reshape(x)",
    "BroadcastTo": "broadcast_to(x)",
    "Transpose": "transpose(x)",
    "Swapaxes": "swapaxes(x)",
    "Moveaxis": "moveaxis(x)",
    "Squeeze": "squeeze(x)",
    "ExpandDims": "expand_dims(x)",
    "Concatenate": "concatenate(xs)",
    "Stack": "stack(xs)",
    "Hstack": "hstack(xs)",
    "Dstack": "dstack(xs)",
    "Split": "split(x)",
    "Hsplit": "split(x|axis:1)",
    "Dsplit": "split(x|axis:2)",
    "Unstack": "unstack(x)",
    "Tile": "tile(x)",
    "Repeat": "repeat(x)",
    "Pad": "pad(x constant_values)",
    "Flip": "flip(x)",
    "Fliplr": "flip(x|axis:1)",
    "Roll": "roll(x)",
    "Rot90": "rot90(array)",
    "Tril": "tril(x)",
    "Triu": "triu(x)",
    "GetItem": "get_item(x key)",
    "Slice": "slice(inputs start_indices)",
    "Take": "take(x indices)",
    "TakeAlongAxis": "take_along_axis(x indices)",
    "OneHot": "one_hot(x)",
    "Einsum": "einsum(*operands)",
    "Tensordot": "tensordot(x1 x2)",
    "Conv": "conv(inputs kernel)",
    "DepthwiseConv": "depthwise_conv(inputs kernel)",
    "SeparableConv": "separable_conv(inputs depthwise_kernel pointwise_kernel)",
    "ConvTranspose": "conv_transpose(inputs kernel)",
    "MaxPool": "max_pool(inputs)",
    "AveragePool": "average_pool(inputs)",
    "DepthToSpace": "depth_to_space(x)",
    "SpaceToDepth": "space_to_depth(x)",
    "Normalize": "normalize(x)",
    "BatchNorm": "batch_norm(x mean variance offset scale)",
    "LayerNorm": "layer_norm(x gamma beta)",
    "RMSNorm": "rms_norm(x gamma=scale)",
    "Resize": "resize(images)",
    "ExtractPatches": "extract_patches(images)",
    "PadImages": "pad_images(images)",
    "CropImages": "crop_images(images)",
    "RGBToGrayscale": "rgb_to_grayscale(images)",
}

KERAS: Mapping[str, Spelling] = {name: spelled(text) for name, text in _SPELLED.items()}
"""Classes of ``keras.ops``; options are called as in `table`."""
