"""The command line: ``fluoroscope summary | render | image | demo``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command that the process was started with, and exit with its code."""
    # Also while the modules below are still being imported, Ctrl-C is an answer and no fault.
    try:
        from fluoroscope.cli.app import app

        app()
    except KeyboardInterrupt:
        sys.exit(130)
