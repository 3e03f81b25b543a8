"""``fluoroscope check``: what a file is, and what opening it would come to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fluoroscope.cli.options import DebugOption, ExpansionOption, JsonOption, MemoryOption, WorkOption
from fluoroscope.cli.terminal import show_json

_CODES = (3, 5, 6, 0)
"""Exit codes, the worst first."""


def check(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Network files, or anything else; folders of them."),
    ],
    memory: MemoryOption = "2G",
    work: WorkOption = 1e13,
    expansion: ExpansionOption = 100,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Say what a file is, who wrote it, what it holds and what would be refused, without running it.

    Nothing in a file is executed, and no other file is opened. Layers that hold programs are listed with what
    their bytes hint at, and the cost of one run is held against the budget.

    The exit code is 0 when all files open whole, 6 when one opens in part (some layers cannot be run), 5 when
    one is over the budget, and 3 when one cannot be opened: refused as a program or for reaching outside
    itself, damaged, not supported, or no network. In a folder, files that are no networks do not
    count, unless they have the name or the beginning of one.
    """
    from fluoroscope import __version__
    from fluoroscope.checking import check as check_file
    from fluoroscope.cli.check_view import show_list, show_report
    from fluoroscope.cli.opening import NetworkOptions

    budget = NetworkOptions(memory=memory, work=work, expansion=expansion).budget
    paths, named = _paths(files)
    reports = [check_file(path, budget=budget) for path in paths]
    counting = [report for report in reports if report.path in named or report.of_network]
    found = {report.exit_code for report in counting}
    code = next((code for code in _CODES if code in found), 0)
    if json:
        told = [report.to_json() for report in reports]
        show_json({"files": told, "exit_code": code, "fluoroscope": __version__})
    elif len(reports) == 1:
        show_report(reports[0])
    else:
        show_list(counting, len(reports) - len(counting))
    raise typer.Exit(code)


def _paths(files: Sequence[str]) -> tuple[list[str], set[str]]:
    """All files to look at, and those of them that were named themselves."""
    from fluoroscope.checking import files_in, is_one

    paths: dict[str, None] = {}
    named: set[str] = set()
    for given in files:
        if is_one(Path(given)):
            paths[given] = None
            named.add(given)
        else:
            paths.update((str(path), None) for path in files_in(Path(given)))
    return list(paths), named
