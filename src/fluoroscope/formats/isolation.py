"""Network files opened in a child process: what goes there, and what is done with it there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fluoroscope.formats import open_content
from fluoroscope.formats.file_bytes import open_file
from fluoroscope.formats.keras.additions import Additions
from fluoroscope.formats.keras.replace import Replacements
from fluoroscope.formats.onnx.external import open_external
from fluoroscope.network.budget import Budget
from fluoroscope.network.protocol import Network
from fluoroscope.network.worker import Content, IsolatedNetwork, isolated

_FILE, _ARCHITECTURE = "file", "architecture"
"""What the network's file, and an architecture beside it, are called on their way."""

_EXTERNAL = "external:"
"""What stands before the paths of further files."""


def open_isolated(
    data: bytes | None,
    path: str | None,
    budget: Budget,
    additions: Additions,
    options: Mapping[str, Any],
    external: Sequence[str | os.PathLike[str]] = (),
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
    external
        Paths of other files that hold its weights.
    """
    content: Content = data if data is not None else partial(open_file, Path(path or ""), budget)
    contents: dict[str, Content] = {_FILE: content}
    if additions.architecture is not None:
        contents[_ARCHITECTURE] = additions.architecture
    contents.update((_EXTERNAL + os.fspath(file), partial(open_external, file, budget)) for file in external)
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
        external={
            name.removeprefix(_EXTERNAL): content
            for name, content in contents.items()
            if name.startswith(_EXTERNAL)
        },
    )
    return open_content(contents[_FILE], sent["path"], budget, additions, sha256="", **sent["options"])
