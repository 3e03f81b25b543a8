"""NPY and NPZ files (NumPy enhancement proposal 1): headers first, then no more than they may hold.

Never through `numpy.load`: it allocates what a header claims, and a step further it runs pickles.
"""

from __future__ import annotations

import ast
import io
import math
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import PictureError
from fluoroscope.images.raster import Raster, check_size, settle

if TYPE_CHECKING:
    import zipfile

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 10_000
_MAX_ARRAYS = 256
_MAX_MEMBERS = 10_000
_TYPES = re.compile(r"[<>|=]?(?:b1|\?|[iu][1248]|f[248])")

_FREE_BYTES = 16 << 20
_MAX_RATIO = 200
"""Above `_FREE_BYTES`, an array packed tighter than this is taken for a bomb; deflate's utmost is 1,032."""


def array_raster(array: NDArray[Any], what: str, *, frame: int, max_pixels: int) -> Raster:
    """A picture from an array, which is copied.

    Parameters
    ----------
    array
        ``(height, width)``, ``(height, width, channels)``, or ``(frames, height, width, channels)``, of bool,
        integers or floats.
    what
        What it is, as the first step says.
    frame
        Index along the first of four axes.

    Raises
    ------
    PictureError
        Another number of axes, no such frame, no pixels or too many, values that are no picture.
    """
    _check_shape(array.shape, frame=frame, max_pixels=max_pixels)
    steps: tuple[str, ...] = ()
    if array.ndim == 4:
        steps = (f"frame {frame} of {array.shape[0]}",)
        array = array[frame]
    array = array[..., None] if array.ndim == 2 else array
    height, width, channels = array.shape
    words = f"{what}, {width} x {height}, {channels} channel{'s' if channels != 1 else ''}"
    pixels, white, scale = settle(array, words)
    return Raster(pixels=np.array(pixels, order="C"), white=white, steps=(*scale, *steps))


def decode_npy(data: bytes, *, frame: int, max_pixels: int) -> Raster:
    """Decode an NPY file.

    Raises
    ------
    PictureError
        A header that is not one, a type with code in it (objects) or without a meaning as pixels, a shape
        that is no picture or larger than the file.
    """
    header = _read_header(io.BytesIO(data))
    _check_shape(header.shape, frame=frame, max_pixels=max_pixels)
    return array_raster(header.array(data), "NPY", frame=frame, max_pixels=max_pixels)


def decode_npz(data: bytes, *, frame: int, max_pixels: int, max_bytes: int) -> Raster:
    """Decode the one picture in an NPZ file; further arrays of fewer than two axes (labels) are passed over.

    Parameters
    ----------
    data, frame, max_pixels
        As for `decode_npy`.
    max_bytes
        The most that a member may hold once inflated.

    Raises
    ------
    PictureError
        No arrays, or several that could be meant; members that are encrypted, packed in another way than
        numpy.savez does, inflated beyond reason; and as `decode_npy`.
    """

    def picture(found: Sequence[_Member]) -> _Member:
        likely = [member for member in found if len(member[1].shape) >= 2]
        if len(likely) != 1:
            raise PictureError(
                f"the NPZ has {len(likely)} arrays that could be the picture ({_listing(likely)}). Give the "
                "one that is meant as an array: open_image(numpy.load(file)[name])."
            )
        _check_shape(likely[0][1].shape, frame=frame, max_pixels=max_pixels)
        return likely[0]

    name, array = _read_npz(data, picture, max_bytes)
    return array_raster(array, f"NPZ member {name!r}", frame=frame, max_pixels=max_pixels)


def npy_values(data: bytes) -> NDArray[Any]:
    """The array of an NPY file, of any shape: a view of the bytes.

    Raises
    ------
    PictureError
        A header that is not one, a type with code in it (objects), or more values than there are bytes.
    """
    return _read_header(io.BytesIO(data)).array(data)


def npz_values(data: bytes, wanted: str, *, max_bytes: int) -> tuple[str, NDArray[Any]]:
    """The array called `wanted` in an NPZ file, or its only one; and its name.

    Raises
    ------
    PictureError
        Several arrays and none of that name; and as `decode_npz`.
    """

    def named(found: Sequence[_Member]) -> _Member:
        same = [member for member in found if _array_name(member[0]) == wanted]
        if not same and len(found) != 1:
            raise PictureError(
                f"the NPZ has {len(found)} arrays ({_listing(found)}) and none called {wanted!r}, which is "
                "what the network calls its input. Save it under that name, or alone."
            )
        return (same or found)[0]

    return _read_npz(data, named, max_bytes)


def _read_npz(
    data: bytes, choose: Callable[[Sequence[_Member]], _Member], max_bytes: int
) -> tuple[str, NDArray[Any]]:
    """Name and values of one member, chosen by the headers of all; nothing else is inflated."""
    import zipfile

    # Counted before zipfile makes an object of each.
    if data.count(b"PK\x01\x02") > _MAX_MEMBERS:
        raise PictureError(f"the ZIP archive has more than {_MAX_MEMBERS:,} members: it is not read.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
            if not members:
                raise PictureError(
                    "this is a ZIP archive without NumPy arrays. Unpack the picture from it first."
                )
            if len(members) > _MAX_ARRAYS:
                raise PictureError(
                    f"the NPZ has {len(members):,} arrays; {_MAX_ARRAYS} are looked at, no more."
                )
            found: list[_Member] = []
            for member in members:
                _check_member(member, max_bytes)
                with archive.open(member) as stream:
                    found.append((member, _read_header(stream)))
            member, header = choose(found)
            if header.start + header.nbytes > member.file_size:
                raise PictureError(_short(header))
            with archive.open(member) as stream:
                content = stream.read(member.file_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, struct.error, ValueError) as error:
        if isinstance(error, PictureError):
            raise
        raise PictureError(f"the NPZ is cut short or damaged ({error}). Get the file again.") from error
    return _array_name(member), header.array(content)


def _array_name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


def _listing(found: Sequence[_Member]) -> str:
    return ", ".join(f"{_array_name(m)[:40]!r} {h.shape}" for m, h in found[:5]) or "none"


@dataclass(frozen=True, slots=True)
class _Header:
    dtype: np.dtype[Any]
    fortran_order: bool
    shape: tuple[int, ...]
    start: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def array(self, data: bytes) -> NDArray[Any]:
        if self.start + self.nbytes > len(data):
            raise PictureError(_short(self))
        flat = np.frombuffer(data, self.dtype, math.prod(self.shape), self.start)
        return flat.reshape(self.shape, order="F" if self.fortran_order else "C")


_Member = tuple["zipfile.ZipInfo", _Header]
"""An array in an NPZ file, before its values are read."""


def _short(header: _Header) -> str:
    return (
        f"the array claims shape {header.shape} of {header.dtype}, {header.nbytes:,} bytes, more than "
        "there are: it is cut short or lies. Get the file again."
    )


def _read_header(stream: IO[bytes]) -> _Header:
    """The header of an NPY stream; nothing is evaluated but literals of numbers, strings and tuples."""
    damaged = "the NPY header is damaged. Save the array again with numpy.save."
    start = stream.read(8)
    size = {1: 2, 2: 4, 3: 4}.get(start[6] if len(start) == 8 else 0)
    if size is None or not start.startswith(_MAGIC):
        raise PictureError(damaged)
    length = int.from_bytes(stream.read(size), "little")
    if length > _MAX_HEADER:
        raise PictureError(
            f"the NPY header claims {length:,} bytes; a picture's has about 100. It is not read."
        )
    text = stream.read(length)
    try:
        # Python 2 wrote long integers as 10L.
        fields: Any = ast.literal_eval(re.sub(r"(\d)L\b", r"\1", text.decode("latin-1")).strip())
        descr, fortran_order, shape = fields["descr"], fields["fortran_order"], fields["shape"]
    except (SyntaxError, ValueError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise PictureError(damaged) from error
    if not isinstance(descr, str) or not _TYPES.fullmatch(descr):
        held = (
            "Python objects (a pickle, which could run code)" if "O" in str(descr) else f"{str(descr)[:40]!r}"
        )
        raise PictureError(
            f"the array holds {held}. Integers, floats and booleans are read: "
            "save it with .astype(np.float32)."
        )
    axes: tuple[Any, ...] = shape if isinstance(shape, tuple) else (None,)
    if not all(type(n) is int and n >= 0 for n in axes) or len(axes) > 32:
        raise PictureError(damaged)
    return _Header(np.dtype(descr), bool(fortran_order), axes, 8 + size + length)


def _check_shape(shape: tuple[int, ...], *, frame: int, max_pixels: int) -> None:
    if len(shape) not in (2, 3, 4):
        raise PictureError(
            f"an array of shape {shape} is no picture. It takes (height, width), (height, width, channels) "
            "or (frames, height, width, channels)."
        )
    if len(shape) == 4 and frame >= shape[0]:
        raise PictureError(f"there is no frame {frame}: the array of shape {shape} holds {shape[0]}.")
    if len(shape) < 4 and frame:
        raise PictureError(f"there is no frame {frame}: an array of shape {shape} is one picture.")
    height, width, channels = (*shape, 1)[:3] if len(shape) < 4 else shape[1:]
    check_size(width, height, max_pixels)
    if channels == 0:
        raise PictureError(f"an array of shape {shape} has no channels.")


def _check_member(member: zipfile.ZipInfo, max_bytes: int) -> None:
    import zipfile

    name = member.filename[:80]
    if member.flag_bits & 1:
        raise PictureError(f"the NPZ member {name!r} is encrypted. Save it again with numpy.savez.")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise PictureError(f"the NPZ member {name!r} is packed in an unusual way. Save it with numpy.savez.")
    ratio = member.file_size / max(member.compress_size, 1)
    if member.file_size > max_bytes or (member.file_size > _FREE_BYTES and ratio > _MAX_RATIO):
        raise PictureError(
            f"the NPZ member {name!r} inflates {ratio:,.0f}-fold to {member.file_size:,} bytes: it is not "
            "read. Save a picture you trust with numpy.save instead."
        )
