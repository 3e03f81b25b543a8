"""What is asked of a network: pictures of the right shape, layers that there are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import LayerNotFound, UsageError
from fluoroscope.network.protocol import FloatArray, InputSpec


def named_arrays(
    network: str, inputs: Sequence[InputSpec], batch: FloatArray | Mapping[str, FloatArray]
) -> dict[str, NDArray[Any]]:
    """The batch by input name, in the order of the inputs, each array of the right shape.

    Parameters
    ----------
    network
        Its name, for messages.

    Raises
    ------
    LayerNotFound
        A name that is no input's.
    UsageError
        An input that is missing; an array of the wrong shape or kind; unequal numbers of pictures.
    """
    if isinstance(batch, np.ndarray) and len(inputs) == 1:
        _check(batch, inputs[0])
        return {inputs[0].name: batch}
    if not isinstance(batch, Mapping):
        if len(inputs) != 1:
            names = ", ".join(repr(spec.name) for spec in inputs)
            raise UsageError(f"{network!r} has {len(inputs)} inputs: give a mapping of {names}.")
        batch = {inputs[0].name: batch}
    unknown = set(batch) - {spec.name for spec in inputs}
    if unknown:
        raise LayerNotFound(
            f"No input is called {sorted(unknown)[0]!r}. "
            f"Inputs: {', '.join(repr(spec.name) for spec in inputs)}."
        )
    arrays: dict[str, NDArray[Any]] = {}
    for spec in inputs:
        if spec.name not in batch:
            raise UsageError(f"Input {spec.name!r} is missing from the batch.")
        arrays[spec.name] = np.asarray(batch[spec.name])
        _check(arrays[spec.name], spec)
    counts = sorted({len(array) for array in arrays.values()})
    if len(counts) > 1:
        raise UsageError(f"All inputs of a batch need as many pictures as each other, not {counts}.")
    return arrays


def no_such_layer(name: str, names: Collection[str]) -> LayerNotFound:
    """The error for a layer that is not there, with the names nearest to it."""
    near = get_close_matches(name, names, n=2)
    hint = (
        f" Did you mean {' or '.join(map(repr, near))}?"
        if near
        else " `fluoroscope summary MODEL` lists them."
    )
    return LayerNotFound(f"No layer is called {name!r}.{hint}")


def nothing_before(name: str) -> LayerNotFound:
    """The error for ``name:pre`` of a layer without a fused activation."""
    return LayerNotFound(f"{name!r} has no fused activation, so nothing before it: ask for {name!r}.")


def _check(array: NDArray[Any], spec: InputSpec) -> None:
    fits = array.shape[1:] == spec.shape or (
        array.ndim == len(spec.shape) + 1
        and all(wanted in (None, given) for wanted, given in zip(spec.shape, array.shape[1:], strict=True))
    )
    if not fits:
        expected = ", ".join("any" if size is None else str(size) for size in spec.shape)
        raise UsageError(
            f"Input {spec.name!r} takes (n, {expected}), channels last; given {array.shape}. "
            "`fluoroscope.preprocess` brings a picture to that size."
        )
    if array.dtype.kind not in "fiu":
        raise UsageError(f"Input {spec.name!r} takes numbers, not {array.dtype}.")
    if 0 in array.shape:
        raise UsageError(f"The batch for input {spec.name!r} is empty: its shape is {array.shape}.")
