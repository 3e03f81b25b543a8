"""What a network made of one picture: a mapping from layers to their feature maps.

Everything here is frozen: arrays are read-only, and slicing gives views.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, SupportsIndex, cast, overload

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import LayerNotFound, UsageError
from fluoroscope.network.protocol import FloatArray, Layer, Network
from fluoroscope.network.selection import PRE, Selection, select
from fluoroscope.network.tokens import TokenGrid, token_grids

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fluoroscope.drawing.style import Style
    from fluoroscope.images import Fed, Prepared
    from fluoroscope.output.save import Progress
    from fluoroscope.output.sheet_picture import SheetPicture
    from fluoroscope.statistics.channels import ChannelStatistics


class FeatureMaps:
    """The activation of one layer for one picture, or some of its channels.

    Attributes
    ----------
    name
        As captured: the layer's name, or ``name:pre``.
    layer
        Its row of the layer table.
    number
        Number of that row, counted from 0.
    channels
        Numbers of the channels held, in order.
    values
        ``(height, width, channels)`` float32, read-only; ``(channels,)`` for a vector, ``(steps, channels)``
        for a sequence. In activation units.
    tokens
        How the steps of a sequence lie in the picture, if they are a transformer's tokens; of attention
        weights, how the keys do.
    """

    def __init__(
        self,
        name: str,
        layer: Layer,
        number: int,
        values: FloatArray,
        channels: Sequence[int] | None = None,
        *,
        tokens: TokenGrid | None = None,
    ) -> None:
        self.name = name
        self.layer = layer
        self.number = number
        self.channels = tuple(range(values.shape[-1]) if channels is None else channels)
        self.tokens = tokens
        self.values = values.view()
        self.values.flags.writeable = False

    @cached_property
    def maps(self) -> FloatArray:
        """``(channels, height, width)``, contiguous, read-only: as they are drawn.

        A sequence is maps of one row; tokens are maps of their grid, without those that stand `apart`; a
        volume its slices one below the other. A vector is one map of one row, ``(1, 1, channels)``: its
        values have one scale, and are sparse or flat together. So is what global pooling leaves, ``(1, 1,
        channels)`` in `values` too.
        """
        if self.is_vector:
            maps = self.values.reshape(1, 1, -1)
        elif self.tokens is not None and self.values.ndim == 2:
            first = np.ascontiguousarray(self.values[self.tokens.apart :].T)
            maps = first.reshape(len(first), self.tokens.height, self.tokens.width)
        else:
            first = np.moveaxis(self.values, -1, 0)
            rows = 1 if first.ndim == 2 else -1
            maps = np.ascontiguousarray(first).reshape(len(first), rows, first.shape[-1])
        maps.flags.writeable = False
        return maps

    @cached_property
    def statistics(self) -> ChannelStatistics:
        """Mean, standard deviation, extremes, fraction active, flat, non-finite: of each of `maps`."""
        from fluoroscope.statistics.channels import channel_statistics

        return channel_statistics(self.maps)

    @property
    def is_vector(self) -> bool:
        """True where a channel is a single value: no spatial axes, or all of length 1 (global pooling)."""
        return self.values.size == self.values.shape[-1]

    @property
    def is_sequence(self) -> bool:
        """True where there is one spatial axis, and no grid that it stands for."""
        return self.values.ndim == 2 and self.tokens is None

    @property
    def apart(self) -> FloatArray:
        """``(tokens, channels)``: tokens that are no patch of the picture (class, registers); often none."""
        count = self.tokens.apart if self.tokens is not None and self.values.ndim == 2 else 0
        return self.values[:count] if count else np.empty((0, len(self)), np.float32)

    def query(self, token: int = 0) -> FeatureMaps:
        """What one token attends to, a map a head, ``(height, width, heads)``; of attention weights only.

        Parameters
        ----------
        token
            Its number among the queries; 0 is the class token of a network that has one. A patch in row y and
            column x is ``maps.tokens.apart + y * maps.tokens.width + x``.

        Raises
        ------
        UsageError
            These are no attention weights over a grid of tokens.
        LayerNotFound
            There is no such token.
        """
        grid = self.tokens
        if grid is None or self.values.ndim != 3:
            raise UsageError(
                f"{self.name!r} holds no attention weights over a grid of tokens. Rows of these are called "
                "...:attention: layers='*:attention'."
            )
        if not -len(self.values) <= token < len(self.values):
            raise LayerNotFound(f"{self.name!r} has {len(self.values)} queries; there is no {token}.")
        weights = self.values[token, grid.apart :].reshape(grid.height, grid.width, -1)
        return FeatureMaps(f"{self.name}[{token}]", self.layer, self.number, weights, self.channels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of `values`."""
        return self.values.shape

    def __len__(self) -> int:
        return len(self.channels)

    def __iter__(self) -> Iterator[FeatureMap]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> FeatureMap: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int]) -> FeatureMaps: ...
    def __getitem__(self, index: Any) -> FeatureMap | FeatureMaps:
        """One channel by its place, or several as a slice, a list of places, or a mask of all channels."""
        if isinstance(index, slice):
            values, channels = self.values[..., index], self.channels[index]
        elif isinstance(index, Iterable) and not isinstance(index, str):
            places = self._places(list(cast("Iterable[object]", index)))
            values, channels = self.values[..., places], [self.channels[place] for place in places]
        else:
            return FeatureMap(self, self._place(index, index))
        if not channels:
            raise LayerNotFound(f"{index!r} leaves no channel of {self.name!r}; it has {len(self)}.")
        return FeatureMaps(self.name, self.layer, self.number, values, channels, tokens=self.tokens)

    def _places(self, wanted: list[object]) -> list[int]:
        if wanted and all(isinstance(entry, (bool, np.bool_)) for entry in wanted):
            if len(wanted) != len(self):
                raise UsageError(
                    f"A mask of {len(wanted)} for the {len(self)} channels of {self.name!r}: "
                    "it needs one entry for each."
                )
            return [place for place, chosen in enumerate(wanted) if chosen]
        return [self._place(entry, wanted) for entry in wanted]

    def _place(self, entry: object, given: object) -> int:
        """A place counted from the front. True is no number here: it would be the second channel."""
        try:
            place = operator.index(cast("SupportsIndex", None if isinstance(entry, bool) else entry))
        except TypeError as error:
            raise UsageError(
                f"Channels of {self.name!r} are taken by a whole number, a slice or a list, not by {given!r}."
            ) from error
        if not -len(self) <= place < len(self):
            raise LayerNotFound(
                f"{self.name!r} has {len(self)} channels, 0 to {len(self) - 1}; there is no {place}."
            )
        return place % len(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.values.shape))
        return f"<FeatureMaps {self.name!r} ({self.layer.kind}): {shape}>"

    def sheet(self, style: Style | None = None, **options: Any) -> SheetPicture:
        """All channels tiled in rows: a picture to save (``.save``, ``.png``), look at, or take apart.

        Parameters
        ----------
        style
            How; or give its fields here: ``columns``, ``zoom``, ``gap``, ``colormap``, and those of the
            scaling: ``method`` (or ``scaling="minmax"``), ``scope``, ``percentiles``, ``low``, ``high``.
        """
        from fluoroscope.output.draw import draw_sheet, style_of
        from fluoroscope.output.sheet_picture import SheetPicture

        style = style_of(style, **options)
        return SheetPicture.of(draw_sheet(self, style), self.name, style)

    def save(self, path: str | os.PathLike[str], style: Style | None = None, **options: Any) -> None:
        """Write the sheet as a PNG; options as for `sheet`."""
        self.sheet(style, **options).save(path)

    def figure(self, style: Style | None = None, **options: Any) -> Figure:
        """The sheet as a matplotlib figure, with channel numbers (needs ``fluoroscope[figure]``)."""
        from fluoroscope.output.draw import style_of
        from fluoroscope.output.figure import maps_figure

        return maps_figure(self, style_of(style, **options))

    def _repr_html_(self) -> str:
        from fluoroscope.output.html import maps_html

        return maps_html(self)


class FeatureMap:
    """One channel of a layer for one picture.

    Attributes
    ----------
    parent
        The feature maps it is one of.
    place
        Its place among them.
    """

    def __init__(self, parent: FeatureMaps, place: int) -> None:
        self.parent = parent
        self.place = place

    @property
    def channel(self) -> int:
        """Its number in the layer."""
        return self.parent.channels[self.place]

    @property
    def name(self) -> str:
        """``conv2d_2[10]``."""
        return f"{self.parent.name}[{self.channel}]"

    @property
    def layer(self) -> Layer:
        """Row of the layer table."""
        return self.parent.layer

    @property
    def values(self) -> FloatArray:
        """``(height, width)`` float32, read-only, in activation units; of no axis for a vector's value."""
        return self.parent.values[..., self.place]

    @property
    def maps(self) -> FloatArray:
        """``(1, height, width)``: as it is drawn."""
        if self.parent.is_vector:
            return self.parent.maps[..., self.place : self.place + 1]
        return self.parent.maps[self.place : self.place + 1]

    @cached_property
    def statistics(self) -> ChannelStatistics:
        """As `FeatureMaps.statistics`, of this channel alone."""
        from fluoroscope.statistics.channels import channel_statistics

        return channel_statistics(self.maps)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        return f"<FeatureMap {self.name}: {' x '.join(map(str, self.values.shape)) or 'one value'}>"

    def figure(self, *, colormap: str | None = None) -> Figure:
        """The channel as ``matshow`` draws it, its values beside it (needs ``fluoroscope[figure]``).

        The colours run from the channel's smallest to its largest value.
        """
        from fluoroscope.output.figure import map_figure

        return map_figure(self, colormap)

    def save(self, path: str | os.PathLike[str], style: Style | None = None, **options: Any) -> None:
        """Write a PNG of the channel with a legend of its values; ``legend=False`` for the bare pixels."""
        from fluoroscope.output.channel import save_channel
        from fluoroscope.output.draw import style_of

        legend = bool(options.pop("legend", True))
        save_channel(self, path, style_of(style, **options), legend=legend)

    def _repr_html_(self) -> str:
        from fluoroscope.output.html import map_html

        return map_html(self)


class Activations(Mapping[str, FeatureMaps]):
    """Layer name -> feature maps, of one picture in one network, in network order.

    Attributes
    ----------
    network
        What was run.
    inputs
        Input -> what it got: a picture before and after preprocessing (`Prepared`) or numbers
        (`InputArray`), with every step recorded.
    predictions
        Output layer -> its vector of values; only outputs that are vectors.
    skipped
        Layers that could not be run -> why.
    """

    def __init__(
        self,
        network: Network,
        inputs: Fed | Mapping[str, Fed],
        values: Mapping[str, FloatArray],
        predictions: Mapping[str, FloatArray],
    ) -> None:
        self.network = network
        self.inputs = dict(inputs) if isinstance(inputs, Mapping) else {network.inputs[0].name: inputs}
        self.predictions = dict(predictions)
        self.skipped = {layer.name: layer.problem for layer in network.layers if layer.problem is not None}
        rows = {layer.name: (number, layer) for number, layer in enumerate(network.layers)}
        grids = token_grids(network.layers)
        self._maps: dict[str, FeatureMaps] = {}
        for name, array in values.items():
            number, layer = rows[name if name in rows else name.removesuffix(PRE)]
            self._maps[name] = FeatureMaps(name, layer, number, array, tokens=grids.get(layer.name))

    @property
    def prepared(self) -> Prepared:
        """The picture, before and after preprocessing; the first of several.

        Raises `UsageError` for a network that takes no picture.
        """
        from fluoroscope.images import Prepared

        for fed in self.inputs.values():
            if isinstance(fed, Prepared):
                return fed
        raise UsageError(f"{self.network.name!r} takes no picture. What it got: activations.inputs.")

    def __getitem__(self, name: Any) -> FeatureMaps:
        if not isinstance(name, str):
            raise LayerNotFound(
                f"Activations are taken by name, not by {name!r}: acts[{next(iter(self._maps))!r}]. "
                f"By number or pattern: acts.select({name!r})."
            )
        try:
            return self._maps[name]
        except KeyError:
            if name in self.skipped:
                raise LayerNotFound(f"{name!r} was not captured: {self.skipped[name]}") from None
            known = any(layer.name == name.removesuffix(PRE) for layer in self.network.layers)
            hint = f"capture it with layers={name!r}" if known else f"there are {', '.join(self._maps)}"
            raise LayerNotFound(f"No layer {name!r} among those captured; {hint}.") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._maps)

    def __len__(self) -> int:
        return len(self._maps)

    def __repr__(self) -> str:
        from fluoroscope.output.captions import given_names
        from fluoroscope.output.typography import counted

        channels = sum(len(maps) for maps in self.values())
        return (
            f"<Activations of {given_names(self.inputs)!r} in {self.network.name!r}: "
            f"{counted(len(self), 'layer')}, {counted(channels, 'channel')}>"
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all values held."""
        return sum(maps.values.nbytes for maps in self.values())

    def select(self, layers: Selection) -> Activations:
        """Some of the layers, chosen as in `fluoroscope.capture`. Nothing is copied or run."""
        chosen = [name for name in select(self.network, layers) if name in self._maps]
        if not chosen:
            raise LayerNotFound(f"None of the layers captured is among {layers!r}: {', '.join(self._maps)}.")
        values = {name: self._maps[name].values for name in chosen}
        return Activations(self.network, self.inputs, values, self.predictions)

    def save(
        self,
        path: str | os.PathLike[str],
        style: Style | None = None,
        *,
        classes: Sequence[str] = (),
        progress: Progress | None = None,
        **options: Any,
    ) -> None:
        """Write everything; the name says what.

        Parameters
        ----------
        path
            ``.pdf``: a page a layer; ``.png``: one large picture; ``.npz``: the values; no suffix, or a
            folder: a PNG a layer with ``activations.npz`` and ``manifest.json``.
        style, options
            As in `FeatureMaps.sheet`.
        classes
            Names of the classes, in the order of the network's outputs.
        progress
            Told of every layer.

        Raises
        ------
        UsageError
            For another suffix; nothing is written then.
        """
        from fluoroscope.output.draw import style_of
        from fluoroscope.output.save import save

        save([self], path, style_of(style, **options), classes=classes, progress=progress)

    def _repr_html_(self) -> str:
        from fluoroscope.output.html import activations_html

        return activations_html(self)
