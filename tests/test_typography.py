from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageFont

from fluoroscope.output.pdf.reportlab_quietly import TTFont
from fluoroscope.output.typography import (
    ELLIPSIS,
    REGULAR,
    SEMIBOLD,
    as_many_as_fit,
    counted,
    covered,
    fitted,
    number,
    numbers_in_runs,
    percent,
    printable,
    shortened,
    speakable,
    wrapped,
)

# Any text, halves of surrogate pairs included.
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=50)


@pytest.mark.parametrize("file", [REGULAR, SEMIBOLD], ids=lambda file: file.stem)
def test_the_fonts_have_exactly_the_characters_stated(file):
    known = TTFont("any", str(file)).face.charToGlyph
    assert {chr(point) for point, glyph in known.items() if glyph} == set(covered())


@pytest.mark.parametrize("file", [REGULAR, SEMIBOLD], ids=lambda file: file.stem)
def test_digits_have_one_width_so_that_columns_of_numbers_align(file):
    font = ImageFont.truetype(str(file), 100)
    assert len({font.getlength(digit) for digit in "0123456789"}) == 1


def test_the_fonts_are_small_and_their_licence_is_beside_them():
    assert sum(file.stat().st_size for file in (REGULAR, SEMIBOLD)) < 120_000
    assert "SIL Open Font License, Version 1.1" in (REGULAR.parent / "OFL.txt").read_text()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("conv2d_1", "conv2d_1"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x00\x7f", "\\x00\\x7f"),
        ("\u202eabc", "\\u202eabc"),
        ("猫", "\\u732b"),
        ("\U0001f600", "\\U0001f600"),
        ("\ud800", "\\ud800"),
        ("e\u0301", "é"),
        ("Привет, κόσμε → × −", "Привет, κόσμε → × −"),
    ],
)
def test_printable_escapes_what_the_fonts_lack(text, shown):
    assert printable(text) == shown


@settings(deadline=None)
@given(ANY_TEXT)
def test_printable_is_printable(text):
    assert set(printable(text)) <= covered()


def test_speakable_keeps_every_script_but_no_controls():
    assert speakable("猫 אב\n\u202e\ud800") == "猫 אב\\n\\u202e\\ud800"


@settings(deadline=None)
@given(ANY_TEXT)
def test_speakable_can_be_encoded(text):
    spoken = speakable(text)
    assert spoken.isprintable()
    spoken.encode("utf-16")


@pytest.mark.parametrize(
    ("text", "limit", "expected"), [("abcdef", 6, "abcdef"), ("abcdefg", 6, "abc…fg"), ("abc", 1, "…")]
)
def test_shortened_leaves_the_middle_out(text, limit, expected):
    assert shortened(text, limit) == expected


def test_a_text_of_a_megabyte_is_cut_before_anything_is_done_with_it():
    assert len(printable("\n" * 10**6)) <= 2 * 400


@settings(deadline=None)
@given(st.text(st.sampled_from("iWm ."), max_size=60), st.floats(0, 60))
def test_fitted_fits_and_keeps_what_it_can(text, width):
    def measure(part):
        return sum({"i": 0.5, "W": 2}.get(char, 1) for char in part)

    result = fitted(text, width, measure)
    assert measure(result) <= width or result == ELLIPSIS or len(result) <= 1
    if measure(text) <= width:
        assert result == text
    elif len(result) > 1:
        assert ELLIPSIS in result
        assert measure(shortened(text, len(result) + 1)) > width or len(result) + 1 == len(text)


def test_wrapped_breaks_at_spaces_and_shortens_the_last_line():
    assert wrapped("one two three", 7, len, lines=3) == ["one two", "three"]
    assert wrapped("one two three four", 7, len, lines=2) == ["one two", "thr…our"]
    assert wrapped("abcdefghij", 4, len, lines=9) == ["abcd", "efgh", "ij"]
    assert wrapped("", 4, len, lines=2) == []


@settings(deadline=None)
@given(st.text(st.sampled_from("ab "), max_size=80), st.integers(1, 20))
def test_wrapped_loses_only_spaces_when_there_is_room(text, width):
    lines = wrapped(text, width, len, lines=100)
    assert all(len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_as_many_as_fit():
    assert as_many_as_fit(["aa", "bb", "cc"], "-", 5, len) == "aa-bb"
    assert as_many_as_fit(["aaaaaa", "b"], "-", 5, len) == "aaaaaa"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-0.03124, "−0.0312"),
        (1.2345e-5, "1.23e−5"),
        (1.5e12, "1.5e12"),
        (math.nan, "NaN"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
    ],
)
def test_number(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.5, "50.0 %"),
        (0.0011, "0.11 %"),
        (0.00001, "< 0.01 %"),
        (0.99999, "> 99.9 %"),
        (0.999, "99.9 %"),
        (math.nan, "–"),
    ],
)
def test_percent_never_rounds_to_all_or_nothing(fraction, text):
    assert percent(fraction) == text


@settings(deadline=None)
@given(st.floats(0, 1))
def test_percent_says_all_or_nothing_only_of_all_or_nothing(fraction):
    said = percent(fraction)
    assert (said in ("0 %", "100 %")) == (fraction in (0, 1))
    assert not said.startswith(("0.0 ", "0.00 ", "100.0"))


def test_counted():
    assert [counted(count, "layer") for count in (0, 1, 2048)] == ["0 layers", "1 layer", "2,048 layers"]


@pytest.mark.parametrize(
    ("numbers", "most", "text"),
    [
        ([3, 7, 8, 9, 12], 9, "3, 7–9, 12"),
        ([1, 2], 9, "1, 2"),
        ([1, 3, 4, 5, 6, 9, 11], 2, "1, 3–6 and 2 more"),
        ([], 9, ""),
    ],
)
def test_numbers_in_runs(numbers, most, text):
    assert numbers_in_runs(numbers, most) == text


@settings(deadline=None)
@given(st.sets(st.integers(0, 200)))
def test_runs_can_be_read_back(numbers):
    read: set[int] = set()
    for part in filter(None, numbers_in_runs(sorted(numbers), 10**6).split(", ")):
        first, _, last = part.partition("–")
        read |= set(range(int(first), int(last or first) + 1))
    assert read == numbers
