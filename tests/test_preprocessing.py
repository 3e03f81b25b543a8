"""From a picture to a tensor: against Keras's own loading and preprocessing, Pillow, and by hand."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import fluoroscope.images
from fluoroscope.errors import PictureError, UsageError
from fluoroscope.images import Preprocessing, describe, open_image, preprocess
from fluoroscope.images.resizing import luminance, resize

DEMO = Path(fluoroscope.__file__).parent / "demo" / "person3_virus_16.jpeg"


@pytest.fixture(scope="module")
def keras():
    import keras
    import keras.applications

    return keras


def random(height, width, channels=3, dtype=np.uint8):
    limit = 256 if dtype == np.uint8 else 65536
    return np.random.default_rng(height).integers(0, limit, (height, width, channels)).astype(dtype)


def prepared(array, *, channels=3, size=(2, 2), **options):
    options = Preprocessing(**options)
    return preprocess(
        open_image(array), height=size[0], width=size[1], channels=channels, preprocessing=options
    )


# The notebooks' way


@pytest.mark.parametrize("size", [(150, 150), (224, 224), (31, 77), (300, 301), (1, 1)])
@pytest.mark.parametrize(("channels", "mode"), [(3, "rgb"), (1, "grayscale")])
def test_the_default_is_keras_load_img_bit_for_bit(keras, size, channels, mode):
    loaded = keras.utils.load_img(DEMO, target_size=size, color_mode=mode)
    expected = keras.utils.img_to_array(loaded) / 255
    result = preprocess(open_image(DEMO), height=size[0], width=size[1], channels=channels)
    assert result.values.tobytes() == expected.tobytes()
    assert result.values.shape == (*size, channels)


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1", "CMYK"])
@pytest.mark.parametrize("resample", ["nearest", "bilinear", "lanczos"])
@pytest.mark.parametrize(("fit", "keep"), [("stretch", False), ("crop", True)])
@pytest.mark.parametrize("size", [(20, 20), (9, 31), (90, 10)])
def test_every_mode_size_and_resampling_as_keras_loads_it(keras, tmp_path, mode, resample, fit, keep, size):
    path = tmp_path / "picture.tif"
    PIL.Image.fromarray(random(41, 67)).convert(mode).save(path)
    for channels, colour in ((3, "rgb"), (1, "grayscale")):
        loaded = keras.utils.load_img(
            path, target_size=size, interpolation=resample, color_mode=colour, keep_aspect_ratio=keep
        )
        result = preprocess(
            open_image(path),
            height=size[0],
            width=size[1],
            channels=channels,
            preprocessing=Preprocessing(preset="raw", fit=fit, resample=resample),
        )
        if mode in ("P", "CMYK") and channels == 1:
            # Keras goes from palette and ink to grey directly, which rounds once less.
            assert np.abs(result.values - keras.utils.img_to_array(loaded)).max() <= (
                1 if resample == "nearest" else 2
            )
        else:
            np.testing.assert_array_equal(result.values, keras.utils.img_to_array(loaded))


# Presets


@pytest.mark.parametrize("preset", ["tf", "torch", "caffe"])
def test_presets_are_keras_bit_for_bit(keras, preset):
    image = open_image(DEMO)
    raw = preprocess(image, height=64, width=48, channels=3, preprocessing=Preprocessing(preset="raw")).values
    expected = keras.applications.imagenet_utils.preprocess_input(raw.copy(), mode=preset)
    result = preprocess(image, height=64, width=48, channels=3, preprocessing=Preprocessing(preset=preset))
    assert result.values.tobytes() == np.ascontiguousarray(expected).tobytes()


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("unit", [1.0, 0.2, 0.0]),
        ("raw", [255, 51, 0]),
        ("tf", [1.0, -0.6, -1.0]),
        ("torch", [(1 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0 - 0.406) / 0.225]),
        ("caffe", [0 - 103.939, 51 - 116.779, 255 - 123.68]),
    ],
)
@pytest.mark.parametrize(
    "pixel",
    [
        np.array([[[255, 51, 0]]], np.uint8),
        np.array([[[65535, 13107, 0]]], np.uint16),
        np.array([[[1, 0.2, 0]]], np.float32),
        np.array([[[255, 51, 0]]], np.float64),
        np.array([[[255, 51, 0]]], np.int64),
    ],
)
def test_presets_by_hand_at_every_depth(preset, expected, pixel):
    values = prepared(pixel, size=(1, 1), preset=preset).values
    np.testing.assert_allclose(values[0, 0], expected, rtol=1e-6, atol=1e-6)
    assert values.dtype == np.float32


def test_sixteen_bits_keep_their_fractions():
    values = prepared(np.array([[257, 258]], np.uint16), size=(1, 2), channels=1, preset="raw").values
    np.testing.assert_array_equal(values[0, :, 0], np.float32([1, 258 / 257]))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"scale": 1 / 255}, [0.2, 0.4]),
        ({"mean": 51}, [0, 51]),
        ({"std": 2}, [25.5, 51]),
        ({"scale": 2, "mean": 2, "std": 4}, [25, 50.5]),
        ({"scale": [0.5], "mean": (0.5,), "std": np.array([5.0])}, [5, 10.1]),
        ({"preset": None, "scale": -1}, [-51, -102]),
    ],
)
def test_the_formula_by_hand(options, expected):
    result = prepared(np.array([[51, 102]], np.uint8), size=(1, 2), channels=1, **options)
    np.testing.assert_allclose(result.values[0, :, 0], expected, rtol=1e-6)
    assert result.preprocessing.preset is None


def test_a_number_for_each_channel():
    pixel = np.array([[[10, 20, 30]]], np.uint8)
    result = prepared(pixel, size=(1, 1), scale=(1, 2, 3), mean=(0, 20, 50), std=(1, 2, 4))
    np.testing.assert_allclose(result.values[0, 0], [10, 10, 10])
    assert result.steps[-1] == "(value * (1, 2, 3) - (0, 20, 50)) / (1, 2, 4)"


# Depth and channels


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_values_of_unknown_scale_need_raw_or_a_formula(dtype):
    array = np.array([[-100, 300]], dtype)
    for preset in ("unit", "tf"):
        with pytest.raises(
            PictureError, match=rf"the preset '{preset}' has nothing to start from. Use .* 'raw'"
        ):
            prepared(array, size=(1, 2), channels=1, preset=preset)
    raw = prepared(array, size=(1, 2), channels=1, preset="raw")
    assert raw.values.tolist() == [[[-100], [300]]]
    assert raw.picture.tolist() == [[[0], [255]]]
    assert "values as they are" in raw.steps
    assert prepared(array, size=(1, 2), channels=1, scale=2).values.tolist() == [[[-200], [600]]]


@given(pixels=arrays.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3))))
@settings(max_examples=60, deadline=None)
def test_luminance_is_pillows(pixels):
    expected = np.asarray(PIL.Image.fromarray(pixels).convert("L"))
    np.testing.assert_array_equal(luminance(pixels)[..., 0], expected)
    # 16 bits of the same picture agree to within Pillow's rounding.
    deep = luminance(pixels.astype(np.uint16) * 257)[..., 0] / 257
    assert np.abs(deep - expected).max() <= 0.51


def test_luminance_of_deep_pixels_is_not_rounded():
    deep = luminance(np.array([[[1000, 2000, 3001]]], np.uint16))
    np.testing.assert_allclose(deep[0, 0], 299 + 1174 + 342.114, rtol=1e-6)
    assert deep.dtype == np.float32


def test_grey_is_repeated_and_colour_becomes_grey():
    grey = prepared(random(4, 4, 1), size=(4, 4))
    assert (grey.values == grey.values[..., :1]).all()
    assert "grey repeated as R, G and B" in grey.steps
    colour = prepared(random(4, 4, 3), size=(4, 4), channels=1)
    assert colour.values.shape == (4, 4, 1)
    assert "RGB to grey: luminance, 0.299 R + 0.587 G + 0.114 B" in colour.steps


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_other_channel_counts_come_from_arrays_alone(channels):
    array = random(3, 3, channels)
    result = prepared(array, size=(3, 3), channels=channels, preset="raw")
    np.testing.assert_array_equal(result.values, array)
    assert result.picture.shape == (3, 3, 1 if channels == 2 else 3)
    for have, need in ((3, channels), (1, channels), (channels, 3), (channels, 1)):
        with pytest.raises(PictureError, match=f"it has {have} channels and the network takes {need}"):
            prepared(random(3, 3, have), channels=need)


@pytest.mark.parametrize("preset", ["torch", "caffe"])
@pytest.mark.parametrize("channels", [1, 4])
def test_presets_for_colour_say_so(preset, channels):
    with pytest.raises(
        UsageError, match=f"{preset!r} is made for red, green and blue; this network takes {channels}"
    ):
        prepared(random(3, 3, channels), channels=channels, preset=preset)


# Size


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("resample", ["nearest", "bilinear", "lanczos"])
def test_deep_pictures_are_resized_as_floats(dtype, resample):
    array = random(21, 33, 3, np.uint16)
    result, _ = resize(array.astype(dtype), 8, 50, fit="stretch", resample=resample)
    method = PIL.Image.Resampling[resample.upper()]
    for channel in range(3):
        plane = PIL.Image.fromarray(array[..., channel].astype(np.float32))
        np.testing.assert_array_equal(result[..., channel], np.asarray(plane.resize((50, 8), method)))
    assert result.dtype == np.float32


def test_lanczos_does_not_leave_the_scale():
    edge = np.zeros((8, 8), np.uint16)
    edge[:, 4:] = 65535
    result = prepared(edge, size=(16, 16), channels=1, resample="lanczos")
    assert (result.values.min(), result.values.max()) == (0, 1)


def test_crop_by_hand():
    array = np.arange(2 * 6, dtype=np.uint8).reshape(2, 6)
    result = prepared(array, size=(2, 2), channels=1, preset="raw", fit="crop")
    assert result.values[..., 0].tolist() == [[2, 3], [8, 9]]
    assert "resampled nearest 6x2 -> 2x2 (crop) of the middle 2x2" in result.steps


def test_pad_by_hand():
    array = np.full((2, 4), 9, np.uint8)
    result = prepared(array, size=(4, 4), channels=1, preset="raw", fit="pad")
    assert result.values[..., 0].tolist() == [[0] * 4, [9] * 4, [9] * 4, [0] * 4]
    assert "resampled nearest 4x2 -> 4x4 (pad): 4x2 in the middle of black" in result.steps


def test_pad_keeps_the_proportions():
    array = np.full((4, 12), 9, np.uint8)
    result = prepared(array, size=(6, 6), channels=1, preset="raw", fit="pad")
    assert result.values[..., 0].tolist() == [[0] * 6] * 2 + [[9] * 6] * 2 + [[0] * 6] * 2
    assert "resampled nearest 12x4 -> 6x6 (pad): 6x2 in the middle of black" in result.steps


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    wanted=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    fit=st.sampled_from(["stretch", "crop", "pad"]),
    resample=st.sampled_from(["nearest", "bilinear", "lanczos"]),
    channels=st.sampled_from([1, 2, 3]),
)
@settings(max_examples=150, deadline=None)
def test_any_size_becomes_any_other(size, wanted, fit, resample, channels):
    pixels = np.full((*size, channels), 200, np.uint8)
    result, step = resize(pixels, *wanted, fit=fit, resample=resample)
    assert result.shape == (*wanted, channels)
    # A flat picture stays flat; padding adds nothing but black, around at least one pixel.
    assert set(np.unique(result)) <= ({0, 200} if fit == "pad" else {200})
    assert (result == 200).any()
    assert f"{size[1]}x{size[0]}" in step


def test_a_picture_of_the_right_size_is_left_alone():
    array = random(5, 7)
    for resample in ("nearest", "bilinear", "lanczos"):
        result = prepared(array, size=(5, 7), preset="raw", resample=resample)
        np.testing.assert_array_equal(result.values, array)
        assert "size 7x5 kept" in result.steps


# What comes out


def test_steps_tell_everything_in_order():
    rgba = np.dstack([random(40, 30), np.full((40, 30), 99, np.uint8)])
    stream = io.BytesIO()
    exif = PIL.Image.Exif()
    exif[274] = 6
    PIL.Image.fromarray(rgba).save(stream, "PNG", exif=exif)
    result = preprocess(open_image(stream.getvalue()), height=15, width=16, channels=1)
    assert result.steps == (
        "PNG, 30 x 40, RGB with alpha, 8 bits",
        "transparency found",
        "EXIF orientation 6 applied: turned by 90 degrees clockwise",
        "alpha laid over white",
        "RGB to grey: luminance, 0.299 R + 0.587 G + 0.114 B",
        "resampled nearest 40x30 -> 16x15 (stretch)",
        "value / 255 (unit)",
    )


def test_steps_of_deep_pictures():
    assert prepared(np.zeros((2, 2), np.uint16)).steps[-2:] == (
        "values / 257, to the scale 0..255",
        "value / 255 (unit)",
    )
    assert prepared(np.zeros((2, 2), np.float32)).steps[-2] == "values x 255, to the scale 0..255"


def test_the_picture_is_what_the_network_sees():
    result = preprocess(open_image(DEMO), height=50, width=60, channels=3)
    np.testing.assert_array_equal(result.picture, np.rint(result.values * 255))
    assert result.picture.dtype == np.uint8
    deep = prepared(np.array([[0, 128 * 257, 65535]], np.uint16), size=(1, 3))
    assert deep.picture[0, :, 0].tolist() == [0, 128, 255]


def test_nothing_is_shared_and_nothing_can_be_written():
    array = random(4, 4)
    image = open_image(array)
    result = preprocess(image, height=4, width=4, channels=3, preprocessing=Preprocessing(preset="raw"))
    for part in (result.values, result.picture, image.pixels):
        with pytest.raises(ValueError, match="read-only"):
            part[0] = 0
    assert array.flags.writeable
    for preset in ("unit", "raw", "caffe"):
        values = prepared(array, size=(4, 4), preset=preset).values
        assert values.flags.c_contiguous
        assert not np.shares_memory(values, image.pixels)


def test_numbers_by_hand():
    values = np.array([[[0, 5], [2, 5]], [[4, 5], [6, 5]]], np.float32)
    assert describe(values) == {
        "min": [0, 5],
        "max": [6, 5],
        "mean": [3, 5],
        "std": [pytest.approx(5**0.5), 0],
    }
    result = prepared(random(4, 4), size=(4, 4))
    assert result.numbers() == describe(result.values)


# Options that mean nothing


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"preset": "imagenet"},
            "There is no preset 'imagenet'. Give one of 'unit', 'raw', 'tf', 'caffe', 'torch'",
        ),
        ({"preset": None}, "There is no preset None"),
        (
            {"preset": "tf", "mean": 1},
            "preset 'tf' says how values are scaled, and so do scale, mean and std",
        ),
        ({"fit": "squash"}, "There is no fit 'squash'. Give one of 'stretch', 'crop', 'pad'"),
        (
            {"resample": "cubic"},
            "There is no resampling 'cubic'. Give one of 'nearest', 'bilinear', 'lanczos'",
        ),
        ({"std": 0}, "std is 0: 0 would leave nothing"),
        ({"scale": (1, 0)}, "would leave nothing"),
        ({"mean": float("nan")}, "mean is nan: give finite numbers"),
        ({"mean": ()}, "give finite numbers"),
        ({"mean": "much"}, "mean is 'much': give a number, or one for each channel"),
        ({"mean": [[1, 2]]}, "one or one for each channel"),
        ({"size": 150}, r"A size is \(height, width\) in whole pixels, not 150"),
        ({"size": (1, 2, 3)}, r"A size is \(height, width\)"),
        ({"size": (1.5, 2)}, r"A size is \(height, width\)"),
        ({"size": (float("nan"), 2)}, r"A size is \(height, width\)"),
        ({"size": (float("inf"), 2)}, r"A size is \(height, width\)"),
        ({"size": (0, 5)}, "A size of 0 x 5 .* is not possible: 1 to 32,768 each"),
        ({"size": (1, 40_000)}, "is not possible"),
    ],
)
def test_options_without_meaning(options, message):
    with pytest.raises(UsageError, match=message):
        Preprocessing(**options)


@pytest.mark.parametrize(
    ("call", "options", "message"),
    [
        ({"channels": 3}, {"mean": (1, 2)}, "mean has 2 numbers and the network 3 channels"),
        ({"channels": 1}, {"std": (1, 2, 3)}, "std has 3 numbers and the network 1 channel"),
        ({"channels": 0}, {}, "A network of 0 channels takes no picture"),
        ({"size": (2, 3)}, {"size": (3, 2)}, r"ask for a size of \(3, 2\) .* the network for \(2, 3\)"),
        ({"size": (0, 3)}, {}, "A size of 0 x 3 .* is not possible"),
        ({}, {"scale": 1e38, "std": 1e-30}, "takes values of array beyond what float32 holds"),
    ],
)
def test_options_that_do_not_suit_the_network(call, options, message):
    call = {"channels": 3, "size": (2, 2)} | call
    with pytest.raises(UsageError, match=message):
        preprocess(
            open_image(random(4, 4)),
            height=call["size"][0],
            width=call["size"][1],
            channels=call["channels"],
            preprocessing=Preprocessing(**options),
        )


def test_options_compare_and_keep():
    assert Preprocessing() == Preprocessing(preset="unit", fit="stretch", resample="nearest")
    assert Preprocessing(mean=[1, 2, 3]) == Preprocessing(preset=None, mean=(1.0, 2.0, 3.0))
    assert Preprocessing(size=(np.int64(3), 4)).size == (3, 4)
    assert len({Preprocessing(mean=[1]), Preprocessing(mean=(1,))}) == 1
