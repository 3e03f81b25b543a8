"""What the bytecode of a Lambda layer seems to be about, told without running or unmarshalling it."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any, cast

# Marshal's type codes, the top bit of which marks an object that is referred to again: z and Z are short
# ASCII strings (a byte of length before them), g is a binary float.
_NAME = re.compile(rb"[zZ\xfa\xda](.)([A-Za-z_][A-Za-z0-9_]*)", re.DOTALL)
_FLOAT = re.compile(rb"[g\xe7](.{8})", re.DOTALL)
_NOT_TELLING = frozenset({"lambda", "x", "inputs", "self"})
_INTEGER_255 = re.compile(rb"[i\xe9]\xff\0\0\0")
_RESIZES = frozenset({"resize", "resize_images", "resize_bilinear", "image_resize"})
_LONGEST_CODE = 1 << 16
_MOST = 8


def suggestion(config: Mapping[str, Any]) -> str:
    """A known layer that may do what the function in a Lambda's config does, ready to be typed.

    A guess, from the constants that pictures are scaled by and the names of functions that resize.
    """
    code = _bytecode(config.get("function"))
    names, numbers = _names(code), _numbers(code)
    if not _RESIZES.isdisjoint(names):
        return "Resizing:height=HEIGHT,width=WIDTH"
    if 127.5 in numbers:
        return "Rescaling:scale=1/127.5,offset=-1"
    if 255.0 in numbers or _INTEGER_255.search(code):
        return "Rescaling:scale=1/255"
    return "KIND:option=value"


def hints(config: Mapping[str, Any]) -> str:
    """Names and numbers that the function in a Lambda's config mentions, as ``tf, image, resize, 127.5``.

    Empty when nothing is found. It is a guess from the bytes: good for a sentence, not to act on.
    """
    code = _bytecode(config.get("function"))
    numbers = [f"{value:.6g}" for value in _numbers(code)]
    return ", ".join(list(dict.fromkeys(_names(code)))[:_MOST] + list(dict.fromkeys(numbers))[:_MOST])


def _names(code: bytes) -> list[str]:
    return [
        match[2].decode("ascii")
        for match in _NAME.finditer(code)
        if match[1][0] == len(match[2]) and match[2].decode("ascii") not in _NOT_TELLING
    ]


def _numbers(code: bytes) -> list[float]:
    return [
        value
        for match in _FLOAT.finditer(code)
        for value in struct.unpack("<d", match[1])
        if 1e-6 < abs(value) < 1e9
    ]


def _bytecode(function: Any) -> bytes:
    """Keras 1 and 2 keep ``[code, defaults, closure]``, Keras 3 ``{"config": {"code": code}}``; base64."""
    if isinstance(function, dict):
        inner = cast(Mapping[str, Any], function).get("config")
        function = cast(Mapping[str, Any], inner).get("code") if isinstance(inner, dict) else None
    elif isinstance(function, Sequence) and not isinstance(function, str) and function:
        function = cast(Sequence[Any], function)[0]
    if not isinstance(function, str) or len(function) > _LONGEST_CODE:
        return b""
    try:
        return base64.b64decode(function, validate=False)
    except (binascii.Error, ValueError):
        return b""
