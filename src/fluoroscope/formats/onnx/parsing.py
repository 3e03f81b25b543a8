"""`.onnx` bytes to a graph that is sound: decoded within bounds, of standard operators, every name made once
and before it is used, every attribute of the type and range its operator takes.

What passes here may still contradict itself in its shapes; that is for the trace to find.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

from fluoroscope.errors import BudgetExceeded, DamagedFile, RefusedFile, UnknownFormat, UnsupportedLayer
from fluoroscope.formats.onnx.functions import inlined
from fluoroscope.formats.onnx.operators import BOUNDS
from fluoroscope.formats.onnx.wire import decoded_size
from fluoroscope.network.nodes import reads, title

if TYPE_CHECKING:
    import onnx

OLDEST_OPSET = 7
"""onnxruntime runs no older one."""

MOST_NODES = 20_000
"""Ten times the largest network of image classification known here."""

_MOST_WEIGHTS = 5 * MOST_NODES
_MOST_OF_A_NODE = 4096
"""Tensors a node takes or makes, and its attributes."""

_LONGEST_NAME = 1000
_ROOM = 2**26
"""Bytes that all nodes and names of a model may take when they are decoded, beside its weights."""

_SMALL_FILE = 2**22
"""Files up to this size cannot take more than a few hundred megabytes however they are made."""

_DOMAINS = frozenset({"", "ai.onnx"})
_SUBGRAPHS = frozenset({5, 10})
_MOST_SHOWN = 60


def parse(data: bytes) -> tuple[onnx.ModelProto, list[onnx.NodeProto], int]:
    """Decode and check a model.

    Returns
    -------
    model, nodes, opset
        The nodes are in topological order; ONNX's own domain is written "". Those of others, and control
        flow, are there too: `why_not_run` tells. Functions are put in where they are called.

    Raises
    ------
    DamagedFile, UnknownFormat, RefusedFile, UnsupportedLayer, BudgetExceeded
    """
    model = decode(data)
    _check_counts(model)
    opset = _check_dialect(model)
    if model.functions:
        model = inlined(model, nodes=MOST_NODES, size=2 * len(data) + _ROOM, opset=opset)
        _check_counts(model)
    for node in model.graph.node:
        # Optional tensors that are left out at the end need no place; onnxruntime 1.31 crashes over some.
        for tensors in (node.input, node.output):
            while tensors and not tensors[-1]:
                del tensors[-1]
        _check_node(node)
    _check_schemas(model.graph.node, opset)
    return model, _in_order(model.graph), opset


def decode(data: bytes) -> onnx.ModelProto:
    """Decode a model within bounds; nothing else of it is checked.

    Raises
    ------
    DamagedFile, UnknownFormat, BudgetExceeded
    """
    import onnx
    from google.protobuf.message import DecodeError

    if len(data) > _SMALL_FILE:
        limit = 2 * len(data) + _ROOM
        size = decoded_size(data, onnx.ModelProto.DESCRIPTOR, limit=limit)
        if size > limit:
            raise BudgetExceeded(
                "Decoding this ONNX file would take many times its size in memory: it holds millions of tiny "
                "parts. Nothing was decoded. No exporter writes such files."
            )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise DamagedFile(f"This looks like ONNX but cannot be decoded: {error}.") from error
    if not model.graph.node or not model.opset_import:
        raise UnknownFormat("This is no ONNX model: it holds no graph. Is the file complete?")
    return model


def _check_counts(model: onnx.ModelProto) -> None:
    graph = model.graph
    for what, count, most in (
        ("operators", len(graph.node), MOST_NODES),
        ("weights", len(graph.initializer), _MOST_WEIGHTS),
        ("inputs", len(graph.input), _MOST_WEIGHTS),
        ("outputs", len(graph.output), _MOST_WEIGHTS),
    ):
        if count > most:
            raise BudgetExceeded(f"This ONNX model has {count:,} {what}; up to {most:,} are read.")
    for name in (model.producer_name, model.producer_version, *_names(graph)):
        # Protobuf hands over text that is not UTF-8 as bytes.
        if not isinstance(name, str):
            raise DamagedFile(f"A name in this ONNX model is not UTF-8: {bytes(name)[:_MOST_SHOWN]!r}.")
        if len(name) > _LONGEST_NAME:
            raise DamagedFile(
                f"A name in this ONNX model has {len(name):,} characters ({_short(name)}); up to "
                f"{_LONGEST_NAME:,} are read."
            )


def _names(graph: onnx.GraphProto) -> Iterator[str | bytes]:
    yield graph.name
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name
    for node in graph.node:
        yield node.name
        yield node.op_type
        yield node.domain
        yield from node.input
        yield from node.output
        yield from (attribute.name for attribute in node.attribute)


def _check_dialect(model: onnx.ModelProto) -> int:
    """The operator set, if all operators are of it and it can be run."""
    from onnx.defs import onnx_opset_version

    opset = max((entry.version for entry in model.opset_import if entry.domain in _DOMAINS), default=0)
    if not OLDEST_OPSET <= opset <= onnx_opset_version():
        raise UnsupportedLayer(
            f"This model uses ONNX operator set {opset}; {OLDEST_OPSET} to {onnx_opset_version()} can be "
            "run. onnx.version_converter brings it to one of these."
        )
    if model.graph.sparse_initializer:
        raise UnsupportedLayer(
            "This model has sparse weights, which are not read. Export it with dense ones."
        )
    return opset


def why_not_run(node: onnx.NodeProto) -> str | None:
    """Why a node is never run, whatever it takes; None for ONNX's own operators that are no control flow."""
    if node.domain not in _DOMAINS:
        return (
            f"node {title(node)} is of an operator outside standard ONNX ({_short(node.domain)}), which is "
            "not run. Export the network with standard operators only."
        )
    if any(attribute.type in _SUBGRAPHS for attribute in node.attribute):
        return (
            f"node {title(node)} is control flow: what it would cost cannot be known before running it. "
            "Export the network without loops and branches."
        )
    return None


def _check_node(node: onnx.NodeProto) -> None:
    """What can be said of a node alone."""
    from onnx import TensorProto

    if not any(node.output) or not node.op_type:
        raise DamagedFile(f"Node {title(node)} makes nothing, or is of no type.")
    if max(len(node.input), len(node.output), len(node.attribute)) > _MOST_OF_A_NODE:
        raise DamagedFile(f"Node {title(node)} takes or makes more than {_MOST_OF_A_NODE:,} tensors.")
    if why_not_run(node) is not None:
        return
    for attribute in node.attribute:
        # onnxruntime would print what it cannot decode, and start anew.
        if not all(word.isascii() for word in (attribute.s, *attribute.strings)):
            raise DamagedFile(
                f"Node {title(node)} has the setting {attribute.name} {attribute.s[:_MOST_SHOWN]!r}."
            )
        # ONNX's checker would look for the file.
        if any(
            tensor.data_location == TensorProto.EXTERNAL or tensor.external_data
            for tensor in (attribute.t, *attribute.tensors)
        ):
            raise RefusedFile(
                f"A setting of node {title(node)} lies in another file. It is not opened: only weights are "
                "read from files beside the model. Save the model as one file."
            )
        low, high = BOUNDS.get(attribute.name, (-inf, inf))
        wrong = [number for number in _numbers(attribute) if not low <= number <= high]
        if wrong:
            raise DamagedFile(
                f"Node {title(node)} has {attribute.name} {wrong[0]}; {low} to {high} are possible."
            )


def _numbers(attribute: onnx.AttributeProto) -> Sequence[float]:
    kinds = {1: [attribute.f], 2: [attribute.i], 6: attribute.floats, 7: attribute.ints}
    return kinds.get(attribute.type, [])


def _check_schemas(nodes: Sequence[onnx.NodeProto], opset: int) -> None:
    """Hold each node against its operator's schema: types of attributes, numbers of inputs and outputs."""
    from onnx import checker, helper

    context = checker.C.CheckerContext()
    context.ir_version = helper.VERSION_TABLE[-1][1]
    context.opset_imports = {"": opset}
    for node in nodes:
        if why_not_run(node) is not None:
            continue
        node.domain = ""
        try:
            checker.check_node(node, context)
        except (checker.ValidationError, UnicodeDecodeError) as error:
            # Its message quotes what it found, which may be no text.
            line = (str(error).strip().splitlines() or ["it is not valid"])[0]
            raise DamagedFile(f"Node {title(node)} is no valid ONNX: {line[:300]}") from error


def _in_order(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes, each behind those it takes from; in the file's order where that is such an order."""
    given = _given(graph)
    makers: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in makers or name in given:
                raise DamagedFile(f"Tensor {_short(name)} is made twice, the second time by {title(node)}.")
            makers[name] = index
    waiting: dict[int, list[int]] = {}
    missing: list[int] = []
    for index, node in enumerate(graph.node):
        stray = next((name for name in reads(node) if name not in makers and name not in given), None)
        if stray is not None:
            raise DamagedFile(f"Node {title(node)} takes {_short(stray)}, which nothing makes.")
        needs = {makers[name] for name in reads(node) if name in makers}
        missing.append(len(needs))
        for other in needs:
            waiting.setdefault(other, []).append(index)
    ready = [index for index, count in enumerate(missing) if not count]
    ordered: list[onnx.NodeProto] = []
    while ready:
        index = heappop(ready)
        ordered.append(graph.node[index])
        for other in waiting.get(index, ()):
            missing[other] -= 1
            if not missing[other]:
                heappush(ready, other)
    if len(ordered) < len(graph.node):
        stuck = graph.node[next(index for index, count in enumerate(missing) if count)]
        raise DamagedFile(f"Node {title(stuck)} is in a circle of nodes that wait for each other.")
    return ordered


def _given(graph: onnx.GraphProto) -> set[str]:
    """Names of inputs and weights. Up to version 3 of the format weights are listed among the inputs."""
    for what, values in (("weights", graph.initializer), ("inputs", graph.input)):
        names = [value.name for value in values]
        if len(set(names)) < len(names) or "" in names:
            name = next(name for place, name in enumerate(names) if not name or name in names[:place])
            raise DamagedFile(f"Two {what} are called {_short(name)}, or one has no name.")
    return {value.name for value in (*graph.initializer, *graph.input)}


def _short(name: str) -> str:
    return repr(name if len(name) <= _MOST_SHOWN else f"{name[:_MOST_SHOWN]}…")
