"""From a picture to the tensor a network gets, every step recorded."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import PictureError, UsageError
from fluoroscope.images.image import Image, to_levels
from fluoroscope.images.resizing import Fit, Resample, luminance, resize

Preset = Literal["unit", "raw", "tf", "caffe", "torch"]
PerChannel = float | tuple[float, ...]

MAX_SIDE = 32_768
"""The most pixels a side that a picture is brought to."""

# Of the pictures that Keras's and PyTorch's ImageNet networks were trained on: RGB in 0..1, BGR in 0..255.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of red, green and blue over ImageNet, in 0..1."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviations of the same."""
_CAFFE_MEAN = (103.939, 116.779, 123.68)

_FORMULAS: dict[str | None, str] = {
    "unit": "value / 255",
    "raw": "value",
    "tf": "value / 127.5 - 1",
    "torch": "(value / 255 - mean) / std, mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225)",
    "caffe": "RGB to BGR, value - (103.939, 116.779, 123.68)",
}


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What is done to a picture before a network sees it.

    Values are defined on the scale 0..255, whatever the depth of the picture: 16-bit values are divided by
    257 and keep their fractions, float values that lie in 0..1 are multiplied by 255. The presets are those
    of ``keras.applications.imagenet_utils.preprocess_input``, to the last bit, and two more.

    Attributes
    ----------
    preset
        ``unit``: value / 255. ``raw``: the value itself. ``tf``: value / 127.5 - 1. ``torch``: value / 255,
        less the mean of ImageNet (0.485, 0.456, 0.406), over its deviation (0.229, 0.224, 0.225). ``caffe``:
        blue, green, red, less (103.939, 116.779, 123.68). None when `scale`, `mean` or `std` is given, which
        take the place of the default preset.
    size
        (height, width) in pixels; None for the network's own.
    fit
        How another shape is brought to that size: ``stretch``, ``crop`` or ``pad``; see `resize`.
    resample
        ``nearest``, as Keras's ``load_img`` does by default; ``bilinear`` or ``lanczos``.
    scale, mean, std
        The values become ``(value * scale - mean) / std``. A number, or one for each channel; what is left
        out is 1, 0 and 1.

    Raises
    ------
    UsageError
        An option that means nothing, or contradicts another.
    """

    preset: Preset | None = "unit"
    _: KW_ONLY
    size: tuple[int, int] | None = None
    fit: Fit = "stretch"
    resample: Resample = "nearest"
    scale: PerChannel | None = None
    mean: PerChannel | None = None
    std: PerChannel | None = None

    def __post_init__(self) -> None:
        for name in ("scale", "mean", "std"):
            object.__setattr__(self, name, _per_channel(name, getattr(self, name)))
        own = any(getattr(self, name) is not None for name in ("scale", "mean", "std"))
        if own and self.preset == "unit":
            object.__setattr__(self, "preset", None)
        elif own and self.preset is not None:
            raise UsageError(
                f"preset {self.preset!r} says how values are scaled, and so do scale, mean and std: give "
                "one or the other."
            )
        elif not own and self.preset not in get_args(Preset):
            raise UsageError(
                f"There is no preset {self.preset!r}. Give one of {_listed(Preset)}, or scale, mean and std."
            )
        if self.fit not in get_args(Fit):
            raise UsageError(f"There is no fit {self.fit!r}. Give one of {_listed(Fit)}.")
        if self.resample not in get_args(Resample):
            raise UsageError(f"There is no resampling {self.resample!r}. Give one of {_listed(Resample)}.")
        if self.size is not None:
            object.__setattr__(self, "size", _size(self.size))

    @property
    def formula(self) -> str:
        """How values are scaled, in words."""
        if self.preset is not None:
            return f"{_FORMULAS[self.preset]} ({self.preset})"
        scale, mean, std = (self.scale or 1.0, self.mean or 0.0, self.std or 1.0)
        return f"(value * {_number(scale)} - {_number(mean)}) / {_number(std)}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A picture as a network gets it.

    Attributes
    ----------
    image
        What it was made from.
    values
        ``(height, width, channels)`` float32, read-only: what the network gets, without batch axis.
    picture
        ``(height, width, 1 or 3)`` uint8, read-only: the same before its values were scaled, to look at.
    steps
        Everything from the file to `values`, in words, in order.
    preprocessing
        The options.
    """

    image: Image
    values: NDArray[np.float32]
    picture: NDArray[np.uint8]
    steps: tuple[str, ...]
    preprocessing: Preprocessing

    @property
    def name(self) -> str:
        """Of the picture, for captions."""
        return self.image.name

    @property
    def path(self) -> str | None:
        """The picture's file as given; None where there is none."""
        return self.image.path

    @property
    def sha256(self) -> str:
        """Of the bytes it was read from."""
        return self.image.sha256

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.values.shape))
        return f"<Prepared {self.image.name!r}: {shape}, {self.steps[-1]}>"

    def numbers(self) -> dict[str, list[float]]:
        """Of `values`, by channel: see `describe`."""
        return describe(self.values)


def preprocess(
    image: Image, *, height: int, width: int, channels: int, preprocessing: Preprocessing | None = None
) -> Prepared:
    """Bring a picture to what a network takes.

    In this order: colour to grey for one channel (luminance, ITU-R BT.601-2), size, grey to three equal
    channels, values. With the default options and an 8-bit picture the result equals, bit for bit,
    ``img_to_array(load_img(path, target_size=(height, width))) / 255`` of Keras.

    Parameters
    ----------
    image
        Any depth.
    height, width, channels
        What the network takes.
    preprocessing
        The options; None for the default ones.

    Returns
    -------
    Prepared
        With all steps.

    Raises
    ------
    PictureError
        A number of channels the network does not take, or float values of unknown scale (outside 0..1 and
        0..255) with a preset that needs one.
    UsageError
        Options that do not suit the network, or a size that contradicts theirs.
    """
    options = preprocessing or Preprocessing()
    height, width = _size((height, width))
    if options.size not in (None, (height, width)):
        raise UsageError(
            f"The options ask for a size of {options.size} (height, width), the network for "
            f"{(height, width)}. Build the network for that size, or leave it out."
        )
    _check_channels(options, channels)
    pixels, white, steps = image.pixels, image.white, [*image.steps]
    if white is None and options.preset not in ("raw", None):
        raise PictureError(
            f"{image.name}: its values lie outside 0..1 and 0..255, so that the preset "
            f"{options.preset!r} has nothing to start from. Use the preset 'raw', or scale, mean and std, "
            "which take values as they are."
        )
    if channels == 1 and pixels.shape[2] == 3:
        pixels = luminance(pixels)
        steps.append("RGB to grey: luminance, 0.299 R + 0.587 G + 0.114 B")
    pixels, step = resize(pixels, height, width, fit=options.fit, resample=options.resample)
    steps.append(step)
    if pixels.dtype != np.uint8 and white is not None:
        # Lanczos overshoots at edges. Pillow clips bytes by itself.
        pixels = np.clip(pixels, 0, white)
    if channels == 3 and pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
        steps.append("grey repeated as R, G and B")
    if pixels.shape[2] != channels:
        raise PictureError(
            f"{image.name}: it has {pixels.shape[2]} channels and the network takes {channels}. Grey and RGB "
            "pictures suit networks of 1 or 3 channels; for others give an array (height, width, channels)."
        )
    shallow = _fewer_bits(image)
    if shallow is not None and options.scale is None:
        steps.append(shallow)
    values, scaling = _canonical(pixels, white)
    values = _scaled(values, options)
    steps += [*scaling, options.formula]
    if not np.isfinite(values).all():
        raise UsageError(f"{options.formula} takes values of {image.name} beyond what float32 holds.")
    values = np.ascontiguousarray(values)
    values.flags.writeable = False
    return Prepared(
        image=image,
        values=values,
        picture=to_levels(pixels, white),
        steps=tuple(steps),
        preprocessing=options,
    )


def _fewer_bits(image: Image) -> str | None:
    """A remark on 16-bit pixels that seem to hold fewer bits: medical ones often hold 10 to 14."""
    if image.pixels.dtype != np.uint16 or image.white != 65535:
        return None
    brightest = int(image.pixels.max())
    bits = brightest.bit_length()
    if not 8 < bits < 15:
        return None
    # Values are divided by 257 before they are multiplied.
    scale = 257 / (2**bits - 1)
    return (
        f"careful: the brightest of the 16-bit values is {brightest}; if the picture has {bits} bits, "
        f"scale={scale:.5g} makes their white 1"
    )


def describe(values: NDArray[Any]) -> dict[str, list[float]]:
    """Numbers of a tensor by channel.

    Parameters
    ----------
    values
        ``(height, width, channels)``.

    Returns
    -------
    dict
        ``min``, ``max``, ``mean``, ``std`` (of the population), each a list of one number a channel.
    """
    flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
    return {
        "min": flat.min(axis=0).tolist(),
        "max": flat.max(axis=0).tolist(),
        "mean": flat.mean(axis=0).tolist(),
        "std": flat.std(axis=0).tolist(),
    }


def _canonical(pixels: NDArray[Any], white: float | None) -> tuple[NDArray[np.float32], list[str]]:
    """A fresh float32 array on the scale 0..255, and how it got there."""
    values = pixels.astype(np.float32)
    if white is None:
        return values, ["values as they are"]
    if white == 255:
        return values, []
    if white > 255:
        values /= np.float32(white / 255)
        return values, [f"values / {white / 255:g}, to the scale 0..255"]
    values *= np.float32(255 / white)
    return values, [f"values x {255 / white:g}, to the scale 0..255"]


def _scaled(values: NDArray[np.float32], options: Preprocessing) -> NDArray[np.float32]:
    """The preset's or the user's formula; in float32, in the order that Keras computes it in."""
    match options.preset:
        case "raw":
            return values
        case "unit":
            return values / np.float32(255)
        case "tf":
            return values / np.float32(127.5) - np.float32(1)
        case "torch":
            unit = values / np.float32(255)
            return (unit - np.array(IMAGENET_MEAN, np.float32)) / np.array(IMAGENET_STD, np.float32)
        case "caffe":
            return values[..., ::-1] - np.array(_CAFFE_MEAN, np.float32)
        case None:
            scale, mean, std = (
                np.array(default if given is None else given, np.float32)
                for given, default in ((options.scale, 1), (options.mean, 0), (options.std, 1))
            )
            with np.errstate(over="ignore"):  # Looked for by the caller.
                return (values * scale - mean) / std


def _check_channels(options: Preprocessing, channels: int) -> None:
    if channels < 1:
        raise UsageError(f"A network of {channels} channels takes no picture.")
    if options.preset in ("torch", "caffe") and channels != 3:
        raise UsageError(
            f"The preset {options.preset!r} is made for red, green and blue; this network takes {channels} "
            f"channel{'s' if channels > 1 else ''}. Use 'unit', 'raw' or 'tf', or give scale, mean and std."
        )
    for name in ("scale", "mean", "std"):
        given: PerChannel | None = getattr(options, name)
        if isinstance(given, tuple) and len(given) not in (1, channels):
            raise UsageError(
                f"{name} has {len(given)} numbers and the network {channels} "
                f"channel{'s' if channels > 1 else ''}: give one number, or one for each channel."
            )


def _per_channel(name: str, given: object) -> PerChannel | None:
    """A number or a tuple of numbers as float; None stays None."""
    if given is None:
        return None
    try:
        array = np.array(given, np.float64)
        numbers = tuple(map(float, array.ravel()))
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} is {given!r}: give a number, or one for each channel.") from error
    if array.ndim > 1 or not numbers or not all(map(math.isfinite, numbers)):
        raise UsageError(f"{name} is {given!r}: give finite numbers, one or one for each channel.")
    if name != "mean" and 0 in numbers:
        raise UsageError(f"{name} is {given!r}: 0 would leave nothing of the picture.")
    return numbers if array.ndim else numbers[0]


def _size(size: tuple[int, int]) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in size if side == int(side))
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"A size is (height, width) in whole pixels, not {size!r}.") from error
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise UsageError(
            f"A size of {height} x {width} (height x width) is not possible: 1 to {MAX_SIDE:,} each."
        )
    return height, width


def _listed(options: Any) -> str:
    return ", ".join(map(repr, get_args(options)))


def _number(value: PerChannel) -> str:
    return f"({', '.join(f'{v:g}' for v in value)})" if isinstance(value, tuple) else f"{value:g}"
