"""``fluoroscope summary``: the table agrees with the network, and nothing in a file can act."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

import fluoroscope as fs
from cli_toy import in_terminal, plain, run, write_network


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("summary") / "toy.onnx")


def test_a_line_a_layer_with_its_numbers(model: Path) -> None:
    lines = run("summary", model).stdout.splitlines()
    network = fs.open_network(model)
    table = next(i for i, line in enumerate(lines) if line.lstrip().startswith("#"))
    for number, layer in enumerate(network.layers):
        line = lines[table + 1 + number]
        assert line.split()[:3] == [str(number), layer.name, layer.kind]
        assert f" {' × '.join(map(str, layer.shape))} " in line
        assert f" {layer.parameters:,} " in line
    assert not any(line != line.rstrip() for line in lines), "no blanks at the ends of lines"


def test_totals_and_origin(model: Path) -> None:
    text = run("summary", model).stdout
    assert "written by toymaker 1.5" in text
    # 20 x 3 x 3 x 3 + 20 + 20 x 3
    assert "620 parameters" in text
    assert "takes picture (20 × 20 × 3), gives probability (3)" in text


def test_json_is_the_whole_table(model: Path) -> None:
    network = fs.open_network(model)
    told: dict[str, Any] = json.loads(run("summary", model, "--json").stdout)["network"]
    assert told["parameters"] == {"total": 620, "trainable": 620, "non_trainable": 0}
    assert told["inputs"] == [{"name": "picture", "shape": [20, 20, 3], "dtype": "float32"}]
    assert told["outputs"] == ["probability"]
    assert told["file"]["sha256"] == network.provenance.sha256
    assert [layer["name"] for layer in told["layers"]] == [layer.name for layer in network.layers]
    conv = told["layers"][1]
    assert conv["number"] == 1
    assert conv["shape"] == [18, 18, 20]
    assert conv["inputs"] == ["picture"]
    assert conv["receptive_field"] == {"size": [3, 3], "stride": [1, 1], "offset": [0, 0], "whole": False}
    assert conv["activation_bytes"] == 18 * 18 * 20 * 4


def test_a_free_size_is_filled_in(tmp_path: Path) -> None:
    model = write_network(tmp_path / "free.onnx", size=None)
    text = run("summary", model).stdout
    assert "? × ? × 3" in text
    assert "activations by the size of the picture: see --size" in text
    conv = json.loads(run("summary", model, "--json").stdout)["network"]["layers"][1]
    assert (conv["shape"], conv["activation_bytes"]) == ([None, None, 20], None)
    sized = run("summary", model, "--size", "32x40").stdout
    # (32·40·3 + 2·30·38·20 + 15·19·20 + 2·20 + 2·3) · 4 bytes
    assert "216 KiB activations of one picture" in sized
    assert "30 × 38 × 20" in sized
    assert "15 × 19 × 20" in sized


def test_notes_of_the_reader_are_shown(tmp_path: Path) -> None:
    model = write_network(tmp_path / "broken.onnx", broken=True)
    assert "NaN or infinite weights in kernel" in run("summary", model).stdout


def test_the_reason_of_what_cannot_be_run_stands_beneath(monkeypatch: pytest.MonkeyPatch) -> None:
    class Network:
        """A picture, a Lambda, and a layer after it."""

        name = "odd"
        outputs = ("after",)
        inputs = (fs.InputSpec(name="picture", shape=(8, 8, 3)),)
        provenance = fs.Provenance(
            path="odd.h5", format="keras-hdf5", writer=None, backend=None, sha256="0", size=9
        )
        layers = (
            fs.Layer(name="picture", kind="InputLayer", family="input", shape=(8, 8, 3)),
            fs.Layer(
                name="trick",
                kind="Lambda",
                family="other",
                shape=(),
                inputs=("picture",),
                problem="it is\x1b code",
            ),
            fs.Layer(
                name="after",
                kind="ReLU",
                family="activation",
                shape=(),
                inputs=("trick",),
                problem="it needs 'trick'",
            ),
        )

    monkeypatch.setattr("fluoroscope.formats.open_network", lambda *_, **__: Network())
    lines = run("summary", "odd.h5").stdout.splitlines()
    assert re.search(r"1 trick +Lambda +cannot be run", "\n".join(lines))
    assert lines[-2:] == ["cannot be run  trick: it is\\x1b code", "cannot be run  after: it needs 'trick'"]
    told = json.loads(run("summary", "odd.h5", "--json").stdout)["network"]["layers"]
    assert [layer["problem"] for layer in told] == [None, "it is\x1b code", "it needs 'trick'"]


HOSTILE = "[red]x[/red] \x1b[31m\x1b]0;owned\x07\r\n\u202e :smile: [link=http://x]"


def test_names_cannot_act(tmp_path: Path) -> None:
    model = write_network(tmp_path / "hostile.onnx", conv=HOSTILE)
    text = run("summary", model).stdout
    assert "[red]x[/red] \\x1b[31m\\x1b]0;owned\\x07\\r\\n\\u202e :smile: [link=http://x]" in text
    assert "\x1b" not in text
    assert len(text.splitlines()) == len(
        run("summary", write_network(tmp_path / "a.onnx")).stdout.splitlines()
    )


def test_names_cannot_act_in_a_terminal_either(tmp_path: Path) -> None:
    write_network(tmp_path / "hostile.onnx", conv=HOSTILE)
    text = in_terminal(tmp_path, 200, "summary", "hostile.onnx")
    assert "\x1b[1m" in text, "this is a terminal"
    assert "[red]x[/red] \\x1b[31m\\x1b]0;owned\\x07\\r\\n\\u202e :smile: [link=http://x]" in plain(text)
    assert not re.search(r"\x1b(?!\[[0-9;]*m)|\x07|\u202e", text), "nothing but colours"


def test_a_long_name_is_a_line(tmp_path: Path) -> None:
    model = write_network(tmp_path / "long.onnx", conv="n" * 1000)
    lines = run("summary", model).stdout.splitlines()
    assert max(map(len, lines)) < 300
    assert any("nnn…nnn" in line for line in lines)


def test_a_megabyte_of_name_is_refused_in_a_few_words(tmp_path: Path) -> None:
    model = write_network(tmp_path / "long.onnx", conv="n" * 1_000_000)
    assert len(run("summary", model, code=3).stderr) < 1000


def test_a_narrow_terminal_gets_lines_that_fit(model: Path) -> None:
    text = plain(in_terminal(model.parent, 60, "summary", model.name))
    assert max(map(len, text.splitlines())) <= 60
    for layer in fs.open_network(model).layers:
        assert layer.name in text
        assert layer.kind in text
        assert " × ".join(map(str, layer.shape)) in text


def test_what_a_layer_takes_is_broken_between_names(tmp_path: Path) -> None:
    names = [f"a_name_of_some_length_{i}" for i in range(4)]
    nodes = [helper.make_node("Relu", ["picture"], [name], name=name) for name in names]
    nodes.append(helper.make_node("Sum", names, ["total"], name="total"))
    picture = helper.make_tensor_value_info("picture", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    total = helper.make_tensor_value_info("total", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    graph = helper.make_graph(nodes, "branches", [picture], [total])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.save(model, tmp_path / "branches.onnx")

    def rows(columns: int) -> list[str]:
        text = plain(in_terminal(tmp_path, columns, "summary", "branches.onnx"))
        return text.partition("total  ")[2].splitlines()

    # One line, a line a name, and two lines a layer where not even that fits.
    assert ", ".join(names) in rows(200)[0]
    assert [name in row for name, row in zip(names, rows(100), strict=False)] == [True] * 4
    assert " 8 × 8 × 3 " in rows(100)[0]
    assert "1 × 1" in rows(100)[0]
    assert rows(60)[1].split()[0] == "Sum"


def test_no_colour_where_none_is_wanted(model: Path) -> None:
    text = in_terminal(model.parent, 120, "summary", model.name, env={"NO_COLOR": "1"})
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", text)
    assert "\x1b[1m" in text, "bold is no colour"
