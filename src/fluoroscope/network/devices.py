"""What computes a network: onnxruntime's execution providers, in full float32 unless asked otherwise.

Providers take shortcuts by default on some hardware (TF32 on NVIDIA's, half precision on Apple's, bf16 on
Intel's), which changes values in the third digit. Here every option that allows one is set against it;
whoever wants one asks for it, and every output says so. A provider that cannot be used is an error:
onnxruntime itself would go on, on the CPU, without a word.

Options and their values: https://onnxruntime.ai/docs/execution-providers/, a page each.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args

from fluoroscope.errors import MissingDependency, UsageError
from fluoroscope.network.telemetry import forbid_telemetry

if TYPE_CHECKING:
    import onnxruntime

Device = Literal[
    "cpu", "cuda", "tensorrt", "rocm", "directml", "coreml", "openvino", "xnnpack", "auto"
]  # fmt: skip
"""What may be asked for. ``auto`` is the first that can be used of `_AUTO`, or the CPU."""

Precision = Literal["float32", "float16"]

_CPU = "CPUExecutionProvider"
_AUTO: tuple[Device, ...] = ("cuda", "rocm", "directml", "coreml")

Options = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A device.

    Attributes
    ----------
    providers
        Names of the execution providers that drive it, the preferred one first.
    get
        How to get them.
    full
        Provider options for float32.
    half
        Those for float16; None where onnxruntime has none.
    environment
        Variables that have to be set for float32 before it starts, where there is no option.
    """

    providers: tuple[str, ...]
    get: str
    full: Options = field(default_factory=dict[str, str])
    half: Options | None = None
    environment: Options = field(default_factory=dict[str, str])


def _install(package: str) -> str:
    return f"pip uninstall onnxruntime, then pip install {package}"


_KINDS: Mapping[str, _Kind] = {
    "cuda": _Kind(
        providers=("CUDAExecutionProvider",), get=_install("onnxruntime-gpu"), full={"use_tf32": "0"}
    ),
    "tensorrt": _Kind(
        providers=("TensorrtExecutionProvider",),
        get=_install("onnxruntime-gpu") + ", and install TensorRT",
        full={"trt_fp16_enable": "0"},
        half={"trt_fp16_enable": "1"},
        # It has no option against TF32; NVIDIA's libraries all heed this.
        environment={"NVIDIA_TF32_OVERRIDE": "0"},
    ),
    "rocm": _Kind(
        # ROCm's own provider ended with onnxruntime 1.22.
        providers=("MIGraphXExecutionProvider", "ROCMExecutionProvider"),
        get=_install("onnxruntime-migraphx"),
    ),
    "directml": _Kind(
        providers=("DmlExecutionProvider",), get=_install("onnxruntime-directml") + " (Windows)"
    ),
    "coreml": _Kind(
        providers=("CoreMLExecutionProvider",),
        get="it is part of onnxruntime for macOS",
        # An ML Program computes in the types of its tensors; the Neural Engine knows half precision only, and
        # so does the older format on a GPU.
        full={"ModelFormat": "MLProgram", "MLComputeUnits": "CPUAndGPU"},
        half={"ModelFormat": "NeuralNetwork", "MLComputeUnits": "ALL"},
    ),
    "openvino": _Kind(
        providers=("OpenVINOExecutionProvider",),
        get=_install("onnxruntime-openvino"),
        full={"device_type": "CPU", "precision": "FP32"},
        half={"device_type": "GPU", "precision": "FP16"},
    ),
    "xnnpack": _Kind(
        providers=("XnnpackExecutionProvider",), get="build onnxruntime with --use_xnnpack"
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What computes: a device, how exactly, and onnxruntime's words for it.

    Attributes
    ----------
    device
        Never ``auto``: what that came to.
    precision
        Of sums and products. Networks whose weights are of another type are computed in that, as the file
        says.
    provider, options
        For onnxruntime.
    """

    device: str = "cpu"
    precision: Precision = "float32"
    provider: str = _CPU
    options: Options = field(default_factory=dict[str, str])

    def session(self, model: bytes, options: Any) -> onnxruntime.InferenceSession:
        """A session of onnxruntime for a model, with `options` (onnxruntime.SessionOptions).

        What the provider has no kernel for runs on the CPU, in float32.

        Raises
        ------
        MissingDependency
            The provider could not be started, or takes no node of the model.
        """
        import onnxruntime

        if self.provider == _CPU:
            return onnxruntime.InferenceSession(model, options, providers=[_CPU])
        if self.device == "directml":
            # As its page demands.
            options.enable_mem_pattern = False
        # Known from onnxruntime 1.24 on, ignored before.
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        session = onnxruntime.InferenceSession(
            model, options, providers=[(self.provider, dict(self.options)), _CPU], enable_fallback=0
        )
        if self.provider not in session.get_providers():
            raise MissingDependency(
                f"{self.device} was asked for, and onnxruntime {onnxruntime.__version__} fell back to the "
                f"CPU: {self.provider} did not start. Is there such hardware, and its driver? --device "
                "cpu, or device='cpu', computes the same."
            )
        if hasattr(session, "get_provider_graph_assignment_info") and not any(
            part.ep_name == self.provider for part in session.get_provider_graph_assignment_info()
        ):
            raise MissingDependency(
                f"{self.device} was asked for, and takes no part of this network: all of it would run on the "
                "CPU. Say so with --device cpu, or device='cpu'."
            )
        return session


CPU = Execution()


def execution(device: Device = "cpu", precision: Precision = "float32") -> Execution:
    """How to compute on a device.

    Raises
    ------
    UsageError
        No such device, or not with that precision.
    MissingDependency
        This onnxruntime has no provider for it, or the provider cannot be started; the message says what to
        install.
    """
    if device not in get_args(Device):
        raise UsageError(f"There is no device {device!r}. Devices: {', '.join(get_args(Device))}.")
    if precision not in get_args(Precision):
        raise UsageError(f"There is no precision {precision!r}. Precisions: float32, float16.")
    if device == "auto":
        if precision != "float32":
            raise UsageError(f"{precision} is of a device of its own: name it, such as --device tensorrt.")
        return next((found for name in _AUTO if (found := _if_usable(name)) is not None), CPU)
    if device == "cpu":
        if precision != "float32":
            raise UsageError(f"A CPU computes in float32, not in {precision}. {_with_half()}")
        return CPU
    found = _described(device, precision)
    _try(found)
    return found


def _described(device: Device, precision: Precision) -> Execution:
    kind = _KINDS[device]
    options = kind.full if precision == "float32" else kind.half
    if options is None:
        raise UsageError(f"On {device} there is no {precision} for a network of float32. {_with_half()}")
    forbid_telemetry()
    if precision == "float32":
        for name, value in kind.environment.items():
            os.environ.setdefault(name, value)
    import onnxruntime

    there = onnxruntime.get_available_providers()
    provider = next((name for name in kind.providers if name in there), None)
    if provider is None:
        has = ", ".join(name.removesuffix("ExecutionProvider") for name in there)
        raise MissingDependency(
            f"{device} needs {kind.providers[0]}, which this onnxruntime {onnxruntime.__version__} does not "
            f"have (it has {has}). To get it: {kind.get}."
        )
    return Execution(device=device, precision=precision, provider=provider, options=options)


def _if_usable(device: Device) -> Execution | None:
    try:
        found = _described(device, "float32")
        _try(found)
    except MissingDependency:
        return None
    return found


@cache
def _tried(provider: str, options: tuple[tuple[str, str], ...], device: str) -> None:
    """Run the smallest of networks: a provider is listed also where its hardware or driver is missing."""
    import onnxruntime
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 4, 4])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "trial", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    try:
        trial = Execution(device=device, provider=provider, options=dict(options))
        trial.session(model.SerializeToString(), settings)
    except MissingDependency:
        raise
    except Exception as error:  # onnxruntime's exceptions have no common public base
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise MissingDependency(
            f"{device} was asked for, and {provider} cannot be used here: {reason}. Is there such hardware, "
            "and its driver? --device cpu, or device='cpu', computes the same."
        ) from error


def _try(found: Execution) -> None:
    _tried(found.provider, tuple(found.options.items()), found.device)


def _with_half() -> str:
    able = ", ".join(name for name, kind in _KINDS.items() if kind.half is not None)
    return f"Devices with float16: {able}."
