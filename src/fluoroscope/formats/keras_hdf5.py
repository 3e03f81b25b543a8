"""Full-model ``.h5`` and ``.hdf5`` files of Keras 1 to 3.

The attribute ``model_config`` of the root is the architecture. The group ``model_weights`` has a group for
each layer, whose ``weight_names`` tell the order of its arrays; a nested model's are all in one group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fluoroscope.errors import DamagedFile, UnknownFormat, WeightMismatch
from fluoroscope.formats.keras_config import keras_major, read_config
from fluoroscope.formats.keras_entries import listed
from fluoroscope.formats.keras_graph import TreePath, unfold
from fluoroscope.formats.keras_json import parse
from fluoroscope.formats.keras_model import KerasModel
from fluoroscope.formats.keras_nested import nested_weights
from fluoroscope.formats.keras_tree import LayerNode, ModelNode
from fluoroscope.formats.keras_variables import Array, is_stray
from fluoroscope.formats.keras_weights import known_variables, layer_weights
from fluoroscope.formats.limits import GIB, Limits

if TYPE_CHECKING:
    from fluoroscope.formats.hdf5_file import Hdf5File

_WEIGHTS = "model_weights"
_OPTIMIZER = "optimizer_weights"
_VERSION = re.compile(r"(\d{1,3})\.(\d{1,4})")
_SAVE = "Save the whole model where it was made: model.save('model.keras')."


def read(data: bytes | memoryview, *, limit: int = 2 * GIB) -> KerasModel:
    """Architecture and weights. Nothing in the file is run, and no other file is opened.

    Parameters
    ----------
    data
        The whole file. Weights are views of it where their layout allows.
    limit
        Bytes that the weights may take.

    Raises
    ------
    DamagedFile, RefusedFile, UnknownFormat, UnsupportedLayer, WeightMismatch, BudgetExceeded
        By what is wrong.
    """
    # pyfive costs 80 ms, which recognising a file should not.
    from fluoroscope.formats.hdf5_file import Hdf5File

    limits = Limits(weights=limit)
    file = Hdf5File(data, limits)
    attributes = {**file.attributes(_WEIGHTS), **file.attributes()}
    text = _text(attributes.get("model_config"))
    if text is None:
        raise _no_architecture(file)
    config = parse(text, what="Its model_config", limits=limits)
    writer, backend = _text(attributes.get("keras_version")), _text(attributes.get("backend"))
    major, minor = version_of(writer) or (keras_major(config), 0)
    root, notes = read_config(config, major=major, limits=limits)
    weights = _Weights(file, major=major, backend=backend).of(root)
    unfolded = unfold(root, weights, limits=limits)
    return KerasModel(
        name=root.name,
        calls=unfolded.calls,
        inputs=unfolded.inputs,
        outputs=unfolded.outputs,
        keras_version=(major, minor),
        writer=writer,
        backend=backend,
        sequential=root.sequential,
        notes=(*notes, *_notes(file, root, major, backend)),
    )


def version_of(writer: str | None) -> tuple[int, int] | None:
    """Major and minor number of a version such as ``2.2.4-tf``; None if there is none."""
    match = _VERSION.match(writer or "")
    return (int(match[1]), int(match[2])) if match else None


class _Weights:
    """The arrays of ``model_weights``, each of which has to be used."""

    def __init__(self, file: Hdf5File, *, major: int, backend: str | None) -> None:
        self._file = file
        self._major = major
        self._backend = backend
        self._datasets = file.datasets(_WEIGHTS)
        self._used: dict[str, Array] = {}
        self._groups = dict.fromkeys(_texts(file.attributes(_WEIGHTS), "layer_names"))

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
        claimed = named | {layer.name for layer in root.leaves()}
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
        group = node.name if node.name in self._groups else None
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

    def _names(self, group: str) -> list[str]:
        return _texts(self._file.attributes(f"{_WEIGHTS}/{group}"), "weight_names")

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


def _notes(file: Hdf5File, root: ModelNode, major: int, backend: str | None) -> Iterator[str]:
    if _OPTIMIZER in file:
        yield "the optimizer's state in the file is not read"
    kernels = [layer for layer in root.leaves() if "Conv" in layer.kind]
    if backend == "theano" and kernels:
        yield "trained with Theano, which convolves where others correlate: kernels are rotated by 180°"
        uneven = [layer.name for layer in kernels if _pads_unevenly(layer)]
        if uneven:
            yield (
                "Theano pads 'same' by half a kernel on both sides, here the odd pixel comes last: the maps "
                f"of {', '.join(uneven[:5])[:200]} may be a pixel off"
            )
    elif (
        backend is None
        and major == 1
        and any(layer.config.get("data_format") == "channels_first" for layer in kernels)
    ):
        yield (
            "Keras 1 did not record its backend: kernels are taken as TensorFlow's; trained with Theano they "
            "would have to be rotated by 180°"
        )


def _pads_unevenly(layer: LayerNode) -> bool:
    """Whether ``padding="same"`` may add another number of pixels before than behind."""
    sizes, steps = (listed(layer.config, name) for name in ("kernel_size", "strides"))
    even = any(isinstance(size, int) and size % 2 == 0 for size in sizes)
    return layer.config.get("padding") == "same" and (even or any(step != 1 for step in steps))


def _no_architecture(file: Hdf5File) -> UnknownFormat:
    names = file.names()
    if not names:
        return UnknownFormat("It is an HDF5 file with nothing in it.")
    known = {_WEIGHTS, "layers", "_layer_checkpoint_dependencies", "vars", "top_level_model_weights"}
    if "layer_names" in file.attributes() or not known.isdisjoint(names):
        return UnknownFormat(f"It holds weights only: the architecture is missing. {_SAVE}")
    return UnknownFormat(
        f"It is an HDF5 file, but no Keras model: it has {', '.join(names[:5])[:200]}. {_SAVE}"
    )


def _text(value: Any) -> str | None:
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
    return [text for part in parts for entry in np.ravel(part) if (text := _text(entry)) is not None]
