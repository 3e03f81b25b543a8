"""The ONNX operators that are run, and what is known of each. Others are not, whatever domain they are of."""

from __future__ import annotations

from collections.abc import Mapping

from fluoroscope.network.protocol import Family

FAMILIES: Mapping[str, Family] = {
    **dict.fromkeys("Conv ConvInteger ConvTranspose DeformConv QLinearConv".split(), "conv"),
    **dict.fromkeys(
        (
            "AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool MaxRoiPool ReduceMax "
            "ReduceMean RoiAlign"
        ).split(),
        "pool",
    ),
    **dict.fromkeys("Einsum Gemm MatMul MatMulInteger QLinearMatMul".split(), "dense"),
    **dict.fromkeys(
        (
            "BatchNormalization GroupNormalization InstanceNormalization LRN LayerNormalization "
            "LpNormalization MeanVarianceNormalization RMSNormalization"
        ).split(),
        "normalization",
    ),
    **dict.fromkeys(
        (
            "Celu Clip Elu Erf Gelu HardSigmoid HardSwish Hardmax LeakyRelu LogSoftmax Mish PRelu Relu Selu "
            "Shrink Sigmoid Softmax Softplus Softsign Swish Tanh ThresholdedRelu"
        ).split(),
        "activation",
    ),
    **dict.fromkeys("Add Concat Div Max Mean Min Mul Pow Sub Sum".split(), "merge"),
    **dict.fromkeys(
        (
            "DepthToSpace Expand Flatten Gather GatherElements GatherND Pad Reshape Resize Slice "
            "SpaceToDepth Split Squeeze Tile Transpose Unsqueeze Upsample"
        ).split(),
        "reshape",
    ),
    **dict.fromkeys("Dropout Identity".split(), "regularization"),
    **dict.fromkeys(
        (
            "Abs Acos Acosh And ArgMax ArgMin Asin Asinh Atan Atanh BitShift Cast CastLike Ceil Compress "
            "ConstantOfShape Cos Cosh CumSum DequantizeLinear DynamicQuantizeLinear Equal Exp EyeLike Floor "
            "GRU Greater GreaterOrEqual GridSample IsInf IsNaN LSTM Less LessOrEqual Log Mod Neg "
            "NonMaxSuppression NonZero Not OneHot Or QuantizeLinear RNN Range Reciprocal ReduceL1 ReduceL2 "
            "ReduceLogSum ReduceLogSumExp ReduceMin ReduceProd ReduceSum ReduceSumSquare Round "
            "ScatterElements ScatterND Shape Sign Sin Sinh Size Sqrt Tan TopK Trilu Unique Where Xor"
        ).split(),
        "other",
    ),
}
"""Operators of ONNX's own domain that are run -> the coarse kind of layer each makes."""

ACTIVATIONS: Mapping[str, str] = {
    "Celu": "celu",
    "Clip": "clip",
    "Elu": "elu",
    "Gelu": "gelu",
    "HardSigmoid": "hard_sigmoid",
    "HardSwish": "hard_swish",
    "LeakyRelu": "leaky_relu",
    "LogSoftmax": "log_softmax",
    "Mish": "mish",
    "Relu": "relu",
    "Selu": "selu",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Swish": "silu",
    "Tanh": "tanh",
    "ThresholdedRelu": "thresholded_relu",
}
"""Operators that can be part of the layer before them -> what the activation is called. Without weights."""

REARRANGING = frozenset(
    "Cast CastLike DequantizeLinear Dropout DynamicQuantizeLinear Expand Flatten Gather Identity "
    "QuantizeLinear Reshape Slice Split Squeeze Transpose Unsqueeze".split()
)
"""Operators that move the values of one tensor elsewhere, drop some, or write them in other numbers."""

WINDOWS = frozenset("AveragePool Conv ConvInteger ConvTranspose LpPool MaxPool QLinearConv".split())
"""Operators that padding is put before."""

ANY_SIZE = frozenset("ConstantOfShape Expand EyeLike OneHot Pad Range Resize Tile Upsample".split())
"""Operators whose output's size comes from a value, not from the sizes of what they take."""

SHAPE_ONLY = frozenset({"Shape", "Size"})
"""What they make says nothing of what is in a picture."""

RECURRENT = frozenset({"LSTM", "GRU", "RNN"})

SEVERAL_OUTPUTS = frozenset({"Split", "TopK", *RECURRENT})
"""Operators whose further outputs are values of the network; others' are masks and statistics of training."""

CHANNELS_SECOND = frozenset(
    "AveragePool BatchNormalization Conv ConvInteger ConvTranspose DeformConv DepthToSpace GlobalAveragePool "
    "GlobalLpPool GlobalMaxPool GroupNormalization InstanceNormalization LRN LpPool MaxPool QLinearConv "
    "SpaceToDepth".split()
)
CHANNELS_LAST = frozenset({"Einsum", "Gather", "LayerNormalization", "MatMul"})

KEEPS_LAYOUT = frozenset(
    "Abs Add Cast Clip DequantizeLinear Div Dropout Exp Identity Log Mul Neg Pad Pow QuantizeLinear Relu "
    "Resize Slice Sqrt Sub Upsample".split()
)
"""Operators that a picture can pass through before its layout shows."""

BOUNDS: Mapping[str, tuple[float, float]] = {
    "blocksize": (1, 2**20),
    "dilations": (1, 2**20),
    "group": (1, 2**20),
    "hidden_size": (1, 2**20),
    "kernel_shape": (1, 2**20),
    "num_groups": (1, 2**20),
    "output_padding": (0, 2**20),
    "output_shape": (1, 2**20),
    "pads": (-(2**20), 2**20),
    "scales": (2.0**-20, 2.0**20),
    "size": (1, 2**20),
    "strides": (1, 2**20),
}
"""Attributes that are sizes or divisors -> smallest and largest value that is passed on."""
