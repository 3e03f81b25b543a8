"""Which layers are meant: by name, pattern, kind, number or range."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from operator import index
from typing import TYPE_CHECKING, SupportsIndex, cast, get_args

from fluoroscope.errors import FluoroscopeError, LayerNotFound, UnsupportedLayer, UsageError
from fluoroscope.network.protocol import Family

if TYPE_CHECKING:
    from fluoroscope.network.protocol import Layer, Network

Selection = str | int | slice | Iterable["str | int | slice"] | None
"""What `select` takes."""

PRE = ":pre"
"""Suffix of a layer's name that asks for the value before its fused activation."""

_FAMILIES = frozenset(get_args(Family))
_ASKED_FOR = ("input", "block")
"""Families of layers that are chosen only where they are asked for."""

_RANGE = re.compile(r"(-?\d+)?:(-?\d+)?(?::(-?\d+))?")


def select(network: Network, wanted: Selection = None) -> tuple[str, ...]:
    """Names of the layers meant, in network order, each once.

    Parameters
    ----------
    wanted
        One of these, or several (in a string, separated by commas):

        - None: every layer that can be shown, but not the inputs and blocks (modules that others are in);
        - ``"all"``: these as well;
        - a name (``"conv2d_2"``), or a pattern (``"block?_conv*"``);
        - a coarse kind (``"conv"``, ``"pool"``, ``"dense"``, ``"normalization"``...) or a class
          (``"Conv2D"``);
        - a number or range in the layer table, counted from 0 as ``model.layers`` is: ``3``, ``"1:18"``,
          ``slice(1, 18)``;
        - any of these behind ``!``: not these (a pattern or kind that excludes nothing is no error);
        - any of these before ``:pre``: the value before the fused activation, of the layers that have one.

    Raises
    ------
    LayerNotFound
        For what means no layer, with the nearest names.
    UsageError
        When nothing is left.
    UnsupportedLayer
        For None, where no layer can be run.
    """
    layers = network.layers
    order = {name: i for i, layer in enumerate(layers) for name in (layer.name + PRE, layer.name)}
    if wanted is None:
        shown = tuple(layer.name for layer in layers if layer.family not in _ASKED_FOR and showable(layer))
        if not shown:
            raise _nothing(network)
        return shown
    chosen: set[str] = set()
    excluded: set[str] = set()
    only_excluded = True
    terms = list(_terms(wanted, order))
    for term in terms:
        if isinstance(term, str) and term.startswith("!") and term not in order:
            excluded.update(_excluded(layers, term[1:]))
            continue
        chosen.update(_resolve(layers, term))
        only_excluded = False
    if terms and only_excluded:
        chosen.update(select(network))
    if not chosen - excluded:
        raise UsageError(f"{wanted!r} leaves no layer. `fluoroscope summary MODEL` lists them.")
    # Before the activation comes first; both have the number of their layer.
    return tuple(sorted(chosen - excluded, key=lambda name: (order[name], not name.endswith(PRE))))


def _nothing(network: Network) -> FluoroscopeError:
    """Why a network has no layer to show: the first that cannot be run, or there are inputs alone."""
    broken = [layer.problem for layer in network.layers if layer.problem is not None]
    if broken:
        return UnsupportedLayer(f"No layer of {network.name!r} can be run. {broken[0]}")
    return UsageError(f"{network.name!r} has no layers but its inputs. To see those: --layers all.")


def showable(layer: Layer) -> bool:
    """True for an output that can be run and drawn: a vector, or channels along one, two or three axes."""
    return layer.problem is None and 1 <= len(layer.shape) <= 4


def _terms(wanted: Selection, names: Container[str]) -> Iterable[str | int | slice]:
    if isinstance(wanted, str):
        # Keras writes no name with a comma in it; ONNX may.
        parts = [wanted] if wanted in names else wanted.split(",")
        yield from (term if term in names else term.strip() for term in parts if term.strip())
    elif isinstance(wanted, slice) or not isinstance(wanted, Iterable):
        yield _term(wanted)
    else:
        yield from map(_term, wanted)


def _term(term: object) -> str | int | slice:
    if isinstance(term, (str, slice)):
        return term
    try:
        return index(cast("SupportsIndex", term))
    except TypeError as error:
        raise UsageError(f"{term!r} is no name, number or range of layers.") from error


def _resolve(layers: Sequence[Layer], term: str | int | slice) -> list[str]:
    if isinstance(term, slice):
        if term.step == 0:
            raise UsageError(f"{term!r}: a range cannot go in steps of 0.")
        return [layer.name for layer in layers[term] if showable(layer)]
    if isinstance(term, int):
        return [_numbered(layers, term).name]
    names = {layer.name for layer in layers}
    if term in names:
        return [term]
    if term.endswith(PRE):
        inner = _resolve(layers, term.removesuffix(PRE))
        have = {layer.name for layer in layers if layer.has_pre}
        kept = [name + PRE for name in inner if name in have]
        if not kept:
            raise LayerNotFound(f"{term!r}: no such layer has a fused activation, so nothing before it.")
        return kept
    if term == "all":
        return [layer.name for layer in layers if showable(layer)]
    if re.fullmatch(r"-?\d+", term):
        return [_numbered(layers, int(term)).name]
    bounds = _RANGE.fullmatch(term)
    if bounds is not None:
        return _resolve(layers, slice(*(int(part) if part is not None else None for part in bounds.groups())))
    if term in _FAMILIES:
        found = [layer.name for layer in layers if layer.family == term]
    else:
        found = [layer.name for layer in layers if layer.kind == term]
    found = found or [layer.name for layer in layers if fnmatchcase(layer.name, term)]
    if not found:
        near = get_close_matches(term, [*names, *_FAMILIES, *{layer.kind for layer in layers}], n=2)
        hint = (
            f" Did you mean {' or '.join(map(repr, near))}?"
            if near
            else " `fluoroscope summary MODEL` lists them."
        )
        raise LayerNotFound(f"No layer is called {term!r}, and it is no kind or pattern of one.{hint}")
    usable = {layer.name for layer in layers if showable(layer)}
    return [name for name in found if name in usable] or found


def _excluded(layers: Sequence[Layer], term: str) -> list[str]:
    """As `_resolve`; a pattern or kind may mean nothing here, a name must mean something."""
    try:
        return _resolve(layers, term)
    except LayerNotFound:
        if term in _FAMILIES or any(sign in term for sign in "*?["):
            return []
        raise


def _numbered(layers: Sequence[Layer], number: int) -> Layer:
    if not -len(layers) <= number < len(layers):
        raise LayerNotFound(f"There is no layer {number}: they are numbered 0 to {len(layers) - 1}.")
    return layers[number]
