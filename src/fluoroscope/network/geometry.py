"""Which box of the picture each activation sees, computed from the graph.

Formulas for size, stride and padding: Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional
Neural Networks", Distill 2019, doi 10.23915/distill.00021; extended here to transposed convolution, resizing,
padding, cropping and branches. Where positions see boxes of slightly different size (after upsampling), the
box given holds them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from fluoroscope.network.graph import LayerGraph
from fluoroscope.network.protocol import ReceptiveField

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class _Axis:
    """One spatial axis of a tensor: unit ``i`` sees ``[i * stride + offset, i * stride + offset + size)``.

    `position` is the axis's place in the tensor; `extent` its length, None where it is not known.
    """

    position: int
    extent: int | None
    size: float = 1.0
    stride: float = 1.0
    offset: float = 0.0

    def windowed(self, kernel: int, stride: int, begin: int, extent: int | None, dilation: int = 1) -> _Axis:
        """Behind a window of `kernel` taps, `begin` pixels of padding before the first."""
        return replace(
            self,
            extent=extent,
            size=self.size + (kernel - 1) * dilation * self.stride,
            stride=self.stride * stride,
            offset=self.offset - begin * self.stride,
        )


@dataclass(frozen=True, slots=True)
class _Field:
    """What is known of one tensor.

    Attributes
    ----------
    axes
        Its spatial axes; empty where no axis runs along the picture any more.
    whole
        Every value depends on the whole picture.
    regular
        False where single values see boxes that no stride and offset describe (a flattened map).
    """

    axes: tuple[_Axis, ...]
    whole: bool = False
    regular: bool = True


_WHOLE = _Field((), whole=True)
_IRREGULAR = _Field((), regular=False)


def receptive_fields(graph: LayerGraph) -> dict[str, ReceptiveField]:
    """Receptive field of every tensor that has one, by tensor name.

    Positions are pixels of the first input with spatial axes; of a graph with several, of each tensor's own.
    Tensors reached through an operator that is not known here are left out.
    """
    fields: dict[str, _Field] = {}
    extents: tuple[int | None, ...] = ()
    for entry in graph.inputs:
        axes = tuple(
            _Axis(position, size)
            for position, size in enumerate(entry.shape)
            if position not in (0, entry.channel_axis)
        )
        fields[entry.tensor] = _Field(axes) if axes else _WHOLE
        extents = extents or tuple(axis.extent for axis in axes)
    constants = dict(graph.weights)
    for node in graph.nodes:
        taken = [fields[name] for name in node.input if name in fields]
        if not taken:
            continue
        rule = _RULES.get(node.op_type, _unknown)
        field = rule(_Node(node, constants), taken)
        if field is not None:
            fields.update((name, field) for name in node.output if name)
    return {name: _public(field, extents) for name, field in fields.items() if field.regular}


def _public(field: _Field, extents: tuple[int | None, ...]) -> ReceptiveField:
    if not field.axes:
        known = all(size is not None for size in extents)
        size = tuple(float(size or 0) for size in extents) if known else ()
        return ReceptiveField(size=size, stride=(), offset=(), whole=True)
    return ReceptiveField(
        size=tuple(axis.size for axis in field.axes),
        stride=tuple(axis.stride for axis in field.axes),
        offset=tuple(axis.offset for axis in field.axes),
        whole=field.whole,
    )


class _Node:
    """A node with its attributes and constant inputs at hand."""

    def __init__(self, node: onnx.NodeProto, constants: Mapping[str, NDArray[Any]]) -> None:
        self.node = node
        self._constants = constants

    def ints(self, name: str) -> list[int] | None:
        for attribute in self.node.attribute:
            if attribute.name == name:
                return list(attribute.ints)
        return None

    def int(self, name: str, default: int) -> int:
        for attribute in self.node.attribute:
            if attribute.name == name:
                return attribute.i
        return default

    def text(self, name: str, default: str) -> str:
        for attribute in self.node.attribute:
            if attribute.name == name:
                return attribute.s.decode("ascii", "replace")
        return default

    def constant(self, index: int) -> NDArray[Any] | None:
        if index >= len(self.node.input):
            return None
        return self._constants.get(self.node.input[index])

    def rank(self, field: _Field) -> int:
        """Rank of a tensor with these spatial axes: they, the batch and the channels."""
        return len(field.axes) + 2


def _pass(node: _Node, fields: Sequence[_Field]) -> _Field | None:
    """Element by element: the union of what the operands see."""
    mapped = [field for field in fields if field.axes]
    if any(not field.regular for field in fields):
        return _IRREGULAR
    if not mapped:
        return _WHOLE
    whole = any(field.whole for field in fields)
    places = {tuple(axis.position for axis in field.axes) for field in mapped}
    if len(places) > 1:
        return None
    axes: list[_Axis] = []
    for same in zip(*(field.axes for field in mapped), strict=True):
        # An axis of length 1 is spread over the others: its unit sees what it sees, everywhere.
        spread = [axis for axis in same if axis.extent != 1] or list(same)
        if len({axis.stride for axis in spread}) > 1:
            return None
        start = min(axis.offset for axis in spread)
        end = max(axis.offset + axis.size for axis in spread)
        whole = whole or len(spread) < len(same)
        axes.append(replace(spread[0], offset=start, size=end - start))
    return _Field(tuple(axes), whole=whole)


def _window(node: _Node, fields: Sequence[_Field]) -> _Field | None:
    """Convolution and pooling."""
    field = fields[0]
    if not field.axes or not field.regular:
        return field
    weights = node.constant(1)
    kernel = node.ints("kernel_shape") or (list(weights.shape[2:]) if weights is not None else None)
    count = len(field.axes)
    if kernel is None or len(kernel) != count:
        return None
    strides = node.ints("strides") or [1] * count
    dilations = node.ints("dilations") or [1] * count
    pads = node.ints("pads") or [0] * (2 * count)
    mode = node.text("auto_pad", "NOTSET")
    ceil_mode = bool(node.int("ceil_mode", 0))
    axes: list[_Axis] = []
    for i, axis in enumerate(field.axes):
        span = (kernel[i] - 1) * dilations[i] + 1
        begin, end = pads[i], pads[i + count]
        extent = axis.extent
        if mode.startswith("SAME"):
            out = None if extent is None else ceil(extent / strides[i])
            # With a free size the padding depends on it; that of a multiple of the stride is taken.
            total = (
                span - strides[i] if extent is None or out is None else (out - 1) * strides[i] + span - extent
            )
            begin = max(total, 0) // 2 if mode == "SAME_UPPER" else -(-max(total, 0) // 2)
        elif extent is None:
            out = None
        else:
            steps = (extent + begin + end - span) / strides[i]
            out = (ceil(steps) if ceil_mode else int(steps // 1)) + 1
        axes.append(axis.windowed(kernel[i], strides[i], begin, out, dilations[i]))
    return replace(field, axes=tuple(axes))


def _transposed_window(node: _Node, fields: Sequence[_Field]) -> _Field | None:
    """Transposed convolution: output ``o`` takes inputs ``(o + begin - tap * dilation) / stride``."""
    field = fields[0]
    if not field.axes or not field.regular:
        return field
    weights = node.constant(1)
    kernel = node.ints("kernel_shape") or (list(weights.shape[2:]) if weights is not None else None)
    count = len(field.axes)
    if kernel is None or len(kernel) != count:
        return None
    strides = node.ints("strides") or [1] * count
    dilations = node.ints("dilations") or [1] * count
    pads = node.ints("pads") or [0] * (2 * count)
    extra = node.ints("output_padding") or [0] * count
    fixed = node.ints("output_shape")
    mode = node.text("auto_pad", "NOTSET")
    axes: list[_Axis] = []
    for i, axis in enumerate(field.axes):
        span = (kernel[i] - 1) * dilations[i]
        full = None if axis.extent is None else (axis.extent - 1) * strides[i] + span + 1 + extra[i]
        begin, out = pads[i], None if full is None else full - pads[i] - pads[i + count]
        if fixed is not None or mode.startswith("SAME"):
            out = fixed[i] if fixed is not None else None if axis.extent is None else axis.extent * strides[i]
            if full is not None and out is not None:
                total = full - out
                begin = total // 2 if mode == "SAME_UPPER" else total - total // 2
        axes.append(
            replace(
                axis,
                extent=out,
                size=axis.size + axis.stride * span / strides[i],
                stride=axis.stride / strides[i],
                offset=axis.offset + axis.stride * (begin - span) / strides[i],
            )
        )
    return replace(field, axes=tuple(axes))


_REACH = {"nearest": 0.5, "linear": 1.0, "cubic": 2.0}
"""How far from the sampled point, in input units, interpolation takes neighbours."""


def _resize(node: _Node, fields: Sequence[_Field]) -> _Field | None:
    field = fields[0]
    if not field.axes or not field.regular:
        return field
    rank = node.rank(field)
    scales, sizes = node.constant(2), node.constant(3)
    if node.node.op_type == "Upsample":
        scales = node.constant(1)
    reach = _REACH.get(node.text("mode", "nearest"), 2.0)
    transform = node.text("coordinate_transformation_mode", "half_pixel")
    axes: list[_Axis] = []
    for axis in field.axes:
        if sizes is not None and sizes.size == rank:
            out = int(sizes[axis.position])
            if not axis.extent:
                return None
            scale = out / axis.extent
        elif scales is not None and scales.size == rank:
            scale = float(scales[axis.position])
            out = None if axis.extent is None else int(axis.extent * scale)
        else:
            return None
        if scale <= 0:
            return None
        if scale == 1:
            axes.append(axis)
            continue
        if transform == "align_corners" and axis.extent and out and out > 1:
            step, first = (axis.extent - 1) / (out - 1), 0.0
        elif transform == "asymmetric":
            step, first = 1 / scale, 0.0
        else:
            step, first = 1 / scale, 0.5 / scale - 0.5
        spread = reach * max(step, 1.0) if node.int("antialias", 0) else reach
        # Nearest takes the one unit whose centre is within half a unit of the point.
        margin = 0.5 if reach == 0.5 and transform == "asymmetric" else 0.0
        axes.append(
            replace(
                axis,
                extent=out,
                size=axis.size + axis.stride * (2 * spread + margin),
                stride=axis.stride * step,
                offset=axis.offset + axis.stride * (first - spread - margin),
            )
        )
    return replace(field, axes=tuple(axes))


def _pad(node: _Node, fields: Sequence[_Field]) -> _Field | None:
    field = fields[0]
    pads = node.constant(1)
    values = node.ints("pads") if pads is None else [int(value) for value in pads]
    rank = node.rank(field)
    if not field.axes or not field.regular:
        return field
    if values is None or len(values) != 2 * rank:
        return None
    return replace(
        field,
        axes=tuple(
            axis.windowed(
                1,
                1,
                values[axis.position],
                None
                if axis.extent is None
                else axis.extent + values[axis.position] + values[axis.position + rank],
            )
            for axis in field.axes
        ),
    )


def _slice(node: _Node, fields: Sequence[_Field]) -> _Field | None:
    field = fields[0]
    if not field.axes or not field.regular:
        return field
    given = [node.constant(index) for index in range(1, 5)]
    starts, ends, chosen, steps = given
    if starts is None or ends is None:
        return None
    rank = node.rank(field)
    where = range(len(starts)) if chosen is None else [int(value) % rank for value in chosen]
    axes = list(field.axes)
    for index, position in enumerate(where):
        for place, axis in enumerate(axes):
            if axis.position != position:
                continue
            step = 1 if steps is None else int(steps[index])
            start, end = int(starts[index]), int(ends[index])
            if step < 1 or (axis.extent is None and start < 0):
                return None
            extent = None
            if axis.extent is not None:
                start, end, _ = slice(start, end, step).indices(axis.extent)
                extent = max(0, -(-(end - start) // step))
            axes[place] = replace(
                axis, extent=extent, stride=axis.stride * step, offset=axis.offset + start * axis.stride
            )
    return replace(field, axes=tuple(axes))


def _transpose(node: _Node, fields: Sequence[_Field]) -> _Field | None:
    field = fields[0]
    order = node.ints("perm")
    if not field.axes:
        return field
    if order is None:
        order = list(range(node.rank(field)))[::-1]
    return replace(
        field, axes=tuple(replace(axis, position=order.index(axis.position)) for axis in field.axes)
    )


def _rearranged(node: _Node, fields: Sequence[_Field]) -> _Field | None:
    """Flatten, Reshape: single values keep their boxes, but no stride describes them."""
    field = fields[0]
    return _WHOLE if not field.axes and field.whole else _IRREGULAR


def _everything(node: _Node, fields: Sequence[_Field]) -> _Field | None:
    return _WHOLE


def _reduced(node: _Node, fields: Sequence[_Field]) -> _Field | None:
    """Mean, sum, maximum over some axes."""
    field = fields[0]
    if not field.axes:
        return _WHOLE
    listed = node.constant(1)
    over = [int(value) for value in listed] if listed is not None else node.ints("axes")
    rank = node.rank(field)
    if over is None:
        return _WHOLE
    over = [position % rank for position in over]
    lost = [axis for axis in field.axes if axis.position in over]
    if lost:
        return _WHOLE
    if node.int("keepdims", 1):
        return field
    return replace(
        field,
        axes=tuple(
            replace(axis, position=axis.position - sum(position < axis.position for position in over))
            for axis in field.axes
        ),
    )


def _along_axis(node: _Node, fields: Sequence[_Field]) -> _Field | None:
    """Softmax and the like: what shares the axis sees each other."""
    field = fields[0]
    if not field.axes:
        return field if field.regular else _WHOLE
    axis = node.int("axis", -1) % node.rank(field)
    return replace(field, whole=field.whole or any(axis == own.position for own in field.axes))


def _normalised_from(node: _Node, fields: Sequence[_Field]) -> _Field | None:
    """LayerNormalization: over `axis` and all behind it."""
    field = fields[0]
    if not field.axes:
        return field if field.regular else _WHOLE
    axis = node.int("axis", -1) % node.rank(field)
    return replace(field, whole=field.whole or any(own.position >= axis for own in field.axes))


def _instance(node: _Node, fields: Sequence[_Field]) -> _Field | None:
    return replace(fields[0], whole=True) if fields[0].axes else _WHOLE


def _concat(node: _Node, fields: Sequence[_Field]) -> _Field | None:
    field = fields[0]
    if field.axes and any(node.int("axis", 1) == axis.position for axis in field.axes):
        return None
    return _pass(node, fields)


def _matmul(node: _Node, fields: Sequence[_Field]) -> _Field | None:
    """A matrix over the last axis: a map's places stay, a vector's all mix."""
    field = fields[0]
    if len(fields) > 1:
        return _WHOLE
    if field.axes and all(axis.position != node.rank(field) - 1 for axis in field.axes):
        return field
    return _WHOLE


def _unknown(node: _Node, fields: Sequence[_Field]) -> _Field | None:
    return _WHOLE if all(not field.axes and field.whole for field in fields) else None


_Rule = Callable[[_Node, Sequence[_Field]], _Field | None]

_RULES: dict[str, _Rule] = {
    **dict.fromkeys(
        (
            "Abs Add BatchNormalization BitShift Cast Ceil Celu Clip Div Dropout Elu Erf Exp Floor Gelu "
            "HardSigmoid HardSwish Identity LeakyRelu Log Max Mean Min Mish Mod Mul Neg Pow PRelu Reciprocal "
            "Relu Round Selu Shrink Sigmoid Sign Sin Cos Softplus Softsign Sqrt Sub Sum Swish Tanh "
            "ThresholdedRelu Where Greater GreaterOrEqual Less LessOrEqual Equal Not And Or IsNaN IsInf "
            "CastLike QuantizeLinear DequantizeLinear LRN"
        ).split(),
        _pass,
    ),
    **dict.fromkeys(("Conv", "MaxPool", "AveragePool", "LpPool", "ConvInteger", "QLinearConv"), _window),
    "ConvTranspose": _transposed_window,
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "Pad": _pad,
    "Slice": _slice,
    "Transpose": _transpose,
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _rearranged),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "Gemm"), _everything),
    **dict.fromkeys(
        (
            "ReduceMean ReduceMax ReduceMin ReduceSum ReduceProd ReduceL1 ReduceL2 ReduceLogSum "
            "ReduceLogSumExp ReduceSumSquare"
        ).split(),
        _reduced,
    ),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _along_axis),
    "LayerNormalization": _normalised_from,
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization"), _instance),
    "Concat": _concat,
    "MatMul": _matmul,
}
