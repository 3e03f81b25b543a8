"""Live models: objects of a framework that the caller has imported already, and that run in it.

Nothing here imports a framework. A live model can only exist where its framework is in `sys.modules`, so
asking there is enough to know one.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    import torch

    from fluoroscope.network.budget import Budget
    from fluoroscope.network.protocol import Network

InputShape = tuple[int, int, int] | Mapping[str, tuple[int, ...]]
"""Shape of a picture, (height, width, channels), or of each input by its name in ``forward``."""


def open_live(source: object, *, budget: Budget, input_shape: InputShape | None) -> Network | None:
    """The network that a live model is; None for anything that is no live model.

    Raises
    ------
    UsageError, UnsupportedLayer
        See `fluoroscope.formats.live_torch.open_module`.
    """
    if is_torch_module(source):
        from fluoroscope.formats.live_torch import open_module

        return open_module(source, budget=budget, input_shape=input_shape)
    return None


def is_torch_module(source: object) -> TypeGuard[torch.nn.Module]:
    """True for a ``torch.nn.Module``."""
    nn: Any = getattr(sys.modules.get("torch"), "nn", None)
    return nn is not None and isinstance(source, nn.Module)
