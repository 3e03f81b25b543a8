"""Files whose functions ask for more than there is: refused before anything of that size is made."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import fluoroscope
from fluoroscope.errors import FluoroscopeError


def _file(path: Path, calls: Mapping[str, tuple[str, list[Any]]], shape: Any = (8, 8, 4)) -> Path:
    """A tf.keras file of functions: name -> function and its ``inbound_nodes``."""
    entry = {"batch_input_shape": [None, *shape], "dtype": "float32", "name": "x"}
    layers: list[Any] = [{"class_name": "InputLayer", "config": entry, "name": "x", "inbound_nodes": []}]
    for name, (function, nodes) in calls.items():
        config = {"name": name, "trainable": True, "dtype": "float32", "function": function}
        layers.append({"class_name": "TFOpLambda", "config": config, "name": name, "inbound_nodes": nodes})
    model = {"name": "m", "layers": layers, "input_layers": [["x", 0, 0]]}
    model["output_layers"] = [[layers[-1]["name"], 0, 0]]
    with h5py.File(path, "w") as file:
        text = json.dumps({"class_name": "Functional", "config": model})
        file.attrs.update({"model_config": text, "keras_version": "2.11.0", "backend": "tensorflow"})
        file.create_group("model_weights").attrs["layer_names"] = np.array([], "S1")
    return path


def _of_x(**kwargs: Any) -> list[Any]:
    return [["x", 0, 0, kwargs]]


def _of_number(value: Any, **kwargs: Any) -> list[Any]:
    return [["_CONSTANT_VALUE", -1, value, kwargs]]


_DEEP: Any = 1
for _ in range(200):
    _DEEP = [_DEEP]

BOMBS: Mapping[str, Mapping[str, tuple[str, list[Any]]]] = {
    "tile": {"a": ("tile", _of_x(multiples=[1, 100_000, 100_000, 100]))},
    "tile overflow": {"a": ("tile", _of_x(multiples=[1, 2**31 - 1, 2**31 - 1, 2**31 - 1]))},
    "repeat": {"a": ("repeat", _of_x(repeats=2**30, axis=1))},
    "repeat nothing of much": {
        "a": ("tile", _of_x(multiples=[1, 2**24, 1, 1])),
        "b": ("repeat", [["a", 0, 0, {"repeats": 0, "axis": 1}]]),
    },
    "pad": {"a": ("pad", _of_x(paddings=[[0, 0], [2**30, 2**30], [2**30, 0], [0, 0]]))},
    "mirror": {"a": ("pad", _of_x(paddings=[[0, 0], [2**30, 0], [0, 0], [0, 0]], mode="SYMMETRIC"))},
    "one hot": {"a": ("one_hot", _of_x(depth=2**31 - 1))},
    "range": {"a": ("range", _of_number(2**31 - 1)), "b": ("math.add", _of_x(y=["a", 0, 0]))},
    "zeros": {
        "a": ("zeros", _of_number([2**30, 2**30])),
        "b": ("math.add", _of_x(y=["a", 0, 0])),
    },
    "resize": {"a": ("image.resize", _of_x(size=[2**20, 2**20]))},
    "patches": {
        "a": ("image.extract_patches", _of_x(sizes=[1, 8, 8, 1], strides=[1, 9, 7, 1], rates=[1, 1, 1, 1]))
    }
    | {"b": ("tile", [["a", 0, 0, {"multiples": [1, 2**20, 2**20, 1]}]])},
    "split": {
        "a": ("tile", _of_x(multiples=[1, 2**20, 1, 1])),
        "b": ("split", [["a", 0, 0, {"num_or_size_splits": 2**23, "axis": 1}]]),
    },
    "a million zeros, doubled": {
        "c0": ("zeros", _of_number([2**20])),
        **{
            f"c{i}": ("concat", [[[f"c{i - 1}", 0, 0, {"axis": 0}], [f"c{i - 1}", 0, 0, {"axis": 0}]]])
            for i in range(1, 40)
        },
        "z": ("math.add", _of_x(y=["c39", 0, 0])),
    },
    "many tables": {
        **{f"z{i}": ("zeros", _of_number([8, 2**20, 1])) for i in range(200)},
        **{f"s{i}": ("math.add", _of_number(1.5, y=[f"z{i}", 0, 0])) for i in range(200)},
        "last": ("math.add", _of_x(y=["s199", 0, 0])),
    },
    "new axes": {"a": ("expand_dims", _of_x(axis=list(range(1, 400))))},
    "outer": {"a": ("tensordot", _of_x(b=["x", 0, 0], axes=0))},
    "deep": {"a": ("math.add", _of_x(y=_DEEP))},
    "number of axes": {"a": ("reshape", _of_x(shape=[1] * 5000))},
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_functions_that_ask_for_too_much(bomb: str, tmp_path: Path) -> None:
    path = _file(tmp_path / "bomb.h5", BOMBS[bomb])
    began = time.monotonic()
    tracemalloc.start()
    try:
        network = fluoroscope.open_network(path)
        values = network.run(np.zeros((1, 8, 8, 4), "float32"), [network.layers[-1].name])
        assert sum(value.nbytes for value in values.values()) < 2**20
    except FluoroscopeError:
        pass  # the usual end; where it can be run, it is cheap
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert time.monotonic() - began < 10
    assert most < 600 * 2**20
