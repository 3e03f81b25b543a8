"""Run a network on pictures and keep what its layers make of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from glob import glob
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fluoroscope.activations import Activations
from fluoroscope.errors import PictureError, UsageError
from fluoroscope.formats import open_network
from fluoroscope.images import Prepared, Preprocessing, open_image, preprocess
from fluoroscope.network.budget import activation_bytes
from fluoroscope.network.own_scaling import own_scaling
from fluoroscope.network.protocol import Network
from fluoroscope.network.selection import PRE, Selection, select

if TYPE_CHECKING:
    from fluoroscope.images.reading import Source

NetworkSource = str | PathLike[str] | bytes | Network
"""An open network, or what `open_network` takes."""

Skip = Callable[["Source", PictureError], None]
"""Told of a picture that is left out, and why."""

_T = TypeVar("_T")


def capture(
    network: NetworkSource,
    image: Source,
    *,
    layers: Selection = None,
    preprocessing: Preprocessing | str | None = None,
) -> Activations:
    """What each layer of a network makes of a picture.

    Parameters
    ----------
    network
        An open network, or what `open_network` takes.
    image
        An `Image`, or what `open_image` takes: a path, bytes, an array ``(h, w)`` or ``(h, w, 3)``.
    layers
        Which: names, patterns, kinds (``"conv"``, ``"pool"``), numbers, ranges, ``name:pre``, ``"all"``, or
        several of these in a string or list; see `select`. By default every layer but the inputs.
    preprocessing
        How the picture is brought to the network; a name is a preset. By default that of
        `default_preprocessing`.

    Returns
    -------
    Activations
        In network order, float32, channels last, read-only.

    Raises
    ------
    LayerNotFound, NetworkError, PictureError, UsageError, BudgetExceeded
    """
    return next(iter(capture_many(network, [image], layers=layers, preprocessing=preprocessing)))


def capture_many(
    network: NetworkSource,
    images: str | Iterable[Source],
    *,
    layers: Selection = None,
    preprocessing: Preprocessing | str | None = None,
    batch: int = 1,
    skip: Skip | None = None,
) -> Iterator[Activations]:
    """`capture` for many pictures, in bounded memory: only one batch is held at a time.

    Parameters
    ----------
    images
        Pictures, or a pattern of paths (``"pictures/*.jpeg"``), taken in sorted order.
    batch
        Pictures run at once. On a CPU more than one gains nothing and costs memory.
    skip
        Told of each picture that cannot be read, which is then left out. Without it the first such picture
        ends the walk with its error.

    Yields
    ------
    Activations
        One a picture, in order.
    """
    if batch < 1:
        raise UsageError(f"A batch is one picture or more, not {batch}.")
    opened = open_network(network)
    if isinstance(images, str):
        # A file is meant by its name also where that could be a pattern: "scan[1].png".
        paths = [images] if os.path.lexists(images) else sorted(glob(images, recursive=True))
        if not paths:
            raise PictureError(f"No file fits the pattern {images!r}.")
        if paths == [images] and os.path.isdir(images):
            pattern = os.path.join(images, "*")
            raise PictureError(f"{images!r} is a folder. For the pictures in it: {pattern!r}.")
        images = paths
    return _captured(opened, images, layers, preprocessing, batch, skip)


def _captured(
    network: Network,
    images: Iterable[Source],
    layers: Selection,
    preprocessing: Preprocessing | str | None,
    batch: int,
    skip: Skip | None,
) -> Iterator[Activations]:
    names = select(network, layers)
    for pictures in _chunks(_prepared(network, images, preprocessing, skip), batch):
        # A network of free size takes each picture at its own: only equal ones share a batch.
        for same in _runs_of_equal_shape(pictures):
            sized = at_size_of(network, same[0])
            outputs = vector_outputs(sized)
            values = sized.run(np.stack([p.values for p in same]), [*names, *outputs])
            for index, prepared in enumerate(same):
                yield Activations(
                    sized,
                    prepared,
                    {name: values[name][index] for name in names},
                    {name: values[name][index] for name in outputs},
                )


def _prepared(
    network: Network,
    images: Iterable[Source],
    preprocessing: Preprocessing | str | None,
    skip: Skip | None,
) -> Iterator[Prepared]:
    for source in images:
        try:
            yield prepare(network, source, preprocessing)
        except PictureError as error:
            if skip is None:
                raise
            skip(source, error)


class Groups:
    """The activations of one prepared picture, a few layers at a time.

    Each walk over it runs the network anew, each group as far as its last layer.

    Parameters
    ----------
    network, prepared
        The network and the picture, as `prepare` made it.
    names
        Layers as `select` names them.
    memory
        Bytes that the activations of one group may take. A group has at least one layer.
    """

    def __init__(self, network: Network, prepared: Prepared, names: Sequence[str], *, memory: int) -> None:
        self._network = at_size_of(network, prepared)
        self._prepared = prepared
        self.names = tuple(names)
        self._outputs = vector_outputs(self._network)
        self._groups = _groups(self._network, self.names, memory)
        # With the outputs in the same run, where there is room for both.
        together = _groups(self._network, [*self.names, *self._outputs], memory)
        self._at_once = len(together) == 1

    def __len__(self) -> int:
        """How many groups there are."""
        return len(self._groups)

    def __iter__(self) -> Iterator[Activations]:
        batch = self._prepared.values[np.newaxis]
        extra = self._outputs if self._at_once else ()
        before = {} if self._at_once else self._network.run(batch, self._outputs)
        for group in self._groups:
            values = self._network.run(batch, [*group, *extra])
            outputs = before or values
            yield Activations(
                self._network,
                self._prepared,
                {name: values[name][0] for name in group},
                {name: outputs[name][0] for name in self._outputs},
            )


def _groups(network: Network, names: Iterable[str], memory: int) -> tuple[tuple[str, ...], ...]:
    """Names in runs of layers that take at most `memory` bytes together, or of one that takes more."""
    rows = {layer.name: layer for layer in network.layers}
    groups: list[tuple[str, ...]] = []
    group: list[str] = []
    size = 0
    for name in dict.fromkeys(names):
        cost = activation_bytes(rows[name if name in rows else name.removesuffix(PRE)].shape)
        if group and size + cost > memory:
            groups.append(tuple(group))
            group, size = [], 0
        group.append(name)
        size += cost
    return (*groups, tuple(group)) if group else tuple(groups)


def prepare(network: Network, image: Source, preprocessing: Preprocessing | str | None = None) -> Prepared:
    """The picture as `network` gets it.

    Raises
    ------
    UsageError
        For a network that takes no picture, or several.
    """
    if len(network.inputs) != 1:
        names = ", ".join(repr(spec.name) for spec in network.inputs)
        raise UsageError(
            f"{network.name!r} has {len(network.inputs)} inputs ({names}); one picture can be shown to a "
            "network with one. Run it with network.run({name: array, ...}, layers)."
        )
    spec = network.inputs[0]
    if len(spec.shape) != 3:
        raise UsageError(
            f"Input {spec.name!r} takes {spec.shape}, not a picture of (height, width, channels). "
            "Run it with network.run(array, layers)."
        )
    picture = open_image(image)
    how = _preprocessing(network, preprocessing)
    height, width = (
        side if side is not None else (wanted if wanted is not None else own)
        for side, wanted, own in zip(
            spec.shape[:2], how.size or (None, None), picture.pixels.shape[:2], strict=True
        )
    )
    if how.size is not None and how.size != (height, width):
        raise UsageError(
            f"{network.name!r} takes pictures of {height} x {width}; the size {how.size[0]} x {how.size[1]} "
            "cannot be chosen. Leave it out."
        )
    channels = spec.shape[2] if spec.shape[2] is not None else picture.pixels.shape[2]
    prepared = preprocess(picture, height=height, width=width, channels=channels, preprocessing=how)
    remark = _rescaling_remark(network, how, chosen=preprocessing is not None)
    return replace(prepared, steps=(*prepared.steps, remark)) if remark else prepared


def default_preprocessing(network: Network) -> Preprocessing:
    """``unit`` (0..1), or ``raw`` (0..255) for a network that scales by itself or takes whole numbers."""
    whole = any(np.dtype(spec.dtype).kind in "iu" for spec in network.inputs)
    return Preprocessing(preset="raw" if whole or own_scaling(network) is not None else "unit")


def _preprocessing(network: Network, wanted: Preprocessing | str | None) -> Preprocessing:
    if wanted is None:
        return default_preprocessing(network)
    if isinstance(wanted, str):
        kwargs: dict[str, Any] = {"preset": wanted}
        return Preprocessing(**kwargs)
    return wanted


def _rescaling_remark(network: Network, how: Preprocessing, *, chosen: bool) -> str | None:
    layer = own_scaling(network)
    if layer is None:
        return None
    if how.preset == "raw":
        return f"values left at 0..255: the network scales by itself, in its layer {layer!r}"
    if chosen:
        return f"careful: the network scales by itself too, in its layer {layer!r}; 'raw' is what fits it"
    return None


def at_size_of(network: Network, prepared: Prepared) -> Network:
    """The network for pictures of this size."""
    height, width = prepared.values.shape[:2]
    return network.at_size(height, width)


def vector_outputs(network: Network) -> tuple[str, ...]:
    """The network's outputs that are vectors and can be run."""
    rows = {layer.name: layer for layer in network.layers}
    return tuple(
        name
        for name in network.outputs
        if name in rows and len(rows[name].shape) == 1 and rows[name].problem is None
    )


def _chunks(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    chunk: list[_T] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _runs_of_equal_shape(pictures: Sequence[Prepared]) -> Iterator[list[Prepared]]:
    run: list[Prepared] = []
    for picture in pictures:
        if run and run[0].values.shape != picture.values.shape:
            yield run
            run = []
        run.append(picture)
    if run:
        yield run
