"""Make the pictures of the README from the demonstration network: run from the project's folder.

Needs ``pdftoppm`` (poppler-utils) for the page of the PDF.

    python tools/readme_pictures.py
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import fluoroscope as fs

OUT = Path("docs/images")
RESOLUTION = 100
"""Dots an inch, of the PDF's pages."""


FEATURED = 10
"""The channel shown enlarged: the one the source notebooks look at."""


def main() -> None:
    out = OUT.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        # The cover tells the network's path: a short one.
        network = Path(shutil.copy(fs.demo.network_path(), ".")).name
        picture = Path(shutil.copy(fs.demo.image_path(), ".")).name
        # As `fluoroscope demo` does.
        smooth = fs.Preprocessing("unit", resample="bilinear")
        acts = fs.capture(network, picture, preprocessing=smooth)
        acts["conv2d_2"].save(out / "sheet.png")
        acts["conv2d_1"][FEATURED].save(out / "channel.png")
        acts.save("demo.pdf", classes=fs.demo.classes())
        page = ["pdftoppm", "-r", str(RESOLUTION), "-png", "-singlefile", "-f", "1", "-l", "1"]
        subprocess.run([*page, "demo.pdf", out / "cover"], check=True)


if __name__ == "__main__":
    main()
