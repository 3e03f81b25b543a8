"""Whole numbers that stand for others: the scale and zero point of each tensor of a quantized graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from fluoroscope.network.nodes import integer

if TYPE_CHECKING:
    import onnx

_GIVEN: Mapping[str, tuple[int, int]] = {
    "QLinearConv": (6, 7),
    "QLinearMatMul": (6, 7),
    "QuantizeLinear": (1, 2),
}
"""Operators that make quantized numbers -> which of their inputs are scale and zero point."""

_PASSING = frozenset(
    "DepthToSpace Dropout Flatten Gather Identity MaxPool Reshape Slice SpaceToDepth Split Squeeze Transpose "
    "Unsqueeze".split()
)
"""Operators that pass quantized numbers on as they are."""


def dequantizing(nodes: Sequence[onnx.NodeProto], wanted: Iterable[str]) -> dict[str, onnx.NodeProto]:
    """A node for each of the tensors wanted that is quantized: it makes the numbers that are meant.

    Parameters
    ----------
    nodes
        In topological order.

    Returns
    -------
    dict
        By tensor. The node's output has a name of its own.
    """
    from onnx import helper

    meanings: dict[str, tuple[list[str], int | None]] = {}
    taken: set[str] = set()
    for node in nodes:
        taken.update(node.output)
        if node.op_type in _GIVEN:
            scale, zero = (
                node.input[place] if place < len(node.input) else "" for place in _GIVEN[node.op_type]
            )
            # A scale for each channel is told apart from one for all by its size alone.
            axis = integer(node, "axis", 1) if node.op_type == "QuantizeLinear" else None
            meanings[node.output[0]] = ([scale, zero], axis)
        elif node.op_type == "DynamicQuantizeLinear":
            meanings[node.output[0]] = (list(node.output[1:3]), None)
        elif node.op_type in _PASSING and node.input[0] in meanings:
            meanings.update((name, meanings[node.input[0]]) for name in node.output if name)
        elif node.op_type == "Concat" and node.input[0] in meanings:
            first = meanings[node.input[0]]
            if all(meanings.get(name) == first for name in node.input):
                meanings[node.output[0]] = first
    added: dict[str, onnx.NodeProto] = {}
    for name in dict.fromkeys(wanted):
        if name in meanings:
            numbers, axis = meanings[name]
            made = f"{name}:dequantized"
            while made in taken:
                made += "'"
            inputs = [name, *(numbers if numbers[1] else numbers[:1])]
            node = helper.make_node("DequantizeLinear", inputs, [made])
            if axis is not None and axis != 1:
                node.attribute.append(helper.make_attribute("axis", axis))
            added[name] = node
    return added
