"""What a check finds out about a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from fluoroscope.formats import FORMATS
from fluoroscope.formats.foreign import PLAIN_PROGRAMS
from fluoroscope.network.cost import Cost
from fluoroscope.network.protocol import InputSpec

Verdict = Literal[
    "opens whole", "opens in part", "refused", "damaged", "not supported", "over budget", "no network",
    "unreadable",
]  # fmt: skip
"""What opening a file would come to.

``opens in part``: some of its layers cannot be run. ``refused``: a program, or it reaches outside itself.
``not supported``: a network that cannot be opened here. ``no network``: something else. ``unreadable``: not
there, no regular file, or no permission.
"""

Level = Literal["danger", "problem", "warning", "note"]
"""``danger``: code, or a way out of the file. ``problem``: cannot be opened or run. ``warning``: opens, but
look at it. ``note``: worth knowing."""

EXIT_CODES: dict[Verdict, int] = {
    "opens whole": 0,
    "opens in part": 6,
    "refused": 3,
    "damaged": 3,
    "not supported": 3,
    "no network": 3,
    "unreadable": 3,
    "over budget": 5,
}
"""What the command line ends with: as opening the file would, and 6 where it opens in part."""


_NEVER_RUN = "never run"
"""Stands in the reason of every layer that holds or calls a program."""


def reason_level(reason: str) -> Level:
    """How bad a reason is for which a layer cannot be run."""
    return "danger" if _NEVER_RUN in reason else "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing worth knowing of a file.

    Attributes
    ----------
    level
        How bad it is.
    message
        What was found, and what to do about it.
    layers
        The layers it is about.
    error
        The class of `fluoroscope.errors` that opening raises for it; None where it does not keep the file
        from opening.
    """

    level: Level
    message: str
    layers: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightGroup:
    """All weights of one type, as they are stored.

    Attributes
    ----------
    dtype
        NumPy's name for it, or ``bfloat16``.
    arrays, parameters, bytes
        How many there are, numbers in them, and room that they take unpacked.
    """

    dtype: str
    arrays: int
    parameters: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a file says of itself, as far as it could be read; whatever opening it comes to.

    Attributes
    ----------
    writer
        What wrote it: ``Keras 2.0.5``, ``pytorch 2.3``.
    backend
        ``tensorflow``, ``theano``, ``jax``...
    date
        When it was written.
    opsets
        ONNX operator sets by domain; the standard one is ``ai.onnx``.
    ir_version
        Of the ONNX file format.
    kinds
        Layers by class, or nodes by operator.
    weights
        By type.
    optimizer_bytes
        Of an optimizer's state, which is not read.
    findings
        What it holds that is not run or followed.
    """

    writer: str | None = None
    backend: str | None = None
    date: str | None = None
    opsets: dict[str, int] = field(default_factory=dict[str, int])
    ir_version: int | None = None
    kinds: dict[str, int] = field(default_factory=dict[str, int])
    weights: tuple[WeightGroup, ...] = ()
    optimizer_bytes: int = 0
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is in a network that opens.

    Attributes
    ----------
    name
        Of the network.
    layers
        How many.
    runnable
        How many of them can be run.
    parameters
        ``total``, ``trainable``, ``non_trainable``.
    inputs
        Shapes without batch, channels last; None for a size left open.
    outputs
        Name and shape.
    cost
        Of one run of all layers for one picture; None where it depends on the picture's size.
    """

    name: str
    layers: int
    runnable: int
    parameters: dict[str, int]
    inputs: tuple[InputSpec, ...]
    outputs: tuple[tuple[str, tuple[int | None, ...]], ...]
    cost: Cost | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What a file is, what it holds, and what opening it would come to.

    Attributes
    ----------
    path
        As given; None for bytes.
    kind
        What the file is, in words: ``Keras model in HDF5``, ``a Python pickle``.
    format
        As in `Provenance.format`; None for what is no known network format.
    size, sha256
        Of the file's bytes; None where they could not be read.
    facts
        What it says of itself.
    contents
        What is in it; None where it does not open.
    findings
        The worst first.
    memory_budget, work_budget
        What it was held against, in bytes and multiplications.
    """

    path: str | None
    verdict: Verdict
    kind: str
    format: str | None
    size: int | None
    sha256: str | None
    facts: Facts
    contents: Contents | None
    findings: tuple[Finding, ...]
    memory_budget: int
    work_budget: int

    @property
    def exit_code(self) -> int:
        """Of ``fluoroscope check``."""
        return EXIT_CODES[self.verdict]

    @property
    def of_network(self) -> bool:
        """Whether the file is a network or passes for one, by its content or its name.

        So does a program that networks are stored as, such as a pickle; a script beside networks does not.
        """
        suffixes = [suffix for form in FORMATS for suffix in form.suffixes]
        if self.format is not None or (self.path or "").lower().endswith(tuple(suffixes)):
            return True
        return self.verdict != "no network" and self.kind not in PLAIN_PROGRAMS

    def to_json(self) -> dict[str, Any]:
        """For machines; ``docs/cli.md`` says what each entry means."""
        facts, contents = self.facts, self.contents
        return {
            "path": self.path,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "kind": self.kind,
            "format": self.format,
            "size": self.size,
            "sha256": self.sha256,
            "writer": facts.writer,
            "backend": facts.backend,
            "date": facts.date,
            "opsets": [{"domain": domain, "version": version} for domain, version in facts.opsets.items()],
            "ir_version": facts.ir_version,
            "kinds": [{"kind": kind, "count": count} for kind, count in facts.kinds.items()],
            "weights": [asdict(group) for group in facts.weights],
            "optimizer_bytes": facts.optimizer_bytes,
            "contents": None
            if contents is None
            else {
                "name": contents.name,
                "layers": contents.layers,
                "runnable": contents.runnable,
                "parameters": contents.parameters,
                "inputs": [asdict(spec) | {"shape": list(spec.shape)} for spec in contents.inputs],
                "outputs": [{"name": name, "shape": list(shape)} for name, shape in contents.outputs],
            },
            "run": None
            if contents is None or contents.cost is None
            else {"memory": contents.cost.memory, "multiplications": contents.cost.work},
            "budget": {"memory": self.memory_budget, "multiplications": self.work_budget},
            "findings": [asdict(finding) | {"layers": list(finding.layers)} for finding in self.findings],
        }
