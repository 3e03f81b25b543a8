"""Live models: objects of a framework that the caller has imported already, and that run in it.

Nothing here imports a framework. A live model can only exist where its framework is in `sys.modules`, so
asking there is enough to know one.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    import keras
    import torch

    from fluoroscope.network.budget import Budget
    from fluoroscope.network.protocol import Network

InputShape = tuple[int | None, ...] | Mapping[str, tuple[int, ...]]
"""Shape of a picture, (height, width, channels), or of each input by its name in a module's ``forward``."""

_KERAS = ("keras", "tf_keras")


def open_live(
    source: object, *, budget: Budget, threads: int = 0, input_shape: InputShape | None
) -> Network | None:
    """The network that a live model is; None for anything that is no live model.

    Raises
    ------
    UsageError, UnsupportedLayer, NetworkError
        See `fluoroscope.formats.live.torch.open_module` and `fluoroscope.formats.live.keras.open_model`.
    """
    # First, since a Keras model on PyTorch is a torch module too.
    library = _keras_of(source)
    if library is not None:
        from fluoroscope.formats.live.keras import open_model

        return open_model(source, library=library, budget=budget, threads=threads, input_shape=input_shape)
    if is_torch_module(source):
        from fluoroscope.formats.live.torch import open_module

        return open_module(source, budget=budget, input_shape=input_shape)
    return None


def is_keras_model(source: object) -> TypeGuard[keras.Model]:
    """True for a ``keras.Model`` of Keras 3 or tf_keras."""
    return _keras_of(source) is not None


def _keras_of(source: object) -> ModuleType | None:
    """The library that a model is of."""
    for name in _KERAS:
        library = sys.modules.get(name)
        kind: Any = getattr(library, "Model", None)
        if kind is not None and isinstance(source, kind):
            return library
    return None


def is_torch_module(source: object) -> TypeGuard[torch.nn.Module]:
    """True for a ``torch.nn.Module``."""
    nn: Any = getattr(sys.modules.get("torch"), "nn", None)
    return nn is not None and isinstance(source, nn.Module)
