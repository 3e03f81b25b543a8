"""A picture brought to a network as the options say."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fluoroscope.cli.options import Fit, Preset, Resample, parse_numbers, parse_size
from fluoroscope.errors import UsageError

if TYPE_CHECKING:
    from fluoroscope.images import Prepared, Preprocessing
    from fluoroscope.network.protocol import Network


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """The options of the picture, checked as far as they can be before anything is read.

    Raises
    ------
    UsageError
        An option that means nothing, or contradicts another.
    """

    size: str | None = None
    fit: Fit = "stretch"
    resample: Resample = "nearest"
    preset: Preset | None = None
    scale: str | None = None
    mean: str | None = None
    std: str | None = None
    frame: int = 0
    _chosen: Preprocessing = field(init=False)

    def __post_init__(self) -> None:
        from fluoroscope.images import Preprocessing

        own = {
            name: parse_numbers(text, f"--{name}")
            for name, text in (("scale", self.scale), ("mean", self.mean), ("std", self.std))
            if text is not None
        }
        if own and self.preset is not None:
            raise UsageError(
                f"--preprocess {self.preset} says how values are scaled, and so does --{next(iter(own))}: "
                "give one or the other."
            )
        chosen = Preprocessing(
            preset=self.preset or "unit",
            size=parse_size(self.size) if self.size is not None else None,
            fit=self.fit,
            resample=self.resample,
            scale=own.get("scale"),
            mean=own.get("mean"),
            std=own.get("std"),
        )
        object.__setattr__(self, "_chosen", chosen)

    def preprocessing(self, network: Network) -> Preprocessing:
        """What is done to a picture for `network`: the values by `default_preprocessing`, if not told."""
        from fluoroscope.capturing import default_preprocessing

        if self.preset is not None or self._chosen.preset is None:
            return self._chosen
        return replace(self._chosen, preset=default_preprocessing(network).preset)

    def prepare(self, network: Network, path: str) -> Prepared:
        """Read a picture and bring it to `network`.

        Raises
        ------
        PictureError, UsageError
            See `open_image` and `prepare`.
        """
        from fluoroscope.capturing import prepare
        from fluoroscope.images import open_image

        return prepare(network, open_image(path, frame=self.frame), self.preprocessing(network))
