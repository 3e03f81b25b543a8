"""Where results go, and what is never written over."""

from __future__ import annotations

import json
import os
import re
import zipfile
from pathlib import Path

import pytest

from fluoroscope.cli import destination
from fluoroscope.cli.pictures import Pictures
from fluoroscope.errors import UsageError
from fluoroscope.output.save import kind_of

ONE = Pictures(paths=("x/cat.png",), names=("cat",), several=False)
TWO = Pictures(paths=("x/cat.png", "x/dog.png"), names=("cat", "dog"), several=True)
DEFAULT = destination.DEFAULT


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("given", "one", "two"),
    [
        (None, [f"{DEFAULT}.pdf"], [f"{DEFAULT}/cat.pdf", f"{DEFAULT}/dog.pdf"]),
        ("maps/", ["maps/"], ["maps/cat/", "maps/dog/"]),
        ("maps", ["maps"], [os.path.join("maps", "cat", ""), os.path.join("maps", "dog", "")]),
        ("o/{name}.npz", ["o/cat.npz"], ["o/cat.npz", "o/dog.npz"]),
        ("{name}/x.PNG", ["cat/x.PNG"], ["cat/x.PNG", "dog/x.PNG"]),
    ],
)
def test_each_picture_has_its_output(given: str | None, one: list[str], two: list[str]) -> None:
    assert list(destination.outputs(given, ONE)) == one
    assert list(destination.outputs(given, TWO)) == two


def test_dots_in_a_pictures_name_are_no_suffix(tmp_path: Path) -> None:
    names = ["1.2.840.42.jpeg", "my.png.jpeg"]
    for name in names:
        (tmp_path / name).touch()
    stems = tuple(name.removesuffix(".jpeg") for name in names)
    pictures = Pictures(paths=tuple(names), names=stems, several=True)
    assert [kind_of(path) for path in destination.outputs("maps/", pictures)] == ["", ""]
    assert [kind_of(path) for path in destination.outputs("{name}/", pictures)] == ["", ""]


def test_one_file_is_for_one_picture() -> None:
    assert destination.outputs("a.pdf", ONE) == ("a.pdf",)
    with pytest.raises(UsageError, match=re.escape("2 pictures cannot all become 'a.pdf'")) as caught:
        destination.outputs("a.pdf", TWO)
    assert "'a/'" in str(caught.value)
    assert "'{name}.pdf'" in str(caught.value)


def test_an_unknown_suffix_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be told from its suffix"):
        destination.outputs("a.jpeg", ONE)


@pytest.mark.parametrize(
    ("given", "one", "two"),
    [
        (None, ["a%2Fb_3.png"], [f"{DEFAULT}/cat.png", f"{DEFAULT}/dog.png"]),
        (
            "m/",
            [os.path.join("m/", "a%2Fb_3.png")],
            [os.path.join("m/", "cat.png"), os.path.join("m/", "dog.png")],
        ),
        ("{name}_x.png", ["cat_x.png"], ["cat_x.png", "dog_x.png"]),
    ],
)
def test_a_channel_is_a_png(given: str | None, one: list[str], two: list[str]) -> None:
    assert list(destination.channel_outputs(given, ONE, "a/b", 3)) == one
    assert list(destination.channel_outputs(given, TWO, "a/b", 3)) == two


def test_a_channel_is_no_pdf_and_one_png_is_for_one_picture() -> None:
    with pytest.raises(UsageError, match="One channel becomes a PNG"):
        destination.channel_outputs("a.pdf", ONE, "a", 3)
    with pytest.raises(UsageError, match="cannot all become"):
        destination.channel_outputs("a.png", TWO, "a", 3)


def test_what_is_read_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "cat.png").touch()
    os.symlink("cat.png", "link.png")
    for force in (False, True):
        with pytest.raises(UsageError, match=r"'link\.png' is what is read"):
            destination.check(["link.png"], ["model.onnx", "cat.png"], force=force)


@pytest.mark.parametrize("name", ["a.pdf", "a.png", "a.npz", "a.json"])
def test_what_another_wrote_needs_force(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"a holiday picture")
    with pytest.raises(UsageError, match=f"'{name}' is there already.*--force"):
        destination.check([name], [], force=False)
    destination.check([name], [], force=True)
    assert (tmp_path / name).read_bytes() == b"a holiday picture"


def test_an_empty_file_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").touch()
    destination.check(["a.pdf"], [], force=False)


def test_what_we_wrote_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG tEXtSoftware\0Fluoroscope")
    (tmp_path / "b.pdf").write_bytes(b"%PDF" + bytes(200_000) + b"/Author (Fluoroscope)")
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("__manifest__.npy", b"")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "manifest.json").write_text(json.dumps({"fluoroscope": "0.1.0"}, indent=1))
    (tmp_path / "d" / "somebody else's.txt").write_text("stays")
    destination.check(["a.png", "b.pdf", "c.npz", "d"], [], force=False)


def test_the_manifest_of_another_program_stops_a_folder(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "manifest.json").write_text('{"name": "a web page", "about": "fluoroscope"}')
    with pytest.raises(UsageError, match=r"manifest\.json' is there already"):
        destination.check(["site"], [], force=False)


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    destination.check(["x/y/a.pdf"], [], force=False)
    assert (tmp_path / "x" / "y").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="The folder 'file' cannot be made: a file is in the way"):
        destination.check(["file/a.pdf"], [], force=False)


def test_no_name_is_no_folder() -> None:
    with pytest.raises(UsageError, match=r"--output '' names nothing: give a file such as maps\.pdf"):
        destination.check(["a.pdf", ""], [], force=True)
