"""What a user says beside a file: its architecture, what stands for layers that are not run, more files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fluoroscope.formats.keras.replace import Replacements


@dataclass(frozen=True, slots=True, kw_only=True)
class Additions:
    """As far as anything is said.

    Attributes
    ----------
    architecture
        The bytes of a file with the architecture, for weights that are alone; None where there is none.
    architecture_name
        That file in messages.
    replacements
        Layers that others stand for.
    external
        Files that hold weights of an ONNX model, by their paths.
    """

    architecture: bytes | None = None
    architecture_name: str = "(bytes)"
    replacements: Replacements = field(default_factory=Replacements)
    external: Mapping[str, bytes] = field(default_factory=dict[str, bytes])

    @property
    def of_keras(self) -> bool:
        """Whether anything is said that only a Keras file has a use for."""
        return self.architecture is not None or bool(self.replacements)
