"""Opens mutants one after the other in a process of its own, and writes down what came of each.

``python mutation_sandbox.py FORMAT FOLDER FIRST STEP LAST`` makes every STEP-th mutant of FORMAT from FIRST
to LAST out of the files in FOLDER. A line of JSON says when one is begun and another what came of it, so
that a crash leaves its number.
"""

import json
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np

import fluoroscope as fs
from fluoroscope.errors import FluoroscopeError
from mutation import WAYS, mutant

BUDGET = fs.Budget(memory=2**28, work=10**9)
SECONDS = 10
CHECKED = 8
"""One in so many goes through `fluoroscope.check`, too."""


class Hang(BaseException):
    """Ten seconds of the processor are over."""


def stop(number, frame):
    raise Hang


def attempt(data):
    """Open it, run all of it; the step at which it ended, and how."""
    try:
        network = fs.open_network(data, budget=BUDGET, threads=1)
    except FluoroscopeError as error:
        return "open", type(error).__name__
    network.summary()
    print(json.dumps({"running": True}), flush=True)
    batch = {
        spec.name: np.zeros((1, *(size or 16 for size in spec.shape)), spec.dtype) for spec in network.inputs
    }
    names = [layer.name for layer in network.layers if layer.problem is None]
    try:
        network.run(batch, names)
    except FluoroscopeError as error:
        return "run", type(error).__name__
    return "run", "fine"


def peak():
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) * 1024


def forget_peak():
    Path("/proc/self/clear_refs").write_text("5")


def main(form, folder, first, step, last):
    originals = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    for data in originals:
        assert attempt(data) == ("run", "fine"), attempt(data)
        assert fs.check(data).verdict == "opens whole"
    ways = WAYS[form](originals)
    signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
    for number in range(first, last, step):
        data = mutant(originals, number, ways)
        print(json.dumps({"begun": number}), flush=True)
        forget_peak()
        before, start = peak(), time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            where, outcome = attempt(data)
            if number % CHECKED == 0:
                fs.check(data, budget=BUDGET).to_json()
        except Hang:
            where, outcome = "open", "hang"
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            where, outcome = "open", f"not ours: {error!r:.300}"
        signal.setitimer(signal.ITIMER_PROF, 0)
        told = {"number": number, "where": where, "outcome": outcome, "seconds": time.process_time() - start}
        print(json.dumps(told | {"grown": peak() - before}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
