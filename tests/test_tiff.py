"""TIFF of every depth, against files and arrays by tifffile (see data/make_deep_tiffs.py) and by hand."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from fluoroscope.errors import PictureError
from fluoroscope.images import open_image
from fluoroscope.images.tiff_tags import Tag, orientation_of, read_page, write_page

ARCHIVE = Path(__file__).parent / "data" / "deep_tiffs.zip"
with zipfile.ZipFile(ARCHIVE) as archive:
    FILES = {name: archive.read(name) for name in archive.namelist()}
NAMES = sorted(name.removesuffix(".tif") for name in FILES if name.endswith(".tif"))


def tiff(values, *, order="<", photometric=None, **tags):
    """An uncompressed TIFF of one strip, tag by tag."""
    height, width, samples = values.shape
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    fields = {
        256: [width], 257: [height], 258: [8 * values.itemsize] * samples, 259: [1],
        262: [(2 if samples >= 3 else 1) if photometric is None else photometric], 273: [8], 277: [samples],
        278: [height], 279: [values.nbytes], 339: [kind] * samples,
    }  # fmt: skip
    fields |= {int(name[1:]): value for name, value in tags.items()}
    packed = {n: Tag(4, len(v), struct.pack(f"{order}{len(v)}I", *v)) for n, v in fields.items() if v}
    return write_page(order, packed, values.astype(values.dtype.newbyteorder(order)).tobytes())


def saved(array, **options):
    stream = io.BytesIO()
    PIL.Image.fromarray(array).save(stream, "TIFF", **options)
    return stream.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_files_by_another_library(name):
    array = np.load(io.BytesIO(FILES[f"{name}.npy"]))
    image = open_image(FILES[f"{name}.tif"])
    expected = array.reshape(*array.shape[:2], -1)
    np.testing.assert_array_equal(
        image.pixels, expected if array.dtype == np.uint16 else expected.astype(np.float32)
    )
    assert image.pixels.dtype == (np.uint16 if array.dtype == np.uint16 else np.float32)


def test_those_files_hold_every_choice():
    choices = {part for name in NAMES for part in name.split("-")}
    assert choices >= {
        "u2",
        "u4",
        "i1",
        "i2",
        "f2",
        "f4",
        "f8",
        "grey",
        "rgb",
        "lzw",
        "deflate",
        "packbits",
        "zstd",
    }
    assert choices >= {
        "predictor",
        "strip",
        "strips",
        "tiles",
        "planes",
        "little",
        "big",
        "bigtiff",
        "packed12",
    }


@pytest.mark.parametrize("dtype", ["u2", "i4", "f4"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("predictor", [1, 2, 3])
@pytest.mark.parametrize("rows", [3, 100])
def test_files_by_libtiff(dtype, compression, predictor, rows):
    if (predictor > 1 and compression in (None, "packbits")) or (predictor == 3 and dtype != "f4"):
        predictor = 1  # These have none.
    values = (np.random.default_rng(1).normal(size=(11, 7)) * 9000).astype(np.int64).astype(dtype)
    data = saved(values, compression=compression, tiffinfo={317: predictor, 278: rows})
    image = open_image(data)
    np.testing.assert_array_equal(image.pixels[..., 0], values)


@pytest.mark.parametrize(("bits", "white"), [(10, 1023), (12, 4095), (14, 16383)])
def test_the_white_of_packed_samples(bits, white):
    image = open_image(FILES[f"packed{bits}.tif"])
    assert image.white == white
    assert image.steps[0].endswith(f"{bits} bits: white is {white}")


def test_white_is_zero_is_inverted_and_said():
    assert open_image(FILES["white_is_zero.tif"]).steps[-1] == "white is zero: inverted"
    with pytest.raises(PictureError, match="white as zero and float32 values"):
        open_image(tiff(np.zeros((2, 2, 1), np.float32), photometric=0))


# Alpha is a fifth: a fifth of the colour, or all of it where it is multiplied in, and four fifths of white.
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("extra", "expected", "step"),
    [
        ([2], [53228, 53628, 52428], "alpha laid over white"),
        ([], [53228, 53628, 52428], "alpha laid over white"),
        ([1], [56428, 58428, 52428], "alpha laid over white"),
        ([0], [4000, 6000, 0], "1 further sample a pixel left out"),
    ],
)
def test_a_fourth_sample_of_sixteen_bits(order, extra, expected, step):
    pixel = np.array([[[4000, 6000, 0, 13107]]], np.uint16)
    image = open_image(tiff(pixel, order=order, t338=extra))
    assert image.pixels.tolist() == [[expected]]
    assert image.steps[-1] == step


@pytest.mark.parametrize("order", ["<", ">"])
def test_eight_bits_with_a_tag_that_writers_leave_out(order):
    pixel = np.array([[[10, 20, 30, 0], [10, 20, 30, 255]]], np.uint8)
    assert open_image(tiff(pixel, order=order)).pixels.tolist() == [[[255, 255, 255], [10, 20, 30]]]
    grey = np.array([[[10, 99], [20, 99]]], np.uint8)
    assert open_image(tiff(grey, order=order, photometric=1)).pixels.tolist() == [[[10], [20]]]


def test_old_files_without_lengths_of_strips():
    values = np.arange(12, dtype=np.uint16).reshape(2, 6, 1)
    np.testing.assert_array_equal(open_image(tiff(values, t279=[])).pixels, values)


def test_signed_bytes_are_not_taken_for_unsigned_ones():
    image = open_image(tiff(np.array([[[-1], [100]]], np.int8)))
    assert image.pixels.tolist() == [[[-1], [100]]]
    assert image.white is None


def test_a_profile_of_deep_samples_is_said():
    data = saved(np.zeros((1, 1), np.float32), icc_profile=b"nonsense")
    assert open_image(data).steps[-1].startswith("ICC profile ignored: it is damaged")


def test_metadata_nobody_asked_for_are_not_read():
    # A private tag that Pillow would warn about: its values lie far outside the file.
    broken = tiff(np.zeros((2, 2, 1), np.uint8), t50000=[1] * 9)
    at = broken.index(struct.pack("<HHI", 50000, 4, 9)) + 8
    broken = broken[:at] + b"\xff\xff\xff\x7f" + broken[at + 4 :]
    assert open_image(broken).pixels.shape == (2, 2, 1)
    # And a width with two values.
    assert open_image(tiff(np.zeros((2, 2, 1), np.uint8), t256=[2, 7])).pixels.shape == (2, 2, 1)


def zeros(dtype, samples=1):
    return np.zeros((2, 2, samples), dtype)


@pytest.mark.parametrize(
    ("values", "tags", "message"),
    [
        (zeros("u2"), {"t259": [34887]}, "compressed by method 34887; read are none, LZW, deflate"),
        (zeros("u1"), {"t262": [32803]}, "pixels are camera raw; read are grey, RGB"),
        (zeros("u1", 3), {"t262": [8]}, r"pixels are CIE L\*a\*b\*"),
        (zeros("u2", 4), {"t262": [5]}, "neither grey nor RGB, which is not read"),
        (zeros("u1", 5), {"t262": [1]}, "5 samples a pixel, 1 of them colour and 0 known extras"),
        (zeros("u2", 3), {"t258": [16, 16, 8]}, "samples differ in type within a pixel"),
        (zeros("u4"), {"t339": [6]}, "complex numbers"),
        (zeros("u1", 3), {"t258": [24], "t277": [1], "t262": [1]}, "unsigned samples of 24 bits"),
        (zeros("u1"), {"t258": [6]}, "samples of 6 bits, which are not read"),
        (zeros("u2"), {"t266": [2]}, "unusual storage .compression 1, fill order 2"),
        (zeros("u2"), {"t317": [3]}, "unusual storage .*predictor 3"),
        (zeros("u2", 4), {"t258": [12] * 4}, "alpha and 12 bits, which is not read"),
        (zeros("f4", 4), {}, "alpha and float32 values, which is not read"),
        (zeros("f4") * np.nan, {}, "4 of 4 values are not finite numbers"),
        (zeros("u2"), {"t273": [10**9]}, "a strip or tile of 8 bytes at byte 1,000,000,000 is not whole"),
        (zeros("u2"), {"t273": [4]}, "a strip or tile of 8 bytes at byte 4 is not whole"),
        (zeros("u2"), {"t279": [7]}, "a strip or tile of 8 bytes at byte 8 is not whole"),
        (zeros("u2"), {"t278": [1]}, "of its 2 strips or tiles not all are listed"),
        (zeros("u2"), {"t278": [0]}, "stored in parts of 2 x 0 pixels"),
        (zeros("u1"), {"t322": [1 << 20], "t323": [1 << 20]}, "parts of 1,048,576 x 1,048,576 pixels"),
        (zeros("u1"), {"t256": []}, "a size of 0 x 2: no pixels"),
        (zeros("u1"), {"t256": [20_000], "t257": [20_000]}, "20,000 x 20,000 pixels, 400.0 megapixels"),
        (
            zeros("u1"),
            {"t277": [301], "t338": [0] * 300, "t256": [8000], "t257": [8000]},
            "19,264,000,000 bytes",
        ),
    ],
)
def test_what_is_not_read_says_so(values, tags, message):
    with pytest.raises(PictureError, match=message):
        open_image(tiff(values, **tags))


def test_a_circle_of_pages_is_not_followed():
    page = bytearray(tiff(np.zeros((2, 2, 1), np.uint8)))
    (start,) = struct.unpack_from("<I", page, 4)
    (entries,) = struct.unpack_from("<H", page, start)
    struct.pack_into("<I", page, start + 2 + 12 * entries, start)
    assert not any("of several" in step for step in open_image(bytes(page)).steps)
    with pytest.raises(PictureError, match="there is no frame 1: it holds 1 page, numbered from 0"):
        open_image(bytes(page), frame=1)


@pytest.mark.parametrize("order", ["<", ">"])
def test_tags_survive_a_round_trip(order):
    tags = {
        256: Tag(3, 1, struct.pack(f"{order}H", 7)),
        258: Tag(3, 3, struct.pack(f"{order}3H", 1, 2, 3)),
        273: Tag(16, 2, struct.pack(f"{order}2Q", 8, 9)),
        347: Tag(7, 5, b"bytes"),
    }
    page = read_page(write_page(order, tags, b"odd"), set(tags))
    assert page.numbers(256) == (7,)
    assert page.numbers(258) == (1, 2, 3)
    assert page.numbers(273) == (8, 9)
    assert page.tags[347] == tags[347]
    assert page.tags[273].type == 4
    assert not page.several


@pytest.mark.parametrize(
    ("exif", "orientation"), [(b"", 1), (b"Exif\0\0", 1), (b"Exif\0\0II*\0", 1), (b"nonsense", 1)]
)
def test_orientation_of_damaged_exif(exif, orientation):
    assert orientation_of(exif) == orientation


def test_orientation_of_exif_out_of_range():
    exif = PIL.Image.Exif()
    exif[274] = 9
    assert orientation_of(exif.tobytes()) == 1
    exif[274] = 5
    assert orientation_of(exif.tobytes()) == 5
