"""ICC profiles: colours of 8 bits converted to sRGB by them, and what was done with one said in words."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import PIL.Image
    from PIL import ImageCms

_SPACES = {"RGB ": "RGB", "GRAY": "grey", "CMYK": "CMYK"}
_OF_MODES = {"L": "GRAY", "RGB": "RGB ", "CMYK": "CMYK"}


def to_srgb(image: PIL.Image.Image, profile: bytes) -> tuple[PIL.Image.Image, str]:
    """Convert a picture by its ICC profile, with perceptual intent.

    Parameters
    ----------
    image
        Of mode ``L``, ``RGB`` or ``CMYK``. It is not changed.
    profile
        As embedded. One that is damaged or for other colours is left out, as browsers do.

    Returns
    -------
    converted, step
        L stays L, RGB and CMYK become RGB, unless the profile was left out. What was done, in words.
    """
    from PIL import ImageCms

    transform, said = _transform(profile, image.mode)
    if transform is None:
        return image, said
    converted = ImageCms.applyTransform(image, transform)
    if converted is None:  # Only when converting in place, says Pillow.
        raise AssertionError("ImageCms returned no image")
    step = f"{_SPACES[_OF_MODES[image.mode]]} to sRGB by its ICC profile {said}"
    # sRGB values of a neutral colour are equal.
    return (converted.getchannel("G") if image.mode == "L" else converted), step


def not_applied(profile: bytes | None, *, grey: bool) -> tuple[str, ...]:
    """The step that says what a profile would have done to a picture of more than 8 bits; none without one.

    The colour management at hand (lcms through Pillow) has 8 bits only.
    """
    if not profile:
        return ()
    transform, said = _transform(profile, "L" if grey else "RGB")
    if transform is None:
        return (said,)
    return (f"ICC profile {said} not applied: values of more than 8 bits are kept as they are",)


def _transform(data: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """The way to sRGB and the profile's quoted name; or None and the step that says why there is none."""
    from PIL import ImageCms

    try:
        profile: Any = ImageCms.getOpenProfile(io.BytesIO(data))
        space: str = profile.profile.xcolor_space
        name = repr(" ".join(ImageCms.getProfileDescription(profile).split())[:80])
        if space != _OF_MODES[mode]:
            found, needed = _SPACES.get(space, space.strip()), _SPACES[_OF_MODES[mode]]
            return None, f"ICC profile {name} ignored: it is for {found}, the picture is {needed}"
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode != "CMYK" and _is_identity(transform, mode):
            return None, f"ICC profile {name} is sRGB in effect: values kept"
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        return None, f"ICC profile ignored: it is damaged ({error})"
    return transform, name


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
