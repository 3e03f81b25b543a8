"""`fluoroscope.check` and ``fluoroscope check``: what is said of files: whole, hostile, broken."""

from __future__ import annotations

import base64
import json
import marshal
import os
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

import fluoroscope as fs
from fluoroscope import checking
from fluoroscope.checking import EXIT_CODES, files_in
from fluoroscope.cli.app import app
from fluoroscope.errors import BudgetExceeded, DamagedFile, RefusedFile, UsageError
from onnx_models import after, chain, floats, model, node, value
from security_zips import bomb
from test_hostile_keras import archive, h5_file
from test_hostile_keras import model as config


def lambda_layer(name: str = "evil") -> dict[str, object]:
    code = base64.b64encode(marshal.dumps(compile("x / 127.5 - 1", "f", "eval"))).decode()
    return {"class_name": "Lambda", "config": {"name": name, "function": [code, None, None]}}


RELU = {"class_name": "ReLU", "config": {"name": "after", "dtype": "float32"}}
ODD = {"class_name": "Mine", "module": "os", "config": {"name": "odd"}}


class TestWhole:
    def test_a_keras_file(self) -> None:
        report = fs.check(fs.demo.network_path())
        assert (report.verdict, report.exit_code, report.kind) == ("opens whole", 0, "Keras model in HDF5")
        assert (report.facts.writer, report.facts.backend) == ("Keras 2.21.0", "tensorflow")
        network = fs.open_network(fs.demo.network_path())
        assert (report.sha256, report.size) == (network.provenance.sha256, network.provenance.size)
        assert report.contents is not None
        assert report.contents.layers == report.contents.runnable == len(network.layers)
        assert report.contents.parameters["total"] == 240_961
        assert report.contents.inputs == network.inputs
        assert report.contents.outputs == (("dense_1", (1,)),)
        assert report.facts.kinds["Conv2D"] == 4
        (weights,) = report.facts.weights
        assert (weights.dtype, weights.parameters, weights.bytes) == ("float32", 240_961, 963_844)
        assert report.findings == ()

    def test_the_cost_is_that_of_the_convolutions(self) -> None:
        report = fs.check(chain([after("Conv", "k")], {"k": floats(4, 2, 3, 3)}, shape=(1, 2, 10, 10)))
        assert report.contents is not None
        assert report.contents.cost is not None
        # 4 x 8 x 8 outputs of 2 x 3 x 3 multiplications; what is taken and made counts as steps, too.
        exact = 4 * 8 * 8 * 18
        assert exact <= report.contents.cost.work <= 1.3 * exact
        assert report.contents.cost.memory == 4 * (2 * 10 * 10 + 4 * 8 * 8)

    def test_an_archive(self) -> None:
        report = fs.check(archive(config(RELU)))
        assert (report.verdict, report.format, report.facts.writer) == (
            "opens whole",
            "keras-archive",
            "Keras 3.15.1",
        )
        assert report.facts.kinds == {"InputLayer": 1, "Dense": 1, "ReLU": 1}

    def test_the_date_of_an_archive_and_its_optimizer(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "w.h5", "w") as file:
            file["layers/dense/vars/0"], file["layers/dense/vars/1"] = np.ones((4, 3), "f4"), np.ones(3, "f4")
            file["optimizer/vars/0"] = np.ones(100, "f4")
        path = tmp_path / "m.keras"
        path.write_bytes(archive(config(), (tmp_path / "w.h5").read_bytes()))
        with zipfile.ZipFile(path, "a") as zipped:
            assert "metadata.json" in zipped.namelist()
        rewritten = tmp_path / "n.keras"
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(rewritten, "w") as new:
            for name in old.namelist():
                new.writestr(
                    name,
                    '{"keras_version": "3.9.0", "date_saved": "2025-03-01@10:00:00"}'
                    if name == "metadata.json"
                    else old.read(name),
                )
        report = fs.check(rewritten)
        assert (report.facts.writer, report.facts.date) == ("Keras 3.9.0", "2025-03-01@10:00:00")
        assert report.facts.optimizer_bytes == 400
        assert [group.parameters for group in report.facts.weights] == [15]
        assert ("note", "the optimizer's state in the file is not read") in [
            (finding.level, finding.message) for finding in report.findings
        ]

    def test_an_onnx_file(self) -> None:
        made = model(
            [node("Add", ["x", "w"], ["y"])],
            [value("x", ["N", 3, 8, 8])],
            ["y"],
            {"w": np.ones((1, 3, 1, 1))},
        )
        made.producer_name, made.producer_version = "pytorch", "2.3"
        report = fs.check(made.SerializeToString())
        assert report.facts.writer == "pytorch 2.3"
        assert report.facts.opsets == {"ai.onnx": 18}
        assert report.facts.ir_version == 8
        assert report.facts.kinds == {"Add": 1}
        assert [(group.dtype, group.bytes) for group in report.facts.weights] == [("float64", 24)]

    def test_weights_that_are_no_numbers_are_a_warning(self) -> None:
        report = fs.check(chain([after("Conv", "k")], {"k": np.full((4, 2, 3, 3), np.nan, np.float32)}))
        assert report.verdict == "opens whole"
        assert [finding.level for finding in report.findings] == ["warning"]
        assert "NaN or infinite weights in k" in report.findings[0].message


class TestInPart:
    @pytest.mark.parametrize("build", [h5_file, archive])
    def test_programs_in_layers(self, build: object) -> None:
        report = fs.check(build(config(lambda_layer(), RELU, ODD)))  # type: ignore[operator]
        assert (report.verdict, report.exit_code) == ("opens in part", 6)
        found = {finding.layers: finding for finding in report.findings}
        assert found["evil",].level == "danger"
        assert "marshalled Python bytecode, which is never run (it mentions" in found["evil",].message
        assert "127.5" in found["evil",].message
        assert found["odd",].message.startswith("'Mine' is a class from 'os': not Keras's, and not imported")
        assert found["after", "odd"].message == "depend on what cannot be run"
        assert report.contents is not None
        assert report.contents.runnable < report.contents.layers


class TestRefused:
    def test_a_pickle_tells_what_it_would_call(self, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return os.system, (f"touch {tmp_path / 'marker'}",)

        report = fs.check(pickle.dumps(Evil()))
        assert (report.verdict, report.exit_code, report.kind) == ("refused", 3, "a Python pickle")
        assert "It asks for posix.system" in report.findings[0].message
        assert not (tmp_path / "marker").exists()

    def test_what_is_in_a_file_that_is_refused_is_told_all_the_same(self) -> None:
        """A way out of the file is what opening stumbles over; the Lambda is there too."""
        import io

        buffer = io.BytesIO(h5_file(config(lambda_layer())))
        with h5py.File(buffer, "r+") as file:
            del file["model_weights/d/d/kernel:0"]
            file["model_weights/d/d/kernel:0"] = h5py.ExternalLink("/etc/passwd", "/x")
        report = fs.check(buffer.getvalue())
        assert report.verdict == "refused"
        assert [finding.level for finding in report.findings] == ["danger", "danger"]
        assert {finding.layers for finding in report.findings} == {(), ("evil",)}
        assert report.facts.writer == "Keras 2.15.0"

    def test_all_that_an_onnx_file_would_need_from_outside(self) -> None:
        made = model([node("Mine", ["x"], ["y"], domain="evil")], [value("x", [1, 3, 8, 8])], ["y"])
        tensor = made.graph.initializer.add(name="w", data_type=1, dims=[3], data_location=1)
        tensor.external_data.add(key="location", value="../../secret")
        report = fs.check(made.SerializeToString())
        text = " ".join(finding.message for finding in report.findings)
        assert "1 of its weights lie in other files: '../../secret'" in text
        assert "outside standard ONNX, which need a library to run: evil.Mine" in text
        assert report.exit_code == 3

    def test_a_saved_model(self, tmp_path: Path) -> None:
        (tmp_path / "sm").mkdir()
        (tmp_path / "sm" / "saved_model.pb").write_bytes(b"\x08\x01\x12\x02\n\0")
        for path in (tmp_path / "sm", tmp_path / "sm" / "saved_model.pb"):
            report = fs.check(path)
            assert (report.verdict, report.kind) == ("refused", "a TensorFlow SavedModel")
        assert list(files_in(tmp_path)) == [tmp_path / "sm"]


class TestBroken:
    @pytest.mark.parametrize("build", [h5_file, archive])
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
    def test_cut_short(self, build: object, share: float) -> None:
        data: bytes = build(config(lambda_layer()))  # type: ignore[operator]
        report = fs.check(data[: int(len(data) * share)])
        assert report.exit_code in (3, 6)
        assert report.size == int(len(data) * share)
        assert report.findings

    def test_over_the_budget(self) -> None:
        report = fs.check(fs.demo.network_path(), budget=fs.Budget(memory=10_000))
        assert (report.verdict, report.exit_code) == ("over budget", 5)
        assert report.size == Path(fs.demo.network_path()).stat().st_size
        report = fs.check(Path(fs.demo.network_path()).read_bytes(), budget=fs.Budget(memory=10_000))
        assert (report.verdict, report.findings[0].error) == ("over budget", "BudgetExceeded")
        assert report.facts.kinds["Conv2D"] == 4

    def test_a_weight_that_unpacks_to_many_times_its_size(self) -> None:
        data = bomb("model.weights.h5", 2**27, 2**27, config__json=json.dumps(config()).encode())
        report = fs.check(data)
        assert report.verdict == "over budget"
        assert "If you trust the file: --expansion 10" in report.findings[0].message
        # Raised, it is unpacked, and then seen to be no HDF5.
        assert fs.check(data, budget=fs.Budget(expansion=2000)).verdict == "damaged"

    def test_more_work_than_the_budget(self) -> None:
        report = fs.check(fs.demo.network_path(), budget=fs.Budget(work=1000))
        assert "2.4e+08 multiplications; the budget is 1.0e+03" in report.findings[0].message

    @pytest.mark.parametrize(
        "data", [b"", b"hello", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x08\x07\x12\x01a:\0"]
    )
    def test_next_to_nothing(self, data: bytes) -> None:
        assert fs.check(data).exit_code == 3

    @pytest.mark.parametrize("path", ["absent.h5", "a\0b", "/dev/zero"])
    def test_what_cannot_be_read(self, path: str) -> None:
        report = fs.check(path)
        assert (report.verdict, report.sha256) == ("unreadable", None)
        assert report.findings[0].level == "problem"

    def test_no_path(self) -> None:
        with pytest.raises(UsageError, match="a path or the bytes of a file, not int"):
            fs.check(3)  # type: ignore[arg-type]

    def test_a_fault_of_ours_is_told_and_hides_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise ZeroDivisionError("oops")

        monkeypatch.setattr(checking, "open_network", fail)
        report = fs.check(fs.demo.network_path())
        assert report.exit_code == 3
        assert "ZeroDivisionError: oops. Please report it" in report.findings[0].message
        assert report.facts.kinds["Conv2D"] == 4

    @pytest.mark.parametrize("error", [BudgetExceeded, DamagedFile, RefusedFile])
    def test_every_verdict_has_the_code_of_its_error(self, error: type[fs.FluoroscopeError]) -> None:
        verdict = checking._verdict(error("x"))
        assert EXIT_CODES[verdict] == error.exit_code


class TestCommand:
    def run(self, *words: object) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["check", *map(str, words)])
        return done.exit_code, done.stdout

    def test_one_file(self) -> None:
        code, text = self.run(fs.demo.network_path())
        assert code == 0
        assert text.startswith(f"{fs.demo.network_path()}: opens whole\n")
        for part in ("Keras 2.21.0, on tensorflow", "4 Conv2D", "240,961 float32 in 10 arrays", "of 2 GiB"):
            assert part in text.replace("\N{NO-BREAK SPACE}", " ")

    def test_budgets(self) -> None:
        text = self.run(fs.demo.network_path(), "--work", "1e3")[1]
        assert "problem  Running all of it for one picture takes 2.4e+08 multiplications" in text
        assert self.run(fs.demo.network_path(), "--memory", "10K")[0] == 5
        assert self.run(fs.demo.network_path(), "--work", "0.5")[0] == 2
        assert self.run(fs.demo.network_path(), "--expansion", "0")[0] == 2

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "readme.txt").write_text("hello")
        (tmp_path / ".git").mkdir()
        (tmp_path / ".git" / "evil.pkl").write_bytes(pickle.dumps(1))
        (tmp_path / "inner").mkdir()
        (tmp_path / "inner" / "part.h5").write_bytes(h5_file(config(lambda_layer())))
        (tmp_path / "inner" / "loop").symlink_to(tmp_path)
        return tmp_path

    def test_a_folder(self, folder: Path) -> None:
        code, text = self.run(folder)
        assert code == 6
        assert "1 file: opens in part 1; 1 other file in the folders, no networks" in text
        assert self.run(folder, folder / "readme.txt")[0] == 3

    def test_what_counts_in_a_folder(self, folder: Path) -> None:
        """A script beside networks is none; what has the name of a network is to be told about."""
        (folder / "train.py").write_text("#!/usr/bin/env python3\n")
        (folder / "library.so").write_bytes(b"\x7fELF" + bytes(20))
        code, text = self.run(folder)
        assert code == 6
        assert "1 file: opens in part 1; 3 other files in the folders, no networks" in text
        (folder / "empty.H5").write_bytes(b"")
        code, text = self.run(folder)
        assert code == 3
        assert "empty.H5" in text
        assert "train.py" not in text

    @pytest.mark.parametrize(
        ("files", "code"),
        [
            ([chain([after("Relu")])], 0),
            ([chain([after("Relu")]), pickle.dumps(1)], 3),
            ([h5_file(config(lambda_layer())), chain([after("Relu")], shape=(1, 2, 2**17, 2**17))], 5),
        ],
    )
    def test_the_worst_code_counts(self, files: list[bytes], code: int, tmp_path: Path) -> None:
        for number, data in enumerate(files):
            (tmp_path / str(number)).write_bytes(data)
        assert self.run(tmp_path)[0] == code

    def test_json(self, folder: Path) -> None:
        code, text = self.run(folder, "--json")
        told = json.loads(text)
        assert told["exit_code"] == code == 6
        reports = {Path(one["path"]).name: one for one in told["files"]}
        assert set(reports) == {"readme.txt", "part.h5"}
        assert reports["part.h5"]["verdict"] == "opens in part"
        assert reports["part.h5"]["findings"][0]["layers"] == ["evil"]
        assert reports["part.h5"] == fs.check(folder / "inner" / "part.h5").to_json() | {
            "path": reports["part.h5"]["path"]
        }

    def test_names_from_a_file_cannot_act_on_the_terminal(self, tmp_path: Path) -> None:
        name = "\x1b[31m[bold]\u202eevil\n\x07"
        path = tmp_path / "\x1b]0;title\x07.h5"
        path.write_bytes(h5_file(config(lambda_layer(name))))
        code, text = self.run(path)
        assert code == 6
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
        assert r"\x1b[31m[bold]\u202eevil\n\x07" in text
