"""Weights without an architecture: read without running anything, and put into one by name."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import struct
import time
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_safetensors
from torch import nn

import fluoroscope as fs
import torch_models
from fluoroscope.errors import (
    BudgetExceeded,
    DamagedFile,
    FluoroscopeError,
    MissingDependency,
    NetworkError,
    RefusedFile,
    UnknownFormat,
    UsageError,
    WeightMismatch,
)
from fluoroscope.formats import state_dict
from fluoroscope.formats.live.torch.architectures import Architecture, _tensor

DTYPES = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8,
    torch.bool
)  # fmt: skip


def saved(value: object, *, legacy: bool = False) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


def tensors(data: bytes, memory: int = 2**31) -> dict[str, torch.Tensor]:
    _, found, _ = state_dict.read(data, fs.Budget(memory=memory))
    return {name: _tensor(stored) for name, stored in found.items()}


def equal(given: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert given.keys() == expected.keys()
    for name, tensor in expected.items():
        assert given[name].dtype == tensor.dtype
        assert torch.equal(given[name], tensor), name


class TestReading:
    """Against torch and safetensors themselves."""

    @pytest.mark.parametrize("legacy", [False, True])
    def test_every_type_and_layout(self, legacy: bool) -> None:
        base = torch.randn(4, 6)
        state = OrderedDict(
            [(str(dtype)[6:], (torch.rand(3, 2) * 9).to(dtype)) for dtype in DTYPES],
            whole=base,
            part=base[1:3, ::2],
            turned=base.t(),
            scalar=torch.tensor(3.5),
            empty=torch.zeros(0, 3),
            spread=torch.ones(1, 3).expand(4, 3),
            parameter=nn.Parameter(torch.ones(2)),
        )
        data = saved(state, legacy=legacy)
        equal(tensors(data), torch.load(io.BytesIO(data), weights_only=True))

    def test_safetensors(self) -> None:
        state = {str(dtype)[6:]: (torch.rand(3, 2) * 9).to(dtype) for dtype in DTYPES}
        equal(
            tensors(save_safetensors({**state, "empty": torch.zeros(0)}, {"format": "pt"})),
            {**state, "empty": torch.zeros(0)},
        )

    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_pickle_protocols(self, protocol: int) -> None:
        stream = io.BytesIO()
        torch.save({"a": torch.ones(2)}, stream, pickle_protocol=protocol)
        equal(tensors(stream.getvalue()), {"a": torch.ones(2)})

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"param_groups": [{"lr": 0.1}]}},
            lambda state: {"model": state, "args": argparse.Namespace(lr=1), "best": np.float64(0.5)},
            lambda state: {
                "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}},
                "model_state_dict": state,
            },
            lambda state: {"anything": state},
        ],
    )
    @pytest.mark.parametrize("legacy", [False, True])
    def test_checkpoints(self, wrap: Callable[[Any], Any], legacy: bool) -> None:
        state = {"a.weight": torch.ones(2, 2), "a.bias": torch.zeros(2)}
        data = saved(wrap(state), legacy=legacy)
        equal(tensors(data), state)
        _, _, notes = state_dict.read(data, fs.Budget())
        assert notes[0].startswith("weights taken from '")


class Marks:
    """Pickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def rezipped(data: bytes, change: Callable[[str, bytes], bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return stream.getvalue()


class TestHostile:
    """Rows P1 to P5 of the table of hostile files."""

    @pytest.mark.parametrize("legacy", [False, True])
    def test_code_in_a_checkpoint_is_not_run(self, legacy: bool, tmp_path: Path) -> None:
        data = saved({"a": torch.ones(2), "x": Marks(tmp_path / "marker")}, legacy=legacy)
        equal(tensors(data), {"a": torch.ones(2)})
        assert not (tmp_path / "marker").exists()

    @pytest.mark.parametrize("legacy", [False, True])
    def test_tensors_of_objects_that_are_not_made(self, legacy: bool) -> None:
        """A checkpoint often holds an optimizer or a module besides; its storages are in the file too."""
        data = saved({"state_dict": {"a": torch.ones(2)}, "extra": nn.Linear(3, 3)}, legacy=legacy)
        equal(tensors(data), {"a": torch.ones(2)})

    @pytest.mark.parametrize("legacy", [False, True])
    def test_a_whole_module(self, legacy: bool) -> None:
        with pytest.raises(RefusedFile, match=r"a PyTorch module pickled whole: a program.*live module"):
            fs.open_network(saved(nn.Linear(2, 2), legacy=legacy), arch="timm:resnet18")

    def test_a_bare_pickle(self, tmp_path: Path) -> None:
        with pytest.raises(RefusedFile, match="a Python pickle: a program, which is not run"):
            fs.open_network(pickle.dumps(Marks(tmp_path / "marker")), arch="timm:resnet18")
        assert not (tmp_path / "marker").exists()

    @pytest.mark.filterwarnings("ignore:.*jit.*:DeprecationWarning")
    def test_torchscript(self) -> None:
        stream = io.BytesIO()
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), stream)
        with pytest.raises(RefusedFile, match=r"a TorchScript archive: a program.*give the live module"):
            fs.open_network(stream.getvalue(), arch="timm:resnet18")

    def test_an_exported_program(self) -> None:
        stream = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),)), stream)
        with pytest.raises(RefusedFile, match=r"a PyTorch exported program \(.pt2\)"):
            fs.open_network(stream.getvalue(), arch="timm:resnet18")

    def test_a_package(self, tmp_path: Path) -> None:
        path = tmp_path / "model.pt"
        with torch.package.PackageExporter(path) as package:
            package.save_text("text", "text.txt", "hello")
        with pytest.raises(RefusedFile, match=r"a torch.package archive, Python code and pickles"):
            fs.open_network(path, arch="timm:resnet18")

    def test_a_stride_of_nothing(self) -> None:
        data = saved({"a": torch.ones(1).expand(2**20, 2**20)})
        assert len(data) < 2000
        with pytest.raises(
            BudgetExceeded, match=r"Its tensors up to 'a' would take 4 TiB.*Nothing was allocated"
        ):
            tensors(data)
        many = saved({str(i): torch.ones(1).expand(2**10, 2**10) for i in range(20)})
        with pytest.raises(BudgetExceeded, match="up to '12' would take 52 MiB"):
            tensors(many, memory=50 * 2**20)

    def test_an_inflated_record(self) -> None:
        data = saved({"a": torch.zeros(2**24)})
        packed = rezipped(data, lambda _name, content: content, zipfile.ZIP_DEFLATED)
        assert len(packed) < 100_000
        with pytest.raises(BudgetExceeded, match="declares 64 MiB; at most"):
            tensors(packed)

    def test_a_record_that_is_not_as_long_as_the_pickle_says(self) -> None:
        data = saved({"a": torch.zeros(100)})
        short = rezipped(data, lambda name, content: content[:-4] if name.endswith("/data/0") else content)
        with pytest.raises(DamagedFile, match="Storage '0' has 396 bytes and declares 400"):
            tensors(short)

    def test_a_legacy_storage_that_declares_terabytes(self) -> None:
        data = saved({"a": torch.zeros(100)}, legacy=True)
        grown = data.replace(b"K\x64Ntq", b"\x8a\x06" + struct.pack("<q", 2**40)[:6] + b"Ntq")
        assert grown != data
        with pytest.raises(DamagedFile, match="Is the file cut off"):
            tensors(grown)

    @pytest.mark.parametrize(
        ("offset", "shape", "strides"),
        [(1, (3,), (1,)), (0, (2, 2), (2, 1)), (-1, (2,), (1,)), (0, (-1,), (1,))],
    )
    def test_tensors_beyond_their_storage(self, offset: int, shape: Any, strides: Any) -> None:
        with pytest.raises(DamagedFile, match=r"reaches beyond|a shape that is none"):
            state_dict.StoredTensor.of("a", "float32", memoryview(bytes(12)), offset, shape, strides)

    def test_keys_that_take_for_ever_to_hash(self) -> None:
        # t = (t, t) sixty times over, and then a key.
        pickled = b"\x80\x02}" + b")" + b"2\x86" * 60 + b"K\x01s."
        data = rezipped(saved({}), lambda name, content: pickled if name.endswith("/data.pkl") else content)
        before = time.perf_counter()
        with pytest.raises(UnknownFormat, match="It holds no weights"):
            tensors(data)
        assert time.perf_counter() - before < 5

    @pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
    def test_mutants(self, kind: str) -> None:
        state = {"a.weight": torch.randn(3, 2), "a.bias": torch.ones(3), "n": torch.tensor(4)}
        data = save_safetensors(state) if kind == "safetensors" else saved(state, legacy=kind == "legacy")
        random = np.random.default_rng(9)
        for _ in range(400):
            mutant = bytearray(data)
            for _ in range(int(random.integers(1, 6))):
                mutant[int(random.integers(len(mutant)))] = int(random.integers(256))
            cut = len(mutant) if random.random() < 0.8 else int(random.integers(len(mutant)))
            try:
                tensors(bytes(mutant[:cut]))
            except FluoroscopeError:
                continue

    @pytest.mark.parametrize(
        "header",
        [
            b"{",
            b"[]",
            b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
            b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]}}',
            b'{"a": {"dtype": "F31", "shape": [2], "data_offsets": [0, 8]}}',
            b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}',
            b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}',
            b'{"a": 1}',
        ],
    )
    def test_wrong_safetensors(self, header: bytes) -> None:
        with pytest.raises(NetworkError):
            tensors(struct.pack("<Q", len(header)) + header + bytes(8))


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return torch_models.timm("resnet10t", num_classes=3).eval()


class TestArchitectures:
    @pytest.mark.parametrize("form", ["pth", "legacy", "safetensors", "wrapped"])
    def test_the_same_as_the_live_module(self, resnet: nn.Module, form: str, tmp_path: Path) -> None:
        state = resnet.state_dict()
        data = {
            "pth": lambda: saved(state),
            "legacy": lambda: saved(state, legacy=True),
            "safetensors": lambda: save_safetensors(state),
            "wrapped": lambda: saved({"state_dict": {f"model.module.{k}": v for k, v in state.items()}}),
        }[form]()
        (tmp_path / "weights.pth").write_bytes(data)
        random = torch.get_rng_state()
        network = fs.open_network(tmp_path / "weights.pth", arch="timm:resnet10t", input_shape=(64, 64, 3))
        assert torch.equal(torch.get_rng_state(), random)
        batch = np.random.default_rng(1).random((1, 64, 64, 3), np.float32)
        live = fs.open_network(resnet, input_shape=(64, 64, 3))
        assert network.layers == live.layers
        names = ["conv1.0", "layer2.0.add", "fc"]
        for name, values in live.run(batch, names).items():
            np.testing.assert_array_equal(network.run(batch, names)[name], values)
        origin = network.provenance
        assert origin.format == ("safetensors" if form == "safetensors" else "torch-state-dict")
        assert origin.path == str(tmp_path / "weights.pth")
        assert origin.notes[0] == "architecture timm:resnet10t"
        assert "num_classes=3, from the weights" in origin.notes
        assert ("begin with 'model.module.'" in " ".join(origin.notes)) == (form == "wrapped")

    def test_torchvision_and_other_channels(self) -> None:
        torch_models.torchvision()
        model = torch_models.torchvision().models.squeezenet1_1(weights=None, num_classes=5)
        network = fs.open_network(saved(model.state_dict()), arch="torchvision:squeezenet1_1")
        assert network.layers[-1].shape == (5,)
        grey = torch_models.timm("resnet10t", in_chans=1, num_classes=1000)
        network = fs.open_network(saved(grey.state_dict()), arch="timm:resnet10t")
        assert network.inputs[0].shape == (None, None, 1)

    def test_options(self) -> None:
        model = torch_models.timm("vit_tiny_patch16_224", img_size=32, depth=1)
        data = saved(model.state_dict())
        network = fs.open_network(data, arch="timm:vit_tiny_patch16_224,img_size=(32,32),depth=1")
        assert network.inputs[0].shape == (32, 32, 3)
        parsed = Architecture.parse("timm:a, b=(1,2),c=true,d=text,e=0.5")
        assert (parsed.name, parsed.options) == ("a", {"b": (1, 2), "c": True, "d": "text", "e": 0.5})

    def test_weights_of_another_architecture(self, resnet: nn.Module) -> None:
        state = dict(resnet.state_dict())
        del state["fc.bias"]
        state["layer9.weight"] = torch.ones(1)
        state["bn1.weight"] = torch.ones(7)
        with pytest.raises(
            WeightMismatch,
            match=r"These bytes: The weights are not those of timm:resnet10t.*\. 1 missing: fc\.bias; "
            r"1 unexpected: layer9\.weight; 1 of another shape: bn1\.weight is \[7\] in the file",
        ):
            fs.open_network(saved(state), arch="timm:resnet10t,num_classes=3")

    def test_old_weights_without_counters(self, resnet: nn.Module) -> None:
        state = {k: v for k, v in resnet.state_dict().items() if not k.endswith("num_batches_tracked")}
        assert fs.open_network(saved(state), arch="timm:resnet10t", input_shape=(32, 32, 3)).outputs == (
            "fc",
        )

    @pytest.mark.parametrize("arch", ["resnet18", "keras:resnet", "timm:", "timm:resnet18,img_size"])
    def test_what_is_no_architecture(self, arch: str) -> None:
        with pytest.raises(UsageError, match="--arch"):
            fs.open_network(saved({"a": torch.ones(1)}), arch=arch)

    @pytest.mark.parametrize(
        ("arch", "message"),
        [
            ("timm:resnt18", "has no architecture 'resnt18'. Did you mean timm:resnet18"),
            ("timm:hf-hub:someone/model", "has no architecture"),
            ("timm:local-dir:/etc", "has no architecture"),
            ("torchvision:resnt18", "Did you mean torchvision:resnet18"),
            ("timm:resnet18,wrong=1", "timm:resnet18,wrong=1 cannot be made: TypeError"),
        ],
    )
    def test_what_a_library_has_not(self, arch: str, message: str) -> None:
        torch_models.torchvision()
        with pytest.raises(UsageError, match=message.replace(".", r"\.").replace("+", r"\+")):
            fs.open_network(saved({"a": torch.ones(1)}), arch=arch)

    def test_a_library_that_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "timm", None)
        with pytest.raises(MissingDependency, match="pip install timm"):
            fs.open_network(saved({"a": torch.ones(1)}), arch="timm:resnet18")

    def test_weights_alone(self) -> None:
        for data in (saved({"a": torch.ones(1)}), save_safetensors({"a": torch.ones(1)})):
            with pytest.raises(UnknownFormat, match=r"weights.*--arch timm:resnet18"):
                fs.open_network(data)

    def test_what_does_not_go_with_it(self) -> None:
        data = saved({"a": torch.ones(1)})
        with pytest.raises(UsageError, match="arch makes a live module"):
            fs.open_network(data, arch="timm:resnet18", isolate=True)
        with pytest.raises(UsageError, match="arch, config, replace and external are for files"):
            fs.open_network(nn.Conv2d(1, 1, 1), arch="timm:resnet18")
        with pytest.raises(UnknownFormat, match="holds no weights that are known here"):
            fs.open_network(fs.demo.network_path(), arch="timm:resnet18")
