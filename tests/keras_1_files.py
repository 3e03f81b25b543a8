"""Files as Keras 1 wrote them, made by hand. Not a test itself."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np

Array = np.ndarray[Any, Any]
Groups = Mapping[str, Sequence[tuple[str, Array]]]
"""Each layer's weights by the names that they have in the file."""


def keras_1_file(
    config: Any, groups: Groups, *, version: str | None = "1.2.2", backend: str | None = None
) -> bytes:
    """``save_model`` of Keras 1.2.2: attributes as bytes, names as arrays of bytes, one group a layer."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        if version is not None:
            file.attrs["keras_version"] = version.encode()
        file.attrs["model_config"] = json.dumps(config).encode()
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [name.encode() for name in groups]
        if backend is not None:
            weights.attrs["backend"] = backend.encode()
        for layer, arrays in groups.items():
            group = weights.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name, _ in arrays]
            for name, array in arrays:
                group.create_dataset(name, data=array)
    return buffer.getvalue()


def one_layer(
    class_name: str, shape: Sequence[int | None], weights: Mapping[str, Array], **config: Any
) -> tuple[Any, Groups]:
    """A Sequential of one layer called ``it``, whose variables are called ``it_W`` and so on."""
    fixed = {"name": "it", "trainable": True, "batch_input_shape": [None, *shape], "input_dtype": "float32"}
    layers = [{"class_name": class_name, "config": {**fixed, **config}}]
    groups = {"it": [(f"it_{name}", np.asarray(array, np.float32)) for name, array in weights.items()]}
    return {"class_name": "Sequential", "config": layers}, groups


def one_merge(shapes: Sequence[Sequence[int]], mode: str, **config: Any) -> tuple[Any, Groups]:
    """A Model whose inputs ``a``, ``b``... are merged by a layer called ``it``."""
    names = "abcdef"[: len(shapes)]
    inputs = [
        {
            "class_name": "InputLayer",
            "name": name,
            "config": {"batch_input_shape": [None, *shape], "input_dtype": "float32", "name": name},
            "inbound_nodes": [],
        }
        for name, shape in zip(names, shapes, strict=True)
    ]
    fixed = {"name": "it", "mode": mode, "mode_type": "raw", "concat_axis": -1, "dot_axes": -1}
    merge = {
        "class_name": "Merge",
        "name": "it",
        "config": {**fixed, "arguments": {}, **config},
        "inbound_nodes": [[[name, 0, 0] for name in names]],
    }
    model = {
        "name": "model_1",
        "layers": [*inputs, merge],
        "input_layers": [[name, 0, 0] for name in names],
        "output_layers": [["it", 0, 0]],
    }
    return {"class_name": "Model", "config": model}, {name: [] for name in (*names, "it")}
