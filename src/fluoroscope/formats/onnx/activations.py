"""Activations that are written out as arithmetic: ``x * sigmoid(x)`` is Swish, however it is spelled.

Exporters of older operator sets write Swish, HardSwish, Mish and GELU as up to nine nodes, each in its own
order. What they compute is found by computing it: a group of nodes that are a function of one tensor is put
on a few numbers, and compared with the activations that are known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import erf, pi, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.formats.onnx.operators import ACTIVATIONS
from fluoroscope.network.nodes import reads

if TYPE_CHECKING:
    import onnx

_Array = NDArray[np.float64]

_POINTS: _Array = np.array([-7.0, -3.5, -3.0, -2.2, -1.3, -0.6, -0.1, 0.0, 0.2, 0.7, 1.4, 2.6, 3.0, 3.7, 8.0])
_TOLERANCE = 2e-3
"""For the constants of half floats. Only the two kinds of GELU are nearer to each other than that."""

_LONGEST = 12
"""Nodes of the longest way to write one."""

_ERF = np.vectorize(erf, otypes=[np.float64])


def _sigmoid(x: _Array) -> _Array:
    return 1 / (1 + np.exp(-x))


def _softplus(x: _Array) -> _Array:
    return np.logaddexp(0, x)


KNOWN: Mapping[str, tuple[str, Callable[[_Array], _Array]]] = {
    "relu6": ("Clip", lambda x: np.clip(x, 0, 6)),
    "hard_sigmoid": ("HardSigmoid", lambda x: np.clip(x / 6 + 0.5, 0, 1)),
    "silu": ("Swish", lambda x: x * _sigmoid(x)),
    "hard_swish": ("HardSwish", lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "mish": ("Mish", lambda x: x * np.tanh(_softplus(x))),
    "gelu": ("Gelu", lambda x: x * 0.5 * (1 + _ERF(x / sqrt(2)))),
    "gelu_tanh": ("Gelu", lambda x: x * 0.5 * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))),
    "quick_gelu": ("Swish", lambda x: x * _sigmoid(1.702 * x)),
}
"""Name -> the ONNX operator that computes it in newer sets, and its formula."""

_Rule = Callable[[Sequence[_Array]], _Array]

_RULES: Mapping[str, _Rule] = {
    "Add": lambda a: a[0] + a[1],
    "Sub": lambda a: a[0] - a[1],
    "Mul": lambda a: a[0] * a[1],
    "Div": lambda a: a[0] / a[1],
    "Pow": lambda a: a[0] ** a[1],
    "Max": lambda a: np.maximum(a[0], a[1]),
    "Min": lambda a: np.minimum(a[0], a[1]),
    "Erf": lambda a: _ERF(a[0]),
    "Exp": lambda a: np.exp(a[0]),
    "Log": lambda a: np.log(a[0]),
    "Neg": lambda a: -a[0],
    "Relu": lambda a: np.maximum(a[0], 0),
    "Sigmoid": lambda a: _sigmoid(a[0]),
    "Softplus": lambda a: _softplus(a[0]),
    "Tanh": lambda a: np.tanh(a[0]),
    "Reciprocal": lambda a: 1 / a[0],
}
_SETTINGS = frozenset({"Clip", "HardSigmoid"})
_LASTS = frozenset({"Mul", "Div", "Clip"})
"""What the last node of an activation can be."""


@dataclass(frozen=True, slots=True)
class WrittenOut:
    """Nodes that are one activation together.

    Attributes
    ----------
    name
        As `KNOWN`.
    operator
        The ONNX operator that does the same.
    source
        The tensor it is a function of.
    nodes
        In order; the last makes the value.
    """

    name: str
    operator: str
    source: str
    nodes: tuple[onnx.NodeProto, ...]


def written_out(
    nodes: Sequence[onnx.NodeProto], constants: Mapping[str, NDArray[Any]], kept: frozenset[str]
) -> list[WrittenOut]:
    """The activations among `nodes`, none within another.

    Parameters
    ----------
    constants
        Small tensors whose values are known.
    kept
        Tensors that must stay to be had: outputs of the network.
    """
    makers = {name: node for node in nodes for name in node.output if name}
    takers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in dict.fromkeys(reads(node)):
            takers.setdefault(name, []).append(node)
    taken: set[str] = set()
    found: list[WrittenOut] = []
    for node in reversed(nodes):
        if node.op_type in _LASTS and node.output[0] not in taken:
            one = _ending_in(node, makers, takers, constants, kept)
            if one is not None and not any(part.output[0] in taken for part in one.nodes):
                found.append(one)
                taken.update(part.output[0] for part in one.nodes)
    return found[::-1]


def activation_of(node: onnx.NodeProto, constants: Mapping[str, NDArray[Any]]) -> str | None:
    """What the activation is called that one node is; None for a node that is none.

    Parameters
    ----------
    constants
        Small tensors whose values are known.
    """
    name = ACTIVATIONS.get(node.op_type)
    if node.op_type == "Clip":
        return _named(node.input[0], [node], constants) or name
    return name


def _ending_in(
    last: onnx.NodeProto,
    makers: Mapping[str, onnx.NodeProto],
    takers: Mapping[str, Sequence[onnx.NodeProto]],
    constants: Mapping[str, NDArray[Any]],
    kept: frozenset[str],
) -> WrittenOut | None:
    """Walk back from a node until all that it is made of is one tensor; compare whenever that is so."""
    group: list[onnx.NodeProto] = [last]
    open_ends = _variables(last, constants)
    best: WrittenOut | None = None
    while open_ends is not None and len(group) <= _LONGEST:
        inside = {part.output[0] for part in group}
        if len(open_ends) == 1:
            (source,) = open_ends
            # All values in between must be its own, or something else would lose what it takes.
            closed = all(
                part is last
                or (
                    part.output[0] not in kept
                    and all(taker.output[0] in inside for taker in takers.get(part.output[0], ()))
                )
                for part in group
            )
            name = _named(source, group[::-1], constants) if closed and len(group) > 1 else None
            if name is not None:
                best = WrittenOut(name, KNOWN[name][0], source, tuple(group[::-1]))
                break
        # Nearest to the end first: of what is open, that which nothing else that is open depends on.
        step = _latest(open_ends, makers, inside, takers)
        if step is None or (more := _variables(step, constants)) is None:
            break
        group.append(step)
        open_ends = (open_ends - {step.output[0]}) | more
    return best


def _latest(
    ends: set[str],
    makers: Mapping[str, onnx.NodeProto],
    inside: set[str],
    takers: Mapping[str, Sequence[onnx.NodeProto]],
) -> onnx.NodeProto | None:
    """The node to take in next: one whose value goes nowhere but into the group."""
    for name in sorted(ends):
        node = makers.get(name)
        if node is None or (node.op_type not in _RULES and node.op_type not in _SETTINGS):
            continue
        if all(taker.output[0] in inside for taker in takers.get(name, ())):
            return node
    return None


def _variables(node: onnx.NodeProto, constants: Mapping[str, NDArray[Any]]) -> set[str] | None:
    """What a node takes beside single numbers; None for a node that is no function of numbers."""
    if node.op_type not in _RULES and node.op_type not in _SETTINGS:
        return None
    return {name for name in reads(node) if name not in constants or constants[name].size != 1}


def _named(source: str, group: Sequence[onnx.NodeProto], constants: Mapping[str, NDArray[Any]]) -> str | None:
    """What a group of nodes computes of its source, if it is known."""
    values: dict[str, _Array] = {source: _POINTS}
    try:
        with np.errstate(all="ignore"):
            for node in _in_order(group, source):
                arrays = [
                    values[name] if name in values else constants[name].astype(np.float64).ravel()
                    for name in reads(node)
                ]
                values[node.output[0]] = _computed(node, arrays)
    except (KeyError, IndexError, ValueError):
        return None
    result = values[group[-1].output[0]]
    if result.shape != _POINTS.shape:
        return None
    off = {name: float(np.abs(result - formula(_POINTS)).max()) for name, (_, formula) in KNOWN.items()}
    nearest = min(off, key=lambda name: off[name])
    return nearest if off[nearest] < _TOLERANCE else None


def _in_order(group: Sequence[onnx.NodeProto], source: str) -> list[onnx.NodeProto]:
    makers = {node.output[0]: node for node in group}
    done: list[onnx.NodeProto] = []
    seen = {source}

    def visit(name: str) -> None:
        if name in makers and name not in seen:
            seen.add(name)
            for before in reads(makers[name]):
                visit(before)
            done.append(makers[name])

    visit(group[-1].output[0])
    return done


def _computed(node: onnx.NodeProto, arrays: Sequence[_Array]) -> _Array:
    if node.op_type in _RULES:
        return _RULES[node.op_type](arrays)
    settings = {attribute.name: attribute.f for attribute in node.attribute}
    if node.op_type == "HardSigmoid":
        return np.clip(settings.get("alpha", 0.2) * arrays[0] + settings.get("beta", 0.5), 0, 1)
    if len(node.input) > 1:
        # A bound may be left out: what is given stands in its place.
        given = iter(arrays[1:])
        low, high = (next(given) if name else edge for name, edge in _bounds(node))
    else:
        low, high = settings.get("min", -np.inf), settings.get("max", np.inf)
    return np.clip(arrays[0], low, high)


def _bounds(node: onnx.NodeProto) -> list[tuple[str, float]]:
    names = [*node.input[1:3], "", ""][:2]
    return list(zip(names, (-np.inf, np.inf), strict=True))
