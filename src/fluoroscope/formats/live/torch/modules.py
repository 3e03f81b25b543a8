"""The modules of a model: what they are called, and which of them are layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from fluoroscope.network.protocol import Family

_CONTAINERS = (
    nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict, nn.Transformer,
    nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.TransformerDecoder, nn.TransformerDecoderLayer,
)  # fmt: skip
"""Modules of torch itself that are looked into."""

_NEVER_CALLED = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)

_FAMILIES: Mapping[str, Family] = {
    "conv": "conv", "pooling": "pool", "linear": "dense", "batchnorm": "normalization",
    "normalization": "normalization", "instancenorm": "normalization", "activation": "activation",
    "dropout": "regularization", "flatten": "reshape", "pixelshuffle": "reshape", "upsampling": "reshape",
    "padding": "reshape", "fold": "reshape", "channelshuffle": "reshape",
}  # fmt: skip
"""Last part of the module of ``torch.nn.modules`` in which a class, or one it derives from, is defined."""


@dataclass(slots=True)
class Modules:
    """The modules of a model by their paths.

    Attributes
    ----------
    paths
        Each module once, at the first path it is reached by -> that path; empty for the model itself.
    opened
        Paths of modules without modules in them that are looked into nevertheless.
    """

    paths: dict[nn.Module, str]
    opened: set[str] = field(default_factory=set[str])

    @classmethod
    def of(cls, model: nn.Module) -> Modules:
        """All that can be called: nothing that is inside a layer."""
        modules = cls({})
        modules.paths.update(modules._walk(model, ""))
        return modules

    def _walk(self, module: nn.Module, path: str) -> Iterator[tuple[nn.Module, str]]:
        waiting = [(module, path)]
        seen: set[nn.Module] = set()
        while waiting:
            module, path = waiting.pop()
            if module in seen:
                continue
            seen.add(module)
            yield module, path
            if not _is_layer(module):
                inside = [
                    (child, f"{path}.{name}" if path else name) for name, child in module.named_children()
                ]
                waiting.extend(reversed(inside))

    def is_layer(self, module: nn.Module) -> bool:
        """True for a module that is one row; what happens in it is its own business."""
        path = self.paths[module]
        if not path and is_custom(module):
            return False
        return _is_layer(module) and path not in self.opened

    def can_be_called(self) -> Iterator[tuple[nn.Module, str]]:
        """The layers, called or not."""
        for module, path in self.paths.items():
            if self.is_layer(module) and not isinstance(module, _NEVER_CALLED):
                yield module, path


def is_custom(module: nn.Module) -> bool:
    """True for a class that torch does not bring."""
    # A bare Module holds others: torch.fx makes such.
    return type(module) is nn.Module or not type(module).__module__.startswith(("torch.nn", "torch.ao"))


def family_of(module: nn.Module) -> Family:
    """The coarse kind of a layer, by the class of torch it derives from."""
    for base in type(module).__mro__:
        package, _, last = base.__module__.rpartition(".")
        if not package.startswith(("torch.nn", "torch.ao")):
            continue
        if issubclass(base, (nn.Identity, nn.MultiheadAttention)):
            return "other"
        if last in _FAMILIES:
            return _FAMILIES[last]
    return "other"


def kind_of(module: nn.Module) -> str:
    """The class's name; of a parametrized one that of the class it was."""
    return type(module).__name__.removeprefix("Parametrized")


def _is_layer(module: nn.Module) -> bool:
    if isinstance(module, _CONTAINERS):
        return False
    if isinstance(module, torch.jit.ScriptModule) or not is_custom(module):
        return True
    return all(name == "parametrizations" for name, _ in module.named_children())
