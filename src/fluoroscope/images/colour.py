"""A Pillow image of any mode as grey or sRGB pixels, with its alpha; what was converted is stated."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import PictureError
from fluoroscope.images.raster import Raster, settle

if TYPE_CHECKING:
    import PIL.Image
    from PIL import ImageCms

_MODES = {
    "1": "1 bit", "L": "grey, 8 bits", "LA": "grey with alpha, 8 bits", "La": "grey with alpha, 8 bits",
    "P": "palette of 8-bit colours", "PA": "palette of 8-bit colours with alpha", "RGB": "RGB, 8 bits",
    "RGBX": "RGB, 8 bits", "RGBA": "RGB with alpha, 8 bits", "RGBa": "RGB with alpha, 8 bits",
    "CMYK": "CMYK, 8 bits", "YCbCr": "YCbCr, 8 bits", "HSV": "HSV, 8 bits", "I;16": "grey, 16 bits",
}  # fmt: skip
_SPACES = {"RGB ": "RGB", "GRAY": "grey", "CMYK": "CMYK"}


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
        steps = (f"{what}, grey, 16 bits: white is 65535", *not_applied(profile))
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
        image, step = _to_srgb(image, profile)
        steps.append(step)
    if image.mode == "CMYK":
        image = image.convert("RGB")
        steps.append("CMYK to RGB without a profile: ink and black multiplied")
    pixels = np.asarray(image)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return Raster(pixels=pixels, white=255, steps=tuple(steps), alpha=alpha)


def not_applied(profile: bytes | None) -> tuple[str, ...]:
    """The step that says that an ICC profile was left out, as it is for pictures of more than 8 bits."""
    if not profile:
        return ()
    return ("ICC profile not applied: values of more than 8 bits are kept as they are",)


def _to_srgb(image: PIL.Image.Image, data: bytes) -> tuple[PIL.Image.Image, str]:
    """Convert by an ICC profile, perceptual intent, and say so. L stays L, RGB and CMYK become RGB.

    A profile that cannot be used is stated and left out, as browsers do.
    """
    from PIL import ImageCms

    try:
        profile: Any = ImageCms.getOpenProfile(io.BytesIO(data))
        space: str = profile.profile.xcolor_space
        name = " ".join(ImageCms.getProfileDescription(profile).split())[:80]
        expected = {"L": "GRAY", "RGB": "RGB ", "CMYK": "CMYK"}[image.mode]
        if space != expected:
            found = _SPACES.get(space, space.strip())
            return (
                image,
                f"ICC profile {name!r} ignored: it is for {found}, the picture is {_SPACES[expected]}",
            )
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), image.mode, "RGB")
        if image.mode != "CMYK" and _is_identity(transform, image.mode):
            return image, f"ICC profile {name!r} is sRGB in effect: values kept"
        converted = ImageCms.applyTransform(image, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        return image, f"ICC profile ignored: it is damaged ({error})"
    if converted is None:  # Only when converting in place, says Pillow.
        raise AssertionError("ImageCms returned no image")
    step = f"{_SPACES[expected]} to sRGB by its ICC profile {name!r}"
    # sRGB values of a neutral colour are equal.
    return (converted.getchannel("G") if image.mode == "L" else converted), step


def _is_identity(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """True when a transform moves no colour by more than one level: it is rounding, not colour.

    Nearly every profile in use is a copy of sRGB; applying it would cost time and the last bit. Tried on a
    grid of 9 x 9 x 9 colours, or on all 256 greys.
    """
    import PIL.Image
    from PIL import ImageCms

    if mode == "L":
        grid = np.arange(256, dtype=np.uint8)[None]
    else:
        axis = np.linspace(0, 255, 9).round().astype(np.uint8)
        grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(27, 27, 3)
    converted = ImageCms.applyTransform(PIL.Image.fromarray(grid), transform)
    given = grid if mode == "RGB" else grid[..., None]
    return bool((np.abs(np.asarray(converted).astype(np.int16) - given) <= 1).all())
