"""The typeface of everything we set, and text from files made fit to print.

Names of layers, classes and files are never trusted: they can be a megabyte long, hold line breaks, control
characters or marks that turn the direction of reading, or be in a script that the typeface does not have.
What cannot be printed as it is appears as an escape (``\\n``, ``\\u202e``, ``\\u732b``); nothing vanishes.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

FONTS = Path(__file__).with_name("fonts")
"""Folder of the typeface, Inter, with its licence; see the README in it."""

REGULAR = FONTS / "Inter-Regular.ttf"
SEMIBOLD = FONTS / "Inter-SemiBold.ttf"

COVERAGE = (
    "20-7E A0-AC AE-148 14A-17F 18F 192 1E6-1E7 218-21B 237 259 2C6-2C7 2D8-2DD "
    "374-376 37A-37F 384-38A 38C 38E-3A1 3A3-3D7 3F0-3F6 3F9-3FA 3FC-45F 490-491 "
    "1E80-1E85 1EA0-1EF9 2010-2015 2018-201E 2020-2022 2026 2030 2032-2033 2039-203A 2044 "
    "2070-2071 2074-208E 2090-209C 20AC 20B9 20BD 2103 2113 2116 2122 2126 2190-2199 2202 2205-2206 220F "
    "2211-2212 221A 221E 222B 2248 2260 2264-2265 25A0-25A1 25B2-25B3 25B6 25BC 25CB 25CF 2713 2717"
)
"""Code points that both weights have, in hexadecimal: Latin, Greek, Cyrillic, and the signs that we use."""

LONGEST = 400
"""Characters of a text that are looked at; its middle is left out beyond."""

ELLIPSIS = "…"


@cache
def covered() -> frozenset[str]:
    """The characters that can be printed."""
    points: list[str] = []
    for span in COVERAGE.split():
        first, _, last = span.partition("-")
        points.extend(map(chr, range(int(first, 16), int(last or first, 16) + 1)))
    return frozenset(points)


def printable(text: str, limit: int = LONGEST) -> str:
    """`text` with what cannot be printed escaped, its middle left out beyond `limit` characters.

    A line break becomes ``\\n``, ``猫`` becomes ``\\u732b``. Accents that stand alone are joined to their
    letter where there is such a letter.
    """
    text = unicodedata.normalize("NFC", shortened(text, limit))
    known = covered()
    return "".join(char if char in known else _escape(char) for char in text)


def speakable(text: str, limit: int = LONGEST) -> str:
    """`text` for a reader's own interface, which has every script: only what has no shape is escaped.

    For bookmarks and the document's description. Marks that turn the direction of reading, control characters
    and halves of surrogate pairs are escaped, letters of any script are kept.
    """
    return "".join(char if char.isprintable() else _escape(char) for char in shortened(text, limit))


def shortened(text: str, limit: int) -> str:
    """`text`, or its beginning and end around an ellipsis, `limit` characters in all."""
    if len(text) <= limit:
        return text
    head = limit // 2
    return text[:head] + ELLIPSIS + text[len(text) - (limit - head - 1) :]


def fitted(text: str, width: float, measure: Callable[[str], float]) -> str:
    """Printable `text`, its middle left out as far as it must be to be at most `width` wide.

    Parameters
    ----------
    text
        Already `printable`.
    measure
        Width of a text, in the unit of `width`.
    """
    if measure(text) <= width:
        return text
    low, high = 1, len(text)  # `low` characters are taken to fit, `high` are not.
    while high - low > 1:
        middle = (low + high) // 2
        if measure(shortened(text, middle)) <= width:
            low = middle
        else:
            high = middle
    return shortened(text, low)


def wrapped(text: str, width: float, measure: Callable[[str], float], *, lines: int) -> list[str]:
    """Printable `text` in at most `lines` lines of `width`, broken at spaces; the last is shortened."""
    result: list[str] = []
    rest = text
    while rest and len(result) < lines - 1 and measure(rest) > width:
        cut = _breaking_point(rest, width, measure)
        result.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return [*result, fitted(rest, width, measure)] if rest else result


def as_many_as_fit(parts: Sequence[str], between: str, width: float, measure: Callable[[str], float]) -> str:
    """The first of `parts` that fit `width` together, joined; one at least."""
    text = parts[0]
    for part in parts[1:]:
        if measure(text + between + part) > width:
            break
        text += between + part
    return text


def number(value: float, digits: int = 3) -> str:
    """A value to `digits` significant digits, with a true minus sign: ``−0.0312``, ``1.2e−5``, ``∞``."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", "−") if text != "-0" else "0"


def percent(fraction: float) -> str:
    """``97.3 %``, ``0.11 %``; never ``100.0 %`` or ``0.0 %`` for what is not all or nothing."""
    if math.isnan(fraction):
        return "–"
    if 0 < fraction < 0.00005:
        return "< 0.01 %"
    if 0.9995 <= fraction < 1:
        return "> 99.9 %"
    digits = 0 if fraction in (0, 1) else 1 if fraction >= 0.00995 else 2
    return f"{100 * fraction:.{digits}f} %"


def counted(count: int, noun: str) -> str:
    """``1 layer``, ``2 layers``, ``1,024 channels``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def numbers_in_runs(numbers: Iterable[int], most: int) -> str:
    """``3, 7–9, 12``: ascending numbers, runs of three and more joined, in at most `most` parts."""
    runs: list[list[int]] = []
    for value in numbers:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    parts: list[tuple[str, int]] = []
    for first, last in runs:
        if last - first >= 2:
            parts.append((f"{first}–{last}", last - first + 1))
        else:
            parts.extend((str(value), 1) for value in range(first, last + 1))
    text = ", ".join(part for part, _ in parts[:most])
    left = sum(size for _, size in parts[most:])
    return f"{text} and {left:,} more" if left else text


def _breaking_point(text: str, width: float, measure: Callable[[str], float]) -> int:
    """Where the first line of `text` ends: at the last space that fits, or in the middle of a long word."""
    low, high = 1, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        if measure(text[:middle]) <= width:
            low = middle
        else:
            high = middle
    space = text.rfind(" ", 0, low + 1)
    return space if space > 0 else low


def _escape(char: str) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    point = ord(char)
    return named.get(char) or (
        f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
    )
