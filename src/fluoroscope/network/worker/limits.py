"""What the child process gives up, before it sees a byte of a stranger's file.

| | Linux | other Unix | Windows |
|---|---|---|---|
| ends with its parent | also while native code runs | between two calls | between two calls |
| writes into no file | yes | yes | no |
| memory | limited by the system, and watched | no (only the budget's own checks) | no |
| no new rights, no core dump with its memory | yes | no core dump | no |
| reads Python and its libraries only, starts no program | Landlock, kernel 5.13 | no | no |
| no TCP | Landlock, kernel 6.7 | no | no |
| signals no other process | Landlock, kernel 6.12 | no | no |

The time limit and the containment of a crash are the parent's part, and hold everywhere.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

_HANDLES = 256
"""Open files, those of imports among them."""


def give_up(memory: int, readable: Sequence[str] | None) -> None:
    """Take limits on this process that cannot be taken back.

    Parameters
    ----------
    memory
        Bytes of private memory.
    readable
        Folders and files that stay readable; None where the device that computes needs more than files of
        its own (a driver opens devices and caches), so that no rule can be given.

    Notes
    -----
    To be called while there is one thread: others would keep what they have.
    """
    if sys.platform == "win32":
        return
    import resource

    # RLIMIT_FSIZE holds for shared memory of its own making as well, which no other limit counts.
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_NOFILE: _HANDLES}
    if sys.platform == "linux":
        # Counts private memory; RLIMIT_AS would count what is only reserved (stacks, libraries) too.
        limits[resource.RLIMIT_DATA] = memory
    for what, limit in limits.items():
        hard = resource.getrlimit(what)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(what, (limit, limit))
    if sys.platform == "linux":
        _no_new_privileges()
        if readable is not None:
            from fluoroscope.network.worker.landlock import restrict

            restrict(readable)


def die_with(lifeline: int) -> None:
    """End when the other end of a pipe is closed, whatever is running then.

    Linux signals it (fcntl, F_SETOWN and O_ASYNC): SIGIO, for which nothing is set up, ends a process. Unlike
    PR_SET_PDEATHSIG this is about the parent process, not about the thread in it that started this one.
    """
    if sys.platform == "linux":
        import fcntl

        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _no_new_privileges() -> None:
    import ctypes

    set_no_new_privileges = 38
    ctypes.CDLL(None).prctl(set_no_new_privileges, 1, 0, 0, 0)


def resident(process: int) -> int:
    """Bytes of memory in use by a process; 0 where that is not known.

    Raises
    ------
    OSError
        It is gone.
    """
    if sys.platform != "linux":
        return 0
    with open(f"/proc/{process}/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
