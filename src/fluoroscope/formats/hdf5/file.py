"""An HDF5 file as groups, attributes and arrays, read-only and within bounds.

Contiguous datasets are views of the file's bytes: nothing is copied, and opening a file costs what reading
its structure costs. What leads out of the file (external and soft links, external raw storage, virtual
datasets) is refused: Keras writes none, and pyfive gives zeros for some of it.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyfive.core import UNDEFINED_ADDRESS
from pyfive.misc_low_level import SuperBlock
from pyfive.p5t import P5FloatType, P5IntegerType, P5OpaqueType

from fluoroscope.errors import (
    BudgetExceeded,
    DamagedFile,
    FluoroscopeError,
    RefusedFile,
    UnknownFormat,
    WeightMismatch,
)
from fluoroscope.formats.hdf5 import signature as hdf5_signature
from fluoroscope.formats.hdf5.chunks import assemble
from fluoroscope.formats.hdf5.metadata import Metadata, ObjectHeader
from fluoroscope.formats.limits import Limits
from fluoroscope.network.budget import Budget

_DATATYPE, _EXTERNAL_FILES = 3, 7
_COMPACT, _CONTIGUOUS, _CHUNKED, _VIRTUAL = range(4)
_IEEE_BITS = {2: (5, 10), 4: (8, 23), 8: (11, 52)}
_BFLOAT16_BITS, _BFLOAT16_SIZE = (8, 7), 2
_DEEPEST_GROUP = 64
_NO_NUMBERS = np.dtype("V1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """An array that is in the file, not yet read.

    Attributes
    ----------
    path
        Behind the root, without a leading slash.
    shape, size
        As declared; bytes once unpacked.
    """

    path: str
    header: ObjectHeader
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    bfloat16: bool

    @property
    def size(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


class Hdf5File:
    """A view of the bytes of an HDF5 file.

    Parameters
    ----------
    data
        The whole file. A user block before the HDF5 part is skipped.

    Raises
    ------
    DamagedFile, RefusedFile, UnknownFormat, BudgetExceeded
        Every method, for what it meets in the file; never anything else.
    """

    def __init__(self, data: bytes | memoryview, limits: Limits) -> None:
        self._data = _without_user_block(memoryview(data).cast("B"))
        self._limits = limits
        self._metadata = Metadata(self._data, limits)
        self._headers: dict[int, ObjectHeader] = {}
        self._links: dict[int, Mapping[str, int]] = {}
        self._taken: set[str] = set()
        self._total = 0
        with _parsing("the file's start"):
            self._root = SuperBlock(self._metadata, 0).offset_to_dataobjects

    def __contains__(self, path: str) -> bool:
        return self._find(path) is not None

    def names(self, path: str = "") -> tuple[str, ...]:
        """What a group holds, in the file's order; nothing where there is no such group."""
        header = self._find(path)
        return () if header is None or header.is_dataset else tuple(self._children(header, path))

    def attributes(self, path: str = "") -> Mapping[str, Any]:
        """The attributes of a group or dataset, as NumPy and str; none where there is no such object."""
        header = self._find(path)
        if header is None:
            return {}
        with _parsing(f"the attributes of {path or '/'!r}"), warnings.catch_warnings():
            # pyfive warns of types it cannot read; such an attribute becomes None, which nobody here takes.
            warnings.simplefilter("ignore")
            return header.get_attributes()

    def datasets(self, path: str = "") -> dict[str, Dataset]:
        """All datasets in a group and the groups in it, by their path behind that group's.

        Raises
        ------
        DamagedFile
            A group that is linked into itself, or groups nested beyond reason.
        """
        found: dict[str, Dataset] = {}
        start = self._find(path)
        stack = [] if start is None else [(path, start)]
        seen: set[int] = set()
        while stack:
            here, header = stack.pop()
            if header.offset in seen or here.count("/") > _DEEPEST_GROUP:
                raise DamagedFile(
                    f"Its HDF5 groups are linked in a circle or nested too deeply, at {here[:80]!r}."
                )
            seen.add(header.offset)
            if header.is_dataset:
                found[here.removeprefix(path).lstrip("/")] = self._dataset(here, header)
            else:
                children = self._children(header, here)
                stack += [
                    (f"{here}/{name}".lstrip("/"), self._header(address))
                    for name, address in children.items()
                ]
        return found

    def array(self, dataset: Dataset) -> NDArray[Any]:
        """The values: read-only, native byte order, bfloat16 widened to float32; not always aligned.

        Raises
        ------
        BudgetExceeded
            All arrays read so far and this one are over `Limits.weights`. Nothing was allocated.
        """
        if dataset.dtype == _NO_NUMBERS:
            raise WeightMismatch(f"{dataset.path[:80]!r} holds no numbers.")
        if dataset.path not in self._taken:
            self._taken.add(dataset.path)
            self._total += dataset.size * (2 if dataset.bfloat16 else 1)
        Budget(memory=self._limits.weights).allow(self._total, f"The weights up to {dataset.path[:80]!r}")
        with _parsing(f"dataset {dataset.path[:80]!r}"):
            array = self._values(dataset)
        if dataset.bfloat16:
            array = (array.astype(np.uint32) << 16).view(np.float32)
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        array.flags.writeable = False
        return array

    def _values(self, dataset: Dataset) -> NDArray[Any]:
        header, shape, dtype = dataset.header, dataset.shape, dataset.dtype
        layout, place = header.storage()
        if layout == _CHUNKED:
            return assemble(
                self._data,
                header.chunk_index(),
                shape=shape,
                chunk=header.chunks or (),
                dtype=dtype,
                filters=header.filter_pipeline or (),
                limits=self._limits,
            )
        if layout == _COMPACT:
            # In the header itself: two bytes that tell the size, then the values.
            (size,) = struct.unpack_from("<H", header.msg_data, place)
            source, start = memoryview(header.msg_data), place + 2
        else:
            start, size = struct.unpack_from("<QQ", header.msg_data, place)
            source = self._data
        if dataset.size == 0:
            return np.empty(shape, dtype)
        if start == UNDEFINED_ADDRESS:
            raise DamagedFile(f"{dataset.path[:80]!r} was declared with shape {shape} but never written.")
        if size != dataset.size or start + size > len(source):
            raise DamagedFile(
                f"{dataset.path[:80]!r} declares {dataset.size} bytes; the file has "
                f"{min(size, max(len(source) - start, 0))} for it. It is truncated or damaged."
            )
        return np.frombuffer(source, dtype, prod(shape), start).reshape(shape)

    def _dataset(self, path: str, header: ObjectHeader) -> Dataset:
        with _parsing(f"dataset {path[:80]!r}"):
            if header.find_msg_type(_EXTERNAL_FILES):
                raise RefusedFile(f"The values of {path[:80]!r} are in another file, which is not opened.")
            if header.storage()[0] == _VIRTUAL:
                raise RefusedFile(f"{path[:80]!r} is put together from other files, which are not opened.")
            dtype, bfloat16 = _number_type(header)
            return Dataset(path=path, header=header, shape=header.shape or (), dtype=dtype, bfloat16=bfloat16)

    def _find(self, path: str) -> ObjectHeader | None:
        header = self._header(self._root)
        for name in filter(None, path.split("/")):
            if header.is_dataset:
                return None
            address = self._children(header, path).get(name)
            if address is None:
                return None
            header = self._header(address)
        return header

    def _header(self, address: int) -> ObjectHeader:
        if address not in self._headers:
            with _parsing(f"the object at byte {address}"):
                self._headers[address] = ObjectHeader(self._metadata, address)
        return self._headers[address]

    def _children(self, header: ObjectHeader, path: str) -> Mapping[str, int]:
        if header.offset not in self._links:
            links: dict[str, int] = {}
            with _parsing(f"group {path[:80]!r}"):
                for name, target in header.get_links().items():
                    if isinstance(target, str):
                        raise RefusedFile(
                            f"{name[:80]!r} in group {path[:80] or '/'!r} is a soft link to {target[:80]!r}, "
                            "which is not followed."
                        )
                    links[name] = target
            self._links[header.offset] = links
        return self._links[header.offset]


def _without_user_block(data: memoryview) -> memoryview:
    """From the signature on; addresses count from there."""
    start = hdf5_signature.start(data)
    if start is None:
        raise UnknownFormat("It is no HDF5 file: its signature is missing.")
    return data[start:]


def _number_type(header: ObjectHeader) -> tuple[np.dtype[Any], bool]:
    """The dtype that the values are stored in, and whether they are bfloat16 (then it is uint16)."""
    kind = header.ptype
    if isinstance(kind, P5IntegerType):
        return kind.dtype, False
    if isinstance(kind, P5FloatType):
        # pyfive goes by the size alone. Behind 12 bytes stand place and size of exponent and mantissa.
        message = header.find_msg_type(_DATATYPE)[0]["offset_to_message"]
        _, exponent, _, mantissa = struct.unpack_from("<4B", header.msg_data, message + 12)
        size = kind.dtype.itemsize
        if (exponent, mantissa) == _IEEE_BITS.get(size):
            return kind.dtype, False
        if size == _BFLOAT16_SIZE and (exponent, mantissa) == _BFLOAT16_BITS:
            return np.dtype(kind.dtype.str.replace("f", "u")), True
        raise UnknownFormat(f"It holds floats of {size} bytes that are not IEEE 754.")
    if isinstance(kind, P5OpaqueType) and kind.size == _BFLOAT16_SIZE:
        # HDF5 knows no bfloat16: h5py stores NumPy's as two opaque bytes, and Keras has no other such type.
        return np.dtype("<u2"), True
    return _NO_NUMBERS, False


@contextmanager
def _parsing(what: str) -> Generator[None]:
    """Turn whatever pyfive raises on a damaged file into one of our errors."""
    try:
        yield
    except FluoroscopeError:
        raise
    except NotImplementedError as error:
        raise UnknownFormat(
            f"Reading {what} needs a part of HDF5 not supported here ({error}). Rewrite it: h5repack IN OUT."
        ) from error
    except MemoryError as error:
        raise BudgetExceeded(f"Reading {what} asks for more memory than there is.") from error
    # On a mutated file pyfive raises whatever a wrong number trips over: assertion, struct, index, key,
    # decode, recursion, overflow errors. There is no list of them; each means the same: a damaged file.
    except Exception as error:
        raise DamagedFile(f"Its HDF5 structure is damaged: {what} cannot be read ({error!r}).") from error
