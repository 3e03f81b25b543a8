"""Pictures of every form, depth and colour, against Pillow's own conversions and hand-worked arrays."""

from __future__ import annotations

import doctest
import hashlib
import io
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import ImageCms, ImageOps

import fluoroscope.images.reading
from fluoroscope.errors import PictureError, UsageError
from fluoroscope.images import Image, open_image, to_levels
from fluoroscope.images.raster import Raster, flatten, orient

DEMO = Path(fluoroscope.__file__).parent / "demo" / "person3_virus_16.jpeg"


def random(height, width, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def encoded(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def decoded(data, mode):
    with PIL.Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert(mode))


RGB = PIL.Image.fromarray(random(13, 17))


# Forms and modes


@pytest.mark.parametrize(
    ("form", "mode", "options"),
    [
        ("JPEG", "RGB", {}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "L", {}),
        ("JPEG", "CMYK", {}),
        ("PNG", "RGB", {}),
        ("PNG", "L", {}),
        ("PNG", "1", {}),
        ("PNG", "P", {}),
        ("PNG", "P", {"bits": 2}),
        ("BMP", "RGB", {}),
        ("BMP", "L", {}),
        ("BMP", "P", {}),
        ("BMP", "1", {}),
        ("GIF", "P", {}),
        ("GIF", "L", {}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("TIFF", "RGB", {}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TIFF", "RGB", {"compression": "jpeg"}),
        ("TIFF", "RGB", {"compression": "tiff_deflate", "big_tiff": True}),
        ("TIFF", "L", {"compression": "packbits"}),
        ("TIFF", "1", {"compression": "group4"}),
        ("TIFF", "P", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", "CMYK", {}),
        ("TIFF", "YCbCr", {}),
        ("PPM", "RGB", {}),
        ("PPM", "L", {}),
    ],
)
def test_eight_bits_are_what_pillow_decodes(form, mode, options):
    source = RGB.quantize(4 if "bits" in options else 200) if mode == "P" else RGB.convert(mode)
    data = encoded(source, form, **options)
    grey = mode in ("L", "1") and form != "GIF"  # Which has palettes only.
    expected = decoded(data, "L" if grey else "RGB")

    image = open_image(data)

    np.testing.assert_array_equal(image.pixels[..., 0] if grey else image.pixels, expected)
    assert image.pixels.dtype == np.uint8
    assert (image.white, image.channels) == (255, 1 if grey else 3)
    assert "17 x 13" in image.steps[0]


def test_a_real_picture():
    image = open_image(DEMO)
    with PIL.Image.open(DEMO) as expected:
        np.testing.assert_array_equal(image.pixels, np.asarray(expected.convert("RGB")))
    assert image.name == "person3_virus_16.jpeg"
    assert image.path == str(DEMO)
    assert image.sha256 == hashlib.sha256(DEMO.read_bytes()).hexdigest()
    assert image.steps == ("JPEG, 224 x 224, RGB, 8 bits",)


def test_cmyk_without_a_profile_says_how_it_became_rgb():
    image = open_image(encoded(RGB.convert("CMYK"), "TIFF"))
    assert image.steps[-1] == "CMYK to RGB without a profile: ink and black multiplied"


def test_the_name_plays_no_part(tmp_path):
    path = tmp_path / "picture.gif"
    path.write_bytes(encoded(RGB, "PNG"))
    assert open_image(path).steps[0].startswith("PNG")


@pytest.mark.parametrize(("white", "stored"), [(255, ">u1"), (100, ">u1"), (4095, ">u2"), (65535, ">u2")])
@pytest.mark.parametrize("channels", [1, 3])
def test_pgm_and_ppm_keep_their_depth(white, stored, channels):
    values = (np.arange(2 * 3 * channels) * (white // 20)).reshape(2, 3, channels)
    header = f"P{5 if channels == 1 else 6} # a comment\n3\t2 #another\n{white}\n".encode()
    image = open_image(header + values.astype(stored).tobytes())
    np.testing.assert_array_equal(image.pixels, values)
    assert image.white == white
    assert image.pixels.dtype == (np.uint8 if stored == ">u1" else np.uint16)


# Alpha, palettes, one transparent colour


@pytest.mark.parametrize(
    ("background", "expected"),
    [
        ("white", [200, 255, 228]),  # 228: 200 * 128 / 255 + 255 * 127 / 255 = 227.39...
        ("black", [200, 0, 100]),
        ("#0a0a0a", [200, 10, 105]),
        ((10, 10, 10), [200, 10, 105]),
    ],
)
def test_grey_over_a_background_by_hand(background, expected):
    expected = [expected[0], expected[1], round(200 * 128 / 255 + expected[1] * 127 / 255)]
    pixels = np.array([[[200, 255], [200, 0], [200, 128]]], np.uint8)
    image = open_image(encoded(PIL.Image.fromarray(pixels), "PNG"), background=background)
    assert image.pixels.tolist() == [[[v] for v in expected]]


def test_grey_over_a_coloured_background_becomes_colour():
    pixels = np.array([[[200, 255], [200, 0]]], np.uint8)
    image = open_image(encoded(PIL.Image.fromarray(pixels), "PNG"), background=(1, 2, 3))
    assert image.pixels.tolist() == [[[200, 200, 200], [1, 2, 3]]]
    assert image.steps[-1] == "alpha laid over (1, 2, 3)"


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_rgba_is_within_a_level_of_pillows_composite(form):
    rgba = PIL.Image.fromarray(random(9, 11, 4))
    data = encoded(rgba, form, **({"lossless": True, "exact": True} if form == "WEBP" else {}))
    white = PIL.Image.new("RGBA", rgba.size, "white")
    expected = np.asarray(PIL.Image.alpha_composite(white, rgba).convert("RGB"))
    image = open_image(data)
    assert np.abs(image.pixels.astype(int) - expected).max() <= 1
    assert image.steps[-1] == "alpha laid over white"


def test_opaque_alpha_is_dropped_without_a_change():
    rgba = random(4, 5, 4)
    rgba[..., 3] = 255
    image = open_image(encoded(PIL.Image.fromarray(rgba), "PNG"))
    np.testing.assert_array_equal(image.pixels, rgba[..., :3])
    assert image.steps[-1] == "alpha is opaque everywhere: dropped"


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_a_transparent_palette_entry_lets_the_background_through(form):
    palette = PIL.Image.fromarray(np.array([[0, 1], [2, 0]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image = open_image(encoded(palette, form, transparency=0), background="black")
    assert image.pixels.tolist() == [[[0, 0, 0], [40, 50, 60]], [[70, 80, 90], [0, 0, 0]]]


def test_a_palette_with_alpha_by_entry():
    palette = PIL.Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([255, 0, 51, 40, 50, 60])
    image = open_image(encoded(palette, "PNG", transparency=bytes([51, 255])), background="black")
    assert image.pixels.tolist() == [[[51, 0, 10], [40, 50, 60]]]


@pytest.mark.parametrize(("mode", "transparent"), [("L", 7), ("RGB", (7, 8, 9))])
def test_one_transparent_colour(mode, transparent):
    pixels = np.array([[[7, 8, 9], [7, 8, 10]]], np.uint8)
    pixels = pixels[..., :1].repeat(3, axis=2) if mode == "L" else pixels
    pixels[0, 1, 0] += mode == "L"
    source = (
        PIL.Image.fromarray(pixels).convert(mode) if mode == "RGB" else PIL.Image.fromarray(pixels[..., 0])
    )
    image = open_image(encoded(source, "PNG", transparency=transparent))
    assert image.pixels[0, 0].tolist() == [255] * image.channels
    assert (image.pixels[0, 1] < 12).all()


@given(
    pixels=arrays.arrays(np.uint16, (1, 4, 3)),
    alpha=arrays.arrays(np.uint16, (1, 4)),
    colour=st.tuples(*[st.integers(0, 255)] * 3),
    deep=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_flatten_is_exact_to_the_nearest_integer(pixels, alpha, colour, deep):
    full = 65535 if deep else 255
    if not deep:
        pixels, alpha = (pixels >> 8).astype(np.uint8), (alpha >> 8).astype(np.uint8)
    result = flatten(Raster(pixels=pixels, white=full, steps=(), alpha=alpha), colour).pixels
    opacity = alpha[..., None].astype(object)  # Exact integers.
    behind = np.array([c * (full // 255) for c in colour], object)
    twice = 2 * (pixels.astype(object) * opacity + behind * (full - opacity))
    expected = (twice + full) // (2 * full)
    assert (result == expected.astype(np.int64)).all()
    assert result.dtype == pixels.dtype


def test_premultiplied_alpha_adds_the_background_only():
    raster = Raster(
        pixels=np.array([[[100], [40]]], np.uint8),
        white=255,
        steps=(),
        alpha=np.array([[255, 51]], np.uint8),
        premultiplied=True,
    )
    assert flatten(raster, (255, 255, 255)).pixels.tolist() == [[[100], [244]]]


@pytest.mark.parametrize("background", ["purple", "#12345", (1, 2), (1, 2, 256), (1, 2, 0.5)])
def test_a_background_that_is_no_colour(background):
    with pytest.raises(UsageError, match="is no colour: give 'white', 'black', '#rrggbb'"):
        open_image(encoded(RGB, "PNG"), background=background)


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied_once_and_recorded(form, orientation):
    exif = PIL.Image.Exif()
    exif[274] = orientation
    data = encoded(RGB, form, exif=exif)
    with PIL.Image.open(io.BytesIO(data)) as source:
        expected = np.asarray(ImageOps.exif_transpose(source).convert("RGB"))
    image = open_image(data)
    np.testing.assert_array_equal(image.pixels, expected)
    recorded = [step for step in image.steps if f"EXIF orientation {orientation} applied" in step]
    assert len(recorded) == (orientation != 1)


def test_orientation_turns_alpha_too():
    rgba = random(3, 5, 4)
    exif = PIL.Image.Exif()
    exif[274] = 6
    upright = open_image(encoded(PIL.Image.fromarray(np.rot90(rgba, -1)), "PNG"))
    turned = open_image(encoded(PIL.Image.fromarray(rgba), "PNG", exif=exif))
    np.testing.assert_array_equal(turned.pixels, upright.pixels)


def test_orientation_6_by_hand():
    raster = orient(
        Raster(pixels=np.array([[[1], [2], [3]], [[4], [5], [6]]], np.uint8), white=255, steps=()), 6
    )
    assert raster.pixels[..., 0].tolist() == [[4, 1], [5, 2], [6, 3]]
    assert raster.steps == ("EXIF orientation 6 applied: turned by 90 degrees clockwise",)


def test_damaged_exif_is_no_reason_to_refuse_a_picture():
    exif = PIL.Image.Exif()
    exif[274] = 6
    data = encoded(RGB, "JPEG", exif=exif.tobytes()[:14])
    np.testing.assert_array_equal(open_image(data).pixels, decoded(encoded(RGB, "JPEG"), "RGB"))


def test_exif_is_found_behind_fill_bytes_and_other_segments():
    exif = PIL.Image.Exif()
    exif[274] = 8
    data = encoded(RGB, "JPEG", exif=exif)
    expected = open_image(data).pixels
    at = data.index(b"\xff\xe1")
    # A fill byte, a comment that mentions EXIF, and the segment itself, twice.
    segment = data[at : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
    comment = b"\xff\xfe\x00\x0cExif\0\0\xff\xe1\0\0"
    for inserted in (b"\xff", comment, segment):
        image = open_image(data[:at] + inserted + data[at:])
        np.testing.assert_array_equal(image.pixels, expected)
        assert any("orientation 8" in step for step in image.steps)


# ICC profiles

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# In the table of tags: the red primary is the green one and the other way about.
SWAPPED = SRGB.replace(b"rXYZ", b"____").replace(b"gXYZ", b"rXYZ").replace(b"____", b"gXYZ")


def test_an_srgb_profile_leaves_every_value_as_it_is():
    data = encoded(RGB, "PNG", icc_profile=SRGB)
    image = open_image(data)
    np.testing.assert_array_equal(image.pixels, np.asarray(RGB))
    assert "is sRGB in effect: values kept" in image.steps[-1]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_another_profile_is_applied(form):
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(RGB, form, icc_profile=SWAPPED, **options)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(SWAPPED))
    plain = PIL.Image.fromarray(decoded(data, "RGB"))
    expected = ImageCms.profileToProfile(plain, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    image = open_image(data)
    np.testing.assert_array_equal(image.pixels, np.asarray(expected))
    assert "RGB to sRGB by its ICC profile" in image.steps[-1]


def test_swapped_primaries_by_hand():
    red = PIL.Image.new("RGB", (1, 1), (255, 0, 0))
    assert (
        np.abs(open_image(encoded(red, "PNG", icc_profile=SWAPPED)).pixels.astype(int) - [0, 255, 0]).max()
        <= 1
    )


def test_a_profile_leaves_alpha_alone():
    rgba = PIL.Image.new("RGBA", (1, 1), (255, 0, 0, 51))
    image = open_image(encoded(rgba, "PNG", icc_profile=SWAPPED), background="black")
    assert np.abs(image.pixels.astype(int) - [0, 51, 0]).max() <= 1


def test_a_grey_profile_keeps_grey_grey():
    # sRGB's curve in a profile for grey, then one of gamma 1.
    grey = bytearray(SRGB.replace(b"rTRC", b"kTRC"))
    grey[16:20] = b"GRAY"
    image = open_image(encoded(RGB.convert("L"), "PNG", icc_profile=bytes(grey)))
    np.testing.assert_array_equal(image.pixels[..., 0], np.asarray(RGB.convert("L")))
    assert "is sRGB in effect" in image.steps[-1]

    curve = grey.index(b"para")
    linear = bytes(grey[:curve]) + b"para\0\0\0\0\0\0\0\0\0\1\0\0" + bytes(grey[curve + 16 :])
    levels = np.array([[0, 64, 128, 255]], np.uint8)
    image = open_image(encoded(PIL.Image.fromarray(levels), "PNG", icc_profile=linear))
    light = levels[0] / 255
    expected = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(image.pixels[0, :, 0] - expected).max() <= 1
    assert "grey to sRGB by its ICC profile" in image.steps[-1]


@pytest.mark.parametrize(
    ("mode", "profile", "step"),
    [
        ("L", SWAPPED, "ignored: it is for RGB, the picture is grey"),
        ("RGB", b"nothing of the kind" * 20, "ICC profile ignored: it is damaged"),
    ],
)
def test_a_profile_that_does_not_fit_is_left_out_and_said(mode, profile, step):
    image = open_image(encoded(RGB.convert(mode), "PNG", icc_profile=profile))
    assert step in image.steps[-1]
    np.testing.assert_array_equal(np.squeeze(image.pixels), np.asarray(RGB.convert(mode)))


# Frames and pages

FRAMES = [PIL.Image.fromarray(random(6, 7, seed=n)) for n in range(3)]


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
@pytest.mark.parametrize("frame", [0, 1, 2])
def test_frames(form, frame):
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(FRAMES[0], form, save_all=True, append_images=FRAMES[1:], **options)
    with PIL.Image.open(io.BytesIO(data)) as source:
        source.seek(frame)
        expected = np.asarray(source.convert("RGB"))
    image = open_image(data, frame=frame)
    np.testing.assert_array_equal(image.pixels, expected)
    assert f"{'page' if form == 'TIFF' else 'frame'} {frame} of several" in image.steps


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_a_frame_that_is_not_there(form):
    data = encoded(FRAMES[0], form, save_all=True, append_images=FRAMES[1:])
    with pytest.raises(PictureError, match=r"The bytes given: there is no frame 3: it holds 3 (frame|page)s"):
        open_image(data, frame=3)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF", "JPEG", "BMP", "PPM"])
def test_a_picture_of_one_frame(form):
    data = encoded(RGB, form)
    assert not any("of several" in step for step in open_image(data).steps)
    with pytest.raises(PictureError, match="there is no frame 1"):
        open_image(data, frame=1)


def test_a_gif_with_gaps_between_its_blocks():
    data = encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:])
    control = data.index(b"!\xf9", data.index(b"!\xf9") + 1)  # Of the second frame.
    spaced = data[:control] + b"\0\0" + data[control:]
    for frame in range(3):
        np.testing.assert_array_equal(
            open_image(spaced, frame=frame).pixels, open_image(data, frame=frame).pixels
        )


@pytest.mark.parametrize("frame", [-1, 10_000])
def test_a_frame_number_without_meaning(frame):
    with pytest.raises(UsageError, match=r"frames are numbered from 0 to 9,999\."):
        open_image(encoded(RGB, "GIF"), frame=frame)


# Arrays, NPY, NPZ


def saved(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def zipped(compressed=True, **members):
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **members)
    return stream.getvalue()


@pytest.mark.parametrize("wrap", [lambda a: a, saved, lambda a: zipped(picture=a, labels=np.arange(3))])
@pytest.mark.parametrize(
    ("dtype", "low", "high", "white", "words"),
    [
        ("u1", 0, 255, 255, "8 bits: white is 255"),
        (">u2", 0, 65535, 65535, "16 bits: white is 65535"),
        ("<u2", 0, 9, 65535, "16 bits: white is 65535"),
        ("?", 0, 1, 1, "bool from 0 to 1: taken on the scale 0..1, white is 1"),
        ("<f8", 0, 1, 1, "float64 from 0 to 1: taken on the scale 0..1, white is 1"),
        (">f4", 0, 1.5, 255, "float32 from 0 to 1.5: taken on the scale 0..255, white is 255"),
        (
            "<f2",
            -1,
            1,
            None,
            "float16 from -1 to 1: on neither the scale 0..1 nor 0..255, white is not known",
        ),
        ("<i4", 0, 255, 255, "int32 from 0 to 255: taken on the scale 0..255, white is 255"),
        ("<i8", 0, 256, None, "int64 from 0 to 256: on neither the scale"),
    ],
)
def test_arrays_of_every_type(wrap, dtype, low, high, white, words):
    array = np.array([[low, high, low], [high, low, low]], dtype)
    image = open_image(wrap(array))
    np.testing.assert_array_equal(image.pixels[..., 0], array.astype(image.pixels.dtype))
    assert image.white == white
    assert words in image.steps[0]
    assert "3 x 2, 1 channel" in image.steps[0]
    assert image.pixels.dtype == (dtype[-2:] if dtype in ("u1", "<u2", ">u2") else "f4")


def test_fortran_order_and_other_channel_counts():
    array = np.asfortranarray(np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5))
    image = open_image(saved(array))
    np.testing.assert_array_equal(image.pixels, array)
    assert image.channels == 5


def test_a_header_of_python_2():
    data = saved(np.ones((2, 3), np.uint8)).replace(b"(2, 3), ", b"(2L, 3L)")
    assert open_image(data).pixels.shape == (2, 3, 1)


@pytest.mark.parametrize("wrap", [lambda a: a, saved])
def test_frames_of_an_array(wrap):
    array = np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3, 1)
    image = open_image(wrap(array), frame=2)
    np.testing.assert_array_equal(image.pixels, array[2])
    assert image.steps[-1] == "frame 2 of 4"
    with pytest.raises(PictureError, match=r"there is no frame 4: the array of shape \(4, 2, 3, 1\) holds 4"):
        open_image(wrap(array), frame=4)


def test_an_array_is_copied_and_the_copy_is_read_only():
    array = np.zeros((2, 3), np.uint8)
    image = open_image(array)
    array[:] = 9
    assert image.pixels.max() == 0
    assert array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        image.pixels[0] = 1


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), r"an array of shape \(3,\) is no picture. It takes \(height, width\)"),
        (np.zeros((1, 2, 3, 4, 5)), "is no picture"),
        (np.zeros((0, 3)), "a size of 3 x 0: no pixels"),
        (np.zeros((2, 3, 0)), "has no channels"),
        (np.zeros((2, 3), complex), "values of type complex128 are no picture"),
        (np.array([["a", "b"]]), "values of type <U1 are no picture"),
        (np.array([[None]]), "values of type object are no picture"),
        (np.array([[1, np.nan, np.inf]]), r"2 of 3 values are not finite numbers \(1 NaN, 1 infinite"),
        (np.array([[1e300]]), "1 of 1 values are not finite numbers"),
    ],
)
def test_arrays_that_are_no_picture(array, message):
    with pytest.raises(PictureError, match=f"^The array given: .*{message}"):
        open_image(array)


def test_an_npz_of_several_pictures_asks_which():
    data = zipped(left=np.zeros((2, 3)), right=np.zeros((2, 3)))
    with pytest.raises(
        PictureError, match=r"2 arrays that could be the picture \('left' \(2, 3\), 'right' \(2, 3\)\)"
    ):
        open_image(data)


# Sources


def test_every_kind_of_source_gives_the_same_pixels(tmp_path):
    data = encoded(RGB, "PNG")
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    with path.open("rb") as stream:
        images = [open_image(s) for s in (path, str(path), data, bytearray(data), io.BytesIO(data), stream)]
    assert [image.path for image in images] == [str(path), str(path), None, None, None, None]
    assert [image.name for image in images] == ["picture.png"] * 2 + ["picture"] * 3 + ["picture.png"]
    assert {image.sha256 for image in images} == {digest}
    for image in images:
        np.testing.assert_array_equal(image.pixels, np.asarray(RGB))
    assert open_image(images[0]) is images[0]


class Dribble(io.RawIOBase):
    """A stream that gives less than it is asked for, as sockets do."""

    def __init__(self, data):
        self.data = data

    def readable(self):
        return True

    def read(self, size=-1):
        piece, self.data = self.data[:100], self.data[100:]
        return piece


def test_a_stream_that_dribbles():
    np.testing.assert_array_equal(open_image(Dribble(encoded(RGB, "PNG"))).pixels, np.asarray(RGB))


@pytest.mark.parametrize(
    "name",
    [
        "two words.png",
        "röntgen 骨.png",
        "-o.png",
        "new\nline.png",
        "%s{0}'\".png",
        os.fsdecode(b"\xff\xfe.png"),
    ],
)
def test_names_of_every_kind(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(encoded(RGB, "PNG"))
    image = open_image(name)
    assert image.path == name
    assert image.name.isprintable()
    image.name.encode()
    Path(name).write_bytes(b"")
    with pytest.raises(PictureError, match="is empty") as caught:
        open_image(name)
    str(caught.value).encode()


def test_a_newline_in_a_name_is_written_as_an_escape(tmp_path):
    path = tmp_path / "new\nline.png"
    path.write_bytes(encoded(RGB, "PNG"))
    assert open_image(path).name == r"new\nline.png"


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "La", "RGBa"]
)
def test_pillow_images_of_every_mode(mode):
    source = RGB.convert("LA").convert("La") if mode == "La" else RGB.convert("RGBA").convert(mode)
    before = source.tobytes()
    image = open_image(source)
    expected = np.asarray(
        source.convert("RGB" if image.channels == 3 else "L") if mode != "La" else RGB.convert("L")
    )
    np.testing.assert_array_equal(np.squeeze(image.pixels), expected)
    assert source.tobytes() == before
    assert source.mode == mode
    assert image.name == "picture"


def test_deep_pillow_images():
    values = np.array([[0, 300, 65535]], np.uint16)
    image = open_image(PIL.Image.fromarray(values))
    assert (image.pixels.dtype, image.white) == (np.uint16, 65535)
    np.testing.assert_array_equal(image.pixels[..., 0], values)
    image = open_image(PIL.Image.fromarray(np.array([[0.25, 0.5]], np.float32)))
    assert (image.pixels.tolist(), image.white) == ([[[0.25], [0.5]]], 1)
    image = open_image(PIL.Image.fromarray(np.array([[-3, 70000]], np.int32)))
    assert (image.pixels.tolist(), image.white) == ([[[-3], [70000]]], None)


def test_a_pillow_image_with_orientation_and_a_file(tmp_path):
    exif = PIL.Image.Exif()
    exif[274] = 8
    path = tmp_path / "turned.jpg"
    path.write_bytes(encoded(RGB, "JPEG", exif=exif))
    with PIL.Image.open(path) as source:
        image = open_image(source)
    np.testing.assert_array_equal(image.pixels, open_image(path).pixels)
    assert image.name == "turned.jpg"


def test_a_pillow_image_that_pillow_will_cut_says_so():
    from_file = encoded(PIL.Image.fromarray(np.zeros((2, 3), np.uint16)), "PNG")
    # The header alone makes it 16-bit RGB; what is in it is not decoded for this.
    header = b"IHDR" + struct.pack(">IIBBBBB", 3, 2, 16, 2, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + bytes(18) for _ in range(2)))
    colour = from_file[:12] + header + struct.pack(">I", zlib.crc32(header))
    colour += struct.pack(">I", len(rows)) + b"IDAT" + rows + struct.pack(">I", zlib.crc32(b"IDAT" + rows))
    colour += from_file[from_file.index(b"IEND") - 4 :]
    step = "16 bits cut to 8 by Pillow: give the file itself to keep them"
    with PIL.Image.open(io.BytesIO(colour)) as image:
        assert step in open_image(image).steps
    with PIL.Image.open(io.BytesIO(from_file)) as image:
        assert step not in open_image(image).steps
    assert open_image(colour).pixels.dtype == np.uint16


def test_what_is_no_source():
    with pytest.raises(UsageError, match="A list is no picture"):
        open_image([[1, 2]])
    with pytest.raises(UsageError, match="not opened in binary mode: open it with 'rb'"):
        open_image(io.StringIO("text"))
    with pytest.raises(UsageError, match=r"taken at the frame it stands at: call its seek\(1\)"):
        open_image(RGB, frame=1)
    with pytest.raises(UsageError, match="A limit of 0 pixels lets no picture through"):
        open_image(RGB, max_pixels=0)


# What an Image is


def test_an_image_shows_itself_in_a_notebook():
    image = open_image(np.array([[0.0, 0.5, 1.0]]))
    with PIL.Image.open(io.BytesIO(image._repr_png_())) as shown:
        assert shown.mode == "L"
        assert np.asarray(shown).tolist() == [[0, 128, 255]]
    with PIL.Image.open(io.BytesIO(open_image(DEMO)._repr_png_())) as shown:
        np.testing.assert_array_equal(np.asarray(shown), open_image(DEMO).pixels)


@pytest.mark.parametrize(
    ("values", "white", "expected"),
    [
        (np.array([0, 128, 255], np.uint8), 255, [0, 128, 255]),
        (np.array([0, 50, 100], np.uint8), 100, [0, 128, 255]),
        (np.array([0, 257, 65535], np.uint16), 65535, [0, 1, 255]),
        (np.array([0, 0.5, 1], np.float32), 1, [0, 128, 255]),
        (np.array([-1, 0, 3], np.float32), None, [0, 64, 255]),
        (np.array([7, 7, 7], np.float32), None, [0, 0, 0]),
        (np.array([-3e38, 0, 3e38], np.float32), None, [0, 128, 255]),
    ],
)
def test_levels_to_look_at(values, white, expected):
    assert to_levels(values[None, :, None], white)[0, :, 0].tolist() == expected


@pytest.mark.parametrize(("channels", "shown"), [(1, 1), (2, 1), (3, 3), (4, 3), (7, 3)])
def test_levels_have_one_channel_or_three(channels, shown):
    assert open_image(np.zeros((2, 2, channels), np.uint8)).levels().shape == (2, 2, shown)


def test_an_image_is_made_of_pixels():
    with pytest.raises(UsageError, match=r"Pixels of shape \(2, 2\) and type float64 are no Image"):
        Image(pixels=np.zeros((2, 2)), white=1, name="", path=None, sha256="")


def test_the_example_in_the_documentation():
    assert doctest.testmod(fluoroscope.images.reading).failed == 0


def test_the_room_opens_without_pillow():
    code = "import sys, fluoroscope.images; sys.exit(any(m.startswith('PIL') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_npz_that_is_another_archive():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(PictureError, match="this is a ZIP archive without NumPy arrays"):
        open_image(stream.getvalue())
