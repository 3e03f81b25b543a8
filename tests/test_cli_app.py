"""The frame of the command line: how it starts, fails and stops."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli_toy import run, spawn, write_network, write_picture
from fluoroscope import __version__, errors
from fluoroscope.cli import failures
from fluoroscope.cli.app import COMMANDS, app

FAMILIES = [
    (errors.UsageError, 2), (errors.LayerNotFound, 2), (errors.MissingDependency, 2),
    (errors.UnknownFormat, 3), (errors.RefusedFile, 3), (errors.PictureError, 4), (errors.BudgetExceeded, 5),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_network(tmp_path / "toy.onnx")
    write_picture(tmp_path / "cat.png")
    return tmp_path


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let opening a network fail."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("fluoroscope.formats.open_network", fail)


def test_version() -> None:
    assert run("--version").stdout == f"fluoroscope {__version__}\n"


def test_without_a_command_there_is_help() -> None:
    assert run().stdout == run("--help").stdout == run("-h").stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str) -> None:
    text = run(command, "--help").stdout
    assert f"Usage: fluoroscope {command}" in text
    assert f"\n  fluoroscope {command}" in text.partition("\nExamples:")[2]
    assert command in run("--help").stdout


def test_an_unknown_command_is_a_question() -> None:
    text = run("rendr", code=2).stderr
    assert "No such command 'rendr'. Did you mean 'render'?" in text


@pytest.mark.parametrize(("kind", "code"), FAMILIES)
def test_errors_become_a_message_and_a_code(
    kind: type[errors.FluoroscopeError], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, kind("It is so.\nDo this."))
    result = run("summary", "x.h5", code=code)
    assert result.stderr == f"{failures.TITLES[code]}: It is so.\nDo this.\n"
    assert result.stdout == ""


@pytest.mark.parametrize(("kind", "code"), FAMILIES)
def test_errors_are_json_for_machines(
    kind: type[errors.FluoroscopeError], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, kind("It is so."))
    result = run("summary", "x.h5", "--json", code=code)
    assert json.loads(result.stdout) == {
        "error": {"kind": kind.__name__, "exit_code": code, "message": "It is so."}
    }
    assert result.stderr == ""


def test_arguments_that_cannot_be_parsed_are_json_too() -> None:
    told = json.loads(run("summary", "--json", "--bogus", code=2).stdout)["error"]
    assert told["kind"] == "UsageError"
    assert "--bogus" in told["message"]
    # Behind -- it is a file of that name.
    assert run("summary", "--", "--json", code=3).stdout == ""


def test_messages_cannot_act(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, errors.NetworkError("[red]\x1b[31m" + "n" * 1_000_000))
    text = run("summary", "x.h5", code=3).stderr
    assert "[red]\\x1b[31mnnn" in text
    assert len(text) < 5000


def test_what_nobody_expected_asks_to_be_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, RuntimeError("the wheels came off"))
    text = run("summary", "x.h5", code=1).stderr
    assert text.startswith("Unexpected error: RuntimeError: the wheels came off\n")
    assert "Please report it" in text
    assert "Traceback" not in text


def test_a_disk_that_is_full_is_no_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, OSError(28, "No space left on device", "out.pdf"))
    text = run("summary", "x.h5", code=1).stderr
    assert text == "The system refused: 'out.pdf': No space left on device\n"


@pytest.mark.parametrize("by_environment", [False, True])
def test_debug_shows_where_it_came_from(by_environment: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, errors.PictureError("Not so."))
    if by_environment:
        monkeypatch.setenv("FLUOROSCOPE_DEBUG", "1")
    text = run("summary", "x.h5", *([] if by_environment else ["--debug"]), code=4).stderr
    assert "Traceback" in text
    assert "PictureError: Not so." in text


def test_ctrl_c_is_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    assert run("summary", "x.h5", code=130).stderr == "Stopped.\n"


def test_the_runner_and_the_process_agree(folder: Path) -> None:
    """The other tests run commands in this process: here is one that does not."""
    process = spawn("summary", "toy.onnx", folder=folder)
    assert process.returncode == 0
    assert process.stdout == run("summary", folder / "toy.onnx").stdout
    failed = spawn("summary", "absent.h5", "--json", folder=folder)
    assert failed.returncode == 3
    assert json.loads(failed.stdout)["error"]["kind"] == "NetworkError"


def modules_of(folder: Path, *args: str) -> set[str]:
    """What a command imports."""
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print(' '.join(sys.modules), file=sys.stderr))\n"
        f"sys.argv = ['fluoroscope', *{args!r}]\n"
        "from fluoroscope.cli import main\nmain()\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60, check=True
    )
    return set(process.stderr.splitlines()[-1].split())


def test_a_start_imports_what_it_uses(folder: Path) -> None:
    frameworks = {"tensorflow", "keras", "tf_keras", "torch", "h5py", "matplotlib", "pydantic"}
    for words in (["--version"], ["--help"], ["render", "--help"]):
        modules = modules_of(folder, *words)
        assert not modules & {"numpy", "rich", "onnx", "onnxruntime", "PIL", "reportlab", *frameworks}, words
    modules = modules_of(folder, "summary", "toy.onnx")
    assert "onnx" in modules
    assert not modules & {"onnxruntime", "PIL", "reportlab", *frameworks}
    modules = modules_of(folder, "render", "toy.onnx", "cat.png")
    assert "onnxruntime" in modules
    assert not modules & {"rich", *frameworks}, "nothing took long, and nothing failed"


def test_any_locale_will_do(folder: Path) -> None:
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    process = spawn("summary", "toy.onnx", folder=folder, env=plain)
    assert process.returncode == 0, process.stderr
    assert "18 x 18 x 20" in process.stdout
    process = spawn("render", "toy.onnx", "cat.png", "-o", "ß.npz", folder=folder, env=plain)
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("ok ")
    assert spawn("render", "--help", folder=folder, env=plain).returncode == 0


def test_the_reader_of_a_pipe_may_leave(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "fluoroscope", "summary", "toy.onnx", "--json"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(timeout=60)
    assert said == ""
    assert process.returncode == 1


def test_streams_may_be_closed(folder: Path) -> None:
    for words, code in (
        ("summary toy.onnx", 0),
        ("render toy.onnx cat.png -o v.npz", 0),
        ("--help", 0),
        ("summary absent.h5", 3),
    ):
        line = f"{shlex.quote(sys.executable)} -m fluoroscope {words} >&- 2>&-"
        process = subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True, check=False)
        assert process.returncode == code, words


SLOW = """
import os, sys, time
from fluoroscope import files
opened = files.replacing
def slowly(path):
    from contextlib import contextmanager
    @contextmanager
    def wait():
        with opened(path) as stream:
            stream.write(b"half")
            stream.flush()
            print("writing", flush=True)
            time.sleep(30)
            yield stream
    return wait()
files.replacing = slowly
from fluoroscope.output import arrays
arrays.replacing = slowly
sys.argv = ["fluoroscope", "render", "toy.onnx", "cat.png", "-o", "out.npz"]
from fluoroscope.cli import main
main()
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_being_stopped_leaves_nothing_half_written(folder: Path, sent: signal.Signals, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while process.stdout.readline() != "writing\n":
        assert process.poll() is None
    assert any(name.endswith(".part") for name in os.listdir(folder)), "half-written at this moment"
    start = time.monotonic()
    process.send_signal(sent)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - start < 20
    assert process.returncode == code
    assert "Traceback" not in said
    assert sorted(os.listdir(folder)) == ["cat.png", "toy.onnx"]


def test_completion_knows_the_options() -> None:
    words = {
        "_FLUOROSCOPE_COMPLETE": "complete_bash",
        "COMP_WORDS": "fluoroscope render --col",
        "COMP_CWORD": "2",
    }
    result = CliRunner(env=words).invoke(app, [])
    assert result.stdout.split() == ["--colormap", "--columns"]
