"""A sheet that can be saved and shows itself in a notebook."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from fluoroscope.drawing.sheet import Sheet
from fluoroscope.output.png import encode
from fluoroscope.output.typography import speakable

if TYPE_CHECKING:
    from fluoroscope.drawing.style import Style


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SheetPicture(Sheet):
    """A `Sheet` with the door to its PNG.

    Attributes
    ----------
    title
        Of the layer, kept in the file.
    scaling
        How its levels were made, in words; kept in the file.
    """

    title: str
    scaling: str

    @classmethod
    def of(cls, sheet: Sheet, title: str, style: Style) -> SheetPicture:
        """A sheet drawn in a style, under the layer's name."""
        own = {field.name: getattr(sheet, field.name) for field in fields(Sheet)}
        return cls(**own, title=title, scaling=str(style.scaling))

    def __repr__(self) -> str:
        height, width = self.indices.shape
        return f"<SheetPicture {self.title!r}: {self.geometry.channels} channels, {height} x {width} pixels>"

    def png(self) -> bytes:
        """The sheet as a palette PNG, exact pixels."""
        text = {"Software": "Fluoroscope", "Title": speakable(self.title), "Description": self.scaling}
        return encode(self.indices, self.palette).png(text)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `png` to a file, whole or not at all.

        Raises
        ------
        UsageError
            A name that does not end in ``.png``.
        """
        from fluoroscope.files import atomic_write, check_suffix

        check_suffix(path, ".png", "A sheet is saved as")
        atomic_write(path, self.png())

    def _repr_png_(self) -> bytes:
        return self.png()
