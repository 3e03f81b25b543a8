"""The mapping of layers to feature maps: what is taken from it, by what, and what can not be."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawn_reports import layer
from fluoroscope.activations import Activations, FeatureMap, FeatureMaps
from fluoroscope.errors import LayerNotFound, UsageError
from fluoroscope.network.protocol import Layer
from toy_activations import activations, feature_maps, ramp


@pytest.fixture
def conv() -> FeatureMaps:
    """Two rows, three columns, four channels; the value is 100 * row + 10 * column + channel."""
    rows, columns, channels = np.ogrid[:2, :3, :4]
    return feature_maps(100 * rows + 10 * columns + channels)


# --- Axes ----------------------------------------------------------------------------------------------


def test_maps_are_channels_first(conv: FeatureMaps) -> None:
    assert conv.shape == (2, 3, 4)
    assert conv.maps.shape == (4, 2, 3)
    np.testing.assert_array_equal(conv.maps[3], [[3, 13, 23], [103, 113, 123]])
    assert conv.maps.flags.c_contiguous


def test_a_vector_is_one_map_of_one_row() -> None:
    vector = feature_maps([1, 2, 3])
    assert vector.is_vector
    np.testing.assert_array_equal(vector.maps, [[[1, 2, 3]]])
    assert len(vector) == 3


def test_what_global_pooling_leaves_is_a_vector() -> None:
    pooled = feature_maps(np.array([1, 2, 3]).reshape(1, 1, 3))
    assert pooled.is_vector
    np.testing.assert_array_equal(pooled.maps, [[[1, 2, 3]]])


def test_one_channel_with_positions_is_no_vector() -> None:
    assert not feature_maps(ramp(2, 2, 1)).is_vector
    assert feature_maps(ramp(2, 2, 1)).maps.shape == (1, 2, 2)


def test_a_sequence_is_maps_of_one_row() -> None:
    sequence = feature_maps([[1, 10], [2, 20], [3, 30]])
    np.testing.assert_array_equal(sequence.maps, [[[1, 2, 3]], [[10, 20, 30]]])


def test_a_volume_lies_slice_below_slice() -> None:
    values = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    maps = feature_maps(values).maps
    assert maps.shape == (5, 6, 4)
    np.testing.assert_array_equal(maps[1, 3:], values[1, :, :, 1])


# --- Nothing can be written ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 3, 4), (5,), (1, 1, 5), (3, 4), (2, 3, 4, 5), (2, 3, 1)])
def test_values_and_maps_are_read_only_and_the_array_given_stays_as_it_is(shape: tuple[int, ...]) -> None:
    given_array = ramp(*shape)
    maps = FeatureMaps("conv", layer("conv", shape), 0, given_array)
    for array in (maps.values, maps.maps, maps[:1].values, maps[[0]].maps, maps[0].values, maps[0].maps):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    assert given_array.flags.writeable
    np.testing.assert_array_equal(given_array, ramp(*shape))


def test_an_array_made_of_it_is_a_copy(conv: FeatureMaps) -> None:
    array = np.array(conv)
    array[...] = 0
    assert conv.values.any()
    assert np.asarray(conv, dtype=np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.asarray(conv[1]), conv.values[..., 1])


def test_slices_are_views(conv: FeatureMaps) -> None:
    assert np.shares_memory(conv[1:3].values, conv.values)
    assert np.shares_memory(conv[1].values, conv.values)


# --- Channels ------------------------------------------------------------------------------------------


def test_a_channel_by_its_place(conv: FeatureMaps) -> None:
    channel = conv[-1]
    assert isinstance(channel, FeatureMap)
    assert (channel.place, channel.channel, channel.name) == (3, 3, "conv[3]")
    assert channel.layer is conv.layer
    np.testing.assert_array_equal(channel.values, [[3, 13, 23], [103, 113, 123]])
    np.testing.assert_array_equal(channel.maps, [channel.values])


def test_a_channel_of_a_part_keeps_its_number(conv: FeatureMaps) -> None:
    part = conv[1:][::-1]
    assert part.channels == (3, 2, 1)
    assert part[0].name == "conv[3]"
    assert part[[2, 0]].channels == (1, 3)
    np.testing.assert_array_equal(part[[2, 0]].values, conv.values[..., [1, 3]])


@given(st.lists(st.integers(-4, 3), min_size=1, max_size=6))
def test_a_list_of_places_is_as_numpy_has_it(places: list[int]) -> None:
    whole = feature_maps(ramp(2, 3, 4))
    part = whole[places]
    np.testing.assert_array_equal(part.values, whole.values[..., places])
    assert part.channels == tuple(np.arange(4)[places])


@given(st.slices(4))
def test_a_slice_of_places_is_as_numpy_has_it(places: slice) -> None:
    whole = feature_maps(ramp(2, 3, 4))
    numbers = np.arange(4)[places]
    if not numbers.size:
        with pytest.raises(LayerNotFound, match="leaves no channel of 'conv'; it has 4"):
            whole[places]
        return
    assert whole[places].channels == tuple(numbers)
    np.testing.assert_array_equal(whole[places].values, whole.values[..., places])


def test_a_mask_chooses_the_channels_that_are_true(conv: FeatureMaps) -> None:
    assert conv[conv.statistics.mean > 61.5].channels == (2, 3)
    assert conv[[True, False, False, True]].channels == (0, 3)
    with pytest.raises(UsageError, match="A mask of 3 for the 4 channels of 'conv'"):
        conv[np.array([True, False, True])]
    with pytest.raises(LayerNotFound, match="leaves no channel"):
        conv[np.zeros(4, bool)]


def test_numbers_of_numpy_are_numbers(conv: FeatureMaps) -> None:
    assert conv[np.int64(2)].channel == 2
    assert conv[np.array([2, 0])].channels == (2, 0)
    assert conv[(channel for channel in (1, 2))].channels == (1, 2)


@pytest.mark.parametrize("number", [4, -5, 1000])
def test_a_channel_that_is_not_there(conv: FeatureMaps, number: int) -> None:
    message = re.escape(f"'conv' has 4 channels, 0 to 3; there is no {number}.")
    with pytest.raises(LayerNotFound, match=message):
        conv[number]
    with pytest.raises(LayerNotFound, match=message):
        conv[[0, number]]


@pytest.mark.parametrize("wanted", [1.5, None, "12", [1.5], ["a"], [None], (0, slice(2)), True, [[0, 1]]])
def test_what_is_no_place_of_a_channel(conv: FeatureMaps, wanted: object) -> None:
    with pytest.raises(UsageError, match="Channels of 'conv' are taken by a whole number, a slice or a list"):
        conv[wanted]  # type: ignore[call-overload]


def test_walking_gives_every_channel(conv: FeatureMaps) -> None:
    assert [channel.channel for channel in conv] == [0, 1, 2, 3]


def test_values_of_vectors_have_no_axis() -> None:
    value = feature_maps([1, 2, 3], "dense")[1]
    assert value.values.shape == ()
    assert float(value.values) == 2
    np.testing.assert_array_equal(value.maps, [[[2]]])
    assert repr(value) == "<FeatureMap dense[1]: one value>"


def test_statistics_are_of_the_channels_held(conv: FeatureMaps) -> None:
    np.testing.assert_allclose(conv.statistics.mean, conv.values.mean((0, 1)))
    np.testing.assert_allclose(conv[2:].statistics.maximum, [122, 123])
    np.testing.assert_allclose(conv[2].statistics.minimum, [2])
    # Of a vector all values together: one of them has nothing to vary by.
    assert len(feature_maps([1, 2, 6]).statistics) == 1
    assert feature_maps([1, 2, 6]).statistics.mean[0] == 3


def test_how_they_show_themselves(conv: FeatureMaps) -> None:
    assert repr(conv) == "<FeatureMaps 'conv' (Conv2D): 2 x 3 x 4>"
    assert repr(conv[2]) == "<FeatureMap conv[2]: 2 x 3>"


# --- Layers --------------------------------------------------------------------------------------------


def test_the_mapping_is_in_order_and_knows_rows() -> None:
    acts = activations({"a:pre": ramp(2, 2, 3), "a": ramp(2, 2, 3), "b": ramp(4)})
    assert list(acts) == ["a:pre", "a", "b"]
    assert len(acts) == 3
    assert [maps.number for maps in acts.values()] == [0, 0, 1]
    assert acts["a:pre"].layer is acts["a"].layer
    assert acts.nbytes == 4 * (12 + 12 + 4)
    assert repr(acts).endswith("in 'net': 3 layers, 10 channels>")


def test_a_layer_may_be_called_as_if_it_were_before_another() -> None:
    acts = activations({"a": ramp(2, 2, 3)}, broken=(layer("a:pre", (2, 2, 3)),))
    both = Activations(acts.network, acts.prepared, {"a:pre": ramp(2, 2, 3)}, {})
    assert both["a:pre"].layer.name == "a:pre"
    assert both["a:pre"].number == 1


@pytest.mark.parametrize("name", [0, slice(2), None, ("a",)])
def test_layers_are_taken_by_name_alone(name: object) -> None:
    acts = activations({"a": ramp(2, 2, 3)})
    message = re.escape(f"not by {name!r}: acts['a']. By number or pattern: acts.select({name!r}).")
    with pytest.raises(LayerNotFound, match=message):
        acts[name]
    assert name not in acts


def test_a_layer_that_could_not_be_run() -> None:
    broken = Layer(name="odd", kind="Odd", family="other", shape=(), problem="Odd has no translation.")
    acts = activations({"a": ramp(2, 2, 3)}, broken=(broken,))
    assert acts.skipped == {"odd": "Odd has no translation."}
    with pytest.raises(LayerNotFound, match=r"'odd' was not captured: Odd has no translation\."):
        acts["odd"]


def test_layers_that_were_not_captured() -> None:
    acts = activations({"a": ramp(2, 2, 3)}, broken=(layer("b", (2, 2, 3)),))
    for name in ("b", "b:pre", "a:pre"):
        with pytest.raises(
            LayerNotFound, match=f"No layer '{name}' among .* capture it with layers='{name}'"
        ):
            acts[name]
    with pytest.raises(LayerNotFound, match="No layer 'c' among those captured; there are a"):
        acts["c"]


def test_layers_are_selected_as_in_a_capture() -> None:
    acts = activations(
        {"conv_1": ramp(2, 2, 3), "conv_2": ramp(2, 2, 3), "dense": ramp(4)}, {"dense": [1, 2]}
    )
    part = acts.select("conv*, !conv_1")
    assert list(part) == ["conv_2"]
    assert list(acts.select([2, "conv_1"])) == ["conv_1", "dense"]
    assert part["conv_2"].number == 1
    assert np.shares_memory(part["conv_2"].values, acts["conv_2"].values)
    assert part.predictions == acts.predictions
    with pytest.raises(LayerNotFound, match=r"None of the layers captured is among 'conv_1': conv_2\."):
        part.select("conv_1")
