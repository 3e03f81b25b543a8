"""Pictures made to harm: each is refused in words, quickly, within bounds, and nothing else is touched.

Every file is built here. Refused means `PictureError` that names what was given.
"""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import threading
import time
import zipfile
import zlib

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageFile

from fluoroscope.errors import PictureError
from fluoroscope.images import open_image

RGB = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8))
FRAMES = [RGB.rotate(n * 30) for n in range(4)]


def encoded(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def saved(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, depth=8, colour=2, rows=b""):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def npy(descr="'|u1'", shape="(2, 3)", more="", content=bytes(6)):
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, {more}}}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def npz(*members, compression=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def tiff(width, height, tags=()):
    """A TIFF of grey bytes that claims a size it does not have."""
    fields = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 16} | dict(
        tags
    )
    entries = b"".join(struct.pack("<HHII", n, 4, 1, v) for n, v in sorted(fields.items()))
    body = bytes(16) + struct.pack("<H", len(fields)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 24) + body


def bmp(width, height, coding=0, body=b""):
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, coding, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(body), 0, 0, 1078) + header + bytes(1024) + body


def gif(width, height, *extents):
    frames = b"".join(b",\0\0\0\0" + struct.pack("<HH", *e) + b"\0\2\2\x4c\1\0" for e in extents)
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + frames + b";"


def webp(width, height):
    """A WebP whose header claims a canvas."""
    extended = struct.pack("<I", 0) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    picture = encoded(RGB, "WEBP", lossless=True)[12:]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + extended + picture
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_lossless(width, height):
    bits = (width - 1) | (height - 1) << 14
    body = b"WEBPVP8L" + struct.pack("<I", 6) + b"\x2f" + struct.pack("<I", bits) + b"\0"
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_lossy(width, height):
    data = bytearray(encoded(RGB, "WEBP"))
    data[26:30] = struct.pack("<HH", width, height)
    return bytes(data)


def jpeg(width, height):
    data = bytearray(encoded(RGB, "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


TOO_LARGE = {
    "png": png(20_000, 20_000),
    "png, 16 bits": png(20_000, 20_000, depth=16),
    "jpeg": jpeg(20_000, 20_000),
    "tiff": tiff(20_000, 20_000),
    "bmp": bmp(20_000, 20_000),
    "gif": gif(20_000, 20_000, (1, 1)),
    "gif, a frame beyond its screen": gif(1, 1, (20_000, 20_000)),
    "webp": webp(16_000, 16_000),
    "webp, lossless": webp_lossless(16_000, 16_000),
    "webp, lossy": webp_lossy(16_000, 16_000),
    "ppm": b"P6 20000 20000 255\n",
    "npy": npy(shape="(20000, 20000)"),
    "npz": npz(("picture.npy", npy(shape="(20000, 20000)"))),
}

CRAFTED = {
    "npy of a tebibyte": npy(shape=f"({1 << 20}, {1 << 20})"),
    "npy larger than its file": npy(shape="(4000, 4000)"),
    "npy of many channels": npy(shape=f"(2, 2, {1 << 50})"),
    "npy of objects": npy(descr="'|O'"),
    "npy of records": npy(descr="[('a', '<f4'), ('b', '|O')]"),
    "npy of strings": npy(descr="'<U100000000'"),
    "npy of another type": npy(descr="'<f16'"),
    "npy of a sub-array": npy(descr="'(1000000,)<f8'"),
    "npy with a negative side": npy(shape="(-2, 3)"),
    "npy with a side that is true": npy(shape="(True, 3)"),
    "npy with no shape": b"\x93NUMPY\x01\x00\x10\x00{'descr': '|u1'}",
    "npy that calls a function": npy(shape="__import__('os').system('true')"),
    "npy nested without end": npy(shape="(" * 3000 + ")" * 3000),
    "npy with a long header": b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 30) + b" " * 100,
    "npy of version 9": b"\x93NUMPY\x09\x00" + bytes(20),
    "npy cut in its header": npy()[:30],
    "npz inflating": npz(("picture.npy", npy(shape="(8000, 8000)", content=bytes(64_000_000)))),
    "npz with a bad member": npz(("picture.npy", b"nothing")),
    "npz of another coding": npz(("picture.npy", npy()), compression=zipfile.ZIP_LZMA),
    "npz of very many": npz(*((f"{n}.npy", b"") for n in range(300))),
    "npz cut short": npz(("picture.npy", npy()))[:-30],
    "npz that lies about its sizes": npz(("picture.npy", npy(content=b""))),
    "pickle": b"\x80\x04\x95\x10\0\0\0cos\nsystem\n",
    "jpeg of 5,000 scans": None,  # Below.
    "bmp, run-length, long": bmp(8000, 8000, 1, b"\1\5" * 9_000_000),
    "gif without end": gif(4, 4, (4, 4))[:-8],
    "gif without frames": gif(4, 4),
    "gif of another block": b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0, 0, 0) + b"?" * 20,
    "png without pixels": png(4, 4),
    "ppm without pixels": b"P5 4 4 255\n" + bytes(15),
    "ppm over its greatest value": b"P5 1 1 9\n\xff",
    "ppm of text": b"P5 is the name of this file",
    "tiff of nothing": b"II*\0" + bytes(4),
    "tiff without tags": b"II*\0\x08\0\0\0\0\0" + bytes(8),
    "tiff with tags outside": b"II*\0\xff\xff\xff\x7f",
    "bigtiff with tags far outside": b"II+\0\x08\0\0\0" + b"\xff" * 8,
    "tiff, huge tile": tiff(4, 4, {322: 1 << 31, 323: 1 << 31, 324: 8, 325: 16}),
    "tiff, a million pages": None,  # Below.
    "webp of nothing": b"RIFF\x10\0\0\0WEBPVP8 " + bytes(4),
}


def scans(count):
    """A progressive JPEG with its last scan repeated."""
    data = encoded(RGB, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + b"\xff\xd9"


def pages(count):
    """A chain of pages of no tags."""
    each = (struct.pack("<HI", 0, 8 + 6 * (n + 1)) for n in range(count))
    return b"II*\0\x08\0\0\0" + b"".join(each)


CRAFTED["jpeg of 5,000 scans"] = scans(5000)
CRAFTED["tiff, a million pages"] = pages(100_000)


@pytest.mark.parametrize("data", TOO_LARGE.values(), ids=TOO_LARGE)
def test_too_many_pixels_are_refused_from_the_header(data):
    frame = 0
    with pytest.raises(
        PictureError, match=r"^The bytes given: it declares .* megapixels; the limit is 64\.0"
    ) as caught:
        open_image(data, frame=frame)
    assert "Raise max_pixels" in str(caught.value)


@pytest.mark.parametrize("data", CRAFTED.values(), ids=CRAFTED)
def test_crafted_files_are_refused(data):
    for frame in (0, 1):
        start = time.monotonic()
        with pytest.raises(PictureError, match=r"^The bytes given: "):
            open_image(data, frame=frame)
        assert time.monotonic() - start < 10


def test_a_late_frame_counts_only_when_it_is_asked_for():
    data = gif(1, 1, (1, 1), (30_000, 30_000))
    assert open_image(data).pixels.shape == (1, 1, 3)
    with pytest.raises(PictureError, match="it declares 30,000 x 30,000 pixels"):
        open_image(data, frame=1)


def test_frames_that_need_many_others_drawn_are_refused():
    data = encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:] * 10)
    assert open_image(data, frame=16, max_pixels=32 * 24).width == 32
    with pytest.raises(PictureError, match="frame 17 needs 17 frames of 32 x 24 pixels drawn before it"):
        open_image(data, frame=17, max_pixels=32 * 24)


def test_the_reasons_of_limits_that_few_meet():
    for name, reason in (
        ("bmp, run-length, long", "run-length coded and longer than 16,777,216 bytes"),
        ("jpeg of 5,000 scans", "more than 100 scans"),
        ("npz inflating", r"inflates [\d,]+-fold to 64,000,\d+ bytes"),
        ("npz of very many", "300 arrays; 256 are looked at"),
        ("npy of objects", r"holds Python objects \(a pickle, which could run code\)"),
        ("npy with a long header", "header claims 1,073,741,824 bytes"),
    ):
        with pytest.raises(PictureError, match=reason):
            open_image(CRAFTED[name])


def test_harmless_pictures_near_those_limits():
    black = np.zeros((3000, 3000), np.uint8)
    assert open_image(npz(("picture.npy", saved(black)))).pixels.max() == 0  # A thousandfold, but 9 MB.
    noise = np.random.default_rng(0).integers(0, 256, (4200, 4200)).astype(np.uint8)
    assert open_image(npz(("picture.npy", saved(noise)))).width == 4200  # 17 MB, but hardly packed.
    own = encoded(RGB, "JPEG", progressive=True).count(b"\xff\xda")
    assert open_image(scans(100 - own + 1)).width == 32
    with pytest.raises(PictureError, match="more than 100 scans"):
        open_image(scans(101 - own + 1))
    # Telephones append a film, in which anything may stand.
    assert open_image(encoded(RGB, "JPEG") + b"\xff\xda\0\2" * 200).width == 32


def test_the_limit_can_be_moved():
    data = encoded(RGB, "PNG")
    assert open_image(data, max_pixels=32 * 24).pixels.shape == (24, 32, 3)
    with pytest.raises(PictureError, match=r"it declares 32 x 24 pixels, 0\.0 megapixels; the limit"):
        open_image(data, max_pixels=32 * 24 - 1)


def test_a_limit_above_pillows_own_is_obeyed(monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    for form in ("PNG", "GIF", "WEBP", "TIFF", "JPEG"):
        # Pillow would warn from 100 pixels and refuse from 200.
        assert open_image(encoded(RGB, form)).width == 32
        assert PIL.Image.MAX_IMAGE_PIXELS == 100
    deep = encoded(PIL.Image.fromarray(np.zeros((24, 32), np.uint16)), "TIFF", compression="tiff_lzw")
    assert open_image(deep).width == 32


def test_large_deep_strips_pass_pillows_own_limit():
    # One strip of 100 million bytes, which it would be warned about as so many pixels.
    values = np.zeros((5000, 5000), np.float32)
    data = encoded(
        PIL.Image.fromarray(values), "TIFF", compression="tiff_adobe_deflate", tiffinfo={278: 5000}
    )
    assert open_image(data).pixels.shape == (5000, 5000, 1)


# Whole or not at all

WHOLE = {
    "jpeg": encoded(RGB, "JPEG"),
    "jpeg, progressive": encoded(RGB, "JPEG", progressive=True),
    "png": encoded(RGB, "PNG"),
    "png, 16 bits": encoded(PIL.Image.fromarray(np.arange(768, dtype=np.uint16).reshape(24, 32)), "PNG"),
    "png, animated": encoded(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]),
    "gif": encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]),
    "bmp": encoded(RGB, "BMP"),
    "webp": encoded(RGB, "WEBP"),
    "webp, lossless": encoded(RGB, "WEBP", lossless=True),
    "webp, animated": encoded(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]),
    "tiff": encoded(RGB, "TIFF"),
    "tiff, lzw": encoded(RGB, "TIFF", compression="tiff_lzw"),
    "tiff, jpeg": encoded(RGB, "TIFF", compression="jpeg"),
    "tiff, fax": encoded(RGB.convert("1"), "TIFF", compression="group4"),
    "tiff, pages": encoded(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:]),
    "tiff, float": encoded(
        PIL.Image.fromarray(np.ones((24, 32), np.float32)), "TIFF", compression="tiff_deflate"
    ),
    "ppm": encoded(RGB, "PPM"),
    "npy": saved(np.asarray(RGB)),
    "npz": npz(("picture.npy", saved(np.asarray(RGB)))),
}


@pytest.mark.parametrize("truncated_allowed", [False, True], ids=["", "Pillow told to accept them"])
@pytest.mark.parametrize("name", WHOLE)
def test_a_picture_cut_short_never_loads(name, truncated_allowed, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", truncated_allowed)
    data = WHOLE[name]
    expected = open_image(data).pixels
    rng = np.random.default_rng(len(data))
    for length in {1, len(data) - 1, *rng.integers(1, len(data), 60).tolist()}:
        try:
            image = open_image(data[:length])
        except PictureError:
            continue
        # Only what follows the pixels is missing: later frames, an empty end.
        np.testing.assert_array_equal(image.pixels, expected)
        assert name.startswith(("gif", "bmp", "tiff", "webp, animated")), length
    assert ImageFile.LOAD_TRUNCATED_IMAGES is truncated_allowed


@given(
    name=st.sampled_from(sorted(WHOLE)),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255), st.booleans()), min_size=1, max_size=4),
    frame=st.integers(0, 3),
)
@settings(max_examples=400, deadline=10_000)
def test_changed_bytes_are_read_or_refused_and_nothing_else(name, changes, frame):
    data = bytearray(WHOLE[name])
    for where, value, early in changes:
        data[int(where * (min(len(data), 100 if early else len(data)) - 1))] = value
    try:
        image = open_image(bytes(data), frame=frame, max_pixels=1_000_000)
    except PictureError:
        return
    assert image.width * image.height <= 1_000_000
    image.levels()


@pytest.mark.parametrize("where", ["start", "middle"])
def test_pixels_changed_under_a_check_sum_are_found(where):
    for name in ("png", "png, 16 bits", "npz"):
        data = bytearray(WHOLE[name])
        at = data.index(b"IDAT") + 6 if "png" in name else len(data) // 2
        data[at + (0 if where == "start" else 30)] ^= 4
        with pytest.raises(PictureError, match="damaged"):
            open_image(bytes(data))


# What is no picture that is read


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b"just some words\n",
            "this is text, not a picture, whatever its name says. What is read: JPEG, PNG, TIFF",
        ),
        ("Grüße ".encode() * 200, "this is text"),
        (b"\xff\xfe\x00garbage\x01", "no picture format explains its content"),
        (
            bytes(128) + b"DICM" + bytes(20),
            "a DICOM file, which is not read yet. Export it as 16-bit PNG or TIFF",
        ),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript, a program and not a picture"),
        (b"\xc5\xd0\xd3\xc6" + bytes(20), "PostScript, a program"),
        (b"SIMPLE  =                    T", "a FITS file"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file. Is it the network?"),
        (b"\0\0\0\x20ftypheic", "HEIC, AVIF or a film. Convert it to PNG or TIFF first"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "markup .SVG, XML or HTML"),
        (b"  <!DOCTYPE html><html>", "markup"),
        (b"\x1f\x8b\x08", "compressed with gzip. Unpack it first"),
        (b"\x80\x04\x95", "a pickle, a program and not a picture"),
        (b"BM, as in British Museum", "this is text"),
        (b"\0\0\1\0\1\0", "an icon"),
        (b"\xff\x4f\xff\x51\0\x2f", "JPEG 2000"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"II\xbc\1", "JPEG XR"),
        (b"8BPS\0\1", "a Photoshop document"),
        (b"\x76\x2f\x31\1", "OpenEXR"),
        (b"#?RADIANCE\n", "Radiance HDR"),
        (b"qoif\0", "QOI"),
        (bytes(344) + b"n+1\0", "a NIfTI volume"),
        (b"BZh91AY", "compressed with bzip2"),
    ],
)
def test_other_content_is_named(data, message):
    with pytest.raises(PictureError, match=f"^The bytes given: (this is )?{message}|: this is {message}"):
        open_image(data)


@pytest.mark.parametrize("name", ["picture.eps", "picture.png", "picture.dcm"])
def test_text_is_text_under_every_name(tmp_path, name):
    path = tmp_path / name
    path.write_text("not a picture")
    with pytest.raises(PictureError, match=f"{name}': this is text, not a picture"):
        open_image(path)


# Paths


def test_paths_that_are_no_file(tmp_path):
    with pytest.raises(PictureError, match=r"missing.png': no such file. Check the path"):
        open_image(tmp_path / "missing.png")
    with pytest.raises(PictureError, match=r"is a folder\. Give the pictures in it"):
        open_image(tmp_path)
    with pytest.raises(PictureError, match=r"no such file\. Patterns are not expanded here"):
        open_image(f"{tmp_path}/*.png")
    with pytest.raises(PictureError, match=r"no such file\. Addresses are not opened: download"):
        open_image("https://example.org/picture.png")
    with pytest.raises(PictureError, match=r"no such file\. The ~ is not expanded here"):
        open_image("~nobody/picture.png")
    with pytest.raises(PictureError, match=r"cannot be opened: embedded null"):
        open_image("picture\0.png")
    with pytest.raises(PictureError, match=r"cannot be opened: File name too long"):
        open_image("x" * 5000)
    with pytest.raises(PictureError, match=r"''.*no such file"):
        open_image("")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_special_files(tmp_path):
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    with pytest.raises(PictureError, match=r"cannot be opened: Too many levels of symbolic links"):
        open_image(loop)
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    # Opening it would wait for a writer for ever.
    with pytest.raises(PictureError, match=r"is a FIFO \(named pipe\), not a file"):
        open_image(pipe)
    for device in ("/dev/zero", "/dev/null"):
        with pytest.raises(PictureError, match=f"'{device}' is a device, not a file"):
            open_image(device)
    with pytest.raises(PictureError, match=r"no such file"):
        open_image("/proc/self/fd/12345")
    target = tmp_path / "target.png"
    target.write_bytes(WHOLE["png"])
    link = tmp_path / "link.png"
    link.symlink_to(target)
    assert open_image(link).name == "link.png"


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = tmp_path / "secret.png"
    path.write_bytes(WHOLE["png"])

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)  # Changing the mode would not stop the superuser.
    with pytest.raises(
        PictureError, match=r"secret.png' may not be read by this user. Change its permissions"
    ):
        open_image(path)


def test_a_file_without_end(tmp_path):
    path = tmp_path / "long.png"
    with path.open("wb") as stream:
        stream.write(WHOLE["png"])
        stream.truncate(1 << 40)  # Sparse: it takes no room.
    with pytest.raises(PictureError, match="is longer than 17,048,576 bytes, the most that is read"):
        open_image(path, max_pixels=1_000_000)

    class Endless(io.RawIOBase):
        def read(self, size=-1):
            return bytes(min(size, 1 << 20))

    with pytest.raises(PictureError, match="The stream given is longer than"):
        open_image(Endless(), max_pixels=1_000_000)


def test_a_stream_that_cannot_be_read():
    stream = io.BytesIO(WHOLE["png"])
    stream.close()
    with pytest.raises(PictureError, match="The stream given cannot be read: I/O operation on closed file"):
        open_image(stream)


def test_an_empty_file(tmp_path):
    path = tmp_path / "empty.png"
    path.touch()
    for source in (path, b"", io.BytesIO()):
        with pytest.raises(PictureError, match="is empty: it holds no bytes"):
            open_image(source)


# The process


def test_threads_leave_pillow_as_it_was(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    failures = []

    def read():
        for name, data in WHOLE.items():
            if not np.array_equal(open_image(data).pixels, expected[name]):
                failures.append(name)

    expected = {name: open_image(data).pixels for name, data in WHOLE.items()}
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert (ImageFile.LOAD_TRUNCATED_IMAGES, PIL.Image.MAX_IMAGE_PIXELS) == (True, 100)


WATCHED = """
import json, os, resource, sys
from pathlib import Path

from fluoroscope.errors import PictureError
from fluoroscope.images import open_image

for path in sorted(Path("whole").iterdir()):  # What is imported late is imported now.
    open_image(path)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
events = []
watched = ("socket", "subprocess", "os.system", "os.exec", "os.spawn", "os.fork", "open", "pickle", "exec")


def hook(event, args):
    # A number is a file that is open already.
    if event.startswith(watched) and not (event == "open" and isinstance(args[0], int)):
        events.append([event, str(args[:1])])


sys.addaudithook(hook)
refused = 0
for path in sorted(Path("hostile").iterdir()):
    try:
        open_image(path)
    except PictureError:
        refused += 1
json.dump({"refused": refused, "events": events,
           "grown": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}, sys.stdout)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="resource is of Unix")
def test_nothing_else_is_opened_and_memory_stays_bounded(tmp_path):
    hostile = TOO_LARGE | CRAFTED
    for folder, files in (("whole", WHOLE), ("hostile", hostile)):
        (tmp_path / folder).mkdir()
        for number, data in enumerate(files.values()):
            (tmp_path / folder / f"{number:03}").write_bytes(data)
    code = [sys.executable, "-W", "error", "-c", WATCHED]
    done = subprocess.run(code, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["refused"] == len(hostile)
    opened = [args for event, args in report["events"] if event == "open"]
    others = {event for event, _ in report["events"] if event != "open"}
    assert [args for args in opened if "hostile" not in args] == []
    assert len(opened) == len(hostile)
    assert not others
    assert report["grown"] < 150  # MiB
