"""Functions that an ONNX model brings along, put in where they are called.

A function may call others: ten that call each other twice are a thousand nodes, and sixty more than there is
memory. So what they come to is counted before anything is put in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fluoroscope.errors import BudgetExceeded, DamagedFile, UnsupportedLayer

if TYPE_CHECKING:
    import onnx

_Key = tuple[str, str, str]


def inlined(model: onnx.ModelProto, *, nodes: int, size: int, opset: int) -> onnx.ModelProto:
    """The model without functions of its own; itself if it has none.

    Parameters
    ----------
    nodes, size
        How many nodes, and bytes of them, there may be then.
    opset
        That the model is of.

    Raises
    ------
    BudgetExceeded
        It would be more.
    DamagedFile
        A function calls itself.
    UnsupportedLayer
        A function is of another operator set.
    """
    if not model.functions:
        return model
    _check(model, nodes=nodes, size=size, opset=opset)
    from onnx import inliner

    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # its C++ throws RuntimeError, and errors of its own
        raise DamagedFile(f"The functions of this ONNX model cannot be put in: {str(error)[:300]}") from error


def _check(model: onnx.ModelProto, *, nodes: int, size: int, opset: int) -> None:
    functions = {(one.domain, one.name, one.overload): one for one in model.functions}
    costs: dict[_Key, tuple[int, int]] = {}
    # Depth first, by hand: a thousand functions may call each other in a row.
    for start in functions:
        stack: list[tuple[_Key, bool]] = [(start, False)]
        open_calls: set[_Key] = set()
        while stack:
            key, done = stack.pop()
            called = [call for call in _calls(functions[key].node) if call in functions]
            if done:
                open_calls.discard(key)
                costs[key] = _cost(functions[key].node, functions[key].ByteSize(), costs)
            elif key not in costs:
                if key in open_calls:
                    raise DamagedFile(f"Function {key[1][:60]!r} of this ONNX model calls itself.")
                open_calls.add(key)
                stack.append((key, True))
                if not open_calls.isdisjoint(called):
                    raise DamagedFile(f"Function {key[1][:60]!r} of this ONNX model calls itself.")
                stack.extend((call, False) for call in dict.fromkeys(called) if call not in costs)
    count, total = _cost(model.graph.node, 0, costs)
    if count > nodes or total > size:
        raise BudgetExceeded(
            f"With its functions put in, this ONNX model has {count:,} operators; up to {nodes:,} are read. "
            "Nothing was put in."
        )
    for one in model.functions:
        versions = {entry.version for entry in one.opset_import if entry.domain in ("", "ai.onnx")}
        if versions - {opset}:
            raise UnsupportedLayer(
                f"Function {one.name[:60]!r} of this ONNX model is of operator set {max(versions)}, the "
                f"model of {opset}. Export it again, or put its functions in with onnx.inliner."
            )


def _cost(nodes: Sequence[onnx.NodeProto], size: int, costs: dict[_Key, tuple[int, int]]) -> tuple[int, int]:
    """Nodes and bytes that a body comes to, with all that it calls."""
    count = 0
    for call in _calls(nodes):
        more, bytes_ = costs.get(call, (1, 0))
        count += more
        size += bytes_
    return count, size


def _calls(nodes: Iterable[onnx.NodeProto]) -> list[_Key]:
    """What each node calls, those in branches and loops included."""
    found: list[_Key] = []
    pending = [nodes]
    while pending:
        for node in pending.pop():
            found.append((node.domain, node.op_type, node.overload))
            for attribute in node.attribute:
                pending.extend(graph.node for graph in (attribute.g, *attribute.graphs) if graph.node)
    return found
