"""What every writer of a whole network gets: drawn layers with all that can be said about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fluoroscope.drawing.scaling import Limits
    from fluoroscope.drawing.sheet import SheetGeometry
    from fluoroscope.drawing.style import Style
    from fluoroscope.images import Fed
    from fluoroscope.network.protocol import Layer, Network
    from fluoroscope.network.tokens import TokenGrid
    from fluoroscope.output.png import EncodedImage
    from fluoroscope.statistics.channels import ChannelStatistics


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DrawnLayer:
    """A layer's activation for one picture, drawn.

    Attributes
    ----------
    name
        As captured: the layer's name, with ``:pre`` for the value before its fused activation.
    number
        Its row in the layer table.
    layer
        That row.
    channels
        Numbers of the channels drawn, in order.
    statistics, limits
        Per channel, in activation units.
    image
        The sheet, compressed once: PNG and PDF both take these bytes.
    geometry
        Where each channel lies in it.
    vector
        The values ``(channels,)`` of a layer without spatial axes; None for feature maps.
    values
        The activation itself, channels last; None where the writer has no use for it, so that layers drawn
        can be kept while their values are let go.
    tokens
        The grid that the tokens of a sequence were drawn in; None for all else.
    """

    name: str
    number: int
    layer: Layer
    channels: tuple[int, ...]
    statistics: ChannelStatistics
    limits: Limits
    image: EncodedImage
    geometry: SheetGeometry
    vector: NDArray[np.float32] | None = None
    values: NDArray[np.float32] | None = None
    tokens: TokenGrid | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """Everything drawn of one picture in one network.

    Attributes
    ----------
    inputs
        Input -> what it got, in the network's order.
    layers
        In network order. May be a generator that draws as it goes: writers take it once.
    count
        How many layers will come, for progress.
    predictions
        Output layer -> its values ``(classes,)``, of the outputs that are vectors.
    classes
        Names of the classes, in the order of the outputs' values; empty if not given.
    skipped
        Layers that could not be run -> why.
    """

    network: Network
    inputs: Mapping[str, Fed]
    style: Style
    layers: Iterable[DrawnLayer]
    count: int
    predictions: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
