"""The `Network` protocol over a child process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from fluoroscope.errors import UnsupportedLayer
from fluoroscope.network.budget import Budget, activation_bytes
from fluoroscope.network.protocol import FloatArray, InputSpec, Layer, Provenance
from fluoroscope.network.requests import named_arrays, no_such_layer, nothing_before
from fluoroscope.network.selection import PRE
from fluoroscope.network.summary import summary_html, summary_text
from fluoroscope.network.worker.contents import Content
from fluoroscope.network.worker.line import Line
from fluoroscope.network.worker.table import Table

__all__ = ["Content", "IsolatedNetwork", "isolated"]


def isolated(
    opener: str,
    contents: Mapping[str, Content],
    options: Mapping[str, Any],
    *,
    path: str | None,
    budget: Budget | None = None,
    sandboxed: bool = True,
) -> IsolatedNetwork:
    """Open a network in a child process of its own.

    Parameters
    ----------
    opener
        ``module:function``: what opens it, imported there and called with the contents (bytes by name) and
        the options. It gives a `Network`. A name, because this package lies below those that can open files.
    contents
        What it is opened from, by names that the opener knows. The first is the network's file.
    options
        As JSON has them.
    path
        Of the file, for its provenance and messages; None for bytes.
    budget
        Limits: the process may use three times its memory, the size of the contents and 512 MiB; each call
        its seconds.
    sandboxed
        Whether files are closed to it, where the system can do that.

    Raises
    ------
    WorkerFailed
        The process did not start, crashed, hung, or took too much memory.
    FluoroscopeError
        Any other that the opener raised there.
    """
    label = repr(path) if path is not None else "the network"
    budget = budget or Budget()
    line = Line(opener, contents, options, label=label, budget=budget, sandboxed=sandboxed)
    try:
        table, digests = line.open()
    except BaseException:
        line.close()
        raise
    # What it says of the file is its word; hash and size are ours.
    digest = next(iter(digests.values()))
    origin = replace(table.provenance, path=path, sha256=digest.sha256, size=digest.size)
    return IsolatedNetwork(line, table, origin)


class IsolatedNetwork:
    """A `Network` (see the protocol) that is open in a child process.

    Every call is limited in time and memory; one that fails raises `WorkerFailed`, and the next starts a new
    process and opens the file there again. Threads may share it: their calls are taken one after the other.
    As a context manager it ends the process; so does letting go of it.
    """

    def __init__(self, line: Line, table: Table, provenance: Provenance, size: tuple[int, int] | None = None):
        self._line = line
        self._table = table
        self._provenance = provenance
        self._size = size
        self._rows = {layer.name: layer for layer in table.layers}
        self._sized: IsolatedNetwork | None = None

    @property
    def name(self) -> str:
        return self._table.name

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        return self._table.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        return self._table.outputs

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self._table.layers

    @property
    def provenance(self) -> Provenance:
        return self._provenance

    @property
    def budget(self) -> Budget:
        """The limits it was opened with."""
        return self._line.budget

    @property
    def pid(self) -> int | None:
        """Of its process; None when there is none at the moment."""
        return self._line.pid

    def __repr__(self) -> str:
        return (
            f"<IsolatedNetwork {self.name!r}: {len(self.layers)} layers, from {self.provenance.format}, "
            f"in process {self.pid}>"
        )

    def summary(self) -> str:
        """The layer table as text, as Keras prints it, with receptive fields."""
        return summary_text(self)

    def _repr_html_(self) -> str:
        return summary_html(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process. Activations that were captured stay; running it again is an error."""
        self._line.close()

    def cancel(self) -> None:
        """Stop what is running, from another thread: the call raises `WorkerFailed`, the next one works."""
        self._line.cancel()

    def at_size(self, height: int, width: int) -> IsolatedNetwork:
        """The same network for pictures of another size, in the same process; see `Network.at_size`."""
        if self.inputs[0].shape[:2] == (height, width):
            return self
        if self._sized is None or self._sized._size != (height, width):
            table = self._line.sized(height, width)
            self._sized = IsolatedNetwork(self._line, table, self._provenance, (height, width))
        return self._sized

    def run(
        self, batch: FloatArray | Mapping[str, FloatArray], names: Sequence[str]
    ) -> dict[str, FloatArray]:
        """Values of the layers called `names` for a batch; see `Network.run`.

        The arrays lie in memory that the process has written to and could write to again: it is shared, not
        copied, above a megabyte.

        Raises
        ------
        WorkerFailed
            Besides those of the protocol.
        """
        names = [names] if isinstance(names, str) else list(dict.fromkeys(names))
        arrays = named_arrays(self.name, self.inputs, batch)
        rows = {name: self._runnable(name) for name in names}
        if not names:
            return {}
        count = len(next(iter(arrays.values())))
        shapes = {name: (count, *row.shape) for name, row in rows.items()}
        return self._line.run(arrays, shapes, self._size)

    def memory(self, names: Sequence[str], batch: int = 1) -> int:
        """Bytes of the activations called `names`, from their shapes. Unknown sizes count as 1."""
        return sum(activation_bytes(self.layer(name).shape, batch) for name in dict.fromkeys(names))

    def layer(self, name: str) -> Layer:
        """The row of the layer table called `name` (with or without ``:pre``).

        Raises
        ------
        LayerNotFound
            With the names nearest to it.
        """
        row = self._rows.get(name) or self._rows.get(name.removesuffix(PRE))
        if row is None:
            raise no_such_layer(name.removesuffix(PRE), self._rows)
        return row

    def _runnable(self, name: str) -> Layer:
        """The row of a layer that can be run, or of ``name:pre``."""
        row = self.layer(name)
        if row.problem is not None:
            raise UnsupportedLayer(f"{row.name!r} cannot be run: {row.problem}")
        if row.name != name and not row.has_pre:
            raise nothing_before(row.name)
        return row
