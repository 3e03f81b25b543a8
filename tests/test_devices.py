"""Devices: which provider of onnxruntime with which options, and that nothing falls back in silence.

Only a CPU is at hand here: other providers are played by onnxruntime's own classes, watched.
"""

import json
import os
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

import fluoroscope as fs
from fluoroscope.errors import MissingDependency, NetworkError, UsageError
from fluoroscope.network import devices
from fluoroscope.network.devices import CPU, execution
from onnx_models import after, chain, floats

DATA = chain([after("Relu")])


@pytest.fixture
def providers(monkeypatch):
    """Plays an onnxruntime with other providers, all of which the CPU's stands in for.

    Gives what sessions were made with, and decides how they behave.
    """
    plain = onnxruntime.InferenceSession

    played = SimpleNamespace(
        there=["CPUExecutionProvider"], made=[], falls_back=False, places=True, error=None
    )

    def session(model, options, *, providers, **more):
        played.made.append((providers[0], more))
        if played.error is not None:
            raise played.error
        real = plain(model, options, providers=["CPUExecutionProvider"])
        if isinstance(providers[0], tuple) and not played.falls_back:
            name = providers[0][0]
            real.get_providers = lambda: [name, "CPUExecutionProvider"]
            part = type("Part", (), {"ep_name": name if played.places else "CPUExecutionProvider"})
            real.get_provider_graph_assignment_info = lambda: [part]
        return real

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: played.there)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "")
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
    devices._tried.cache_clear()
    yield played
    devices._tried.cache_clear()


@pytest.mark.parametrize(
    ("device", "precision", "provider", "options"),
    [
        ("cuda", "float32", "CUDAExecutionProvider", {"use_tf32": "0"}),
        ("tensorrt", "float32", "TensorrtExecutionProvider", {"trt_fp16_enable": "0"}),
        ("tensorrt", "float16", "TensorrtExecutionProvider", {"trt_fp16_enable": "1"}),
        ("rocm", "float32", "MIGraphXExecutionProvider", {}),
        ("rocm", "float32", "ROCMExecutionProvider", {}),
        ("directml", "float32", "DmlExecutionProvider", {}),
        (
            "coreml",
            "float32",
            "CoreMLExecutionProvider",
            {"ModelFormat": "MLProgram", "MLComputeUnits": "CPUAndGPU"},
        ),
        (
            "coreml",
            "float16",
            "CoreMLExecutionProvider",
            {"ModelFormat": "NeuralNetwork", "MLComputeUnits": "ALL"},
        ),
        ("openvino", "float32", "OpenVINOExecutionProvider", {"device_type": "CPU", "precision": "FP32"}),
        ("openvino", "float16", "OpenVINOExecutionProvider", {"device_type": "GPU", "precision": "FP16"}),
        ("xnnpack", "float32", "XnnpackExecutionProvider", {}),
    ],
)
def test_a_device_is_a_provider_with_options(providers, device, precision, provider, options):
    providers.there = [provider, "CPUExecutionProvider"]
    network = fs.open_network(DATA, device=device, precision=precision)
    assert (network.provenance.device, network.provenance.precision) == (device, precision)
    batch = floats(1, 16, 12, 2)
    np.testing.assert_array_equal(network.run(batch, ["t0"])["t0"], np.maximum(batch, 0))
    # Once on opening, to see whether it works at all.
    assert providers.made == 2 * [((provider, options), {"enable_fallback": 0})]


def test_tensor_cores_round_only_when_asked(providers, monkeypatch):
    providers.there = ["TensorrtExecutionProvider", "CPUExecutionProvider"]
    execution("tensorrt", "float16")
    assert "NVIDIA_TF32_OVERRIDE" not in os.environ
    execution("tensorrt")
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"


@pytest.mark.parametrize(
    ("device", "package"),
    [
        ("cuda", "pip install onnxruntime-gpu"),
        ("tensorrt", "pip install onnxruntime-gpu, and install TensorRT"),
        ("rocm", "pip install onnxruntime-migraphx"),
        ("directml", "pip install onnxruntime-directml"),
        ("coreml", "part of onnxruntime for macOS"),
        ("openvino", "pip install onnxruntime-openvino"),
        ("xnnpack", "build onnxruntime with --use_xnnpack"),
    ],
)
def test_a_missing_provider_says_what_to_install(providers, device, package):
    with pytest.raises(
        MissingDependency, match=rf"^{device} needs .*\(it has CPU\)\. To get it: .*{package}"
    ):
        fs.open_network(DATA, device=device)


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        ("gpu", "float32", "There is no device 'gpu'. Devices: cpu, cuda"),
        ("cpu", "float64", "There is no precision 'float64'"),
        ("cpu", "float16", "A CPU computes in float32, not in float16. Devices with float16: tensorrt"),
        ("cuda", "float16", "On cuda there is no float16"),
        ("auto", "float16", "float16 is of a device of its own: name it"),
    ],
)
def test_what_there_is_not(device, precision, message):
    with pytest.raises(UsageError, match=message):
        fs.open_network(DATA, device=device, precision=precision)


def test_no_silent_fallback_of_the_session(providers):
    """onnxruntime makes a session on the CPU where a provider's library does not load, and only logs it."""
    providers.there = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    providers.falls_back = True
    with pytest.raises(
        MissingDependency, match=r"cuda was asked for, and onnxruntime .* fell back to the CPU"
    ):
        fs.open_network(DATA, device="cuda")
    providers.falls_back = False
    network = fs.open_network(DATA, device="cuda")
    providers.falls_back = True
    with pytest.raises(MissingDependency, match="fell back to the CPU"):
        network.run(floats(1, 16, 12, 2), ["t0"])


def test_no_silent_fallback_of_all_nodes(providers):
    providers.there = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    network = fs.open_network(DATA, device="cuda")
    providers.places = False
    with pytest.raises(MissingDependency, match="cuda was asked for, and takes no part of this network"):
        network.run(floats(1, 16, 12, 2), ["t0"])


def test_a_provider_that_does_not_start(providers):
    providers.there = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    providers.error = RuntimeError("CUDA failure 35\nmore")
    with pytest.raises(
        MissingDependency, match=r"cannot be used here: CUDA failure 35\. Is there such hardware"
    ):
        fs.open_network(DATA, device="cuda")


def test_auto_takes_the_first_that_works(providers):
    assert execution("auto") is CPU
    providers.there = ["DmlExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    assert execution("auto").device == "cuda"
    devices._tried.cache_clear()
    providers.falls_back = True
    assert execution("auto") is CPU


def test_the_cpu_needs_nothing_of_this(providers, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: pytest.fail("asked"))
    network = fs.open_network(DATA)
    network.run(floats(1, 16, 12, 2), ["t0"])
    assert providers.made == [("CPUExecutionProvider", {})]
    assert (network.provenance.device, network.provenance.precision) == ("cpu", "float32")


def test_the_real_onnxruntime_here_has_no_gpu():
    with pytest.raises((MissingDependency, NetworkError)):
        fs.open_network(DATA, device="directml", isolate=True)
    with fs.open_network(DATA, device="auto", isolate=True) as network:
        assert network.provenance.device == "cpu"


def test_every_output_says_so(tmp_path):
    import pypdf

    acts = fs.capture(fs.demo.network_path(), fs.demo.image_path(), layers="conv2d_1")
    acts.save(tmp_path / "out.pdf")
    acts.save(tmp_path / "out.png")
    acts.save(tmp_path / "out.npz")
    acts.save(tmp_path / "out")
    said = {"device": "cpu", "precision": "float32"}
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["run"] == said
    with np.load(tmp_path / "out.npz") as arrays:
        (record,) = (json.loads(str(arrays[name])) for name in arrays.files if "manifest" in name)
    assert record["run"] == said
    pages = "".join(page.extract_text() for page in pypdf.PdfReader(tmp_path / "out.pdf").pages)
    assert "cpu, float32" in pages
    assert b"cpu" in (tmp_path / "out.png").read_bytes()
