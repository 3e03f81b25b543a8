"""What is looked at: channels with a legend, sheets, figures and HTML, read back and computed another way."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from drawn_reports import HOSTILE
from fluoroscope.drawing.colormaps import palette
from fluoroscope.errors import UsageError
from fluoroscope.output import html
from toy_activations import activations, feature_maps, ramp


def zscore_levels(values: np.ndarray) -> np.ndarray:
    """The formula of the notebooks: 64 levels a deviation, the mean at 128."""
    wide = values.astype(np.float64)
    return np.clip(np.floor((wide - wide.mean()) / wide.std() * 64 + 128), 0, 255).astype(int)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(4).normal(size=shape).astype(np.float32)


# --- Sheets and channels -------------------------------------------------------------------------------


def test_a_channel_as_bare_pixels(tmp_path: Path) -> None:
    values = noise(9, 7, 3)
    feature_maps(values)[1].save(tmp_path / "a.png", legend=False, zoom=2)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.text["Title"] == "conv[1]"
        pixels = np.asarray(picture.convert("RGB"))
    expected = palette("viridis")[zscore_levels(values[..., 1])]
    np.testing.assert_array_equal(pixels, expected.repeat(2, 0).repeat(2, 1))


def test_a_sheet_is_what_its_file_shows(tmp_path: Path) -> None:
    values = noise(9, 7, 4)
    sheet = feature_maps(values).sheet(gap=0, columns=2, colormap="magma")
    sheet.save(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == sheet.png() == sheet._repr_png_()
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    maps = [palette("magma")[zscore_levels(values[..., channel])] for channel in range(4)]
    np.testing.assert_array_equal(pixels, np.vstack([np.hstack(maps[:2]), np.hstack(maps[2:])]))
    assert repr(sheet) == "<SheetPicture 'conv': 4 channels, 18 x 14 pixels>"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[float, float], str]]:
    """Texts as they are set on a picture, and where."""
    texts: list[tuple[tuple[float, float], str]] = []
    text = ImageDraw.ImageDraw.text

    def note(self, xy, words, *args, **kwargs):
        texts.append((xy, words))
        return text(self, xy, words, *args, **kwargs)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    return texts


def test_a_legend_tells_the_value_of_every_colour(
    tmp_path: Path, written: list[tuple[tuple[float, float], str]]
) -> None:
    values = ramp(16, 16, 1, low=-1, high=3)
    feature_maps(values)[0].save(tmp_path / "a.png", scaling="minmax")
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture)
    zoom, top, left = 32, 24 + 2 * 15, 24
    drawn = pixels[top : top + 512 : zoom, left : left + 512 : zoom]
    levels = np.clip(np.floor((values[..., 0].astype(np.float64) + 1) / 4 * 256), 0, 255).astype(int)
    np.testing.assert_array_equal(drawn, palette("viridis")[levels])
    bar = pixels[top : top + 512, 2 * 24 + 512 + 5]
    np.testing.assert_array_equal(bar[0], palette("viridis")[255])
    np.testing.assert_array_equal(bar[-1], palette("viridis")[0])
    ticks = [(xy[1], words) for xy, words in written if xy[0] > 2 * 24 + 512]
    assert [words for _, words in ticks] == ["−1", "0", "1", "2", "3"]
    for y, words in ticks:
        value = float(words.replace("−", "-"))
        level = min(int((value + 1) / 4 * 256), 255)
        nearest = np.abs(bar[round(y - top)].astype(int) - palette("viridis")[level].astype(int)).max()
        assert nearest <= 6


def test_a_low_map_has_a_legend_that_can_be_read(
    tmp_path: Path, written: list[tuple[tuple[float, float], str]]
) -> None:
    feature_maps(ramp(300, 2))[0].save(tmp_path / "a.png")
    places = [xy[1] for xy, _ in written]
    assert all(abs(one - other) >= 15 for i, one in enumerate(places) for other in places[:i])


@pytest.mark.parametrize(("value", "words"), [(5.0, "flat: all 5"), (np.nan, "no finite value")])
def test_a_channel_without_a_range_says_so(
    tmp_path: Path, written: list[tuple[tuple[float, float], str]], value: float, words: str
) -> None:
    feature_maps(np.full((4, 4, 1), value))[0].save(tmp_path / "a.png")
    assert words in [text for _, text in written]


def test_what_is_no_picture_and_no_png(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"dense\[1\] is the single value 2: there is no picture of it"):
        feature_maps([1, 2], "dense")[1].save(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"A channel is saved as \.png"):
        feature_maps(ramp(2, 2, 2))[1].save(tmp_path / "a.jpeg")
    with pytest.raises(UsageError, match=r"A sheet is saved as \.png"):
        feature_maps(ramp(2, 2, 2)).save(tmp_path / "a.pdf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", HOSTILE)
def test_channels_and_sheets_of_hostile_names(tmp_path: Path, name: str) -> None:
    maps = feature_maps(ramp(4, 4, 2), name)
    maps[0].save(tmp_path / "a.png")
    maps.save(tmp_path / "b.png")
    for file in ("a.png", "b.png"):
        with Image.open(tmp_path / file) as picture:
            picture.load()


# --- Figures -------------------------------------------------------------------------------------------


def test_a_figure_of_a_channel_is_its_values() -> None:
    values = noise(9, 7, 2)
    figure = feature_maps(values, "a$b")[1].figure()
    image = figure.axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), values[..., 1])
    assert image.get_clim() == (values[..., 1].min(), values[..., 1].max())
    assert figure.axes[0].get_title() == r"a\$b[1]"
    assert figure.axes[1].get_ylabel() == "activation"
    with Image.open(io.BytesIO(figure._repr_png_())) as picture:
        picture.load()


@pytest.mark.parametrize("value", [5.0, np.nan, np.inf])
def test_a_figure_of_nothing_to_tell_apart(value: float) -> None:
    figure = feature_maps(np.full((3, 4, 1), value))[0].figure()
    assert len(figure.axes) == 1
    assert ("flat, all 5" if value == 5 else "12 values NaN or infinite") in figure.axes[0].get_title()
    assert figure._repr_png_()


def test_a_figure_of_a_sheet_numbers_its_rows() -> None:
    maps = feature_maps(noise(5, 5, 7))[1:]
    figure = maps.figure(columns=2)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["1", "3", "5"]
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), maps.sheet(columns=2).rgb)


# --- HTML ----------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_html_of_hostile_names_is_text() -> None:
    names = [*HOSTILE, "'><script>alert(1)</script>", "\" onload='x"]
    acts = activations({name: ramp(3, 3, 2) for name in names}, {names[-2]: [1, 2]}, network=names[-2])
    shown = [acts._repr_html_(), *(acts[name]._repr_html_() for name in names)]
    shown += [acts[name][0]._repr_html_() for name in names]
    for text in shown:
        tags = Tags(text).found
        assert {tag for tag, _ in tags} <= {"div", "b", "span", "img", "details", "summary", "i"}
        for _, attributes in tags:
            assert set(attributes) <= {"style", "src", "alt", "open"}
            if "src" in attributes:
                assert str(attributes["src"]).startswith("data:image/png;base64,")
        text.encode()
        assert len(text) < 60_000


def test_html_shows_the_sheet() -> None:
    values = noise(9, 7, 2)
    maps = feature_maps(values)
    (source,) = re.findall(r"src='data:image/png;base64,([^']*)'", maps._repr_html_())
    with Image.open(io.BytesIO(base64.b64decode(source))) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    # Two maps side by side, enlarged in whole steps, with a gap of one pixel.
    zoom = len(pixels) // 9
    np.testing.assert_array_equal(pixels, maps.sheet(zoom=zoom, columns=2).rgb)
    assert "dense[1]</b> = 2<" in feature_maps([1, 2], "dense")[1]._repr_html_()


def test_html_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "_LARGEST", 20_000)
    acts = activations({f"layer_{i}": noise(60, 60, 4) for i in range(4)})
    text = acts._repr_html_()
    assert len(text) < 20_000 * 4 / 3 + 8_000
    assert "not shown here" in text
    assert all(f"layer_{i}" in text for i in range(4))
    alone = feature_maps(noise(150, 150, 4))._repr_html_()
    assert len(alone) < 2_000
    assert "not shown here" in alone
