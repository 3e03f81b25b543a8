"""One forward pass of a live Keras model, each of its layers watched. Afterwards nothing is left behind.

A layer's `call`, which Keras 3 and tf_keras both go through, is shadowed on the object while the pass lasts;
the class is not touched. Layers inside a layer of Keras's own are its own affair; layers inside a model or a
layer of the author's are layers of the network.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from threading import RLock
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import FluoroscopeError, NetworkError
from fluoroscope.formats.live.keras.inputs import Inputs

KERAS = ("keras.", "tf_keras.")

Heard = Callable[[str, Any, tuple[Any, ...], Any], None]
"""Told of each call when it ends: its name (``conv``, ``conv#2``), the layer, what it took, what it made."""


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

_PASSES = RLock()
"""One pass at a time: two would shadow each other's layers."""


class Complete(BaseException):
    """Ends a pass when all that was asked for is there. No error, and not to be caught as one."""


class Listener(Protocol):
    """Follows one pass."""

    def begin(self, tensors: Sequence[Any]) -> None:
        """What the model is fed, one for each input."""
        ...

    def heard(self, name: str, layer: Any, taken: tuple[Any, ...], made: Any) -> None:
        """A call has ended; see `Heard`. May raise `Complete`."""
        ...

    def end(self, model: Any, made: Any) -> None:
        """What the model made of it."""
        ...


def forward(model: Any, inputs: Inputs, arrays: Mapping[str, NDArray[Any]], listener: Listener) -> None:
    """Call `model` on a batch, ``training=False``, `listener` being told of each layer.

    Raises
    ------
    NetworkError
        Its author's code fails.
    """
    with _PASSES:
        fed = inputs.feed(arrays)
        listener.begin(list(tensors_in(fed)))
        try:
            with watched(named_layers(model), listener.heard):
                made = model(fed, training=False)
            listener.end(model, made)
        except Complete:
            return
        except (FluoroscopeError, MemoryError):
            raise
        except Exception as error:  # whatever the author's code raises
            shapes = ", ".join(str(array.shape) for array in arrays.values())
            raise NetworkError(
                f"The model's own call failed for an input of {shapes}: {_reason(error)} Give the shape that "
                "it takes: open_network(model, input_shape=(height, width, channels))."
            ) from error


def _reason(error: Exception) -> str:
    """What went wrong, without the colours and the heading that Keras puts around it."""
    lines = [line.strip() for line in _COLOURS.sub("", str(error)).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Exception encountered"):
        del lines[0]
    return f"{(lines or [type(error).__name__])[0][:300].rstrip('.')}."


def is_keras_own(kind: type) -> bool:
    """True for a class that Keras ships, whatever it is called."""
    return kind.__module__.startswith(KERAS)


def is_model(layer: Any) -> bool:
    """True for a model, as against a layer."""
    return hasattr(layer, "to_json")


def is_sequential(model: Any) -> bool:
    """True for a Sequential, whose numbers of layers do not count its input."""
    return any(kind.__name__ == "Sequential" and is_keras_own(kind) for kind in type(model).__mro__)


def named_layers(model: Any) -> dict[str, Any]:
    """The layers that a call of `model` can go through, by path, in the order in which they were made.

    Returns
    -------
    dict
        ``block/conv`` -> layer. Models and layers of the author's come before what is in them; a layer that
        is in several places is there once. Two of one name in one place are ``conv`` and ``conv_2``.
    """
    found: dict[str, Any] = {}
    seen: set[int] = {id(model)}

    def walk(parent: Any, prefix: str) -> None:
        for layer in parent._flatten_layers(include_self=False, recursive=False):
            if id(layer) in seen or type(layer).__name__ == "InputLayer":
                continue
            seen.add(id(layer))
            path, count = f"{prefix}{layer.name}", 1
            while path in found:
                count += 1
                path = f"{prefix}{layer.name}_{count}"
            found[path] = layer
            if is_model(layer) or not is_keras_own(type(layer)):
                walk(layer, f"{path}/")

    walk(model, "")
    return found


@contextmanager
def watched(layers: Mapping[str, Any], heard: Heard) -> Generator[None]:
    """While this lasts, `heard` is told of every call of `layers`. Ends as it began, also after a failure."""
    calls: Counter[str] = Counter()
    before = {path: vars(layer).get("call") for path, layer in layers.items()}
    try:
        for path, layer in layers.items():
            # Past Keras's own __setattr__, which tracks what is set and locks layers once they are built.
            object.__setattr__(layer, "call", _telling(layer, path, calls, heard))
        yield
    finally:
        for path, layer in layers.items():
            if before[path] is not None:
                object.__setattr__(layer, "call", before[path])
            elif "call" in vars(layer):
                object.__delattr__(layer, "call")


def _telling(layer: Any, path: str, calls: Counter[str], heard: Heard) -> Callable[..., Any]:
    """The layer's `call`, which then tells of it."""
    own = layer.call

    # Keras reads off the signature which arguments a layer takes (mask, training).
    @wraps(own)
    def call(*args: Any, **kwargs: Any) -> Any:
        made = own(*args, **kwargs)
        if all(map(_has_values, tensors_in(made))):
            calls[path] += 1
            name = path if calls[path] == 1 else f"{path}#{calls[path]}"
            heard(name, layer, tuple(tensors_in((args, kwargs))), made)
        return made

    return call


def tensors_in(value: Any) -> Iterator[Any]:
    """Every tensor of any framework in nested arguments or results, in order."""
    if isinstance(value, Mapping):
        value = list(cast(Mapping[Any, Any], value).values())
    if isinstance(value, (list, tuple)):
        for child in cast(Iterable[Any], value):
            yield from tensors_in(child)
    elif hasattr(value, "shape") and hasattr(value, "dtype"):
        yield value


def _has_values(tensor: Any) -> bool:
    """False for what merely stands for a tensor: Keras builds layers by calling them on such, in between."""
    kind = type(tensor).__name__
    if kind in ("KerasTensor", "FakeTensor") or "Tracer" in kind:  # Keras, PyTorch, JAX
        return False
    # Of TensorFlow's, those that belong to a graph; of PyTorch's, those on no device.
    return not hasattr(tensor, "graph") and getattr(getattr(tensor, "device", None), "type", "") != "meta"


def as_numpy(tensor: Any) -> NDArray[Any]:
    """The values of a tensor of TensorFlow, JAX or PyTorch; what NumPy has no type for as float32."""
    if hasattr(tensor, "detach"):  # PyTorch
        tensor = tensor.detach().cpu()
        tensor = tensor if str(tensor.dtype) != "torch.bfloat16" else tensor.float()
    array = np.asarray(tensor)
    return array if array.dtype.kind in "fiub" else array.astype(np.float32)


def values_of(variable: Any) -> NDArray[Any]:
    """A copy of a variable's values: with some backends NumPy would look into memory that changes."""
    value = getattr(variable, "value", variable)
    return np.array(as_numpy(value() if callable(value) else value))
