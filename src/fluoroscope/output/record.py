"""What was done, as JSON: versions, settings, hashes, and the numbers of every layer. In every output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.images import Prepared
from fluoroscope.network.summary import totals

if TYPE_CHECKING:
    from fluoroscope.drawing.style import Style
    from fluoroscope.images import Fed
    from fluoroscope.network.protocol import Layer, Network
    from fluoroscope.output.report import DrawnLayer, Report


def run_record(
    network: Network,
    inputs: Mapping[str, Fed],
    style: Style | None,
    *,
    predictions: Mapping[str, NDArray[np.float32]],
    classes: Sequence[str] = (),
    skipped: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Everything but the layers.

    Parameters
    ----------
    style
        None when nothing was drawn.
    """
    from fluoroscope import __version__

    origin = network.provenance
    counts = totals(network)
    record: dict[str, Any] = {
        "fluoroscope": __version__,
        "network": {
            "name": network.name,
            "file": origin.path,
            "format": origin.format,
            "writer": origin.writer,
            "backend": origin.backend,
            "sha256": origin.sha256,
            "bytes": origin.size,
            "notes": list(origin.notes),
            "parameters": counts["total"],
            "trainable_parameters": counts["trainable"],
        },
        "run": {"device": origin.device, "precision": origin.precision},
        "inputs": [_input_record(name, fed) for name, fed in inputs.items()],
        "predictions": {name: plain(values) for name, values in predictions.items()},
        "classes": list(classes),
        "skipped": dict(skipped or {}),
    }
    if style is not None:
        record["drawing"] = {
            "scaling": asdict(style.scaling),
            "colormap": style.palette,
            "columns": style.columns,
            "zoom": style.zoom,
            "gap": style.gap,
        }
    return record


def _input_record(input: str, fed: Fed) -> dict[str, Any]:
    """What an input got: where it came from, what became of it."""
    return {
        "input": input,
        "name": fed.name,
        "file": fed.path,
        "sha256": fed.sha256,
        "kind": "picture" if isinstance(fed, Prepared) else "array",
        "shape": list(fed.values.shape),
        "steps": list(fed.steps),
    }


def report_record(report: Report) -> dict[str, Any]:
    """`run_record` of what a writer gets."""
    return run_record(
        report.network,
        report.inputs,
        report.style,
        predictions=report.predictions,
        classes=report.classes,
        skipped=report.skipped,
    )


def layer_record(layer: Layer) -> dict[str, Any]:
    """A row of the layer table."""
    return asdict(layer)


def drawn_record(drawn: DrawnLayer) -> dict[str, Any]:
    """A drawn layer: its row, and statistics and limits of each channel, in activation units."""
    statistics, limits = drawn.statistics, drawn.limits
    return {
        "name": drawn.name,
        "number": drawn.number,
        "layer": layer_record(drawn.layer),
        "channels": list(drawn.channels),
        "tokens": None if drawn.tokens is None else asdict(drawn.tokens),
        "sparsity": plain(statistics.sparsity),
        "mean": plain(statistics.mean),
        "std": plain(statistics.std),
        "minimum": plain(statistics.minimum),
        "maximum": plain(statistics.maximum),
        "active": plain(statistics.active),
        "flat": [drawn.channels[i] for i in np.flatnonzero(statistics.flat)],
        "nonfinite": {
            str(drawn.channels[i]): int(statistics.nonfinite[i]) for i in np.flatnonzero(statistics.nonfinite)
        },
        "low": plain(limits.low),
        "high": plain(limits.high),
    }


def plain(values: Any) -> Any:
    """Numbers as JSON has them: arrays as lists, NaN and infinities as None."""
    if isinstance(values, np.ndarray):
        return [plain(value) for value in values.tolist()]
    return values if math.isfinite(values) else None
