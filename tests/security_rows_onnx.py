"""O1 to O7: ONNX files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnx import TensorProto

import test_hostile_onnx as onnx_files
from onnx_models import model, node, value
from security_rows import row

# O1 to O4: values of ONNX models in other files.

ELSEWHERE = r"RefusedFile: .*(lies? in (an)?other file|external|outside)"


def external(prepare: Callable[[Path], str], **fields: str) -> Callable[[Path], Path]:
    """A model in a folder within `folder`; `prepare` makes what it points at and gives the location."""

    def build(folder: Path) -> Path:
        inner = folder / "inner"
        inner.mkdir()
        for path in (folder / "secret.bin", inner / "weights.bin"):
            path.write_bytes(np.full(3, 7, np.float32).tobytes())
        tensor = TensorProto(name="w", data_type=1, dims=[3, 1, 1], data_location=TensorProto.EXTERNAL)
        for key, text in ({"location": prepare(folder), "length": "12"} | fields).items():
            tensor.external_data.add(key=key, value=text)
        made = model([node("Add", ["x", "w"], ["y"])], [value("x", ["N", 3, 4, 4])], ["y"])
        made.graph.initializer.append(tensor)
        path = inner / "network.onnx"
        path.write_bytes(made.SerializeToString())
        return path

    return build


def link(folder: Path) -> str:
    (folder / "inner" / "link.bin").symlink_to(folder / "secret.bin")
    return "link.bin"


def hard_link(folder: Path) -> str:
    os.link(folder / "secret.bin", folder / "inner" / "hard.bin")
    return "hard.bin"


def pipe(folder: Path) -> str:
    os.mkfifo(folder / "inner" / "pipe")
    return "pipe"


LOCATIONS: dict[str, tuple[Callable[[Path], str], dict[str, str]]] = {
    "O1-parent": (lambda f: "../secret.bin", {}),
    "O1-absolute": (lambda f: str(f / "secret.bin"), {}),
    "O1-sibling": (lambda f: "weights.bin", {}),
    "O1-missing": (lambda f: "absent.bin", {}),
    "O1-itself": (lambda f: "network.onnx", {}),
    "O2-link": (link, {}),
    "O2-hard-link": (hard_link, {}),
    "O3-pipe": (pipe, {}),
    "O3-device": (lambda f: "/dev/zero", {"length": str(2**40)}),
    "O3-offset": (lambda f: "weights.bin", {"offset": "-8"}),
    "O3-length": (lambda f: "weights.bin", {"length": str(2**62)}),
}
for name, (prepare, fields) in LOCATIONS.items():
    row(name, ELSEWHERE, "refused", external(prepare, **fields))


# O5 to O7: bombs, control flow, what is not standard.


def bytes_of(group: dict[str, bytes], name: str) -> Callable[[Path], bytes]:
    return lambda folder: group[name]


row(
    "O5-ConstantOfShape-of-76-bytes",
    "UnsupportedLayer: .*takes no input|BudgetExceeded",
    "not supported|over budget",
    lambda f: model(
        [node("ConstantOfShape", ["s"], ["y"])], [], ["y"], {"s": np.array([2**33])}, name="g"
    ).SerializeToString(),
)
for name in (
    "ConstantOfShape", "ConstantOfShape behind a Cast", "Tile", "Tile behind a sum", "Expand",
    "Expand behind shapes",
    "Range", "Resize by scales", "Resize to sizes", "Upsample", "Pad", "OneHot", "Concat in a chain",
    "Gather in a chain", "ConvTranspose by its stride", "Outer product of three", "An input",
):  # fmt: skip
    row(f"O5-{name.replace(' ', '-')}", "BudgetExceeded", "over budget", bytes_of(onnx_files.BOMBS, name))
for name in ("Scratch space", "Many at once"):
    row(
        f"O5-{name.replace(' ', '-')}",
        "BudgetExceeded",
        "opens whole|over budget",
        bytes_of(onnx_files.LATE_BOMBS, name),
    )
for name in ("Endless Loop", "Scan", "If", "A Loop in a branch"):
    row(
        f"O5-{name.replace(' ', '-')}",
        "RefusedFile: .*control flow",
        "refused",
        bytes_of(onnx_files.PROGRAMS, name),
    )
for depth in (8, 24):
    row(
        f"O6-branches-{depth}-deep",
        "RefusedFile: .*control flow|DamagedFile|BudgetExceeded",
        "refused|damaged|over budget",
        lambda folder, depth=depth: onnx_files.branches(depth),
    )


STRANGE = "(UnsupportedLayer|RefusedFile): .*(outside standard ONNX|domain|not run)"
for name, data in {
    "O7-unknown-domain": onnx_files.foreign("evil.example", "Anything"),
    "O7-Microsoft": onnx_files.foreign("com.microsoft", "FusedConv"),
    "O7-PyOp": onnx_files.foreign("ai.onnx.contrib", "PyOp", module="os", name="system"),
    "O7-EPContext": onnx_files.foreign(
        "com.microsoft", "EPContext", ep_cache_context="../p.bin", embed_mode=0
    ),
}.items():
    row(name, STRANGE, "not supported|refused", lambda folder, data=data: data)
