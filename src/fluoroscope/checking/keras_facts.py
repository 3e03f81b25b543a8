"""What a Keras file says of itself, read part by part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

from fluoroscope.checking.report import Facts, Finding, WeightGroup, reason_level
from fluoroscope.errors import DamagedFile, FluoroscopeError, RefusedFile
from fluoroscope.formats.hdf5.file import Dataset, Hdf5File
from fluoroscope.formats.keras import zip as keras_zip
from fluoroscope.formats.keras.config import keras_major, read_config
from fluoroscope.formats.keras.hdf5 import version_of
from fluoroscope.formats.keras.json import JsonObject, parse
from fluoroscope.formats.limits import Limits
from fluoroscope.network.budget import Budget

_OPTIMIZERS = ("optimizer_weights/", "optimizer/", "_optimizer/")
_LONGEST = 80


@dataclass(slots=True)
class _Said:
    """What was gathered so far."""

    config: JsonObject | None = None
    writer: str | None = None
    backend: str | None = None
    date: str | None = None
    datasets: dict[str, Dataset] = field(default_factory=dict[str, Dataset])
    findings: list[Finding] = field(default_factory=list[Finding])

    def attempt(self, action: Callable[[], None]) -> None:
        """Do it as far as it goes; of what fails, what reaches outside the file is kept."""
        try:
            action()
        except RefusedFile as error:
            self.findings.append(Finding(level="danger", message=str(error), error="RefusedFile"))
        except FluoroscopeError:
            # Opening the file says the same.
            return


def facts(data: bytes, form: str, budget: Budget) -> Facts:
    """What a file of the format `form` says, whatever of it is damaged.

    Never raises a `FluoroscopeError`.
    """
    limits = Limits.within(budget)
    said = _Said()
    if form == "keras-archive":
        said.attempt(lambda: _archive(said, data, limits))
    else:
        said.attempt(lambda: _file(said, Hdf5File(data, limits), limits))
    kinds: Counter[str] = Counter()
    said.attempt(lambda: _layers(said, kinds, limits))
    weights = {name: one for name, one in said.datasets.items() if not name.startswith(_OPTIMIZERS)}
    return Facts(
        writer=f"Keras {said.writer[:_LONGEST]}" if said.writer else None,
        backend=said.backend[:_LONGEST] if said.backend else None,
        date=said.date[:_LONGEST] if said.date else None,
        kinds=dict(kinds.most_common()),
        weights=_groups(weights.values()),
        optimizer_bytes=sum(one.size for name, one in said.datasets.items() if name not in weights),
        findings=tuple(said.findings),
    )


def _archive(said: _Said, data: bytes, limits: Limits) -> None:
    archive = keras_zip.Archive(data, limits)

    def member(name: str) -> JsonObject:
        content = archive.read(name, limit=limits.config)
        return parse(str(content, "utf-8", "replace"), what=f"Its member {name!r}", limits=limits)

    def metadata() -> None:
        told = member("metadata.json")
        said.writer, said.date = _text(told.get("keras_version")), _text(told.get("date_saved"))

    def config() -> None:
        said.config = member("config.json")

    def weights() -> None:
        content = archive.read("model.weights.h5", limit=max(limits.weights, len(data)))
        said.datasets = Hdf5File(content, limits).datasets()

    for action in (metadata, config, weights):
        said.attempt(action)


def _file(said: _Said, file: Hdf5File, limits: Limits) -> None:
    attributes = {**file.attributes("model_weights"), **file.attributes()}
    said.writer, said.backend = _text(attributes.get("keras_version")), _text(attributes.get("backend"))
    text = _text(attributes.get("model_config"))

    def config() -> None:
        if text is not None:
            said.config = parse(text, what="Its model_config", limits=limits)

    def weights() -> None:
        said.datasets = file.datasets()

    for action in (config, weights):
        said.attempt(action)


def _layers(said: _Said, kinds: Counter[str], limits: Limits) -> None:
    """Count the layers; tell which of them hold programs, and what hints there are."""
    if said.config is None:
        return
    major, _ = version_of(said.writer) or (keras_major(said.config), 0)
    try:
        root, _ = read_config(said.config, major=major, limits=limits)
    except RecursionError as error:
        raise DamagedFile("Its models are nested too deeply.") from error
    for leaf in root.leaves():
        kinds[leaf.kind[:_LONGEST]] += 1
        if leaf.problem is not None:
            level = reason_level(leaf.problem)
            said.findings.append(Finding(level=level, message=leaf.problem, layers=(leaf.name,)))


def _groups(datasets: Iterable[Dataset]) -> tuple[WeightGroup, ...]:
    groups: dict[str, list[Dataset]] = {}
    for one in datasets:
        groups.setdefault("bfloat16" if one.bfloat16 else one.dtype.name, []).append(one)
    return tuple(
        WeightGroup(
            dtype=dtype,
            arrays=len(group),
            parameters=sum(prod(one.shape) for one in group),
            bytes=sum(one.size for one in group),
        )
        for dtype, group in groups.items()
    )


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value) if isinstance(value, str) and value else None
