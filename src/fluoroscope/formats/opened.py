"""What is made of a file or a live model before it is a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fluoroscope.errors import UnsupportedLayer
from fluoroscope.network.graph import LayerGraph

if TYPE_CHECKING:
    from fluoroscope.formats.keras.model import KerasModel

Size = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a reader makes of a file: the graph, how to remake it for another size, and who wrote it."""

    graph: LayerGraph
    resize: Callable[[int, int], LayerGraph] | None
    writer: str | None = None
    backend: str | None = None
    notes: tuple[str, ...] = ()


def opened_keras(model: KerasModel) -> Opened:
    """A model in canonical form, translated.

    Raises
    ------
    DamagedFile, WeightMismatch, BudgetExceeded
        See `fluoroscope.formats.keras.translate.translate`.
    """
    from fluoroscope.formats.keras.translate import translate

    def graph_for(size: Size | None) -> LayerGraph:
        graph = translate(model, size=size)
        if not model.sequential:
            return graph
        # A Sequential does not count its input as a layer: numbers are those of `model.layers`.
        return replace(graph, rows=[row for row in graph.rows if row.layer.name not in model.inputs])

    graph = graph_for(None)
    if not graph.inputs:
        reason = next((row.layer.problem for row in graph.rows if row.layer.problem is not None), "")
        raise UnsupportedLayer(f"None of its inputs can be fed, so it can be shown no picture. {reason}")
    free = any(None in entry.shape[1:] for entry in graph.inputs)
    return Opened(
        graph=graph,
        resize=(lambda height, width: graph_for((height, width))) if free else None,
        writer=f"Keras {model.writer}" if model.writer else None,
        backend=model.backend,
        notes=model.notes,
    )
