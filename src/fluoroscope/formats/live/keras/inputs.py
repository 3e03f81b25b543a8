"""What a live Keras model takes, and how it wants it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import UsageError
from fluoroscope.network.protocol import InputSpec, Shape


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of a model.

    Attributes
    ----------
    specs
        One for each, channels last.
    keys
        For a model that takes a mapping, its keys in the order of `specs`; else None.
    listed
        Whether it takes a list, also of one.
    first
        Whether its pictures have their channels first.
    """

    specs: tuple[InputSpec, ...]
    keys: tuple[str, ...] | None = None
    listed: bool = False
    first: bool = False

    @property
    def is_free(self) -> bool:
        """True when a size is open."""
        return any(None in spec.shape for spec in self.specs)

    def at_size(self, height: int, width: int, name: str) -> Inputs:
        """The same for pictures of a size; `name` is the model's, for messages.

        Raises
        ------
        UsageError
            The model fixes another size.
        """
        if min(height, width) < 1:
            raise UsageError(f"A picture has at least one pixel each way, not {height} x {width}.")
        specs: list[InputSpec] = []
        for spec in self.specs:
            if len(spec.shape) != 3:
                specs.append(spec)
                continue
            own = spec.shape[:2]
            if any(side not in (None, wanted) for side, wanted in zip(own, (height, width), strict=True)):
                size = " x ".join("any" if side is None else str(side) for side in own)
                raise UsageError(
                    f"{name!r} takes pictures of {size}, not {height} x {width}. "
                    "Leave the size out: the picture is brought to the network's size."
                )
            specs.append(replace(spec, shape=(height, width, spec.shape[2])))
        return replace(self, specs=tuple(specs))

    def free_size(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[int, int] | None:
        """Height and width of the batch for an input that leaves them open; None if there is none."""
        for spec in self.specs:
            if len(spec.shape) == 3 and None in spec.shape[:2]:
                height, width = arrays[spec.name].shape[1:3]
                return height, width
        return None

    def zeros(self) -> dict[str, NDArray[Any]]:
        """A batch of one picture without anything on it."""
        return {
            spec.name: np.zeros((1, *(1 if size is None else size for size in spec.shape)), np.float32)
            for spec in self.specs
        }

    def feed(self, arrays: Mapping[str, NDArray[Any]]) -> Any:
        """A batch as the model takes it: its types, its order of axes, its structure; arrays of its own."""
        given: list[NDArray[Any]] = []
        for spec in self.specs:
            array = arrays[spec.name]
            moved = np.moveaxis(array, -1, 1) if self.first and array.ndim > 2 else array
            given.append(np.array(moved, dtype=spec.dtype, order="C"))
        if self.keys is not None:
            return dict(zip(self.keys, given, strict=True))
        return given if self.listed else given[0]


def inputs_of(model: Any, input_shape: Any) -> Inputs:
    """What `model` takes, by its own word or, for one that does not say, by `input_shape`.

    Parameters
    ----------
    input_shape
        (height, width, channels) of a picture, for a model that was neither built nor given its inputs; None
        for what the model says.

    Raises
    ------
    UsageError
        Nobody says.
    """
    symbolic = _symbolic(model)
    first = _channels_first(model)
    if input_shape is None and symbolic:
        specs = tuple(_spec(tensor, first) for tensor in symbolic)
        structure = getattr(model, "_inputs_struct", None)
        structure = getattr(model, "_nested_inputs", None) if structure is None else structure
        keys = None
        if isinstance(structure, Mapping):
            tensors = cast(Mapping[str, Any], structure)
            names = {id(tensor): key for key, tensor in tensors.items()}
            keys = tuple(
                names.get(id(tensor), spec.name) for tensor, spec in zip(symbolic, specs, strict=True)
            )
        listed = len(specs) > 1 or isinstance(structure, (list, tuple))
        return Inputs(specs, keys, listed, first)
    shape = input_shape if input_shape is not None else _built_for(model)
    if shape is None:
        raise UsageError(
            f"{model.name!r} does not say what it takes: it is subclassed and was never called. Say the "
            "shape of a picture: open_network(model, input_shape=(height, width, channels))."
        )
    return Inputs((InputSpec(name="input", shape=_sizes(shape)),), first=first)


def _symbolic(model: Any) -> list[Any]:
    """The input tensors of a Functional or Sequential model; none of a subclassed one."""
    try:
        found = model.inputs
    except (AttributeError, ValueError):
        return []
    return list(found) if isinstance(found, (list, tuple)) else []


def _spec(tensor: Any, first: bool) -> InputSpec:
    sizes: list[int | None] = list(tensor.shape)[1:]
    if first and len(sizes) > 1:
        sizes = [*sizes[1:], sizes[0]]
    dtype = tensor.dtype if isinstance(tensor.dtype, str) else tensor.dtype.name
    return InputSpec(name=tensor.name.split(":")[0], shape=tuple(sizes), dtype=_computed(dtype))


def _computed(dtype: str) -> str:
    """NumPy's name of a type; what NumPy does not have is brought from float32."""
    return dtype if dtype in np.sctypeDict else "float32"


def _built_for(model: Any) -> Shape | None:
    """The shape, without batch, that a subclassed model was called on when it was built."""
    shapes: Any = getattr(model, "_build_shapes_dict", None) or {}
    given = next(iter(shapes.values()), None) if isinstance(shapes, Mapping) else None
    given = given if given is not None else getattr(model, "_build_input_shape", None)
    if not isinstance(given, (list, tuple)) and not hasattr(given, "as_list"):
        return None
    sizes = list(cast(Any, given))[1:]
    return tuple(sizes) if sizes and all(size is None or isinstance(size, int) for size in sizes) else None


def _sizes(shape: Any) -> Shape:
    sizes = tuple(shape)
    if not sizes or any(size is not None and (not isinstance(size, int) or size < 1) for size in sizes):
        raise UsageError(f"input_shape is (height, width, channels), not {shape!r}.")
    return sizes


def _channels_first(model: Any) -> bool:
    """Whether the first layer that says so has channels first."""
    said = (getattr(layer, "data_format", None) for layer in model._flatten_layers())
    return next((value for value in said if value is not None), "channels_last") == "channels_first"
