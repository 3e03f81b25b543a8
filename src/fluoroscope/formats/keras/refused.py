"""Classes that Keras ships and that are never translated, each with the reason that the user is told."""

from __future__ import annotations

from collections.abc import Mapping

_PROGRAM = "never run"
_BASE = "is a base class, from which layers are made, and computes nothing itself"
_TEXT = "takes text, and a network takes numbers here: give it what the layer makes of the text"
_HASH = "hashes by FarmHash or SipHash, which no operator computes: give it the hashed numbers"

PARTS: Mapping[str, str] = dict.fromkeys(
    ("GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"),
    "computes one step of a recurrence: this is translated inside an RNN layer, not by itself",
)
"""Kind -> why it cannot be run alone, although a layer that holds it can."""

REFUSED: Mapping[str, str] = {
    "Lambda": f"holds marshalled Python bytecode, which is {_PROGRAM}",
    "TorchModuleWrapper": f"wraps a PyTorch module as a pickle, which is a program and {_PROGRAM}",
    "TFSMLayer": f"calls a TensorFlow SavedModel, which is a program in another file and {_PROGRAM}",
    "JaxLayer": f"calls a JAX function of the author's, whose code is {_PROGRAM}",
    "FlaxLayer": f"calls a Flax module of the author's, whose code is {_PROGRAM}",
    "Hashing": _HASH,
    "HashedCrossing": _HASH,
    "StringLookup": _TEXT,
    "TextVectorization": _TEXT,
    "DenseFeatures": "takes tables of feature columns, which are TensorFlow's code and not in the file",
    "ContrastLimitedAdaptiveHistogramEqualization": (
        "equalizes histograms of tiles, for which there is no translation: equalize the pictures before"
    ),
    "AbstractRNNCell": _BASE,
    "PreprocessingLayer": _BASE,
    "Wrapper": _BASE,
}
"""Kind, by Keras 3 -> why it cannot be run."""
