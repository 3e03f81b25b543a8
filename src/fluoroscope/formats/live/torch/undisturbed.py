"""A model run without a trace: mode, buffers, gradients and random numbers are afterwards as they were."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn


@contextmanager
def undisturbed(model: nn.Module) -> Generator[None]:
    """Every module in evaluation mode and no gradients, until the end; then all as before.

    The attribute ``training`` is set, not ``model.eval()`` called: classes override that to do more.
    Gradients are switched off by ``no_grad``, not ``inference_mode``: what a model keeps from a call (tables
    of rotary positions, masks) would stay a tensor that its owner can never train with.
    """
    modules = list(model.modules())
    trained = [module for module in modules if module.training]
    buffers = _Buffers(modules)
    random = _Random(model)
    try:
        for module in trained:
            module.training = False
        with torch.no_grad(), _uncompiled(modules):
            yield
    finally:
        for module in trained:
            module.training = True
        buffers.restore()
        random.restore()


def _uncompiled(modules: Iterable[nn.Module]) -> AbstractContextManager[object]:
    """Parts that are compiled run as they were written: compiled, what is in them is out of sight."""
    if any(vars(module).get("_compiled_call_impl") or hasattr(module, "_orig_mod") for module in modules):
        return torch.compiler.set_stance("force_eager")
    return nullcontext()  # asking for it would import the compiler


@dataclass(frozen=True, slots=True)
class _Buffer:
    """A buffer, and what was in it when its version was this."""

    tensor: torch.Tensor
    values: torch.Tensor
    version: int

    @classmethod
    def of(cls, tensor: torch.Tensor) -> _Buffer:
        # Tensors made in inference mode have no version: they are put back in any case.
        return cls(tensor, tensor.detach().clone(), -1 if tensor.is_inference() else tensor._version)

    def restore(self) -> None:
        if self.version == -1:
            with torch.inference_mode():
                self.tensor.copy_(self.values)
        elif self.tensor._version != self.version:
            self.tensor.copy_(self.values)


class _Buffers:
    """The buffers of modules: which there are, and what is in them."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self._before = [
            (
                module,
                {name: _Buffer.of(tensor) for name, tensor in _buffers(module).items() if tensor is not None},
            )
            for module in modules
        ]

    def restore(self) -> None:
        with torch.no_grad():
            for module, before in self._before:
                now = _buffers(module)
                for name in [
                    name for name, tensor in now.items() if tensor is not None and name not in before
                ]:
                    delattr(module, name)
                for name, buffer in before.items():
                    if now.get(name) is not buffer.tensor:
                        setattr(module, name, buffer.tensor)
                    buffer.restore()


def _buffers(module: nn.Module) -> dict[str, torch.Tensor | None]:
    # `named_buffers` is a chain of generators, a hundred times slower, and this is asked of every module.
    return vars(module)["_buffers"]


class _Random:
    """The states of torch's generators that a model can draw from."""

    def __init__(self, model: nn.Module) -> None:
        self._cpu = torch.get_rng_state()
        kinds = {torch.device("cpu")}
        if torch.cuda.is_available() or torch.backends.mps.is_available():
            kinds = {tensor.device for tensor in model.parameters()}
        self._cuda = {device: torch.cuda.get_rng_state(device) for device in kinds if device.type == "cuda"}
        self._mps = torch.mps.get_rng_state() if any(device.type == "mps" for device in kinds) else None

    def restore(self) -> None:
        torch.set_rng_state(self._cpu)
        for device, state in self._cuda.items():
            torch.cuda.set_rng_state(state, device)
        if self._mps is not None:
            torch.mps.set_rng_state(self._mps)
