"""Functions that take a part: ``x[:, 1:, ::2]``, slices, entries by number, entries of a table."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.known import Known, Operand, settled, shape_of
from fluoroscope.formats.keras.translate.operations.call import Call, Result
from fluoroscope.formats.keras.translate.operations.elementwise import number
from fluoroscope.formats.keras.translate.operations.repeating import REST, picked
from fluoroscope.formats.keras.translate.options import brief
from fluoroscope.network.protocol import Shape

_BITS = 32
"""TensorFlow's masks of a strided slice have a bit an axis, in 32."""


def get_item(call: Call) -> Result:
    """``x[key]``, where the key is an integer, slice, new axis, ellipsis, list of integers, or several."""
    key = call.raw("key")
    return item(call, call.operand("x"), list(cast(list[Any], key)) if isinstance(key, list) else [key])


def item(call: Call, x: Operand, key: list[Any]) -> Operand:
    """``x[*key]``."""
    entries = [_entry(call, part) for part in key]
    if isinstance(x, Known):
        try:
            return Known(settled(np.asarray(x.array[tuple(entries)])))
        except (IndexError, TypeError, ValueError):
            call.unsupported(f"takes {brief(key)} of an array of shape {x.array.shape}")
    rank = x.rank + 1
    if entries.count(Ellipsis) > 1:
        call.unsupported("has two ellipses in one index")
    taken = sum(part is not None and part is not Ellipsis for part in entries)
    if taken > rank:
        call.unsupported(f"takes {taken} indices of {rank} axes")
    at = entries.index(Ellipsis) if Ellipsis in entries else len(entries)
    whole = [slice(None)] * (rank - taken)
    entries = [*entries[:at], *whole, *entries[at + 1 :]]
    if entries[0] != slice(None):
        what = "puts an axis before the batch" if entries[0] is None else "takes pictures out of the batch"
        call.mixes_pictures(what)
    return _taken(call, x, entries[1:])


def _taken(call: Call, x: Value, entries: list[Any]) -> Value:
    """`x` with each axis cut, then what is new put in and what was a single entry taken out."""
    place, lists = 0, 0
    singles: list[int] = []
    added: list[int] = []
    out = 0
    for part in entries:
        if part is None:
            added.append(out)
            out += 1
            continue
        if isinstance(part, slice):
            x = _sliced(call, x, place, part)
            out += 1
        elif isinstance(part, int):
            x = _sliced(call, x, place, _single(call, x, place, part))
            singles.append(place)
        else:
            size = x.shape[place]
            if lists or singles or size is None or not np.all((part < size) & (part >= -size)):
                call.unsupported("is indexed with arrays in a way that has no translation")
            x = picked(call, x, place, part % size)
            lists += 1
            out += 1
        place += 1
    if not singles and not added:
        return x
    value = call.graph.in_keras_order(x)
    tensor, shape = value.tensor, list(value.shape)
    if singles:
        tensor = call.step.node("Squeeze", tensor, call.graph.integers(place + 1 for place in singles))
        shape = [size for at, size in enumerate(shape) if at not in singles]
    if added:
        tensor = call.step.node("Unsqueeze", tensor, call.graph.integers(place + 1 for place in added))
        for at in added:
            shape.insert(at, 1)
    return call.reread(tensor, tuple(shape))


def _sliced(call: Call, x: Value, place: int, part: slice) -> Value:
    if part == slice(None):
        return x
    step = 1 if part.step is None else part.step
    size = x.shape[place]
    if not step:
        call.unsupported("is cut in steps of 0")
    if size is None:
        if step < 0 or part.start not in (None, 0) or part.stop not in (None, REST) or step != 1:
            length: int | None = None
        else:
            return x
        begin = (0 if step > 0 else -1) if part.start is None else part.start
        end = (REST if step > 0 else -REST) if part.stop is None else part.stop
    else:
        kept = range(*part.indices(size))
        length, begin = len(kept), kept.start
        # Behind the first entry, counted backwards, there is no index but a very negative one.
        end = kept.stop if kept.stop >= 0 else -REST
        if not length:
            call.unsupported(f"takes nothing of an axis of {size}")
    numbers = call.graph.integers
    tensor = call.step.node(
        "Slice", x.tensor, numbers([begin]), numbers([end]), numbers([x.axis(place)]), numbers([step])
    )
    shape = (*x.shape[:place], length, *x.shape[place + 1 :])
    return Value(tensor=tensor, shape=shape, channel=x.channel, moved=x.moved)


def _single(call: Call, x: Value, place: int, index: int) -> slice:
    size = x.shape[place]
    if size is not None and not -size <= index < size:
        call.unsupported(f"takes entry {index} of an axis of {size}")
    return slice(index, index + 1 if index != -1 else None)


def _entry(call: Call, part: Any) -> Any:
    """One index as Python has it."""
    if part is None or part is Ellipsis:
        return part
    if isinstance(part, slice):
        return slice(*(_bound(call, bound) for bound in (part.start, part.stop, part.step)))
    if isinstance(part, bool):
        call.unsupported("is indexed with a truth value, which has no translation")
    if isinstance(part, int):
        return part
    if isinstance(part, list):
        part = Known(np.asarray(part))
    if isinstance(part, Known):
        array = call.numbers(part)
        if array.dtype.kind in "iu" and array.ndim < 2:
            return int(array) if array.ndim == 0 else array
    return call.unsupported("is indexed by a tensor, which has no translation")


def _bound(call: Call, bound: Any) -> int | None:
    if isinstance(bound, Known):
        bound = call.numbers(bound).item() if bound.array.size == 1 else bound
    if bound is None or (isinstance(bound, int) and not isinstance(bound, bool)):
        return bound
    return call.unsupported("is cut at a place that is no known number")


def cut_out(call: Call) -> Result:
    """`shape` entries from `start_indices` on; -1 for all that are left."""
    x, begins, counts = call.operand("inputs"), call.integers("start_indices"), call.entries("shape")
    rank = x.array.ndim if isinstance(x, Known) else x.rank + 1
    if begins is None or len(begins) != rank or len(counts) != rank:
        call.unsupported(f"does not say for each of {rank} axes where it is cut")
    key: list[Any] = []
    for axis, (begin, count) in enumerate(zip(begins, counts, strict=True)):
        whole = isinstance(x, Value) and axis == 0 and begin == 0
        if whole or count == -1:
            key.append(slice(begin or None, None))
        else:
            begin = max(begin, 0)
            key.append(slice(begin, begin + call.step.options.whole("shape", count, 0)))
    return item(call, x, key)


def strided_slice(call: Call) -> Result:
    """TensorFlow's own form of an index: begins, ends and strides, with a mask for what they do not say."""
    bounds = [call.entries(name) for name in ("begin", "end", "strides")]
    masks = {
        name: call.integer(f"{name}_mask", 0)
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    key: list[Any] = []
    for axis, (begin, end, step) in enumerate(zip(*bounds, strict=False)):
        said = {name: axis < _BITS and bool(mask >> axis & 1) for name, mask in masks.items()}
        if said["ellipsis"]:
            key.append(Ellipsis)
        elif said["new_axis"]:
            key.append(None)
        elif said["shrink_axis"]:
            key.append(begin)
        else:
            key.append(
                slice(
                    None if said["begin"] else begin,
                    None if said["end"] else end,
                    None if step == 1 else step,
                )
            )
    if key and isinstance(key[0], slice) and key[0] == slice(0, None):
        key[0] = slice(None)
    return item(call, call.operand("x"), key)


def take(call: Call) -> Result:
    """Entries by number along an axis; of a table of numbers also those that the picture says."""
    x, indices, axis = call.operand("x"), call.operand("indices"), call.raw("axis")
    if call.integer("batch_dims", 0):
        call.unsupported("takes other entries for each picture, which has no translation")
    for option in ("mode", "validate_indices"):
        call.raw(option)
    if isinstance(x, Known) and isinstance(indices, Value):
        return _looked_up(call, x, indices, call.integer("axis", 0))
    if isinstance(x, Known):
        assert isinstance(indices, Known)
        chosen, place = call.numbers(indices), call.integer("axis", 0)
        call.step.allow_table(chosen.size * x.array.size)
        return call.computed(lambda array: np.take(array, chosen, place), x)

    if isinstance(indices, Value):
        call.unsupported("takes entries by numbers that depend on the picture, which has no translation")
    if axis is None:
        call.mixes_pictures("takes entries of all axes as one")
    chosen = call.numbers(indices)
    place = call.axis("axis", x.rank + 1) - 1
    if place < 0:
        call.mixes_pictures("takes pictures out of the batch")
    size = x.shape[place]
    if chosen.dtype.kind not in "iu" or size is None or not np.all((chosen < size) & (chosen >= -size)):
        call.unsupported(f"takes entries {brief(chosen.tolist())} of an axis of {size}")
    if chosen.ndim == 0:
        return item(call, x, [slice(None)] * (place + 1) + [int(chosen)])
    value = call.graph.in_keras_order(x)
    flat = picked(call, value, place, chosen.ravel() % size)
    shape: Shape = (*value.shape[:place], *chosen.shape, *value.shape[place + 1 :])
    if chosen.ndim == 1:
        return flat
    sizes = call.graph.integers([0, *(-1 if size is None else size for size in shape)])
    return call.reread(call.step.node("Reshape", flat.tensor, sizes), shape)


def _looked_up(call: Call, table: Known, indices: Value, axis: int) -> Value:
    """Rows of a table by the numbers in a tensor."""
    array = call.numbers(table)
    if axis % max(array.ndim, 1) or not array.ndim:
        call.unsupported("looks up along an inner axis of a table, which has no translation")
    value = call.graph.in_keras_order(indices)
    whole = call.step.node("Cast", value.tensor, to=7)
    tensor = call.step.node("Gather", call.constant(array), whole, axis=0)
    return call.reread(tensor, (*value.shape, *array.shape[1:]))


def take_along_axis(call: Call) -> Result:
    """Along an axis, for each place the entry whose number stands there in `indices`."""
    x, indices = call.value("x"), call.value("indices")
    (place,) = call.places("axis", x, default=[-1])
    x, indices = call.graph.in_keras_order(x), call.graph.in_keras_order(indices)
    others = [at for at in range(x.rank) if at != place]
    if x.rank != indices.rank or any(x.shape[at] != indices.shape[at] for at in others):
        call.unsupported("takes entries of shapes that differ, which has no translation")
    whole = call.step.node("Cast", indices.tensor, to=7)
    return call.reread(call.step.node("GatherElements", x.tensor, whole, axis=place + 1), indices.shape)


def one_hot(call: Call) -> Result:
    """1 at the place that a number says along a new axis, 0 elsewhere; all 0 for a number beyond it."""
    x, count = call.graph.in_keras_order(call.value("x")), call.integer("num_classes")
    call.raw("dtype")
    on, off = call.number("on_value", 1.0), call.number("off_value", 0.0)
    if count < 1:
        call.unsupported(f"has {count} classes")
    call.step.allow_table(count)
    place = call.place("axis", call.integer("axis", -1), x.rank + 2)
    if not place:
        call.mixes_pictures("puts classes before the batch")
    spread = call.step.node("Unsqueeze", x.tensor, call.graph.integers([place]))
    classes = np.arange(count, dtype=np.float32).reshape([-1] + [1] * (x.rank + 1 - place))
    tensor = call.step.node("Equal", spread, call.step.constant("classes", classes))
    made = (
        number(call, tensor) if (on, off) == (1.0, 0.0)
        else call.step.node("Where", tensor, call.graph.scalar(on), call.graph.scalar(off))
    )  # fmt: skip
    return call.reread(made, (*x.shape[: place - 1], count, *x.shape[place - 1 :]))


def counted_up(call: Call) -> Result:
    """``arange``: from `start` to before `stop` in steps of `step`; one number alone is the stop."""
    start, stop, step = (call.known(name) for name in ("start", "stop", "step"))
    call.raw("dtype")
    if stop is None:
        start, stop = None, start
    bounds = [
        default if bound is None else bound.item() for bound, default in ((start, 0), (stop, 0), (step, 1))
    ]
    if not bounds[2] or any(not np.isfinite(bound) for bound in bounds):
        call.unsupported(f"counts from {bounds[0]} to {bounds[1]} in steps of {bounds[2]}")
    call.step.allow_table(max(int((bounds[1] - bounds[0]) / bounds[2]) + 1, 0))
    return Known(np.arange(*bounds))


def shape(call: Call) -> Result:
    """The sizes of a tensor, the batch's first."""
    x = call.operand("x")
    call.raw("out_type")
    return shape_of(x) if isinstance(x, Value) else Known(np.array(x.array.shape, np.int64))
