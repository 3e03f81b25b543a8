"""Kernels of Keras 1 and of Theano laid out as Keras has them now."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import WeightMismatch

Array = NDArray[Any]

_FLIPPED = re.compile(r"Conv[123]D|Conv2DTranspose|ConvLSTM2D")
_IMAGE_KERNELS = frozenset({"Conv2D", "Conv3D", "Conv2DTranspose", "SeparableConv2D"})
_OLD_CONV1D_RANK = 4
_CUDNN = {"CuDNNGRU": 3, "CuDNNLSTM": 4}
"""Old layers for cuDNN, and how many gates they have."""


_GATES = {"LSTM": (0, 2, 1, 3), "ConvLSTM2D": (0, 2, 1, 3), "GRU": (0, 1, 2)}
"""Where each of today's gates (i, f, c, o; z, r, h) stood among those of Keras 1 (i, c, f, o; z, r, h)."""


def gates_together(kind: str, stored: Sequence[tuple[str, Array]]) -> list[tuple[str, Array]]:
    """The arrays of a recurrent layer of Keras 1 as one kernel, recurrent kernel and bias.

    It kept three arrays for each gate (``W_i U_i b_i W_c...``), unless told to use less of a GPU's time.
    Source: ``preprocess_weights_for_loading`` in ``keras/engine/topology.py`` of Keras 2.0. What is stored
    otherwise is returned as it is.
    """
    order = _GATES.get(kind, ())
    shapes = {array.shape[:-1] for _, array in stored[::3]}
    if len(stored) != 3 * len(order) or len(shapes) != 1:
        return list(stored)
    together: list[tuple[str, Array]] = []
    for place, name in enumerate(("kernel", "recurrent_kernel", "bias")):
        gates = [stored[3 * gate + place][1] for gate in order]
        if len({array.shape for array in gates}) != 1:
            return list(stored)
        together.append((name, np.concatenate(gates, axis=-1)))
    return together


def modern_layout(
    label: str,
    kind: str,
    config: Mapping[str, Any],
    weights: Mapping[str, Array],
    *,
    major: int,
    backend: str | None,
) -> dict[str, Array]:
    """A layer's weights with kernels as ``(*spatial, in, out)``; views where that is enough.

    In Keras 1, `channels_first` kernels were ``(out, in, *spatial)``, 1D kernels had a second spatial axis,
    and transposed convolutions kept ``in`` and ``out`` the other way round. Theano convolves where the others
    correlate, so its kernels are rotated by 180 degrees. Source: ``preprocess_weights_for_loading`` in
    ``keras/engine/saving.py`` of Keras 2.3.

    Raises
    ------
    WeightMismatch
        A kernel of another rank than its kind has.
    """
    if kind in _CUDNN and {"kernel", "recurrent_kernel", "bias"} <= weights.keys():
        weights = _from_cudnn(label, kind, weights)
    laid = dict(weights)
    for name, array in weights.items():
        if not name.endswith("kernel"):
            continue
        if major == 1 and kind == "Conv1D":
            array = _conv1d(label, config, array)
        elif major == 1 and kind in _IMAGE_KERNELS:
            array = _image_kernel(label, kind, config, array)
        if backend == "theano" and _FLIPPED.fullmatch(kind) and array.ndim > 2:
            array = np.flip(array, tuple(range(array.ndim - 2)))
        laid[name] = array
    return laid


def _from_cudnn(label: str, kind: str, weights: Mapping[str, Array]) -> dict[str, Array]:
    """cuDNN has each gate's matrix transposed, and a bias for either matrix.

    Source: ``_convert_rnn_weights`` in ``keras/engine/saving.py`` of Keras 2.3.
    """
    gates = _CUDNN[kind]
    kernel, recurrent, bias = weights["kernel"], weights["recurrent_kernel"], weights["bias"]
    fits = kernel.ndim == recurrent.ndim == 2 and bias.ndim == 1
    if not fits or kernel.shape[1] % gates or recurrent.shape[1] % gates or bias.size % (2 * gates):
        raise WeightMismatch(f"The weights of layer {label[:80]!r} are not laid out as those of a {kind}.")
    kernels = [own.T.reshape(own.shape, order="F") for own in np.split(kernel, gates, axis=1)]
    inner = [own.T for own in np.split(recurrent, gates, axis=1)]
    both = bias.reshape(2, -1)
    return {
        "kernel": np.concatenate(kernels, 1),
        "recurrent_kernel": np.concatenate(inner, 1),
        "bias": both.sum(0) if kind == "CuDNNLSTM" else both,
    }


def _conv1d(label: str, config: Mapping[str, Any], array: Array) -> Array:
    """From ``(length, 1, in, out)``, and ``(out, in, length, 1)`` of Keras 1.0."""
    length, filters = config.get("kernel_size"), config.get("filters")
    _check_rank(label, array, _OLD_CONV1D_RANK)
    if [array.shape[0]] == length and array.shape[1] == 1 and array.shape[3] == filters:
        return array[:, 0]
    return array.transpose(2, 3, 1, 0)[:, 0]


def _image_kernel(label: str, kind: str, config: Mapping[str, Any], array: Array) -> Array:
    spatial = 3 if kind == "Conv3D" else 2
    _check_rank(label, array, spatial + 2)
    if config.get("data_format") == "channels_first":
        array = array.transpose(*range(2, spatial + 2), 1, 0)
    return array.swapaxes(-1, -2) if kind == "Conv2DTranspose" else array


def _check_rank(label: str, array: Array, rank: int) -> None:
    if array.ndim != rank:
        raise WeightMismatch(
            f"The kernel of layer {label[:80]!r} should have {rank} axes in Keras 1; it has {array.ndim}."
        )
