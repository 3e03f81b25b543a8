"""Openers for a child process that misbehaves: each is called there in place of the real one."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from fluoroscope.errors import DamagedFile
from fluoroscope.network.protocol import InputSpec, Layer, Provenance
from fluoroscope.network.worker import child
from fluoroscope.network.worker.channel import SocketChannel
from fluoroscope.network.worker.limits import resident


class Toy:
    """A network of one layer that doubles; what `run` does besides is the test's affair."""

    name = "toy"
    inputs = (InputSpec(name="x", shape=(2, 3)),)
    outputs = ("double",)
    layers = (
        Layer(name="x", kind="InputLayer", family="input", shape=(2, 3)),
        Layer(name="double", kind="Lambda", family="other", shape=(2, 3), inputs=("x",)),
        Layer(name="odd", kind="Lambda", family="other", shape=(), problem="unknown"),
    )
    provenance = Provenance(path=None, format="onnx", writer=None, backend=None, sha256="", size=0)

    def __init__(self, act=lambda batch: None):
        self.act = act

    def run(self, batch, names):
        self.act(batch["x"])
        return {name: batch["x"] * (2 if name == "double" else 1) for name in names}

    def at_size(self, height, width):
        return self


def honest(contents, options):
    assert contents == {"file": b"abc"}
    assert options == {"answer": 42}
    return Toy()


def slow_to_open(contents, options):
    time.sleep(60)


def damaged(contents, options):
    raise DamagedFile(f"{len(contents['file'])} bytes are too few")


def surprised(contents, options):
    raise ZeroDivisionError("on the child's side")


def dies_on_opening(contents, options):
    os._exit(7)


def _misbehave(batch):
    """What the first value of the batch says."""
    what = int(batch.flat[0])
    if what == 1:
        os._exit(3)
    if what == 2:
        ctypes.string_at(0)
    if what == 3:
        time.sleep(60)
    if what == 4:
        # With the interpreter's lock: no thread of Python's gets a turn.
        ctypes.PyDLL(None).sleep(60)
    if what == 5:
        np.ones(2**28, np.float64).sum()
    if what == 6:
        # Shared memory is in no limit of the system.
        memory = mmap.mmap(-1, 2**31)
        for start in range(0, 2**31, 2**24):
            memory[start : start + 2**24] = bytes(2**24)
        time.sleep(60)
    if what == 7:
        # It and what it has started ignore everything that can be ignored.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if os.fork() == 0:
            Path("/proc/self/comm").exists()
        time.sleep(60)
    if what == 8:
        raise ZeroDivisionError("in a run")


def naughty(contents, options):
    return Toy(_misbehave)


def busy_with_the_lock(contents, options):
    """Only its parent's end can stop it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return Toy(lambda batch: ctypes.PyDLL(None).sleep(60))


def _tried(what) -> str:
    try:
        return f"done: {what()}"[:200]
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def _is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def curious(contents, options):
    """Tries what it must not, and tells as the names of its layers what came of it."""
    status = Path("/proc/self/status").read_text()
    address = options["address"]

    def udp():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"x", tuple(address))

    attempts = {
        "read": lambda: Path(options["secret"]).read_text(),
        "list": lambda: os.listdir(Path(options["secret"]).parent),
        "write": lambda: Path(options["secret"]).with_name("new").write_text("x"),
        "append": lambda: Path(options["secret"]).open("a").close(),
        "remove": lambda: Path(options["secret"]).unlink(),
        "connect": lambda: socket.create_connection(tuple(address), 2).close(),
        "start": lambda: subprocess.run(["/bin/true"], check=False),
        "signal": lambda: os.kill(os.getppid(), 0),
        "own memory file": lambda: os.write(os.memfd_create("x"), b"x"),
        "import": lambda: __import__("wave").__name__,
    }
    handles = [os.readlink(f"/proc/self/fd/{number}") for number in range(200) if _is_open(number)]
    found = {name: _tried(attempt) for name, attempt in attempts.items()}
    found["privileges"] = next(line for line in status.splitlines() if line.startswith("NoNewPrivs"))
    found["environment"] = json.dumps(sorted(os.environ))
    found["handles"] = json.dumps(handles)
    found["resident"] = str(resident(os.getpid()) > 0)
    toy = Toy()
    toy.layers = tuple(
        Layer(name=f"{name}: {result}", kind="x", family="other", shape=(1,))
        for name, result in found.items()
    )
    return toy


# Liars: the messages themselves are wrong.


def _raw(data: bytes):
    """Says this instead of an answer, and waits."""

    def opener(contents, options):
        line = socket.socket(fileno=os.dup(json.loads(sys.argv[1])["channel"]))
        line.sendall(data)
        time.sleep(60)

    return opener


garbage = _raw(b"\xff" * 100)
endless = _raw((2**32 - 1).to_bytes(4, "little") + b"{")
no_json = _raw((5).to_bytes(4, "little") + b"hello")
deep = _raw((200_000).to_bytes(4, "little") + b"[" * 200_000)
a_list = _raw((2).to_bytes(4, "little") + b"[]")
half = _raw((100).to_bytes(4, "little") + b"{")


def _edited(edit):
    """Says this of the network."""

    def opener(contents, options):
        plain = child._table
        child._table = lambda network: edit(plain(network))
        return Toy()

    return opener


def _with_first_layer(**more):
    return _edited(lambda table: {**table, "layers": [{**table["layers"][0], **more}]})


no_table = _edited(lambda table: None)
wrong_type = _edited(lambda table: {**table, "name": 5})
missing = _edited(lambda table: {name: value for name, value in table.items() if name != "outputs"})
extra = _edited(lambda table: {**table, "more": 1})
twice = _edited(lambda table: {**table, "layers": 2 * table["layers"]})
no_inputs = _edited(lambda table: {**table, "inputs": []})
negative = _with_first_layer(shape=[-1, 3])
enormous = _with_first_layer(parameters=10**30)
unknown_family = _with_first_layer(family="evil")


def _failed(answer):
    """Says that it failed, so."""

    def opener(contents, options):
        child._failure = lambda error: answer
        raise ValueError

    return opener


unknown_error = _failed({"error": "SystemExit", "message": "x"})
mute_error = _failed({"error": "NetworkError", "message": 5})


def _array_lie(lie):
    """Says this of the activations."""

    def opener(contents, options):
        send = SocketChannel.send

        def lying(self, message, handles=()):
            send(self, lie(message) if "arrays" in message else message, handles)

        SocketChannel.send = lying
        return Toy()

    return opener


def _changed(**more):
    return _array_lie(
        lambda message: {**message, "arrays": [{**entry, **more} for entry in message["arrays"]]}
    )


giant = _array_lie(lambda message: {**message, "size": 2**50})
minus = _array_lie(lambda message: {**message, "size": -1})
no_size = _array_lie(lambda message: {"arrays": message["arrays"]})
other_shape = _changed(shape=[1, 3, 2])
more_shape = _changed(shape=[10**6, 2, 3])
float_shape = _changed(shape=[1, 2, 3.0])
outside = _changed(offset=2**20)
before = _changed(offset=-64)
crooked = _changed(offset=4)
other_name = _changed(name="x")
fewer = _array_lie(lambda message: {**message, "arrays": []})
nothing = _array_lie(lambda message: {**message, "arrays": None})
numbers = _array_lie(lambda message: {**message, "arrays": [5]})


def not_filled(contents, options):
    plain = child._Server._run
    child._Server._run = lambda *given: {**plain(*given), "filled": False}
    return Toy()
