"""What is written to terminals and pipes."""

from __future__ import annotations

import io
import json
import math
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fluoroscope.cli.terminal import lines, painted, prepare_streams, show_json


@given(st.text())
def test_nothing_acts_on_a_terminal(text: str) -> None:
    assert all(line.isprintable() for line in lines(text).split("\n"))


def test_line_ends_of_a_message_stay_and_controls_are_seen() -> None:
    assert lines("one\ntwo\x1b[31m\u202e") == "one\ntwo\\x1b[31m\\u202e"


def test_a_megabyte_becomes_a_few_lines() -> None:
    assert len(lines("x" * 1_000_000)) <= 4000


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_text_can_be_written_to_any_stream(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding))
    prepare_streams()
    print("150 × 150 ± 2… ✓ 猫 \udc80", flush=True)
    shown = buffer.getvalue().decode(encoding)
    assert (
        shown.rstrip()
        == {
            "ascii": "150 x 150 +/- 2... ok \\u732b \\udc80",
            "latin-1": "150 × 150 ± 2... ok \\u732b \\udc80",
            "utf-8": "150 × 150 ± 2… ✓ 猫 \\udc80",
        }[encoding]
    )


def _finite(value: Any) -> Any:
    """Oracle: what a reader of strict JSON gets."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return {key: _finite(entry) for key, entry in value.items()} if isinstance(value, dict) else value


@example([math.nan, {"a": -math.inf, "é": [1.5]}])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_json_is_strict_and_ascii(value: Any) -> None:
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        show_json(value)
    text = stream.getvalue()
    assert text.isascii()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(text, parse_constant=refuse) == _finite(value)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert painted("a", "green") == "a"
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", _Terminal())
    assert painted("a", "bold", "green") == "\x1b[1;32ma\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert painted("a", "green") == "a"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert painted("a", "green") == "a"
