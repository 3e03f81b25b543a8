"""The child process: opens a network, runs it, and answers in memory it was lent.

It begins with what needs nothing but the standard library, so that limits are taken before NumPy is imported
(which may start threads) and before a byte of the network is seen.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fluoroscope.network.protocol import Network
    from fluoroscope.network.worker.channel import Channel, Message
    from fluoroscope.network.worker.shared import Borrowed

OUT_OF_MEMORY = "MemoryError"
"""Named instead of an error of ours where the system refused memory."""

_NO_MEMORY = ("Failed to allocate memory", "bad allocation", "std::bad_alloc")
"""How onnxruntime says so."""


def main() -> None:
    """Serve until the parent is gone. ``argv[1]`` says how, as JSON; see `process.Child`."""
    start: Mapping[str, Any] = json.loads(sys.argv[1])
    from fluoroscope.network.worker.limits import die_with, give_up

    if start["channel"] >= 0:
        die_with(sys.stdin.fileno())
    give_up(start["memory"], start["readable"])
    # Where native code crashes, a line about it is all that is left.
    import faulthandler

    faulthandler.enable(all_threads=False)
    from fluoroscope.network.worker.channel import own_channel

    _serve(own_channel(start["channel"]), start["opener"])


def _serve(channel: Channel, opener: str) -> None:
    from fluoroscope.network.worker.shared import Borrowed

    server = _Server(channel, opener, Borrowed())
    while True:
        try:
            message, handles = channel.receive()
        except EOFError:
            return
        try:
            answer = server.answer(message, handles)
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent is to be told
            answer = _failure(error)
        channel.send(answer)


class _Server:
    """Answers one message after the other."""

    def __init__(self, channel: Channel, opener: str, memory: Borrowed) -> None:
        self._channel = channel
        self._opener = opener
        self._memory = memory
        self._network: Network | None = None

    def answer(self, message: Message, handles: list[int]) -> Message:
        self._memory.forget(message.get("dropped", ()))
        if message["do"] == "open":
            self._network = self._open(message, handles)
            return {"network": _table(self._network)}
        network = self._sized(message["size"])
        return (
            {"network": _table(network)} if message["do"] == "size" else self._run(network, message, handles)
        )

    def _open(self, message: Message, handles: list[int]) -> Network:
        module, _, name = self._opener.partition(":")
        contents = {entry["content"]: self._content(entry, handles) for entry in message["contents"]}
        return getattr(import_module(module), name)(contents, message["options"])

    def _content(self, entry: Mapping[str, Any], handles: list[int]) -> bytes:
        """The bytes of one of the things sent: each but those lent by name has a descriptor."""
        handle = handles.pop(0) if handles else None
        if entry["segment"] is not None:
            lent = self._memory.find(entry["segment"], [] if handle is None else [handle])
            data = lent[: entry["length"]].tobytes()
            self._memory.forget([entry["segment"]["number"]])
            return data
        assert handle is not None
        with open(handle, "rb") as file:
            file.seek(0)
            return file.read(entry["length"])

    def _sized(self, size: Sequence[int] | None) -> Network:
        if self._network is None:
            raise RuntimeError("nothing was opened")
        return self._network if size is None else self._network.at_size(*size)

    def _run(self, network: Network, message: Message, handles: list[int]) -> Message:
        import numpy as np

        from fluoroscope.network.worker.shared import aligned, placed

        source = self._memory.find(message["segment"], handles)
        batch: dict[str, Any] = {
            entry["name"]: placed(source, entry, np.dtype(entry["dtype"])) for entry in message["inputs"]
        }
        values = network.run(batch, message["names"])
        entries: list[dict[str, Any]] = []
        offset = 0
        # Layers that only pass on have the tensor of another: it is copied once.
        places: dict[tuple[Any, ...], int] = {}
        for name, array in values.items():
            interface = array.__array_interface__
            key = (interface["data"][0], interface["strides"], array.shape)
            if key not in places:
                places[key] = offset
                offset += aligned(array.nbytes)
            entries.append({"name": name, "shape": list(array.shape), "offset": places[key]})
        self._channel.send({"arrays": entries, "size": offset})
        message, handles = self._channel.receive()
        self._memory.forget(message["dropped"])
        target = self._memory.find(message["segment"], handles)
        for entry in entries:
            array = np.asarray(values.pop(entry["name"]))
            if entry["offset"] in places.values():
                places = {key: place for key, place in places.items() if place != entry["offset"]}
                first = np.moveaxis(array, -1, 1) if array.ndim > 2 else array
                shape = list(first.shape)
                placed(target, {**entry, "shape": shape}, np.dtype(np.float32))[...] = first
        return {"filled": True}


def _table(network: Network) -> Message:
    """All that a network says of itself."""
    from fluoroscope.network.worker.records import encode

    return {
        "name": network.name,
        "inputs": [encode(spec) for spec in network.inputs],
        "outputs": list(network.outputs),
        "layers": [encode(layer) for layer in network.layers],
        "provenance": encode(network.provenance),
    }


def _failure(error: Exception) -> Message:
    from fluoroscope.errors import FluoroscopeError

    # Where memory ran out underneath an error of ours, that is what it is about.
    cause: BaseException | None = error
    while cause is not None:
        plain = isinstance(cause, MemoryError) and not isinstance(cause, FluoroscopeError)
        if plain or any(words in str(cause) for words in _NO_MEMORY):
            return {"error": OUT_OF_MEMORY, "message": str(cause)}
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, FluoroscopeError):
        return {"error": type(error).__name__, "message": str(error)}
    import traceback

    traceback.print_exception(error)
    return {"error": None, "message": f"{type(error).__name__}: {error}"}
