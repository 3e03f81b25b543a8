"""K14: 2,000 mutants of a format. Whatever comes of one, it is one of our errors, soon, and within the
budget.

Each format's mutants are made and tried in processes of their own, so that a crash of native code is seen and
counted: there is to be none.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import fluoroscope as fs
import keras_zoo as zoo
from keras_conformance import FRAMEWORKS, framework, save
from mutation import WAYS, mutant
from test_hostile_keras import archive, h5_file, model
from test_hostile_onnx import sound

COUNT = 2_000
PARTS = 2
PATIENCE = 120
"""Seconds by the clock that nothing may come from a child before it counts as hanging in native code."""


def exported(path: Path) -> None:
    """A small network as PyTorch exports it."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(196, 5)
    ).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # That this exporter is the old one.
        torch.onnx.export(
            layers,
            (torch.zeros(1, 3, 16, 16),),
            str(path),
            dynamo=False,
            input_names=["input"],
            dynamic_axes={"input": {0: "n"}},
        )


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder a format, with sound files of several writers."""
    folder = tmp_path_factory.mktemp("originals")
    for form in WAYS:
        (folder / form).mkdir()
    for name in FRAMEWORKS:
        for make in (zoo.sequentials, zoo.nested, zoo.layer_kinds):
            built = zoo.built(framework(name), make)
            for suffix in ("h5", "keras"):
                save(built, folder / suffix / f"{name}-{make.__name__}.{suffix}")
    shutil.copy(fs.demo.network_path(), folder / "h5" / "demo.h5")
    (folder / "h5" / "dense.h5").write_bytes(h5_file(model()))
    (folder / "keras" / "dense.keras").write_bytes(archive(model()))
    (folder / "onnx" / "sound.onnx").write_bytes(sound())
    exported(folder / "onnx" / "torch.onnx")
    return folder


def tried(form: str, folder: Path, first: int) -> list[dict[str, Any]]:
    """What came of every `PARTS`-th mutant; after a crash another process goes on behind it."""
    script = Path(__file__).with_name("mutation_sandbox.py")
    found: list[dict[str, Any]] = []
    while first < COUNT:
        words = [script, form, folder / form, first, PARTS, COUNT]
        process = subprocess.Popen(
            [sys.executable, "-W", "error", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            stdout, stderr = process.communicate(timeout=PATIENCE * 4)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            stdout, stderr = process.communicate()
        lines = [json.loads(line) for line in stdout.splitlines()]
        found += [line for line in lines if "number" in line]
        if process.returncode == 0:
            assert stderr == ""
            break
        begun = [line for line in lines if "number" not in line]
        assert begun, stderr
        where = "run" if "running" in begun[-1] else "open"
        number = next(line["begun"] for line in reversed(lines) if "begun" in line)
        found.append({"number": number, "where": where, "outcome": f"crash {process.returncode}"})
        first = number + PARTS
    return found


TYPED = {
    "fine", "DamagedFile", "UnknownFormat", "UnsupportedLayer", "RefusedFile", "WeightMismatch",
    "BudgetExceeded", "UsageError", "NetworkError",
}  # fmt: skip


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("form", WAYS, ids=[f"K14-{form}" for form in WAYS])
def test_mutants(form: str, part: int, originals: Path) -> None:
    found = tried(form, originals, part)
    assert len(found) == COUNT // PARTS
    strange = [one for one in found if one["outcome"] not in TYPED]
    assert not strange
    assert max(one["seconds"] for one in found) < 10
    assert max(one["grown"] for one in found) < 2**28
    counts = Counter(one["outcome"] for one in found)
    # Mutation is neither too weak nor too strong: some open, some do not, and for more than one reason.
    assert counts["fine"] > 50
    assert counts["DamagedFile"] > 50
    assert len(counts) > 2


@pytest.mark.parametrize("form", WAYS)
def test_a_mutant_is_always_the_same(form: str, originals: Path) -> None:
    files = [path.read_bytes() for path in sorted((originals / form).iterdir())]
    ways = WAYS[form](files)
    some = [mutant(files, number, ways) for number in range(40)]
    assert len({*some}) > 30
    assert len(set(some) & set(files)) < 10
    # HDF5 and zip hold the time of writing.
    again = [mutant(files, number, ways) for number in range(40)]
    assert sum(one == other for one, other in zip(some, again, strict=True)) > 15
