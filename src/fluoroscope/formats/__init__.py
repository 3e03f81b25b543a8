"""Network files: recognised by content, read without running anything in them.

`open_network` is the one door. What a file is, is decided by the table `FORMATS`: content first, and the
name only where content leaves it open.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as with_files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import NetworkError, UnknownFormat, UsageError
from fluoroscope.formats.file_bytes import read_file
from fluoroscope.formats.foreign import identify, tensorflow_graph
from fluoroscope.formats.hdf5 import signature as hdf5_signature
from fluoroscope.formats.limits import Limits
from fluoroscope.formats.live import InputShape, open_live
from fluoroscope.formats.onnx.external import read_external
from fluoroscope.formats.opened import Opened, opened_keras
from fluoroscope.network.budget import Budget, human_bytes
from fluoroscope.network.devices import Device, Precision, execution
from fluoroscope.network.onnx_network import OnnxNetwork
from fluoroscope.network.protocol import Network, Provenance

if TYPE_CHECKING:
    import keras
    import torch

    from fluoroscope.formats.keras.additions import Additions
    from fluoroscope.formats.keras.replace import Wish


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A kind of file.

    Attributes
    ----------
    name
        As `Provenance.format` says it.
    suffixes
        Usual endings, for messages.
    recognises
        From the whole content.
    read
        From content, a name for the network, the budget, and what is said beside the file.
    additions
        Whether what is of Keras can be said beside it: an architecture, or layers that others stand for.
    """

    name: str
    suffixes: tuple[str, ...]
    recognises: Callable[[bytes], bool]
    read: Callable[[bytes, str, Budget, Additions], Opened]
    additions: bool = False


def open_network(
    source: str | os.PathLike[str] | bytes | Network | torch.nn.Module | keras.Model,
    *,
    arch: str | None = None,
    config: str | os.PathLike[str] | bytes | None = None,
    replace: Mapping[str, Wish] | None = None,
    budget: Budget | None = None,
    threads: int = 0,
    device: Device = "cpu",
    precision: Precision = "float32",
    isolate: bool = False,
    input_shape: InputShape | None = None,
    external: Sequence[str | os.PathLike[str]] = (),
) -> Network:
    """Open a trained network.

    Nothing in the file is executed, no other file is touched, and sizes are checked before memory is taken.

    Parameters
    ----------
    source
        A path to a Keras ``.h5``, ``.hdf5`` or ``.keras`` file or an ``.onnx`` file, or the bytes of one; or
        a live ``torch.nn.Module`` or ``keras.Model``. A `Network` is returned as it is.
    arch
        For a file that holds PyTorch weights only (a state dict in ``.pth`` or ``.pt``, ``.safetensors``):
        the architecture, ``"timm:resnet18"`` or ``"torchvision:resnet18"``, from that library where it is
        installed; options behind it, ``"timm:vit_tiny_patch16_224,img_size=64"``. Nothing is downloaded. It
        runs in PyTorch, as a live module does.
    config
        For a file that holds Keras weights only: the architecture, as the path or the bytes of the JSON that
        ``model.to_json()`` writes, of any Keras version, or of a whole model of which it is taken.
    replace
        Layers of Keras that stand for others, which are not run (Lambdas, classes of the author's) or have no
        translation: from a name, path, pattern or ``"class:MyLayer"`` to
        ``"Rescaling:scale=1/127.5,offset=-1"`` or ``("Rescaling", {"scale": 1 / 127.5, "offset": -1})``. A
        class that the author derived from one of Keras's keeps its options and weights:
        ``{"class:MyConv": "Conv2D"}``.
    budget
        Limits; 2 GiB of memory by default.
    threads
        Threads for running what onnxruntime runs; 0 for one a core.
    device
        What computes it: ``cpu``, ``cuda``, ``tensorrt``, ``rocm``, ``directml``, ``coreml``, ``openvino``,
        ``xnnpack``, or ``auto`` for a GPU where there is one. Another than the CPU needs another build of
        onnxruntime; the error says which.
    precision
        ``float32``, or ``float16`` on devices that can; every output says which.
    isolate
        Open and run it in a child process of its own (an `IsolatedNetwork`): a crash, a hang or too much
        memory there ends that process only, as `WorkerFailed`. See `fluoroscope.network.worker.limits` for
        what is guaranteed where.
    input_shape
        Of what a live model takes, channels last, without batch: ``(224, 224, 3)``, or for a torch module a
        mapping of such by the names in its ``forward``. By default it is what the model says, or is found out
        by trying.
    external
        Files beside an ``.onnx`` file that hold its weights (``model.onnx.data``). What a model says of where
        its weights lie is never followed, only compared with the files named here.

    Raises
    ------
    UsageError
        `config` or `replace` for a file that has no use for it, or a replacement that there is not.
    NetworkError
        Of a kind that says what is wrong: `UnknownFormat`, `DamagedFile`, `RefusedFile`,
        `UnsupportedLayer`, `WeightMismatch`.
    BudgetExceeded
        The sizes that the file declares are over the budget.
    MissingDependency
        The device cannot be used; nothing falls back to another in silence.
    WorkerFailed
        With `isolate`: the process crashed, or was over a limit.
    """
    if isinstance(source, Network):
        if config is not None or replace or arch is not None:
            raise UsageError(
                "This network is open already: give arch, config and replace where its file is opened."
            )
        return source
    budget = budget or Budget()
    live = open_live(source, budget=budget, threads=threads, input_shape=input_shape)
    if live is not None:
        if isolate:
            raise UsageError("isolate=True is for files; a live model runs where it lies, in this process.")
        if (device, precision) != ("cpu", "float32"):
            raise UsageError("device and precision are for files; a live model is computed where it lies.")
        if config is not None or replace or external or arch is not None:
            raise UsageError("arch, config, replace and external are for files, not for live models.")
        return live
    path = None if isinstance(source, bytes) else _path(source)
    if arch is not None:
        if isolate or config is not None or replace or external or (device, precision) != ("cpu", "float32"):
            raise UsageError(
                "arch makes a live module, which runs in PyTorch and in this process: isolate, config, "
                "replace, external, device and precision do not go with it."
            )
        from fluoroscope.formats.architecture import open_weights

        data = source if isinstance(source, bytes) else read_file(Path(_path(source)), budget)
        return open_weights(data, path, arch, budget=budget, input_shape=input_shape)
    if input_shape is not None:
        raise UsageError("input_shape is for live models: a file says what its network takes.")
    additions = _additions(config, replace, budget)
    if external and not isolate:
        additions = with_files(additions, external=read_external(external, budget))
    if isolate:
        from fluoroscope.formats.isolation import open_isolated

        options = {"threads": threads, "device": device, "precision": precision}
        content = source if isinstance(source, bytes) else None
        return open_isolated(content, path, budget, additions, options, external)
    data = source if isinstance(source, bytes) else read_file(Path(_path(source)), budget)
    return open_content(data, path, budget, additions, threads=threads, device=device, precision=precision)


def open_content(
    data: bytes,
    path: str | None,
    budget: Budget,
    additions: Additions,
    *,
    threads: int = 0,
    device: Device = "cpu",
    precision: Precision = "float32",
    sha256: str | None = None,
) -> OnnxNetwork:
    """`open_network` for what was read already.

    Parameters
    ----------
    path
        Where it was read from; None for bytes.
    additions
        What is said beside it.
    sha256
        Of `data`, if somebody knows it; None to find it out.
    """
    how = execution(device, precision)
    label = repr(path) if path is not None else "These bytes"
    name = Path(path).stem if path is not None else "network"
    try:
        form = _recognise(data)
        if additions.external and form.additions:
            raise UsageError(
                f"{label} is of the format {form.name}: external is for the weights of ONNX files."
            )
        if additions.of_keras and not form.additions:
            raise UsageError(
                f"{label} is of the format {form.name}: config and replace are for files of Keras."
            )
        opened = form.read(data, name, budget, additions)
        provenance = Provenance(
            path=path,
            format=form.name,
            writer=opened.writer,
            backend=opened.backend,
            sha256=hashlib.sha256(data).hexdigest() if sha256 is None else sha256,
            size=len(data),
            notes=(*opened.notes, *_weight_notes(opened.graph.weights)),
            device=how.device,
            precision=how.precision,
        )
        return OnnxNetwork(
            opened.graph, provenance, budget=budget, resize=opened.resize, threads=threads, execution=how
        )
    except NetworkError as error:
        raise type(error)(f"{label}: {error}") from error


def _additions(
    config: str | os.PathLike[str] | bytes | None, replace: Mapping[str, Wish] | None, budget: Budget
) -> Additions:
    """What is said beside the file."""
    from fluoroscope.formats.keras.additions import Additions
    from fluoroscope.formats.keras.replace import Replacements, parse_replacements

    replacements = Replacements()
    if replace:
        from fluoroscope.formats.keras.translate.table import TABLE

        replacements = parse_replacements(replace, TABLE)
    if config is None:
        return Additions(replacements=replacements)
    if isinstance(config, bytes):
        return Additions(architecture=config, replacements=replacements)
    path = Path(_path(config))
    return Additions(
        architecture=read_file(path, budget), architecture_name=repr(str(path)), replacements=replacements
    )


def _path(source: Any) -> str:
    try:
        return os.fspath(source)
    except TypeError as error:
        raise UsageError(
            "A network is given as a path, the bytes of a file, an open network, a keras.Model or a "
            f"torch.nn.Module; not as {type(source).__name__}."
        ) from error


def _recognise(data: bytes) -> Format:
    if not data:
        raise UnknownFormat("The file is empty.")
    for form in FORMATS:
        if form.recognises(data):
            return form
    stranger = identify(data)
    if stranger is not None:
        raise stranger.error()
    known = ", ".join(suffix for form in FORMATS for suffix in form.suffixes)
    raise UnknownFormat(
        f"Its content is no network format known here (it begins with {data[:8]!r}, "
        f"{human_bytes(len(data))}). Known: {known}."
    )


def _is_hdf5(data: bytes) -> bool:
    return hdf5_signature.start(data) is not None


def _is_keras_archive(data: bytes) -> bool:
    if not data.startswith(b"PK\x03\x04"):
        return False
    from fluoroscope.formats.keras import archive as keras_archive

    return keras_archive.is_keras_archive(data)


def _is_onnx(data: bytes) -> bool:
    """An ONNX file is a bare protobuf message: its first field is its version, a number of one byte.

    A SavedModel's begins alike.
    """
    return (
        tensorflow_graph(data) is None
        and len(data) > 8
        and data[0] == 0x08
        and 1 <= data[1] <= 32
        and data[2] in _ONNX_SECOND_FIELD
    )


_ONNX_SECOND_FIELD = frozenset({0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42})
"""Tags of the fields that can follow the version: producer, domain, model version, doc, graph, opsets."""


def _read_keras_hdf5(data: bytes, name: str, budget: Budget, additions: Additions) -> Opened:
    if additions.architecture is not None:
        from fluoroscope.formats.keras import beside as keras_beside

        return opened_keras(keras_beside.read(data, additions, limits=Limits.within(budget)))
    from fluoroscope.formats.keras import hdf5 as keras_hdf5

    return opened_keras(
        keras_hdf5.read(data, limits=Limits.within(budget), replacements=additions.replacements)
    )


def _read_keras_archive(data: bytes, name: str, budget: Budget, additions: Additions) -> Opened:
    from fluoroscope.formats.keras import archive as keras_archive

    if additions.architecture is not None:
        raise UsageError(
            "A .keras file has its own architecture. --config is for files with nothing but weights."
        )
    return opened_keras(
        keras_archive.read(data, limits=Limits.within(budget), replacements=additions.replacements)
    )


def _read_onnx(data: bytes, name: str, budget: Budget, additions: Additions) -> Opened:
    from fluoroscope.formats.onnx import file as onnx_file

    file = onnx_file.read(data, name=name, budget=budget, external=additions.external)
    graph = file.graph()
    free = any(None in entry.shape[1:] for entry in graph.inputs)
    return Opened(
        graph=graph,
        resize=(lambda height, width: file.graph((height, width))) if free else None,
        writer=file.writer,
    )


def _weight_notes(weights: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    """Weights that are NaN or infinite are shown, but not without a word."""
    with np.errstate(over="ignore", invalid="ignore"):
        bad = [
            name
            for name, array in weights.items()
            # The sum is a quick test; it may overflow where no single value has.
            if array.dtype.kind == "f" and not np.isfinite(array.sum()) and not np.isfinite(array).all()
        ]
    if not bad:
        return ()
    more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
    return (f"NaN or infinite weights in {', '.join(bad[:5])}{more}",)


FORMATS: tuple[Format, ...] = (
    # Before HDF5, which may begin behind other content: the weights of an archive can lie where it would.
    Format(
        name="keras-archive",
        suffixes=(".keras",),
        recognises=_is_keras_archive,
        read=_read_keras_archive,
        additions=True,
    ),
    Format(
        name="keras-hdf5",
        suffixes=(".h5", ".hdf5"),
        recognises=_is_hdf5,
        read=_read_keras_hdf5,
        additions=True,
    ),
    Format(name="onnx", suffixes=(".onnx",), recognises=_is_onnx, read=_read_onnx),
)
