"""Reading ONNX nodes: their attributes, what they take, and which of them some tensors need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def integers(node: onnx.NodeProto, name: str) -> list[int] | None:
    """A list attribute; None where the node leaves it out."""
    found = _attribute(node, name)
    return list(found.ints) if found is not None else None


def integer(node: onnx.NodeProto, name: str, default: int) -> int:
    """A number attribute."""
    found = _attribute(node, name)
    return found.i if found is not None else default


def text(node: onnx.NodeProto, name: str, default: str) -> str:
    """A text attribute."""
    found = _attribute(node, name)
    return found.s.decode("ascii", "replace") if found is not None else default


def title(node: onnx.NodeProto) -> str:
    """How a message names a node: ``'conv1' (Conv)``. Unnamed ones go by what they make."""
    name = node.name or next((output for output in node.output if output), "?")
    return f"{name!r} ({node.op_type})"


def reads(node: onnx.NodeProto) -> Iterable[str]:
    """Names of the tensors a node takes. Optional ones left out have none.

    A loop takes what its body uses of the tensors around it as well.
    """
    names = (name for name in node.input if name)
    return chain(names, _captured(node)) if node.op_type == LOOP else names


def _captured(node: onnx.NodeProto) -> Iterable[str]:
    inner = body(node)
    own = {entry.name for entry in inner.input}
    own.update(name for part in inner.node for name in part.output)
    return dict.fromkeys(name for part in inner.node for name in reads(part) if name not in own)


def body(node: onnx.NodeProto) -> onnx.GraphProto:
    """What a loop does at each step."""
    found = _attribute(node, "body")
    assert found is not None
    return found.g


LOOP = "Scan"
"""The one operator with a graph in it. Only translated networks have it: files that hold one are refused."""


def needed_nodes(nodes: Sequence[onnx.NodeProto], tensors: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes that `tensors` depend on, in their order."""
    makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    wanted: set[int] = set()
    stack = [makers[name] for name in tensors if name in makers]
    while stack:
        index = stack.pop()
        if index not in wanted:
            wanted.add(index)
            stack.extend(makers[name] for name in reads(nodes[index]) if name in makers)
    return [nodes[index] for index in sorted(wanted)]


def _attribute(node: onnx.NodeProto, name: str) -> onnx.AttributeProto | None:
    return next((attribute for attribute in node.attribute if attribute.name == name), None)
