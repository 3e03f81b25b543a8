"""What a file is, who wrote it, what it holds and what would be refused, without running anything in it.

`check` never raises for what is in a file: a report of a damaged or hostile one says so. It opens the file as
`open_network` would, and beside that reads what the file says of itself, each part for itself, so that one
that cannot be read does not hide the others.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from fluoroscope.checking.report import (
    EXIT_CODES,
    CheckReport,
    Contents,
    Facts,
    Finding,
    Level,
    Verdict,
    WeightGroup,
    reason_level,
)
from fluoroscope.errors import (
    BudgetExceeded,
    DamagedFile,
    FluoroscopeError,
    NetworkError,
    RefusedFile,
    UnknownFormat,
    UnsupportedLayer,
    UsageError,
    WeightMismatch,
)
from fluoroscope.formats import FORMATS, open_network
from fluoroscope.formats.file_bytes import is_saved_model, read_file
from fluoroscope.formats.foreign import SAVED_MODEL, identify
from fluoroscope.network.budget import Budget
from fluoroscope.network.onnx_network import OnnxNetwork
from fluoroscope.network.protocol import Network

__all__ = [
    "EXIT_CODES",
    "CheckReport",
    "Contents",
    "Facts",
    "Finding",
    "Level",
    "Verdict",
    "WeightGroup",
    "check",
    "files_in",
    "is_one",
]

_T = TypeVar("_T")

MOST_FILES = 10_000
"""Of a folder."""

_CANNOT = " cannot be run: "
"""Stands between a layer's name and the reason."""

_LEVELS: tuple[Level, ...] = ("danger", "problem", "warning", "note")
_KINDS = {
    "keras-hdf5": "Keras model in HDF5",
    "keras-archive": "Keras archive",
    "onnx": "ONNX model",
}
_VERDICTS: tuple[tuple[type[Exception], Verdict], ...] = (
    (BudgetExceeded, "over budget"),
    (RefusedFile, "refused"),
    (DamagedFile, "damaged"),
    (UnsupportedLayer, "not supported"),
    (WeightMismatch, "not supported"),
    (UnknownFormat, "no network"),
    (FluoroscopeError, "not supported"),
)


def check(source: str | os.PathLike[str] | bytes, *, budget: Budget | None = None) -> CheckReport:
    """Find out what a file is, and what opening it would come to. Nothing in it is run.

    Parameters
    ----------
    source
        A path, or the bytes of a file.
    budget
        What it is held against; as for `open_network`.

    Raises
    ------
    UsageError
        `source` is neither. What is wrong with the file itself is never raised, but told in the report.
    """
    budget = budget or Budget()
    if isinstance(source, bytes):
        return _check(source, None, None, budget)
    try:
        path = os.fspath(source)
    except TypeError as error:
        kind = type(source).__name__
        raise UsageError(f"What is checked is a path or the bytes of a file, not {kind}.") from error
    try:
        data = read_file(Path(path), budget)
    except FluoroscopeError as error:
        return _unread(path, error, budget)
    return _check(data, path, Path(path).stem, budget)


def is_one(path: Path) -> bool:
    """Whether a path is checked as it is: no folder, but the folder of a SavedModel."""
    return not path.is_dir() or is_saved_model(path)


def files_in(folder: Path) -> Iterator[Path]:
    """The files in a folder and the folders in it, by name; the folder of a SavedModel counts as a file.

    Links to folders are not followed, and what is hidden (``.git``) is left out.

    Raises
    ------
    UsageError
        More than `MOST_FILES`.
    """
    count = 0
    for place, folders, names in os.walk(folder):
        here = Path(place)
        if is_saved_model(here):
            folders.clear()
            found = [here]
        else:
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found = [here / name for name in sorted(names) if not name.startswith(".")]
        count += len(found)
        if count > MOST_FILES:
            raise UsageError(f"There are more than {MOST_FILES:,} files in {str(folder)!r}. Name fewer.")
        yield from found


def _check(data: bytes, path: str | None, name: str | None, budget: Budget) -> CheckReport:
    found: list[Finding] = []
    form = next((form.name for form in FORMATS if data and form.recognises(data)), None)
    facts = _guarded(lambda: _facts(data, form, budget), found) or Facts()
    network: Network | None = None
    verdict: Verdict = "opens whole"
    try:
        network = open_network(data, budget=budget)
    except FluoroscopeError as error:
        verdict = _verdict(error)
        found.append(_finding(error, "These bytes: "))
    # A file that trips over a fault of ours is one more thing to tell about it.
    except Exception as error:  # noqa: BLE001
        verdict = "not supported"
        found.append(_fault(error))
    contents = None
    if network is not None:
        contents = _guarded(lambda: _contents(network, name), found)
        found += _about(network, contents, budget)
        if any(layer.problem is not None for layer in network.layers):
            verdict = "opens in part"
    told = {finding.message for finding in found}
    found += [finding for finding in facts.findings if finding.message not in told]
    return CheckReport(
        path=path,
        verdict=verdict,
        kind=_kind(data, form),
        format=form,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        facts=facts,
        contents=contents,
        findings=_sorted(found),
        memory_budget=budget.memory,
        work_budget=budget.work,
    )


def _unread(path: str, error: FluoroscopeError, budget: Budget) -> CheckReport:
    """The report of a file of which no byte was read."""
    place = Path(path)
    folder = isinstance(error, RefusedFile) and is_saved_model(place)
    unread = not folder and not isinstance(error, BudgetExceeded)
    try:
        size = place.stat().st_size if place.is_file() else None
    except (OSError, ValueError):
        size = None
    return CheckReport(
        path=path,
        verdict="unreadable" if unread else _verdict(error),
        kind=SAVED_MODEL.label if folder else "a file" if size is not None else "no file",
        format=None,
        size=size,
        sha256=None,
        facts=Facts(),
        contents=None,
        findings=(_finding(error, f"{path!r}: "),),
        memory_budget=budget.memory,
        work_budget=budget.work,
    )


def _facts(data: bytes, form: str | None, budget: Budget) -> Facts:
    if form == "onnx":
        from fluoroscope.checking import onnx_facts

        return onnx_facts.facts(data)
    if form is not None:
        from fluoroscope.checking import keras_facts

        return keras_facts.facts(data, form, budget)
    return Facts()


def _contents(network: Network, name: str | None) -> Contents:
    from fluoroscope.network.summary import totals

    shapes = {layer.name: layer.shape for layer in network.layers}
    shapes |= {spec.name: spec.shape for spec in network.inputs}
    return Contents(
        name=name if name is not None and network.name == "network" else network.name,
        layers=len(network.layers),
        runnable=sum(layer.problem is None for layer in network.layers),
        parameters=totals(network),
        inputs=network.inputs,
        outputs=tuple((output, shapes.get(output, ())) for output in network.outputs),
        cost=network.cost() if isinstance(network, OnnxNetwork) else None,
    )


def _about(network: Network, contents: Contents | None, budget: Budget) -> Iterator[Finding]:
    """What is worth knowing of a network that opens."""
    yield from _not_run(network)
    for note in network.provenance.notes:
        yield Finding(level="warning" if note.startswith("NaN or infinite") else "note", message=note)
    cost = contents.cost if contents is not None else None
    if cost is not None and cost.work > budget.work:
        yield Finding(
            level="problem",
            message=f"Running all of it for one picture takes {cost.work:.1e} multiplications; the budget is "
            f"{budget.work:.1e}. Choose fewer layers, or raise it: budget=Budget(work=...).",
            error="BudgetExceeded",
        )
    if cost is not None and cost.memory > budget.memory:
        yield Finding(
            level="warning",
            message="The activations of all layers together are over the memory budget: they are taken a few "
            "layers at a time.",
        )


def _not_run(network: Network) -> Iterator[Finding]:
    """Layers that cannot be run by their own fault, and how many cannot because of them."""
    broken = {layer.name: layer for layer in network.layers if layer.problem is not None}
    behind = tuple(name for name, layer in broken.items() if any(taken in broken for taken in layer.inputs))
    reasons: dict[str, list[str]] = {}
    for name, layer in broken.items():
        if name not in behind:
            problem = layer.problem or ""
            reasons.setdefault(problem.partition(_CANNOT)[2] or problem, []).append(name)
    for reason, names in reasons.items():
        yield Finding(
            level=reason_level(reason), message=reason, layers=tuple(names), error="UnsupportedLayer"
        )
    if behind:
        yield Finding(
            level="problem",
            message="depends on what cannot be run" if len(behind) == 1 else "depend on what cannot be run",
            layers=behind,
            error="UnsupportedLayer",
        )


def _guarded(action: Callable[[], _T], found: list[Finding]) -> _T | None:
    """What `action` gives; where it fails nothing, and a finding."""
    try:
        return action()
    except FluoroscopeError as error:
        found.append(_finding(error, ""))
    except Exception as error:  # noqa: BLE001 - the report is to be had whatever is in the file
        found.append(_fault(error))
    return None


def _verdict(error: FluoroscopeError) -> Verdict:
    return next(verdict for kind, verdict in _VERDICTS if isinstance(error, kind))


def _finding(error: FluoroscopeError, label: str) -> Finding:
    return Finding(
        level="danger" if isinstance(error, RefusedFile) else "problem",
        message=str(error).removeprefix(label),
        error=type(error).__name__,
    )


def _fault(error: Exception) -> Finding:
    return Finding(
        level="problem",
        message=f"A fault of Fluoroscope, not of the file alone: {type(error).__name__}: {error}. Please "
        "report it.",
        error=type(error).__name__,
    )


def _kind(data: bytes, form: str | None) -> str:
    if form is not None:
        return _KINDS.get(form, form)
    if not data:
        return "an empty file"
    try:
        foreign = identify(data)
    except (NetworkError, BudgetExceeded):
        return "a zip archive"
    return foreign.label if foreign is not None else "an unknown file"


def _sorted(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """The worst first, none twice."""
    return tuple(sorted(dict.fromkeys(found), key=lambda finding: _LEVELS.index(finding.level)))
