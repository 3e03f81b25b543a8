"""Python pickles: recognised, and the names they would import read from their opcodes. Never loaded.

Opcodes: ``Lib/pickletools.py`` of CPython. Layout of PyTorch's files before 1.6: ``_legacy_save`` in
``torch/serialization.py``, four pickles in a row and then raw numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO

from fluoroscope.formats.foreign.kinds import Foreign

MOST_OPCODES = 200_000
"""About a second's worth; the state dict of a thousand tensors takes 30,000."""

_LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_PICKLES = 4
_PROTOCOLS = tuple(bytes((0x80, protocol)) for protocol in (2, 3, 4, 5))
_TEXTUAL = re.compile(rb"\(*[ci][A-Za-z_][\w.]*\n[A-Za-z_]\w*\n|\([dlt]p\d+\n|[}\])]q|\(+[SV][^\n]{0,400}\n")
"""How a pickle of protocol 0 or 1 begins: with a name to import, an empty container, or a text in a tuple."""

_TENSOR_NAMES = re.compile(
    r"collections\.OrderedDict|torch\.(?:\w*Storage|Size|device|[a-z]+\d*(?:_\w+)?)"
    r"|torch\._utils\._rebuild_(?:tensor(?:_v2)?|parameter|sparse_tensor|qtensor)"
    r"|torch\.storage\.\w*Storage|torch\.serialization\._get_layout|torch\.Tensor|torch\.nn\.parameter\.Parameter"
)
"""What a state dict needs to be put together: tensors and the containers they are in."""

PICKLED_MODULE = "a PyTorch module pickled whole"
"""Label of a file that is a program by the names in it; what it holds may be weights all the same."""

EXPORT = "torch.onnx.export(model, example, 'model.onnx')"
_LIVE = (
    "Where you trust it, load it yourself and give the live module: fluoroscope.capture(model, picture); or "
    f"export it: {EXPORT}."
)
_STATE = (
    "It has no architecture. Say which: --arch timm:resnet18, or open_network(path, arch='timm:resnet18'). "
    "For one that neither timm nor torchvision has, load the weights where its code is and give the live "
    "module: fluoroscope.capture(model, picture)."
)


def pickled(data: bytes) -> Foreign | None:
    """A bare pickle, PyTorch's files before 1.6 among them."""
    if data.startswith(_LEGACY_TORCH):
        return torch_pickle(imported(data, pickles=_LEGACY_PICKLES))
    textual = data[-1:] == b"." and _TEXTUAL.match(data[:600]) is not None
    if not textual and not data.startswith(_PROTOCOLS):
        return None
    names = imported(data)
    if any(name.startswith("torch.") for name in names):
        return torch_pickle(names)
    return Foreign(
        label="a Python pickle",
        program=True,
        names=names,
        advice=f"Load it where you trust it and export the network: model.save('model.keras'), or {EXPORT}.",
    )


def torch_pickle(names: tuple[str, ...]) -> Foreign:
    """What PyTorch wrote, by the names that its pickle asks for."""
    others = tuple(name for name in names if not _TENSOR_NAMES.fullmatch(name))
    if others:
        return Foreign(label=PICKLED_MODULE, program=True, names=others, advice=_LIVE)
    return Foreign(label="a PyTorch state dict, weights in a pickle", program=False, advice=_STATE)


def imported(data: bytes | memoryview, *, pickles: int = 1) -> tuple[str, ...]:
    """Names such as ``os.system`` that loading would import, in their order, each once.

    Parameters
    ----------
    pickles
        How many stand one behind the other.

    Notes
    -----
    A pickle can compute a name; then it is told as ``?``. Of a damaged one the names before the damage.
    """
    stream = BytesIO(data)
    names: dict[str, None] = {}
    for _ in range(pickles):
        names.update(dict.fromkeys(_names(stream)))
    return tuple(names)


def _names(stream: BytesIO) -> Iterator[str]:
    from pickletools import genops

    pushed: list[str | None] = []
    memo: dict[object, str | None] = {}
    try:
        for count, (opcode, argument, _) in enumerate(genops(stream)):
            name = opcode.name
            if count >= MOST_OPCODES:
                return
            if name in ("GLOBAL", "INST"):
                yield ".".join(str(argument).split(" ", 1))
                pushed.append(None)
            elif name == "STACK_GLOBAL":
                yield ".".join(part or "?" for part in ["?", "?", *pushed][-2:])
                pushed.append(None)
            elif name == "MEMOIZE":
                memo[len(memo)] = pushed[-1] if pushed else None
            elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
                memo[argument] = pushed[-1] if pushed else None
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                pushed.append(memo.get(argument))
            elif opcode.stack_after:
                pushed.append(argument if isinstance(argument, str) else None)
            del pushed[:-8]
    # genops raises whatever a wrong byte trips over; what it found before that is true all the same.
    except Exception:  # noqa: BLE001
        return
