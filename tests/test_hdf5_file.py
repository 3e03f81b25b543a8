"""HDF5 read within bounds: h5py is the oracle, hostile structures are built by hand."""

from __future__ import annotations

import io
import signal
import struct
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stnp

from fluoroscope.errors import (
    BudgetExceeded,
    DamagedFile,
    FluoroscopeError,
    RefusedFile,
    UnknownFormat,
    WeightMismatch,
)
from fluoroscope.formats.hdf5.file import Hdf5File
from fluoroscope.formats.limits import Limits

Write = Callable[[h5py.File], Any]


def written(write: Write, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        write(file)
    return buffer.getvalue()


def opened(write: Write, *, limits: Limits | None = None, **options: Any) -> Hdf5File:
    return Hdf5File(written(write, **options), limits or Limits())


def read(write: Write, name: str = "x", **options: Any) -> np.ndarray[Any, Any]:
    file = opened(write, **options)
    return file.array(file.datasets()[name])


@pytest.fixture(autouse=True)
def at_most_ten_seconds() -> Iterator[None]:
    """Ends a hang: ten seconds of the processor, whatever else the machine does."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise AssertionError("ten seconds of processor time are over")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, 10)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, before)


class TestArrays:
    @pytest.mark.parametrize(
        "dtype", ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8", "i1", "<i4", ">i8", "u1", "<u2", ">u4"]
    )
    def test_every_number_type_comes_in_native_order(self, dtype: str) -> None:
        stored = np.arange(12).reshape(3, 4).astype(dtype)
        array = read(lambda file: file.create_dataset("x", data=stored))
        assert array.dtype == stored.dtype.newbyteorder("=")
        assert array.dtype.isnative
        np.testing.assert_array_equal(array, stored)

    def test_an_array_is_a_read_only_view_of_the_file(self) -> None:
        data = written(lambda file: file.create_dataset("x", data=np.ones((4, 4), np.float32)))
        file = Hdf5File(data, Limits())
        array = file.array(file.datasets()["x"])
        assert np.shares_memory(array, np.frombuffer(data, np.uint8))
        assert not array.flags.writeable

    def test_an_unaligned_file_is_not_copied(self) -> None:
        stored = np.arange(9, dtype=np.float32)
        data = b"\0" + written(lambda file: file.create_dataset("x", data=stored))
        file = Hdf5File(memoryview(data)[1:], Limits())
        array = file.array(file.datasets()["x"])
        assert np.shares_memory(array, np.frombuffer(data, np.uint8))
        np.testing.assert_array_equal(array, stored)

    def test_bfloat16_is_widened(self) -> None:
        import ml_dtypes

        stored = np.array([1.5, -2.25, 3e38, np.inf], dtype=ml_dtypes.bfloat16)
        array = read(lambda file: file.create_dataset("x", data=stored))
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, stored.astype(np.float32))

    def test_bfloat16_as_a_float_of_its_own(self) -> None:
        """Not h5py's way: 8 bits of exponent and 7 of mantissa."""

        def write(file: h5py.File) -> None:
            kind = h5py.h5t.IEEE_F16LE.copy()
            kind.set_fields(15, 7, 8, 0, 7)
            kind.set_ebias(127)
            dataset = h5py.h5d.create(file.id, b"x", kind, h5py.h5s.create_simple((2,)))
            dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([0x3FC0, 0xC010], "<u2"), mtype=kind)

        np.testing.assert_array_equal(read(write), np.array([1.5, -2.25], np.float32))

    def test_a_float_that_is_not_ieee_is_refused(self) -> None:
        def write(file: h5py.File) -> None:
            kind = h5py.h5t.IEEE_F32LE.copy()
            kind.set_fields(31, 24, 7, 0, 24)
            kind.set_ebias(63)
            space = h5py.h5s.create_simple((3,))
            h5py.h5d.create(file.id, b"x", kind, space)

        with pytest.raises(UnknownFormat, match="floats of 4 bytes that are not IEEE 754"):
            opened(write).datasets()

    @pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2)])
    def test_scalars_and_empty_arrays(self, shape: tuple[int, ...]) -> None:
        assert read(lambda file: file.create_dataset("x", data=np.zeros(shape))).shape == shape

    def test_a_compact_dataset(self) -> None:
        def write(file: h5py.File) -> None:
            layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            layout.set_layout(h5py.h5d.COMPACT)
            space = h5py.h5s.create_simple((3,))
            dataset = h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, layout)
            dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([1, 2, 3], np.float32))

        np.testing.assert_array_equal(read(write), [1, 2, 3])

    def test_strings_are_no_weights(self) -> None:
        file = opened(lambda file: file.create_dataset("x", data="text"))
        with pytest.raises(WeightMismatch, match="'x' holds no numbers"):
            file.array(file.datasets()["x"])

    def test_a_user_block_is_skipped(self) -> None:
        stored = np.arange(5.0)
        array = read(lambda file: file.create_dataset("x", data=stored), userblock_size=512)
        np.testing.assert_array_equal(array, stored)


class TestChunks:
    @given(
        stored=stnp.arrays(
            st.sampled_from([np.dtype("<f4"), np.dtype("<f8"), np.dtype("<i2")]),
            stnp.array_shapes(min_dims=1, max_dims=4, max_side=9),
        ),
        compression=st.sampled_from([None, "gzip"]),
        shuffle=st.booleans(),
        fletcher32=st.booleans(),
        data=st.data(),
    )
    @settings(deadline=None, max_examples=60)
    def test_as_h5py_wrote_them(
        self,
        stored: np.ndarray[Any, Any],
        compression: str | None,
        shuffle: bool,
        fletcher32: bool,
        data: st.DataObject,
    ) -> None:
        chunks = tuple(data.draw(st.integers(1, side)) for side in stored.shape)
        array = read(
            lambda file: file.create_dataset(
                "x",
                data=stored,
                chunks=chunks,
                compression=compression,
                shuffle=shuffle,
                fletcher32=fletcher32,
            )
        )
        np.testing.assert_array_equal(array, stored)

    def test_a_chunk_that_was_left_as_it_is(self) -> None:
        """A filter that gains nothing may be skipped: the chunk's mask tells."""
        stored = np.arange(16, dtype=np.float32)

        def write(file: h5py.File) -> None:
            dataset = file.create_dataset("x", (16,), "f4", chunks=(16,), compression="gzip")
            dataset.id.write_direct_chunk((0,), stored.tobytes(), filter_mask=1)

        np.testing.assert_array_equal(read(write), stored)

    def test_a_chunk_twice(self) -> None:
        stored = np.arange(4, dtype=np.float32)
        data = bytearray(written(lambda file: file.create_dataset("x", data=stored, chunks=(2,))))
        second = data.find(struct.pack("<IIQQ", 8, 0, 2, 0))  # size, mask, offset of the chunk, offset in it
        struct.pack_into("<Q", data, second + 8, 0)
        file = Hdf5File(bytes(data), Limits())
        with pytest.raises(DamagedFile, match=r"a chunk twice or astray, at \(0,\)"):
            file.array(file.datasets()["x"])

    def test_what_is_put_together_is_read_only_too(self) -> None:
        array = read(lambda file: file.create_dataset("x", data=np.ones(4), chunks=(2,)))
        assert not array.flags.writeable

    def test_a_broken_checksum_is_told(self) -> None:
        stored = np.arange(64, dtype=np.float32)
        data = bytearray(
            written(lambda file: file.create_dataset("x", data=stored, chunks=(64,), fletcher32=True))
        )
        place = data.find(stored.tobytes())
        data[place] ^= 1
        file = Hdf5File(bytes(data), Limits())
        with pytest.raises(DamagedFile, match="does not fit its checksum"):
            file.array(file.datasets()["x"])

    def test_missing_chunks_are_not_zeros(self) -> None:
        def write(file: h5py.File) -> None:
            dataset = file.create_dataset("x", (4, 4), chunks=(2, 2), dtype="f4")
            dataset[:2, :2] = 1

        with pytest.raises(DamagedFile, match=r"should have 4 chunks and has 1"):
            read(write)

    def test_lzf_is_refused_with_what_to_do(self) -> None:
        def write(file: h5py.File) -> None:
            file.create_dataset("x", data=np.zeros(999), chunks=(999,), compression="lzf")

        with pytest.raises(UnknownFormat, match=r"compressed with LZF.*h5repack"):
            read(write)

    def test_a_bomb_is_refused_before_it_is_unpacked(self) -> None:
        def write(file: h5py.File) -> None:
            file.create_dataset("x", (1 << 25,), dtype="f4", chunks=(1 << 22,), compression="gzip")[:] = 0

        with pytest.raises(BudgetExceeded, match="would unpack to 134217728 bytes"):
            read(write)

    def test_a_chunk_of_more_than_its_size_is_refused(self) -> None:
        def write(file: h5py.File) -> None:
            dataset = file.create_dataset("x", (16,), dtype="f4", chunks=(16,), compression="gzip")
            import zlib

            dataset.id.write_direct_chunk((0,), zlib.compress(bytes(1 << 20)))

        with pytest.raises(DamagedFile, match="unpacks to 69 bytes or more where 64 belong"):
            read(write)


class TestStructure:
    def test_attributes_as_h5py_reads_them(self) -> None:
        def write(file: h5py.File) -> None:
            group = file.create_group("a/b")
            group.attrs["text"] = "schön"
            group.attrs["bytes"] = np.bytes_(b"raw")
            group.attrs["names"] = np.array([b"one", b"three"])
            group.attrs["strings"] = ["eins", "zwei", ""]
            group.attrs["none"] = []
            group.attrs["number"] = 3
            group.attrs["long"] = "x" * 100_000

        attributes = opened(write).attributes("a/b")
        assert attributes["text"] == "schön"
        assert attributes["bytes"] == b"raw"
        assert attributes["names"].tolist() == [b"one", b"three"]
        assert list(attributes["strings"]) == ["eins", "zwei", ""]
        assert len(attributes["none"]) == 0
        assert attributes["number"] == 3
        assert len(attributes["long"]) == 100_000

    def test_a_string_that_was_never_written(self) -> None:
        def write(file: h5py.File) -> None:
            kind = h5py.h5t.py_create(h5py.string_dtype(), logical=True)
            h5py.h5a.create(file.id, b"text", kind, h5py.h5s.create(h5py.h5s.SCALAR))

        assert opened(write).attributes()["text"] == ""

    @pytest.mark.parametrize("longer", range(8))
    def test_a_heap_whose_free_end_is_shorter_than_a_header(self, longer: int) -> None:
        """A heap of 4 KiB has room for 4,080 bytes: with 5 names of 32 bytes and 163 of 24, 8 are left."""
        names = ["longer name!"] * longer + ["layer"] * 163
        file = opened(lambda file: file.attrs.update({"names": names}))
        assert list(file.attributes()["names"]) == names

    def test_names_of_many_members(self) -> None:
        wanted = {f"layer_{number}/kernel" for number in range(300)}

        def write(file: h5py.File) -> None:
            for name in wanted:
                file[name] = np.zeros(1)

        assert opened(write).datasets().keys() == wanted

    @pytest.mark.parametrize("version", ["v108", "latest"])
    def test_newer_structures(self, version: str) -> None:
        def write(file: h5py.File) -> None:
            for number in range(20):
                file[f"g/x{number}"] = np.full(3, number)
            file["g"].attrs["names"] = ["a", "b"]

        file = opened(write, libver=version)
        found = file.datasets("g")
        assert sorted(found) == sorted(f"x{number}" for number in range(20))
        np.testing.assert_array_equal(file.array(found["x7"]), np.full(3, 7))
        assert list(file.attributes("g")["names"]) == ["a", "b"]

    def test_what_is_not_there(self) -> None:
        file = opened(lambda file: file.create_dataset("g/x", data=1.0))
        assert "g/x" in file
        assert "g/y" not in file
        assert "g/x/y" not in file
        assert file.names("nothing") == ()
        assert file.attributes("nothing") == {}
        assert file.datasets("nothing") == {}


class TestOutside:
    """What leads out of the file is refused, never followed, never zeros."""

    def test_an_external_link(self) -> None:
        def write(file: h5py.File) -> None:
            file["here"] = np.zeros(3)
            file["there"] = h5py.ExternalLink("other.h5", "/x")

        with pytest.raises(RefusedFile, match="link to another file, which is not followed"):
            opened(write).names()

    @pytest.mark.parametrize("target", ["/elsewhere/x", "here", "../x"])
    def test_a_soft_link(self, target: str) -> None:
        def write(file: h5py.File) -> None:
            file["group/here"] = np.zeros(3)
            file["group/there"] = h5py.SoftLink(target)

        with pytest.raises(RefusedFile, match=r"'there' in group 'group' is a soft link .* not followed"):
            opened(write).datasets()

    def test_external_raw_storage(self, tmp_path: Any) -> None:
        secret = tmp_path / "secret"
        secret.write_bytes(b"\x01" * 64)

        def write(file: h5py.File) -> None:
            file.create_dataset("x", (4,), dtype="f4", external=[(str(secret), 0, 16)])

        with pytest.raises(RefusedFile, match="'x' are in another file, which is not opened"):
            opened(write).datasets()

    def test_a_virtual_dataset(self) -> None:
        def write(file: h5py.File) -> None:
            layout = h5py.VirtualLayout((4,), dtype="f4")
            layout[:] = h5py.VirtualSource("other.h5", "x", shape=(4,))
            file.create_virtual_dataset("x", layout)

        with pytest.raises(RefusedFile, match="put together from other files"):
            opened(write, libver="latest").datasets()


class TestSizes:
    @pytest.mark.parametrize("chunks", [None, (1 << 20,)])
    def test_declared_but_never_written(self, chunks: tuple[int, ...] | None) -> None:
        def write(file: h5py.File) -> None:
            file.create_dataset("x", (1 << 28,), dtype="f4", chunks=chunks)

        assert len(written(write)) < 13_000
        with pytest.raises(DamagedFile, match="never written"):
            read(write)

    def test_more_than_the_budget(self) -> None:
        def write(file: h5py.File) -> None:
            file["a"], file["b"] = np.zeros(100), np.zeros(100)

        file = opened(write, limits=Limits(weights=1000))
        datasets = file.datasets()
        file.array(datasets["a"])
        file.array(datasets["a"])  # a second look at the same array costs nothing
        with pytest.raises(
            BudgetExceeded, match=r"up to 'b' would take 1.56 KiB; the memory budget is 1000 bytes"
        ):
            file.array(datasets["b"])

    def test_a_truncated_file(self) -> None:
        data = written(lambda file: file.create_dataset("x", data=np.ones(1000)))
        file = Hdf5File(data[:-100], Limits())
        with pytest.raises(DamagedFile, match=r"'x' declares 8000 bytes; the file has 7900 for it"):
            file.array(file.datasets()["x"])

    def test_no_hdf5(self) -> None:
        with pytest.raises(UnknownFormat, match="its signature is missing"):
            Hdf5File(b"PK\x03\x04" + bytes(600), Limits())


class TestEndless:
    """Structures that would keep a trusting reader busy for ever."""

    def test_a_group_in_itself(self) -> None:
        def write(file: h5py.File) -> None:
            file.create_group("a/b")
            file["a/b/again"] = file["a"]

        with pytest.raises(DamagedFile, match="linked in a circle"):
            opened(write).datasets()

    def test_two_ways_from_each_group_to_the_next(self) -> None:
        """Forty groups, a million million paths."""

        def write(file: h5py.File) -> None:
            group = file
            for _ in range(40):
                group["left"] = group.create_group("right")
                group = group["left"]

        with pytest.raises(DamagedFile, match="linked in a circle"):
            opened(write).datasets()

    def test_groups_without_a_bottom(self) -> None:
        def write(file: h5py.File) -> None:
            file.create_group("/".join(["deep"] * 200))

        with pytest.raises(DamagedFile, match="circle or nested too deeply"):
            opened(write).datasets()

    def test_a_header_that_continues_in_itself(self) -> None:
        data = bytearray(written(lambda file: file.attrs.update({"text": "x" * 50})))
        header = _root_header(data)
        (size,) = struct.unpack_from("<I", data, header + 8)
        struct.pack_into("<H", data, header + 2, 65_535)
        struct.pack_into("<HHB3xQQ", data, header + 16, 0x10, 16, 0, header + 16, size)
        with pytest.raises(DamagedFile, match="more than 256 pieces"):
            Hdf5File(bytes(data), Limits()).names()

    def test_a_tree_of_2_to_the_150_nodes(self) -> None:
        data = bytearray(written(lambda file: file.create_dataset("x", data=np.zeros(3))))
        levels = 30
        size = 24 + 32 * 16 + 8
        start = len(data)
        for level in reversed(range(levels)):
            node = start + (levels - 1 - level) * size
            children = b"".join(struct.pack("<QQ", 0, node + size) for _ in range(32))
            data += struct.pack("<4sBBHQQ", b"TREE", 0, level, 32, 0, 0) + children + bytes(8)
        _repoint_root_tree(data, start)
        with pytest.raises(DamagedFile, match="runs in circles"):
            Hdf5File(bytes(data), Limits()).names()

    def test_a_name_as_long_as_the_file(self) -> None:
        def write(file: h5py.File) -> None:
            file["x" * 60_000] = np.zeros(3)

        with pytest.raises(DamagedFile, match="holds a name of 60000 bytes"):
            opened(write).names()

    def test_an_attribute_that_declares_more_than_there_is(self) -> None:
        data = bytearray(written(lambda file: file.attrs.update({"names": ["a", "b", "c"]})))
        place = data.find(struct.pack("<BBB5xQ", 1, 1, 1, 3))
        struct.pack_into("<Q", data, place + 8, 1 << 40)
        with pytest.raises(DamagedFile, match="declares 1099511627776 values"):
            Hdf5File(bytes(data), Limits()).attributes()

    def test_one_string_a_million_times(self) -> None:
        """A megabyte in the heap, and 4,000 references to it."""

        def write(file: h5py.File) -> None:
            file.attrs["names"] = ["x" * (1 << 20)] + ["y"] * 3_999

        data = bytearray(written(write))
        first = data.find(struct.pack("<QQ", 4_000, 4_000)) + 16  # behind the attribute's shape
        reference = bytes(data[first : first + 16])
        data[first : first + 16 * 4_000] = reference * 4_000
        with pytest.raises(DamagedFile, match="runs in circles or is far larger"):
            Hdf5File(bytes(data), Limits()).attributes()

    def test_small_limits_are_kept(self) -> None:
        def write(file: h5py.File) -> None:
            for number in range(100):
                file[f"x{number}"] = np.zeros(1)

        with pytest.raises(DamagedFile, match="given up after 64 MiB or 500 steps"):
            opened(write, limits=Limits(steps=500)).datasets()


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_bytes_changed_at_random_open_or_are_refused(data: st.DataObject) -> None:
    changed = bytearray(_SAMPLE)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(changed) - 9))
        width = data.draw(st.sampled_from([1, 2, 8]))
        value = data.draw(st.integers(0, 256**width - 1))
        changed[place : place + width] = value.to_bytes(width, "little")
    try:
        file = Hdf5File(bytes(changed), Limits())
        file.attributes("g")
        for dataset in file.datasets().values():
            file.array(dataset)
    except FluoroscopeError:
        pass


def _sample() -> bytes:
    def write(file: h5py.File) -> None:
        group = file.create_group("g")
        group.attrs["names"] = np.array([b"a", b"b"])
        group.attrs["strings"] = ["a", "bc"]
        group["a"] = np.arange(6.0)
        group.create_dataset("b", data=np.arange(40), chunks=(8,), compression="gzip", shuffle=True)

    return written(write)


_SAMPLE = _sample()


def _root_header(data: bytearray) -> int:
    """Address of the root's object header, from the superblock's only symbol table entry."""
    return struct.unpack_from("<Q", data, 24 + 4 * 8 + 8)[0]


def _repoint_root_tree(data: bytearray, address: int) -> None:
    """Make the root group's symbol table message name another B-tree."""
    header = _root_header(data)
    place = header + 16
    while struct.unpack_from("<H", data, place)[0] != 0x11:
        place += 8 + struct.unpack_from("<H", data, place + 2)[0]
    struct.pack_into("<Q", data, place + 8, address)
