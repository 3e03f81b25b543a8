"""How what was found out about files is shown in a terminal, or printed in a pipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fluoroscope.cli.terminal import console, show
from fluoroscope.output.typography import counted, speakable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from fluoroscope.checking import CheckReport, Finding

_NAME = 80
_MESSAGE = 700
_LAYERS = 6
_KINDS = 7
_METER = 16

_COLOURS: Mapping[str, str] = {
    "opens whole": "green",
    "opens in part": "yellow",
    "no network": "bright_black",
    "over budget": "magenta",
}
"""Of a verdict; the others are red."""

_MARKS: Mapping[str, str] = {"opens whole": "✓", "opens in part": "◐", "no network": "·"}
"""Of a verdict; the others are crossed."""

_LEVELS: Mapping[str, str] = {"danger": "bold red", "problem": "red", "warning": "yellow", "note": "cyan"}
_PALETTE = ("cyan", "magenta", "yellow", "green", "blue", "red", "bright_cyan", "bright_black")


def show_report(report: CheckReport) -> None:
    """One file: a box in the colour of the verdict, or plain lines in a pipe."""
    from rich import box
    from rich.panel import Panel
    from rich.text import Text

    name = Text(speakable(report.path or "bytes", _NAME), style="bold")
    verdict = _verdict(report)
    body = _body(report)
    if not console().is_terminal:
        show(Text(f"{name.plain}: {report.verdict}"), body)
        return
    show(
        Panel(
            body,
            title=Text.assemble(" ", name, " "),
            subtitle=Text.assemble(" ", verdict, " "),
            title_align="left",
            subtitle_align="right",
            border_style=_COLOURS.get(report.verdict, "red"),
            box=box.ROUNDED,
            padding=(1, 1),
        )
    )


def _body(report: CheckReport) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in _rows(report):
        grid.add_row(label, value)
    parts: list[RenderableType] = [grid]
    if report.findings:
        parts += [Text(), _findings(report.findings)]
    return Group(*parts)


def _rows(report: CheckReport) -> list[tuple[str, Text]]:
    """Label and value, for all that is known."""
    from rich.text import Text

    from fluoroscope.network.budget import human_bytes
    from fluoroscope.network.summary import shape_text

    facts, contents = report.facts, report.contents
    size = "" if report.size is None else f", {human_bytes(report.size)}"
    rows = [("what", Text(speakable(report.kind, _NAME), style="bold").append(size, style="not bold"))]
    by = [speakable(facts.writer, _NAME)] if facts.writer else []
    by += [f"on {speakable(facts.backend, _NAME)}"] if facts.backend else []
    by += [speakable(facts.date, _NAME)] if facts.date else []
    by += [
        f"operator set {version} of {speakable(domain, _NAME)}" for domain, version in facts.opsets.items()
    ]
    if by:
        rows.append(("written", Text(", ".join(by))))
    if report.sha256:
        rows.append(("sha256", Text(report.sha256, style="dim")))
    if contents is not None:
        for label, pairs in (
            ("takes", [(spec.name, spec.shape) for spec in contents.inputs]),
            ("gives", contents.outputs),
        ):
            texts = [f"{speakable(name, _NAME)} ({shape_text(shape)})" for name, shape in pairs[:_LAYERS]]
            more = f" and {len(pairs) - _LAYERS} more" if len(pairs) > _LAYERS else ""
            rows.append((label, Text(", ".join(texts) + more)))
    if facts.kinds:
        rows.append(("nodes" if facts.opsets else "layers", _kinds(facts.kinds)))
    if contents is not None and contents.runnable < contents.layers:
        rows.append(
            ("can be run", Text(f"{contents.runnable:,} of {counted(contents.layers, 'layer')}", "yellow"))
        )
    for group in facts.weights:
        arrays = counted(group.arrays, "array")
        text = f"{group.parameters:,} {speakable(group.dtype)} in {arrays}, {human_bytes(group.bytes)}"
        rows.append(("weights" if group is facts.weights[0] else "", Text(text)))
    if facts.optimizer_bytes:
        rows.append(("optimizer", Text(f"{human_bytes(facts.optimizer_bytes)}, not read")))
    if contents is not None and contents.cost is not None:
        cost = contents.cost
        memory = f"{human_bytes(cost.memory)} of {human_bytes(report.memory_budget)} memory"
        work = f"{_amount(cost.work)} of {_amount(report.work_budget)} multiplications"
        rows.append(("one run", _meter(cost.memory / report.memory_budget, memory)))
        rows.append(("", _meter(cost.work / report.work_budget, work)))
    return rows


def _amount(count: int) -> str:
    """``238 million``."""
    words = ((10**12, " trillion"), (10**9, " billion"), (10**6, " million"), (1, ""))
    unit, word = next((one for one in words if count >= one[0]), words[-1])
    return f"{count / unit:,.4g}{word}" if unit > 1 else f"{count:,}"


def _meter(share: float, words: str) -> Text:
    """How much of a budget is taken, as a bar where there is a terminal."""
    from rich.text import Text

    if not console().is_terminal:
        return Text(words)
    full = min(_METER, max(1, round(share * _METER)))
    colour = "red" if share > 1 else "yellow" if share > 0.5 else "green"
    return Text.assemble(("━" * full, colour), ("━" * (_METER - full), "bright_black"), f"  {words}")


def _kinds(kinds: Mapping[str, int]) -> Text:
    """How many layers there are of each kind: as a row of coloured squares, then in words."""
    from rich.text import Text

    total = sum(kinds.values())
    shown = list(kinds.items())[:_KINDS]
    rest = total - sum(count for _, count in shown)
    shown += [("others", rest)] if rest else []
    text = Text(f"{total:,}", style="bold")
    if console().is_terminal:
        text.append("  ")
        scale = min(1.0, 32 / total)
        for (_, count), colour in zip(shown, _PALETTE, strict=False):
            text.append("■" * max(1, round(count * scale)), style=f"not bold {colour}")
        text.append("\n")
    else:
        text.append(": ")
    for place, ((kind, count), colour) in enumerate(zip(shown, _PALETTE, strict=False)):
        # A number is not parted from its word at the end of a line.
        text.append((", " if place else "") + f"{count:,}\N{NO-BREAK SPACE}", style="not bold")
        text.append(speakable(kind, _NAME), style=f"not bold {colour}")
    return text


def _findings(findings: Sequence[Finding]) -> Table:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in findings:
        text = Text()
        if finding.layers:
            names = ", ".join(speakable(name, _NAME) for name in finding.layers[:_LAYERS])
            rest = len(finding.layers) - _LAYERS
            text.append(names + (f" and {rest} more" if rest > 0 else ""), style="bold").append(" ")
        text.append(speakable(finding.message, _MESSAGE))
        grid.add_row(Text(finding.level, style=_LEVELS[finding.level]), text)
    return grid


def show_list(reports: Sequence[CheckReport], others: int) -> None:
    """Several files: a line or two each, what is worst about them beneath, then the sums."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for report in reports:
        text = Text(speakable(report.path or "", 2 * _NAME), style="bold")
        text.append(f"\n{_in_short(report)}", style="not bold dim")
        if report.verdict != "opens whole" and report.findings:
            worst = report.findings[0]
            layers = f"{speakable(worst.layers[0], _NAME)} " if worst.layers else ""
            # The first sentence says what it is, the others what to do, which the report of one file tells.
            message = worst.message.partition(". ")[0]
            text.append(f"\n{layers}{speakable(message, 300)}", style=f"{_LEVELS[worst.level]} not bold")
        grid.add_row(_verdict(report), text)
    verdicts = Counter(report.verdict for report in reports)
    words = ", ".join(f"{verdict} {count:,}" for verdict, count in verdicts.most_common())
    total = f"{counted(len(reports), 'file')}: {words}" if reports else "no networks"
    rest = f"; {counted(others, 'other file')} in the folders, no networks" if others else ""
    show(grid, Text(), Text(total + rest, style="bold"))


def _in_short(report: CheckReport) -> str:
    from fluoroscope.network.budget import human_bytes

    parts = [speakable(report.kind, _NAME)]
    if report.contents is not None:
        parts.append(f"{report.contents.parameters['total']:,} parameters")
    if report.size is not None:
        parts.append(human_bytes(report.size))
    return ", ".join(parts)


def _verdict(report: CheckReport) -> Text:
    from rich.text import Text

    mark = _MARKS.get(report.verdict, "✗")
    return Text(f"{mark} {report.verdict}", style=f"bold {_COLOURS.get(report.verdict, 'red')}", no_wrap=True)
