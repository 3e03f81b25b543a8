"""``.keras`` archives, written by Keras since 2.12: a zip of ``config.json`` and ``model.weights.h5``.

The arrays of a layer are ``layers/<class in snake case>[_<number>]/vars/0, 1, 2...``, numbered among the
layers of one model; those of a nested model's layers are below its own path. Source: ``_save_state`` and
``_save_container_state`` in ``keras/src/saving/saving_lib.py``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from fluoroscope.errors import DamagedFile, FluoroscopeError, RefusedFile, WeightMismatch
from fluoroscope.formats.keras import zip as keras_zip
from fluoroscope.formats.keras.config import keras_major, read_config
from fluoroscope.formats.keras.graph import TreePath, unfold
from fluoroscope.formats.keras.hdf5 import version_of
from fluoroscope.formats.keras.json import JsonObject, parse
from fluoroscope.formats.keras.model import KerasModel
from fluoroscope.formats.keras.replace import Replacements
from fluoroscope.formats.keras.tree import LayerNode, ModelNode
from fluoroscope.formats.keras.variables import ATTENTION_PARTS, Array, is_stray
from fluoroscope.formats.keras.weights import layer_weights
from fluoroscope.formats.limits import MIB, Limits

if TYPE_CHECKING:
    from fluoroscope.formats.hdf5.file import Dataset, Hdf5File

_CONFIG, _METADATA = "config.json", "metadata.json"
_WEIGHTS, _PICKLED_WEIGHTS = "model.weights.h5", "model.weights.npz"
_LAYERS, _LAYERS_TWICE = "layers", "_layer_checkpoint_dependencies"
_OPTIMIZERS = ("optimizer", "_optimizer")
_MOST_LISTED = 50_000
_RECURRENT = ("SimpleRNN", "GRU", "LSTM", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
_CELLS: Mapping[str, str] = dict.fromkeys(_RECURRENT, "cell/")
"""Where a layer keeps the arrays of a cell that its config does not tell."""


_CALLED_INSIDE = {"GroupQueryAttention": "GroupedQueryAttention"}
"""Classes that Keras exports under another name than their own, which their groups go by."""


def is_keras_archive(data: bytes | memoryview) -> bool:
    """Whether a file is a zip archive with a ``config.json``.

    By its directory; where that is damaged, by names at the file's beginning and end, so that it is the
    reader who says what is wrong.
    """
    if bytes(data[: len(keras_zip.SIGNATURE)]) != keras_zip.SIGNATURE:
        return False
    try:
        return _CONFIG in keras_zip.Archive(data, Limits(members=_MOST_LISTED)).names
    except FluoroscopeError:
        name = _CONFIG.encode()
        return name in bytes(data[: MIB // 4]) or name in bytes(data[-MIB:])


def read(
    data: bytes | memoryview, *, limits: Limits | None = None, replacements: Replacements | None = None
) -> KerasModel:
    """Architecture and weights. Nothing in the file is run or unpacked to a disk, no other file is opened.

    Parameters
    ----------
    data
        The whole file. Weights are views of it unless they are compressed.
    limits
        What reading may cost; the usual by default.
    replacements
        Layers that others stand for.

    Raises
    ------
    DamagedFile, RefusedFile, UnknownFormat, UnsupportedLayer, WeightMismatch, BudgetExceeded
        By what is wrong.
    """
    from fluoroscope.formats.hdf5.file import Hdf5File

    limits = limits or Limits()
    archive = keras_zip.Archive(data, limits)
    config = _json(archive, _CONFIG, limits)
    metadata = _json(archive, _METADATA, limits) if _METADATA in archive.names else {}
    version = metadata.get("keras_version")
    writer = version if isinstance(version, str) else None
    major, minor = version_of(writer) or (keras_major(config), 0)
    root, notes = read_config(config, major=major, limits=limits, replacements=replacements)
    if _WEIGHTS not in archive.names:
        if _PICKLED_WEIGHTS in archive.names:
            raise RefusedFile(
                f"Its weights are Python pickles ({_PICKLED_WEIGHTS}): programs, which are not run."
            )
        raise WeightMismatch(
            "It has an architecture but no weights. Save the whole model: model.save('m.keras')."
        )
    # Only what has to be unpacked takes memory: a stored member is at most as long as the file.
    file = Hdf5File(archive.read(_WEIGHTS, limit=max(limits.weights, len(data))), limits)
    weights = path_weights(file, root, major)
    unfolded = unfold(root, weights, limits=limits)
    if any(name in file for name in _OPTIMIZERS):
        notes = (*notes, "the optimizer's state in the file is not read")
    return KerasModel(
        name=root.name,
        calls=unfolded.calls,
        inputs=unfolded.inputs,
        outputs=unfolded.outputs,
        keras_version=(major, minor),
        writer=writer,
        sequential=root.sequential,
        notes=notes,
    )


def _json(archive: keras_zip.Archive, name: str, limits: Limits) -> JsonObject:
    content = archive.read(name, limit=limits.config)
    try:
        text = str(content, "utf-8")
    except UnicodeDecodeError as error:
        raise DamagedFile(f"Its member {name!r} is no UTF-8: {error}.") from error
    return parse(text, what=f"Its member {name!r}", limits=limits)


def path_weights(file: Hdf5File, root: ModelNode, major: int) -> dict[TreePath, dict[str, Array]]:
    """For each layer, its weights by name.

    Where one object is in two models, Keras 3 counts it in both, TF-Keras only in the first; but two objects
    may be alike. So for TF-Keras the one is tried, then the other.
    """
    try:
        return _Weights(file, major, skip_twins=False).of(root)
    except WeightMismatch:
        if major >= 3:
            raise
        try:
            return _Weights(file, major, skip_twins=True).of(root)
        except WeightMismatch:
            # What the first way found wrong is the better message.
            pass
        raise


class _Weights:
    """The arrays of the model's layers, each of which has to be used.

    Parameters
    ----------
    skip_twins
        A layer like one met before is that one, and has no number.
    """

    def __init__(self, file: Hdf5File, major: int, *, skip_twins: bool) -> None:
        self._file = file
        self._major = major
        self._skip_twins = skip_twins
        # Up to Keras 2.14 the layers are found under another attribute of the model, which lists those with
        # weights twice: each takes two numbers, and is stored under the first.
        self._twice = _LAYERS not in file and _LAYERS_TWICE in file
        self._container = _LAYERS_TWICE if self._twice else _LAYERS
        found = file.datasets(self._container)
        self._left = {f"{self._container}/{path}" for path in found}
        self._groups_below: dict[str, dict[str, Dataset]] = {}
        for path, dataset in found.items():
            *groups, _ = accumulate(path.split("/"), "{}/{}".format, initial=self._container)
            for group in groups:
                inner = f"{self._container}/{path}".removeprefix(f"{group}/")
                self._groups_below.setdefault(group, {})[inner] = dataset
        self._weights: dict[TreePath, dict[str, Array]] = {}
        self._first: dict[tuple[str, str], tuple[TreePath, LayerNode | ModelNode]] = {}

    def of(self, root: ModelNode) -> dict[TreePath, dict[str, Array]]:
        """For each layer, its weights by name.

        Raises
        ------
        WeightMismatch
            Arrays missing, left over, or not what the architecture says.
        """
        self._model(root, (), "", "")
        left = sorted(name for name in self._left if not is_stray(name))
        if left:
            more = f" and {len(left) - 3} more" if len(left) > 3 else ""
            raise WeightMismatch(
                f"It has weights that no layer of its architecture has: {', '.join(left[:3])[:240]}{more}."
            )
        return self._weights

    def _model(self, model: ModelNode, path: TreePath, label: str, prefix: str) -> None:
        for place, node, group in self._groups(model, prefix):
            here, name = (*path, place), f"{label}/{node.name}".lstrip("/")
            twin, _ = self._first.setdefault((node.class_name, node.name), (here, node))
            if twin != here and self._seen(node) and not self._below(group):
                # One object in two models is stored where it was met first.
                for other, weights in list(self._weights.items()):
                    if other[: len(twin)] == twin:
                        self._weights[(*here, *other[len(twin) :])] = weights
            else:
                self._node(node, here, name, group)

    def _node(self, node: LayerNode | ModelNode, path: TreePath, label: str, group: str) -> None:
        if isinstance(node, ModelNode):
            self._model(node, path, label, f"{group}/")
            return
        inner = self._inner_groups(node, group)
        for place, (child, own) in enumerate(zip(node.layers, inner, strict=True)):
            self._node(child, (*path, place), f"{label}/{child.name}", own)
        self._weights[path] = self._layer(node, label, group, inner)

    def _groups(self, model: ModelNode, prefix: str) -> Iterator[tuple[int, LayerNode | ModelNode, str]]:
        """For each layer of a model, its position and the group that holds its arrays."""
        numbered = _Numbered()
        for place, node in enumerate(model.layers):
            if isinstance(node, LayerNode) and node.kind == "InputLayer" and model.sequential and place == 0:
                # It is not among the layers of a Sequential.
                continue
            if isinstance(node, LayerNode) and node.kind.startswith("ops."):
                # A function such as x + y is an operation of the model, not one of its layers.
                continue
            if self._skip_twins and self._seen(node):
                yield place, node, ""
                continue
            name = self._group_name(node, f"{prefix}{self._container}")
            group = f"{prefix}{self._container}/{numbered(name)}"
            if self._twice and self._below(group):
                numbered(name)
            yield place, node, group

    def _inner_groups(self, wrapper: LayerNode, group: str) -> list[str]:
        """For each layer in a wrapper, the group that holds its arrays: by attribute, in lists by class."""
        numbered = _Numbered()
        groups: list[str] = []
        for attribute, node in wrapper.inner.items():
            within, _, number = attribute.rpartition("/")
            if number.isdecimal():
                attribute = f"{within}/{numbered(self._group_name(node, f'{group}/{within}'))}"
            groups.append(f"{group}/{attribute}")
        return groups

    def _group_name(self, node: LayerNode | ModelNode, around: str) -> str:
        """What a group is called after its layer's class, of the names that versions give that there is."""
        name = node.class_name.rpartition(">")[2]
        names = _snake_cases(_CALLED_INSIDE.get(name, name), self._major)
        return next((own for own in names if f"{around}/{own}" in self._groups_below), names[0])

    def _seen(self, node: LayerNode | ModelNode) -> bool:
        """Whether a node like this was met before."""
        first = self._first.get((node.class_name, node.name))
        return first is not None and first[1] == node

    def _layer(self, layer: LayerNode, label: str, group: str, inner: Sequence[str]) -> dict[str, Array]:
        # Since Keras 3.4 a group tells its layer's name.
        told = self._file.attributes(f"{group}/vars").get("name")
        if isinstance(told, str) and told != layer.name:
            raise WeightMismatch(
                f"Layer {label[:80]!r} should have the weights in {group[:80]!r}; the file says that they "
                f"are those of {told[:80]!r}."
            )
        # What belongs to the layers in it they have taken.
        below = {
            name: dataset
            for name, dataset in self._below(group).items()
            if not any(f"{group}/{name}".startswith(f"{own}/") for own in inner)
        }
        self._left.difference_update(f"{group}/{name}" for name in below)
        order = _in_order(layer.kind)
        cell = _CELLS.get(layer.kind, "")
        stored = [
            (name.removeprefix(f"{cell}vars/"), self._file.array(dataset))
            for name, dataset in sorted(below.items(), key=lambda item: order(item[0]))
            if not is_stray(name)
        ]
        if layer.kind == "SpectralNormalization":
            # The kernel of the layer in it is stored there, and here again.
            stored = stored[1:]
        return layer_weights(layer, label, stored, major=self._major)

    def _below(self, group: str) -> dict[str, Dataset]:
        """The datasets in a group, at any depth, by their path in it."""
        return self._groups_below.get(group, {})


class _Numbered:
    """Names as Keras numbers them: ``conv2d``, ``conv2d_1``..."""

    def __init__(self) -> None:
        self._numbers: Counter[str] = Counter()

    def __call__(self, name: str) -> str:
        self._numbers[name] += 1
        return name if self._numbers[name] == 1 else f"{name}_{self._numbers[name] - 1}"


def _snake_cases(class_name: str, major: int) -> list[str]:
    """``Conv2DTranspose`` as ``conv2d_transpose``, by the rules of the Keras that wrote it.

    Keras 2 took digits along with small letters (``conv_lst_m2d``), as later versions of TF-Keras do not.
    """
    cleaned = re.sub(r"\W+", "", class_name) if major >= 3 else class_name
    names: list[str] = []
    for word in ("[A-Z][a-z]+",) if major >= 3 else ("[A-Z][a-z0-9]+", "[A-Z][a-z]+"):
        name = re.sub(f"(.)({word})", r"\1_\2", cleaned)
        name = re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
        names.append(f"private{name}" if major < 3 and name.startswith("_") else name)
    return names


def _in_order(kind: str) -> Callable[[str], list[tuple[int, str]]]:
    """A sort key for the paths of a layer's arrays: by number; of an attention's parts, by what they are."""
    if not kind.endswith("QueryAttention") and kind != "MultiHeadAttention":
        return _by_number
    places = {attribute: place for place, attribute in enumerate(ATTENTION_PARTS.values())}

    def by_part(path: str) -> list[tuple[int, str]]:
        part, _, rest = path.partition("/")
        return [(places.get(part.lstrip("_"), len(places)), part), *_by_number(rest)]

    return by_part


def _by_number(path: str) -> list[tuple[int, str]]:
    """A sort key under which ``vars/10`` comes behind ``vars/9``."""
    return [
        (int(part), "") if part.isdecimal() and len(part) < 10 else (-1, part) for part in path.split("/")
    ]
