"""Pictures brought to a network as the options say."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fluoroscope.cli.options import Fit, Preset, Resample, parse_numbers, parse_size
from fluoroscope.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fluoroscope.images import Fed, Prepared, Preprocessing
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

    def preprocessing(self, network: Network, input: str) -> Preprocessing:
        """What is done to a picture for an input: the values by `default_preprocessing`, if not told."""
        from fluoroscope.preparing import default_preprocessing

        if self.preset is not None or self._chosen.preset is None:
            return self._chosen
        return replace(self._chosen, preset=default_preprocessing(network, input).preset)

    def prepare_one(self, network: Network, input: str | None, path: str) -> Prepared:
        """Read the picture for one input and bring it to that.

        Raises
        ------
        PictureError, UsageError
            See `open_image` and `prepare`.
        """
        from fluoroscope.images import open_image
        from fluoroscope.preparing import input_called, prepare

        name = input_called(network, input).name
        how = self.preprocessing(network, name)
        return prepare(network, open_image(path, frame=self.frame), how, input=name)

    def prepare(self, network: Network, files: Mapping[str, str]) -> dict[str, Fed]:
        """Read what the inputs get, input -> path, and bring it to `network`.

        Raises
        ------
        PictureError, UsageError
            See `open_image` and `prepare_all`.
        """
        from fluoroscope.images import open_image
        from fluoroscope.preparing import prepare_all, takes_picture

        pictures = [spec.name for spec in network.inputs if takes_picture(spec) and spec.name in files]
        gifts = {**files, **{name: open_image(files[name], frame=self.frame) for name in pictures}}
        return prepare_all(network, gifts, {name: self.preprocessing(network, name) for name in pictures})
