"""Live ``torch.nn.Module`` objects, run by their own forward where they lie and left as they were.

Layers are what the module's author calls modules (``layer1.0.conv1``), functions between them have rows of
their own (``layer1.0.add``), and so have blocks (chosen by name or as ``block``) and attention weights
(``blocks.0.attn:attention``). Nothing of the framework is imported before there is such an object.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from fluoroscope.errors import UnsupportedLayer, UsageError
from fluoroscope.formats.live.torch.network import TorchNetwork, weights_digest
from fluoroscope.formats.live.torch.runner import Runner
from fluoroscope.formats.live.torch.sizes import found_inputs, given_inputs
from fluoroscope.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from fluoroscope.network.budget import Budget
from fluoroscope.network.protocol import Provenance

if TYPE_CHECKING:
    from fluoroscope.formats.live import InputShape

__all__ = ["TorchNetwork", "open_module"]


def open_module(
    module: nn.Module,
    *,
    budget: Budget | None = None,
    input_shape: InputShape | None = None,
    provenance: Provenance | None = None,
) -> TorchNetwork:
    """A module as a network.

    Parameters
    ----------
    module
        It stays where it is and as it is; while it runs it is in evaluation mode, without gradients.
    budget
        Limits for the activations.
    input_shape
        What it takes: (height, width, channels), or such a shape for each argument of ``forward`` by name. By
        default that is found out: channels from the first convolution, the size by trying.
    provenance
        Where its weights came from; by default it is a module like any other.

    Raises
    ------
    UsageError
        What it takes cannot be told, or is not what it takes.
    UnsupportedLayer
        A module whose layers run out of sight, or that was never run.
    """
    module = _unwrapped(module)
    if isinstance(module, torch.jit.ScriptModule):
        raise UnsupportedLayer(
            f"{module.original_name!r} is TorchScript: its layers run inside an interpreter, out of sight. "
            "Give the module "
            "that it was made from."
        )
    scripted = next(
        (path for path, part in module.named_modules() if isinstance(part, torch.jit.ScriptModule)), None
    )
    if scripted is not None:
        raise UnsupportedLayer(
            f"{scripted!r} in {type(module).__name__!r} is TorchScript: its layers run inside an "
            "interpreter, out of sight. Put the module there that it was made from."
        )
    if any(weight.is_meta for weight in chain(module.parameters(), module.buffers())):
        raise UsageError(
            f"{type(module).__name__!r} has weights on the device 'meta', where they have no values: "
            "module.to_empty(device='cpu'), then module.load_state_dict(...)."
        )
    if any(
        isinstance(weight, (nn.UninitializedParameter, nn.UninitializedBuffer))
        for weight in module.parameters()
    ):
        raise UsageError(
            f"{type(module).__name__!r} has layers that were never run: call it once, model(batch)."
        )
    runner = Runner(module, _name(module))
    found = found_inputs(runner) if input_shape is None else given_inputs(runner, input_shape)
    if provenance is None:
        digest, size = weights_digest(module)
        provenance = Provenance(
            path=None,
            format="torch-module",
            writer=f"PyTorch {torch.__version__}",
            backend="torch",
            sha256=digest,
            size=size,
        )
    notes = (*provenance.notes, *found.notes, *_notes(module, found.table.unused))
    provenance = replace(provenance, notes=notes)
    return TorchNetwork(runner, found.inputs, found.table, provenance, budget=budget or Budget())


def _unwrapped(module: nn.Module) -> nn.Module:
    """What ``torch.compile`` and the wrappers for several devices are made around: they hide its layers."""
    while True:
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        elif type(module).__name__ == "OptimizedModule":
            module = cast("nn.Module", module._orig_mod)
        else:
            return module


def _name(module: nn.Module) -> str:
    config = getattr(module, "pretrained_cfg", None)
    stated = config.get("architecture") if isinstance(config, dict) else None
    return stated if isinstance(stated, str) and stated else type(module).__name__


def _notes(module: nn.Module, unused: int) -> list[str]:
    notes: list[str] = []
    if any(part.training for part in module.modules()):
        notes.append("the module is in training mode; it is shown in evaluation mode, and left as it is")
    if unused:
        notes.append(f"{unused:,} weights belong to no layer that was called")
    notes.append(_scaling_note(module))
    kinds = {
        str(weight.dtype).removeprefix("torch.")
        for weight in module.parameters()
        if weight.is_floating_point()
    }
    if kinds - {"float32"}:
        notes.append(f"computed in {', '.join(sorted(kinds))}, shown as float32")
    bad = [name for name, weight in module.state_dict().items() if _not_finite(weight)]
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        notes.append(f"NaN or infinite weights in {', '.join(bad[:5])}{more}")
    return notes


def _scaling_note(module: nn.Module) -> str:
    """How the pictures of a module are scaled, as far as it says: none but timm's do."""
    config = getattr(module, "pretrained_cfg", None)
    stated = config if isinstance(config, dict) else {}
    try:
        mean, std = (tuple(float(value) for value in stated[key]) for key in ("mean", "std"))
    except (KeyError, TypeError, ValueError):
        return (
            "a PyTorch module does not say how its pictures were scaled: most take --preprocess torch "
            "(preprocessing='torch'), as ImageNet's do"
        )
    if (mean, std) == (IMAGENET_MEAN, IMAGENET_STD):
        return "timm scales its pictures as --preprocess torch (preprocessing='torch') does"
    numbers = [",".join(f"{value:g}" for value in values) for values in (mean, std)]
    return f"timm scales its pictures as --scale {1 / 255:.9g} --mean {numbers[0]} --std {numbers[1]} does"


def _not_finite(weight: object) -> bool:
    if not isinstance(weight, torch.Tensor) or not weight.is_floating_point():
        return False
    # The sum is a quick test; it may overflow where no single value has.
    return not bool(weight.sum().isfinite()) and not bool(weight.isfinite().all())
