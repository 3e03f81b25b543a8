"""An ONNX graph in the making: nodes, weights, and which tensor is which layer's output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.network.budget import Budget
from fluoroscope.network.protocol import Layer
from fluoroscope.network.tensors import TensorType
from fluoroscope.network.tracing import Trace, trace

if TYPE_CHECKING:
    import onnx

OPSET = 18
"""The ONNX operator set that translated networks are written in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphInput:
    """An input tensor of the graph.

    Attributes
    ----------
    tensor
        Its name in the graph.
    layer
        Name of the input layer it stands for.
    shape
        With batch as first axis; None for a free size, the batch's always.
    channel_axis
        Where the channels lie in `shape`; a caller's channels-last batch is transposed accordingly.
    dtype
        NumPy's name of the type the graph takes; a caller's float32 is converted.
    """

    tensor: str
    layer: str
    shape: tuple[int | None, ...]
    channel_axis: int
    dtype: str = "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerOutput:
    """A row of the layer table and where its values come from.

    Attributes
    ----------
    layer
        The row. Its `receptive_field` is filled in later, from the graph.
    tensor
        The tensor that is the layer's output; None when the layer has a problem.
    channel_axis
        Axis of `tensor` (batch is 0) that holds the channels; moved last for the caller.
    pre
        The tensor before the fused activation, laid out as `tensor`; None without one.
    """

    layer: Layer
    tensor: str | None
    channel_axis: int = 1
    pre: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerGraph:
    """All that an `OnnxNetwork` is made from.

    Attributes
    ----------
    nodes
        In topological order.
    weights
        Initializers by tensor name, C-contiguous.
    rows
        The layer table, in network order.
    outputs
        Names of the layers that are the network's outputs.
    traced
        What is known of its tensors for one picture (or the fixed batch); None where nobody has looked yet.
    whole
        Tensors whose first axis is no batch: for one picture all of it is that picture's, so pictures are run
        one at a time, and it gets a batch axis in front.
    """

    name: str
    inputs: Sequence[GraphInput]
    nodes: Sequence[onnx.NodeProto]
    weights: Mapping[str, NDArray[Any]]
    rows: Sequence[LayerOutput]
    outputs: Sequence[str]
    opset: int = OPSET
    traced: Trace | None = None
    whole: frozenset[str] = frozenset()

    def trace(self, budget: Budget) -> Trace:
        """What is known of its tensors for one picture, free sizes left free; `traced` if that is there."""
        if self.traced is not None:
            return self.traced
        inputs = {
            entry.tensor: TensorType(np.dtype(entry.dtype), (entry.shape[0] or 1, *entry.shape[1:]))
            for entry in self.inputs
        }
        return trace(self.nodes, self.weights, inputs, self.opset, budget)
