"""The weights of a nested model or a wrapper in an ``.h5`` file, which stores them as one flat list."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fluoroscope.errors import WeightMismatch
from fluoroscope.formats.keras.graph import TreePath
from fluoroscope.formats.keras.tree import LayerNode, ModelNode
from fluoroscope.formats.keras.variables import Array, Stored, Variable, contradicts, is_stray
from fluoroscope.formats.keras.weights import known_variables, layer_weights, leaves

_Entry = tuple[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    """A place in the list: variable number `number` of a layer."""

    path: TreePath
    layer: LayerNode
    number: int
    variable: Variable

    @property
    def trainable(self) -> bool:
        return self.layer.trainable and self.variable.trainable

    def refused(self, entry: _Entry) -> bool:
        return contradicts(entry[0], self.layer.kind, self.variable)

    def in_scope(self, entry: _Entry) -> bool:
        """Whether the array's name speaks of this layer, or of another try at it: ``conv_1/kernel``."""
        return re.search(rf"(^|/){re.escape(self.layer.name)}(_\d+)?(/|_[A-Za-z]+$)", entry[0]) is not None


def nested_weights(
    model: LayerNode | ModelNode,
    path: TreePath,
    label: str,
    stored: Stored,
    *,
    major: int,
    backend: str | None,
) -> dict[TreePath, dict[str, Array]]:
    """For each layer of a nested model or a wrapper, its weights by name.

    Keras goes by the order of the list alone: trainable weights of all layers, then the others. Which are
    trainable depends on layers and models that were frozen, and on what the version made of that. So the
    possible orders are tried on the names, which mostly tell what an array is. Where it is not known how many
    weights a layer has, the names have to tell everything.

    Raises
    ------
    WeightMismatch
        No order fits the names, or the number of arrays is another.
    """
    entries = [entry for entry in stored if not is_stray(entry[0])]
    below = list(leaves(model, path, label))
    if any(known_variables(layer, major) is None for _, _, layer in below):
        shares = _by_name(label, [(place, layer) for place, _, layer in below], entries, major)
    else:
        shares = _by_order(model, path, label, entries, major)
    return {
        place: layer_weights(layer, name, shares.get(place, []), major=major, backend=backend)
        for place, name, layer in below
    }


def _by_order(
    model: LayerNode | ModelNode, path: TreePath, label: str, entries: Sequence[_Entry], major: int
) -> dict[TreePath, list[_Entry]]:
    orders = _orders(model, path, major)
    if len(entries) != len(orders[0]):
        raise WeightMismatch(
            f"The layers of model {label[:80]!r} should have {len(orders[0])} weights; "
            f"the file has {len(entries)}."
        )
    pairings = [list(zip(order, entries, strict=True)) for order in orders]
    fitting = [pairing for pairing in pairings if not any(slot.refused(entry) for slot, entry in pairing)]
    if not fitting:
        slot, (name, _) = next((slot, entry) for slot, entry in pairings[0] if slot.refused(entry))
        raise WeightMismatch(
            f"Layer {slot.layer.name[:80]!r} of model {label[:80]!r} should have {slot.variable.name!r} "
            f"where the file has {name[:80]!r}."
        )
    # Of equals the first: the order of the version at hand.
    best = max(fitting, key=lambda pairing: sum(slot.in_scope(entry) for slot, entry in pairing))
    shares: dict[TreePath, list[_Entry]] = {}
    for slot, entry in sorted(best, key=lambda pair: pair[0].number):
        shares.setdefault(slot.path, []).append(entry)
    return shares


def _orders(model: LayerNode | ModelNode, path: TreePath, major: int) -> list[list[_Slot]]:
    """The orders that versions of Keras have used, this version's first."""
    trainable, others = _split(model, path, major)
    by_layer = [slot for place, _, layer in leaves(model, path) for slot in _slots(layer, place, major)]
    as_if_unfrozen = sorted(by_layer, key=lambda slot: not slot.variable.trainable)
    if major >= 3 and not model.trainable:
        return [by_layer, trainable + others, as_if_unfrozen]
    return [trainable + others, as_if_unfrozen, by_layer]


def _split(node: LayerNode | ModelNode, path: TreePath, major: int) -> tuple[list[_Slot], list[_Slot]]:
    """A node's trainable weights, and its others.

    Up to Keras 2 a frozen model has none of the former, whatever its layers say; since Keras 3 they decide.
    """
    parts = [_split(child, (*path, place), major) for place, child in enumerate(node.layers)]
    if isinstance(node, LayerNode):
        slots = _slots(node, path, major)
        own = [slot for slot in slots if slot.trainable], [slot for slot in slots if not slot.trainable]
        if not parts:
            return own
        parts.append(own)
    trainable = [slot for part, _ in parts for slot in part]
    others = [slot for _, part in parts for slot in part]
    return (trainable, others) if node.trainable or major >= 3 else ([], trainable + others)


def _slots(layer: LayerNode, path: TreePath, major: int) -> list[_Slot]:
    variables = known_variables(layer, major) or ()
    return [
        _Slot(path=path, layer=layer, number=number, variable=variable)
        for number, variable in enumerate(variables)
    ]


def _by_name(
    label: str, layers: Sequence[tuple[TreePath, LayerNode]], entries: Sequence[_Entry], major: int
) -> dict[TreePath, list[_Entry]]:
    """Each array to the layer that its name speaks of, the rest to the one of which nothing is known."""
    places: dict[str, list[TreePath]] = {}
    for place, layer in layers:
        places.setdefault(layer.name, []).append(place)
    unknown = [place for place, layer in layers if known_variables(layer, major) is None]
    shares: dict[TreePath, list[_Entry]] = {}
    for entry in entries:
        *scopes, _ = entry[0].split("/")
        found = next((places[scope] for scope in reversed(scopes) if scope in places), unknown)
        if len(found) != 1:
            raise WeightMismatch(
                f"It cannot be told which layer of model {label[:80]!r} has the array {entry[0][:80]!r}: the "
                "model has layers that only its author knows."
            )
        shares.setdefault(found[0], []).append(entry)
    return shares
