"""Arrays as ``save_weights`` of Keras 1 and 2 keeps them, and full-model ``.h5`` files: a group a layer.

The attribute ``layer_names`` lists the groups, ``weight_names`` of each its arrays in their order; a nested
model's are all in one group. Before Keras 1.0 layers and arrays had numbers: ``layer_0/param_0``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fluoroscope.errors import DamagedFile, WeightMismatch
from fluoroscope.formats.keras.graph import TreePath
from fluoroscope.formats.keras.nested import nested_weights
from fluoroscope.formats.keras.tree import LayerNode, ModelNode
from fluoroscope.formats.keras.variables import Array, is_stray
from fluoroscope.formats.keras.weights import known_variables, layer_weights

if TYPE_CHECKING:
    from fluoroscope.formats.hdf5.file import Hdf5File

_BESIDE = frozenset({"optimizer_weights", "top_level_model_weights"})
"""What may lie beside the layers' groups in the root."""

_SAVE = "Save the whole model where it was made: model.save('model.keras')."
_MOST_NUMBERED = 100_000


class GroupWeights:
    """Arrays in a group a layer, each of which has to be used.

    Parameters
    ----------
    prefix
        The group that holds the layers' groups; empty for the root, where ``save_weights`` puts them.
    """

    def __init__(self, file: Hdf5File, prefix: str, *, major: int, backend: str | None) -> None:
        self._file = file
        self._prefix = prefix
        self._major = major
        self._backend = backend
        attributes = file.attributes(prefix)
        self._nameless = "layer_names" not in attributes and "nb_layers" in attributes
        self._datasets = {
            path: dataset
            for path, dataset in file.datasets(prefix).items()
            if prefix or path.partition("/")[0] not in _BESIDE
        }
        self._used: dict[str, Array] = {}
        self._groups = dict.fromkeys(
            _numbered("layer_", attributes["nb_layers"])
            if self._nameless
            else _texts(attributes, "layer_names")
        )
        self._renamed: dict[str, str] = {}

    def by_order(self, root: ModelNode) -> bool:
        """Pair layers and groups by their order where the names are not the same, as Keras does.

        Returns
        -------
        bool
            Whether that was needed.

        Raises
        ------
        WeightMismatch
            Another number of layers with weights; the message names the first that differs.
        """
        groups = [name for name in self._groups if self._names(name)]
        layers = [
            node.name
            for node in root.layers
            if any(map(self._has_weights, node.leaves())) or (node.name in groups and self._is_opaque(node))
        ]
        if set(layers) == set(groups):
            return False
        if len(layers) != len(groups):
            first = next(
                (
                    f"{ours!r} and {theirs!r}"
                    for ours, theirs in zip(layers, groups, strict=False)
                    if ours != theirs
                ),
                "the last",
            )
            raise WeightMismatch(
                f"The architecture has {len(layers)} layers with weights, the file those of {len(groups)}: "
                f"they do not belong together. They differ from {first[:160]} on."
            )
        self._renamed = dict(zip(layers, groups, strict=True))
        return True

    def of(self, root: ModelNode) -> dict[TreePath, dict[str, Array]]:
        """For each layer, its weights by name.

        Raises
        ------
        WeightMismatch
            Arrays missing, left over, or not what the architecture says.
        """
        if not self._groups and any(self._has_weights(layer) for layer in root.leaves()):
            raise WeightMismatch(f"It has an architecture but no weights. {_SAVE}")
        named = {node.name for node in root.layers if isinstance(node, LayerNode) or node.named}
        claimed = named | set(self._renamed.values()) | {layer.name for layer in root.leaves()}
        nameless = (name for name in self._groups if name not in claimed and self._names(name))
        weights: dict[TreePath, dict[str, Array]] = {}
        for place, node in enumerate(root.layers):
            weights |= self._node(node, (place,), node.name, nameless)
        left = [name for name in self._datasets if name not in self._used and not is_stray(name)]
        if left:
            more = f" and {len(left) - 3} more" if len(left) > 3 else ""
            raise WeightMismatch(
                f"It has weights that no layer of its architecture has: {', '.join(left[:3])[:240]}{more}."
            )
        return weights

    def _node(
        self, node: LayerNode | ModelNode, path: TreePath, label: str, nameless: Iterator[str]
    ) -> dict[TreePath, dict[str, Array]]:
        """The weights of a layer, or of all layers of a model; `nameless` are groups that no name claims."""
        name = self._renamed.get(node.name, node.name) if len(path) == 1 else node.name
        group = name if name in self._groups else None
        if isinstance(node, LayerNode) and not node.inner:
            stored = self._stored(group)
            return {path: layer_weights(node, label, stored, major=self._major, backend=self._backend)}
        if (
            isinstance(node, ModelNode)
            and not node.named
            and any(self._has_weights(layer) for layer in node.leaves())
        ):
            # Models in a Sequential's bare list tell no name: the groups left over are theirs, in order.
            group = next(nameless, None)
        if group is not None:
            stored = self._stored(group)
            return nested_weights(node, path, label, stored, major=self._major, backend=self._backend)
        # Keras 1 stored the layers of merged models like those of the model around them.
        weights: dict[TreePath, dict[str, Array]] = {}
        for place, child in enumerate(node.layers):
            weights |= self._node(child, (*path, place), f"{label}/{child.name}", nameless)
        return weights

    def _has_weights(self, layer: LayerNode) -> bool:
        return bool(known_variables(layer, self._major))

    def _is_opaque(self, node: LayerNode | ModelNode) -> bool:
        """Whether its weights may be unknown: a class of the author's, or what a user put in its place."""
        return isinstance(node, LayerNode) and (
            node.asked is not None or known_variables(node, self._major) is None
        )

    def _names(self, group: str) -> list[str]:
        attributes = self._file.attributes(f"{self._prefix}/{group}".lstrip("/"))
        if self._nameless:
            return _numbered("param_", attributes.get("nb_params"))
        return _texts(attributes, "weight_names")

    def _stored(self, group: str | None) -> list[tuple[str, Array]]:
        """The arrays of a group in their order; of no group none."""
        stored: list[tuple[str, Array]] = []
        for name in [] if group is None else self._names(group):
            path = f"{group}/{name}"
            if path not in self._datasets:
                raise WeightMismatch(f"The array {path[:160]!r} is listed among its weights but missing.")
            if path not in self._used:
                self._used[path] = self._file.array(self._datasets[path])
            stored.append((name, self._used[path]))
        return stored


def _numbered(stem: str, count: Any) -> list[str]:
    """``layer_0``, ``layer_1``...; of no sensible count none."""
    try:
        number = int(count)
    except (TypeError, ValueError):
        return []
    return [f"{stem}{index}" for index in range(min(max(number, 0), _MOST_NUMBERED))]


def text_of(value: Any) -> str | None:
    """A string attribute, kept as str, bytes or NumPy's bytes; None where there is none."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DamagedFile(f"Its text is no UTF-8: {error}.") from error
    return None


def _texts(attributes: Mapping[str, Any], name: str) -> list[str]:
    """A list of strings. Over 64 KiB it is spread over ``name0``, ``name1``..."""
    parts = [attributes[name]] if name in attributes else []
    while not parts or f"{name}{len(parts)}" in attributes:
        if f"{name}{len(parts)}" not in attributes:
            break
        parts.append(attributes[f"{name}{len(parts)}"])
    return [text for part in parts for entry in np.ravel(part) if (text := text_of(entry)) is not None]
