"""From activations to drawn layers: options, scales over layers and networks, order, names of classes."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

from fluoroscope.drawing.scaling import Scaling
from fluoroscope.drawing.style import Style
from fluoroscope.errors import UsageError
from fluoroscope.output import draw
from fluoroscope.output.draw import (
    check_classes,
    draw_layer,
    draw_layers,
    draw_sheet,
    pooled_statistics,
    report,
    style_of,
)
from toy_activations import activations, feature_maps, ramp

# --- Options -------------------------------------------------------------------------------------------


def test_options_go_to_the_style_or_its_scaling() -> None:
    assert style_of() == Style()
    assert style_of(columns=8, zoom=2, gap=0, colormap="magma") == Style(
        columns=8, zoom=2, gap=0, colormap="magma"
    )
    assert style_of(method="minmax", scope="layer").scaling == Scaling("minmax", scope="layer")
    assert style_of(scaling="minmax") == style_of(method="minmax")
    assert style_of(scaling=Scaling("symmetric"), scope="network").scaling == Scaling(
        "symmetric", scope="network"
    )


def test_options_change_a_style_and_leave_the_rest() -> None:
    style = Style(columns=3, scaling=Scaling("minmax", scope="layer"))
    changed = style_of(style, zoom=4, scope="channel")
    assert changed == Style(columns=3, zoom=4, scaling=Scaling("minmax"))
    assert style == Style(columns=3, scaling=Scaling("minmax", scope="layer"))


def test_another_method_lets_fixed_limits_go() -> None:
    fixed = style_of(scaling="fixed", low=0, high=6)
    assert style_of(fixed, method="minmax").scaling == Scaling("minmax")
    assert style_of(fixed, high=3).scaling == Scaling("fixed", low=0, high=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colour": "red"}, "Drawing has no option 'colour'. There are scaling, colormap, .* percentiles"),
        ({"columns": 0}, "columns is a whole number from 1 on, not 0"),
        ({"columns": 2.5}, r"columns is a whole number from 1 on, not 2\.5"),
        ({"zoom": "2"}, "zoom is a whole number from 1 on, not '2'"),
        ({"gap": None}, "gap is a whole number from 0 on, not None"),
        ({"colormap": "jet"}, "No colour map is called 'jet'"),
        ({"scaling": "zmax"}, "No scaling is called 'zmax'"),
        ({"scaling": 5}, "A scaling is one of its methods' names or a Scaling, not 5"),
        ({"scaling": "minmax", "method": "zscore"}, "scaling='minmax' and method='zscore' contradict"),
        ({"low": 0}, "The limits 0 and None were given to zscore scaling"),
        ({"scaling": "fixed", "low": 0}, "Fixed scaling needs both limits"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        style_of(**options)


# --- Sheets --------------------------------------------------------------------------------------------


def test_each_channel_has_levels_of_its_own() -> None:
    maps = feature_maps(np.stack([ramp(2, 2, low=0, high=3), ramp(2, 2, low=0, high=300)], axis=-1))
    sheet = draw_sheet(maps, style_of(scaling="minmax", gap=0))
    # floor(256 * (0, 1, 2, 3) / 3), the last clipped; side by side.
    np.testing.assert_array_equal(sheet.indices, [[0, 85, 0, 85], [170, 255, 170, 255]])


def test_one_scale_for_the_layer() -> None:
    maps = feature_maps(np.stack([ramp(2, 2, low=0, high=3), ramp(2, 2, low=0, high=6)], axis=-1))
    sheet = draw_sheet(maps, style_of(scaling="minmax", scope="layer", gap=0))
    np.testing.assert_array_equal(sheet.indices, [[0, 42, 0, 85], [85, 128, 170, 255]])
    assert sheet.limits.shared


@pytest.mark.parametrize("shape", [(4,), (1, 1, 4)])
def test_a_vector_is_a_strip_under_one_scale(shape: tuple[int, ...]) -> None:
    sheet = draw_sheet(feature_maps(ramp(*shape, low=0, high=3)), style_of(scaling="minmax", gap=0))
    assert sheet.geometry.channels == 4
    box = sheet.box(0)
    assert sheet.indices.shape == (box.height, 4 * box.width)
    cells = [int(sheet.indices[sheet.box(i).top, sheet.box(i).left]) for i in range(4)]
    assert cells == [0, 85, 170, 255]
    assert (sheet.limits.low[0], sheet.limits.high[0]) == (0, 3)


@pytest.mark.parametrize(("value", "level", "ends"), [(0.7, 255, (0, 0.7)), (-2.0, 0, (-2, 0))])
def test_a_single_value_is_drawn_against_zero(value: float, level: int, ends: tuple[float, float]) -> None:
    sheet = draw_sheet(feature_maps([value]), Style())
    assert set(sheet.indices.ravel()) == {level}
    assert (sheet.limits.low[0], sheet.limits.high[0]) == pytest.approx(ends)
    assert not sheet.markers


def test_a_single_value_of_nothing_is_marked() -> None:
    assert "nonfinite" in draw_sheet(feature_maps([np.nan]), Style()).markers
    assert "flat" in draw_sheet(feature_maps([0.0]), Style()).markers


def test_a_sequence_has_a_channel_in_each_row() -> None:
    sheet = draw_sheet(
        feature_maps(np.stack([[0, 1, 2, 3], [3, 2, 1, 0]], axis=-1)), style_of(scaling="minmax")
    )
    np.testing.assert_array_equal(sheet.indices, [[0, 85, 170, 255], [255, 170, 85, 0]])


def test_the_formula_of_zscore_computed_another_way() -> None:
    values = np.random.default_rng(3).normal(size=(9, 7, 5)).astype(np.float32)
    maps = feature_maps(values)
    sheet = draw_sheet(maps, Style(gap=0, columns=5))
    wide = values.astype(np.float64)
    z = (wide - wide.mean((0, 1))) / wide.std((0, 1)) * 64 + 128
    expected = np.clip(np.floor(z), 0, 255).transpose(0, 2, 1).reshape(9, 35)
    np.testing.assert_array_equal(sheet.indices, expected)


# --- The network's scale -------------------------------------------------------------------------------


def test_a_scale_for_the_network_spans_all_parts() -> None:
    parts = [activations({"a": ramp(2, 2, 2, low=-4, high=1)}), activations({"b": ramp(3, low=0, high=12)})]
    style = style_of(scaling="minmax", scope="network")
    drawn = list(report(parts, style).layers)
    assert [layer.name for layer in drawn] == ["a", "b"]
    for layer in drawn:
        assert set(layer.limits.low) == {-4}
        assert set(layer.limits.high) == {12}


def test_a_scale_by_deviation_for_the_network() -> None:
    parts = [
        activations({"a": ramp(2, 2, 2), "b": ramp(5, 5, 3, high=9)}),
        activations({"c": ramp(3, high=12)}),
    ]
    pooled = pooled_statistics(parts, Scaling(scope="network"))
    assert pooled is not None
    values = np.concatenate([m.values.ravel() for acts in parts for m in acts.values()]).astype(np.float64)
    (drawn, *_) = report(parts, style_of(scope="network")).layers
    assert drawn.limits.low[0] == pytest.approx(values.mean() - 2 * values.std(), rel=1e-6)
    assert drawn.limits.high[0] == pytest.approx(values.mean() + 2 * values.std(), rel=1e-6)
    assert pooled.count == values.size


def test_percentiles_of_the_network() -> None:
    parts = [
        activations({"a": ramp(9, 9, 2, low=1, high=100)}),
        activations({"b": ramp(30, low=100, high=200)}),
    ]
    style = style_of(scaling="percentile", scope="network", percentiles=(10, 90))
    (drawn, *_) = report(parts, style).layers
    values = np.concatenate([m.values.ravel() for acts in parts for m in acts.values()])
    expected = np.percentile(values, [10, 90])
    np.testing.assert_allclose([drawn.limits.low[0], drawn.limits.high[0]], expected, rtol=0.03)


def test_other_scales_look_at_nothing_twice() -> None:
    def once():
        yield activations({"a": ramp(2, 2, 2)})
        yield activations({"b": ramp(3)})

    assert pooled_statistics(once(), Scaling()) is None
    assert [drawn.name for drawn in report(once(), Style()).layers] == ["a", "b"]


def test_a_layer_by_itself_is_its_network() -> None:
    maps = feature_maps(ramp(2, 3, 4))
    whole = draw_sheet(maps, style_of(scaling="minmax", scope="network"))
    layer = draw_sheet(maps, style_of(scaling="minmax", scope="layer"))
    np.testing.assert_array_equal(whole.indices, layer.indices)


# --- Many layers ---------------------------------------------------------------------------------------


def test_what_a_drawn_layer_holds() -> None:
    maps = feature_maps(ramp(2, 3, 4))[[3, 1]]
    drawn = draw_layer(maps, Style())
    assert drawn.channels == (3, 1)
    assert drawn.values is None
    assert drawn.vector is None
    np.testing.assert_array_equal(drawn.image.samples(), draw_sheet(maps, Style()).indices)
    kept = draw_layer(maps, Style(), values=True).values
    assert kept is not None
    np.testing.assert_array_equal(kept, maps.values)
    vector = draw_layer(feature_maps([1, 2]), Style()).vector
    assert vector is not None
    np.testing.assert_array_equal(vector, [1, 2])


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_layers_come_in_order_whatever_their_size(threads: int) -> None:
    layers = [feature_maps(ramp(60 if i % 3 == 0 else 2, 60, 8), f"layer_{i}") for i in range(12)]
    drawn = list(draw_layers(layers, Style(), threads=threads))
    assert [layer.name for layer in drawn] == [maps.name for maps in layers]


def test_few_layers_are_drawn_ahead() -> None:
    asked: list[int] = []

    def layers():
        for i in range(20):
            asked.append(i)
            yield feature_maps(ramp(4, 4, 2), f"layer_{i}")

    walk = draw_layers(layers(), Style(), threads=2)
    for taken in range(1, 20):
        next(walk)
        assert len(asked) <= taken + 2 * 2
    walk.close()


def test_what_was_drawn_and_taken_is_let_go() -> None:
    alive: list[weakref.ref[object]] = []

    def layers():
        for i in range(12):
            maps = feature_maps(ramp(4, 4, 2), f"layer_{i}")
            alive.append(weakref.ref(maps))
            yield maps

    most = 0
    for _ in draw_layers(layers(), Style(), threads=1):
        gc.collect()
        most = max(most, sum(ref() is not None for ref in alive))
    assert most <= 4


def test_a_failure_comes_out_and_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()

    def failing(maps, *_, **__):
        raise ValueError(maps.name)

    monkeypatch.setattr(draw, "draw_layer", failing)
    with pytest.raises(ValueError, match="layer_0"):
        list(draw_layers([feature_maps(ramp(2, 2, 2), f"layer_{i}") for i in range(9)], Style(), threads=2))
    assert threading.active_count() == before


# --- Classes -------------------------------------------------------------------------------------------


def test_names_of_classes_fit_an_output() -> None:
    acts = activations({"a": ramp(2, 2, 2)}, {"many": [0.1, 0.2, 0.7], "one": [0.4]})
    assert check_classes((), acts) == ()
    assert check_classes(["x", "y", "z"], acts) == ("x", "y", "z")
    # One value tells two classes apart, or names the one that it is for.
    assert check_classes(["x", "y"], acts) == ("x", "y")
    assert check_classes(["x"], acts) == ("x",)
    with pytest.raises(UsageError, match=r"There are 4 class names, .* output has 1 or 3 values"):
        check_classes("wxyz", acts)
    with pytest.raises(UsageError, match="has no vector values"):
        check_classes(["x"], activations({"a": ramp(2, 2, 2)}))
