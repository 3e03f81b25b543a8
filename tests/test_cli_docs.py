"""The manual says what the commands say, and every example in it works as typed.

``python tests/test_cli_docs.py`` puts the help of today into the manual.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import fluoroscope as fs
from cli_toy import run, write_picture
from fluoroscope.cli.app import COMMANDS, app
from fluoroscope.cli.help import EXAMPLES
from torch_models import timm

MANUAL = Path(__file__).parents[1] / "docs" / "cli.md"
_BLOCK = re.compile(r"(<!-- help: ?(\w*) -->\n```text\n)(.*?)(```\n)", re.DOTALL)


def help_of(command: str) -> str:
    """In a pipe, as wide as it gets."""
    words = [command, "--help"] if command else ["--help"]
    return CliRunner(env={"COLUMNS": "100"}).invoke(app, words).stdout


def refreshed(text: str) -> str:
    """The manual with the help of today."""
    return _BLOCK.sub(lambda block: block[1] + help_of(block[2]) + block[4], text)


def test_the_manual_quotes_the_help() -> None:
    text = MANUAL.read_text("utf-8")
    assert {block[2] for block in _BLOCK.finditer(text)} == {"", *COMMANDS}
    assert text == refreshed(text), "run: python tests/test_cli_docs.py"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples name."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copy(fs.demo.network_path(), folder / "model.h5")
    shutil.copy(fs.demo.image_path(), folder / "picture.jpeg")
    torch.save(timm("resnet18").state_dict(), folder / "weights.pth")
    (folder / "pictures").mkdir()
    for seed in range(2):
        write_picture(folder / "pictures" / f"{seed}.png", seed=seed)
    return folder


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line, _ in lines])
def test_examples_work_as_typed(line: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    if ">" in line:
        # A shell is needed for this; the command it finds is this one.
        script = f'fluoroscope() {{ {shlex.quote(sys.executable)} -m fluoroscope "$@"; }}\n{line}'
        subprocess.run(["sh", "-c", script], check=True, timeout=60)
        assert json.loads((desk / line.rpartition(">")[2].strip()).read_text())
        return
    program, *words = shlex.split(line)
    assert program == "fluoroscope"
    output = words[words.index("-o") + 1] if "-o" in words else "Intermediate_Activations_Visualized.pdf"
    output = words[2] if words[0] == "convert" else output
    made = desk / output.partition("{")[0]
    before = newest(made)
    run(*words)
    assert (
        words[0] in ("summary", "check")
        or ("-o" not in words and words[0] == "image")
        or newest(made) > before
    )


def newest(path: Path) -> int:
    """When a file, or something in a folder, was last written."""
    return max((file.stat().st_mtime_ns for file in [path, *path.rglob("*")] if file.exists()), default=0)


def keys(value: Any) -> set[str]:
    """Names of all entries, at any depth."""
    if isinstance(value, list):
        return set().union(*map(keys, value)) if value else set()
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set()


@pytest.mark.parametrize(
    "words",
    [
        ["summary", "model.h5"],
        ["render", "model.h5", "picture.jpeg", "absent.png"],
        ["image", "model.h5", "picture.jpeg"],
        ["render", "absent.h5", "picture.jpeg"],
        ["check", "model.h5", "pictures", "picture.jpeg"],
    ],
)
def test_every_entry_of_the_json_is_in_the_manual(
    words: list[str], desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    text = MANUAL.read_text("utf-8")
    shared, section = (
        text.partition("\n## summary")[0],
        text.partition(f"\n## {words[0]}\n")[2].partition("\n## ")[0],
    )
    named = set(re.findall(r'[`"](\w+)[`"]', shared.partition("What all commands share")[2] + section))
    assert keys(told) <= named


def test_the_readme_names_what_there_is(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    readme = (MANUAL.parents[1] / "README.md").read_text("utf-8")
    lines = [
        line.partition(" #")[0].strip() for line in readme.splitlines() if line.startswith("fluoroscope ")
    ]
    assert lines
    for line in lines:
        run(*shlex.split(line)[1:])


if __name__ == "__main__":
    MANUAL.write_text(refreshed(MANUAL.read_text("utf-8")), "utf-8")
