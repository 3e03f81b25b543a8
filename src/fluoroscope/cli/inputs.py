"""Which input of a network gets which file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fluoroscope.errors import UsageError

if TYPE_CHECKING:
    from fluoroscope.network.protocol import Network


def parse_inputs(options: Sequence[str] | None) -> dict[str, str]:
    """``["left=a.png", "right=b.png"]`` as input -> path.

    Raises
    ------
    UsageError
        Something else than NAME=PATH, or a name twice.
    """
    named: dict[str, str] = {}
    for option in options or ():
        name, mark, path = option.partition("=")
        if not (mark and name and path):
            raise UsageError(f"--input {option!r}: it is NAME=PATH, such as --input left=picture.png.")
        if name in named:
            raise UsageError(f"--input {name!r} is given twice: {named[name]!r} and {path!r}.")
        named[name] = path
    return named


def files_of(network: Network, named: Mapping[str, str], picture: str | None) -> dict[str, str]:
    """Input -> path, of all inputs that anything is given.

    Parameters
    ----------
    named
        As `parse_inputs` has them.
    picture
        For the one input that is not named; None where all are.

    Raises
    ------
    UsageError
        A picture for which no input is left, or several.
    """
    if picture is None:
        return dict(named)
    left = [spec.name for spec in network.inputs if spec.name not in named]
    if len(left) == 1:
        return {**named, left[0]: picture}
    if not left:
        raise UsageError(
            f"All inputs of {network.name!r} are named by --input, so that nothing is left for {picture!r}. "
            "Leave one of the two out."
        )
    names = " ".join(f"--input {name}=PATH" for name in left)
    raise UsageError(
        f"{network.name!r} has several inputs, and {picture!r} could be for any of "
        f"{', '.join(map(repr, left))}. Say which: {names}"
    )
