"""Table A of the safety bar: hostile network files, one test a row, found by the row's id.

Each row builds its own file with a harmless payload: a marker that must not appear, or a neighbour that must
not be read. It is opened, run, checked and summarised in a process of its own. Expected is one of our errors,
or a network whose rows say what is not run, within ten seconds of the processor and the stated budget, with
nothing else opened. Mutants (K14) are in ``test_mutants.py``.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fluoroscope as fs
import security_rows_keras as keras_rows
import security_rows_onnx as onnx_rows
import security_rows_programs as program_rows
import test_hostile_onnx as onnx_files
from onnx_models import after, chain, floats
from security_rows import ROWS, Json, Row
from test_hostile_keras import archive, h5_file
from test_hostile_keras import model as keras_model


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Json]]:
    """What comes of a row's file, by its id."""
    here = Path(__file__).parent
    warm = tmp_path_factory.mktemp("warm")
    for name, data in {
        "a.h5": h5_file(keras_model()),
        "b.h5": h5_file(keras_model(keras_rows.lambda_layer("x"))),
        "c.keras": archive(keras_model()),
        "d.onnx": chain([after("Conv", "k")], {"k": floats(4, 2, 3, 3)}),
        "e.onnx": onnx_files.BOMBS["Tile behind a sum"],
        "f.pkl": pickle.dumps(os.system),
        "g.pt": program_rows.torch_zip()(warm),
        "h.txt": b"nothing",
    }.items():
        (warm / name).write_bytes(data)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(here / "security_sandbox.py"), *map(str, sorted(warm.iterdir()))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"},
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def result(name: str) -> Json:
        folder = tmp_path_factory.mktemp("row")
        built = ROWS[name].build(folder)
        path = built
        if isinstance(built, bytes):
            path = folder / "hostile"
            path.write_bytes(built)
        before = sorted(folder.rglob("*"))
        process.stdin.write(
            json.dumps({"name": name, "path": str(path), "folder": str(Path(str(path)).parent)}) + "\n"
        )
        process.stdin.flush()
        told = json.loads(process.stdout.readline())
        assert told["name"] == name
        return told | {"left": [str(path) for path in sorted(folder.rglob("*")) if path not in before]}

    yield result
    process.stdin.close()
    process.wait(20)
    process.stdout.close()


@pytest.mark.parametrize("name", ROWS)
def test_row(name: str, results: Callable[[str], Json]) -> None:
    expected, told = ROWS[name], results(name)
    assert told["status"] == 0, "the process died"
    first, report, summary = told["open"], told["check"], told["summary"]
    if first["outcome"] == "opened":
        said = "\n".join([*map(str, first["problems"].values()), *first["notes"]])
    else:
        said = f"{first['outcome']}: {first['message']}"
    assert re.search(expected.outcome, said, re.DOTALL), said
    assert "not ours" not in said
    # No marker, nothing written, nothing else read, nobody called.
    assert told["left"] == []
    assert told["events"] == []
    # Within ten seconds, and the budget.
    assert max(part["seconds"] for part in (first, report, summary)) < 10
    assert told["grown"] < expected.grown
    # ``fluoroscope check`` holds whatever is in the file.
    assert report["outcome"] == "opened", report
    assert re.fullmatch(expected.verdict, report["report"]["verdict"]), report["report"]
    assert report["report"]["findings"]
    # ``fluoroscope summary`` ends with a message and the code of its error, never with a traceback.
    code = summary["code"]
    assert code in ((0, 5) if first["outcome"] == "opened" or code != 3 else (3,)), summary
    assert "Traceback" not in summary["stderr"]
    assert "fault of Fluoroscope" not in summary["stderr"]
    assert summary["stderr"] or code == 0


def test_o4_bytes_are_never_resolved_against_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = onnx_rows.external(lambda folder: "weights.bin")(tmp_path)
    monkeypatch.chdir(path.parent)
    with pytest.raises(fs.errors.RefusedFile):
        fs.open_network(path.read_bytes())
    assert fs.check(path.read_bytes()).verdict == "refused"


def test_every_row_of_the_table_is_there() -> None:
    ids = {name.partition("-")[0] for name in ROWS} | {"K14", "O4"}
    wanted = {f"K{n}" for n in range(1, 16)} | {f"O{n}" for n in range(1, 8)} | {f"P{n}" for n in range(1, 6)}
    assert ids == wanted | {"S1", "S2", "N1"}


def test_the_sandbox_notices(
    results: Callable[[str], Json], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fine = Row(build=lambda folder: h5_file(keras_model()), outcome="", verdict="opens whole")
    monkeypatch.setitem(ROWS, "fine", fine)
    monkeypatch.setitem(ROWS, "misbehave", fine)
    told = results("fine")
    assert (told["open"]["outcome"], told["summary"]["code"], told["events"]) == ("opened", 0, [])
    told = results("misbehave")
    assert len(told["left"]) == 1
    seen = [event.split()[0] for event in told["events"]]
    assert seen == ["open", "open", "exec", "socket.__new__", "os.system", "pickle.find_class"]
