"""What reading a stranger's file may cost, whatever the file declares."""

from __future__ import annotations

from dataclasses import dataclass

from fluoroscope.network.budget import Budget

MIB = 2**20
GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds checked before the memory or the time is spent.

    The largest published networks stay below a tenth of each (`weights` aside, which a user can raise), and a
    file made to be slow still ends within seconds.

    Attributes
    ----------
    weights
        Bytes of all weights together, unpacked.
    config
        Bytes of the JSON text that describes the architecture.
    depth
        Levels of nesting in that JSON.
    layers
        Layers, those of nested models included.
    calls
        Calls of layers after nested models are unfolded: a model that calls a model twice that calls a model
        twice grows by powers of two.
    name
        Characters of a layer's name or of a name in an HDF5 group.
    metadata
        Bytes that reading the structure of an HDF5 file may touch; blocks read twice count twice.
    steps
        Small reads and messages of the same, about 3 microseconds each.
    directory
        Bytes of a zip archive's central directory.
    members
        Members of a zip archive.
    expansion
        How many times its stored size compressed data may grow to, once it is over `expanded`.
    expanded
        Bytes up to which no ratio is suspicious: a layer of zeros compresses a thousandfold.
    """

    weights: int = 2 * GIB
    config: int = 16 * MIB
    depth: int = 256
    layers: int = 10_000
    calls: int = 50_000
    name: int = 1_024
    metadata: int = 64 * MIB
    steps: int = 1_000_000
    directory: int = MIB
    members: int = 1_000
    expansion: int = 100
    expanded: int = 64 * MIB

    @classmethod
    def within(cls, budget: Budget) -> Limits:
        """The bounds that a budget sets."""
        return cls(weights=budget.memory, expansion=budget.expansion)
