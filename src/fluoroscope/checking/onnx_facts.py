"""What an ONNX file says of itself, and all in it that is not run or followed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING

from fluoroscope.checking.report import Facts, Finding, WeightGroup
from fluoroscope.errors import FluoroscopeError
from fluoroscope.formats.onnx.parsing import decode

if TYPE_CHECKING:
    import onnx

_STANDARD = ("", "ai.onnx")
_LONGEST = 80
_MOST = 5


def facts(data: bytes) -> Facts:
    """What the file says; nothing where it cannot be decoded, which opening it tells.

    Never raises a `FluoroscopeError`.
    """
    try:
        model = decode(data)
    except FluoroscopeError:
        return Facts()
    graph = model.graph
    kinds = Counter(_short(node.op_type) for node in graph.node)
    return Facts(
        writer=" ".join(map(_short, filter(None, (model.producer_name, model.producer_version)))) or None,
        opsets={_short(entry.domain) or "ai.onnx": entry.version for entry in model.opset_import},
        ir_version=model.ir_version,
        kinds=dict(kinds.most_common()),
        weights=_groups(graph.initializer),
        findings=tuple(_findings(model)),
    )


def _findings(model: onnx.ModelProto) -> Iterable[Finding]:
    graph = model.graph
    tensors = [*graph.initializer, *(a.t for node in graph.node for a in node.attribute if a.HasField("t"))]
    outside = [tensor for tensor in tensors if tensor.external_data]
    if outside:
        places = dict.fromkeys(
            _short(entry.value)
            for tensor in outside
            for entry in tensor.external_data
            if entry.key == "location"
        )
        yield Finding(
            level="danger",
            message=f"{len(outside):,} of its weights lie in other files: {_listed(map(repr, places))}.",
        )
    foreign = Counter(
        f"{_short(node.domain)}.{_short(node.op_type)}" for node in graph.node if node.domain not in _STANDARD
    )
    if foreign:
        yield Finding(
            level="danger",
            message="It uses operators outside standard ONNX, which need a library to run: "
            f"{_listed(foreign)}.",
        )
    flow = [node for node in graph.node if any(a.HasField("g") or a.graphs for a in node.attribute)]
    if flow:
        yield Finding(
            level="danger",
            message="It has loops or branches, which may run for ever: "
            f"{_listed(dict.fromkeys(_short(node.op_type) for node in flow))}.",
        )
    if model.functions:
        names = dict.fromkeys(_short(function.name) for function in model.functions)
        yield Finding(level="note", message=f"It defines operators of its own: {_listed(names)}.")


def _groups(tensors: Iterable[onnx.TensorProto]) -> tuple[WeightGroup, ...]:
    from onnx import TensorProto, helper

    groups: dict[int, list[int]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.data_type, []).append(prod(max(size, 0) for size in tensor.dims))
    found: list[WeightGroup] = []
    for kind, sizes in groups.items():
        try:
            dtype = helper.tensor_dtype_to_np_dtype(kind)
            name, width = TensorProto.DataType.Name(kind).lower(), dtype.itemsize
        except (KeyError, TypeError, ValueError):
            name, width = f"type {kind}", 0
        name = {"float": "float32", "double": "float64"}.get(name, name)
        found.append(
            WeightGroup(dtype=name, arrays=len(sizes), parameters=sum(sizes), bytes=sum(sizes) * width)
        )
    return tuple(found)


def _listed(names: Iterable[str]) -> str:
    """The first few, and how many more."""
    listed = list(names)
    more = f" and {len(listed) - _MOST} more" if len(listed) > _MOST else ""
    return ", ".join(listed[:_MOST]) + more


def _short(text: str | bytes) -> str:
    """Protobuf hands over text that is not UTF-8 as bytes."""
    return (text if isinstance(text, str) else repr(text))[:_LONGEST]
