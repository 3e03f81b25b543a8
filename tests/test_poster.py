"""The poster, read back by Pillow."""

from __future__ import annotations

import json
import os
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from drawn_reports import HOSTILE, draw, layer, maps, report, stack
from fluoroscope.drawing.colormaps import palette
from fluoroscope.drawing.style import Style
from fluoroscope.errors import BudgetExceeded, UsageError
from fluoroscope.output.png import encode, encode_bands
from fluoroscope.output.poster import write_poster


@pytest.fixture
def target(tmp_path):
    return tmp_path / "poster.png"


def read(given, path, **options):
    layers = list(given.layers)
    write_poster(replace(given, layers=layers), path, **options)
    with Image.open(path) as image:
        image.load()
        assert image.mode == "RGB"
        return np.asarray(image), layers


def sheet_of(drawn, factor=1):
    """The sheet in colour, as its own file has it, enlarged."""
    pixels = drawn.image.palette[drawn.image.samples()]
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def places(poster, sheet):
    """Where a sheet lies in a poster, exactly."""
    height, width = sheet.shape[:2]
    inner = poster[: poster.shape[0] - height + 1, : poster.shape[1] - width + 1]
    candidates = (inner == sheet[0, 0]).all(-1)
    last = poster[height - 1 :, width - 1 :]
    candidates &= (last == sheet[-1, -1]).all(-1)
    return [
        (y, x)
        for y, x in np.argwhere(candidates).tolist()
        if np.array_equal(poster[y : y + height, x : x + width], sheet)
    ]


def test_every_sheet_is_there_once_at_exact_pixels(target):
    layers = [
        (layer("conv_1", (40, 50, 20)), maps(40, 50, 20, seed=1)),
        (layer("conv_2", (33, 33, 7)), maps(33, 33, 7, seed=2)),
        (layer("fc", (100,), "Dense"), maps(100, seed=3)),
    ]
    poster, drawn = read(report(layers), target)
    assert [len(places(poster, sheet_of(one))) for one in drawn] == [1, 1, 1]


def test_a_channel_can_be_read_back(target):
    values = maps(40, 50, 20)
    poster, (drawn,) = read(report([(layer("conv", (40, 50, 20)), values)]), target)
    ((y, x),) = places(poster, sheet_of(drawn))
    top, left, height, width = drawn.geometry.box(17)
    channel = poster[y + top : y + top + height, x + left : x + left + width]
    colours = {tuple(colour): level for level, colour in enumerate(palette().tolist())}
    # Level by the formula of the notebooks; a marker may have taken a level, then it is one less.
    one = values[..., 17].astype(np.float64)
    levels = np.clip((one - one.mean()) / one.std() * 64 + 128, 0, 255).astype(int)
    read_back = np.array([colours[tuple(pixel)] for pixel in channel.reshape(-1, 3).tolist()])
    assert np.abs(read_back - levels.ravel()).max() <= 1


@pytest.mark.parametrize(("side", "factor"), [(7, 5), (15, 3), (31, 2), (32, 1)])
def test_small_maps_are_enlarged_by_a_whole_factor(target, side, factor):
    poster, (drawn,) = read(report(stack(1, side, side, 12)), target)
    assert len(places(poster, sheet_of(drawn, factor))) == 1


def test_nothing_is_enlarged_where_the_limit_would_be_passed(target):
    given = report(stack(1, 8, 8, 3000))
    layers = list(given.layers)
    large, _ = read(replace(given, layers=layers), target)
    pixels = large.shape[0] * large.shape[1]
    poster, _ = read(replace(given, layers=layers), target, max_pixels=pixels - 1)
    assert len(places(poster, sheet_of(layers[0]))) == 1
    assert len(places(large, sheet_of(layers[0], 4))) == 1


def test_sequences_have_rows_that_can_be_seen(target):
    poster, (drawn,) = read(report([(layer("conv1d", (60, 9)), maps(60, 9))]), target)
    assert len(places(poster, sheet_of(drawn, 4))) == 1


def test_sheets_stand_in_order_and_below_the_head(target):
    poster, drawn = read(report(stack(6, 40, 40, 16)), target)
    found = [places(poster, sheet_of(one))[0] for one in drawn]
    assert found == sorted(found)
    assert min(y for y, _ in found) > 400


def test_a_poster_is_white_where_nothing_is(target):
    poster, _ = read(report(stack(2, 40, 40, 16)), target)
    edges = np.concatenate(
        [poster[:20].reshape(-1, 3), poster[-40:].reshape(-1, 3), poster[:, :40].reshape(-1, 3)]
    )
    assert (edges == 255).all()


def test_the_picture_is_at_the_top_in_exact_pixels(target):
    pixels = np.random.default_rng(0).integers(0, 256, (100, 90, 3), np.uint8)
    poster, _ = read(report(stack(1, 8, 8, 5), picture=pixels), target)
    found = places(poster[:520], pixels.repeat(3, axis=0).repeat(3, axis=1))
    assert len(found) == 2


@pytest.mark.parametrize("shape", [(700, 20, 1), (20, 2000, 3), (1, 1, 1)])
def test_any_picture_fits_the_head(target, shape):
    poster, _ = read(report(stack(1, 8, 8, 5), picture=np.zeros(shape, np.uint8)), target)
    assert (poster[:480] == 0).all(-1).any()


def test_a_wide_poster_has_a_larger_head(target):
    one = [(layer("conv", (40, 400, 16)), maps(40, 400, 16))]
    poster, _ = read(report(one), target)
    small, _ = read(report(stack(1, 40, 40, 16)), target)

    def height_of_title(picture):
        inked = np.flatnonzero((picture[:400] < 128).all(-1).any(axis=1))
        return int(inked[np.flatnonzero(np.diff(inked) > 3)[0]] - inked[0])

    assert height_of_title(poster) >= 1.8 * height_of_title(small)


def test_the_limit_is_checked_before_anything_is_drawn(target):
    with pytest.raises(BudgetExceeded, match=r"poster of 2 layers, \d+ × \d+ pixels.*Choose fewer layers"):
        write_poster(report(stack(2, 40, 40, 16)), target, max_pixels=900_000)
    assert not target.exists()


def test_layers_stop_being_drawn_once_their_sheets_alone_are_too_large(target):
    drawn = []

    def layers():
        for row, values in stack(50, 40, 40, 16):
            drawn.append(row.name)
            yield draw(row, values)

    with pytest.raises(BudgetExceeded, match="The sheets of the first 3 layers alone"):
        write_poster(replace(report([]), layers=layers()), target, max_pixels=60_000)
    assert len(drawn) == 3


def test_a_poster_is_never_in_memory_as_a_whole(target):
    given = report(stack(1, 64, 64, 2000))
    given = replace(given, layers=list(given.layers))
    tracemalloc.start()
    try:
        write_poster(given, target)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    with Image.open(target) as image:
        assert peak < 0.6 * 3 * image.width * image.height


def test_what_was_done_is_in_the_file(target):
    read(report(stack(1, 8, 8, 5), name="lungs"), target)
    with Image.open(target) as image:
        assert image.text["Software"] == "Fluoroscope"
        assert json.loads(image.text["Description"])["network"]["name"] == "lungs"


def test_names_are_not_trusted(target):
    layers = [(layer(name, (4, 4, 3)), maps(4, 4, 3, seed=i)) for i, name in enumerate(HOSTILE)]
    outputs = {"out": np.array([0.5, 0.3, 0.2], np.float32)}
    layers.append((layer("out", (3,), "Dense", "softmax"), outputs["out"]))
    given = report(
        layers,
        name="\x00" + HOSTILE[1] * 100,
        outputs=outputs,
        classes=(HOSTILE[0], HOSTILE[3], HOSTILE[4]),
        skipped={name + "!": name for name in HOSTILE},
    )
    read(given, target)


@pytest.mark.parametrize(
    "layers",
    [
        pytest.param([(layer("flat", (5, 5, 20)), np.ones((5, 5, 20), np.float32))], id="flat"),
        pytest.param([(layer("nan", (5, 5, 20)), np.full((5, 5, 20), np.nan, np.float32))], id="nan"),
        pytest.param([(layer("one", (1,), "Dense", None), np.array([2.5], np.float32))], id="one value"),
        pytest.param([], id="nothing"),
    ],
)
def test_odd_reports_are_written(target, layers):
    read(report(layers), target)


def test_outputs_that_are_no_numbers_are_written(target):
    outputs = {"out": np.array([np.nan, np.inf, -np.inf], np.float32)}
    read(
        report([*stack(1, 8, 8, 5), (layer("out", (3,), "Dense", None), outputs["out"])], outputs=outputs),
        target,
    )


def test_progress_is_told_of_every_layer(target):
    told = []
    write_poster(report(stack(3, 8, 8, 5)), target, progress=told.append)
    assert told == ["conv_0", "conv_1", "conv_2"]


def test_a_failure_leaves_what_was_there(target):
    target.write_bytes(b"before")

    def layers():
        yield draw(*stack(1, 8, 8, 5)[0])
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        write_poster(replace(report([]), layers=layers()), target)
    assert target.read_bytes() == b"before"
    assert os.listdir(target.parent) == [target.name]


def test_zoom_is_kept(target):
    poster, (drawn,) = read(report(stack(1, 20, 20, 5), style=Style(zoom=2)), target)
    assert drawn.geometry.cell == (40, 40)
    assert len(places(poster, sheet_of(drawn))) == 1


# Encoding in bands


@settings(deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(1, 5), st.integers(0, 9))
def test_bands_are_encoded_as_the_whole_is(heights, width, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (sum(heights), width, 3), np.uint8)
    bands = np.split(pixels, np.cumsum(heights)[:-1])
    encoded = encode_bands(iter(bands), width=width, height=len(pixels))
    assert np.array_equal(encoded.samples(), pixels)
    assert np.array_equal(encode(pixels).samples(), pixels)


def test_bands_may_share_memory():
    band = np.zeros((2, 3, 3), np.uint8)

    def bands():
        for value in (10, 20, 30):
            band[:] = value
            yield band

    rows = encode_bands(bands(), width=3, height=6).samples()
    assert rows[:, 0, 0].tolist() == [10, 10, 20, 20, 30, 30]


@pytest.mark.parametrize(
    ("shape", "height", "message"),
    [
        ((2, 3, 3), 4, "A picture of 4 rows was to be encoded from 2"),
        ((2, 4, 3), 2, r"\(rows, 3, 3\)"),
        ((0, 3, 3), 0, "1 to 2147483647"),
    ],
)
def test_bands_that_do_not_fit(shape, height, message):
    with pytest.raises(UsageError, match=message):
        encode_bands([np.zeros(shape, np.uint8)], width=3, height=height)
