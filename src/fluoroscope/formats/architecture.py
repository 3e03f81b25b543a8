"""A file of weights and the name of an architecture, put together in PyTorch."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from fluoroscope.errors import MissingDependency, NetworkError
from fluoroscope.formats import state_dict
from fluoroscope.network.budget import Budget
from fluoroscope.network.protocol import Network, Provenance

if TYPE_CHECKING:
    from fluoroscope.formats.live import InputShape


def open_weights(
    data: bytes, path: str | None, arch: str, *, budget: Budget, input_shape: InputShape | None
) -> Network:
    """The network that an architecture is with the weights of a file.

    Parameters
    ----------
    data, path
        The file's content, and where it was read from.
    arch
        See `fluoroscope.formats.live.torch.architectures.Architecture`.
    input_shape
        As for a live module.

    Raises
    ------
    UsageError, MissingDependency
        There is no such architecture, or its library is not installed.
    RefusedFile, UnknownFormat, DamagedFile, BudgetExceeded
        The file; see `fluoroscope.formats.state_dict.read`. It is read before anything is made of it.
    WeightMismatch
        Its weights are not those of the architecture.
    """
    label = repr(path) if path is not None else "These bytes"
    try:
        form, tensors, notes = state_dict.read(data, budget)
        try:
            from fluoroscope.formats.live.torch import open_module
            from fluoroscope.formats.live.torch.architectures import Architecture, built
        except ModuleNotFoundError as missing:
            if missing.name != "torch":
                raise
            raise MissingDependency("--arch needs PyTorch: pip install torch.") from missing
        architecture = Architecture.parse(arch)
        module, more = built(architecture, tensors)
        provenance = Provenance(
            path=path,
            format=form,
            writer=None,
            backend="torch",
            sha256=hashlib.sha256(data).hexdigest(),
            size=len(data),
            notes=(f"architecture {architecture}", *notes, *more),
        )
        return open_module(module, budget=budget, input_shape=input_shape, provenance=provenance)
    except NetworkError as error:
        raise type(error)(f"{label}: {error}") from error
