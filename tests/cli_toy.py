"""What the tests of the command line share: a tiny network and picture, and ways to run a command."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from typer.testing import CliRunner, Result

from fluoroscope.cli.app import app

CLASSES = 3


def run(*args: str | Path, code: int = 0) -> Result:
    """Run a command in this process, and hold it to an exit code."""
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result


def spawn(
    *args: str | Path, folder: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "fluoroscope", *map(str, args)],
        cwd=folder,
        env={**os.environ, **(env or {})},
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=60,
        check=False,
    )


def in_terminal(folder: Path, columns: int, *args: str, env: dict[str, str] | None = None) -> str:
    """What a command prints in a terminal so wide, escapes included."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(env or {})}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        if name not in (env or {}):
            environment.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-m", "fluoroscope", *args],
        cwd=folder,
        env=environment,
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    pieces: list[bytes] = []
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(leader)
    process.wait(30)
    return b"".join(pieces).decode().replace("\r\n", "\n")


def plain(text: str) -> str:
    """Without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def write_network(
    path: Path,
    *,
    size: int | None = 20,
    channels: int = 3,
    conv: str = "conv_1",
    broken: bool = False,
    scales: bool = False,
) -> Path:
    """A network of a convolution with 20 maps, of which number 7 is flat, ReLU, pooling and a softmax.

    Parameters
    ----------
    size
        Height and width of its pictures; None for any.
    conv
        Name of its first layer.
    broken
        A weight is NaN.
    scales
        It divides the picture by 255 first, in a layer ``scaling``.
    """
    rng = np.random.default_rng(2)
    kernel = rng.normal(size=(20, channels, 3, 3)).astype(np.float32)
    # Around zero, so that no map but one is dead after ReLU.
    kernel -= kernel.mean(axis=(1, 2, 3), keepdims=True)
    kernel[7] = 0
    if broken:
        kernel[3, 0, 0, 0] = np.nan
    weights = {
        "kernel": kernel,
        "bias": np.full(20, 0.1, np.float32),
        "matrix": rng.normal(size=(20, CLASSES)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["scaled" if scales else "picture", "kernel", "bias"], ["c"], name=conv),
        helper.make_node("Relu", ["c"], ["r"], name="relu_1"),
        helper.make_node("MaxPool", ["r"], ["p"], name="pool_1", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["p"], ["g"], name="gap"),
        helper.make_node("Flatten", ["g"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "matrix"], ["d"], name="dense"),
        helper.make_node("Softmax", ["d"], ["probability"], name="probability", axis=-1),
    ]
    if scales:
        weights["scale"] = np.array(1 / 255, np.float32)
        nodes.insert(0, helper.make_node("Mul", ["picture", "scale"], ["scaled"], name="scaling"))
    sides = ["h", "w"] if size is None else [size, size]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["n", channels, *sides])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], producer_name="toymaker", producer_version="1.5"
    )
    model.ir_version = 10
    onnx.save(model, path)
    return path


def write_picture(path: Path, seed: int = 0, size: tuple[int, int] = (24, 30)) -> Path:
    """An RGB picture of noise, (height, width)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path
