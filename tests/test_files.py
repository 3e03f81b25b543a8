"""Files that are written whole or not at all."""

import os
import stat

import pytest

from fluoroscope.errors import UsageError
from fluoroscope.files import atomic_write, replacing

posix = pytest.mark.skipif(os.name != "posix", reason="permissions and special files are those of POSIX")


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "file.bin"
    atomic_write(path, b"one")
    assert path.read_bytes() == b"one"
    atomic_write(str(path), memoryview(b"two"))
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_until_the_end_the_old_file_is_there(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with replacing(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_a_failure_the_old_file_is_there_and_nothing_else(tmp_path, error):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def fail():
        with replacing(path) as stream:
            stream.write(b"half")
            raise error("midway")

    with pytest.raises(error, match="midway"):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_permissions_are_kept_or_those_of_any_new_file(tmp_path):
    path = tmp_path / "file.bin"
    atomic_write(path, b"one")
    (tmp_path / "plain").write_bytes(b"")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    path.chmod(0o640)
    atomic_write(path, b"two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@posix
def test_a_link_is_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "file.bin"
    link = tmp_path / "link"
    link.symlink_to(target)
    atomic_write(link, b"one")
    assert link.is_symlink()
    assert target.read_bytes() == b"one"


@posix
def test_what_is_no_file_is_written_to_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        atomic_write(pipe, b"through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_a_name_as_long_as_names_can_be(tmp_path):
    atomic_write(tmp_path / ("x" * 255), b"one")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]


def test_folders_that_are_there_and_that_are_not(tmp_path):
    with pytest.raises(UsageError, match="is a folder: give the name of a file in it"):
        atomic_write(tmp_path, b"")
    with pytest.raises(UsageError, match=r"cannot be written: there is no folder .*missing"):
        atomic_write(tmp_path / "missing" / "file.bin", b"")
    assert list(tmp_path.iterdir()) == []
