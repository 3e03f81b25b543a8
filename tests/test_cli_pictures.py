"""Which pictures are meant, and what their outputs are called."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluoroscope.cli.pictures import find_pictures
from fluoroscope.errors import PictureError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``a/``: two pictures, another file and a folder; ``b/``: a picture, of the same name."""
    for name in ("a/one.PNG", "a/two.jpeg", "a/notes.txt", "a/deeper/three.png", "b/one.png", "[1].png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_is_taken_as_it_is(folder: Path) -> None:
    pictures = find_pictures(["absent.xyz"])
    assert (pictures.paths, pictures.names, pictures.several) == (("absent.xyz",), ("absent",), False)


def test_a_name_with_brackets_is_a_name_where_there_is_such_a_file(folder: Path) -> None:
    assert find_pictures(["[1].png"]).paths == ("[1].png",)


def test_a_folder_gives_its_pictures_sorted(folder: Path) -> None:
    pictures = find_pictures(["a"])
    assert pictures.paths == (os.path.join("a", "one.PNG"), os.path.join("a", "two.jpeg"))
    assert pictures.left_out == 1
    assert pictures.several


def test_a_folder_of_one_is_still_a_folder(folder: Path) -> None:
    pictures = find_pictures(["b"])
    assert len(pictures.paths) == 1
    assert pictures.several


def test_a_pattern_reaches_into_folders(folder: Path) -> None:
    assert find_pictures(["**/*.png"]).paths == (
        "[1].png", os.path.join("a", "deeper", "three.png"), os.path.join("b", "one.png"),
    )  # fmt: skip


def test_each_picture_once(folder: Path) -> None:
    assert len(find_pictures(["a/two.jpeg", "a", "./a//two.jpeg"]).paths) == 2


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("a/deeper/..//deeper/x*", "No file fits the pattern"),
        ("empty", "The folder 'empty' holds no picture"),
    ],
)
def test_nothing_found_is_said(folder: Path, argument: str, message: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(PictureError, match=message):
        find_pictures([argument])


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["x/a.png", "x/b.png"], ("a", "b")),
        (["x/a.png", "x/a.jpg"], ("a.png", "a.jpg")),
        (["x/a.png", "x/A.jpg"], ("a.png", "A.jpg")),
        (["x/a.png", "y/a.png"], ("x%2Fa.png", "y%2Fa.png")),
        (["x/a.png", "a.png"], ("x%2Fa.png", "a.png")),
        (["x/100%.png"], ("100%25",)),
        (["x/...png", "x/.hidden.png"], ("%2E.", "%2Ehidden")),
    ],
)
def test_names_are_as_short_as_they_can_be(paths: list[str], names: tuple[str, ...]) -> None:
    assert find_pictures(paths).names == names


_PART = st.text(st.sampled_from("aAb.%\\ é"), min_size=1, max_size=4).filter(lambda part: part.strip("."))


@given(st.lists(st.lists(_PART, min_size=1, max_size=3), min_size=1, max_size=6))
def test_names_are_unique_plain_and_reversible(parts: list[list[str]]) -> None:
    pictures = find_pictures(["/".join(each) for each in parts])
    names = pictures.names
    assert len(set(names)) == len(pictures.paths)
    assert not any(set(name) & set("/\\") or name.startswith(".") for name in names)
    for name, path in zip(names, pictures.paths, strict=True):
        assert unquote(name) in os.path.abspath(path)
