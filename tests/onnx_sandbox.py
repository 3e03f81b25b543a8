"""Opens and runs strange network files in a process of its own, and writes down what came of each.

``python onnx_sandbox.py FOLDER MEMORY`` takes every ``*.onnx`` of a folder in order; a line of JSON for each
begins when it is touched and one follows when it is done, so that a crash leaves its name.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

import fluoroscope as fs
from fluoroscope.errors import FluoroscopeError
from fluoroscope.network.budget import Budget

WATCHED = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.spawn",
    "os.fork",
    "ctypes.dlopen",
    "urllib.",
)


def attempt(path, memory):
    """Open a file and run all of it; what went wrong, and at which step."""
    budget = Budget(memory=memory, work=10**10)
    try:
        network = fs.open_network(path, budget=budget, threads=1)
    except FluoroscopeError as error:
        return "open", type(error).__name__, str(error)
    network.summary()
    batch = {
        spec.name: np.zeros((2, *(size or 16 for size in spec.shape)), spec.dtype) for spec in network.inputs
    }
    if sum(array.nbytes for array in batch.values()) > memory:
        return "open", "too large to feed", ""
    try:
        network.run(batch, fs.select(network, "all"))
    except FluoroscopeError as error:
        return "run", type(error).__name__, str(error)
    return "run", "fine", ""


def main(folder, memory):
    events, allowed = [], ""

    def watch(event, args):
        if event.startswith(WATCHED):
            events.append(event)
        elif event == "open" and isinstance(args[0], str) and args[0] != allowed:
            events.append(f"open {args[0]}")

    paths = sorted(Path(folder).glob("*.onnx"))
    # All that is imported late is imported now: afterwards nothing but the file itself may be opened.
    attempt(paths[0], memory)
    sys.addaudithook(watch)
    for path in paths:
        print(json.dumps({"begun": path.stem}), flush=True)
        allowed = str(path)
        events.clear()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.monotonic()
        step, outcome, message = attempt(path, memory)
        print(
            json.dumps(
                {
                    "name": path.stem,
                    "step": step,
                    "outcome": outcome,
                    "message": message,
                    "seconds": time.monotonic() - start,
                    "grown": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024,
                    "events": list(events),
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
