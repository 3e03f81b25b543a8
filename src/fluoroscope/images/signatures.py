"""What kind of file some bytes are, by content alone: an allow-list, and names for what is not on it."""

from __future__ import annotations

import codecs
import struct
from typing import Literal

from fluoroscope.errors import PictureError

Form = Literal["JPEG", "PNG", "TIFF", "GIF", "BMP", "WebP", "PNM", "NPY", "NPZ"]
"""The forms that are read."""

READ = "JPEG, PNG, TIFF, WebP, GIF, BMP, PGM/PPM, NPY and NPZ"

_FORMS: tuple[tuple[bytes, Form], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II\x2a\x00", "TIFF"),
    (b"MM\x00\x2a", "TIFF"),
    (b"II\x2b\x00", "TIFF"),  # BigTIFF
    (b"MM\x00\x2b", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"\x93NUMPY", "NPY"),
    (b"PK\x03\x04", "NPZ"),
)

_CONVERT = "Convert it to PNG or TIFF first."
_REFUSED: tuple[tuple[int, bytes, str, str], ...] = (
    # (where, what stands there, what it is, what to do)
    (128, b"DICM", "a DICOM file, which is not read yet",
     "Export it as 16-bit PNG or TIFF, or give its pixel array as NPY."),
    (0, b"%PDF", "a PDF document", "Extract the picture from it, as with pdfimages -png."),
    (0, b"%!PS", "PostScript, a program and not a picture", _CONVERT),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript, a program and not a picture", _CONVERT),
    (0, b"SIMPLE  =", "a FITS file", "Give its data as NPY: astropy reads it."),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", "Is it the network? The picture goes in the other place."),
    (4, b"ftyp", "HEIC, AVIF or a film", _CONVERT),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000", _CONVERT),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000", _CONVERT),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL", _CONVERT),
    (0, b"\xff\x0a", "JPEG XL", _CONVERT),
    (0, b"II\xbc", "JPEG XR", _CONVERT),
    (0, b"8BPS", "a Photoshop document", _CONVERT),
    (0, b"\x00\x00\x01\x00", "an icon", _CONVERT),
    (0, b"\x76\x2f\x31\x01", "OpenEXR", "Save it as a float TIFF, or its array as NPY."),
    (0, b"#?RADIANCE", "Radiance HDR", "Save it as a float TIFF, or its array as NPY."),
    (0, b"qoif", "QOI", _CONVERT),
    (344, b"n+1\x00", "a NIfTI volume", "Give one slice of it as NPY: nibabel reads it."),
    (0, b"\x1f\x8b", "compressed with gzip", "Unpack it first, as with gunzip."),
    (0, b"BZh", "compressed with bzip2", "Unpack it first, as with bunzip2."),
    (0, b"\x80\x02", "a pickle, a program and not a picture", "Save the array with numpy.save instead."),
    (0, b"\x80\x03", "a pickle, a program and not a picture", "Save the array with numpy.save instead."),
    (0, b"\x80\x04", "a pickle, a program and not a picture", "Save the array with numpy.save instead."),
    (0, b"\x80\x05", "a pickle, a program and not a picture", "Save the array with numpy.save instead."),
)  # fmt: skip


def recognise(data: bytes) -> Form:
    """Tell the form of a picture from its first bytes.

    Parameters
    ----------
    data
        The whole file, or at least its first 512 bytes. Its name plays no part.

    Raises
    ------
    PictureError
        Any form that is not read; the message says what the bytes are, as far as that can be told.
    """
    for magic, form in _FORMS:
        if data.startswith(magic):
            return form
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    # Two letters are a weak sign: what must follow them is checked too.
    if data[:2] in (b"P5", b"P6") and data[2:3] in (b" ", b"\t", b"\r", b"\n", b"#"):
        return "PNM"
    if data.startswith(b"BM") and len(data) >= 18:
        (header,) = struct.unpack_from("<I", data, 14)
        if header in (12, 16, 40, 52, 56, 64, 108, 124):
            return "BMP"
    for where, magic, what, advice in _REFUSED:
        if data.startswith(magic, where):
            raise PictureError(f"this is {what}. {advice}")
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<svg", b"<?xml", b"<!doctype", b"<html")):
        raise PictureError(
            "this is markup (SVG, XML or HTML). Draw it to PNG first, or download the picture."
        )
    if _is_text(data[:512]):
        raise PictureError(f"this is text, not a picture, whatever its name says. What is read: {READ}.")
    raise PictureError(
        f"no picture format explains its content, whatever its name says. What is read: {READ}."
    )


def _is_text(start: bytes) -> bool:
    try:
        # Cut at 512 bytes, the last character may be incomplete.
        text = codecs.getincrementaldecoder("utf-8")().decode(start, final=len(start) < 512)
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c in "\t\r\n\f" for c in text)
