"""How commands open networks: devices, and a process of its own."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

import fluoroscope as fs
from cli_toy import run, write_picture
from fluoroscope.cli.opening import NetworkOptions
from fluoroscope.errors import UsageError
from fluoroscope.network import worker
from fluoroscope.network.budget import Budget

MODEL = str(fs.demo.network_path())
PICTURE = str(fs.demo.image_path())


def test_options_come_to_a_budget() -> None:
    assert NetworkOptions().budget == Budget()
    options = NetworkOptions(memory="1G", isolate=True, timeout=5)
    assert options.budget == Budget(memory=2**30, seconds=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 5}, "--timeout is held by a process that can be stopped: add --isolate"),
        ({"timeout": -1, "isolate": True}, "A time limit is a positive number"),
        ({"threads": -1}, "--threads is a number from 0 "),
        ({"threads": 100_000}, "to 1,024, not 100000"),
        ({"memory": "much"}, "A size is a number"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        NetworkOptions(**options)  # type: ignore[arg-type]


def test_isolated_or_not_the_outputs_are_the_same(tmp_path: Path) -> None:
    for name, more in (("here", []), ("there", ["--isolate"])):
        done = run("render", MODEL, PICTURE, "--layers", "conv", "-o", f"{tmp_path / name}/", *more)
        assert done.stderr == ""
    here, there = (sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("here", "there"))
    assert here == there
    for name in here:
        first, second = ((tmp_path / side / name).read_bytes() for side in ("here", "there"))
        assert first == second, name


def test_summary_and_image_isolated() -> None:
    plain, isolated = (run("summary", MODEL, "--json", *more) for more in ([], ["--isolate"]))
    assert json.loads(plain.stdout) == json.loads(isolated.stdout)
    done = run("image", MODEL, PICTURE, "--isolate", "--timeout", "30", "--json")
    assert json.loads(done.stdout)["tensor"]["shape"] == [150, 150, 3]


def test_too_slow_is_one_block_and_an_exit_code() -> None:
    done = run("summary", MODEL, "--isolate", "--timeout", "0.01", code=7)
    assert done.stderr.startswith("The process of the network failed: Opening")
    assert "--timeout 0.02" in done.stderr


def test_a_picture_it_crashes_on_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        write_picture(tmp_path / f"{number}.png", seed=number)
    plain = worker.IsolatedNetwork.run
    runs: list[int] = []

    def run_and_kill(self, batch, names):  # type: ignore[no-untyped-def]
        runs.append(1)
        if len(runs) == 2:
            os.kill(self.pid, signal.SIGKILL)
        return plain(self, batch, names)

    monkeypatch.setattr(worker.IsolatedNetwork, "run", run_and_kill)
    done = run("render", MODEL, str(tmp_path), "-o", f"{tmp_path}/out/", "--isolate", "--json", code=7)
    results = json.loads(done.stdout)["results"]
    assert [result.get("error", {}).get("kind") for result in results] == [None, "WorkerFailed", None]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0", "2"]


def test_a_missing_device(tmp_path: Path) -> None:
    done = run("render", MODEL, PICTURE, "--device", "cuda", "-o", str(tmp_path / "out.pdf"), code=2)
    assert "pip install onnxruntime-gpu" in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []
