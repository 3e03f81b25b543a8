"""From what was saved to the weights of one network: wrappers, prefixes, and every weight accounted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from fluoroscope.errors import UnknownFormat, WeightMismatch
from fluoroscope.formats.state_dict.stored import StoredTensor

Tensors = Mapping[str, StoredTensor]
Shapes = Mapping[str, tuple[int, ...]]

_WRAPPERS = (
    "state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params", "model_state",
    "state_dict_ema", "model_ema", "ema", "teacher", "student",
)  # fmt: skip
"""Keys under which training scripts save the weights beside other things, the usual ones first."""

_LISTED = 5


def weights_in(tree: Any) -> tuple[Tensors, tuple[str, ...]]:
    """The weights in what was saved, and what is to be said of where they were.

    Raises
    ------
    UnknownFormat
        There are none.
    """
    if isinstance(tree, StoredTensor) or not isinstance(tree, dict):
        raise UnknownFormat("It holds no state dict. Save one: torch.save(model.state_dict(), path).")
    own = _tensors(tree)
    if own:
        return own, ()
    tree = cast("dict[Any, Any]", tree)
    found = [key for key in (*_WRAPPERS, *tree) if isinstance(tree.get(key), dict) and _tensors(tree[key])]
    if not found:
        raise UnknownFormat("It holds no weights. Save them: torch.save(model.state_dict(), path).")
    chosen = found[0]
    others = [str(key)[:40] for key in tree if key != chosen]
    note = f"weights taken from {chosen!r} of the file"
    return _tensors(tree[chosen]), (f"{note}; beside it: {', '.join(others[:8])}" if others else note,)


def _tensors(tree: Any) -> dict[str, StoredTensor]:
    """The tensors of a dict; none of one that holds other things besides numbers."""
    entries = cast("dict[Any, Any]", tree).items()
    tensors = {str(key): value for key, value in entries if isinstance(value, StoredTensor)}
    other = any(isinstance(value, (dict, list)) and value for _, value in entries)
    return {} if other else tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """Weights by the names that a network has for them.

    Attributes
    ----------
    weights
        Name in the network -> tensor.
    missing
        Names that the file has nothing for.
    unexpected
        Names in the file that the network has no place for.
    shapes
        Name -> shape in the file and in the network, where they differ.
    prefix
        What the file's names have before those of the network.
    """

    weights: Tensors
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    prefix: str

    def check(self, network: str) -> None:
        """Raise `WeightMismatch` with all that does not fit."""
        wrong = [
            f"{name} is {list(given)} in the file and {list(wanted)} in the network"
            for name, (given, wanted) in self.shapes.items()
        ]
        parts = [
            *([f"{len(self.missing)} missing: {_listed(self.missing)}"] if self.missing else []),
            *([f"{len(self.unexpected)} unexpected: {_listed(self.unexpected)}"] if self.unexpected else []),
            *([f"{len(wrong)} of another shape: {_listed(wrong)}"] if wrong else []),
        ]
        if parts:
            raise WeightMismatch(
                f"The weights are not those of {network}. {'; '.join(parts)}. Is it the architecture that "
                "they were "
                "trained with?"
            )


def matched(given: Tensors, wanted: Shapes) -> Matched:
    """The tensors of a file for the weights of a network.

    The prefix that the file's names have (``module.`` of DataParallel, ``model.`` of Lightning) is the one
    without which most of them are the network's. ``num_batches_tracked``, which PyTorch wrote only from 0.4.1
    on and which has no meaning but in training, may be missing.
    """
    prefix = _prefix(given, wanted)
    named = {name.removeprefix(prefix): tensor for name, tensor in given.items() if name.startswith(prefix)}
    unexpected = [name for name in named if name not in wanted]
    unexpected += [name for name in given if not name.startswith(prefix)]
    shapes = {
        name: (named[name].shape, shape)
        for name, shape in wanted.items()
        if name in named and named[name].shape != shape
    }
    return Matched(
        weights={name: named[name] for name in wanted if name in named and name not in shapes},
        missing=tuple(n for n in wanted if n not in named and not n.endswith("num_batches_tracked")),
        unexpected=tuple(unexpected),
        shapes=shapes,
        prefix=prefix,
    )


def _prefix(given: Iterable[str], wanted: Shapes) -> str:
    counts = Counter(prefix for name in given for prefix in _prefixes(name, wanted))
    return max(counts, key=lambda prefix: (counts[prefix], -len(prefix)), default="")


def _prefixes(name: str, wanted: Shapes) -> Iterator[str]:
    """Beginnings of a name, up to a dot, without which it is one of the network's."""
    at = 0
    while True:
        if name[at:] in wanted:
            yield name[:at]
        at = name.find(".", at) + 1
        if at == 0:
            return


def _listed(names: Iterable[str]) -> str:
    names = [name[:160] for name in names]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
