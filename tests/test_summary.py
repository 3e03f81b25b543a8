"""The layer table in words."""

from types import SimpleNamespace

import pytest

from fluoroscope.network.protocol import InputSpec, Layer, Provenance, ReceptiveField
from fluoroscope.network.summary import (
    HEADINGS,
    kind_text,
    origin_text,
    receptive_text,
    shape_text,
    summary_html,
    summary_text,
    table,
    totals,
)


def field(size, stride, offset, **more):
    return ReceptiveField(size=size, stride=stride, offset=offset, **more)


NETWORK = SimpleNamespace(
    name="toy",
    inputs=(InputSpec(name="x", shape=(None, None, 3)),),
    layers=(
        Layer(name="x", kind="InputLayer", family="input", shape=(None, None, 3)),
        Layer(
            name="conv",
            kind="Conv2D",
            family="conv",
            shape=(8, 8, 1200),
            parameters=33600,
            trainable=33600,
            inputs=("x",),
            activation="relu",
            receptive_field=field((3, 3), (1, 1), (0, 0)),
        ),
        Layer(name="bn", kind="BatchNormalization", family="normalization", shape=(8, 8, 2), parameters=8,
              trainable=4, inputs=("conv",)),
        Layer(name="odd", kind="Lambda", family="other", shape=(), inputs=("bn",), problem="bytecode"),
        Layer(name="add", kind="Add", family="merge", shape=(8, 8, 2), inputs=("conv", "bn")),
    ),
    provenance=Provenance(
        path="toy.h5", format="keras-hdf5", writer="Keras 2.0.5", backend="tensorflow", sha256="0", size=9,
        notes=("NaN weights in bn",),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "text"),
    [((148, 148, 32), "148 × 148 × 32"), ((None, 3), "? × 3"), ((10,), "10"), ((), "–")],
)
def test_shapes(shape, text):
    assert shape_text(shape) == text


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        (None, "–"),
        (field((3.0, 3.0), (1.0, 1.0), (0.0, 0.0)), "3 × 3"),
        (field((10.0, 12.0), (4.0, 4.0), (-3.0, -3.0)), "10 × 12 /4 @-3"),
        (field((10.0, 10.0), (4.0, 2.0), (-3.0, 1.0)), "10 × 10 /4,2 @-3,1"),
        (field((5.5, 5.5), (0.5, 0.5), (-2.25, -2.25)), "5.5 × 5.5 /0.5 @-2.25"),
        (field((1.0, 1.0), (1 / 3, 1 / 3), (0.0, 0.0)), "1 × 1 /0.3333"),
        (field((7.0,), (2.0,), (-1.0,)), "7 /2 @-1"),
        (field((3.0, 3.0), (1.0, 1.0), (0.0, 0.0), whole=True), "3 × 3 + whole"),
        (field((131_849.0,), (256.0,), (-65_921.0,), whole=True), "131849 /256 @-65921 + whole"),
        (field((24.0, 20.0), (), (), whole=True), "whole picture"),
        (field((), (), (), whole=True), "whole picture"),
    ],
)
def test_receptive_fields(seen, text):
    assert receptive_text(seen) == text


def test_kinds():
    assert [kind_text(layer) for layer in NETWORK.layers[:2]] == ["InputLayer", "Conv2D + relu"]


def test_table():
    rows = table(NETWORK)
    assert all(len(row) == len(HEADINGS) for row in rows)
    assert rows == [
        ("0", "x", "InputLayer", "? × ? × 3", "0", "–", ""),
        ("1", "conv", "Conv2D + relu", "8 × 8 × 1200", "33,600", "3 × 3", ""),
        ("2", "bn", "BatchNormalization", "8 × 8 × 2", "8", "–", ""),
        ("3", "odd", "Lambda", "cannot be run", "0", "–", ""),
        # Not simply the row above: said.
        ("4", "add", "Add", "8 × 8 × 2", "0", "–", "conv, bn"),
    ]


def test_totals():
    assert totals(NETWORK) == {"total": 33608, "trainable": 33604, "non_trainable": 4}


@pytest.mark.parametrize(
    ("writer", "backend", "text"),
    [
        ("Keras 2.0.5", "tensorflow", "keras-hdf5, written by Keras 2.0.5 (tensorflow)"),
        ("pytorch 2.3", None, "keras-hdf5, written by pytorch 2.3"),
        (None, None, "keras-hdf5"),
    ],
)
def test_origins(writer, backend, text):
    origin = Provenance(path=None, format="keras-hdf5", writer=writer, backend=backend, sha256="", size=0)
    assert origin_text(SimpleNamespace(provenance=origin)) == text


def test_text_lines_up():
    lines = summary_text(NETWORK).splitlines()
    assert lines[0] == "toy: keras-hdf5, written by Keras 2.0.5 (tensorflow)"
    head, conv = lines[2], next(line for line in lines if " conv " in line)
    for heading, cell in (
        ("Layer", "conv"),
        ("Type", "Conv2D + relu"),
        ("Output shape", "8 × 8"),
        ("Takes", ""),
    ):
        assert conv[head.index(heading) :].startswith(cell)
    assert conv[: head.index("Params") + len("Params")].endswith("33,600")
    assert lines[-4:] == [
        "Total params: 33,608",
        "Trainable params: 33,604",
        "Non-trainable params: 4",
        "Note: NaN weights in bn",
    ]


def test_html_escapes_what_a_file_says_and_loads_nothing():
    evil = "<img src=x onerror=alert(1)>&\"'"
    network = SimpleNamespace(
        name=evil,
        inputs=(),
        layers=(
            Layer(name=evil, kind=evil, family="conv", shape=(1, 1, 1), inputs=(evil, "y"), activation=evil),
        ),
        provenance=Provenance(
            path=None, format="onnx", writer=evil, backend=evil, sha256="", size=0, notes=(evil,)
        ),
    )
    html = summary_html(network)
    assert "<img" not in html
    assert html.count("&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#x27;") == 8
    assert "http" not in html
    assert "src=" not in html.replace("&lt;img src=x", "")
    assert "33,608" in summary_html(NETWORK)


def test_a_sequential_whose_input_is_no_row():
    network = SimpleNamespace(
        inputs=(InputSpec(name="conv_input", shape=(8, 8, 3)),),
        layers=(Layer(name="conv", kind="Conv2D", family="conv", shape=(6, 6, 4), inputs=("conv_input",)),),
    )
    assert table(network)[0][-1] == ""
