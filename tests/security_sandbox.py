"""Opens, checks and summarises hostile files, each in its own process, and writes down what came of it.

``python security_sandbox.py WARM...`` loads all that is imported late by way of the harmless files WARM.
Then, for each line of JSON on its input (``name``, ``path``, ``folder``), it forks a child that works in
that folder, and prints a line of JSON with what the child did. What may not happen (a file opened but the
one named, anything written, a socket, a process, code from elsewhere than the installed packages) is in
``events``. The name ``misbehave`` does all of that, to see that it is noticed.
"""

import contextlib
import io
import json
import os
import pickle
import resource
import signal
import socket
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np

import fluoroscope as fs
from fluoroscope.cli.app import app
from fluoroscope.errors import FluoroscopeError

LIMIT = 60
"""Seconds by the clock after which a child is stopped; what is judged is the processor's time."""

MOST_MEMORY = 6 * 2**30
"""Address space of a child: keeps the machine alive whatever goes wrong."""

FORBIDDEN = (
    "socket.", "subprocess.", "os.system", "os.exec", "os.spawn", "os.posix_spawn", "os.fork", "os.putenv",
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
    "shutil.",
    "tempfile.", "urllib.", "http.", "ftplib.", "webbrowser.", "ctypes.dlopen", "pickle.find_class",
)  # fmt: skip
INSTALLED = tuple(
    {str(Path(path).resolve()) for path in (*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix)}
    | {str(Path(fs.__file__).resolve().parent)}
)


class Watch:
    """What the interpreter did since the child began."""

    def __init__(self):
        self.events = []
        self.allowed = None
        sys.addaudithook(self._hook)

    def _hook(self, event, arguments):
        if self.allowed is None:
            return
        if event.startswith(FORBIDDEN):
            self.events.append(f"{event} {arguments!r:.200}")
        elif event == "open":
            self._opened(*arguments)
        elif event == "exec" and not arguments[0].co_filename.startswith((*INSTALLED, "<")):
            self.events.append(f"exec {arguments[0].co_filename}")

    def _opened(self, path, mode, flags):
        if isinstance(path, int):
            return
        place = os.path.realpath(os.fsdecode(path))
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        if writes or not (place == self.allowed or place.startswith((*INSTALLED, "/proc/self"))):
            self.events.append(f"open {path!r} {mode} {flags}")


def opened(path):
    """Open a network and run what of it can be run."""
    network = fs.open_network(path, threads=1)
    network.summary()
    batch = {
        spec.name: np.zeros((1, *(size or 16 for size in spec.shape)), spec.dtype) for spec in network.inputs
    }
    names = [layer.name for layer in network.layers if layer.problem is None]
    network.run(batch, names)
    return {
        "problems": {layer.name: layer.problem for layer in network.layers if layer.problem is not None},
        "notes": list(network.provenance.notes),
    }


def summarised(path):
    """The exit code of the command line, and what it prints."""
    streams = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            app(["summary", path])
        except SystemExit as end:
            code = end.code
    return {"code": code, "stdout": streams[0].getvalue()[:5000], "stderr": streams[1].getvalue()[:5000]}


def attempt(action, path):
    begun = time.process_time()
    try:
        told = {"outcome": "opened", **action(path)}
    except FluoroscopeError as error:
        told = {"outcome": type(error).__name__, "message": str(error)}
    # What nobody should see; the test shows it.
    except BaseException as error:  # noqa: BLE001
        told = {"outcome": f"not ours: {error!r:.500}"}
    return told | {"seconds": time.process_time() - begun}


def memory(field):
    text = Path("/proc/self/status").read_text()
    return int(text.partition(f"{field}:")[2].split()[0]) * 1024


def misbehave(folder):
    code = compile("1", str(Path(folder) / "evil.py"), "exec")
    for action in (
        lambda: (Path(folder) / "marker").write_text(""),
        lambda: Path("/etc/hostname").read_text(),
        lambda: exec(code),
        lambda: socket.socket().close(),
        lambda: os.system("true"),
        lambda: pickle.loads(pickle.dumps(os.system)),
    ):
        with contextlib.suppress(OSError):
            action()


def child(name, path, folder, watch):
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    signal.alarm(LIMIT)
    os.chdir(folder)
    before = memory("VmRSS")
    watch.allowed = os.path.realpath(path)
    if name == "misbehave":
        misbehave(folder)
    told = {
        "open": attempt(opened, path),
        "check": attempt(lambda path: {"report": fs.check(path).to_json()}, path),
        "summary": attempt(summarised, path),
    }
    watch.allowed = None
    return told | {"grown": memory("VmHWM") - before, "events": watch.events}


def main(warm):
    watch = Watch()
    for path in warm:
        # Twice: what the first time loads late is there the second time.
        for action in (opened, fs.check, summarised):
            attempt(lambda path, action=action: {"x": str(action(path))}, path)
    for line in sys.stdin:
        job = json.loads(line)
        reading, writing = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(reading)
            with os.fdopen(writing, "w") as pipe:
                pipe.write(json.dumps(child(job["name"], job["path"], job["folder"], watch)))
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            text = pipe.read()
        _, status = os.waitpid(process, 0)
        told = json.loads(text) if text else {}
        print(
            json.dumps({"name": job["name"], "status": os.waitstatus_to_exitcode(status), **told}), flush=True
        )


if __name__ == "__main__":
    main(sys.argv[1:])
