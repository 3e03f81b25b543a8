"""Run a network on pictures and keep what its layers make of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from glob import glob
from os import PathLike
from typing import TYPE_CHECKING, TypeVar, Union

import numpy as np

from fluoroscope.activations import Activations
from fluoroscope.errors import PictureError, UsageError
from fluoroscope.formats import open_network
from fluoroscope.network.budget import activation_bytes
from fluoroscope.network.protocol import Network
from fluoroscope.network.selection import PRE, Selection, select
from fluoroscope.preparing import at_size_of, prepare_all

if TYPE_CHECKING:
    import keras
    import torch

    from fluoroscope.images import Fed
    from fluoroscope.network.protocol import FloatArray
    from fluoroscope.preparing import Gifts, Wish


NetworkSource = Union[str, PathLike[str], bytes, Network, "torch.nn.Module", "keras.Model"]
"""An open network, or what `open_network` takes."""

Skip = Callable[["Gifts", PictureError], None]
"""Told of a picture that is left out, and why."""

_T = TypeVar("_T")


def capture(
    network: NetworkSource,
    image: Gifts,
    *,
    layers: Selection = None,
    preprocessing: Wish | Mapping[str, Wish] = None,
) -> Activations:
    """What each layer of a network makes of a picture.

    Parameters
    ----------
    network
        An open network, or what `open_network` takes.
    image
        An `Image`, or what `open_image` takes: a path, bytes, an array ``(h, w)`` or ``(h, w, 3)``. For a
        network of several inputs a mapping, ``{"left": ..., "right": ...}``. An input that takes no picture
        gets an array, or a ``.npy`` or ``.npz`` file.
    layers
        Which: names, patterns, kinds (``"conv"``, ``"pool"``), numbers, ranges, ``name:pre``, ``"all"``, or
        several of these in a string or list; see `select`. By default every layer but the inputs.
    preprocessing
        How pictures are brought to the network, all of them or by input; a name is a preset. By default
        that of `default_preprocessing`.

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
    images: str | Iterable[Gifts],
    *,
    layers: Selection = None,
    preprocessing: Wish | Mapping[str, Wish] = None,
    batch: int = 1,
    skip: Skip | None = None,
) -> Iterator[Activations]:
    """`capture` for many pictures, in bounded memory: only one batch is held at a time.

    Parameters
    ----------
    images
        Pictures, each as for `capture`, or a pattern of paths (``"pictures/*.jpeg"``), taken in sorted order.
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
    images: Iterable[Gifts],
    layers: Selection,
    preprocessing: Wish | Mapping[str, Wish],
    batch: int,
    skip: Skip | None,
) -> Iterator[Activations]:
    names = select(network, layers)
    for pictures in _chunks(_prepared(network, images, preprocessing, skip), batch):
        # A network of free size takes each picture at its own: only equal ones share a batch.
        for same in _runs_of_equal_shape(pictures):
            sized = at_size_of(network, same[0])
            outputs = vector_outputs(sized)
            values = sized.run(_batch(same), [*names, *outputs])
            for index, fed in enumerate(same):
                yield Activations(
                    sized,
                    fed,
                    {name: values[name][index] for name in names},
                    {name: values[name][index] for name in outputs},
                )


def _prepared(
    network: Network,
    images: Iterable[Gifts],
    preprocessing: Wish | Mapping[str, Wish],
    skip: Skip | None,
) -> Iterator[dict[str, Fed]]:
    for source in images:
        try:
            yield prepare_all(network, source, preprocessing)
        except PictureError as error:
            if skip is None:
                raise
            skip(source, error)


class Groups:
    """The activations of one prepared picture (or one for each input), a few layers at a time.

    Each walk over it runs the network anew, each group as far as its last layer.

    Parameters
    ----------
    network, inputs
        The network and what it gets, as `prepare` or `prepare_all` made it.
    names
        Layers as `select` names them.
    memory
        Bytes that the activations of one group may take. A group has at least one layer.
    """

    def __init__(
        self, network: Network, inputs: Fed | Mapping[str, Fed], names: Sequence[str], *, memory: int
    ) -> None:
        fed = prepare_all(network, inputs)
        self._network = at_size_of(network, fed)
        self._fed = fed
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
        batch = _batch([self._fed])
        extra = self._outputs if self._at_once else ()
        before = {} if self._at_once else self._network.run(batch, self._outputs)
        for group in self._groups:
            values = self._network.run(batch, [*group, *extra])
            outputs = before or values
            yield Activations(
                self._network,
                self._fed,
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


def _batch(fed: Sequence[Mapping[str, Fed]]) -> FloatArray | dict[str, FloatArray]:
    """What `Network.run` takes: for each input the values of all; of a single input these alone."""
    stacked = {name: np.stack([each[name].values for each in fed]) for name in fed[0]}
    return next(iter(stacked.values())) if len(stacked) == 1 else stacked


def _runs_of_equal_shape(fed: Sequence[dict[str, Fed]]) -> Iterator[list[dict[str, Fed]]]:
    run: list[dict[str, Fed]] = []
    for inputs in fed:
        if run and any(run[0][name].values.shape != own.values.shape for name, own in inputs.items()):
            yield run
            run = []
        run.append(inputs)
    if run:
        yield run
