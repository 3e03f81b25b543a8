"""Functions among a model's layers: what the row of such a call says that it is.

Keras 3 lists ``keras.ops`` as classes of their own; tf.keras wraps TensorFlow's functions in one class, whose
config tells which; Keras on TensorFlow 1 wraps a node of TensorFlow's graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

OPERATIONS, TENSORFLOW_FUNCTIONS, GRAPH = "ops.", "tf.", "tf.raw_ops."
"""What kinds of rows begin with: ``ops.Add``, ``tf.nn.relu``, ``tf.raw_ops.AddV2``."""

_WRAPPERS = frozenset({"TFOpLambda", "SlicingOpLambda"})
_LONGEST = 80


def is_function(kind: str) -> bool:
    """Whether a kind of layer is a function: it has no weights."""
    return kind.startswith((OPERATIONS, TENSORFLOW_FUNCTIONS))


def wrapped(kind: str, config: Mapping[str, Any]) -> str:
    """What a class that wraps a function calls; `kind` itself for any other."""
    if kind in _WRAPPERS:
        return f"{TENSORFLOW_FUNCTIONS}{str(config.get('function'))[:_LONGEST]}"
    if kind == "TensorFlowOpLayer":
        node = config.get("node_def")
        name = cast(Mapping[str, Any], node).get("op") if isinstance(node, Mapping) else None
        return f"{GRAPH}{str(name)[:_LONGEST]}"
    return kind
