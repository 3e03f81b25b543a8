"""How feature maps are drawn: the options that all pictures of them share."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fluoroscope.drawing.colormaps import COLORMAPS
from fluoroscope.drawing.scaling import Scaling
from fluoroscope.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Options of a drawing.

    Attributes
    ----------
    scaling
        From activations to levels 0..255.
    colormap
        Name of a palette; None takes viridis, or RdBu when the scaling is symmetric.
    columns
        Maps in a row of a sheet.
    zoom
        Side of the square of pixels that one activation becomes.
    gap
        Pixels between maps.
    """

    scaling: Scaling = field(default_factory=Scaling)
    colormap: str | None = None
    columns: int = 16
    zoom: int = 1
    gap: int = 1

    def __post_init__(self) -> None:
        if self.colormap is not None and self.colormap not in COLORMAPS:
            raise UsageError(f"No colour map is called {self.colormap!r}. There are {', '.join(COLORMAPS)}.")
        least = {"columns": 1, "zoom": 1, "gap": 0}
        for name, lowest in least.items():
            value: object = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < lowest:
                raise UsageError(f"{name} is a whole number from {lowest} on, not {value!r}.")
            # NumPy's numbers are not JSON's, into which records put them.
            object.__setattr__(self, name, int(value))

    @property
    def palette(self) -> str:
        """Name of the palette that is used."""
        return self.colormap or ("RdBu" if self.scaling.method == "symmetric" else "viridis")
