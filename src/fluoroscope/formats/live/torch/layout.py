"""Where the pictures of a batch and the channels lie in a tensor, followed from function to function.

PyTorch does not say which axis is which: convolutions have channels second, layer normalization last, and
``permute`` moves them. What a function's definition leaves open is told by the sizes of the axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fluoroscope.formats.live.torch.axes import moved
from fluoroscope.formats.live.torch.functions import FUNCTIONS
from fluoroscope.network.protocol import FloatArray, Shape


@dataclass(frozen=True, slots=True)
class Layout:
    """Places of two axes.

    Attributes
    ----------
    batch
        Of the pictures; None where none of the axes is theirs alone (windows of pictures in a row).
    channels
        Of the channels; None where that is not known.
    """

    batch: int | None = 0
    channels: int | None = None

    def settled(self, rank: int) -> Layout:
        """The same with channels where they usually are if that is not known: second in maps, else last."""
        batch = self.batch if self.batch is None or self.batch < rank else None
        channels = self.channels
        if channels is None or channels >= rank or channels == batch:
            channels = 1 if rank >= 4 else rank - 1
        if channels == batch or rank == 0:
            return Layout(batch, None)
        return Layout(batch, channels)

    def layer_shape(self, shape: Sequence[int]) -> Shape:
        """The shape of a layer, channels last, without the pictures; one value a picture is one channel."""
        rest = [size for axis, size in enumerate(shape) if axis not in (self.batch, self.channels)]
        return (*rest, 1 if self.channels is None else shape[self.channels])

    def canonical(self, tensor: torch.Tensor) -> torch.Tensor:
        """A view of the tensor with pictures first and channels second."""
        channels = self.channels
        if self.batch is None:
            tensor = tensor.unsqueeze(0)
            channels = None if channels is None else channels + 1
        elif self.batch:
            # Moving the pictures to the front pushes what was before them back by one.
            tensor = tensor.movedim(self.batch, 0)
            if channels is not None and channels < self.batch:
                channels += 1
        return tensor.unsqueeze(1) if channels is None else tensor.movedim(channels, 1)


def filled(array: FloatArray, tensor: torch.Tensor) -> None:
    """Write a tensor into an array of its shape, as float32."""
    torch.from_numpy(array).copy_(tensor.dequantize() if tensor.is_quantized else tensor)


def input_tensor(array: NDArray[Any], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """A batch, channels last, as a tensor of its own with channels second: a model may overwrite it."""
    first = np.array(np.moveaxis(array, -1, 1) if array.ndim > 2 else array, np.float32, order="C")
    return torch.from_numpy(first).to(device=device, dtype=dtype)


def after(
    function: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    before: Layout,
    tensor: torch.Tensor,
    out: torch.Tensor,
) -> Layout:
    """The layout of what a function made of a tensor, in a pass with one picture.

    Parameters
    ----------
    function
        Its plain name.
    args, kwargs
        As it was called.
    before
        The layout of `tensor`, its first argument that comes from the picture.
    out
        What it returned.
    """
    rank = tensor.ndim
    order = moved(function, args, kwargs, rank)
    known = FUNCTIONS.get(function)
    if known is not None and known.axis is not None and out.ndim > 1:
        layout = Layout(
            before.batch if out.ndim == rank else _first(before, tensor, out), known.axis % out.ndim
        )
    elif order is not None and len(order) == out.ndim:
        layout = Layout(_place(order, before.batch), _place(order, before.channels))
    elif out.ndim == rank and function not in _RESHAPING:
        layout = before
    else:
        layout = Layout(_first(before, tensor, out), _kept(before.channels, tensor, out))
    if layout.batch is None and out.ndim and out.shape[0] == 1:
        # There is one picture: where windows of it are put together again, they are one again.
        return Layout(0, None if layout.channels == 0 else layout.channels)
    return layout


_RESHAPING = frozenset("reshape view view_as reshape_as flatten unflatten resize".split())


def _first(before: Layout, tensor: torch.Tensor, out: torch.Tensor) -> int | None:
    """The pictures stay first where they were first and the axis has the same size."""
    same = before.batch == 0 and out.ndim > 0 and out.shape[0] == tensor.shape[0]
    return 0 if same else None


def _kept(channels: int | None, tensor: torch.Tensor, out: torch.Tensor) -> int | None:
    """The channels' place after reshaping: still second, or still last, by their number."""
    if channels is None or out.ndim < 2:
        return None
    size = tensor.shape[channels]
    last = channels == tensor.ndim - 1
    places = (out.ndim - 1, 1) if last else (1, out.ndim - 1)
    place = next((place for place in places if out.shape[place] == size), None)
    # Neighbours laid side by side, as patches are merged.
    merged = place is None and last and size > 0 and out.shape[-1] % size == 0
    return out.ndim - 1 if merged else place


def _place(order: Sequence[int], axis: int | None) -> int | None:
    return order.index(axis) if axis is not None and axis in order else None
