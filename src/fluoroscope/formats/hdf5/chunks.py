"""Chunked HDF5 datasets: pieces of an array, each of them compressed for itself.

Keras writes none; files that went through ``h5repack`` or were saved with ``compression="gzip"`` have them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyfive.btree import BTreeV1RawDataChunks

from fluoroscope.errors import BudgetExceeded, DamagedFile, UnknownFormat
from fluoroscope.formats.limits import Limits

_DEFLATE, _SHUFFLE, _FLETCHER32 = 1, 2, 3
_OTHER_FILTERS = {4: "szip", 32000: "LZF", 32001: "Blosc", 32004: "LZ4", 32015: "Zstandard"}
_CHECKSUM_SIZE = 4
_MODULUS = 65_535

Filter = Mapping[str, Any]


def assemble(
    data: memoryview,
    index: BTreeV1RawDataChunks,
    *,
    shape: tuple[int, ...],
    chunk: tuple[int, ...],
    dtype: np.dtype[Any],
    filters: Sequence[Filter],
    limits: Limits,
) -> NDArray[Any]:
    """The array of `shape` whose chunks `index` locates in `data`.

    Parameters
    ----------
    chunk
        Shape of a chunk, of as many axes as `shape`. Those at the far edges overhang and are cut.
    filters
        As pyfive lists them, in the order of writing.

    Raises
    ------
    DamagedFile
        A chunk missing, twice, outside the array or the file, or not of its size when unpacked.
    BudgetExceeded
        The chunks unpack to more than `Limits.expansion` times the file. Nothing was allocated.
    UnknownFormat
        A compression other than deflate.
    """
    for entry in filters:
        if entry["filter_id"] not in (_DEFLATE, _SHUFFLE, _FLETCHER32):
            name = _OTHER_FILTERS.get(entry["filter_id"], f"HDF5 filter {entry['filter_id']}")
            raise UnknownFormat(
                f"Its weights are compressed with {name}. Unpack them: h5repack -f NONE IN OUT."
            )
    if len(chunk) != len(shape) or not all(chunk):
        raise DamagedFile(f"An HDF5 dataset of shape {shape} is in chunks of shape {chunk}.")
    entries = [
        entry for node in index.all_nodes[0] for entry in zip(node["keys"], node["addresses"], strict=True)
    ]
    count = prod(-(-size // step) for size, step in zip(shape, chunk, strict=True))
    if count != len(entries):
        raise DamagedFile(
            f"An HDF5 dataset of shape {shape} should have {count} chunks and has {len(entries)}."
        )
    unpacked = count * prod(chunk) * dtype.itemsize
    if unpacked > max(limits.expanded, limits.expansion * len(data)):
        raise BudgetExceeded(
            f"An HDF5 dataset of shape {shape} would unpack to {unpacked} bytes from a file of {len(data)}. "
            f"Nothing was allocated. If you trust the file: --expansion {-(-unpacked // len(data))}."
        )
    whole = np.empty(shape, dtype)
    missing = set(product(*(range(0, size, step) for size, step in zip(shape, chunk, strict=True))))
    for key, address in entries:
        start: tuple[int, ...] = key["chunk_offset"][:-1]
        if start not in missing:
            raise DamagedFile(f"An HDF5 dataset of shape {shape} has a chunk twice or astray, at {start}.")
        missing.remove(start)
        stored = data[address : address + key["chunk_size"]]
        values = _unfiltered(stored, key["filter_mask"], filters, dtype.itemsize, prod(chunk))
        piece = np.frombuffer(values, dtype).reshape(chunk)
        room = tuple(min(step, size - at) for at, step, size in zip(start, chunk, shape, strict=True))
        place = tuple(slice(at, at + extent) for at, extent in zip(start, room, strict=True))
        whole[place] = piece[tuple(slice(extent) for extent in room)]
    return whole


def _unfiltered(
    stored: memoryview, mask: int, filters: Sequence[Filter], item_size: int, items: int
) -> memoryview | bytes:
    """The bytes of a chunk before its filters; bit n of `mask` says that filter n was left out."""
    size = items * item_size
    values: memoryview | bytes = stored
    for place in reversed(range(len(filters))):
        kind = filters[place]["filter_id"]
        if mask >> place & 1:
            continue
        if kind == _DEFLATE:
            # Never more than the chunk, its checksum and one byte, by which a bomb is known.
            values = zlib.decompressobj().decompress(values, size + _CHECKSUM_SIZE + 1)
        elif kind == _SHUFFLE:
            count = len(values) // item_size
            columns = np.frombuffer(values, np.uint8, count * item_size).reshape(item_size, count)
            values = columns.T.tobytes() + bytes(values[count * item_size :])
        else:
            values = _checked(values)
    if len(values) != size:
        raise DamagedFile(f"An HDF5 chunk unpacks to {len(values)} bytes or more where {size} belong.")
    return values


def _checked(values: memoryview | bytes) -> memoryview | bytes:
    """`values` without the Fletcher-32 checksum at their end, which is checked.

    Its first half is the sum of the big-endian 16-bit words, the second that of all running sums on the way
    there: the first of n words is in n of them, the last in one. Both modulo 65535.
    """
    values, end = values[:-_CHECKSUM_SIZE], values[-_CHECKSUM_SIZE:]
    words = np.frombuffer(bytes(values) + b"\0" * (len(values) % 2), ">u2").astype(np.uint64)
    times = np.arange(len(words), 0, -1, dtype=np.uint64) % _MODULUS
    sums = int(words.sum()) % _MODULUS, int((words * times % _MODULUS).sum()) % _MODULUS
    first, second = struct.unpack("<HH", end)
    if sums != (first % _MODULUS, second % _MODULUS):
        raise DamagedFile("An HDF5 chunk does not fit its checksum.")
    return values
