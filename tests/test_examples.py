"""What a reader can type is run: the example notebooks, and the README's code and commands."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from pypdf import PdfReader

import fluoroscope as fs

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def run_notebook(name: str, folder: Path) -> str:
    """Run a notebook in a copy of its surroundings; all the text it printed."""
    here = folder / "examples"
    here.mkdir()
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks")
    notebook = nbformat.read(ROOT / "examples" / name, as_version=4)
    nbformat.validate(notebook)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(here)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    text = "".join(output.get("text", "") for output in outputs)
    shown = [output.get("data", {}) for output in outputs]
    # Each figure and sheet showed a picture, and no warning came in between.
    assert sum("image/png" in data or "<img" in data.get("text/html", "") for data in shown) >= 5
    assert "Warning" not in text
    return text


def test_the_first_notebook_draws_every_channel(tmp_path: Path) -> None:
    text = run_notebook("every_channel.ipynb", tmp_path)
    assert "conv2d_2\n" in text
    assert "(150, 150, 3) float32 0.0" in text
    assert "704 channels" in text
    assert re.search(r"max_pooling2d_4 +\(7, 7, 128\)", text)
    reader = PdfReader(tmp_path / "examples" / "Intermediate_Activations_Visualized.pdf")
    assert "conv2d_4" in "".join(page.extract_text() for page in reader.pages)


def test_the_second_notebook_draws_vgg16(tmp_path: Path) -> None:
    text = run_notebook("vgg16.ipynb", tmp_path)
    assert "18 block5_pool" in text
    assert "(1, 300, 300, 64)" in text
    assert "5696 channels" in text
    assert len(list((tmp_path / "examples" / "layers").glob("*.png"))) == 18


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the README speaks of."""
    shutil.copy(fs.demo.network_path(), tmp_path / "model.h5")
    shutil.copy(fs.demo.image_path(), tmp_path / "picture.jpeg")
    (tmp_path / "pictures").mkdir()
    shutil.copy(fs.demo.image_path(), tmp_path / "pictures" / "one.jpeg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks(language: str) -> list[str]:
    """The README's code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_readmes_python_runs_as_it_stands(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for code in blocks("python"):
        exec(compile(code, "README.md", "exec"), {})
    assert (workplace / "first.png").stat().st_size > 1_000
    assert (workplace / "conv2d_2.png").stat().st_size > 10_000
    assert (workplace / "Intermediate_Activations_Visualized.pdf").exists()
    assert capsys.readouterr().out.startswith("one.jpeg ")


def test_the_readmes_commands_run_as_they_stand(workplace: Path) -> None:
    (block,) = [block for block in blocks("sh") if "fluoroscope summary" in block]
    commands = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert len(commands) == 9
    for program, *arguments in commands:
        assert program == "fluoroscope"
        subprocess.run(
            [sys.executable, "-m", "fluoroscope", *arguments], check=True, capture_output=True, timeout=120
        )
    assert (workplace / "layers" / "manifest.json").exists()
    assert (workplace / "poster.png").exists()
    assert (workplace / "map.png").exists()


def test_the_readmes_links_and_pictures_are_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
