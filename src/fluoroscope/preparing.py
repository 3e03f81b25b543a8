"""What a network is given, brought to its inputs: pictures to those that take one, numbers to the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

from fluoroscope.errors import UsageError
from fluoroscope.images import Fed, InputArray, Prepared, Preprocessing, open_array, open_image, preprocess
from fluoroscope.network.own_scaling import own_scaling
from fluoroscope.network.protocol import InputSpec, Network

if TYPE_CHECKING:
    from fluoroscope.images.input_array import ArraySource
    from fluoroscope.images.reading import Source

    Given = Source | ArraySource | Prepared | InputArray
    """What one input is given: a picture, numbers, or either of these once prepared."""

    Gifts = Given | Mapping[str, Given]
    """What a network is given: for each of its inputs by name, or for its only one."""

    Wish = Preprocessing | str | None
    """Preprocessing of a picture, or the name of a preset; None for the default."""


def prepare(
    network: Network,
    image: Source | Prepared,
    preprocessing: Wish = None,
    *,
    input: str | None = None,
) -> Prepared:
    """The picture as `network` gets it.

    Parameters
    ----------
    image
        An `Image`, or what `open_image` takes. A picture that is prepared already is checked and returned.
    preprocessing
        How it is brought to the network; a name is a preset. By default that of `default_preprocessing`.
    input
        Which input of the network; may be left out where there is one.

    Raises
    ------
    UsageError
        For a network that takes no picture, or several without a word which is meant.
    """
    spec = input_called(network, input)
    if not takes_picture(spec):
        raise UsageError(
            f"Input {spec.name!r} takes {spec.shape}, not a picture of (height, width, channels). Give it "
            "numbers: capture(network, array), or a .npy file."
        )
    return _picture(network, spec, image, preprocessing, size=None)


def prepare_all(
    network: Network, gifts: Gifts, preprocessing: Wish | Mapping[str, Wish] = None
) -> dict[str, Fed]:
    """For each input of `network` by name, in the network's order, what it gets.

    Inputs that leave height and width open all get the size of the first picture among theirs, since a
    network is made for one size.

    Parameters
    ----------
    gifts
        A mapping from inputs to what they are given; anything else is for a network of one input. Arrays and
        ``.npy`` files for inputs that take no pictures.
    preprocessing
        Of all pictures, or by input.

    Raises
    ------
    PictureError, UsageError
        What cannot be read, does not fit, is missing, or is for an input that is not there.
    """
    given: Mapping[str, Any] = (
        gifts if isinstance(gifts, Mapping) else {input_called(network, None).name: gifts}
    )
    names = [spec.name for spec in network.inputs]
    _check_names(network, given)
    missing = [name for name in names if name not in given]
    if missing:
        have = f" Given: {', '.join(map(repr, given))}." if given else ""
        raise UsageError(f"{network.name!r} has nothing for its input {missing[0]!r}.{have} {_ways(network)}")
    wishes: Mapping[str, Any] = preprocessing if isinstance(preprocessing, Mapping) else {}
    _check_names(network, wishes)
    common = None if isinstance(preprocessing, Mapping) else preprocessing
    fed: dict[str, Fed] = {}
    size: tuple[int, int] | None = None
    for spec in network.inputs:
        if not takes_picture(spec):
            fed[spec.name] = _numbers(spec, given[spec.name])
            continue
        picture = _picture(network, spec, given[spec.name], wishes.get(spec.name, common), size=size)
        if None in spec.shape[:2]:
            height, width = picture.values.shape[:2]
            size = size or (height, width)
        fed[spec.name] = picture
    return fed


def input_called(network: Network, name: str | None) -> InputSpec:
    """The input meant; None means the only one.

    Raises
    ------
    UsageError
        No such input, or several that could be meant.
    """
    if name is None:
        if len(network.inputs) != 1:
            raise UsageError(
                f"{network.name!r} has {len(network.inputs)} inputs and was given one thing. {_ways(network)}"
            )
        return network.inputs[0]
    _check_names(network, {name: None})
    return next(spec for spec in network.inputs if spec.name == name)


def takes_picture(spec: InputSpec) -> bool:
    """Whether an input takes ``(height, width, channels)``."""
    return len(spec.shape) == 3


def default_preprocessing(network: Network, input: str | None = None) -> Preprocessing:
    """``unit`` (0..1), or ``raw`` (0..255) for an input that is scaled in the network or takes whole numbers.

    Parameters
    ----------
    input
        Which; the first by default.
    """
    spec = network.inputs[0] if input is None else input_called(network, input)
    whole = np.dtype(spec.dtype).kind in "iu"
    return Preprocessing(preset="raw" if whole or own_scaling(network, spec.name) is not None else "unit")


def at_size_of(network: Network, fed: Mapping[str, Fed]) -> Network:
    """The network for inputs of these sizes."""
    for spec in network.inputs:
        if takes_picture(spec) and None in spec.shape[:2]:
            height, width = fed[spec.name].values.shape[:2]
            return network.at_size(height, width)
    return network


def _picture(
    network: Network, spec: InputSpec, source: Any, preprocessing: Wish, *, size: tuple[int, int] | None
) -> Prepared:
    """A picture for one input; `size` is that of other inputs, for one that leaves its own open."""
    if isinstance(source, Prepared):
        if not _fits(source, spec):
            raise UsageError(
                f"A picture prepared as {source.values.shape} is no input {spec.name!r} of {network.name!r}, "
                f"which takes {spec.shape}. Give the picture itself."
            )
        return source
    picture = open_image(source)
    how = _preprocessing(network, spec, preprocessing)
    if len(network.inputs) > 1 and None not in spec.shape[:2]:
        how = replace(how, size=None)  # which is meant for the others
    wanted = how.size or size or (None, None)
    height, width = (
        side if side is not None else (asked if asked is not None else own)
        for side, asked, own in zip(spec.shape[:2], wanted, picture.pixels.shape[:2], strict=True)
    )
    if how.size is not None and how.size != (height, width):
        raise UsageError(
            f"{network.name!r} takes pictures of {height} x {width}; the size {how.size[0]} x {how.size[1]} "
            "cannot be chosen. Leave it out."
        )
    channels = spec.shape[2] if spec.shape[2] is not None else picture.pixels.shape[2]
    prepared = preprocess(picture, height=height, width=width, channels=channels, preprocessing=how)
    remark = _rescaling_remark(network, spec, how, chosen=preprocessing is not None)
    return replace(prepared, steps=(*prepared.steps, remark)) if remark else prepared


def _numbers(spec: InputSpec, source: Any) -> InputArray:
    if isinstance(source, InputArray):
        open_array(source.values, name=spec.name, shape=spec.shape)  # which checks it
        return source
    return open_array(source, name=spec.name, shape=spec.shape)


def _fits(prepared: Prepared, spec: InputSpec) -> bool:
    return all(want in (None, have) for want, have in zip(spec.shape, prepared.values.shape, strict=True))


def _preprocessing(network: Network, spec: InputSpec, wish: Wish) -> Preprocessing:
    if wish is None:
        return default_preprocessing(network, spec.name)
    if isinstance(wish, str):
        kwargs: dict[str, Any] = {"preset": wish}
        return Preprocessing(**kwargs)
    return wish


def _rescaling_remark(network: Network, spec: InputSpec, how: Preprocessing, *, chosen: bool) -> str | None:
    layer = own_scaling(network, spec.name)
    if layer is None:
        return None
    if how.preset == "raw":
        return f"values left at 0..255: the network scales by itself, in its layer {layer!r}"
    if chosen:
        return f"careful: the network scales by itself too, in its layer {layer!r}; 'raw' is what fits it"
    return None


def _check_names(network: Network, given: Mapping[str, Any]) -> None:
    names = [spec.name for spec in network.inputs]
    for name in given:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UsageError(
                f"{network.name!r} has no input {name!r}.{hint} Its inputs: {', '.join(map(repr, names))}."
            )


def _ways(network: Network) -> str:
    """How to give each input something, ready to type."""
    names = [spec.name for spec in network.inputs]
    files = {spec.name: "picture.png" if takes_picture(spec) else "values.npy" for spec in network.inputs}
    typed = " ".join(f"--input {name}={files[name]}" for name in names)
    mapping = ", ".join(f"{name!r}: {files[name]!r}" for name in names)
    return f"Give each input its own: {typed}, or in Python capture(network, {{{mapping}}})."
