"""The layer table as text and as HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fluoroscope.network.protocol import Layer, Network, ReceptiveField, Shape

HEADINGS = ("#", "Layer", "Type", "Output shape", "Params", "Receptive field", "Takes")


def shape_text(shape: Shape) -> str:
    """``148 × 148 × 32``; ``?`` for a size the file leaves open, ``–`` for none known."""
    return " × ".join("?" if size is None else str(size) for size in shape) or "–"


def receptive_text(field: ReceptiveField | None) -> str:
    """``10 × 10 /4 @-3``: size, stride where it is not 1, first pixel where it is not 0."""
    if field is None:
        return "–"
    if not field.size or (field.whole and not field.stride):
        return "whole picture"

    def pair(values: tuple[float, ...], join: str) -> str:
        texts = [f"{value:.0f}" if float(value).is_integer() else f"{value:.4g}" for value in values]
        return texts[0] if len(set(texts)) == 1 and join != " × " else join.join(texts)

    text = pair(field.size, " × ")
    if set(field.stride) != {1.0}:
        text += f" /{pair(field.stride, ',')}"
    if set(field.offset) != {0.0}:
        text += f" @{pair(field.offset, ',')}"
    return f"{text} + whole" if field.whole else text


def kind_text(layer: Layer) -> str:
    """``Conv2D + relu``: the class and its fused activation."""
    return f"{layer.kind} + {layer.activation}" if layer.activation else layer.kind


def table(network: Network) -> list[tuple[str, ...]]:
    """One row of cells a layer, under `HEADINGS`; the numbers count from 0, as ``model.layers`` does."""
    rows: list[tuple[str, ...]] = []
    # A Sequential's input is no row, and the first layer takes nothing else.
    previous = network.inputs[0].name if len(network.inputs) == 1 else None
    for number, layer in enumerate(network.layers):
        # Only what is not simply the row above is worth reading.
        takes = "" if layer.inputs == (previous,) else ", ".join(layer.inputs)
        rows.append(
            (
                str(number),
                layer.name,
                kind_text(layer),
                shape_text(layer.shape) if layer.problem is None else "cannot be run",
                f"{layer.parameters:,}",
                receptive_text(layer.receptive_field),
                takes,
            )
        )
        previous = layer.name
    return rows


def totals(network: Network) -> dict[str, int]:
    """Numbers of parameters: ``total``, ``trainable``, ``non_trainable``."""
    total = sum(layer.parameters for layer in network.layers)
    trainable = sum(layer.trainable for layer in network.layers)
    return {"total": total, "trainable": trainable, "non_trainable": total - trainable}


def origin_text(network: Network) -> str:
    """``keras-hdf5, written by Keras 2.0.5 (tensorflow)``."""
    origin = network.provenance
    text = origin.format
    if origin.writer:
        text += f", written by {origin.writer}"
    if origin.backend:
        text += f" ({origin.backend})"
    return text


def execution_text(network: Network) -> str:
    """``computed on cpu, float32``."""
    return f"computed on {network.provenance.device}, {network.provenance.precision}"


def summary_text(network: Network) -> str:
    """The table in plain text, with totals, as ``model.summary()`` prints it."""
    rows = table(network)
    widths = [max(len(row[i]) for row in [HEADINGS, *rows]) for i in range(len(HEADINGS))]
    right = {0, 4}

    def line(cells: tuple[str, ...]) -> str:
        padded = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    counts = totals(network)
    return "\n".join(
        [
            f"{network.name}: {origin_text(network)}",
            rule,
            line(HEADINGS),
            rule,
            *map(line, rows),
            rule,
            f"Total params: {counts['total']:,}",
            f"Trainable params: {counts['trainable']:,}",
            f"Non-trainable params: {counts['non_trainable']:,}",
            *(f"Note: {note}" for note in network.provenance.notes),
        ]
    )


def summary_html(network: Network) -> str:
    """The table for a notebook: every text from the file is escaped, nothing is loaded."""
    style = "style='text-align:left;padding:1px 12px 1px 0'"
    head = "".join(f"<th {style}>{escape(text)}</th>" for text in HEADINGS)
    body = "".join(
        "<tr>"
        + "".join(f"<td {style}>{escape(cell)}</td>" for cell in row)
        + "</tr>"
        + (
            f"<tr><td></td><td colspan=6 {style}><i>{escape(layer.problem)}</i></td></tr>"
            if layer.problem
            else ""
        )
        for row, layer in zip(table(network), network.layers, strict=True)
    )
    counts = totals(network)
    notes = "".join(f"<br>{escape(note)}" for note in network.provenance.notes)
    return (
        f"<div><b>{escape(network.name)}</b> — {escape(origin_text(network))}"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"{counts['total']:,} parameters, {counts['trainable']:,} trainable, "
        f"{counts['non_trainable']:,} not{notes}</div>"
    )
