"""PNG of 16 bits a sample, written and read by TensorFlow's libpng; and its check sums."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
from PIL import ImageCms

from fluoroscope.errors import PictureError
from fluoroscope.images import open_image
from fluoroscope.images.png import decode_png

COLOURS = {1: 0, 3: 2, 2: 4, 4: 6}
"""PNG's colour type by number of samples."""


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(samples, *extra, interlace=0, colour=None):
    """A PNG of 16 bits, its rows not filtered; with Adam7 (ISO 15948, 8.2) the seven pictures in turn."""
    height, width, channels = samples.shape
    header = struct.pack(
        ">IIBBBBB", width, height, 16, COLOURS[channels] if colour is None else colour, 0, 0, interlace
    )
    passes = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    rows = b""
    for top, left, down, across in passes if interlace else [(0, 0, 1, 1)]:
        part = samples[top::down, left::across]
        rows += b"".join(b"\0" + row.astype(">u2").tobytes() for row in part if row.size)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *extra,
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def samples(height, width, channels):
    return (
        np.random.default_rng(height * width).integers(0, 65536, (height, width, channels)).astype(np.uint16)
    )


def whole(data):
    raster = decode_png(data, frame=0, max_pixels=10**6)
    return raster.pixels if raster.alpha is None else np.dstack([raster.pixels, raster.alpha])


@pytest.fixture(scope="module")
def tensorflow():
    import tensorflow

    return tensorflow


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (37, 53)])
def test_sixteen_bits_written_by_another_library(tensorflow, channels, size):
    array = samples(*size, channels)
    data = tensorflow.io.encode_png(array).numpy()  # Filters its rows, unlike the one above.
    np.testing.assert_array_equal(whole(data), array)


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (17, 19)])
def test_sixteen_bits_read_by_another_library_too(tensorflow, channels, size, interlace):
    array = samples(*size, channels)
    data = png(array, interlace=interlace)
    np.testing.assert_array_equal(tensorflow.io.decode_png(data, dtype=tensorflow.uint16).numpy(), array)
    np.testing.assert_array_equal(whole(data), array)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_full_range_arrives(channels):
    array = samples(4, 5, channels)
    image = open_image(png(array))
    np.testing.assert_array_equal(image.pixels, array)
    assert (image.pixels.dtype, image.white) == (np.uint16, 65535)
    assert image.steps == (f"PNG, 5 x 4, {'grey' if channels == 1 else 'RGB'}, 16 bits: white is 65535",)


def test_alpha_of_sixteen_bits_by_hand():
    array = np.array(
        [[[1000, 2000, 3000, 65535], [1000, 2000, 3000, 0], [60000, 0, 30000, 13107]]], np.uint16
    )
    image = open_image(png(array))
    # A fifth of the colour and four fifths of white.
    assert image.pixels.tolist() == [[[1000, 2000, 3000], [65535] * 3, [64428, 52428, 58428]]]
    assert image.steps[1:] == ("transparency found", "alpha laid over white")


@pytest.mark.parametrize("channels", [1, 3])
def test_one_transparent_colour_is_compared_in_sixteen_bits(channels):
    # Equal in the high bytes: Pillow, which keeps only those, could not tell them apart.
    array = np.array([[[0x1234] * channels, [0x1235] * channels]], np.uint16)
    data = png(array, chunk(b"tRNS", struct.pack(">H", 0x1234) * channels))
    assert open_image(data, background="black").pixels.tolist() == [[[0] * channels, [0x1235] * channels]]


def test_orientation_of_sixteen_bits():
    array = samples(2, 3, 3)
    exif = PIL.Image.Exif()
    exif[274] = 3
    image = open_image(png(array, chunk(b"eXIf", exif.tobytes()[6:])))
    np.testing.assert_array_equal(image.pixels, array[::-1, ::-1])
    assert image.steps[1:] == ("EXIF orientation 3 applied: turned by 180 degrees",)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SWAPPED = SRGB.replace(b"rXYZ", b"____").replace(b"gXYZ", b"rXYZ").replace(b"____", b"gXYZ")


@pytest.mark.parametrize(
    ("channels", "profile", "step"),
    [
        (3, SRGB, "is sRGB in effect: values kept"),
        (3, SWAPPED, "not applied: values of more than 8 bits are kept as they are"),
        (1, SWAPPED, "ignored: it is for RGB, the picture is grey"),
        (2, SWAPPED, "ignored: it is for RGB, the picture is grey"),
        (4, b"nonsense", "ICC profile ignored: it is damaged"),
    ],
)
def test_a_profile_of_sixteen_bits_is_said(channels, profile, step):
    array = samples(2, 3, channels)
    data = png(array, chunk(b"iCCP", b"name\0\0" + zlib.compress(profile)))
    np.testing.assert_array_equal(whole(data), array)
    assert any(step in said for said in open_image(data).steps)


def test_every_chunk_that_matters_is_checked():
    stream = io.BytesIO()
    PIL.Image.new("P", (4, 4)).save(stream, "PNG", transparency=0)
    data = stream.getvalue()
    open_image(data)
    for kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT"):
        at = data.index(kind) + 5
        damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(
            PictureError, match=f"the check sum of its '{kind.decode()}' chunk at byte .* is wrong"
        ):
            open_image(damaged)


def test_what_follows_the_end_is_not_looked_at():
    array = samples(2, 3, 3)
    np.testing.assert_array_equal(open_image(png(array) + b"something else").pixels, array)


def test_an_animation_of_sixteen_bits_has_its_first_frame():
    array = samples(2, 3, 3)
    control = chunk(b"acTL", struct.pack(">II", 2, 0))
    frame = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 3, 2, 0, 0, 1, 1, 0, 0))
    data = png(array, control, frame)
    image = open_image(data)
    np.testing.assert_array_equal(image.pixels, array)
    assert image.steps[-1] == "frame 0 of several"
    with pytest.raises(PictureError, match="of an animated PNG with 16 bits a sample only frame 0 is read"):
        open_image(data, frame=1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b""), "it does not begin with its header"),
        (png(samples(2, 2, 1), chunk(b"acTL", bytes(8))), "an animation of no frames"),
        (png(samples(2, 2, 1), colour=7), "the PNG is cut short or damaged"),
        (png(samples(2, 2, 1)[:0]), "declares a size of 2 x 0: no pixels"),
    ],
)
def test_png_that_means_nothing(data, message):
    with pytest.raises(PictureError, match=message):
        open_image(data)
