"""Files told apart by the bytes they begin with."""

from __future__ import annotations

import re

from fluoroscope.formats.foreign.kinds import Foreign

SAVED_MODEL = Foreign(
    label="a TensorFlow SavedModel",
    program=True,
    advice="Where it was made, convert it: model.save('model.keras'), or python -m tf2onnx.convert "
    "--saved-model DIR --output model.onnx.",
)
"""A folder, the file ``saved_model.pb`` in it, or the folder zipped."""

_SAVED_MODEL_START = b"\x08\x01\x12"
_OPERATOR = re.compile(rb"[A-Z_][A-Za-z0-9_]{1,60}")
_LEN_1, _LEN_2 = 0x0A, 0x12
"""Protobuf tags: field 1 and 2, of a length that follows."""


def tensorflow_graph(data: bytes) -> Foreign | None:
    """The file in a SavedModel's folder, or a frozen graph; both are protobuf, which has no signature.

    A SavedModel is its version, 1, and a ``MetaGraphDef`` that begins with its ``meta_info_def``; an ONNX
    file that begins alike has the name of its producer there, which is text. A ``GraphDef`` is a row of
    nodes, each with a name and an operator. Source: ``saved_model.proto`` and ``meta_graph.proto`` in
    ``tensorflow/core/protobuf``, ``graph.proto`` and ``node_def.proto`` in ``tensorflow/core/framework``.
    """
    if data.startswith(_SAVED_MODEL_START):
        _, at = _length(data, len(_SAVED_MODEL_START))
        if data[at : at + 1] == bytes([_LEN_1]):
            return SAVED_MODEL
    if data[:1] == bytes([_LEN_1]):
        size, at = _length(data, 1)
        end = at + size
        if data[at : at + 1] != bytes([_LEN_1]) or end > len(data):
            return None
        size, at = _length(data, at + 1)
        at += size
        if data[at : at + 1] != bytes([_LEN_2]) or at >= end:
            return None
        size, at = _length(data, at + 1)
        if at + size <= end and _OPERATOR.fullmatch(data[at : at + size]):
            return Foreign(
                label="a frozen TensorFlow graph",
                program=True,
                advice="Where it was made, convert it: python -m tf2onnx.convert --graphdef FILE "
                "--inputs IN:0 --outputs OUT:0 --output model.onnx.",
            )
    return None


def _length(data: bytes, at: int) -> tuple[int, int]:
    """A protobuf length at a place, and the place behind it."""
    value = 0
    for shift in range(0, 63, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
    return value, at


def marked(data: bytes) -> Foreign | None:
    """What a signature tells."""
    for places, label, program, advice in _TABLE:
        if any(_stands(mark, data, at) for at, mark in places):
            return Foreign(label=label, program=program, advice=advice)
    return None


_GIVE = "Give the network that it was made of: a Keras file or an .onnx file."


def _stands(mark: bytes, data: bytes, at: int) -> bool:
    """Whether a mark stands at a place, which counts from the end where it is negative."""
    return data[at:].startswith(mark) if at < 0 else data.startswith(mark, at)


_CHECKPOINT = (
    "Its weights are in other files, in a layout of TensorFlow's own. Where it was made, load it and save "
    "the whole model: model.load_weights(...); model.save('model.keras')."
)
_UNPACK = "Unpack it, and give the network in it."
_PICTURE = "The network comes first, then the picture."

_NATIVE, _SCRIPT = "a program for a computer's processor", "a script"
PLAIN_PROGRAMS = frozenset({_NATIVE, _SCRIPT})
"""Labels of programs that no library stores networks as."""

_ARCH = "Say which: --arch timm:resnet18, or open_network(path, arch='timm:resnet18')."
_TABLE: tuple[tuple[tuple[tuple[int, bytes], ...], str, bool, str], ...] = (
    (((4, b"TFL3"),), "a TensorFlow Lite model, which is not read", False, _GIVE),
    (((8, b'{"'),), "a safetensors file: weights without an architecture", False, _ARCH),
    (((0, b"GGUF"),), "a GGUF file: weights without an architecture", False, _GIVE),
    (((4, b"ET1"),), "an ExecuTorch program", True, _GIVE),
    (((0, b"\x93NUMPY"),), "a NumPy array", False, _GIVE),
    (((0, b"model_checkpoint_path:"),), "the index of TensorFlow checkpoints", False, _CHECKPOINT),
    (
        ((-8, b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"),),
        "the index of a TensorFlow checkpoint",
        False,
        _CHECKPOINT,
    ),
    (
        ((0, b"{"), (0, b'"{')),
        "JSON: an architecture without its weights",
        False,
        "Give the weights, and it beside them: fluoroscope summary WEIGHTS.h5 --config FILE, in Python "
        "open_network('weights.h5', config=...). Or the full model file (model.save).",
    ),
    (
        ((0, b"\xff\xd8\xff"), (0, b"\x89PNG"), (0, b"GIF8"), (0, b"II*\0"), (0, b"MM\0*"), (0, b"BM")),
        "a picture",
        False,
        _PICTURE,
    ),
    (
        ((0, b"version https://git-lfs"),),
        "a Git LFS pointer: the name of a file, not the file",
        False,
        "Fetch the file itself: git lfs pull.",
    ),
    (
        ((0, b"<!DOCTYPE"), (0, b"<!doctype"), (0, b"<html"), (0, b"<HTML")),
        "a web page, so the download went wrong",
        False,
        "Download the file itself: sites that show a file have a button or address for its raw content.",
    ),
    (((0, b"<?xml"),), "XML", False, _GIVE),
    (((0, b"\x1f\x8b"),), "a gzip-compressed file", False, _UNPACK),
    (((0, b"BZh"),), "a bzip2-compressed file", False, _UNPACK),
    (((0, b"\xfd7zXZ\0"),), "an xz-compressed file", False, _UNPACK),
    (((0, b"\x28\xb5\x2f\xfd"),), "a zstd-compressed file", False, _UNPACK),
    (((0, b"7z\xbc\xaf\x27\x1c"),), "a 7-Zip archive", False, _UNPACK),
    (((0, b"Rar!"),), "a RAR archive", False, _UNPACK),
    (((257, b"ustar"),), "a tar archive", False, _UNPACK),
    (
        ((0, b"\x7fELF"), (0, b"MZ"), (0, b"\xca\xfe\xba\xbe"), (0, b"\xcf\xfa\xed\xfe")),
        _NATIVE,
        True,
        _GIVE,
    ),
    (((0, b"#!"),), _SCRIPT, True, _GIVE),
    (((0, b"%PDF"),), "a PDF", False, _GIVE),
)
"""Marks and where they stand, what has them, whether that is a program, and what to do instead."""
