"""The command line: ``fluoroscope summary | render | image | demo``."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command that the process was started with, and exit with its code."""
    signal.signal(signal.SIGTERM, _terminated)
    # NumPy's BLAS has little to do here, and setting up its threads takes half of importing NumPy.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Also while the modules below are still being imported, Ctrl-C is an answer and no fault.
    try:
        from fluoroscope.cli.app import app

        app()
    except KeyboardInterrupt:
        sys.exit(130)


def _terminated(number: int, frame: FrameType | None) -> None:
    """Unwind instead of dying on the spot, so that no half-written file is left."""
    sys.exit(128 + number)
