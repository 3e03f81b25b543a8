"""What is said to a child process and what it answers, checked: it may be under a stranger's control."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fluoroscope import errors
from fluoroscope.errors import FluoroscopeError, NetworkError, WorkerFailed
from fluoroscope.network.budget import Budget
from fluoroscope.network.protocol import FloatArray, Shape
from fluoroscope.network.worker.channel import Message
from fluoroscope.network.worker.child import OUT_OF_MEMORY
from fluoroscope.network.worker.contents import Content, Digest, Source, digest_of, filled, size_of, state_of
from fluoroscope.network.worker.process import Child, failure, over_memory
from fluoroscope.network.worker.records import Malformed
from fluoroscope.network.worker.shared import Pool, Segment, aligned, placed
from fluoroscope.network.worker.table import Table, read_table

_BASE = 512 * 2**20
"""Bytes for Python, NumPy, onnxruntime and its work space."""

_COPIED = 2**20
"""Results of fewer bytes are copied out, so that keeping them does not keep a segment."""

_WORDS = 4000
"""Characters of an error that are taken over."""


class Line:
    """A child process that holds one network, started when it is needed and again when it has ended.

    Calls from several threads are taken one after the other.

    Parameters
    ----------
    opener, contents, options
        See `isolated`.
    label
        What is opened, for messages: ``"'a.h5'"``.
    """

    def __init__(
        self,
        opener: str,
        contents: Mapping[str, Content],
        options: Mapping[str, Any],
        *,
        label: str,
        budget: Budget,
        sandboxed: bool,
    ) -> None:
        self.label = label
        self.budget = budget
        self._opener = opener
        self._contents = dict(contents)
        self._options = dict(options)
        self._sandboxed = sandboxed
        self._lock = threading.RLock()
        # In a list, so that whoever ends it when this line is let go does not hold on to the line.
        self._children: list[Child] = []
        weakref.finalize(self, _end_all, self._children)
        self._busy = False
        self._pool = Pool()
        self._opened: tuple[Table, Mapping[str, Digest]] | None = None
        self.closed = False

    @property
    def _child(self) -> Child | None:
        return self._children[0] if self._children else None

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        child = self._child
        return None if child is None else child.pid

    def open(self) -> tuple[Table, Mapping[str, Digest]]:
        """What the network says of itself, and what was sent for each of the contents."""
        with self._lock:
            if self._opened is None:
                self._ready()
            assert self._opened is not None
            return self._opened

    def sized(self, height: int, width: int) -> Table:
        """What the network of another size says of itself."""
        with self._lock, self._call(f"Resizing {self.label}"):
            answer = self._ask({"do": "size", "size": [height, width]}, None)
            return read_table(answer.get("network"))

    def run(
        self, arrays: Mapping[str, NDArray[Any]], shapes: Mapping[str, Shape], size: Sequence[int] | None
    ) -> dict[str, FloatArray]:
        """Run it.

        Parameters
        ----------
        arrays
            By input name.
        shapes
            What is asked for -> the shape it must have, batch first, channels last; None for any size.
        size
            Height and width, for a network that leaves them open.

        Returns
        -------
        dict
            Read-only arrays of these shapes, channels first in memory.
        """
        with self._lock, self._call(f"Running {self.label}"):
            entries, source = self._lend_inputs(arrays)
            answer = self._ask({"do": "run", "size": size, "names": [*shapes], "inputs": entries}, source)
            total = answer.get("size")
            if type(total) is not int or not 0 <= total <= self.budget.memory + aligned(1) * len(shapes):
                raise Malformed("activations of an impossible size")
            target = self._pool.take(total)
            if self._ask({}, target) != {"filled": True}:
                raise Malformed("no word that the activations are there")
            # Not before: what is only passed through may lie in it.
            self._pool.give_back(source)
            return _results(answer.get("arrays"), shapes, self._pool.lend(target)[:total])

    def cancel(self) -> None:
        """Stop what is running, from another thread. Without effect when nothing is."""
        child = self._child
        if child is not None and self._busy:
            child.stop("cancelled")

    def close(self) -> None:
        """End the process, also while it works."""
        self.closed = True
        child = self._child
        if child is not None and child.owner == os.getpid():
            child.stop("closed")
        with self._lock:
            self._ready_or_none()

    # The process.

    @contextmanager
    def _call(self, doing: str) -> Generator[None]:
        """A conversation with a process that is ready; whatever goes wrong in it ends in an error of ours."""
        if self.closed:
            raise WorkerFailed(f"{doing} is not possible: the network was closed.", "closed")
        child = self._ready()
        with self._watched(child, doing):
            yield

    @contextmanager
    def _watched(self, child: Child, doing: str) -> Generator[None]:
        self._busy = True
        try:
            with child.watched(self.budget.seconds):
                yield
        except FluoroscopeError:
            # It answered: it goes on.
            raise
        except (EOFError, ConnectionError) as error:
            raise failure(child, self._drop(), doing, self.budget.seconds) from error
        except Malformed as error:
            child.stop("protocol")
            self._drop()
            raise WorkerFailed(
                f"{doing} failed: its process said what cannot be ({error}), and was stopped. Such a file is "
                "made to do harm.",
                "protocol",
            ) from error
        except _OutOfMemory as error:
            # What it was refused may be missing anywhere in it.
            child.stop("memory")
            self._drop()
            raise over_memory(child, doing) from error
        except BaseException:
            # Ctrl-C in the middle of a message: nobody knows what comes next.
            child.stop("cancelled")
            self._drop()
            raise
        finally:
            self._busy = False

    def _ready(self) -> Child:
        """A process with the network open."""
        if self._ready_or_none() is None:
            self._start()
        return self._children[0]

    def _ready_or_none(self) -> Child | None:
        """The process, unless it is another's or was stopped."""
        child = self._child
        if child is not None and child.owner != os.getpid():
            child.abandon()
            self._forget()
        elif child is not None and child.stopped is not None:
            self._drop()
        return self._child

    def _start(self) -> None:
        with ExitStack() as files:
            sources: dict[str, Source] = {
                name: content if isinstance(content, bytes) else files.enter_context(content())
                for name, content in self._contents.items()
            }
            memory = _BASE + 3 * self.budget.memory + sum(map(size_of, sources.values()))
            child = Child(self._opener, memory=memory, sandboxed=self._sandboxed)
            self._children.append(child)
            try:
                with self._watched(child, f"Opening {self.label}"):
                    opened = self._open(child, sources)
                self._compare(opened)
            except BaseException:
                child.stop("closed")
                self._drop()
                raise
            self._opened = opened

    def _compare(self, opened: tuple[Table, Mapping[str, Digest]]) -> None:
        """What is opened again must be what was opened."""
        if self._opened is not None and opened != self._opened:
            raise NetworkError(f"{self.label} is another file than the one that was opened. Open it again.")

    def _open(self, child: Child, sources: Mapping[str, Source]) -> tuple[Table, Mapping[str, Digest]]:
        before = {name: state_of(source) for name, source in sources.items()}
        entries: list[dict[str, Any]] = []
        handles: list[int] = []
        # Held until the answer: where memory is lent by name, it is there as long as its owner has it.
        lent: list[Segment] = []
        for name, source in sources.items():
            entry: dict[str, Any] = {"content": name, "length": size_of(source), "segment": None}
            if isinstance(source, bytes) or sys.platform == "win32":
                lent.append(filled(source, -1 - len(lent)))
                entry["segment"] = lent[-1].ticket()
                handles += lent[-1].handles()
            else:
                handles.append(source.fileno())
            entries.append(entry)
        child.channel.send({"do": "open", "contents": entries, "options": self._options}, handles)
        # While it is opened there.
        digests = {name: digest_of(source) for name, source in sources.items()}
        answer = self._answer(child)
        if before != {name: state_of(source) for name, source in sources.items()}:
            raise NetworkError(f"{self.label} was changed while it was read. Is it still being written?")
        return read_table(answer.get("network")), digests

    def _ask(self, message: Message, segment: Segment | None) -> Message:
        child = self._children[0]
        message = {**message, "dropped": self._pool.dropped()}
        if segment is not None:
            message["segment"] = segment.ticket()
        child.channel.send(message, segment.handles() if segment is not None else ())
        if segment is not None:
            segment.sent()
        return self._answer(child)

    def _answer(self, child: Child) -> Message:
        answer, _ = child.channel.receive()
        if "error" in answer:
            raise _error(answer)
        return answer

    def _drop(self) -> str:
        """Be rid of the process; how it ended."""
        ending = self._children[0].end() if self._children else ""
        self._forget()
        return ending

    def _forget(self) -> None:
        self._children.clear()
        # The next process has never heard of these segments.
        self._pool = Pool()

    # Arrays.

    def _lend_inputs(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[list[dict[str, Any]], Segment]:
        segment = self._pool.take(sum(aligned(array.nbytes) for array in arrays.values()))
        entries: list[dict[str, Any]] = []
        offset = 0
        for name, array in arrays.items():
            entry = {"name": name, "dtype": array.dtype.str, "shape": list(array.shape), "offset": offset}
            placed(segment.bytes, entry, array.dtype)[...] = array
            entries.append(entry)
            offset += aligned(array.nbytes)
        return entries, segment


def _results(entries: object, shapes: Mapping[str, Shape], data: NDArray[np.uint8]) -> dict[str, FloatArray]:
    """The arrays that a child says lie in `data`.

    Raises
    ------
    Malformed
        They are not those asked for, of other shapes, or lie elsewhere.
    """
    given = cast("list[object]", entries) if isinstance(entries, list) else []
    if len(given) != len(shapes):
        raise Malformed("another number of activations than was asked for")
    if data.size < _COPIED:
        data = data.copy()
        data.setflags(write=False)
    results: dict[str, FloatArray] = {}
    for (name, wanted), entry in zip(shapes.items(), given, strict=True):
        record = cast("Message", entry) if isinstance(entry, dict) else {}
        if record.get("name") != name:
            raise Malformed("something else than the activations asked for")
        flat = placed(data, record, np.dtype(np.float32))
        fits = flat.ndim == len(wanted) and all(
            size is None or size == given for size, given in zip(wanted, flat.shape, strict=True)
        )
        if not fits:
            raise Malformed(f"an activation of shape {flat.shape} where {wanted} was announced"[:200])
        results[name] = _channels_last(flat)
    return results


def _channels_last(flat: FloatArray) -> FloatArray:
    """An array whose memory is in the order (n, channels, ...) as one of (n, ..., channels), its shape."""
    if flat.ndim < 3:
        return flat
    shape = flat.shape
    return np.moveaxis(flat.reshape(shape[0], shape[-1], *shape[1:-1]), 1, -1)


class _OutOfMemory(Exception):
    """The system refused memory to the child."""


def _error(answer: Message) -> Exception:
    """The error that the child tells of, if it is one of ours."""
    name, text = answer.get("error"), answer.get("message")
    if not isinstance(text, str):
        raise Malformed("an error without a message")
    text = text[:_WORDS]
    if name == OUT_OF_MEMORY:
        return _OutOfMemory(text)
    if name is None:
        return WorkerFailed(f"Unexpected, in the network's process: {text}")
    kind = getattr(errors, name, None) if isinstance(name, str) else None
    if isinstance(kind, type) and issubclass(kind, FluoroscopeError):
        return kind(text)
    raise Malformed("an error of an unknown kind")


def _end_all(children: list[Child]) -> None:
    """What is left when nobody can ask any more, or the program ends."""
    for child in children:
        if child.owner == os.getpid():
            child.stop("closed")
            child.end()
