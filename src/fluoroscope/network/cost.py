"""What running a graph would cost, from the shapes of its tensors alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from fluoroscope.network.nodes import LOOP, body, integer, integers, reads, text, title
from fluoroscope.network.tensors import TensorType
from fluoroscope.network.tracing import Trace

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """An estimate from above, but for what onnxruntime keeps for itself (some tens of megabytes).

    Attributes
    ----------
    memory
        Bytes alive at the worst moment: activations asked for, activations still needed, scratch space. Not
        the weights.
    worst
        The node at work at that moment.
    work
        Multiplications, or comparable steps.
    """

    memory: int
    worst: str
    work: int


def cost(nodes: Sequence[onnx.NodeProto], traced: Trace, inputs: Iterable[str], kept: Iterable[str]) -> Cost:
    """Cost of running `nodes` in their order.

    Parameters
    ----------
    inputs
        Tensors that are fed; they stay for the whole run.
    kept
        Tensors that are to come out; they stay to the end.

    Notes
    -----
    Tensors of no known size count as nothing: `Trace.unknown` says which they are.
    """
    types = traced.types
    last = {name: index for index, node in enumerate(nodes) for name in reads(node)}
    fed = [name for name in inputs if name in last]
    staying, passing = {*fed, *kept}, set[str]()
    alive = sum(types[name].nbytes for name in fed)
    memory, worst, work = alive, "", 0
    for index, node in enumerate(nodes):
        alive += sum(types[name].nbytes for name in node.output if name in types)
        now = alive + _scratch(node, types)
        if now > memory:
            memory, worst = now, title(node)
        work += _work(node, types)
        # What is made of weights alone is computed once, before the first run, and stays.
        if any(name in passing or name in fed for name in reads(node)):
            passing.update(name for name in node.output if name)
        done = {name for name in (*reads(node), *node.output) if last.get(name, index) == index}
        alive -= sum(types[name].nbytes for name in (done & passing) - staying if name in types)
    return Cost(memory=memory, worst=worst, work=work)


_Types = Mapping[str, TensorType]


def _scratch(node: onnx.NodeProto, types: _Types) -> int:
    """Bytes that onnxruntime takes beside what it makes: unfolded pictures, padded channels."""
    if node.op_type == "ConvTranspose" and _know(node, types, 2):
        image, kernel = types[node.input[0]], types[node.input[1]]
        return 4 * prod(_sizes(kernel)[1:]) * prod(_sizes(image)[2:])
    if node.op_type == LOOP:
        made = (name for part in body(node).node for name in part.output)
        return sum(types[name].nbytes for name in made if name in types)
    if node.op_type == "LRN" and _know(node, types, 1):
        sizes = _sizes(types[node.input[0]])
        return 4 * (sizes[1] + integer(node, "size", 1)) * prod(sizes[2:])
    if node.op_type in ("ConvInteger", "QLinearConv") and node.output[0] in types:
        kernel = types.get(node.input[1 if node.op_type == "ConvInteger" else 3])
        return prod(_sizes(kernel)[1:]) * prod(_sizes(types[node.output[0]])[2:]) if kernel else 0
    return 0


def _work(node: onnx.NodeProto, types: _Types) -> int:
    taken = sum(types[name].elements for name in reads(node) if name in types)
    made = sum(types[name].elements for name in node.output if name in types)
    if node.op_type == LOOP:
        steps = types[node.input[-1]].shape[1] or 1 if node.input[-1] in types else 1
        return steps * sum(_work(part, types) for part in body(node).node) + made
    times = _TIMES.get(node.op_type)
    if times is None or not all(name in types for name in (*reads(node), node.output[0])):
        return taken + made
    return taken + times(node, types, made)


def _convolved(node: onnx.NodeProto, types: _Types, made: int) -> int:
    kernel = types[node.input[3 if node.op_type == "QLinearConv" else 1]]
    return made * prod(_sizes(kernel)[1:])


def _convolved_back(node: onnx.NodeProto, types: _Types, made: int) -> int:
    return types[node.input[0]].elements * prod(_sizes(types[node.input[1]])[1:]) + made


def _pooled(node: onnx.NodeProto, types: _Types, made: int) -> int:
    return made * prod(integers(node, "kernel_shape") or [1])


def _multiplied(node: onnx.NodeProto, types: _Types, made: int) -> int:
    sizes = _sizes(types[node.input[0]])
    return made * (sizes[0 if integer(node, "transA", 0) else -1] if sizes else 1)


def _summed(node: onnx.NodeProto, types: _Types, made: int) -> int:
    """Einsum: one step for each combination of all its indices."""
    sizes: dict[str, int] = {}
    terms = text(node, "equation", "").replace(" ", "").split("->")[0].split(",")
    for term, name in zip(terms, reads(node), strict=False):
        sizes.update(zip(term, _sizes(types[name]), strict=False))
    return max(made, prod(sizes.values()))


def _recurrent(node: onnx.NodeProto, types: _Types, made: int) -> int:
    steps = prod(_sizes(types[node.input[0]])[:2])
    return steps * sum(types[name].elements for name in node.input[1:3]) + made


def _resized(node: onnx.NodeProto, types: _Types, made: int) -> int:
    return 16 * made


def _normalised_across(node: onnx.NodeProto, types: _Types, made: int) -> int:
    return made * max(1, integer(node, "size", 1))


def _know(node: onnx.NodeProto, types: _Types, count: int) -> bool:
    return all(name in types for name in node.input[:count])


def _sizes(kind: TensorType) -> list[int]:
    return [1 if size is None else size for size in kind.shape]


_TIMES: dict[str, Callable[[onnx.NodeProto, _Types, int], int]] = {
    **dict.fromkeys(("Conv", "ConvInteger", "QLinearConv", "DeformConv"), _convolved),
    "ConvTranspose": _convolved_back,
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), _pooled),
    **dict.fromkeys(("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul"), _multiplied),
    "Einsum": _summed,
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    **dict.fromkeys(("Resize", "Upsample"), _resized),
    "LRN": _normalised_across,
}
"""Operators that do more than touch each value once -> steps for the values made."""
