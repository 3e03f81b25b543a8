"""Hostile Keras files: each is built here, with a harmless payload, and has to end in one of our errors.

While a file is read, an audit hook watches the interpreter: no code object is run or unmarshalled, no file or
socket is opened, no process started, nothing imported.
"""

from __future__ import annotations

import base64
import io
import json
import marshal
import signal
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import h5py
import numpy as np
import pytest

from fluoroscope.errors import (
    BudgetExceeded,
    DamagedFile,
    RefusedFile,
    WeightMismatch,
)
from fluoroscope.formats.keras import archive as keras_archive
from fluoroscope.formats.keras import hdf5 as keras_hdf5
from fluoroscope.formats.keras.model import KerasModel
from fluoroscope.formats.limits import Limits

Config = dict[str, Any]
Build = Callable[[Config], bytes]

FORBIDDEN = frozenset(
    "open exec compile import marshal.loads pickle.find_class os.system os.exec os.posix_spawn os.fork "
    "subprocess.Popen socket.__new__ socket.connect socket.getaddrinfo ctypes.dlopen shutil.copyfile "
    "urllib.Request webbrowser.open tempfile.mkstemp tempfile.mkdtemp".split()
)


class Watch:
    """What the interpreter did while `active`. Audit hooks stay for ever, so there is one, switched."""

    def __init__(self) -> None:
        self.active = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.active and event in FORBIDDEN:
            self.seen.append(f"{event}{arguments!r:.200}")

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.seen.clear()
        self.active = True
        try:
            yield
        finally:
            self.active = False
        assert not self.seen


watch = Watch()


@pytest.fixture(autouse=True)
def at_most_ten_seconds() -> Iterator[None]:
    """Ends a hang: ten seconds of the processor, whatever else the machine does."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise AssertionError("ten seconds of processor time are over")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, 10)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, before)


def h5_file(config: Any, groups: Mapping[str, Mapping[str, Any]] | None = None) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = "2.15.0", "tensorflow"
        file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = list(groups or DENSE_GROUPS)
        for layer, arrays in (groups or DENSE_GROUPS).items():
            group = weights.create_group(layer)
            group.attrs["weight_names"] = list(arrays)
            for name, array in arrays.items():
                group[name] = array
    return buffer.getvalue()


def archive(config: Any, weights: bytes | None = None) -> bytes:
    inner = io.BytesIO()
    with h5py.File(inner, "w") as file:
        for number, array in enumerate(DENSE_GROUPS["d"].values()):
            file[f"layers/dense/vars/{number}"] = array
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        file.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
        file.writestr("model.weights.h5", inner.getvalue() if weights is None else weights)
    return buffer.getvalue()


DENSE_GROUPS: Mapping[str, Mapping[str, Any]] = {
    "d": {"d/kernel:0": np.ones((4, 3), np.float32), "d/bias:0": np.ones(3, np.float32)}
}
DENSE: Config = {"class_name": "Dense", "config": {"name": "d", "units": 3, "dtype": "float32"}}
ENTRY: Config = {
    "class_name": "InputLayer",
    "config": {"name": "in", "batch_shape": [None, 4], "batch_input_shape": [None, 4], "dtype": "float32"},
}


def model(*layers: Config) -> Config:
    return {"class_name": "Sequential", "config": {"name": "net", "layers": [ENTRY, DENSE, *layers]}}


def read(data: bytes) -> KerasModel:
    reader = keras_hdf5 if data.startswith(b"\x89HDF") else keras_archive
    with watch():
        return reader.read(data)


BOTH = pytest.mark.parametrize("build", [h5_file, archive])


@pytest.fixture(autouse=True, scope="module")
def everything_is_imported() -> None:
    """Readers import late; that is not what the watch is for."""
    for build in (h5_file, archive):
        (keras_hdf5 if build is h5_file else keras_archive).read(build(model()))


def code_that_writes(marker: Path) -> str:
    source = f"open({str(marker)!r}, 'w').close()"
    return base64.b64encode(marshal.dumps(compile(source, "f", "exec"))).decode()


def test_the_watch_watches(tmp_path: Path) -> None:
    with pytest.raises(AssertionError), watch():
        marshal.loads(marshal.dumps(1))
    with pytest.raises(AssertionError), watch():
        (tmp_path / "x").write_text("")


class TestPrograms:
    """K1 to K7: programs and names of functions in a config. Nothing runs, the layers around are kept."""

    def check(self, build: Build, layer: Config, marker: Path, problem: str | None) -> None:
        found = read(
            build(model(layer, {"class_name": "ReLU", "config": {"name": "after", "dtype": "float32"}}))
        )
        assert not marker.exists()
        calls = {call.name: call for call in found.calls}
        assert set(calls) == {"in", "d", "evil", "after"}
        assert list(calls["d"].layer.weights) == ["kernel", "bias"]
        if problem is not None:
            assert problem in str(calls["evil"].layer.problem)

    @BOTH
    @pytest.mark.parametrize("wrap", [lambda code: [code, None, None], lambda code: _wrapped(code)])
    def test_k1_lambda_with_bytecode(self, build: Build, wrap: Callable[[str], Any], tmp_path: Path) -> None:
        marker = tmp_path / "marker"
        config = {"name": "evil", "function": wrap(code_that_writes(marker)), "function_type": "lambda"}
        layer = {"class_name": "Lambda", "config": config}
        self.check(build, layer, marker, "marshalled Python bytecode, which is never run")

    @BOTH
    def test_k1_bytecode_as_activation_and_output_shape(self, build: Build, tmp_path: Path) -> None:
        marker = tmp_path / "marker"
        code = code_that_writes(marker)
        for config, problem in (
            ({"activation": _wrapped(code)}, "lambda: marshalled Python bytecode"),
            ({"activation": "relu", "output_shape": [code, None, None], "output_shape_type": "lambda"}, None),
        ):
            layer = {"class_name": "Activation", "config": {"name": "evil", **config}}
            self.check(build, layer, marker, problem)

    @BOTH
    @pytest.mark.parametrize(
        ("module", "class_name"),
        [
            ("os", "system"),
            ("subprocess", "Popen"),
            ("builtins", "exec"),
            ("__main__", "Dense"),
            ("numpy", "load"),
        ],
    )
    def test_k2_class_from_another_module(
        self, build: Build, module: str, class_name: str, tmp_path: Path
    ) -> None:
        marker = tmp_path / "marker"
        config = {"name": "evil", "command": f"touch {marker}", "args": [f"touch {marker}"]}
        layer = {"module": module, "class_name": class_name, "config": config, "registered_name": None}
        self.check(build, layer, marker, f"is a class from {module!r}: not Keras's, and not imported")

    @BOTH
    @pytest.mark.parametrize(
        ("module", "name"),
        [
            ("keras.utils", "get_file"),
            ("keras.saving", "load_model"),
            ("keras.config", "enable_unsafe_deserialization"),
            ("keras.src.utils.file_utils", "get_file"),
        ],
    )
    def test_k3_functions_by_name(self, build: Build, module: str, name: str, tmp_path: Path) -> None:
        marker = tmp_path / "marker"
        config = {"name": "evil", "fname": str(marker), "origin": f"file://{__file__}", "dtype": "float32"}
        self.check(build, {"module": module, "class_name": name, "config": config}, marker, None)
        function = {"module": module, "class_name": "function", "config": name, "registered_name": name}
        layer = {"class_name": "Activation", "config": {"name": "evil", "activation": function}}
        self.check(build, layer, marker, f"its activation '{name}' is none of Keras's")

    @BOTH
    @pytest.mark.parametrize("name", ["set_random_seed", "datasets.mnist.load_data", "os.system"])
    def test_k4_k5_lambda_naming_a_function(self, build: Build, name: str, tmp_path: Path) -> None:
        function = {
            "module": "keras.utils",
            "class_name": "function",
            "config": name,
            "registered_name": name,
        }
        for wrapped in (function, name):
            config = {
                "name": "evil",
                "function": wrapped,
                "arguments": {"seed": 1},
                "function_type": "function",
            }
            layer = {"class_name": "Lambda", "config": config}
            self.check(build, layer, tmp_path / "marker", "which is never run")

    @BOTH
    @pytest.mark.parametrize(
        ("class_name", "config", "problem"),
        [
            ("TorchModuleWrapper", {"module": "gASVKAAAAAA="}, "wraps a PyTorch module as a pickle"),
            ("TFSMLayer", {"filepath": "/tmp/saved_model"}, "calls a TensorFlow SavedModel"),
        ],
    )
    def test_k6_other_frameworks_programs(
        self, build: Build, class_name: str, config: Config, problem: str, tmp_path: Path
    ) -> None:
        layer = {"module": "keras.layers", "class_name": class_name, "config": {"name": "evil", **config}}
        self.check(build, layer, tmp_path / "marker", problem)

    @BOTH
    @pytest.mark.parametrize("kind", ["StringLookup", "IntegerLookup", "TextVectorization"])
    def test_k7_vocabulary_by_path(self, build: Build, kind: str, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("password")
        layer = {"class_name": kind, "config": {"name": "evil", "vocabulary": str(secret), "dtype": "string"}}
        self.check(build, layer, tmp_path / "marker", None)


def _wrapped(code: str) -> Config:
    return {"class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None}}


class TestOutside:
    """K8: weights that are said to be elsewhere, in a file and in an archive."""

    @pytest.mark.parametrize("inside", ["h5", "keras"])
    @pytest.mark.parametrize("kind", ["external link", "soft link", "external storage", "virtual dataset"])
    def test_k8(self, inside: str, kind: str, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_bytes(np.full(12, 7, np.float32).tobytes())
        with h5py.File(tmp_path / "other.h5", "w") as other:
            other["x"] = np.full((4, 3), 7, np.float32)
        buffer = io.BytesIO(h5_file(model()) if inside == "h5" else b"")
        name = "model_weights/d/d/kernel:0" if inside == "h5" else "layers/dense/vars/0"
        with h5py.File(buffer, "r+" if inside == "h5" else "w") as file:
            if inside == "h5":
                del file[name]
            else:
                file["layers/dense/vars/1"] = np.ones(3, np.float32)
            if kind == "external link":
                file[name] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
            elif kind == "soft link":
                file["elsewhere"] = np.ones((4, 3), np.float32)
                file[name] = h5py.SoftLink("/elsewhere")
            elif kind == "external storage":
                file.create_dataset(name, (4, 3), "f4", external=[(str(secret), 0, 48)])
            else:
                layout = h5py.VirtualLayout((4, 3), "f4")
                layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", shape=(4, 3))
                file.create_virtual_dataset(name, layout)
        data = buffer.getvalue()
        with pytest.raises(RefusedFile, match=r"not followed|not opened"):
            read(data if inside == "h5" else archive(model(), data))


@contextmanager
def little_memory(limit: int = 64 << 20) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


class TestSizes:
    @pytest.mark.parametrize("chunks", [None, (1 << 10, 1 << 10)])
    def test_k9_a_dataset_of_4_gigabytes_in_13_kilobytes(self, chunks: tuple[int, int] | None) -> None:
        buffer = io.BytesIO(h5_file(model()))
        with h5py.File(buffer, "r+") as file:
            del file["model_weights/d/d/kernel:0"]
            file.create_dataset("model_weights/d/d/kernel:0", (1 << 15, 1 << 15), "f4", chunks=chunks)
        assert len(buffer.getvalue()) < 14_000
        with (
            little_memory(),
            pytest.raises((BudgetExceeded, DamagedFile), match=r"memory budget|never written"),
        ):
            read(buffer.getvalue())

    def test_k9_within_any_budget_it_was_never_written(self) -> None:
        buffer = io.BytesIO(h5_file(model()))
        with h5py.File(buffer, "r+") as file:
            del file["model_weights/d/d/kernel:0"]
            file.create_dataset("model_weights/d/d/kernel:0", (1 << 15, 1 << 15), "f4")
        with little_memory(), watch(), pytest.raises(DamagedFile, match="never written"):
            keras_hdf5.read(buffer.getvalue(), limits=Limits(weights=1 << 40))

    @BOTH
    def test_k10_units_that_no_array_has(self, build: Build) -> None:
        config = model()
        config["config"]["layers"][1] = {
            "class_name": "Dense",
            "config": {**DENSE["config"], "units": 1_500_000_000},
        }
        with (
            little_memory(),
            pytest.raises(WeightMismatch, match=r"shape \(any, 1500000000\).* has \(4, 3\)"),
        ):
            read(build(config))

    def test_k11_a_config_of_gigabytes_in_a_small_zip(self) -> None:
        buffer = io.BytesIO()
        with (
            zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file,
            file.open("config.json", "w") as member,
        ):
            for _ in range(64):
                member.write(bytes(1 << 20))
        with little_memory(16 << 20), pytest.raises(BudgetExceeded, match="declares 64 MiB; at most 16 MiB"):
            read(buffer.getvalue())


class TestStructure:
    @BOTH
    @pytest.mark.parametrize("bracket", ["[]", "{}"])
    def test_k13_json_5000_levels_deep(self, build: Build, bracket: str) -> None:
        opening = bracket[0] if bracket == "[]" else '{"layers":'
        text = '{"class_name": "Sequential", "config": ' + opening * 5000 + "1" + bracket[1] * 5000 + "}"
        with pytest.raises(BudgetExceeded, match=r"500[01] levels deep; at most 256"):
            read(build(text))  # type: ignore[arg-type]

    @BOTH
    def test_k13_a_million_layers(self, build: Build) -> None:
        layer = '{"class_name":"A","config":{"name":"%d"}},'
        text = '{"class_name": "Sequential", "config": {"layers": [%s %s]}}'
        layers = "".join(layer % number for number in range(300_000))
        with pytest.raises(BudgetExceeded, match="more than 10000 layers"):
            read(build(text % (json.dumps(ENTRY) + ",", layers[:-1])))  # type: ignore[arg-type]
        with pytest.raises((BudgetExceeded, DamagedFile), match=r"declares|far larger than a network's"):
            read(build(text % ("", layers * 4)))  # type: ignore[arg-type]

    @BOTH
    def test_k13_a_name_of_a_megabyte(self, build: Build) -> None:
        with pytest.raises(BudgetExceeded, match="name has 1048576 characters"):
            read(build(model({"class_name": "ReLU", "config": {"name": "x" * (1 << 20)}})))

    @BOTH
    def test_k13_duplicate_names(self, build: Build) -> None:
        with pytest.raises(DamagedFile, match="Two layers of a model are called 'd'"):
            read(build(model({"class_name": "ReLU", "config": {"name": "d"}})))

    def test_k13_thousands_of_names_of_layers(self) -> None:
        """In the attribute, not in the config."""
        buffer = io.BytesIO(h5_file(model()))
        with h5py.File(buffer, "r+") as file:
            del file["model_weights"].attrs["layer_names"]
            for number in range(3):
                names = ["d", *(f"{number}_{place}" for place in range(3_000))]
                file["model_weights"].attrs[f"layer_names{number}"] = names
        assert [call.name for call in read(buffer.getvalue()).calls] == ["in", "d"]
