"""The arithmetic by which exported networks compute the sizes of their tensors, in NumPy.

An exporter writes ``x.reshape(x.shape[0], -1, 2 * x.shape[3])`` as a small program: ``Shape``, ``Slice``,
``Mul``, ``Concat``, ``Reshape``. For inputs of known shape all of it but the last is a constant. Operators
are left out where NumPy could come to another number than onnxruntime, because budgets rest on these numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.network.nodes import integer, integers

if TYPE_CHECKING:
    import onnx

SMALL = 64
"""Tensors of more elements are no sizes, and are not computed."""

_Array = NDArray[Any]
_Rule = Callable[["onnx.NodeProto", Sequence[_Array | None]], _Array | None]


def fold(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
    """What the node makes of constants.

    Parameters
    ----------
    node
        Of an operator in `FOLDABLE`, with inputs and one output of at most `SMALL` elements.
    arrays
        What it takes, None for what is left out. For ``Shape`` and ``Size`` the shape itself.

    Returns
    -------
    array
        None where it cannot be said with certainty.
    """
    try:
        with np.errstate(all="raise"):
            value = FOLDABLE[node.op_type](node, arrays)
    except (ArithmeticError, IndexError, TypeError, ValueError):
        # A contradiction, or an overflow: not a number to rest a budget on.
        return None
    exact = node.op_type in _MOVING or all(array is None or _is_ordinary(array) for array in arrays)
    return value if exact else None


def _is_ordinary(array: _Array) -> bool:
    """True for numbers of 32 bits: larger ones overflow, and onnxruntime's Min compares the lower halves."""
    return array.dtype.kind != "i" or bool(((array > -(2**31)) & (array < 2**31)).all())


_MOVING = frozenset(
    "Cast Concat Expand Gather Identity Reshape Slice Squeeze Tile Transpose Unsqueeze Where".split()
)
"""Operators that take numbers elsewhere as they are."""


def _shape(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
    shape = _given(arrays, 0)
    end = integer(node, "end", len(shape))
    return shape[integer(node, "start", 0) : end]


def _size(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
    return np.array(np.prod(_given(arrays, 0)), np.int64)


def _gather(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
    return np.take(_given(arrays, 0), _given(arrays, 1), axis=integer(node, "axis", 0))


def _concat(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
    return np.concatenate([_given(arrays, i) for i in range(len(arrays))], axis=integer(node, "axis", 0))


def _unsqueeze(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
    axes = _axes(node, arrays, 1)
    return None if axes is None else np.expand_dims(_given(arrays, 0), tuple(axes))


def _squeeze(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
    axes = _axes(node, arrays, 1)
    return np.squeeze(_given(arrays, 0), None if axes is None else tuple(axes))


def _slice(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
    bounds = slice_bounds(node, arrays, _given(arrays, 0).ndim)
    if bounds is None:
        return None
    index = [slice(None)] * _given(arrays, 0).ndim
    for axis, part in bounds.items():
        index[axis] = part
    return _given(arrays, 0)[tuple(index)]


def slice_bounds(node: onnx.NodeProto, arrays: Sequence[_Array | None], rank: int) -> dict[int, slice] | None:
    """Axis -> what a ``Slice`` keeps of it; None where it is not known.

    Parameters
    ----------
    arrays
        Values of its inputs, None for those left out or not known.
    """
    given = [
        array.tolist() if array is not None else None for array in (*arrays, None, None, None, None)[1:5]
    ]
    starts, ends, axes, steps = given
    if len(node.input) < 2:
        starts, ends, axes = (integers(node, name) for name in ("starts", "ends", "axes"))
    elif any(name and given[i] is None for i, name in enumerate(node.input[1:5])):
        return None
    if starts is None or ends is None:
        return None
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        return None
    bounds: dict[int, slice] = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        bounds[axis % rank] = slice(start, end, step)
    return bounds


def _cast(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
    from onnx import helper

    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(integer(node, "to", 0)))
    array = _given(arrays, 0)
    wide = array.astype(np.float64)
    # A number outside the new type's range becomes whatever the processor makes of it.
    limit = 2.0 ** (8 * dtype.itemsize - 2)
    if dtype.kind in "iu" and not ((wide >= (-limit if dtype.kind == "i" else 0)) & (wide < limit)).all():
        return None
    return array.astype(dtype)


def _divide(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
    a, b = _given(arrays, 0), _given(arrays, 1)
    if a.dtype.kind == "f":
        return a / b
    # C++ rounds towards zero, NumPy down; they agree on numbers that are not negative.
    return a // b if (a >= 0).all() and (b > 0).all() else None


def _modulo(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
    a, b = _given(arrays, 0), _given(arrays, 1)
    # With fmod the sign is the dividend's; without, as in NumPy, the divisor's. Fractions are always fmod.
    whole = a.dtype.kind in "iu" and b.dtype.kind in "iu" and (b != 0).all()
    return np.mod(a, b) if whole and not integer(node, "fmod", 0) else None


def _reshape(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
    array, shape = _given(arrays, 0), _given(arrays, 1).tolist()
    if integer(node, "allowzero", 0) == 0:
        shape = [array.shape[i] if size == 0 else size for i, size in enumerate(shape)]
    return array.reshape(shape)


def _constant_of_shape(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
    from onnx import numpy_helper

    value = next((a.t for a in node.attribute if a.name == "value"), None)
    fill = np.zeros(1, np.float32) if value is None else numpy_helper.to_array(value)
    return np.full(_given(arrays, 0).tolist(), fill.ravel()[0])


def _range(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
    start, limit, step = (_given(arrays, i) for i in range(3))
    if start.dtype.kind != "i":
        return None
    return np.arange(int(start), int(limit), int(step)).astype(start.dtype)


def _expand(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
    array, shape = _given(arrays, 0), tuple(_given(arrays, 1).tolist())
    return np.broadcast_to(array, np.broadcast_shapes(array.shape, shape)).copy()


def _tile(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
    return np.tile(_given(arrays, 0), _given(arrays, 1).tolist())


def _transpose(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
    return np.transpose(_given(arrays, 0), integers(node, "perm"))


def _product(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
    axes = _axes(node, arrays, 1)
    over = None if axes is None else tuple(axes)
    array = _given(arrays, 0)
    return np.prod(array, axis=over, keepdims=bool(integer(node, "keepdims", 1)), dtype=array.dtype)


def _axes(node: onnx.NodeProto, arrays: Sequence[_Array | None], place: int) -> list[int] | None:
    """Axes as an attribute (older operator sets) or an input."""
    listed = arrays[place] if place < len(arrays) else None
    return listed.ravel().tolist() if listed is not None else integers(node, "axes")


def _given(arrays: Sequence[_Array | None], place: int) -> _Array:
    array = arrays[place]
    if array is None:
        raise ValueError("An input that must be given is left out.")
    return array


def _by(function: Callable[..., Any]) -> _Rule:
    """An operator that is a NumPy function of all it takes."""

    def rule(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
        return np.asarray(function(*(_given(arrays, i) for i in range(len(arrays)))))

    return rule


def _pairwise(function: Callable[[Any, Any], Any]) -> _Rule:
    """An operator that takes any number of operands, two by two."""

    def rule(node: onnx.NodeProto, arrays: Sequence[_Array | None]) -> _Array | None:
        result = _given(arrays, 0)
        for i in range(1, len(arrays)):
            result = np.asarray(function(result, _given(arrays, i)))
        return result

    return rule


FOLDABLE: dict[str, _Rule] = {
    "Shape": _shape,
    "Size": _size,
    "Gather": _gather,
    "Concat": _concat,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Slice": _slice,
    "Cast": _cast,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Expand": _expand,
    "Tile": _tile,
    "ReduceProd": _product,
    "Div": _divide,
    "Mod": _modulo,
    "Identity": _by(np.array),
    "Add": _by(np.add),
    "Sub": _by(np.subtract),
    "Mul": _by(np.multiply),
    "Neg": _by(np.negative),
    "Abs": _by(np.abs),
    "Floor": _by(np.floor),
    "Ceil": _by(np.ceil),
    "Sqrt": _by(np.sqrt),
    "Where": _by(np.where),
    "Equal": _by(np.equal),
    "Greater": _by(np.greater),
    "GreaterOrEqual": _by(np.greater_equal),
    "Less": _by(np.less),
    "LessOrEqual": _by(np.less_equal),
    "Not": _by(np.logical_not),
    "And": _by(np.logical_and),
    "Or": _by(np.logical_or),
    "Min": _pairwise(np.minimum),
    "Max": _pairwise(np.maximum),
}
"""Operator -> how it is computed."""
