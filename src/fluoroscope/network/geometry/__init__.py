"""Which box of the picture each activation sees, computed from the graph.

Formulas for size, stride and padding: Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional
Neural Networks", Distill 2019, doi 10.23915/distill.00021; extended here to transposed convolution,
resizing, padding, cropping and branches. Where positions see boxes of slightly different size (after
upsampling), the box given is the smallest with a constant stride that holds them all. Pixels that a padding
repeats or reflects count as padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fluoroscope.network.geometry import mixing, windows
from fluoroscope.network.geometry.fields import Axis, Context, Field
from fluoroscope.network.graph import LayerGraph
from fluoroscope.network.nodes import reads
from fluoroscope.network.protocol import ReceptiveField
from fluoroscope.network.tracing import Trace

Rule = Callable[[Context, Sequence[Field]], Field | None]
"""From the fields of what a node takes of the picture to the field of what it makes; None where unknown."""


def receptive_fields(graph: LayerGraph, traced: Trace) -> dict[str, ReceptiveField]:
    """Receptive field of every tensor that has one, by tensor name.

    Positions are pixels of the input picture; with several inputs, of the one that a tensor depends on.
    Tensors that depend on no picture, or reached through an operator that is not known here, are left out.
    """
    fields: dict[str, Field | None] = {}
    extents: tuple[int | None, ...] = ()
    for entry in graph.inputs:
        axes = tuple(
            Axis(position, size, size)
            for position, size in enumerate(entry.shape)
            if position not in (0, entry.channel_axis)
        )
        # A vector that is fed is no picture.
        if axes:
            fields[entry.tensor] = Field(axes)
            extents = extents or tuple(axis.extent for axis in axes)
    for node in graph.nodes:
        names = [name for name in reads(node) if name in fields]
        if not names or node.op_type in _SHAPE_ONLY:
            continue
        taken = [fields[name] for name in names]
        known = [field for field in taken if field is not None]
        rule = _RULES.get(node.op_type)
        made = None
        if rule is not None and len(known) == len(taken):
            made = rule(Context(node, traced, graph.opset, names, graph.weights), known)
        fields.update((name, made) for name in node.output if name)
    return {
        name: _public(field, extents) for name, field in fields.items() if field is not None and field.regular
    }


def _public(field: Field, extents: tuple[int | None, ...]) -> ReceptiveField:
    if not field.axes:
        sizes = tuple(float(size) for size in extents if size is not None)
        size = sizes if len(sizes) == len(extents) else ()
        return ReceptiveField(size=size, stride=(), offset=(), whole=True)
    return ReceptiveField(
        size=tuple(axis.size for axis in field.axes),
        stride=tuple(axis.stride for axis in field.axes),
        offset=tuple(axis.offset for axis in field.axes),
        whole=field.whole,
    )


_SHAPE_ONLY = frozenset({"Shape", "Size", "ConstantOfShape"})
"""What these make depends on the size of the picture, not on what is in it."""

_RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "Abs Add And BitShift Cast CastLike Ceil Celu Clip Cos Div Dropout Elu Equal Erf Exp Floor Gelu "
            "Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual "
            "Log Max Mean Min Mish Mod Mul Neg Not Or Pow PRelu Reciprocal Relu Round Selu Shrink Sigmoid "
            "Sign Sin Softplus Softsign Sqrt Sub Sum Swish Tanh ThresholdedRelu Where"
        ).split(),
        mixing.elementwise,
    ),
    **dict.fromkeys(
        "BatchNormalization DequantizeLinear DynamicQuantizeLinear LRN QuantizeLinear".split(),
        mixing.first_only,
    ),
    **dict.fromkeys("Conv MaxPool AveragePool LpPool ConvInteger QLinearConv".split(), windows.window),
    "ConvTranspose": windows.transposed_window,
    **dict.fromkeys(("Resize", "Upsample"), windows.resize),
    "Pad": windows.pad,
    "Slice": windows.crop,
    "DepthToSpace": windows.depth_to_space,
    "SpaceToDepth": windows.space_to_depth,
    "Transpose": mixing.transpose,
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), mixing.rearrange),
    **dict.fromkeys(("Expand", "Tile"), mixing.broadcast),
    "Concat": mixing.concatenate,
    "Gather": mixing.gather,
    "Split": mixing.split,
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), mixing.everything),
    "Gemm": mixing.dense,
    **dict.fromkeys(("MatMul", "MatMulInteger", "QLinearMatMul"), mixing.matrix),
    **dict.fromkeys(
        (
            "ReduceMean ReduceMax ReduceMin ReduceSum ReduceProd ReduceL1 ReduceL2 ReduceLogSum "
            "ReduceLogSumExp ReduceSumSquare ArgMax ArgMin"
        ).split(),
        mixing.reduce,
    ),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "LpNormalization"), mixing.along_axis),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), mixing.from_axis),
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization"), mixing.over_places),
    "MeanVarianceNormalization": mixing.over_axes,
}
