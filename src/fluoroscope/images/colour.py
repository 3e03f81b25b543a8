"""A Pillow image of any mode as grey or sRGB pixels, with its alpha; what was converted is stated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import PictureError
from fluoroscope.images.profiles import not_applied, to_srgb
from fluoroscope.images.raster import Raster, settle

if TYPE_CHECKING:
    import PIL.Image

_MODES = {
    "1": "1 bit", "L": "grey, 8 bits", "LA": "grey with alpha, 8 bits", "La": "grey with alpha, 8 bits",
    "P": "palette of 8-bit colours", "PA": "palette of 8-bit colours with alpha", "RGB": "RGB, 8 bits",
    "RGBX": "RGB, 8 bits", "RGBA": "RGB with alpha, 8 bits", "RGBa": "RGB with alpha, 8 bits",
    "CMYK": "CMYK, 8 bits", "YCbCr": "YCbCr, 8 bits", "HSV": "HSV, 8 bits", "I;16": "grey, 16 bits",
}  # fmt: skip


def to_raster(image: PIL.Image.Image, form: str, profile: bytes | None) -> Raster:
    """The pixels of a decoded Pillow image.

    Parameters
    ----------
    image
        Decoded. It is not changed.
    form
        What it was read from, as the first step says: ``"JPEG"``.
    profile
        Its ICC profile. Colours of 8 bits are converted by it to sRGB.

    Returns
    -------
    Raster
        uint8 grey or RGB with its alpha beside it; uint16 for 16-bit grey; float32 for Pillow's modes
        ``I`` and ``F``.

    Raises
    ------
    PictureError
        A mode without a meaning here (CIE L*a*b*), values that are not finite.
    """
    what = f"{form}, {image.width} x {image.height}"
    if image.mode in ("I", "F"):
        pixels, white, steps = settle(np.asarray(image)[..., None], what)
        return Raster(pixels=pixels, white=white, steps=steps)
    if image.mode.startswith("I;16"):
        steps = (f"{what}, grey, 16 bits: white is 65535", *not_applied(profile, grey=True))
        pixels = np.asarray(image).astype(np.uint16)[..., None]
        return Raster(pixels=pixels, white=65535, steps=steps)
    if image.mode not in _MODES:
        raise PictureError(f"its colours are {image.mode}, which is not read. Save it as RGB first.")
    steps = [f"{what}, {_MODES[image.mode]}"]
    grey = image.mode in ("1", "L", "LA", "La")
    alpha: NDArray[Any] | None = None
    if image.has_transparency_data:
        # Straight alpha; a palette or one transparent colour becomes an alpha channel of its own.
        image = image.convert("LA" if grey else "RGBA")
        alpha = np.asarray(image.getchannel("A"))
        steps.append("transparency found")
    if image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("L" if grey else "RGB")
    if profile:
        image, step = to_srgb(image, profile)
        steps.append(step)
    if image.mode == "CMYK":
        image = image.convert("RGB")
        steps.append("CMYK to RGB without a profile: ink and black multiplied")
    pixels = np.asarray(image)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return Raster(pixels=pixels, white=255, steps=tuple(steps), alpha=alpha)
