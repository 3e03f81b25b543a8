"""Messages between two processes: a length, JSON, and the handles of memory that is lent.

Nothing is ever unpickled. Who reads says how long a message may be, and takes nothing in it for granted.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any, Protocol, cast

from fluoroscope.network.worker.records import Malformed

_LENGTH = 4
LARGEST = 64 * 2**20
"""Bytes of the largest message: the table of 100,000 layers."""

_MOST_HANDLES = 4

Message = dict[str, Any]


class Channel(Protocol):
    """One end of the line."""

    def send(self, message: Mapping[str, Any], handles: Sequence[int] = ()) -> None:
        """Send a message; `handles` are open file descriptors, of which the other side gets its own.

        Raises
        ------
        ConnectionError
            Nobody is there any more.
        """
        ...

    def receive(self) -> tuple[Message, list[int]]:
        """Wait for a message and the descriptors sent along.

        Raises
        ------
        EOFError
            The other side is gone.
        Malformed
            What it says is no message.
        """
        ...

    def close(self) -> None:
        """End it: whoever waits at either end gets an `EOFError`."""
        ...


class SocketChannel:
    """Over a Unix socket, which descriptors can go through.

    Parameters
    ----------
    end
        One of a pair of stream sockets.
    takes_handles
        Whether descriptors are accepted. Those sent to a side that takes none are closed by the system.
    """

    def __init__(self, end: socket.socket, *, takes_handles: bool) -> None:
        self._end = end
        self._takes = takes_handles

    def send(self, message: Mapping[str, Any], handles: Sequence[int] = ()) -> None:
        data = _packed(message)
        sent = socket.send_fds(self._end, [data], list(handles)) if handles else 0
        self._end.sendall(memoryview(data)[sent:])

    def receive(self) -> tuple[Message, list[int]]:
        handles: list[int] = []
        if self._takes:
            first, handles, _, _ = socket.recv_fds(self._end, _LENGTH, _MOST_HANDLES)
        else:
            first = self._end.recv(_LENGTH)
        if not first:
            raise EOFError
        head = first + self._exactly(_LENGTH - len(first))
        return _unpacked(self._exactly(_length(head))), handles

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            got = self._end.recv_into(view)
            if not got:
                raise EOFError
            view = view[got:]
        return data

    def close(self) -> None:
        # Closing alone would leave a thread waiting that reads from it.
        with suppress(OSError):  # the other side may be gone
            self._end.shutdown(socket.SHUT_RDWR)
        self._end.close()


class PipeChannel:
    """Over two pipes, where the system has no Unix sockets. Memory is lent by name there; see `shared`."""

    def __init__(self, reading: IO[bytes], writing: IO[bytes]) -> None:
        self._reading = reading
        self._writing = writing

    def send(self, message: Mapping[str, Any], handles: Sequence[int] = ()) -> None:
        if handles:
            raise ValueError("a pipe takes no descriptors")
        try:
            self._writing.write(_packed(message))
            self._writing.flush()
        except OSError as error:
            # Windows has several numbers for a pipe without a reader.
            raise BrokenPipeError(*error.args) from error

    def receive(self) -> tuple[Message, list[int]]:
        return _unpacked(self._exactly(_length(self._exactly(_LENGTH)))), []

    def _exactly(self, size: int) -> bytes:
        data = self._reading.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def close(self) -> None:
        for end in (self._writing, self._reading):
            with suppress(OSError):  # what was still to be written is of no use to anybody
                end.close()


def own_channel(number: int) -> Channel:
    """The end that the child process was started with: a socket's number, or -1 for its standard streams."""
    if number >= 0:
        return SocketChannel(socket.socket(fileno=number), takes_handles=True)
    channel = PipeChannel(
        os.fdopen(os.dup(sys.stdin.fileno()), "rb"), os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    )
    # Whatever prints must not print into the messages.
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, sys.stdin.fileno())
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return channel


def _packed(message: Mapping[str, Any]) -> bytes:
    data = json.dumps(message, separators=(",", ":")).encode()
    if len(data) > LARGEST:
        raise Malformed(f"a message of {len(data)} bytes; at most {LARGEST} are sent")
    return len(data).to_bytes(_LENGTH, "little") + data


def _length(head: bytes | bytearray) -> int:
    length = int.from_bytes(head, "little")
    if length > LARGEST:
        raise Malformed(f"a message of {length} bytes was announced; at most {LARGEST} are read")
    return length


def _unpacked(data: bytes | bytearray) -> Message:
    try:
        message: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"a message that is no JSON ({error})"[:200]) from error
    if not isinstance(message, dict):
        raise Malformed("a message that is no JSON object")
    return cast("Message", message)
