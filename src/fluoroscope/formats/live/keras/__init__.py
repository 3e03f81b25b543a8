"""A live ``keras.Model``: translated where every layer can be, else run in its own framework.

Keras 3 on TensorFlow, JAX or PyTorch, and tf_keras; none of them is imported here.
"""

from __future__ import annotations

import hashlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from fluoroscope.errors import FluoroscopeError, UnsupportedLayer
from fluoroscope.formats.live.keras.watching import values_of
from fluoroscope.network.protocol import Provenance

if TYPE_CHECKING:
    from fluoroscope.formats.live import InputShape
    from fluoroscope.network.budget import Budget
    from fluoroscope.network.protocol import Network

FORMAT = "keras-model"
"""As `Provenance.format` says it."""


def open_model(
    model: Any,
    *,
    library: ModuleType,
    budget: Budget,
    threads: int = 0,
    input_shape: InputShape | None = None,
) -> Network:
    """The network that a live model is.

    Parameters
    ----------
    model
        A ``keras.Model``. Its weights are taken as of now if it is translated, and at every run if not.
    library
        ``keras`` or ``tf_keras``, whichever the model is of.
    budget
        Limits.
    threads
        For running a translated one; 0 for one a core.
    input_shape
        (height, width, channels) for a model that does not say what it takes.

    Raises
    ------
    UsageError
        Nobody says what it takes.
    """
    why = None
    if input_shape is None:
        try:
            return _translated(model, library, budget, threads)
        except FluoroscopeError as error:
            why = f"run by {_writer(library)}, its own library: {error}"
    from fluoroscope.formats.live.keras.inputs import inputs_of
    from fluoroscope.formats.live.keras.network import LiveKeras
    from fluoroscope.formats.live.keras.table import table_of

    inputs = inputs_of(model, input_shape)
    table = table_of(model, inputs)
    provenance = _provenance(model, library, () if why is None else (why,))
    return LiveKeras(model, inputs, table, provenance, budget=budget)


def _translated(model: Any, library: ModuleType, budget: Budget, threads: int) -> Network:
    """The model as ONNX.

    Raises
    ------
    UnsupportedLayer
        A layer of it cannot be.
    """
    from fluoroscope.formats.live.keras.model import read_live
    from fluoroscope.formats.opened import opened_keras
    from fluoroscope.network.onnx_network import OnnxNetwork

    read = read_live(model, version=str(library.__version__))
    found = opened_keras(read)
    problem = next((row.layer.problem for row in found.graph.rows if row.layer.problem is not None), None)
    if problem is not None:
        raise UnsupportedLayer(problem)
    provenance = _provenance(model, library, found.notes)
    return OnnxNetwork(found.graph, provenance, budget=budget, resize=found.resize, threads=threads)


def _provenance(model: Any, library: ModuleType, notes: tuple[str, ...]) -> Provenance:
    """Where it came from; the digest is of its weights, as they are now."""
    digest, size, bad = hashlib.sha256(), 0, list[str]()
    for weight in model.weights:
        values = values_of(weight)
        digest.update(np.ascontiguousarray(values).data)
        size += values.nbytes
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad.append(str(getattr(weight, "path", weight.name)))
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        notes = (*notes, f"NaN or infinite weights in {', '.join(bad[:5])}{more}")
    backend: Any = getattr(getattr(library, "backend", None), "backend", None)
    return Provenance(
        path=None,
        format=FORMAT,
        writer=_writer(library),
        backend=str(backend()) if callable(backend) else None,
        sha256=digest.hexdigest(),
        size=size,
        notes=notes,
    )


def _writer(library: ModuleType) -> str:
    return f"Keras {library.__version__}"
