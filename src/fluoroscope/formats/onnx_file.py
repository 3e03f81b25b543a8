"""`.onnx` bytes to a `LayerGraph`: one row an operator that works on the picture.

Nothing outside the bytes is read (external data is refused), and no tensor is made before its size is known
and within the budget: control flow and operators whose output can be of any size are refused where shape
inference cannot tell what they would make.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import DamagedFile, RefusedFile, UnknownFormat, UnsupportedLayer
from fluoroscope.network.budget import Budget
from fluoroscope.network.graph import GraphInput, LayerGraph, LayerOutput
from fluoroscope.network.protocol import Family, Layer, Shape

if TYPE_CHECKING:
    import onnx

OLDEST_OPSET = 7
"""onnxruntime runs no older one."""

_DOMAINS = frozenset({"", "ai.onnx"})
_CONTROL_FLOW = frozenset({"Loop", "Scan", "If", "SequenceMap"})
_ANY_SIZE = frozenset(
    "ConstantOfShape Expand Tile Range Resize Upsample Pad OneHot EyeLike RandomNormal RandomUniform "
    "CenterCropPad Col2Im GridSample MaxUnpool SequenceConstruct BlackmanWindow HannWindow HammingWindow "
    "MelWeightMatrix DFT STFT ImageDecoder".split()
)
"""Operators whose output's size comes from a value, not from the sizes of what they take."""

_FAMILIES: Mapping[str, Family] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv"), "conv"),
    **dict.fromkeys(
        (
            "MaxPool AveragePool LpPool GlobalMaxPool GlobalAveragePool GlobalLpPool MaxRoiPool RoiAlign "
            "ReduceMean ReduceMax"
        ).split(),
        "pool",
    ),
    **dict.fromkeys(("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "Einsum"), "dense"),
    **dict.fromkeys(
        (
            "BatchNormalization InstanceNormalization LayerNormalization GroupNormalization "
            "RMSNormalization MeanVarianceNormalization LpNormalization LRN"
        ).split(),
        "normalization",
    ),
    **dict.fromkeys(
        (
            "Relu LeakyRelu PRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Swish Tanh Softplus Softsign "
            "Softmax LogSoftmax Hardmax Gelu Mish Clip ThresholdedRelu Shrink Erf"
        ).split(),
        "activation",
    ),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Concat", "Sum", "Mean", "Max", "Min", "Pow"), "merge"),
    **dict.fromkeys(
        (
            "Reshape Flatten Transpose Squeeze Unsqueeze Slice Split Pad Resize Upsample DepthToSpace "
            "SpaceToDepth Gather Expand Tile"
        ).split(),
        "reshape",
    ),
    **dict.fromkeys(("Dropout", "Identity"), "regularization"),
}

_CHANNELS_SECOND = frozenset(
    "Conv ConvTranspose ConvInteger QLinearConv DeformConv MaxPool AveragePool LpPool GlobalMaxPool "
    "GlobalAveragePool GlobalLpPool BatchNormalization InstanceNormalization GroupNormalization LRN "
    "DepthToSpace SpaceToDepth Resize Upsample".split()
)
_CHANNELS_LAST = frozenset({"MatMul", "LayerNormalization", "Einsum", "Gather"})


def read(
    data: bytes, *, name: str, budget: Budget, size: tuple[int, int] | None = None
) -> tuple[LayerGraph, str | None]:
    """Read an ONNX model.

    Parameters
    ----------
    data
        The file's bytes.
    name
        What to call the network if the file does not.
    budget
        Bound for every tensor.
    size
        Height and width for a picture input that leaves them open.

    Returns
    -------
    graph, writer
        ``writer`` is what the file says made it, None if it does not.

    Raises
    ------
    DamagedFile, UnknownFormat, RefusedFile, UnsupportedLayer, BudgetExceeded
    """
    model = _parse(data)
    opset = _check_dialect(model)
    graph = model.graph
    _refuse_programs(graph.node)
    weights = {tensor.name: _array(tensor, budget) for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "Constant":
            weights[node.output[0]] = _constant(node, budget)
        else:
            nodes.append(node)
    inputs = [_input(value, size) for value in graph.input if value.name not in weights]
    if not inputs:
        raise UnsupportedLayer("This ONNX model takes no input, so it can be shown no picture.")
    shapes = _shapes(model, nodes, weights, inputs, budget)
    rows = _rows(nodes, weights, inputs, shapes)
    makers = {row.tensor: row.layer.name for row in rows}
    outputs = [makers[value.name] for value in graph.output if value.name in makers]
    writer = " ".join(filter(None, (model.producer_name, model.producer_version))) or None
    layers = LayerGraph(
        name=graph.name or name,
        inputs=inputs,
        nodes=nodes,
        weights=weights,
        rows=rows,
        outputs=outputs,
        opset=opset,
    )
    return layers, writer


def _parse(data: bytes) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise DamagedFile(f"This looks like ONNX but cannot be decoded: {error}.") from error
    if not model.graph.node or not model.opset_import:
        raise UnknownFormat("This is no ONNX model: it holds no graph. Is the file complete?")
    return model


def _check_dialect(model: onnx.ModelProto) -> int:
    """The operator set, if all operators are of it and it can be run."""
    from onnx.defs import onnx_opset_version

    opset = max((entry.version for entry in model.opset_import if entry.domain in _DOMAINS), default=0)
    if not OLDEST_OPSET <= opset <= onnx_opset_version():
        raise UnsupportedLayer(
            f"This model uses ONNX operator set {opset}; {OLDEST_OPSET} to {onnx_opset_version()} can be "
            "run. onnx.version_converter brings it to one of these."
        )
    foreign = sorted({node.domain for node in model.graph.node} - _DOMAINS)
    if foreign or model.functions:
        names = ", ".join(map(repr, foreign or [function.name for function in model.functions]))
        raise UnsupportedLayer(
            f"This model uses operators outside standard ONNX ({names}), which are not run. "
            "Export it again with standard operators only."
        )
    return opset


def _refuse_programs(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        if node.op_type in _CONTROL_FLOW or any(attribute.type in (5, 10) for attribute in node.attribute):
            raise RefusedFile(
                f"Node {node.name or node.output[0]!r} is control flow ({node.op_type}): what it would cost "
                "cannot be known before running it. Export the network without loops and branches."
            )


def _array(tensor: onnx.TensorProto, budget: Budget) -> NDArray[Any]:
    """A tensor's values, after its declared size is checked against what is there."""
    from onnx import TensorProto, helper, numpy_helper

    label = repr(tensor.name)
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise RefusedFile(
            f"Weight {label} lies in another file. Only the file named is read: save the model as one file "
            "(onnx.save with save_as_external_data=False)."
        )
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    except (KeyError, TypeError) as error:
        raise DamagedFile(f"Weight {label} has an unknown type, {tensor.data_type}.") from error
    if any(size < 0 for size in tensor.dims):
        raise DamagedFile(f"Weight {label} has a negative size: {list(tensor.dims)}.")
    declared = prod(tensor.dims) * dtype.itemsize
    budget.allow(declared, f"Weight {label}")
    if dtype.kind not in "fiub":
        raise UnsupportedLayer(f"Weight {label} is of type {dtype}, which is not shown.")
    try:
        array = np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, OverflowError) as error:
        raise DamagedFile(
            f"Weight {label} declares shape {list(tensor.dims)} of {dtype} but holds other data."
        ) from error
    if array.nbytes != declared:
        raise DamagedFile(f"Weight {label} declares {declared} bytes but holds {array.nbytes}.")
    return np.ascontiguousarray(array)


def _constant(node: onnx.NodeProto, budget: Budget) -> NDArray[Any]:
    """The value of a Constant node."""
    for attribute in node.attribute:
        if attribute.name == "value":
            return _array(attribute.t, budget)
        if attribute.name == "value_float":
            return np.array(attribute.f, np.float32)
        if attribute.name == "value_floats":
            return np.array(attribute.floats, np.float32)
        if attribute.name == "value_int":
            return np.array(attribute.i, np.int64)
        if attribute.name == "value_ints":
            return np.array(attribute.ints, np.int64)
    raise UnsupportedLayer(f"Constant {node.output[0]!r} holds no numbers.")


_INPUT_TYPES = frozenset({"float32", "float16", "float64", "uint8", "int8", "int32", "int64"})


def _input(value: onnx.ValueInfoProto, size: tuple[int, int] | None) -> GraphInput:
    from onnx import helper

    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise UnsupportedLayer(f"Input {value.name!r} is no tensor of known rank.")
    try:
        dtype = str(np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)))
    except (KeyError, TypeError):
        dtype = "unknown"
    if dtype not in _INPUT_TYPES:
        raise UnsupportedLayer(f"Input {value.name!r} is of type {dtype}; numbers are wanted.")
    # A size of 0 or less is an exporter's way to say that it is free.
    dims = [dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim]
    if not dims:
        raise UnsupportedLayer(f"Input {value.name!r} has no batch axis.")
    axis = _channel_axis(dims)
    if size is not None and len(dims) == 4:
        for position, side in zip([p for p in (1, 2, 3) if p != axis], size, strict=True):
            dims[position] = side
    return GraphInput(tensor=value.name, layer=value.name, shape=tuple(dims), channel_axis=axis, dtype=dtype)


def _channel_axis(dims: list[int | None]) -> int:
    """NCHW, unless only the last axis can be the colours."""
    if len(dims) != 4:
        return 1 if len(dims) != 3 else 2
    return 3 if dims[3] in (1, 3, 4) and dims[1] not in (1, 3, 4) else 1


def _shapes(
    model: onnx.ModelProto,
    nodes: list[onnx.NodeProto],
    weights: Mapping[str, NDArray[Any]],
    inputs: list[GraphInput],
    budget: Budget,
) -> dict[str, tuple[int | None, ...]]:
    """Shape of every float tensor, for a batch of one (or the fixed batch), by ONNX's shape inference.

    The graph inferred on holds the nodes and the shapes of the weights, but not their values: only the small
    integers that shapes are computed from.
    """
    import onnx
    from onnx import TensorProto, helper

    slim = onnx.ModelProto()
    slim.ir_version = max(model.ir_version, 3)
    slim.opset_import.extend(model.opset_import)
    slim.graph.name = "shapes"
    slim.graph.node.extend(nodes)
    slim.graph.output.extend(model.graph.output)
    for entry in inputs:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(entry.dtype))
        dims = [entry.shape[0] or 1, *(size or f"free{i}" for i, size in enumerate(entry.shape[1:], 1))]
        slim.graph.input.append(helper.make_tensor_value_info(entry.tensor, kind, dims))
    for name, array in weights.items():
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = TensorProto(name=name, data_type=kind, dims=array.shape)
        if array.nbytes <= 4096:
            tensor.raw_data = array.tobytes()
            slim.graph.initializer.append(tensor)
        else:
            slim.graph.input.append(helper.make_tensor_value_info(name, kind, array.shape))
    try:
        inferred = onnx.shape_inference.infer_shapes(slim, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise DamagedFile(f"The model contradicts itself: {str(error)[:300]}") from error
    shapes: dict[str, tuple[int | None, ...]] = {}
    concrete = all(None not in entry.shape[1:] for entry in inputs)
    makers = {name: node for node in nodes for name in node.output}
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        tensor = value.type.tensor_type
        if not tensor.HasField("shape"):
            continue
        dims = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
        if any(size is not None and size < 0 for size in dims):
            raise DamagedFile(f"Tensor {value.name!r} has a negative size: {dims}.")
        budget.allow(8 * prod(size or 1 for size in dims), f"Tensor {value.name!r}")
        shapes[value.name] = dims
    if concrete:
        for name, node in makers.items():
            if node.op_type in _ANY_SIZE and name and None in shapes.get(name, (None,)):
                raise RefusedFile(
                    f"Node {node.name or name!r} ({node.op_type}) makes a tensor whose size cannot be known "
                    "before running it. Simplify the model first (onnxsim folds such sizes)."
                )
    return shapes


def _rows(
    nodes: list[onnx.NodeProto],
    weights: Mapping[str, NDArray[Any]],
    inputs: list[GraphInput],
    shapes: Mapping[str, tuple[int | None, ...]],
) -> list[LayerOutput]:
    """The inputs, and each operator that makes floats from them."""
    rows: list[LayerOutput] = []
    names: dict[str, int] = {}
    counted: set[str] = set()
    layer_of: dict[str, tuple[str, ...]] = {}
    axis_of: dict[str, int] = {}
    rank_of: dict[str, int] = {}

    def unique(name: str) -> str:
        names[name] = names.get(name, 0) + 1
        return name if names[name] == 1 else unique(f"{name}#{names[name]}")

    for entry in inputs:
        name = unique(entry.layer)
        layer_of[entry.tensor] = (name,)
        axis_of[entry.tensor] = entry.channel_axis
        rank_of[entry.tensor] = len(entry.shape)
        shape = _layer_shape(entry.shape, entry.channel_axis)
        layer = Layer(name=name, kind="Input", family="input", shape=shape)
        rows.append(LayerOutput(layer=layer, tensor=entry.tensor, channel_axis=entry.channel_axis))
    for node in nodes:
        sources = [layer_of[name] for name in node.input if name in layer_of]
        if not sources or not node.output:
            continue
        takes = tuple(dict.fromkeys(name for source in sources for name in source))
        out = node.output[0]
        dims = shapes.get(out)
        rank_of[out] = len(dims) if dims is not None else rank_of[node.input[0]]
        axis = axis_of[out] = _output_axis(node, axis_of, rank_of, shapes)
        if dims is None or len(dims) < 2 or node.op_type in ("Shape", "Size"):
            # Not values of a picture: a shape, a scalar. What uses it still knows where it came from.
            layer_of.update((name, takes) for name in node.output)
            continue
        own = [name for name in node.input if name in weights and name not in counted]
        own = [name for name in own if weights[name].dtype.kind == "f"]
        counted.update(own)
        parameters = sum(weights[name].size for name in own)
        name = unique((node.name or out).strip("/"))
        layer = Layer(
            name=name,
            kind=node.op_type,
            family=_FAMILIES.get(node.op_type, "other"),
            shape=_layer_shape(dims, axis),
            parameters=parameters,
            trainable=parameters,
            inputs=takes,
        )
        rows.append(LayerOutput(layer=layer, tensor=out, channel_axis=axis))
        layer_of.update((output, (name,)) for output in node.output)
        axis_of.update((output, axis) for output in node.output)
        rank_of.update((output, rank_of[out]) for output in node.output)
    return rows


def _layer_shape(dims: tuple[int | None, ...], axis: int) -> Shape:
    rest = [size for position, size in enumerate(dims) if position not in (0, axis)]
    return (*rest, dims[axis])


def _output_axis(
    node: onnx.NodeProto,
    axis_of: Mapping[str, int],
    rank_of: Mapping[str, int],
    shapes: Mapping[str, tuple[int | None, ...]],
) -> int:
    """Where the channels of a node's output lie, followed from operator to operator."""
    rank = rank_of[node.output[0]]
    if rank <= 2:
        return rank - 1
    if node.op_type in _CHANNELS_SECOND:
        return 1
    if node.op_type in _CHANNELS_LAST:
        return rank - 1
    known = next((name for name in node.input if name in axis_of and rank_of[name] == rank), None)
    if known is None or node.op_type == "Reshape":
        before = axis_of.get(node.input[0], 1)
        old, new = shapes.get(node.input[0], ()), shapes.get(node.output[0], ())
        kept = before == 1 and len(old) > 1 and len(new) > 1 and old[1] == new[1]
        return 1 if kept or rank >= 4 else rank - 1
    axis = axis_of[known]
    if node.op_type == "Transpose":
        order = next((list(a.ints) for a in node.attribute if a.name == "perm"), list(range(rank))[::-1])
        return order.index(axis) or rank - 1
    return axis
