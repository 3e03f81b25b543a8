"""P1 to P5, S1 and S2: pickles and what is made of them, TensorFlow's programs."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from security_rows import GIB, marker, row
from security_zips import bomb, zipped

# P: pickles and what is made of them. `test_foreign_files.py` has PyTorch write such files.


class Caller:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.system, (f"touch {marker(self.folder)}",)


PROGRAM = "RefusedFile: .*a program, which is not run"
for protocol in range(6):
    row(
        f"P1-pickle-{protocol}",
        PROGRAM + ".*posix.system",
        "refused",
        lambda folder, protocol=protocol: pickle.dumps(Caller(folder), protocol),
    )


def torch_zip(*others: str, pickled: Callable[[Path], Any] = Caller) -> Callable[[Path], bytes]:
    def build(folder: Path) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("archive/data.pkl", pickle.dumps(pickled(folder), 2))
            for name in ("version", "data/0", *others):
                file.writestr(f"archive/{name}", b"3\n")
        return buffer.getvalue()

    return build


row("P2-TorchScript", PROGRAM, "refused", torch_zip("code/__torch__.py", "constants.pkl"))
row("P3-pt2", PROGRAM, "refused", torch_zip("archive_format", "models/model.json"))
row(
    "P4-torch-package",
    PROGRAM,
    "refused",
    torch_zip(".data/extern_modules", ".data/python_version", "evil.py"),
)
row("P5-full-module", PROGRAM + ".*posix.system", "refused", torch_zip())
row(
    "P5-full-module-legacy",
    PROGRAM + ".*posix.system",
    "refused",
    lambda f: (
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
        + pickle.dumps(1001, 2)
        + pickle.dumps({"little_endian": True}, 2)
        + pickle.dumps(Caller(f), 2)
    ),
)


def state_dict(folder: Path) -> dict[str, bytes]:
    """Members of a state dict with a tensor of 2**40 elements, all of them the one in its storage."""
    storage = b"X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0" + b"0X\x03\0\0\0cpuK\x01tQ"
    sizes = b"\x8a\x06" + (2**40).to_bytes(6, "little") + b"\x85K\0\x85"
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n(("
        + storage
        + b"K\0"
        + sizes
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )
    pickled = b"\x80\x02}X\x01\0\0\0w" + tensor + b"s."
    return {"archive/data__pkl": pickled, "archive/version": b"3\n"}


NO_STATE = "UnknownFormat|BudgetExceeded|RefusedFile|DamagedFile"
row(
    "P4-inflated-record",
    NO_STATE,
    "no network|over budget|damaged",
    lambda f: bomb("archive/data/0", 3 * GIB, 3 * GIB, **state_dict(f)),
)
row(
    "P5-stride-0",
    NO_STATE,
    "no network|over budget|damaged",
    lambda f: zipped(**state_dict(f), **{"archive/data/0": bytes(4)}),
)
row(
    "P5-pickle-bomb",
    NO_STATE,
    "no network|over budget|damaged|refused",
    lambda f: bomb("archive/data.pkl", 3 * GIB, 3 * GIB, **{"archive/version": b"3\n"}),
)


# S: TensorFlow's.


def saved_model(folder: Path) -> Path:
    path = folder / "exported"
    (path / "variables").mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(b"\x08\x01\x12\x0c\n\n\x12\x08serve...")
    return path


row("S1-folder", PROGRAM + ".*tf2onnx", "refused", saved_model)
row("S1-lone-file", PROGRAM + ".*tf2onnx", "refused", lambda f: saved_model(f) / "saved_model.pb")
row(
    "S2-frozen-graph",
    PROGRAM + ".*tf2onnx",
    "refused",
    lambda f: b"\n\x1f\n\x04read\x12\x08ReadFile\x1a\x05where*\x06\n\x01T\x12\x01\x07",
)
