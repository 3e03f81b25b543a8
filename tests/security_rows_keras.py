"""K1 to K13 and K15, N1: Keras files."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from onnx_models import after, chain, floats
from security_rows import GIB, IN_PART, Json, marker, row
from security_zips import bomb, zipped
from test_hostile_keras import DENSE, ENTRY, archive, code_that_writes, h5_file
from test_hostile_keras import model as keras_model

BUILDERS: dict[str, Callable[..., bytes]] = {"h5": h5_file, "keras": archive}


def both(name: str, outcome: str, layer: Callable[[Path], Json], verdict: str = IN_PART) -> None:
    """A row for each container, with a layer in the middle of a sound network."""
    for suffix, build in BUILDERS.items():
        row(
            f"{name}-{suffix}",
            outcome,
            verdict,
            lambda folder, build=build: build(
                keras_model(
                    layer(folder), {"class_name": "ReLU", "config": {"name": "r", "dtype": "float32"}}
                )
            ),
        )


# K1 to K7: programs and gadgets in a config.


def lambda_layer(function: Any, kind: str = "lambda", **config: Any) -> Json:
    config = {"name": "evil", "function": function, "function_type": kind, **config}
    return {"class_name": "Lambda", "config": config}


def wrapped(code: str) -> Json:
    return {"class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None}}


def keras_function(name: str, module: str = "keras.utils") -> Json:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


NEVER = "never run"
both("K1-list", NEVER, lambda f: lambda_layer([code_that_writes(f / "marker"), None, None]))
both("K1-dict", NEVER, lambda f: lambda_layer(wrapped(code_that_writes(f / "marker"))))
both(
    "K1-activation",
    "bytecode",
    lambda f: {
        "class_name": "Activation",
        "config": {"name": "evil", "activation": wrapped(code_that_writes(f / "marker"))},
    },
)
for place, entry in {"os": "system", "subprocess": "Popen", "builtins": "exec"}.items():
    both(
        f"K2-{place}",
        "not Keras's, and not imported",
        lambda f, place=place, entry=entry: {
            "module": place,
            "class_name": entry,
            "registered_name": None,
            "config": {"name": "evil", "args": [f"touch {marker(f)}"], "command": f"touch {marker(f)}"},
        },
    )
for place, entry in (
    ("keras.utils", "get_file"),
    ("keras.saving", "load_model"),
    ("keras.config", "enable_unsafe_deserialization"),
):
    both(
        f"K3-{entry}",
        rf"{entry}.*no translation",
        lambda f, place=place, entry=entry: {
            "module": place,
            "class_name": entry,
            "config": {
                "name": "evil",
                "fname": marker(f),
                "origin": f"file://{__file__}",
                "filepath": marker(f),
            },
        },
    )
both("K4-set_random_seed", NEVER, lambda f: lambda_layer(keras_function("set_random_seed"), "function"))
both(
    "K5-load_data",
    NEVER,
    lambda f: lambda_layer(
        keras_function("load_data", "keras.datasets.mnist"), "function", arguments={"path": marker(f)}
    ),
)
both(
    "K6-TorchModuleWrapper",
    "pickle, which is a program and never run",
    lambda f: {
        "class_name": "TorchModuleWrapper",
        "module": "keras.layers",
        "config": {
            "name": "evil",
            "module": {"class_name": "__bytes__", "config": {"value": "gASVKAAAAAA="}},
        },
    },
)
both(
    "K6-TFSMLayer",
    "SavedModel, which is a program in another file and never run",
    lambda f: {
        "class_name": "TFSMLayer",
        "module": "keras.layers",
        "config": {"name": "evil", "filepath": str(f), "call_endpoint": "serve"},
    },
)


def vocabulary(folder: Path, kind: str) -> Json:
    (folder / "secret").write_text("password\n")
    config = {"name": "evil", "vocabulary": str(folder / "secret"), "dtype": "string", "max_tokens": 10}
    return {"class_name": kind, "config": config}


for kind in ("StringLookup", "IntegerLookup", "TextVectorization"):
    both(f"K7-{kind}", kind, lambda f, kind=kind: vocabulary(f, kind))


# K8 and K9: arrays that are elsewhere, or not at all.


def rewritten(data: bytes, name: str, write: Callable[[h5py.File, str], None]) -> bytes:
    """HDF5 with one dataset replaced."""
    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        del file[name]
        write(file, name)
    return buffer.getvalue()


def inner_weights() -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive(keras_model()))) as file:
        return file.read("model.weights.h5")


def with_dataset(write: Callable[[h5py.File, str, Path], None], suffix: str) -> Callable[[Path], bytes]:
    def build(folder: Path) -> bytes:
        (folder / "secret").write_bytes(np.full(12, 7, np.float32).tobytes())
        with h5py.File(folder / "other.h5", "w") as other:
            other["x"] = np.full((4, 3), 7, np.float32)
        if suffix == "h5":
            return rewritten(
                h5_file(keras_model()),
                "model_weights/d/d/kernel:0",
                lambda file, name: write(file, name, folder),
            )
        weights = rewritten(
            inner_weights(), "layers/dense/vars/0", lambda file, name: write(file, name, folder)
        )
        return archive(keras_model(), weights)

    return build


def external_link(file: h5py.File, name: str, folder: Path) -> None:
    file[name] = h5py.ExternalLink(str(folder / "other.h5"), "/x")


def soft_link(file: h5py.File, name: str, folder: Path) -> None:
    file["elsewhere"] = np.ones((4, 3), np.float32)
    file[name] = h5py.SoftLink("/elsewhere")


def external_storage(file: h5py.File, name: str, folder: Path) -> None:
    file.create_dataset(name, (4, 3), "f4", external=[(str(folder / "secret"), 0, 48)])


def virtual(file: h5py.File, name: str, folder: Path) -> None:
    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", shape=(4, 3))
    file.create_virtual_dataset(name, layout)


def four_gigabytes(file: h5py.File, name: str, folder: Path) -> None:
    file.create_dataset(name, (2**15, 2**15), "f4")


def four_gigabytes_in_chunks(file: h5py.File, name: str, folder: Path) -> None:
    file.create_dataset(name, (2**15, 2**15), "f4", chunks=(2**10, 2**10), compression="gzip")


for suffix in BUILDERS:
    for write in (external_link, soft_link, external_storage, virtual):
        row(
            f"K8-{write.__name__}-{suffix}",
            "RefusedFile: .*not (followed|opened)",
            "refused",
            with_dataset(write, suffix),
        )
    for write in (four_gigabytes, four_gigabytes_in_chunks):
        row(
            f"K9-{write.__name__}-{suffix}",
            "BudgetExceeded: .*4 GiB|DamagedFile: .*never written|WeightMismatch: .*32768",
            "over budget|damaged|not supported",
            with_dataset(write, suffix),
        )


# K10 to K12: sizes.


def replaced(layer: Json, *others: Json) -> Json:
    """A network of one layer whose arrays are those of a small one."""
    return {"class_name": "Sequential", "config": {"name": "net", "layers": [ENTRY, layer, *others]}}


HUGE = {"class_name": "Dense", "config": {**DENSE["config"], "units": 1_500_000_000}}
for suffix, build in BUILDERS.items():
    row(
        f"K10-units-{suffix}",
        "WeightMismatch: .*1500000000",
        "not supported",
        lambda folder, build=build: build(replaced(HUGE)),
    )
    row(
        f"K10-Embedding-{suffix}",
        "WeightMismatch|DamagedFile|UnsupportedLayer",
        "not supported|damaged",
        lambda folder, build=build: build(
            replaced(
                {
                    "class_name": "Embedding",
                    "config": {"name": "d", "input_dim": 2**40, "output_dim": 2**20, "dtype": "float32"},
                }
            )
        ),
    )


def many_members(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("config.json", json.dumps(keras_model()))
        for number in range(5_000):
            file.writestr(f"assets/{number}", b"")
    return buffer.getvalue()


OVER = "BudgetExceeded: .*Nothing was unpacked"
row("K11-config", OVER, "over budget", lambda f: bomb("config.json", 3 * GIB, 3 * GIB))
row(
    "K11-config-that-lies",
    "DamagedFile: .*size or checksum",
    "damaged",
    lambda f: bomb("config.json", 3 * GIB, 1000),
)
row(
    "K11-weights",
    OVER,
    "over budget",
    lambda f: bomb("model.weights.h5", 3 * GIB, 3 * GIB, config__json=json.dumps(keras_model()).encode()),
)
row(
    "K11-weights-within-the-budget",
    OVER,
    "over budget",
    lambda f: bomb("model.weights.h5", GIB, GIB, config__json=json.dumps(keras_model()).encode()),
)
row("K11-members", "BudgetExceeded: .*5001 members", "over budget", many_members)
row(
    "K11-nested",
    "DamagedFile: .*no valid JSON|DamagedFile: .*UTF-8",
    "damaged",
    lambda f: zipped(config__json=zipped(config__json=zipped(config__json=b"{}"))),
)


def picture_network(*layers: Json) -> Json:
    entry = {
        "class_name": "InputLayer",
        "config": {"name": "in", "batch_shape": [None, 64, 64, 1], "batch_input_shape": [None, 64, 64, 1]},
    }
    return {"class_name": "Sequential", "config": {"name": "net", "layers": [entry, *layers]}}


def plain_layer(kind: str, name: str, **config: Any) -> Json:
    return {"class_name": kind, "config": {"name": name, "dtype": "float32", "trainable": True, **config}}


def without_weights(config: Json, suffix: str) -> bytes:
    if suffix == "h5":
        return h5_file(config, {"none": {}})
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_group("layers")
    return archive(config, buffer.getvalue())


ACTIVATION_BOMBS = {
    "UpSampling": [plain_layer("UpSampling2D", f"u{i}", size=[128, 128]) for i in range(3)],
    "ZeroPadding": [plain_layer("ZeroPadding2D", "z", padding=[[100_000, 100_000], [100_000, 100_000]])],
    "UpSampling-just-below": [
        plain_layer("UpSampling2D", "u", size=[300, 300]),
        *[plain_layer("Activation", f"a{i}", activation="relu") for i in range(9)],
    ],
}
for suffix in BUILDERS:
    for name, layers in ACTIVATION_BOMBS.items():
        row(
            f"K12-{name}-{suffix}",
            "BudgetExceeded: .*(would take|no memory budget allows|declares an output)",
            "over budget|opens whole",
            lambda folder, suffix=suffix, layers=layers: without_weights(picture_network(*layers), suffix),
        )
    row(
        f"K12-Dense-of-a-huge-flatten-{suffix}",
        "BudgetExceeded|WeightMismatch",
        "over budget|not supported",
        lambda folder, suffix=suffix: without_weights(
            picture_network(
                plain_layer("UpSampling2D", "u", size=[200, 200]),
                plain_layer("Flatten", "f"),
                plain_layer("Dense", "d", units=100_000, use_bias=False),
            ),
            suffix,
        ),
    )
row(
    "K12-onnx",
    "BudgetExceeded",
    "over budget",
    lambda f: chain([after("Resize", "", "s")] * 8, {"s": np.array([1, 1, 8, 8], np.float32)}),
)


# K13: structure.


def million_layers(folder: Path) -> str:
    """300,000 in the 16 MiB that are read of a config; a million do not fit."""
    layer = '{"class_name":"A","config":{"name":"%d"}},'
    return (
        '{"class_name": "Sequential", "config": {"layers": ['
        + json.dumps(ENTRY)
        + ","
        + "".join(layer % number for number in range(300_000))[:-1]
        + "]}}"
    )


def deep(bracket: str) -> str:
    opening, closing = ("[", "]") if bracket == "[" else ('{"config":', "}")
    return '{"class_name": "Sequential", "config": ' + opening * 5000 + "1" + closing * 5000 + "}"


STRUCTURES: dict[str, tuple[str, str, Callable[[Path], Any]]] = {
    "deep-lists": ("BudgetExceeded: .*levels deep", "over budget", lambda f: deep("[")),
    "deep-objects": ("BudgetExceeded: .*levels deep", "over budget", lambda f: deep("{")),
    "layers": ("BudgetExceeded: .*more than 10000 layers", "over budget", million_layers),
    "name": (
        "BudgetExceeded: .*name has 1048576",
        "over budget",
        lambda f: keras_model(plain_layer("ReLU", "x" * 2**20)),
    ),
    "duplicates": (
        "DamagedFile: .*are called 'd'",
        "damaged",
        lambda f: keras_model(plain_layer("ReLU", "d")),
    ),
}
for name, (outcome, verdict, config) in STRUCTURES.items():
    for suffix, build in BUILDERS.items():
        row(
            f"K13-{name}-{suffix}",
            outcome,
            verdict,
            lambda folder, build=build, config=config: build(config(folder)),
        )
row(
    "K13-a-million-layers-keras",
    "BudgetExceeded: .*declares",
    "over budget",
    lambda f: archive(
        million_layers(f).replace('{"class_name":"A"', '{"class_name":"A","more":"' + "x" * 50 + '"')
    ),
)


# K15: members that lead out of an archive.


def with_member(name: str, *, link: bool = False) -> Callable[[Path], bytes]:
    def build(folder: Path) -> bytes:
        buffer = io.BytesIO(archive(keras_model()))
        with zipfile.ZipFile(buffer, "a") as file:
            member = zipfile.ZipInfo(name.replace("MARKER", marker(folder)))
            if link:
                member.external_attr = 0o120777 << 16
            file.writestr(member, "/etc/passwd")
        return buffer.getvalue()

    return build


for name, member in {
    "parent": "assets/../../marker",
    "absolute": "MARKER",
    "backslash": "assets\\..\\..\\marker",
    "drive": "C:\\marker",
}.items():
    row(f"K15-{name}", "RefusedFile: .*leads out of the archive", "refused", with_member(member))
row(
    "K15-link",
    "RefusedFile: .*symbolic link, which is not followed",
    "refused",
    with_member("assets/l", link=True),
)


# N1: weights that are no numbers.


def broken_weights(bad: float, suffix: str) -> Callable[[Path], bytes]:
    def build(folder: Path) -> bytes:
        if suffix == "onnx":
            kernel = floats(4, 2, 3, 3)
            kernel[1, 1, 1, 1] = bad
            return chain([after("Conv", "kernel")], {"kernel": kernel})
        kernel = np.ones((4, 3), np.float32)
        kernel[2, 1] = bad
        return with_dataset(lambda file, name, folder: file.__setitem__(name, kernel), suffix)(folder)

    return build


for suffix in ("h5", "keras", "onnx"):
    for name, bad in {"nan": np.nan, "inf": np.inf}.items():
        row(f"N1-{name}-{suffix}", "NaN or infinite weights in", "opens whole", broken_weights(bad, suffix))
