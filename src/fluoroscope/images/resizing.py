"""A picture brought to a network's size: stretched, cropped or padded, by Pillow's resampling."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Fit = Literal["stretch", "crop", "pad"]
Resample = Literal["nearest", "bilinear", "lanczos"]


def resize(
    pixels: NDArray[Any], height: int, width: int, *, fit: Fit, resample: Resample
) -> tuple[NDArray[Any], str]:
    """Resize a picture of any depth and number of channels.

    Bilinear and Lanczos are Pillow's: they widen with the reduction, so that every pixel of the picture
    counts. Nearest takes one pixel and leaves the others out.

    Parameters
    ----------
    pixels
        ``(h, w, channels)`` uint8, uint16 or float32.
    height, width
        Wanted, in pixels.
    fit
        ``stretch``: each side for itself, the proportions change. ``crop``: the largest box of the wanted
        proportions in the middle, as Keras's ``load_img(keep_aspect_ratio=True)`` cuts it. ``pad``: all of
        it, as large as fits, in the middle of black (0).
    resample
        How.

    Returns
    -------
    resized, step
        ``(height, width, channels)``: uint8 for uint8, rounded as Pillow does; else float32, in which Lanczos
        may overshoot the values given. What was done, in words, sizes as width x height.
    """
    h, w = pixels.shape[:2]
    arrow = f"resampled {resample} {w}x{h} -> {width}x{height} ({fit})"
    if pixels.dtype != np.uint8:
        pixels = pixels.astype(np.float32, copy=False)
    if (h, w) == (height, width):
        return pixels, f"size {w}x{h} kept"
    if fit == "stretch":
        return _resampled(pixels, height, width, (0, 0, w, h), resample), arrow
    if fit == "crop":
        inner_h = max(1, min(h, w * height // width))
        inner_w = max(1, min(w, h * width // height))
        top, left = (h - inner_h) // 2, (w - inner_w) // 2
        box = (left, top, left + inner_w, top + inner_h)
        step = f"{arrow} of the middle {inner_w}x{inner_h}"
        return _resampled(pixels, height, width, box, resample), step
    ratio = min(height / h, width / w)
    inner_h = max(1, min(height, round(h * ratio)))
    inner_w = max(1, min(width, round(w * ratio)))
    inner = _resampled(pixels, inner_h, inner_w, (0, 0, w, h), resample)
    padded = np.zeros((height, width, pixels.shape[2]), inner.dtype)
    top, left = (height - inner_h) // 2, (width - inner_w) // 2
    padded[top : top + inner_h, left : left + inner_w] = inner
    return padded, f"{arrow}: {inner_w}x{inner_h} in the middle of black"


def luminance(pixels: NDArray[Any]) -> NDArray[Any]:
    """Grey from red, green, blue: ITU-R BT.601-2, ``0.299 R + 0.587 G + 0.114 B``.

    Parameters
    ----------
    pixels
        ``(h, w, 3)`` uint8, uint16 or float32.

    Returns
    -------
    array
        ``(h, w, 1)``: uint8 for uint8, equal to Pillow's conversion to ``L``; else float32, not rounded.
    """
    if pixels.dtype == np.uint8:
        import PIL.Image

        return np.asarray(PIL.Image.fromarray(pixels).convert("L"))[..., None]
    weights = np.array([0.299, 0.587, 0.114])
    return (pixels @ weights).astype(np.float32)[..., None]


def _resampled(
    pixels: NDArray[Any], height: int, width: int, box: tuple[int, int, int, int], resample: Resample
) -> NDArray[Any]:
    import PIL.Image

    channels = pixels.shape[2]
    method = PIL.Image.Resampling[resample.upper()]
    if pixels.dtype == np.uint8 and channels == 3:
        return np.asarray(PIL.Image.fromarray(pixels).resize((width, height), method, box))
    planes = (PIL.Image.fromarray(np.ascontiguousarray(pixels[..., c])) for c in range(channels))
    return np.stack([np.asarray(p.resize((width, height), method, box)) for p in planes], axis=-1)
