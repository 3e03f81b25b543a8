"""Files that are no network: each is told what it is, and nothing in it is run."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import fluoroscope as fs
from fluoroscope.errors import BudgetExceeded, NetworkError, RefusedFile, UnknownFormat
from fluoroscope.formats.foreign import identify
from fluoroscope.formats.foreign.pickles import imported


class Caller:
    """Pickled, it is a call of a function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self._call


@pytest.mark.parametrize("protocol", range(6))
def test_the_names_a_pickle_asks_for(protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    found = imported(pickle.dumps([Caller(os.system, f"touch {marker}"), OrderedDict(a=1)], protocol))
    assert "posix.system" in found or "nt.system" in found
    assert "collections.OrderedDict" in found
    assert not marker.exists()


def test_a_name_by_way_of_the_memo_and_one_that_is_computed() -> None:
    # MEMOIZE 'os', POP, 'system', POP, GET both; then a module that is no text.
    by_memo = b"\x80\x04\x8c\x02os\x94\x30\x8c\x06system\x94\x30h\x00h\x01\x93."
    assert imported(by_memo) == ("os.system",)
    assert imported(b"\x80\x04K\x01\x8c\x06system\x93.") == ("?.system",)


@pytest.mark.parametrize("part", range(0, 60, 7))
def test_damaged_pickles_tell_what_they_can(part: int) -> None:
    data = pickle.dumps([Caller(os.system, "true")] * 3)
    assert set(imported(data[:part])) <= {"posix.system", "nt.system"}


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, b"\x80\x02N.")
    return buffer.getvalue()


def numpy_archive() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "program", "label"),
    [
        (pickle.dumps({"a": 1}, 0), True, "a Python pickle"),
        (pickle.dumps([1, 2], 1), True, "a Python pickle"),
        (pickle.dumps({"a": 1}, 5), True, "a Python pickle"),
        (b"cos\nsystem\n(S'true'\ntR.", True, "a Python pickle"),
        (b"(S'true'\nios\nsystem\n.", True, "a Python pickle"),
        (zipped("m/data.pkl", "m/version", "m/data/0"), False, "a PyTorch state dict"),
        (zipped("m/data.pkl", "m/constants.pkl", "m/code/x.py"), True, "a TorchScript archive"),
        (zipped("m/.data/extern_modules", "m/x.py"), True, "a torch.package archive"),
        (zipped("m/archive_format", "m/models/model.json"), True, r"a PyTorch exported program \(.pt2\)"),
        (zipped("model_weights_config.json", "a"), False, "a zip archive without a config.json"),
        (zipped("dir/saved_model.pb"), True, "a TensorFlow SavedModel"),
        (zipped("model/network.h5"), False, "a zip archive with a network in it. .*'model/network.h5'"),
        (numpy_archive(), False, "an archive of NumPy arrays"),
        (b"\x08\x01\x12\x08\n\x06\x12\x04abcd", True, "a TensorFlow SavedModel"),
        (b"\n\x12\n\x01x\x12\x0bPlaceholder*\x00", True, "a frozen TensorFlow graph"),
        (b"\x1c\0\0\0TFL3\x14\0", False, "a TensorFlow Lite model"),
        (b"\x10\0\0\0\0\0\0\0" + b'{"a":{}}        ', False, "a safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\n", False, "a Git LFS pointer"),
        (b"<!DOCTYPE html><title>404</title>", False, "a web page"),
        (b"\x1f\x8b\x08" + bytes(20), False, "a gzip-compressed file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), False, "a picture"),
        (b"\x7fELF" + bytes(20), True, "a program for a computer's processor"),
        (b"#!/bin/sh\nrm -rf /\n", True, "a script"),
    ],
)
def test_what_a_file_is(data: bytes, program: bool, label: str) -> None:
    with pytest.raises(RefusedFile if program else UnknownFormat, match=f"^These bytes: This is {label}"):
        fs.open_network(data)


@pytest.mark.parametrize(
    "data", [b"", b"hello.", b"data d.", b"\x08\x07\x12\x06keras2:\x01", b"\n", b"\n\xff\xff"]
)
def test_what_nothing_is_known_of(data: bytes) -> None:
    assert identify(data) is None


class TestWhatIsNoRegularFile:
    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.h5")
        with pytest.raises(UnknownFormat, match="is no regular file"):
            fs.open_network(tmp_path / "pipe.h5")

    @pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
    def test_devices(self, device: str) -> None:
        with pytest.raises(UnknownFormat, match="is no regular file"):
            fs.open_network(device)

    def test_folders(self, tmp_path: Path) -> None:
        with pytest.raises(UnknownFormat, match="is a folder"):
            fs.open_network(tmp_path)
        (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01\x12\x02\n\0")
        with pytest.raises(RefusedFile, match="a TensorFlow SavedModel: a program, which is not run"):
            fs.open_network(tmp_path)

    def test_paths_that_cannot_be(self, tmp_path: Path) -> None:
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        with pytest.raises(NetworkError, match="cannot be read: "):
            fs.open_network(tmp_path / "loop")
        with pytest.raises(NetworkError, match="cannot be read: embedded null byte"):
            fs.open_network("a\0b")

    def test_a_file_larger_than_the_budget_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "sparse.h5"
        with path.open("wb") as file:
            file.truncate(2**31 + 1)
        with pytest.raises(BudgetExceeded, match="has 2 GiB; with a memory budget of 2 GiB files up to that"):
            fs.open_network(path)

    def test_a_file_that_becomes_shorter(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "network.h5"
        path.write_bytes(bytes(1000))
        before = os.fstat

        def then_cut(handle: int) -> os.stat_result:
            status = before(handle)
            if status.st_ino == path.stat().st_ino:
                os.truncate(path, status.st_size // 2)
            return status

        monkeypatch.setattr(os, "fstat", then_cut)
        with pytest.raises(fs.errors.DamagedFile, match="became shorter while it was read"):
            fs.open_network(path)
