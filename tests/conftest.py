"""For all tests: Hypothesis keeps nothing in the project's folder; Ctrl-C works also in the background."""

from __future__ import annotations

import atexit
import shutil
import signal
import tempfile

from hypothesis.configuration import set_hypothesis_home_dir

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As for a command in the background of a script. Some tests are about being interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_home = tempfile.mkdtemp(prefix="hypothesis-")
set_hypothesis_home_dir(_home)
atexit.register(shutil.rmtree, _home, ignore_errors=True)
