"""A layer's weights from what the file stores for it: named, laid out, and held against its config."""

from __future__ import annotations

from collections.abc import Iterator

from fluoroscope.formats.keras.graph import TreePath
from fluoroscope.formats.keras.kernels import gates_together, modern_layout
from fluoroscope.formats.keras.tree import LayerNode, ModelNode
from fluoroscope.formats.keras.variables import Array, Stored, Variable, check_shapes, expected, named


def known_variables(layer: LayerNode, major: int) -> tuple[Variable, ...] | None:
    """What `layer` should have in the file; None when that is not known, as of a class of the author's."""
    return None if layer.problem is not None else expected(layer.kind, layer.config, major=major)


def layer_weights(
    layer: LayerNode, label: str, stored: Stored, *, major: int, backend: str | None = None
) -> dict[str, Array]:
    """A layer's variables by their Keras 3 names.

    Parameters
    ----------
    label
        The layer's path, for messages.
    stored
        Its arrays in the file's order.
    major, backend
        Of the Keras that wrote them.

    Raises
    ------
    WeightMismatch
        Arrays missing, left over, contradicting their names, or of another shape than the config says.
    """
    variables = known_variables(layer, major)
    if layer.asked is not None and variables == ():
        return {}  # what a user puts in its place has none of the author's weights
    if variables is None and major == 1 and layer.problem is None:
        # Of Keras 1 it is not known before how many arrays a recurrent layer has; together they are today's.
        together = gates_together(layer.kind, stored)
        modern = expected(layer.kind, layer.config, major=2)
        if modern is not None and len(together) == len(modern):
            stored, variables = together, modern
    weights = named(label, layer.kind, variables, stored)
    if variables is None:
        return weights
    weights = modern_layout(label, layer.kind, layer.config, weights, major=major, backend=backend)
    check_shapes(label, layer.kind, layer.config, variables, weights)
    return weights


def leaves(
    node: LayerNode | ModelNode, path: TreePath = (), label: str = ""
) -> Iterator[tuple[TreePath, str, LayerNode]]:
    """All layers of a node, a layer itself first, with their paths in the tree and by name.

    Parameters
    ----------
    path, label
        Those of `node`.
    """
    if isinstance(node, LayerNode):
        yield path, label, node
    for place, child in enumerate(node.layers):
        yield from leaves(child, (*path, place), f"{label}/{child.name}".lstrip("/"))
