"""Bars: late, only in a terminal, and gone when it is over."""

from __future__ import annotations

import io
import os
import re
import sys
import threading
import time
from pathlib import Path

import pytest

from cli_toy import in_terminal, plain, write_network, write_picture
from fluoroscope.cli import progress
from fluoroscope.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """In the place of stderr. No fixture: pytest puts its own there between a fixture and the test."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    return stream


def wait_for(stream: io.StringIO, text: str) -> None:
    """Until it is shown, ten seconds at most."""
    for _ in range(1000):
        if text in plain(stream.getvalue()):
            return
        time.sleep(0.01)
    raise AssertionError(plain(stream.getvalue()))


def test_what_is_quick_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    monkeypatch.setattr(progress, "PATIENCE", 60)
    before = threading.active_count()
    with Progress() as bars:
        bars.picture(0, "cat.png")
        bars.layer(1, 2, "conv")
    assert terminal.getvalue() == ""
    for _ in range(500):
        if threading.active_count() == before:
            break
        time.sleep(0.01)
    assert threading.active_count() == before, "no thread is left waiting"


def test_what_takes_long_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    monkeypatch.setattr(progress, "PATIENCE", 0.01)
    with Progress(3) as bars:
        wait_for(terminal, "opening the network")
        bars.picture(1, "a\x1b[31m\ncat.png")
        wait_for(terminal, "a\\x1b[31m\\ncat.png")
        wait_for(terminal, "1/3")
        bars.running()
        wait_for(terminal, "running the network")
        bars.layer(5, 18, "[red]conv")
        wait_for(terminal, "5/18")
        wait_for(terminal, "[red]conv")
    ended = terminal.getvalue()
    time.sleep(0.2)
    assert terminal.getvalue() == ended, "nothing moves any more"
    assert ended.rstrip().endswith("\x1b[2K"), "the bars are gone"


def test_no_terminal_no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress() as bars:
        bars.layer(1, 2, "conv")
        time.sleep(0.05)
    assert stream.getvalue() == ""


def test_quiet_no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with Progress(shown=False) as bars:
        bars.layer(1, 2, "conv")
        time.sleep(0.05)
    assert terminal.getvalue() == ""


def test_an_error_takes_the_bars_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)

    def fail() -> None:
        with Progress():
            wait_for(terminal, "opening")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert terminal.getvalue().endswith("\x1b[2K")


def test_results_and_bars_share_a_terminal(tmp_path: Path) -> None:
    """Every result is there whole although bars were there when it was printed."""
    write_network(tmp_path / "toy.onnx")
    for name in "abc":
        write_picture(tmp_path / f"{name}.png")
    (tmp_path / "sitecustomize.py").write_text(
        "import fluoroscope.cli.progress as progress\n"
        "from fluoroscope.network.onnx_network import OnnxNetwork\n"
        "import time\n"
        "progress.PATIENCE = 0.01\n"
        "run = OnnxNetwork.run\n"
        "def slowly(self, *given):\n"
        "    time.sleep(0.4)\n"
        "    return run(self, *given)\n"
        "OnnxNetwork.run = slowly\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    text = in_terminal(
        tmp_path,
        120,
        "render",
        "toy.onnx",
        "a.png",
        "b.png",
        "c.png",
        "-o",
        "{name}.npz",
        env={"PYTHONPATH": path},
    )
    assert "running the network" in text
    assert "1/3" in text
    lines = plain(text).splitlines()
    for name in "abc":
        # The bars' line is wiped right before, and they are drawn anew below.
        assert re.search(rf"\x1b\[2K(\x1b\[[0-9;]*m)*✓ ?(\x1b\[[0-9;]*m)* ?{name}\.npz", text)
        assert any(line.endswith(" s") and f"✓ {name}.npz  7 layers, 106 channels" in line for line in lines)
    made = [name for name in sorted(os.listdir(tmp_path)) if name != "__pycache__"]
    assert made[:6] == ["a.npz", "a.png", "b.npz", "b.png", "c.npz", "c.png"]
