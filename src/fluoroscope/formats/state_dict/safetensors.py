"""`.safetensors`: a JSON header with names, types, shapes and places, and then the numbers.

Format: https://huggingface.co/docs/safetensors, "Format".
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, cast

from fluoroscope.errors import DamagedFile
from fluoroscope.formats.state_dict.stored import ITEM_BYTES, StoredTensor, packed

_LONGEST_HEADER = 100_000_000
"""Bytes, the format's own bound."""

_TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip


def is_safetensors(data: bytes) -> bool:
    """True for a header's length, and a header of that length that may be one."""
    size = int.from_bytes(data[:8], "little")
    return len(data) > 8 and 2 <= size <= min(len(data) - 8, _LONGEST_HEADER) and data[8:9] == b"{"


def read(data: bytes) -> dict[str, StoredTensor]:
    """Every tensor by its name.

    Raises
    ------
    DamagedFile
        A header that is none, or that does not fit the numbers: each byte belongs to one tensor.
    """
    size = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"Its header is no JSON: {error}.") from error
    numbers = memoryview(data)[8 + size :]
    places: list[tuple[int, int]] = [(0, 0)]
    tensors: dict[str, StoredTensor] = {}
    for name, entry in cast("dict[str, Any]", header if isinstance(header, dict) else {}).items():
        if name == "__metadata__":
            continue
        dtype, shape, begin, end = _entry(name, entry)
        places.append((begin, end))
        tensors[name] = StoredTensor.of(name, dtype, numbers[begin:end], 0, shape, packed(shape))
        if tensors[name].nbytes != end - begin:
            raise DamagedFile(f"Tensor {name[:80]!r} has {end - begin} bytes, and its shape another number.")
    places.sort()
    if any(one[1] != other[0] for one, other in pairwise(places)) or places[-1][1] != len(numbers):
        raise DamagedFile("Its tensors overlap, leave gaps or reach beyond the file. Is it cut off?")
    return tensors


def _entry(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    try:
        dtype, shape = entry["dtype"], tuple(entry["shape"])
        begin, end = entry["data_offsets"]
        fits = all(type(number) is int and number >= 0 for number in (*shape, begin, end)) and begin <= end
    except (TypeError, KeyError, ValueError) as error:
        raise DamagedFile(f"The entry of tensor {name[:80]!r} lacks a type, a shape or a place.") from error
    if not fits or _TYPES.get(dtype) not in ITEM_BYTES:
        raise DamagedFile(f"The entry of tensor {name[:80]!r} is not understood: {str(entry)[:120]}.")
    return _TYPES[dtype], shape, begin, end
