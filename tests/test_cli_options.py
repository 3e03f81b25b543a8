"""The options: what their values mean, and that their choices are those of the rooms."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluoroscope.cli import options
from fluoroscope.cli.class_names import parse_classes
from fluoroscope.cli.options import parse_numbers, parse_pair, parse_size
from fluoroscope.cli.preparing import PictureOptions
from fluoroscope.drawing import scaling
from fluoroscope.drawing.colormaps import COLORMAPS
from fluoroscope.errors import UsageError
from fluoroscope.images import preprocessing, resizing
from fluoroscope.network import devices


def test_choices_are_those_of_the_rooms() -> None:
    assert get_args(options.Method) == get_args(scaling.Method)
    assert get_args(options.Scope) == get_args(scaling.Scope)
    assert get_args(options.Palette) == tuple(COLORMAPS)
    assert get_args(options.Fit) == get_args(resizing.Fit)
    assert get_args(options.Resample) == get_args(resizing.Resample)
    assert get_args(options.Preset) == get_args(preprocessing.Preset)
    assert get_args(options.Device) == get_args(devices.Device)
    assert get_args(options.Precision) == get_args(devices.Precision)


@given(st.integers(1, 999_999), st.integers(1, 999_999), st.sampled_from("xX×"))
def test_sizes_are_height_then_width(height: int, width: int, sign: str) -> None:
    assert parse_size(f"{height}{sign}{width}") == (height, width)
    assert parse_size(f" {height} {sign} {width} ") == (height, width)
    assert parse_size(str(height)) == (height, height)


@pytest.mark.parametrize(
    "text", ["", "x", "150x", "x150", "0", "0x5", "5x0", "-5x5", "1.5x2", "1x2x3", "5000000"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--size .*HEIGHTxWIDTH"):
        parse_size(text)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
def test_numbers_come_back(numbers: list[float]) -> None:
    assert parse_numbers(",".join(map(repr, numbers)), "--mean") == tuple(numbers)


def test_what_is_no_number_is_refused_by_the_name_of_its_option() -> None:
    with pytest.raises(UsageError, match="--std '1;2'"):
        parse_numbers("1;2", "--std")
    with pytest.raises(UsageError, match="--percentiles '1,2,3': two numbers"):
        parse_pair("1,2,3", "--percentiles")
    assert parse_pair("-1.5,2e3", "--limits") == (-1.5, 2000)


def test_classes_are_a_list_or_the_lines_of_a_file(tmp_path: Path) -> None:
    assert parse_classes("cat, dog") == ("cat", "dog")
    assert parse_classes("pneumonia") == ("pneumonia",)
    file = tmp_path / "names.txt"
    file.write_bytes("\ufeffKatze\r\nDackel, rauh\r\n\r\n".encode())
    assert parse_classes(str(file)) == ("Katze", "Dackel, rauh")


def test_classes_may_be_json(tmp_path: Path) -> None:
    file = tmp_path / "classes.json"
    for content in ('["cat", "dog"]', '{"0": "cat", "1": "dog"}', '{"dog": 1, "cat": 0}'):
        file.write_text(content)
        assert parse_classes(str(file)) == ("cat", "dog")
    for content in ('["cat", 1]', '{"0": "cat", "2": "dog"}', '{"cat": 0, "dog": 5}', "[", "[" * 100_000):
        file.write_text(content)
        with pytest.raises(UsageError, match="as JSON it should be a list of names"):
            parse_classes(str(file))


def test_a_name_in_brackets_is_no_json(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text("[background]\ncat\n")
    assert parse_classes(str(file)) == ("[background]", "cat")


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(UsageError, match="name 0 is empty"):
        parse_classes(",cat")


def test_classes_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--classes '/dev/zero' is no regular file"):
        parse_classes("/dev/zero")
    with pytest.raises(UsageError, match=r"--classes 'absent\.txt' cannot be read: No such file"):
        parse_classes("absent.txt")
    binary = tmp_path / "names.bin"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="it is no UTF-8 text"):
        parse_classes(str(binary))
    empty = tmp_path / "names"
    empty.write_text("\n\n")
    with pytest.raises(UsageError, match="there is no name"):
        parse_classes(str(empty))
    large = tmp_path / "large.txt"
    large.write_bytes(b"a" * ((1 << 20) + 1))
    with pytest.raises(UsageError, match="not over 1,048,576 bytes"):
        parse_classes(str(large))


def test_a_preset_and_numbers_contradict_each_other() -> None:
    with pytest.raises(UsageError, match="--preprocess torch says how values are scaled, and so does --mean"):
        PictureOptions(preset="torch", mean="0.5")
    # Unlike in Python, here `unit` was asked for.
    with pytest.raises(UsageError, match="--preprocess unit"):
        PictureOptions(preset="unit", std="2")
