"""The structure of an HDF5 file, read by pyfive within bounds.

pyfive trusts what it reads: a B-tree whose nodes point at each other, a header continued by itself or a name
without an end keep it busy for ever, and links out of the file trip an assertion. Here it reads through
`Metadata`, which counts, and `ObjectHeader` closes the doors that counting reads does not.

Format: HDF5 File Format Specification 3.0, https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
from pyfive.btree import BTreeV1RawDataChunks
from pyfive.core import UNDEFINED_ADDRESS
from pyfive.dataobjects import DataObjects
from pyfive.misc_low_level import Heap

from fluoroscope.errors import DamagedFile, RefusedFile
from fluoroscope.formats.limits import Limits

_HEADER_PIECES = 256
"""Blocks one object header may be spread over. pyfive joins them one by one, so the cost is quadratic."""

_MESSAGE_SIZE = 8
"""Bytes of the smallest header message: each is a step of its own."""

_ATTRIBUTE_STEPS = 10
_HEAP_HEADER_SIZE = _HEAP_OBJECT_SIZE = 16
_HEAP_SIZE_PLACE = 8

_LINK_TYPE_PRESENT = 8
_HARD_LINK, _SOFT_LINK, _EXTERNAL_LINK = 0, 1, 64


class Metadata:
    """The bytes of a file as pyfive wants them (`seek`, `read`), with an allowance.

    Parameters
    ----------
    data
        The file. Nothing is copied but what is read.
    limits
        `Limits.metadata` bytes and `Limits.steps` steps may be read in all.
    """

    def __init__(self, data: memoryview, limits: Limits) -> None:
        self.limits = limits
        self._data = data
        self._position = 0
        self._bytes = limits.metadata
        self._steps = limits.steps
        self._pieces: int | None = None
        self._heaps: dict[int, Mapping[int, memoryview]] = {}

    def seek(self, offset: int) -> None:
        self._position = offset

    def read(self, size: int) -> bytes:
        """Up to `size` bytes from the position on; fewer at the end of the file."""
        piece = bytes(self._data[self._position : self._position + max(size, 0)])
        self._position += len(piece)
        self.spend(size=len(piece))
        if self._pieces is not None:
            self._pieces += 1
            self.spend(steps=len(piece) // _MESSAGE_SIZE)
            if self._pieces > _HEADER_PIECES:
                raise DamagedFile(f"An HDF5 object header is in more than {_HEADER_PIECES} pieces.")
        return piece

    def spend(self, *, size: int = 0, steps: int = 1) -> None:
        """Take from the allowance.

        Raises
        ------
        DamagedFile
            It is used up: the file's structure runs in circles, or holds far more objects than a network has.
        """
        self._bytes -= size
        self._steps -= steps
        if self._bytes < 0 or self._steps < 0:
            raise DamagedFile(
                "Its HDF5 structure runs in circles or is far larger than a network's: it was given up after "
                f"{self.limits.metadata >> 20} MiB or {self.limits.steps} steps."
            )

    def heap(self, address: int) -> Mapping[int, memoryview]:
        """The objects of a global heap by their index; read once, however many strings are in it.

        pyfive's own reader trips over a heap whose last free bytes are fewer than an object's header: h5py
        leaves such ends behind lists of strings.
        """
        if address not in self._heaps:
            self.seek(address)
            signature, version, size = struct.unpack("<4sB3xQ", self.read(_HEAP_HEADER_SIZE))
            if signature != b"GCOL" or version != 1:
                raise DamagedFile(f"There is no HDF5 heap at byte {address}.")
            body = memoryview(self.read(size - _HEAP_HEADER_SIZE))
            objects: dict[int, memoryview] = {}
            at = 0
            while at + _HEAP_OBJECT_SIZE <= len(body):
                index, extent = struct.unpack_from("<H6xQ", body, at)
                if index == 0:
                    break
                at += _HEAP_OBJECT_SIZE
                objects[index] = body[at : at + extent]
                at += -(-extent // 8) * 8
                self.spend()
            self._heaps[address] = objects
        return self._heaps[address]

    def begin_header(self) -> None:
        self._pieces = 0

    def end_header(self) -> None:
        self._pieces = None


class ObjectHeader(DataObjects):
    """A group's or dataset's header, at `address` in the file.

    Raises
    ------
    RefusedFile
        From `get_links`: a link that leads out of the file.
    DamagedFile
        Declared counts that the bytes at hand cannot hold.
    """

    def __init__(self, metadata: Metadata, address: int) -> None:
        metadata.begin_header()
        super().__init__(metadata, address)
        metadata.end_header()
        self._metadata = metadata

    def storage(self) -> tuple[int, int]:
        """Of a dataset: its layout class, and where in `msg_data` the properties of that begin."""
        _, layout, place = self.get_id_storage_params()
        if layout is None or place is None:
            raise DamagedFile("An HDF5 dataset does not say where its values lie.")
        return layout, place

    def chunk_index(self) -> BTreeV1RawDataChunks:
        """Where the chunks of a chunked dataset lie."""
        self._get_chunk_params()
        if self._chunk_address == UNDEFINED_ADDRESS:
            raise DamagedFile(f"An HDF5 dataset of shape {self.shape} was declared but never written.")
        return BTreeV1RawDataChunks(self._metadata, self._chunk_address, self._chunk_dims)

    def _iter_links_btree_v1(self, btree_address: int, heap_address: int) -> Generator[tuple[str, int | str]]:
        self._check_names(heap_address)
        return super()._iter_links_btree_v1(btree_address, heap_address)

    def _decode_link_msg(self, data: bytes, offset: int) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        # pyfive's is static, and called through the instance, which is needed here.
        self._charge(data)
        kind = data[offset + 2] if data[offset + 1] & _LINK_TYPE_PRESENT else _HARD_LINK
        if kind not in (_HARD_LINK, _SOFT_LINK):
            where = "another file" if kind == _EXTERNAL_LINK else "something only its maker knows"
            raise RefusedFile(f"It holds an HDF5 link to {where}, which is not followed.")
        return super()._decode_link_msg(data, offset)

    def _parse_attribute_msg(self, buffer: bytes, offset: int) -> Any:
        self._charge(buffer)
        self._metadata.spend(steps=_ATTRIBUTE_STEPS)
        return super()._parse_attribute_msg(buffer, offset)

    def _attr_value(self, ptype: Any, buf: bytes, count: int, offset: int) -> Any:
        # pyfive makes room for what is declared before it looks at what is there.
        if not 0 <= count <= len(buf):
            raise DamagedFile(f"An HDF5 attribute declares {count} values in {len(buf)} bytes.")
        return super()._attr_value(ptype, buf, count, offset)

    def _vlen_size_and_data(self, buf: bytes, offset: int) -> tuple[int, bytes]:
        size, address, index = struct.unpack_from("<IQI", buf, offset)
        if not address:
            return 0, b""
        heap = self._metadata.heap(address)
        if index not in heap:
            raise DamagedFile(
                f"An HDF5 string is said to be object {index} of a heap that has no such object."
            )
        data = bytes(heap[index])
        # An array of strings can name one object a million times: each copy counts.
        self._metadata.spend(size=len(data))
        return size, data

    def _check_names(self, heap_address: int) -> None:
        """A name ends where the next zero byte is; without this it may be as long as the file."""
        # The limit is of characters of up to 4 bytes. Nearly every heap is shorter than that as a whole.
        longest_allowed = 4 * self._metadata.limits.name
        self._metadata.seek(heap_address + _HEAP_SIZE_PLACE)
        (size,) = struct.unpack("<Q", self._metadata.read(8))
        if size <= longest_allowed:
            return
        names = np.frombuffer(Heap(self._metadata, heap_address).data, np.uint8)
        longest = int(np.diff(np.flatnonzero(names == 0), prepend=-1).max(initial=1)) - 1
        if longest > longest_allowed:
            raise DamagedFile(f"An HDF5 group holds a name of {longest} bytes.")

    def _charge(self, buffer: bytes) -> None:
        """Count a block copied out of a fractal heap; the header itself was counted when it was read."""
        if buffer is not self.msg_data:
            self._metadata.spend(size=len(buffer))
