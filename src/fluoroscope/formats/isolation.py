"""Network files opened in a child process: what goes there, and what is done with it there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fluoroscope.formats import open_content
from fluoroscope.formats.file_bytes import open_file
from fluoroscope.formats.keras_additions import Additions
from fluoroscope.formats.keras_replace import Replacements
from fluoroscope.network.budget import Budget
from fluoroscope.network.protocol import Network
from fluoroscope.network.worker import Content, IsolatedNetwork, isolated

_FILE, _ARCHITECTURE = "file", "architecture"
"""What the network's file, and an architecture beside it, are called on their way."""


def open_isolated(
    data: bytes | None, path: str | None, budget: Budget, additions: Additions, options: Mapping[str, Any]
) -> IsolatedNetwork:
    """`open_network` with ``isolate=True``.

    Parameters
    ----------
    data, path
        The bytes of a file, or where it is.
    additions
        What is said beside it.
    options
        Those of `open_content`.
    """
    content: Content = data if data is not None else partial(open_file, Path(path or ""), budget)
    contents: dict[str, Content] = {_FILE: content}
    if additions.architecture is not None:
        contents[_ARCHITECTURE] = additions.architecture
    sent = {
        "path": path,
        "memory": budget.memory,
        "work": budget.work,
        "expansion": budget.expansion,
        "architecture": additions.architecture_name,
        "replacements": additions.replacements.plain(),
        "options": dict(options),
    }
    return isolated(
        f"{__name__}:open_there",
        contents,
        sent,
        path=path,
        budget=budget,
        # A driver opens devices and caches of its own.
        sandboxed=options.get("device", "cpu") == "cpu",
    )


def open_there(contents: Mapping[str, bytes], sent: Mapping[str, Any]) -> Network:
    """Open a network in the child process; its file is hashed by the parent."""
    budget = Budget(memory=sent["memory"], work=sent["work"], expansion=sent["expansion"])
    additions = Additions(
        architecture=contents.get(_ARCHITECTURE),
        architecture_name=sent["architecture"],
        replacements=Replacements.of_plain(sent["replacements"]),
    )
    return open_content(contents[_FILE], sent["path"], budget, additions, sha256="", **sent["options"])
