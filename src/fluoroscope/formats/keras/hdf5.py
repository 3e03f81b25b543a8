"""Full-model ``.h5`` and ``.hdf5`` files of Keras 1 to 3.

The attribute ``model_config`` of the root is the architecture. The group ``model_weights`` has a group for
each layer, whose ``weight_names`` tell the order of its arrays; a nested model's are all in one group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fluoroscope.errors import UnknownFormat
from fluoroscope.formats.keras.config import keras_major, read_config
from fluoroscope.formats.keras.entries import listed
from fluoroscope.formats.keras.graph import unfold
from fluoroscope.formats.keras.json import parse
from fluoroscope.formats.keras.model import KerasModel
from fluoroscope.formats.keras.replace import Replacements
from fluoroscope.formats.keras.tree import LayerNode, ModelNode
from fluoroscope.formats.keras.weight_groups import GroupWeights, text_of
from fluoroscope.formats.limits import Limits

if TYPE_CHECKING:
    from fluoroscope.formats.hdf5.file import Hdf5File

_WEIGHTS = "model_weights"
_OPTIMIZER = "optimizer_weights"
_VERSION = re.compile(r"(\d{1,3})\.(\d{1,4})")
_SAVE = "Save the whole model where it was made: model.save('model.keras')."


def read(
    data: bytes | memoryview, *, limits: Limits | None = None, replacements: Replacements | None = None
) -> KerasModel:
    """Architecture and weights. Nothing in the file is run, and no other file is opened.

    Parameters
    ----------
    data
        The whole file. Weights are views of it where their layout allows.
    limits
        What reading may cost; the usual by default.
    replacements
        Layers that others stand for.

    Raises
    ------
    DamagedFile, RefusedFile, UnknownFormat, UnsupportedLayer, WeightMismatch, BudgetExceeded
        By what is wrong.
    """
    # pyfive costs 80 ms, which recognising a file should not.
    from fluoroscope.formats.hdf5.file import Hdf5File

    limits = limits or Limits()
    file = Hdf5File(data, limits)
    attributes = {**file.attributes(_WEIGHTS), **file.attributes()}
    text = text_of(attributes.get("model_config"))
    if text is None:
        raise _no_architecture(file)
    config = parse(text, what="Its model_config", limits=limits)
    writer, backend = text_of(attributes.get("keras_version")), text_of(attributes.get("backend"))
    major, minor = version_of(writer) or (keras_major(config), 0)
    root, notes = read_config(config, major=major, limits=limits, replacements=replacements)
    weights = GroupWeights(file, _WEIGHTS, major=major, backend=backend).of(root)
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
        notes=(*notes, *training_notes(file, root, major, backend)),
    )


def version_of(writer: str | None) -> tuple[int, int] | None:
    """Major and minor number of a version such as ``2.2.4-tf``; None if there is none."""
    match = _VERSION.match(writer or "")
    return (int(match[1]), int(match[2])) if match else None


def training_notes(file: Hdf5File, root: ModelNode, major: int, backend: str | None) -> Iterator[str]:
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
    if holds_weights(file):
        return UnknownFormat(
            "It holds weights only: the architecture is missing. Give that too: --config model.json, or in "
            "Python config=..., which model.to_json() writes where it was made. Or save the whole model "
            "there: model.save('model.keras')."
        )
    return UnknownFormat(
        f"It is an HDF5 file, but no Keras model: it has {', '.join(names[:5])[:200]}. {_SAVE}"
    )


def holds_weights(file: Hdf5File) -> bool:
    """Whether a file without an architecture has a model's weights, in any of Keras's layouts."""
    known = {_WEIGHTS, "layers", "_layer_checkpoint_dependencies", "vars", "top_level_model_weights"}
    return not {"layer_names", "nb_layers"}.isdisjoint(file.attributes()) or not known.isdisjoint(
        file.names()
    )
