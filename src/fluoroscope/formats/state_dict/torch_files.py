"""What ``torch.save`` wrote: a zip archive of a pickle and raw numbers, or, before 1.6, pickles and numbers
in a row.

Layouts: ``_save`` and ``_legacy_save`` in ``torch/serialization.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from fluoroscope.errors import DamagedFile, UnsupportedLayer
from fluoroscope.formats.keras.zip import SIGNATURE, Archive
from fluoroscope.formats.limits import MIB, Limits
from fluoroscope.formats.state_dict.pickled import Name, Rebuilt, Stored, read
from fluoroscope.formats.state_dict.stored import ITEM_BYTES, StoredTensor
from fluoroscope.network.budget import Budget

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""A pickle of the magic number of these files, 0x1950a86a20f9469cfc6c."""

_LIMITS = Limits(members=50_000, directory=16 * MIB)
_LARGEST_PICKLE = 64 * MIB

_STORAGES = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
    "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
    "ComplexFloat": "complex64", "ComplexDouble": "complex128",
}  # fmt: skip


def is_torch_file(data: bytes) -> bool:
    """True for what ``torch.save`` may have written."""
    if data.startswith(_LEGACY):
        return True
    return data.startswith(SIGNATURE) and any(
        name.endswith("/data.pkl") for name in Archive(data, _LIMITS).names
    )


def read_tree(data: bytes, budget: Budget) -> Any:
    """What was saved, its tensors as `StoredTensor`, all that is neither data nor a tensor as `Opaque`.

    Raises
    ------
    DamagedFile, RefusedFile
        The file contradicts itself, or is an attack.
    BudgetExceeded
        Its numbers, each counted as often as it is used, are over the budget. None was copied.
    """
    tree, numbers = _legacy(data) if data.startswith(_LEGACY) else _archived(data, budget)
    return _Tensors(numbers, budget).placed(tree)


_Numbers = Callable[[str, int], memoryview]
"""A storage's key and its bytes, as declared -> its bytes."""


def _archived(data: bytes, budget: Budget) -> tuple[Any, _Numbers]:
    archive = Archive(data, _LIMITS)
    pickle = next(name for name in archive.names if name.endswith("/data.pkl"))
    folder = pickle.removesuffix("data.pkl")
    order = f"{folder}byteorder"
    if order in archive.names and bytes(archive.read(order, limit=16)) != b"little":
        raise UnsupportedLayer("It was written on a big-endian machine. Save it anew on another.")
    tree = read(BytesIO(archive.read(pickle, limit=_LARGEST_PICKLE)))

    def numbers(key: str, size: int) -> memoryview:
        stored = archive.read(f"{folder}data/{key}", limit=min(budget.memory, len(data)))
        if len(stored) != size:
            raise DamagedFile(f"Storage {key[:40]!r} has {len(stored)} bytes and declares {size}.")
        return stored

    return tree, numbers


def _legacy(data: bytes) -> tuple[Any, _Numbers]:
    stream = BytesIO(data)
    for _ in range(3):
        # The magic number, the version, and facts of the machine.
        read(stream)
    storages: list[Stored] = []
    tree = read(stream, storages)
    keys = read(stream)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise DamagedFile("Its list of storages is none.")
    start, found = stream.tell(), dict[str, int]()
    # A persistent id can also be that of a module's source code, which has no numbers.
    sizes = {stored.key[2]: _declared(stored) for stored in storages if stored.key[:1] == ("storage",)}
    for key in keys:
        if key not in sizes:
            raise DamagedFile(f"Storage {key[:40]!r} belongs to no tensor.")
        # The number of its elements, again, and then these.
        found[key] = start + 8
        start += 8 + sizes[key][1]
    if start != len(data):
        raise DamagedFile("Its storages are not as long as they declare. Is the file cut off?")

    def numbers(key: str, size: int) -> memoryview:
        if key not in found:
            raise DamagedFile(f"Storage {key[:40]!r} is missing.")
        return memoryview(data)[found[key] : found[key] + size]

    return tree, numbers


def _declared(storage: Stored) -> tuple[str, int]:
    """The type of a storage's numbers, and its bytes."""
    match storage.key:
        case ("storage", Name(text=kind), str(), _, int(count), *view) if count >= 0 and not any(view):
            prefix = kind.removeprefix("torch.").removeprefix("storage.").removesuffix("Storage")
            dtype = _STORAGES.get(prefix) or ("uint8" if prefix == "Untyped" else None)
            if dtype is not None:
                return dtype, count * ITEM_BYTES[dtype]
        case _:
            pass
    raise DamagedFile("A storage is described in a way that is not understood.")


def _walk(tree: Any, look: Callable[[Any], object]) -> None:
    """Every value in nested dicts and lists, each container once however often it is in there."""
    waiting, seen = [tree], set[int]()
    while waiting:
        value = waiting.pop()
        look(value)
        if isinstance(value, (dict, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)


class _Tensors:
    """Puts tensors in the place of their descriptions."""

    def __init__(self, numbers: _Numbers, budget: Budget) -> None:
        self._numbers = numbers
        self._budget = budget
        self._storages: dict[str, memoryview] = {}
        self._total = 0

    def placed(self, tree: Any) -> Any:
        """The tree with every dict in it changed in place; tensors elsewhere are not looked for."""
        _walk(tree, self._dict)
        return tree

    def _dict(self, value: Any) -> None:
        if isinstance(value, dict):
            for key, entry in value.items():
                if isinstance(entry, Rebuilt):
                    value[key] = self._tensor(str(key), entry)

    def _tensor(self, name: str, rebuilt: Rebuilt) -> StoredTensor:
        dtype, size = _declared(rebuilt.storage)
        key = rebuilt.storage.key[2]
        if key not in self._storages:
            self._storages[key] = self._numbers(key, size)
        if not isinstance(rebuilt.shape, tuple) or not isinstance(rebuilt.strides, tuple):
            raise DamagedFile(f"Tensor {name[:80]!r} has a shape that is none.")
        tensor = StoredTensor.of(
            name, dtype, self._storages[key], rebuilt.offset, rebuilt.shape, rebuilt.strides
        )
        self._total += tensor.nbytes
        self._budget.allow(self._total, f"Its tensors up to {name[:80]!r}")
        return tensor
