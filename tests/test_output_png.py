"""PNG pictures, read back by decoders we did not write."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pypdf.filters import FlateDecode
from pypdf.generic import DictionaryObject, NameObject, NumberObject

from fluoroscope.drawing.colormaps import palette
from fluoroscope.errors import UsageError
from fluoroscope.output import png as png_module
from fluoroscope.output.png import encode, encode_bands

BYTES = st.integers(0, 255)
SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)
PICTURES = SHAPES.flatmap(lambda shape: hnp.arrays(np.uint8, st.sampled_from([shape, (*shape, 3)])))


@pytest.fixture(params=["isal", "zlib"])
def compressor(request, monkeypatch):
    """Each of the two compressors; without isal it cannot be imported."""
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)
        assert isinstance(png_module._compressor(), type(zlib.compressobj()))
    else:
        assert not isinstance(png_module._compressor(), type(zlib.compressobj()))
    return request.param


def test_the_smaller_filter_is_taken():
    """Smooth rows as differences, coarse ones as they are; both read back."""
    rng = np.random.default_rng(0)
    slope = (np.add.outer(np.arange(300), np.arange(200)) % 256).astype(np.uint8)
    coarse = rng.choice([3, 200], (300, 200)).astype(np.uint8)
    for pixels, kind in ((slope, 2), (coarse, 0)):
        image = encode(pixels)
        rows = np.frombuffer(zlib.decompress(image.stream), np.uint8).reshape(300, 201)
        assert set(rows[:, 0]) == {kind}
        np.testing.assert_array_equal(opened(image.png()), pixels)


def opened(data):
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return picture


def chunks(data):
    """Names and contents, each checked, of a PNG file."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(name + content),)
        found.append((name, content))
        at += 12 + length
    return found


def smooth(height, width, seed=0):
    """Bytes like those of sheets: smooth, with a background."""
    walk = np.random.default_rng(seed).normal(size=(height, width)).cumsum(0).cumsum(1)
    return np.clip(walk * 4 + 128, 100, 255).astype(np.uint8)


@pytest.mark.usefixtures("compressor")
@given(PICTURES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pillow_reads_back_every_pixel(pixels):
    np.testing.assert_array_equal(np.asarray(opened(encode(pixels).png())), pixels)


@pytest.mark.usefixtures("compressor")
@given(PICTURES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_pdf_reader_decodes_the_stream(pixels):
    image = encode(pixels)
    numbers = {"/Predictor": 15, "/Colors": image.colors, "/BitsPerComponent": 8, "/Columns": image.width}
    parameters = DictionaryObject({NameObject(name): NumberObject(n) for name, n in numbers.items()})
    data = FlateDecode.decode(image.stream, parameters)
    np.testing.assert_array_equal(np.frombuffer(data, np.uint8).reshape(pixels.shape), pixels)


@pytest.mark.usefixtures("compressor")
def test_a_palette_picture_keeps_indices_and_colours():
    indices = smooth(300, 700)
    image = encode(indices, palette("viridis"))
    picture = opened(image.png())
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), indices)
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), palette("viridis")[indices])


@pytest.mark.usefixtures("compressor")
@pytest.mark.parametrize("shape", [(2000, 300), (3, 200_000), (1, 1), (400, 333, 3)])
def test_pictures_of_many_bands_and_of_one(shape):
    pixels = np.random.default_rng(1).integers(0, 9, shape).astype(np.uint8)
    image = encode(pixels)
    assert (image.height, image.width) == shape[:2]
    np.testing.assert_array_equal(np.asarray(opened(image.png())), pixels)


@given(PICTURES)
def test_samples_are_the_picture_again(pixels):
    np.testing.assert_array_equal(encode(pixels).samples(), pixels)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 9), st.just(3))), st.integers(1, 7))
def test_bands_make_the_picture_they_are_of(pixels, step):
    memory = np.empty((step, *pixels.shape[1:]), np.uint8)

    def bands():
        for start in range(0, len(pixels), step):
            band = memory[: len(pixels[start : start + step])]
            band[...] = pixels[start : start + step]
            yield band

    height, width = pixels.shape[:2]
    image = encode_bands(bands(), width=width, height=height)
    np.testing.assert_array_equal(np.asarray(opened(image.png())), pixels)


@pytest.mark.parametrize(
    ("shapes", "height", "message"),
    [
        (
            [(2, 5, 3), (2, 4, 3)],
            4,
            r"band of a picture was a uint8 array of shape \(2, 4, 3\).*\(rows, 5, 3\)",
        ),
        ([(2, 5, 3), (0, 5, 3)], 2, r"shape \(0, 5, 3\).* at least one row"),
        ([(2, 5, 3), (2, 5, 3)], 5, "A picture of 5 rows was to be encoded from 4"),
        ([(2, 5, 3)], 0, "A picture of 0 x 5: a side of a PNG is 1 to"),
    ],
)
def test_bands_that_make_no_picture(shapes, height, message):
    with pytest.raises(UsageError, match=message):
        encode_bands([np.zeros(shape, np.uint8) for shape in shapes], width=5, height=height)


def test_the_palette_ends_with_the_last_index_used():
    image = encode(np.array([[0, 7], [3, 2]], np.uint8), palette("gray"))
    assert image.palette is not None
    np.testing.assert_array_equal(image.palette, palette("gray")[:8])
    names = dict(chunks(image.png()))
    assert len(names[b"PLTE"]) == 24


def test_a_part_of_a_picture_is_encoded_as_it_is_seen():
    pixels = smooth(50, 60)
    part = pixels[5:40:3, 7:50:2]
    np.testing.assert_array_equal(np.asarray(opened(encode(part).png())), part)
    turned = np.moveaxis(np.stack([pixels] * 3), 0, -1)
    np.testing.assert_array_equal(np.asarray(opened(encode(turned).png())), turned)


def test_files_are_smaller_than_those_of_pillow(compressor):
    # The pattern of a sheet: maps side by side, a third of it background.
    indices = np.concatenate(
        [np.concatenate([smooth(75, 75, 16 * r + c) for c in range(16)], 1) for r in range(8)]
    )
    plain = Image.fromarray(indices)
    plain.putpalette(palette("viridis").tobytes())
    file = io.BytesIO()
    plain.save(file, "PNG")
    assert len(encode(indices, palette("viridis")).png()) <= len(file.getvalue())


def test_text_is_kept_whatever_its_letters():
    text = {
        "Software": "Fluoroscope",
        "Scaling": "mean ± 2 std",
        "Picture": "легкие 肺\nsecond line",
        "Größe": "",
    }
    data = encode(smooth(9, 9)).png(text)
    assert opened(data).text == text
    names = [name for name, _ in chunks(data)]
    assert names == [b"IHDR", b"tEXt", b"tEXt", b"iTXt", b"tEXt", b"IDAT", b"IEND"]


def test_a_file_name_that_is_no_text_is_kept_in_codes():
    name = b"caf\xe9.jpeg".decode("utf-8", "surrogateescape")
    assert opened(encode(smooth(9, 9)).png({"Picture": name})).text == {"Picture": r"caf\udce9.jpeg"}


@pytest.mark.parametrize("keyword", ["", " a", "a ", "a  b", "x" * 80, "肺", "a\nb"])
def test_a_keyword_that_png_cannot_hold(keyword):
    with pytest.raises(UsageError, match="A keyword is 1 to 79 printable Latin-1 characters"):
        encode(smooth(9, 9)).png({keyword: "text"})


def test_a_text_that_png_cannot_hold():
    with pytest.raises(UsageError, match="a text has no null character"):
        encode(smooth(9, 9)).png({"Title": "a\0b"})


def test_saving_writes_the_same_bytes(tmp_path):
    image = encode(smooth(20, 30), palette("magma"))
    image.save(tmp_path / "layer.png", {"Title": "layer"})
    assert (tmp_path / "layer.png").read_bytes() == image.png({"Title": "layer"})
    assert [path.name for path in tmp_path.iterdir()] == ["layer.png"]


def test_a_stream_too_long_for_a_chunk_is_divided(monkeypatch):
    pixels = smooth(60, 60)
    image = encode(pixels)
    monkeypatch.setattr(png_module, "_LARGEST", 100)
    data = image.png()
    assert [name for name, _ in chunks(data)].count(b"IDAT") == -(-len(image.stream) // 100)
    np.testing.assert_array_equal(np.asarray(opened(data)), pixels)


@pytest.mark.parametrize(
    ("pixels", "colours", "message"),
    [
        (np.zeros((2, 2)), None, "from a float64 array of shape"),
        (np.zeros((2, 0), np.uint8), None, r"shape \(2, 0\)"),
        (np.zeros(3, np.uint8), None, r"shape \(3,\)"),
        (np.zeros((2, 2, 4), np.uint8), None, r"shape \(2, 2, 4\)"),
        (np.zeros((2, 2, 3), np.uint8), palette("gray"), "for a picture of shape"),
        (np.zeros((2, 2), np.uint8), np.zeros((9, 4), np.uint8), r"A palette of shape \(9, 4\)"),
        (np.full((2, 2), 9, np.uint8), palette("gray")[:9], "index 9, but its palette 9 colours"),
    ],
)
def test_what_is_no_picture_is_refused(pixels, colours, message):
    with pytest.raises(UsageError, match=message):
        encode(pixels, colours)
