"""A PDF being written: text, lines, boxes and pictures on pages of one size, from the top left.

A thin layer over reportlab's canvas. Lengths are points (1/72 inch); ``y`` grows downwards, and a text's
``y`` is that of its baseline. Pictures go in as they were compressed, each once however often it is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Literal

from fluoroscope.output import typography
from fluoroscope.output.pdf.reportlab_quietly import Canvas, TTFont, pdfdoc, pdfmetrics, rl_config
from fluoroscope.output.theme import INK, RULE, Color

if TYPE_CHECKING:
    from fluoroscope.drawing.geometry import Box
    from fluoroscope.output.png import EncodedImage

LEFT, TOP, WIDTH, BOTTOM = 40.0, 36.0, 761.89, 553.0
"""Where a page's content may lie; below it is the footer."""

_FACES = {
    False: ("FluoroscopeInter", typography.REGULAR),
    True: ("FluoroscopeInter-SemiBold", typography.SEMIBOLD),
}


@dataclass(frozen=True, slots=True)
class Description:
    """What the document says of itself to a reader: no text of it is on a page."""

    title: str
    subject: str
    keywords: str


class Paper:
    """Pages of one size, written in order.

    Parameters
    ----------
    stream
        Gets the document when it is finished.

    Attributes
    ----------
    width, height
        Of a page; A4 landscape.
    page
        Number of the current page, from 1.
    """

    width, height = 841.89, 595.28

    def __init__(self, stream: IO[bytes], description: Description) -> None:
        _register_faces()
        canvas: Any = Canvas(
            stream, pagesize=(self.width, self.height), pageCompression=1, invariant=0, lang="en"
        )
        canvas.setTitle(typography.speakable(description.title))
        canvas.setSubject(typography.speakable(description.subject))
        canvas.setKeywords(typography.speakable(description.keywords))
        canvas.setAuthor("Fluoroscope")
        canvas.setCreator("Fluoroscope")
        canvas.setViewerPreference("DisplayDocTitle", "true")
        self._canvas = canvas
        self._images: dict[int, tuple[str, EncodedImage]] = {}
        self._entries = 0
        self.page = 1

    # Text

    def measure(self, text: str, size: float, *, bold: bool = False) -> float:
        """Width of a text as `text` sets it."""
        return _width(typography.printable(text), size, bold)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 8,
        *,
        bold: bool = False,
        color: Color = INK,
        align: Literal["left", "center", "right"] = "left",
        width: float | None = None,
        spacing: float = 0,
    ) -> float:
        """Set a line of text.

        Parameters
        ----------
        x, y
            Of its baseline's start, middle or end, as `align` says.
        text
            Any; what cannot be printed is escaped.
        width
            Room for it: the middle is left out of a longer text.
        spacing
            Added between its characters.

        Returns
        -------
        float
            Its width.
        """
        text = typography.printable(text)
        if width is not None:
            text = typography.fitted(text, width, lambda part: _width(part, size, bold))
        extent = _width(text, size, bold) + spacing * max(len(text) - 1, 0)
        left = x - {"left": 0.0, "center": extent / 2, "right": extent}[align]
        self._canvas.setFillColorRGB(*color)
        self._canvas.setFont(_FACES[bold][0], size)
        self._canvas.drawString(left, self.height - y, text, charSpace=spacing)
        return extent

    def paragraph(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        width: float,
        *,
        lines: int,
        color: Color = INK,
        bold: bool = False,
        leading: float = 1.4,
    ) -> float:
        """Set text in at most `lines` lines; return the baseline of the line that would follow."""
        wrapped = typography.wrapped(
            typography.printable(text), width, lambda part: _width(part, size, bold), lines=lines
        )
        for line in wrapped:
            self.text(x, y, line, size, color=color, bold=bold)
            y += size * leading
        return y

    # Shapes

    def line(
        self, x0: float, y0: float, x1: float, y1: float, *, color: Color = RULE, width: float = 0.5
    ) -> None:
        """Draw a straight line."""
        self._canvas.setStrokeColorRGB(*color)
        self._canvas.setLineWidth(width)
        self._canvas.line(x0, self.height - y0, x1, self.height - y1)

    def box(self, x: float, y: float, width: float, height: float, *, fill: Color) -> None:
        """Fill a rectangle given by its upper left corner."""
        self._canvas.setFillColorRGB(*fill)
        self._canvas.rect(x, self.height - y - height, width, height, stroke=0, fill=1)

    def image(
        self, image: EncodedImage, x: float, y: float, width: float, height: float, part: Box | None = None
    ) -> None:
        """Draw a picture, or a part of it, into a rectangle given by its upper left corner.

        Its data enters the document as it is, and readers are asked not to smooth it.

        Parameters
        ----------
        part
            In the picture's pixels. The rest is clipped away: the data stay whole.
        """
        name, _ = self._images.setdefault(id(image), (f"picture{len(self._images)}", image))
        canvas = self._canvas
        if not canvas.hasForm(name):
            canvas._doc.addForm(name, _ImageObject(image))
        top, left, rows, columns = part or (0, 0, image.height, image.width)
        across, down = width / columns, height / rows
        canvas.saveState()
        if part is not None:
            window = canvas.beginPath()
            window.rect(x, self.height - y - height, width, height)
            canvas.clipPath(window, stroke=0, fill=0)
        canvas.translate(x - left * across, self.height - y + top * down - image.height * down)
        canvas.scale(image.width * across, image.height * down)
        canvas.doForm(name)
        canvas.restoreState()

    # Structure

    def bookmark(self, key: str, y: float | None = None) -> None:
        """Make the current page, from `y` down, a place that `link` and `outline` can lead to."""
        if y is None:
            self._canvas.bookmarkPage(key)
        else:
            self._canvas.bookmarkHorizontalAbsolute(key, min(self.height - y, self.height))

    def outline(self, key: str, title: str, level: int = 0) -> None:
        """Add an entry to the document's outline, `level` deep, at most one deeper than the last."""
        # reportlab has one title for a place, but a group and its first member lead to the same one.
        entry = f"outline entry {self._entries}"
        self._canvas._destinations[entry] = self._canvas._bookmarkReference(key)
        self._canvas.addOutlineEntry(typography.speakable(title), entry, level, closed=level > 0)
        self._entries += 1

    def link(self, key: str, x: float, y: float, width: float, height: float) -> None:
        """Make a rectangle lead to a bookmark, which may come later."""
        rectangle = (x, self.height - y - height, x + width, self.height - y)
        self._canvas.linkAbsolute("", key, rectangle, Border="[0 0 0]")

    def attach(self, name: str, data: bytes, media_type: str) -> None:
        """Put a file into the document, under an ASCII name."""
        document = self._canvas._doc
        stream = pdfdoc.PDFStream(content=data, filters=[pdfdoc.PDFZCompress])
        stream.dictionary["Type"] = pdfdoc.PDFName("EmbeddedFile")
        stream.dictionary["Subtype"] = "/" + media_type.replace("/", "#2F")
        file = _dictionary(
            Type=pdfdoc.PDFName("Filespec"),
            F=pdfdoc.PDFString(name),
            UF=pdfdoc.PDFString(name),
            EF=_dictionary(F=document.Reference(stream)),
        )
        names = pdfdoc.PDFArray([pdfdoc.PDFString(name), document.Reference(file)])
        document.Catalog.Names = _dictionary(EmbeddedFiles=_dictionary(Names=names))

    def next_page(self) -> None:
        """Finish the page and begin another."""
        self._canvas.showPage()
        self.page += 1

    def finish(self) -> None:
        """Finish the last page and write the document to the stream. Nothing can be drawn after."""
        kept = rl_config.useA85
        rl_config.useA85 = 0  # It would make page streams text, a quarter larger.
        try:
            self._canvas.showPage()
            self._canvas.showOutline()
            self._canvas.save()
        finally:
            rl_config.useA85 = kept


class _ImageObject(pdfdoc.PDFObject):
    """An image of a PDF (ISO 32000-1, 8.9.5), its stream as `EncodedImage` holds it."""

    __RefOnly__ = 1

    def __init__(self, image: EncodedImage) -> None:
        self._image = image

    def format(self, document: Any) -> bytes:
        image = self._image
        if image.palette is None:
            space = "/DeviceRGB" if image.colors == 3 else "/DeviceGray"
        else:
            space = f"[/Indexed /DeviceRGB {len(image.palette) - 1} <{image.palette.tobytes().hex()}>]"
        head = (
            f"<< /Type /XObject /Subtype /Image /Width {image.width} /Height {image.height} "
            f"/ColorSpace {space} /BitsPerComponent 8 /Interpolate false /Filter /FlateDecode "
            f"/DecodeParms << /Predictor 15 /Colors {image.colors} /BitsPerComponent 8 "
            f"/Columns {image.width} >> "
            f"/Length {len(image.stream)} >>\nstream\n"
        )
        return b"".join([head.encode("ascii"), image.stream, b"\nendstream\n"])


def _register_faces() -> None:
    known = set(pdfmetrics.getRegisteredFontNames())
    for name, file in _FACES.values():
        if name not in known:
            pdfmetrics.registerFont(TTFont(name, str(file)))


def _width(text: str, size: float, bold: bool) -> float:
    return float(pdfmetrics.stringWidth(text, _FACES[bold][0], size))


def _dictionary(**entries: Any) -> Any:
    values: Mapping[str, Any] = entries
    return pdfdoc.PDFDictionary(dict(values))
