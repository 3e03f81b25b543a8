"""Weights in one file, the architecture in another: ``save_weights`` and ``to_json``."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from fluoroscope.errors import DamagedFile, NetworkError, UnknownFormat, UsageError, WeightMismatch
from fluoroscope.formats.keras.additions import Additions
from fluoroscope.formats.keras.archive import path_weights
from fluoroscope.formats.keras.config import keras_major, read_config
from fluoroscope.formats.keras.graph import TreePath, unfold
from fluoroscope.formats.keras.hdf5 import holds_weights, training_notes, version_of
from fluoroscope.formats.keras.json import JsonObject, parse
from fluoroscope.formats.keras.model import KerasModel
from fluoroscope.formats.keras.tree import ModelNode
from fluoroscope.formats.keras.variables import Array
from fluoroscope.formats.keras.weight_groups import GroupWeights, text_of
from fluoroscope.formats.limits import Limits

if TYPE_CHECKING:
    from fluoroscope.formats.hdf5.file import Hdf5File

_GROUPS = "model_weights"
_PATHS = ("layers", "_layer_checkpoint_dependencies")
_JSON = re.compile(rb'(?:\xef\xbb\xbf)?\s*["{\[]')


def read(data: bytes | memoryview, additions: Additions, *, limits: Limits | None = None) -> KerasModel:
    """Weights from `data`, the architecture from `additions`. Nothing in either is run.

    Keras goes by the order of the layers, not by their names; so it is done here where the names are not the
    same, and each array is held against what its layer needs.

    Parameters
    ----------
    data
        An HDF5 file of any layout: ``.h5`` of Keras 1 and 2, ``.weights.h5`` since 2.12, or a whole model, of
        which the weights are taken.
    additions
        With an architecture.
    limits
        What reading may cost; the usual by default.

    Raises
    ------
    WeightMismatch
        Weights and architecture do not belong together; the message says from which layer on.
    UsageError, DamagedFile, RefusedFile, UnknownFormat, UnsupportedLayer, BudgetExceeded
        By what is wrong.
    """
    from fluoroscope.formats.hdf5.file import Hdf5File

    limits = limits or Limits()
    assert additions.architecture is not None
    config = _architecture(additions.architecture, additions.architecture_name, limits)
    file = Hdf5File(data, limits)
    if not holds_weights(file):
        names = file.names()
        raise UnknownFormat(
            f"It is an HDF5 file without Keras weights: it has {', '.join(names[:5])[:200]}."
            if names
            else "It is an HDF5 file with nothing in it."
        )
    stored = {**file.attributes(_GROUPS), **file.attributes()}
    told, backend = text_of(config.get("keras_version")), text_of(config.get("backend"))
    saved, trained = text_of(stored.get("keras_version")), text_of(stored.get("backend"))
    major, minor = version_of(told) or _version(saved, keras_major(config))
    root, notes = read_config(config, major=major, limits=limits, replacements=additions.replacements)
    origin = f"architecture from {additions.architecture_name}"
    digest = hashlib.sha256(additions.architecture).hexdigest()
    weights, ordered = _weights(file, root, major, version_of(saved), trained or backend)
    unfolded = unfold(root, weights, limits=limits)
    return KerasModel(
        name=root.name,
        calls=unfolded.calls,
        inputs=unfolded.inputs,
        outputs=unfolded.outputs,
        keras_version=(major, minor),
        writer=saved or told,
        backend=trained or backend,
        sequential=root.sequential,
        notes=(
            f"{origin}, sha256 {digest[:16]}…",
            *(("its layers have other names than the weights: they are paired by their order",) * ordered),
            *notes,
            *training_notes(file, root, major, trained or backend),
        ),
    )


def _weights(
    file: Hdf5File, root: ModelNode, major: int, saved: tuple[int, int] | None, backend: str | None
) -> tuple[dict[TreePath, dict[str, Array]], bool]:
    """For each layer its weights by name, and whether they were paired by order."""
    if "layer_names" not in file.attributes() and any(name in file for name in _PATHS):
        # Which version wrote them is not said, and they name classes differently: the architecture's first.
        others = (3, 2) if major < 3 else (2,)
        try:
            return path_weights(file, root, major), False
        except WeightMismatch:
            for other in others:
                try:
                    return path_weights(file, root, other), False
                except WeightMismatch:
                    continue
            raise
    prefix = _GROUPS if _GROUPS in file else ""
    groups = GroupWeights(file, prefix, major=saved[0] if saved else major, backend=backend)
    ordered = groups.by_order(root)
    return groups.of(root), ordered


def _version(saved: str | None, told: int) -> tuple[int, int]:
    """The version by the file of weights, if it is one that writes architectures in this style."""
    version = version_of(saved)
    return version if version is not None and version[0] == told else (told, 0)


def _architecture(content: bytes, name: str, limits: Limits) -> JsonObject:
    """The architecture in a file: JSON, or JSON in a JSON string, or a whole model's.

    Raises
    ------
    UsageError
        A file that is none.
    """
    try:
        if _JSON.match(content) is None:
            return _of_model(content, limits)
        text = content.decode("utf-8-sig")
        if text.lstrip().startswith('"') and len(text) <= limits.config:
            # json.dump(model.to_json(), file): a text in a text.
            inner = json.loads(text)
            text = inner if isinstance(inner, str) else text
        return parse(text, what="It", limits=limits)
    except (UnicodeDecodeError, ValueError) as error:
        if isinstance(error, (NetworkError, UsageError)):
            raise type(error)(f"--config {name}: {error}") from error
        raise DamagedFile(f"--config {name}: it is no valid JSON: {error}.") from error


def _of_model(content: bytes, limits: Limits) -> JsonObject:
    from fluoroscope.formats.hdf5 import signature as hdf5_signature
    from fluoroscope.formats.hdf5.file import Hdf5File
    from fluoroscope.formats.keras import zip as keras_zip

    if content.startswith(keras_zip.SIGNATURE):
        archive = keras_zip.Archive(content, limits)
        if "config.json" in archive.names:
            return parse(
                str(archive.read("config.json", limit=limits.config), "utf-8"),
                what="Its config.json",
                limits=limits,
            )
    if hdf5_signature.start(content) is not None:
        file = Hdf5File(content, limits)
        text = text_of(file.attributes().get("model_config"))
        if text is not None:
            return parse(text, what="Its model_config", limits=limits)
        raise UnknownFormat("it is an HDF5 file without an architecture. Give the JSON of model.to_json().")
    raise UsageError("it is no architecture: give the JSON that model.to_json() writes, or a model's file.")
