"""Zip archives that are no Keras file, told apart by the names of their members."""

from __future__ import annotations

from collections.abc import Sequence

from fluoroscope.formats.foreign.kinds import Foreign
from fluoroscope.formats.foreign.pickles import EXPORT, imported, torch_pickle
from fluoroscope.formats.foreign.signatures import SAVED_MODEL
from fluoroscope.formats.keras.zip import SIGNATURE, Archive
from fluoroscope.formats.limits import MIB, Limits

_LIMITS = Limits(members=50_000, directory=16 * MIB)
"""A state dict has a member a tensor."""

_LARGEST_PICKLE = 64 * MIB
_NETWORKS = (".keras", ".h5", ".hdf5", ".onnx")


def in_archive(data: bytes) -> Foreign | None:
    """What a zip archive holds; None for anything else.

    Raises
    ------
    NetworkError, BudgetExceeded
        As `Archive` does.
    """
    if not data.startswith(SIGNATURE):
        return None
    archive = Archive(data, _LIMITS)
    names = archive.names
    if any(name.endswith("saved_model.pb") for name in names):
        return SAVED_MODEL
    return _from_torch(archive, names) or _other(names)


def _from_torch(archive: Archive, names: Sequence[str]) -> Foreign | None:
    """PyTorch puts all members into one folder, named after the file."""
    inner = {name.partition("/")[2]: name for name in names}
    instead = f"Where it was made, export the network: {EXPORT}."
    if ".data/extern_modules" in inner or ".data/python_version" in inner:
        label = "a torch.package archive, Python code and pickles"
    elif "archive_format" in inner or "serialized_exported_program.json" in inner:
        label = "a PyTorch exported program (.pt2)"
        instead = (
            "Where you trust it, load it yourself and give the live module: fluoroscope.capture("
            f"torch.export.load(path).module(), picture); or export it: {EXPORT}."
        )
    elif "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        label = "a TorchScript archive"
        instead = (
            "Its layers run inside an interpreter, out of sight: give the live module that it was made from, "
            f"fluoroscope.capture(model, picture); or export it: {EXPORT}."
        )
    elif "data.pkl" in inner:
        return torch_pickle(imported(archive.read(inner["data.pkl"], limit=_LARGEST_PICKLE)))
    else:
        return None
    return Foreign(label=label, program=True, advice=instead)


def _other(names: Sequence[str]) -> Foreign:
    networks = [name for name in names if name.endswith(_NETWORKS)]
    if networks:
        advice = f"Unpack it and give what is in it, {networks[0][:80]!r}."
        return Foreign(label="a zip archive with a network in it", program=False, advice=advice)
    if names and all(name.endswith(".npy") for name in names):
        advice = "Give the network that they belong to, saved whole: model.save('model.keras')."
        return Foreign(label="an archive of NumPy arrays", program=False, advice=advice)
    return Foreign(
        label="a zip archive without a config.json, so no .keras file",
        program=False,
        advice="Give the file that model.save('model.keras') wrote.",
    )
