"""Weights without an architecture: what ``torch.save(model.state_dict())`` wrote, and `.safetensors`.

Nothing in the file is executed or imported, and no number is copied before all of them are known to be within
the file and the budget.
"""

from __future__ import annotations

from fluoroscope.errors import UnknownFormat
from fluoroscope.formats.foreign import PICKLED_MODULE, identify
from fluoroscope.formats.state_dict import safetensors
from fluoroscope.formats.state_dict.stored import StoredTensor
from fluoroscope.formats.state_dict.torch_files import is_torch_file, read_tree
from fluoroscope.formats.state_dict.unwrapping import Matched, Tensors, matched, weights_in
from fluoroscope.network.budget import Budget

__all__ = ["Matched", "StoredTensor", "Tensors", "matched", "read"]


def read(data: bytes, budget: Budget) -> tuple[str, Tensors, tuple[str, ...]]:
    """The weights in a file.

    Returns
    -------
    tuple
        The format, the tensors by the names in the file, and notes.

    Raises
    ------
    RefusedFile, UnknownFormat
        It is a program, or holds no weights.
    DamagedFile
        It contradicts itself.
    BudgetExceeded
        Its tensors are over the budget.
    """
    if safetensors.is_safetensors(data):
        tensors = safetensors.read(data)
        budget.allow(sum(tensor.nbytes for tensor in tensors.values()), "Its tensors")
        return "safetensors", tensors, ()
    foreign = identify(data)
    # What is named in a checkpoint beside tensors (options, a step's number) is not needed, and never made.
    if foreign is not None and (
        not is_torch_file(data) or (foreign.program and foreign.label != PICKLED_MODULE)
    ):
        raise foreign.error()
    if foreign is None:
        raise UnknownFormat(
            "It holds no weights that are known here: give what torch.save(model.state_dict(), path) wrote, "
            "or a "
            ".safetensors file."
        )
    tree = read_tree(data, budget)
    if foreign.program and not isinstance(tree, dict):
        raise foreign.error()
    tensors, notes = weights_in(tree)
    return "torch-state-dict", tensors, notes
