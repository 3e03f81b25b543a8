"""A network opened as the options say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fluoroscope.errors import UsageError

if TYPE_CHECKING:
    from fluoroscope.network.budget import Budget
    from fluoroscope.network.protocol import Network


def open_model(
    model: str,
    *,
    config: str | None = None,
    replace: Sequence[str] | None = None,
    budget: Budget,
    threads: int = 0,
) -> Network:
    """The network at a path.

    Parameters
    ----------
    config, replace
        As --config and --replace have them.
    """
    from fluoroscope.formats import open_network
    from fluoroscope.formats.keras_replace import split_option

    wishes: dict[str, str] = {}
    for option in replace or ():
        layer, wish = split_option(option)
        if layer in wishes:
            raise UsageError(f"--replace {layer!r} is given twice: {wishes[layer]!r} and {wish!r}.")
        wishes[layer] = wish
    return open_network(model, config=config, replace=wishes, budget=budget, threads=threads)
