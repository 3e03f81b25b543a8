"""Numbers for an input of a network that takes no picture: a vector, a sequence, a spectrogram, a volume."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import PictureError, UsageError
from fluoroscope.images.image import to_levels
from fluoroscope.images.numpy_files import npy_values, npz_values
from fluoroscope.images.source import read_source

if TYPE_CHECKING:
    ArraySource = str | os.PathLike[str] | bytes | BinaryIO | NDArray[Any]

MAX_BYTES = 1 << 30
"""The longest file of numbers that is read."""

_EXACT = 2**24
"""Up to here every whole number is a float32."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputArray:
    """Numbers as a network gets them.

    Attributes
    ----------
    name
        Of the file, short and printable; ``array`` for an array.
    path
        The file as given; None for an array or bytes.
    sha256
        Of the bytes read; of the values' bytes in C order for an array.
    values
        float32, read-only, channels last, without batch axis.
    steps
        What was read, in words.
    """

    name: str
    path: str | None
    sha256: str
    values: NDArray[np.float32]
    steps: tuple[str, ...]

    @property
    def picture(self) -> NDArray[np.uint8]:
        """``(height, width, 1)``, to look at: the least value black, the greatest white.

        A sequence has its steps along the row, as its feature maps have; a volume its slices one below the
        other; of a vector there is one row.
        """
        values = self.values
        rows = values.reshape(1, -1) if values.ndim < 2 else values.reshape(-1, values.shape[-1]).T
        if values.ndim > 2:
            rows = values[..., 0].reshape(-1, values.shape[-2])
        return to_levels(np.ascontiguousarray(rows)[..., np.newaxis], None)


def open_array(source: ArraySource, *, name: str, shape: tuple[int | None, ...]) -> InputArray:
    """Read the numbers for one input.

    Parameters
    ----------
    source
        An array, or the path, bytes or binary stream of an ``.npy`` or ``.npz`` file. Of several arrays in an
        ``.npz`` the one called `name` is taken.
    name
        Of the input.
    shape
        What it takes, without batch, channels last; None for any size. A batch axis of 1 in the source is
        taken off.

    Raises
    ------
    PictureError
        A file that cannot be read, or values that are not finite.
    UsageError
        Numbers of another shape.
    """
    if isinstance(source, np.ndarray):
        array, given, path = source, "array", None
        digest = hashlib.sha256(np.ascontiguousarray(source).tobytes()).hexdigest()
        what = "array"
    else:
        read = read_source(source, limit=MAX_BYTES)
        array, what = _decoded(read.data, read.label, name, shape)
        given, path, digest = read.name, read.path, read.sha256
    steps = [f"{what} of shape {_times(array.shape)}, {array.dtype}"]
    if array.ndim == len(shape) + 1 and array.shape[0] == 1:
        array = array[0]
        steps.append("its batch of one taken off")
    fits = array.ndim == len(shape) and all(
        want in (None, have) for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits or array.size == 0:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise UsageError(
            f"Input {name!r} takes numbers of shape ({wanted}); {given!r} has {array.shape}. Transpose or "
            "cut it with NumPy and save it with numpy.save."
        )
    return InputArray(
        name=given, path=path, sha256=digest, values=_as_float32(array, given), steps=tuple(steps)
    )


def _decoded(data: bytes, label: str, name: str, shape: tuple[int | None, ...]) -> tuple[NDArray[Any], str]:
    try:
        if data.startswith(b"\x93NUMPY"):
            return npy_values(data), "NPY"
        if data.startswith(b"PK\x03\x04"):
            member, array = npz_values(data, name, max_bytes=MAX_BYTES)
            return array, f"NPZ member {member!r}"
    except PictureError as error:
        raise PictureError(f"{label}: {error}") from error
    raise PictureError(
        f"{label}: input {name!r} takes numbers of shape ({_times(shape)}), no picture. Give them as an "
        ".npy or .npz file: numpy.save('values.npy', array)."
    )


def _as_float32(array: NDArray[Any], given: str) -> NDArray[np.float32]:
    if array.dtype.kind not in "fiub":
        raise PictureError(f"{given!r} holds {array.dtype}; numbers are wanted: array.astype(numpy.float32).")
    if (
        array.dtype.kind in "iu"
        and array.dtype.itemsize > 2
        and np.abs(array.astype(np.float64)).max() > _EXACT
    ):
        raise PictureError(
            f"{given!r} holds whole numbers over {_EXACT:,}: float32 cannot tell neighbours apart there."
        )
    with np.errstate(over="ignore"):
        values = np.array(array, np.float32, order="C")
    if not np.isfinite(values).all():
        raise PictureError(
            f"{given!r} holds NaN, infinite or too large values: no float32 can be made of it."
        )
    values.flags.writeable = False
    return values


def _times(shape: tuple[int | None, ...]) -> str:
    return " x ".join("any" if size is None else str(size) for size in shape) or "one number"
