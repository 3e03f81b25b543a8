"""A child process from its start to its end, watched while it works.

It is a fresh interpreter, not a fork: it has nothing of this process but what is sent. It gets no environment
variables but those that programs need to start, and no open file but its end of the line.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from fluoroscope.errors import WorkerFailed
from fluoroscope.network.budget import human_bytes
from fluoroscope.network.worker.channel import Channel, PipeChannel, SocketChannel
from fluoroscope.network.worker.limits import resident

_BOOT = (
    "import json, sys; sys.path += json.loads(sys.argv[1])['paths']; "
    "from fluoroscope.network.worker.child import main; main()"
)

_PASSED_ON = (
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE",
    "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "PATH", "TZ",
    "CUDA_VISIBLE_DEVICES", "CUDA_PATH", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES",
)  # fmt: skip
"""Environment variables that the child gets; no others: they can hold keys and tokens."""

_SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store", "/etc/ld.so.cache",
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system", "/sys/fs/cgroup",
    "/dev/null", "/dev/zero", "/dev/urandom",
)  # fmt: skip
"""What native libraries and their loader read on Linux."""

_NEEDED = ("fluoroscope", "numpy", "onnx", "onnxruntime", "pyfive")
"""Packages that are imported there; where they lie is where those that they need lie, too."""

_LAST_WORDS = 300
"""Characters shown of what a process wrote before it ended."""

_LOOK = 0.05
"""Seconds between two looks at a working process."""

_GRACE = 0.5
"""Seconds that a process which closed its line gets to end by itself."""

Stopped = Literal["timeout", "memory", "protocol", "cancelled", "closed"]


class Child:
    """A running child process.

    Parameters
    ----------
    opener
        ``module:function``; see `fluoroscope.network.worker.isolated`.
    memory
        Bytes that it may use.
    sandboxed
        Whether the file system is closed to it, where the system can do that; see `limits`.

    Raises
    ------
    WorkerFailed
        It cannot be started.
    """

    def __init__(self, opener: str, *, memory: int, sandboxed: bool) -> None:
        self._memory = memory
        self.owner = os.getpid()
        packages = _packages(opener)
        self._start(
            {
                "opener": opener,
                "memory": memory,
                "paths": _import_paths(packages),
                "readable": [*_readable(packages), *_SYSTEM] if sandboxed else None,
            }
        )
        self._stopped: Stopped | None = None
        self._ended = False
        self._killing = threading.Lock()
        self._watch = _Watch(self)

    def _start(self, start: dict[str, Any]) -> None:
        command = [_interpreter(), "-I", "-S", "-B", "-X", "utf8", "-c", _BOOT]
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        # Threads that NumPy's BLAS would start before any limit is taken, and nothing here uses.
        environment |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        try:
            if sys.platform == "win32":
                self._start_with_pipes(command, start, environment)
            else:
                self._start_with_socket(command, start, environment)
        except OSError as error:
            raise WorkerFailed(
                f"No process could be started for the network: {error.strerror or error}. Without isolation "
                "it runs in this one.",
                "start",
            ) from error

    def _start_with_socket(self, command: list[str], start: Mapping[str, Any], env: dict[str, str]) -> None:
        ours, theirs = socket.socketpair()
        life_read, life_write = os.pipe()
        said_read, said_write = os.pipe()
        # Neither side waits for the other there: what does not fit is lost.
        os.set_blocking(said_read, False)
        os.set_blocking(said_write, False)
        try:
            self._process = subprocess.Popen(
                [*command, json.dumps({**start, "channel": theirs.fileno()})],
                stdin=life_read,
                stdout=subprocess.DEVNULL,
                stderr=said_write,
                env=env,
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            os.close(life_write)
            os.close(said_read)
            raise
        finally:
            theirs.close()
            os.close(life_read)
            os.close(said_write)
        self._handles = [life_write, said_read]
        self.channel: Channel = SocketChannel(ours, takes_handles=False)

    def _start_with_pipes(self, command: list[str], start: Mapping[str, Any], env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [*command, json.dumps({**start, "channel": -1})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._handles: list[int] = []
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.channel = PipeChannel(self._process.stdout, self._process.stdin)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def stopped(self) -> Stopped | None:
        """Why it was stopped, if it was."""
        return self._stopped

    @contextmanager
    def watched(self, seconds: float) -> Generator[None]:
        """While in here it is stopped when it takes too long, or too much memory."""
        self._watch.begin(time.monotonic() + seconds)
        try:
            yield
        finally:
            self._watch.end()

    def is_over_memory(self) -> bool:
        """Whether more is resident than it may use; never where that cannot be told."""
        try:
            return resident(self.pid) > self._memory
        except OSError:
            return False

    @property
    def memory(self) -> int:
        """Bytes that it may use."""
        return self._memory

    def stop(self, reason: Stopped) -> None:
        """Kill it, for the first reason given; who waits for it gets an `EOFError`."""
        with self._killing:
            if self._stopped is None and not self._ended:
                self._stopped = reason
                self._kill()

    def end(self) -> str:
        """See it end, and leave nothing of it; to be called when it was stopped or said that it is gone.

        Returns
        -------
        str
            How it ended, in words: ``"signal SIGSEGV"``, ``"exit code 1"``; and what it wrote last.
        """
        with self._killing:
            if self._ended:
                return ""
            self._ended = True
            self.channel.close()
            try:
                # What has crashed takes a moment to be gone.
                code = self._process.wait(_GRACE if self._stopped is None else None)
            except subprocess.TimeoutExpired:
                self._kill()
                code = self._process.wait()
            self._watch.stop()
            words = self._last_words()
            for handle in self._handles:
                os.close(handle)
        return _ending(code) + words

    def abandon(self) -> None:
        """Let go of it without ending it: it is another process's child (this one is a fork of that)."""
        self._ended = True
        self._process.returncode = 0
        for handle in self._handles:
            os.close(handle)
        self._handles = []

    def _kill(self) -> None:
        if sys.platform == "win32":
            self._process.kill()
            return
        try:
            # Its group: whatever it may have started as well.
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._process.kill()

    def _last_words(self) -> str:
        if len(self._handles) < 2:
            return ""
        try:
            said = os.read(self._handles[1], 2**16)
        except OSError:
            return ""
        lines = said.decode(errors="replace").splitlines()
        # onnxruntime warns of what it may not read.
        text = " ".join(" ".join(line for line in lines if "[W:onnxruntime" not in line).split())
        text = "".join(letter for letter in text if letter.isprintable())
        # A crash is announced before its trace; an exception is named after it.
        crash = text.find("Fatal Python error")
        words = text[crash:][:_LAST_WORDS] if crash >= 0 else text[-_LAST_WORDS:]
        return f"; it said: {words!r}" if text else ""


class _Watch:
    """A thread that looks at a process while it works, and sleeps while it does not."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._changed = threading.Condition()
        self._deadline: float | None = None
        self._done = False
        self._thread: threading.Thread | None = None

    def begin(self, deadline: float) -> None:
        with self._changed:
            self._deadline = deadline
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="fluoroscope-watch", daemon=True)
                self._thread.start()
            self._changed.notify()

    def end(self) -> None:
        with self._changed:
            self._deadline = None

    def stop(self) -> None:
        with self._changed:
            self._done = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._done:
                    return
                deadline = self._deadline
                left = None if deadline is None else deadline - time.monotonic()
                if left is None or (left > 0 and not self._child.is_over_memory()):
                    self._changed.wait(None if left is None else min(left, _LOOK))
                    continue
                self._deadline = None
            # Without the lock: whoever ends the process may be waiting for it.
            self._child.stop("timeout" if left <= 0 else "memory")


def failure(child: Child, ending: str, doing: str, seconds: float) -> WorkerFailed:
    """The error for a process that ended, or was stopped, while it was `doing` something.

    Parameters
    ----------
    ending
        What `Child.end` said.
    doing
        Begins the message: ``"Opening 'a.h5'"``.
    seconds
        What it was allowed.
    """
    if child.stopped == "timeout":
        more = f"{2 * seconds:g}"
        return WorkerFailed(
            f"{doing} took longer than {seconds:g} s, and was stopped. If you trust the file, allow more: "
            f"--timeout {more}, or budget=Budget(seconds={more}).",
            "timeout",
        )
    if child.stopped == "memory":
        return over_memory(child, doing)
    if child.stopped == "cancelled":
        return WorkerFailed(f"{doing} was cancelled.", "cancelled")
    if child.stopped == "closed":
        return WorkerFailed(f"{doing} was ended: the network was closed.", "closed")
    return WorkerFailed(
        f"{doing} failed: its process ended by itself ({ending}). Native code has flaws, and a file can be "
        "made to find one; nothing else was harmed, and the next call starts a new process."
    )


def over_memory(child: Child, doing: str) -> WorkerFailed:
    """The error for a process that wanted too much memory."""
    return WorkerFailed(
        f"{doing} took more than {human_bytes(child.memory)} of memory, and was stopped. Capture fewer "
        "layers or pictures at a time, or, if you trust the file, raise the budget, which this limit "
        "follows: --memory 4G, or budget=Budget(memory=4 * 2**30).",
        "memory",
    )


def _interpreter() -> str:
    if not sys.executable or getattr(sys, "frozen", False):
        raise WorkerFailed(
            "This program holds a Python of its own that cannot be started again, so a network cannot be "
            "isolated in a child process. Open it without isolate=True.",
            "start",
        )
    return sys.executable


def _packages(opener: str) -> dict[str, Path]:
    """The folder of each package that is needed; for a module without one, the folder it lies in."""
    found: dict[str, Path] = {}
    for name in (*_NEEDED, opener.partition(":")[0].partition(".")[0]):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            found[name] = Path(os.path.realpath(spec.origin)).parent
    return found


def _import_paths(packages: Mapping[str, Path]) -> list[str]:
    """Folders that modules are imported from."""
    homes = {str(folder.parent if folder.name == name else folder) for name, folder in packages.items()}
    # In the order of this process: where two hold a package, the same one is found.
    order = {os.path.realpath(path): place for place, path in reversed(list(enumerate(sys.path)))}
    return sorted(homes, key=lambda home: (order.get(home, len(order)), home))


def _readable(packages: Mapping[str, Path]) -> list[str]:
    """What Python needs to read to import them: its library, installed packages, and this package.

    A folder that packages are developed in also holds other things: of these only the packages are named.
    """
    own = [
        folder.parent if folder.parent.name in ("site-packages", "dist-packages") else folder
        for folder in packages.values()
    ]
    standard = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    libraries = [os.path.join(prefix, "lib") for prefix in (sys.base_prefix, sys.prefix)]
    loader = [path for path in os.environ.get("LD_LIBRARY_PATH", "").split(":") if path]
    return list(dict.fromkeys(os.path.realpath(path) for path in [*own, *standard, *libraries, *loader]))


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
