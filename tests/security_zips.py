"""Zip archives as no program writes them."""

from __future__ import annotations

import io
import zipfile
import zlib


def zeros(size: int) -> bytes:
    """`size` zero bytes deflated; a mebibyte is compressed once and repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (size // 2**20) + packer.flush()


def bomb(name: str, size: int, declared: int, **others: bytes) -> bytes:
    """A zip with a member that unpacks to `size` bytes and declares others; crc and sizes are set by hand."""
    packed = zeros(size)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for other, content in others.items():
            file.writestr(other.replace("__", "."), content)
        file.writestr(zipfile.ZipInfo(name), packed)
        info = file.getinfo(name)
        info.compress_type, info.file_size, info.compress_size = zipfile.ZIP_DEFLATED, declared, len(packed)
    return buffer.getvalue()


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "."), content)
    return buffer.getvalue()
