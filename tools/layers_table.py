"""Make ``docs/layers.md`` from the code: run from the project's folder whenever a layer is added.

    python tools/layers_table.py

Keras 2 and 3 tell themselves which layers they ship; Keras 1, which no current Python runs, is listed here.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

from fluoroscope.formats.keras import keras_1
from fluoroscope.formats.keras.functions import GRAPH, OPERATIONS, is_function
from fluoroscope.formats.keras.layers import ALIASES
from fluoroscope.formats.keras.refused import PARTS, REFUSED
from fluoroscope.formats.keras.translate import core
from fluoroscope.formats.keras.translate.table import TABLE

PAGE = Path("docs/layers.md")

KERAS_1 = frozenset(
    (
        "Activation ActivityRegularization AtrousConvolution1D AtrousConvolution2D AveragePooling1D "
        "AveragePooling2D AveragePooling3D BatchNormalization Bidirectional ConvLSTM2D Convolution1D "
        "Convolution2D Convolution3D Cropping1D Cropping2D Cropping3D Deconvolution2D Dense Dropout ELU "
        "Embedding Flatten GRU GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D "
        "GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D Highway InputLayer "
        "LSTM Lambda LeakyReLU LocallyConnected1D LocallyConnected2D Masking MaxPooling1D MaxPooling2D "
        "MaxPooling3D MaxoutDense Merge PReLU ParametricSoftplus Permute RepeatVector Reshape SReLU "
        "SeparableConvolution2D SimpleRNN SpatialDropout1D SpatialDropout2D SpatialDropout3D ThresholdedReLU "
        "TimeDistributed TimeDistributedDense UpSampling1D UpSampling2D UpSampling3D Wrapper ZeroPadding1D "
        "ZeroPadding2D ZeroPadding3D"
    ).split()
)
"""Layers of Keras 1.2.2: of ``keras.layers``, and ``InputLayer`` and ``Merge`` of ``keras.engine``."""

EARLIER_KERAS_2 = frozenset({"CuDNNGRU", "CuDNNLSTM"})
"""Layers of Keras 2.0 to 2.3 and TensorFlow 1 that TF-Keras no longer has."""

NO_LAYERS = {"InputSpec": "no layer: what a layer says of the shapes that it takes"}
"""Classes among a library's layers that are none."""

HEAD = """# Layers of Keras

Made from the code by `python tools/layers_table.py`; a test holds it against Keras {keras} and TF-Keras
{tf_keras}. Every class that Keras 1.2.2, TF-Keras or Keras 3 list among their layers is here.

A layer is *translated* into ONNX operators that compute what Keras computes at inference; or *nothing
happens* in it at inference; or it is *refused*: its row of the layer table says why, and everything that does
not depend on it is shown. An option of a translated layer that is not understood is refused by name, in the
same way.

{counts}

| layer | what is done | Keras | family | how |
|---|---|---|---|---|
"""

FUNCTIONS = """
## Functions

What code does with tensors between layers (`x + y`, `x[:, 0]`, `keras.ops.mean(x)`, `tf.nn.relu(x)`) is
listed among the layers too. These are translated; `tf.shape(x)` and what is computed from it are numbers, not
rows. What would mix the pictures of a batch is refused. Names of TensorFlow 1 (`tf.compat.v1...`) mean the
same.
"""


def library(name: str) -> ModuleType:
    """``keras`` or ``tf_keras``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return __import__(name)


def classes(module: object) -> set[str]:
    """The layers that a module lists: public names of classes."""
    return {
        name
        for name in dir(module)
        if not name.startswith("_") and isinstance(getattr(module, name), type) and name[0].isupper()
    }


def shipped() -> dict[str, str]:
    """Every layer's name -> the major versions of Keras that have it."""
    old, new = library("tf_keras").layers, library("keras").layers
    versions = {
        "1": KERAS_1,
        "2": classes(old) | (classes(old.experimental) & TABLE.keys()) | EARLIER_KERAS_2,
        "3": classes(new),
    }
    # What a class is called in one version only is listed with the versions of that name.
    names = sorted(set().union(*versions.values()), key=str.lower)
    return {name: ", ".join(version for version, have in versions.items() if name in have) for name in names}


def modern(name: str) -> str:
    """The class that a name stands for, by Keras 3."""
    return ALIASES.get(keras_1.CLASSES.get(name, name), keras_1.CLASSES.get(name, name))


def treatment(name: str) -> tuple[str, str, str]:
    """What is done with a layer, its family, and how it is done."""
    kind = modern(name)
    if kind != name:
        return f"as `{kind}`", family(kind), ""
    if name in NO_LAYERS:
        return NO_LAYERS[name], "", ""
    if name in REFUSED:
        return f"refused: {REFUSED[name]}", "", ""
    if name in PARTS:
        return f"refused alone: {PARTS[name]}", "", ""
    if name not in TABLE:
        return "not translated: its row says so, and what comes before it is shown", "", ""
    entry = TABLE[name]
    if entry.translate is core.unchanged:
        return "nothing happens", entry.family, ""
    return "translated", entry.family, summary(entry.translate)


def family(kind: str) -> str:
    return TABLE[kind].family if kind in TABLE else ""


def summary(translate: object) -> str:
    """The first line of a translation's documentation, without the names of the layers it is for."""
    function = translate.func if isinstance(translate, partial) else translate
    line = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")
    line = re.sub(r"^[A-Z][\w*]+((, | and )[\w*]+)*( \([^)]*\))?(: |; |\.$)", "", line).rstrip(".")
    return (line[:1].upper() + line[1:]).replace("|", "\\|")


def rows() -> Iterator[tuple[str, str, str, str, str]]:
    """Name, what is done, versions, family and how, of every layer."""
    for name, versions in shipped().items():
        done, kind, how = treatment(name)
        yield name, done, versions, kind, how


def page() -> str:
    """The whole page."""
    listed = list(rows())
    counted = Counter(done.split(":")[0].split(" ")[0] for _, done, *_ in listed)
    counts = (
        f"{len(listed)} names: {counted['translated']} translated, {counted['nothing']} in which nothing "
        f"happens, {counted['refused']} refused, {counted['as']} other names of these."
    )
    head = HEAD.format(
        keras=library("keras").__version__, tf_keras=library("tf_keras").__version__, counts=counts
    )
    table = "".join(
        f"| `{name}` | {done} | {versions} | {kind} | {how} |\n" for name, done, versions, kind, how in listed
    )
    return f"{head}{table}{functions()}"


def functions() -> str:
    """The functions that files list among their layers, by what their rows are called."""
    kinds = sorted(filter(is_function, TABLE), key=str.lower)
    nodes = [kind for kind in kinds if kind.startswith(GRAPH)]
    names = {
        "Keras 3": [kind for kind in kinds if kind.startswith(OPERATIONS)],
        "tf.keras": [kind for kind in kinds if kind not in nodes and not kind.startswith(OPERATIONS)],
        "Keras on TensorFlow 1.15 to 2.3": nodes,
    }
    # TensorFlow's older names mean the same, but for pictures' sizes.
    listed = {
        library: [kind for kind in found if not kind.startswith("tf.compat.v1.") or "image" in kind]
        for library, found in names.items()
    }
    return FUNCTIONS + "".join(
        f"\n**{library}** ({len(found)}): {', '.join(f'`{kind}`' for kind in found)}.\n"
        for library, found in listed.items()
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
