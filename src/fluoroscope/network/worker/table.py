"""What a network says of itself, read from a message that is not trusted."""

from __future__ import annotations

from dataclasses import dataclass

from fluoroscope.network.protocol import InputSpec, Layer, Provenance
from fluoroscope.network.worker.records import Malformed, decode


@dataclass(frozen=True, slots=True)
class Table:
    """Name, inputs, outputs, layers and provenance of a network, as its protocol has them."""

    name: str
    inputs: tuple[InputSpec, ...]
    outputs: tuple[str, ...]
    layers: tuple[Layer, ...]
    provenance: Provenance


def read_table(value: object) -> Table:
    """The table in a message.

    Raises
    ------
    Malformed
        It is none, or contradicts itself.
    """
    table = decode(Table, value, "the network")
    names = {layer.name for layer in table.layers}
    if len(names) < len(table.layers):
        raise Malformed("two layers have one name")
    if not table.inputs or len({spec.name for spec in table.inputs}) < len(table.inputs):
        raise Malformed("inputs without names of their own")
    sizes = (*(spec.shape for spec in table.inputs), *(layer.shape for layer in table.layers))
    if any(size is not None and size < 0 for shape in sizes for size in shape):
        raise Malformed("a shape of negative size")
    return table
