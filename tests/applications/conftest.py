"""A table of what was measured, at the end of the run."""

from __future__ import annotations

from typing import Any

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows: list[dict[str, Any]] = []
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            measured = dict(report.user_properties)
            if report.when == "call" and "network" in measured:
                rows.append(measured)
    if not rows:
        return
    terminalreporter.section("every layer against its framework, relative to the layer's scale")
    for row in sorted(rows, key=lambda row: -row.get("error", 0.0)):
        error, layer, seconds = row.get("error", float("nan")), row.get("worst", "?"), row.get("seconds", 0.0)
        terminalreporter.line(
            f"{row['network']:<28} {row.get('layers', 0):>5} layers  "
            f"worst {error:.1e} in {layer}  {seconds:.0f} s"
        )
