"""The generated page of layers: current, and without a gap."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

import fluoroscope
from fluoroscope.formats.keras.layers import ALIASES
from fluoroscope.formats.keras.model import KerasLayer, KerasModel, LayerCall
from fluoroscope.formats.keras.refused import PARTS, REFUSED
from fluoroscope.formats.keras.translate import translate
from fluoroscope.formats.keras.translate.table import TABLE
from keras_1_files import keras_1_file
from keras_conformance import framework

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tool() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / "layers_table.py"))


def test_the_page_is_current(tool: dict[str, Any]):
    """If not: ``python tools/layers_table.py``."""
    assert (ROOT / "docs" / "layers.md").read_text(encoding="utf-8") == tool["page"]()


@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_every_layer_of_a_library_is_on_it(name: str, tool: dict[str, Any]):
    layers = framework(name).layers
    wanted = {kind for kind in dir(layers) if isinstance(getattr(layers, kind), type)}
    assert len(wanted) > 100
    listed = {kind: versions for kind, _, versions, *_ in tool["rows"]()}
    version = {"keras": "3", "tf_keras": "2"}[name]
    assert not {kind for kind in wanted if version not in listed.get(kind, "")}


def test_every_layer_of_keras_1_is_on_it(tool: dict[str, Any]):
    listed = {kind for kind, _, versions, *_ in tool["rows"]() if "1" in versions}
    assert listed == tool["KERAS_1"]
    assert len(listed) == 65


def test_every_layer_is_translated_or_refused_with_a_reason(tool: dict[str, Any]):
    assert not [kind for kind, done, *_ in tool["rows"]() if done.startswith("not translated")]


def test_nothing_is_both_translated_and_refused():
    assert not TABLE.keys() & (REFUSED.keys() | PARTS.keys())
    assert not ALIASES.keys() & (TABLE.keys() | REFUSED.keys())
    assert set(ALIASES.values()) <= TABLE.keys()


@pytest.mark.parametrize("kind", REFUSED)
def test_the_reason_is_what_the_user_is_told(kind: str):
    entry = {"class_name": kind, "config": {"name": "it", "batch_input_shape": [None, 3]}}
    config = {"class_name": "Sequential", "config": {"name": "net", "layers": [entry]}}
    network = fluoroscope.open_network(keras_1_file(config, {"it": []}, version="2.9.0"))
    problem = network.layers[-1].problem
    assert problem is not None
    assert problem.startswith(f"Layer 'it' ({kind}) cannot be run: {REFUSED[kind]}")


@pytest.mark.parametrize("kind", PARTS)
def test_the_reason_why_a_part_is_refused_alone(kind: str):
    entry = KerasLayer(name="in", kind="InputLayer", config={"batch_shape": [None, 3]}, weights={})
    part = KerasLayer(name="it", kind=kind, config={}, weights={})
    calls = (LayerCall(name="in", layer=entry), LayerCall(name="it", layer=part, inputs=(("in", 0),)))
    model = KerasModel(name="net", calls=calls, inputs=("in",), outputs=(("it", 0),), keras_version=(3, 0))
    assert translate(model).rows[-1].layer.problem == f"Layer 'it' ({kind}) cannot be run: {PARTS[kind]}"
