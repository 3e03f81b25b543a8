"""Decoding by Pillow, one known plugin at a time and never more than the limit allows."""

from __future__ import annotations

import importlib
import io
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fluoroscope.errors import MissingDependency, PictureError
from fluoroscope.images.colour import to_raster
from fluoroscope.images.gif import survey
from fluoroscope.images.jpeg import check_scans, without_exif
from fluoroscope.images.raster import Raster, check_size, orient
from fluoroscope.images.tiff_tags import orientation_of

if TYPE_CHECKING:
    import PIL.Image
    from PIL import ImageFile

_ANIMATION_WORK = 16
"""A frame of an animation needs all before it drawn: in all at most this many times `max_pixels`."""

# Run-length coded BMP is decoded in Python, at some 5 MB a second.
_MAX_RUN_LENGTH_BYTES = 16 << 20


def decode(data: bytes, form: str, *, frame: int, max_pixels: int) -> Raster:
    """Decode a JPEG, PNG, GIF, BMP or WebP file.

    Parameters
    ----------
    data
        The whole file; a PNG's chunks are checked already.
    form
        One of those names.
    frame
        Of an animation, from 0.
    max_pixels
        The most that is decoded, by the size declared.

    Raises
    ------
    PictureError
        Cut short, damaged, too large, or without such a frame.
    MissingDependency
        A Pillow built without WebP.
    """
    exif, canvas, several = b"", None, False
    if form == "JPEG":
        data, exif = without_exif(data)
        check_scans(data)
    elif form == "GIF":
        width, height, several = survey(data, frame)
        canvas = (width, height)
    elif form == "WebP":
        canvas = _webp_canvas(data)
    elif form == "BMP" and len(data) > _MAX_RUN_LENGTH_BYTES and data[14] >= 40 and data[30] in (1, 2):
        raise PictureError(
            f"the BMP is run-length coded and longer than {_MAX_RUN_LENGTH_BYTES:,} bytes, which would take "
            "minutes. Save it uncompressed, or as PNG."
        )
    if canvas:
        check_size(*canvas, max_pixels)
    image = opened(data, form, max_pixels=max_pixels)
    frames = frame + 1 if form == "GIF" else int(getattr(image, "n_frames", 1))
    if frame >= frames:
        raise PictureError(f"there is no frame {frame}: it holds {frames} frame{'s' if frames > 1 else ''}.")
    width, height = canvas or image.size
    if frame and frame * width * height > _ANIMATION_WORK * max_pixels:
        raise PictureError(
            f"frame {frame} needs {frame:,} frames of {width} x {height} pixels drawn before it, over "
            f"{_ANIMATION_WORK} times the limit of {max_pixels:,} pixels. Raise max_pixels if you trust it."
        )
    load(image, form, max_pixels=max_pixels, frame=frame)
    raster = to_raster(image, form, image.info.get("icc_profile"))
    if several or frames > 1:
        raster = raster.with_steps(f"frame {frame} of several")
    return orient(raster, orientation_of(exif or image.info.get("exif", b"")))


def opened(data: bytes, form: str, *, max_pixels: int) -> ImageFile.ImageFile:
    """Read the header by the one plugin that reads this form, and check the size it declares.

    No list of plugins is tried, none but this one is imported.
    """
    name = {"JPEG": "Jpeg", "PNG": "Png", "TIFF": "Tiff", "GIF": "Gif", "BMP": "Bmp", "WebP": "WebP"}[form]
    module: Any = importlib.import_module(f"PIL.{name}ImagePlugin")
    if not getattr(module, "SUPPORTED", True):
        raise MissingDependency("This Pillow was built without WebP: pip install --force-reinstall pillow")
    with _strict_pillow(max_pixels), _as_picture_error(form):
        image: ImageFile.ImageFile = getattr(module, f"{name}ImageFile")(io.BytesIO(data))
    check_size(*image.size, max_pixels)
    return image


def load(image: PIL.Image.Image, form: str, *, max_pixels: int, frame: int = 0) -> None:
    """Decode the pixels of an opened image, all or none of them."""
    with _strict_pillow(max_pixels), _as_picture_error(form):
        if frame:
            image.seek(frame)
        image.load()


@contextmanager
def _as_picture_error(form: str) -> Generator[None]:
    try:
        yield
    except Exception as error:  # Decoders raise whatever the damage leads them into.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise PictureError(f"the {form} is cut short or damaged ({reason}). Get the file again.") from error


class _StrictPillow:
    """Pillow with the settings that are needed here, which are of the whole process, and then as it was.

    Truncated files are never accepted, and Pillow's own limit on pixels (89 million, with a warning) gives
    way to a higher one that was asked for. The first thread in saves the settings, the last one out restores
    them: decoding goes on in several threads at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before: tuple[int | None, bool] = (None, False)

    @contextmanager
    def __call__(self, max_pixels: int) -> Generator[None]:
        import PIL.Image
        from PIL import ImageFile

        with self._lock:
            if not self._users:
                self._before = PIL.Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
            self._users += 1
            if PIL.Image.MAX_IMAGE_PIXELS is not None:
                PIL.Image.MAX_IMAGE_PIXELS = max(PIL.Image.MAX_IMAGE_PIXELS, max_pixels)
            ImageFile.LOAD_TRUNCATED_IMAGES = False
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    PIL.Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = self._before


_strict_pillow = _StrictPillow()


def _webp_canvas(data: bytes) -> tuple[int, int] | None:
    """Width and height a WebP file declares, None where it is damaged.

    Pillow makes room for two canvases before it tells the size. Layout: RFC 9649.
    """
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and len(data) >= 30:
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    return None
