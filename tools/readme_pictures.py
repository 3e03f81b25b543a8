"""Make the pictures of the README from the demonstration network: run from the project's folder.

Needs ``pdftoppm`` (poppler-utils) for the page of the PDF.

    python tools/readme_pictures.py
"""

from __future__ import annotations

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
    OUT.mkdir(parents=True, exist_ok=True)
    # As `fluoroscope demo` does.
    smooth = fs.Preprocessing("unit", resample="bilinear")
    acts = fs.capture(fs.demo.network_path(), fs.demo.image_path(), preprocessing=smooth)
    acts["conv2d_2"].save(OUT / "sheet.png")
    acts["conv2d_1"][FEATURED].save(OUT / "channel.png")
    with tempfile.TemporaryDirectory() as folder:
        pdf = Path(folder) / "demo.pdf"
        acts.save(pdf, classes=fs.demo.classes())
        page = ["pdftoppm", "-r", str(RESOLUTION), "-png", "-singlefile", "-f", "1", "-l", "1"]
        subprocess.run([*page, pdf, OUT / "cover"], check=True)


if __name__ == "__main__":
    main()
