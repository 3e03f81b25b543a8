"""``python -m fluoroscope``: the same as the command ``fluoroscope``."""

from fluoroscope.cli import main

if __name__ == "__main__":
    main()
