"""Trying a graph on shapes alone: what it takes, what varies with the picture's size, what is a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import DamagedFile, RefusedFile
from fluoroscope.formats.onnx.operators import ANY_SIZE, SHAPE_ONLY
from fluoroscope.formats.onnx.rows import Findings
from fluoroscope.network.budget import Budget
from fluoroscope.network.graph import GraphInput
from fluoroscope.network.nodes import title
from fluoroscope.network.tensors import TensorType
from fluoroscope.network.tracing import Trace, trace

if TYPE_CHECKING:
    import onnx

_TRIAL_SIZES = ((256, 256), (224, 224), (299, 299), (48, 320), (32, 320), (64, 64), (32, 32), (28, 28))
"""Height and width of the pictures that a network of free size is tried with, until one fits it."""

_TRIAL_MEMORY = 2**40
"""What a trial with two pictures, or of another size, may come to: it allocates nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What does not change from trial to trial: nodes in topological order, weights, operator set, budget."""

    nodes: Sequence[onnx.NodeProto]
    weights: Mapping[str, NDArray[Any]]
    opset: int
    budget: Budget

    def trace(
        self,
        inputs: Sequence[GraphInput],
        *,
        batch: int,
        size: tuple[int, int] = (1, 1),
        forgiving: bool = False,
        trial: bool = False,
    ) -> Trace:
        """With so many pictures, of a size where it is free.

        Only for a trial: then more than the budget is no error. Nothing is allocated for it.
        """
        types = {
            entry.tensor: TensorType(np.dtype(entry.dtype), _filled(entry, batch, size)) for entry in inputs
        }
        budget = Budget(memory=_TRIAL_MEMORY) if trial else self.budget
        return trace(self.nodes, self.weights, types, self.opset, budget, forgiving=forgiving)


def _filled(entry: GraphInput, batch: int, size: tuple[int, int]) -> tuple[int, ...]:
    """An input's shape with the free sizes filled in: the first by the height, others by the width."""
    sides = iter((size[0], *[size[1]] * len(entry.shape)))
    rest = [side if side is not None else next(sides) for side in entry.shape[1:]]
    return (batch, *rest)


def examine(
    graph: Subject, inputs: Sequence[GraphInput], problems: Mapping[str, str]
) -> tuple[list[GraphInput], Findings]:
    """Try the graph with one picture and with two, and with two sizes where that is free.

    A file that fixes its batch, but would take any, is given any. One that says any, but was written for a
    batch of one, is given one picture at a time.

    Parameters
    ----------
    inputs
        As the file has them; None for what it leaves open.
    problems
        Tensors that are not computed, with the reason.

    Returns
    -------
    inputs, findings
        The inputs with the batch that was found: None if it is free.

    Raises
    ------
    DamagedFile
        The graph contradicts itself.
    RefusedFile
        It makes something of a size that is computed from what is in the picture.
    BudgetExceeded
        It makes something over the budget.
    """
    free = any(None in entry.shape[1:] for entry in inputs)
    declared = next((entry.shape[0] for entry in inputs if entry.shape[0]), None)
    size = _fitting_size(graph, inputs) if free else (1, 1)
    one = _attempt(graph, inputs, 1, size, forgiving=free, trial=free)
    two = _attempt(graph, inputs, 2, size, forgiving=free, trial=True)
    pictured = pictured_tensors(graph.nodes, (entry.tensor for entry in inputs))
    any_batch = one is not None and two is not None and _scales(one, two, 2, pictured)
    if one is None or (declared or 1) > 1:
        fixed = graph.trace(inputs, batch=declared or 1, size=size, forgiving=free, trial=free)
        any_batch = any_batch and one is not None and _scales(one, fixed, declared or 1, pictured)
        one = one if one is not None and any_batch else fixed
    batch = None if any_batch else declared or 1
    shapes: dict[str, tuple[int | None, ...]] = {name: kind.shape for name, kind in one.types.items()}
    unknown: dict[str, str] = {}
    if free:
        larger = (size[0] + 64, size[1] + 64)
        other = graph.trace(inputs, batch=batch or 1, size=larger, forgiving=True, trial=True)
        shapes = {name: _common(shape, other.types.get(name)) for name, shape in shapes.items()}
    else:
        _refuse_any_size(graph.nodes, one)
        why = "how much node {} makes can only be known by running it."
        unknown = {name: why.format(node) for name, node in one.unknown.items()}
    found = Findings(
        traced=one,
        shapes=shapes,
        mixed=frozenset(name for name, kind in one.types.items() if kind.shape[:1] != (batch or 1,)),
        single=batch in (None, 1),
        problems={**unknown, **problems},
    )
    return [replace(entry, shape=(batch, *entry.shape[1:])) for entry in inputs], found


def _attempt(
    graph: Subject,
    inputs: Sequence[GraphInput],
    batch: int,
    size: tuple[int, int],
    *,
    forgiving: bool,
    trial: bool,
) -> Trace | None:
    try:
        return graph.trace(inputs, batch=batch, size=size, forgiving=forgiving, trial=trial)
    except DamagedFile:
        # It may be made for one certain batch; if not, tracing that says what is wrong.
        return None


def _fitting_size(graph: Subject, inputs: Sequence[GraphInput]) -> tuple[int, int]:
    """Of the usual sizes, the one with which most of the graph makes sense."""
    best, fewest = _TRIAL_SIZES[0], len(graph.nodes) + 1
    for size in _TRIAL_SIZES:
        traced = graph.trace(inputs, batch=1, size=size, forgiving=True, trial=True)
        unknown = sum(node.output[0] in traced.unknown for node in graph.nodes)
        if unknown < fewest:
            best, fewest = size, unknown
        if not unknown:
            break
    return best


def pictured_tensors(nodes: Sequence[onnx.NodeProto], inputs: Iterable[str]) -> set[str]:
    """Tensors that depend on what is in the picture, and not only on its size."""
    names = set(inputs)
    for node in nodes:
        if node.op_type not in SHAPE_ONLY and not names.isdisjoint(node.input):
            names.update(name for name in node.output if name)
    return names


def _scales(one: Trace, many: Trace, batch: int, pictured: Iterable[str]) -> bool:
    """True when what begins with a batch of one in one trace, begins with the other's batch in the other."""
    for name in pictured:
        first, other = one.types.get(name), many.types.get(name)
        if first is None or other is None:
            if first is not other:
                return False
            continue
        begins = first.shape[:1] == (1,) or other.shape[:1] == (batch,)
        fits = first.shape[:1] == (1,) and other.shape == (batch, *first.shape[1:])
        if begins and not fits and name not in one.values:
            return False
    return True


def _common(shape: tuple[int | None, ...], other: TensorType | None) -> tuple[int | None, ...]:
    """Sizes that are the same for both trials."""
    if other is None or len(other.shape) != len(shape):
        return tuple(None for _ in shape)
    return tuple(a if a == b else None for a, b in zip(shape, other.shape, strict=True))


def _refuse_any_size(nodes: Sequence[onnx.NodeProto], traced: Trace) -> None:
    for node in nodes:
        if node.op_type in ANY_SIZE and traced.unknown.get(node.output[0]) == title(node):
            raise RefusedFile(
                f"Node {title(node)} makes a tensor whose size cannot be known before running it: it is "
                "computed from what is in the picture. Export the network with sizes that are fixed."
            )
