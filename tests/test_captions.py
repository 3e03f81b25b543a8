from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from drawn_reports import draw, layer, maps
from fluoroscope.drawing.scaling import Scaling
from fluoroscope.drawing.style import Style
from fluoroscope.network.protocol import ReceptiveField
from fluoroscope.output.captions import (
    facts,
    field_caption,
    kind_caption,
    layer_numbers,
    legend,
    marked_channels,
    name_caption,
    scale_ticks,
    scaling_caption,
    shape_caption,
)


def test_numbers_of_feature_maps():
    values = np.zeros((2, 2, 4), np.float32)
    values[..., 1] = [[1, 2], [3, -4]]
    values[..., 2] = 5
    values[..., 3] = [[np.nan, 1], [0, np.inf]]
    numbers = layer_numbers(draw(layer("a", (2, 2, 4)), values))
    assert numbers.channels == 4
    assert numbers.flat == (0, 2)
    assert numbers.nonfinite == (3,)
    # Finite values not above zero: four of channel 0, one of channel 1, one of channel 3; 14 are finite.
    assert numbers.inactive == pytest.approx(6 / 14)
    assert (numbers.low, numbers.high) == (-4, 5)


def test_numbers_of_a_vector_call_no_channel_flat():
    numbers = layer_numbers(draw(layer("a", (3,), "Dense"), np.array([0, 2, np.nan], np.float32)))
    assert numbers.flat == ()
    assert numbers.nonfinite == (2,)
    assert (numbers.inactive, numbers.low, numbers.high) == (0.5, 0, 2)


def test_numbers_without_a_finite_value():
    numbers = layer_numbers(draw(layer("a", (2, 2, 1)), np.full((2, 2, 1), np.nan, np.float32)))
    assert all(map(math.isnan, (numbers.inactive, numbers.low, numbers.high)))


def test_channels_are_called_by_their_numbers_in_the_layer():
    values = maps(4, 4, 3)
    values[..., 1] = 7
    drawn = replace(draw(layer("a", (4, 4, 9)), values), channels=(2, 5, 8))
    assert layer_numbers(drawn).flat == (5,)
    assert shape_caption(drawn) == "4 × 4 × 9 (3 of them)"


def test_facts_say_what_is_wrong_and_only_that():
    drawn = draw(layer("a", (4, 4, 3)), np.stack([np.eye(4)] * 3, axis=-1).astype(np.float32))
    assert facts(drawn, layer_numbers(drawn)) == [
        "3 channels",
        "75.0 % of values 0 or less",
        "values 0 to 1",
        "each sees 3 × 3 px, 1 apart",
    ]
    broken = draw(layer("a", (3, 1, 2)), np.array([[[1, 2]], [[1, 3]], [[1, np.nan]]], np.float32))
    assert facts(broken, layer_numbers(broken))[:3] == ["2 channels", "1 flat", "1 not finite"]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (None, ""),
        (ReceptiveField(size=(3.0, 5.0), stride=(1.0, 2.0), offset=(0.0, 0.0)), "3 × 5 px, 1 × 2 apart"),
        (ReceptiveField(size=(10.0, 10.0), stride=(0.5, 0.5), offset=(-3.0, 0.0)), "10 × 10 px, 0.5 apart"),
        (ReceptiveField(size=(), stride=(), offset=(), whole=True), "the whole picture"),
    ],
)
def test_what_a_value_sees(field, text):
    assert field_caption(field) == text


def test_kind_says_whether_the_value_is_before_the_activation():
    drawn = draw(layer("a", (4, 4, 3)), maps(4, 4, 3))
    assert kind_caption(drawn) == "Conv2D + relu"
    assert kind_caption(replace(drawn, name="a:pre")) == "Conv2D, before relu"


def test_a_name_of_nothing_is_quoted():
    drawn = draw(layer("  ", (4, 4, 3)), maps(4, 4, 3))
    assert name_caption(drawn) == "'  '"


def test_sizes_that_the_file_leaves_open_are_those_drawn():
    row = replace(layer("a", (4, 4, 3)), shape=(None, None, 3))
    assert shape_caption(draw(row, maps(4, 5, 3))) == "4 × 5 × 3"


def test_marked_channels_are_listed_in_runs():
    values = np.arange(54, dtype=np.float32).reshape(3, 3, 6)
    values[..., :4] = 1
    values[0, 0, 5] = np.nan
    numbers = layer_numbers(draw(layer("a", (3, 3, 6)), values))
    assert marked_channels(numbers) == [
        ("flat", "Flat (one value everywhere): 0–3"),
        ("nonfinite", "With NaN or infinite values: 5"),
    ]
    everything = layer_numbers(draw(layer("a", (3, 3, 6)), np.ones((3, 3, 6), np.float32)))
    assert marked_channels(everything) == [("flat", "Flat (one value everywhere): all")]


SPREAD = np.stack([np.linspace(0, 4, 9), np.linspace(-1, 3, 9)], axis=-1).reshape(3, 3, 2).astype(np.float32)


@pytest.mark.parametrize(
    ("scaling", "ticks", "remark"),
    [
        (
            Scaling("minmax"),
            ("least value", "midway", "greatest value"),
            "Each channel has a scale of its own: from −1 … 0 (lowest colour) to 3 … 4 (highest colour).",
        ),
        (
            Scaling("minmax", scope="layer"),
            ("−1", "1.5", "4"),
            "One scale for all: least to greatest value of the layer.",
        ),
        (Scaling("fixed", low=-2, high=6), ("−2", "2", "6"), "One scale for all: -2 to 6, fixed."),
        (
            Scaling("symmetric", scope="layer"),
            ("−4", "0", "4"),
            "One scale for all: ± greatest magnitude of the layer.",
        ),
    ],
)
def test_legend(scaling, ticks, remark):
    drawn = draw(layer("a", (3, 3, 2)), SPREAD, style=Style(scaling=scaling))
    meaning = legend(scaling, drawn.limits)
    assert (meaning.ticks, meaning.remark) == (ticks, remark)


def test_legend_of_a_vector_is_that_of_the_layer_whatever_the_scope():
    scaling = Scaling("minmax")
    drawn = draw(layer("a", (3,), "Dense"), np.array([1, 2, 5], np.float32), style=Style(scaling=scaling))
    meaning = legend(scaling, drawn.limits)
    assert meaning.ticks == ("1", "3", "5")
    assert meaning.remark == "One scale for all: least to greatest value of the layer."


def test_legend_without_a_range():
    drawn = draw(layer("a", (3, 3, 2)), np.ones((3, 3, 2), np.float32))
    assert legend(Scaling(), drawn.limits).remark == "Nothing here has a range to scale by."


def test_scaling_in_words():
    assert scaling_caption(Scaling()) == "zscore: mean ± 2 std, per channel"
    assert scaling_caption(Scaling("fixed", low=0, high=1)) == "0 to 1, fixed"
    assert scale_ticks(Scaling("percentile", percentiles=(2, 98))) == (
        "percentile 2",
        "midway",
        "percentile 98",
    )
