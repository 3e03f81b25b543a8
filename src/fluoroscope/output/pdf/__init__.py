"""Everything in one PDF: a cover, all layers at a glance, then every layer with all its channels.

Sheets go in as they were compressed for PNG, pixel for pixel; text can be searched; every layer has a
bookmark; the settings are attached as JSON. Importing this imports reportlab.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fluoroscope.drawing.colormaps import palette
from fluoroscope.files import replacing
from fluoroscope.output.captions import given_names, name_caption, scaling_caption
from fluoroscope.output.pdf.blocks import Block, key_of, make_block, paginate
from fluoroscope.output.pdf.chart import Depth
from fluoroscope.output.pdf.cover import Totals, draw_cover
from fluoroscope.output.pdf.layer_pages import draw_page
from fluoroscope.output.pdf.outline import nested
from fluoroscope.output.pdf.overview import draw_overview_page, plan_overview
from fluoroscope.output.pdf.paper import LEFT, WIDTH, Description, Paper
from fluoroscope.output.png import encode
from fluoroscope.output.record import report_record
from fluoroscope.output.theme import MUTED

if TYPE_CHECKING:
    from fluoroscope.output.report import Report

RECORD = "manifest.json"
"""Name of the attachment: versions, settings and hashes, as `report_record` gives them."""


def write_pdf(
    report: Report, path: str | os.PathLike[str], *, progress: Callable[[str], None] | None = None
) -> None:
    """Write everything drawn of one picture to a PDF, whole or not at all.

    Parameters
    ----------
    report
        Its layers are taken once. Their compressed sheets are held until the document is written.
    path
        Replaced if it is there.
    progress
        Told the name of every layer as it is taken.

    Raises
    ------
    UsageError
        A path that is a folder, or in one that does not exist.
    OSError
        Whatever else the system reports.
    """
    blocks: list[Block] = []
    for drawn in report.layers:
        blocks.append(make_block(drawn, report))
        if progress is not None:
            progress(drawn.name)
    overview = plan_overview(blocks, report.skipped)
    pages = paginate(blocks)
    before = 1 + len(overview)
    page_of = {
        key_of(placed.block.drawn): before + index + 1
        for index, page in enumerate(pages)
        for placed in page
        if placed.part == 0
    }
    colours = encode(np.arange(256, dtype=np.uint8)[None], palette(report.style.palette))

    with replacing(path) as stream:
        paper = Paper(stream, _description(report))
        count = before + len(pages)
        paper.bookmark("cover")
        draw_cover(
            paper, report, Totals.of([block.numbers for block in blocks]), [*map(_depth, blocks)], colours
        )
        for index, rows in enumerate(overview):
            _turn(paper, report, count)
            if index == 0:
                paper.bookmark("overview")
            draw_overview_page(paper, rows, page_of, first=index == 0)
        for page in pages:
            _turn(paper, report, count)
            draw_page(paper, page, report, colours)
        _draw_footer(paper, report, count)
        _add_outline(paper, blocks, overview=bool(overview))
        paper.attach(RECORD, _record(report), "application/json")
        paper.finish()


def _turn(paper: Paper, report: Report, count: int) -> None:
    _draw_footer(paper, report, count)
    paper.next_page()


def _draw_footer(paper: Paper, report: Report, count: int) -> None:
    y = paper.height - 20
    names = f"{report.network.name}  ·  {given_names(report.inputs)}"
    paper.text(LEFT, y, names, 7, color=MUTED, width=WIDTH / 2)
    paper.text(LEFT + WIDTH, y, f"{paper.page} / {count}", 7, color=MUTED, align="right")


def _add_outline(paper: Paper, blocks: Sequence[Block], *, overview: bool) -> None:
    paper.outline("cover", "Cover")
    if overview:
        paper.outline("overview", "Layers at a glance")
    for key, title, level in nested([(key_of(block.drawn), name_caption(block.drawn)) for block in blocks]):
        paper.outline(key, title, level)


def _depth(block: Block) -> Depth:
    return Depth(
        number=block.drawn.number,
        name=name_caption(block.drawn),
        inactive=block.numbers.inactive,
        flat=len(block.numbers.flat) / max(block.numbers.channels, 1),
    )


def _description(report: Report) -> Description:
    style = report.style
    return Description(
        title=f"Intermediate activations of {report.network.name}: {given_names(report.inputs)}",
        subject=f"Scaling {scaling_caption(style.scaling)}; colour map {style.palette}",
        keywords="feature maps, activations, neural network, visualization",
    )


def _record(report: Report) -> bytes:
    record = report_record(report)
    return json.dumps(record, indent=1, allow_nan=False).encode()
