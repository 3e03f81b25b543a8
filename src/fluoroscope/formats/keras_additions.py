"""What a user says beside a Keras file: its architecture, and what stands for layers that are not run."""

from __future__ import annotations

from dataclasses import dataclass, field

from fluoroscope.formats.keras_replace import Replacements


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
    """

    architecture: bytes | None = None
    architecture_name: str = "(bytes)"
    replacements: Replacements = field(default_factory=Replacements)

    def __bool__(self) -> bool:
        return self.architecture is not None or bool(self.replacements)
