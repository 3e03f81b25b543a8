"""Layers that apply others: to each step of a sequence, from both its ends, one behind the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fluoroscope.formats.keras.arguments import Arguments, Place
from fluoroscope.formats.keras.model import KerasLayer
from fluoroscope.formats.keras.translate.builder import Mask, Value
from fluoroscope.formats.keras.translate.masking import effective, some
from fluoroscope.formats.keras.translate.recurrent import flat, reversed_steps
from fluoroscope.formats.keras.translate.sequence import FoldedSequence
from fluoroscope.formats.keras.translate.step import Step


def time_distributed(step: Step) -> tuple[Value, ...]:
    """TimeDistributed: the steps of a sequence, ``(batch, steps, ...)``, as so many more in the batch.

    The layers of a model in it have rows of their own, with the steps as the first axis.
    """
    value = step.value
    if value.rank < 2:
        step.damaged(f"takes a sequence, not a shape of {value.shape}")
    mask = effective(step, value, 1)
    folded = FoldedSequence(step, value)
    inner = step.inner("layer")
    within = folded.folded(replace(value, mask=mask))
    applied = step.apply(inner, [within], shown=folded.unfolded)
    step.activation = applied.activation
    step.pre = None if applied.pre is None else folded.unfolded(applied.pre).tensor
    return tuple(
        replace(folded.unfolded(made), mask=_mask(step, folded, mask, made)) for made in applied.values
    )


def spectral_normalization(step: Step) -> tuple[Value, ...]:
    """SpectralNormalization: the layer in it, as its kernel was left by the last step of training.

    Miyato et al., arXiv 1802.05957.
    """
    step.options.raw("power_iterations")
    step.used.add("vector_u")
    applied = step.apply(step.inner("layer"), step.inputs)
    step.activation = applied.activation
    step.pre = None if applied.pre is None else applied.pre.tensor
    return applied.values


def pipeline(step: Step) -> tuple[Value, ...]:
    """Pipeline: the layers in it, one behind the other."""
    step.options.raw("layers")
    values: tuple[Value, ...] = step.inputs
    for attribute in step.layer.inner:
        values = step.apply(step.inner(attribute), values).values
    return values


def _mask(step: Step, folded: FoldedSequence, given: Mask | None, made: Value) -> Mask | None:
    """Of the whole: in Keras 3 the one given; in Keras 2 the wrapped layer's, else which steps to skip."""
    if step.keras_version[0] >= 3:
        return given
    if made.mask is not None:
        tensor = folded.in_front(made.mask.tensor)
        return Mask(tensor=tensor, rank=made.mask.rank + 1)
    if given is None:
        return None
    tensor = given.tensor
    for axis in range(given.rank, 1, -1):
        tensor = some(step, tensor, axis)
    return Mask(tensor=tensor, rank=1)


_MERGES = {"sum": "Add", "mul": "Mul", "ave": "Add"}


def bidirectional(step: Step) -> tuple[Value, ...]:
    """Bidirectional: one layer from the first step to the last, another from the last to the first.

    Where they return sequences, the other's is turned round, so that steps stand beside themselves.
    """
    for name in ("layer", "return_sequences", "return_state", "stateful", "go_backwards"):
        step.options.raw(name)  # those of the layers count
    forward, backward = step.inner("forward_layer"), step.inner("backward_layer")
    if not isinstance(forward, KerasLayer) or not isinstance(backward, KerasLayer):
        step.unsupported("wraps a model, which has no direction")
    value, *states = step.inputs
    mask = effective(step, value, 1 if step.keras_version[0] < 3 else 2)
    named = step.arguments.get("initial_state", 1 if step.keras_version[0] >= 3 else 3)
    states += flat(named)
    if len(states) % 2:
        step.damaged(f"begins with {len(states)} states for its two layers")
    half = len(states) // 2
    value = replace(value, mask=mask)
    y, *after = _direction(step, forward, [value, *states[:half]])
    y_back, *after_back = _direction(step, backward, [value, *states[half:]])
    if y.rank != y_back.rank or y.moved != y_back.moved:
        step.damaged("has two layers of which only one returns sequences")
    if forward.config.get("return_sequences"):
        y_back = replace(y_back, tensor=reversed_steps(step, y_back.tensor, y_back.axis(0)))
    mode = step.options.raw("merge_mode", "concat")
    if mode is None:
        return (y, y_back, *after, *after_back)
    return (_both(step, mode, y, y_back), *after, *after_back)


def _direction(step: Step, layer: KerasLayer, values: list[Value]) -> tuple[Value, ...]:
    """One of the two layers, called on a sequence and the states it begins with."""
    config = layer.config
    if _zeroes_masked(step, layer):
        config = {**config, "zero_output_for_mask": bool(config.get("return_sequences"))}
    places = [Place(number) for number in range(len(values))]
    kwargs = {"initial_state": places[1:]} if places[1:] else {}
    return step.apply(replace(layer, config=config), values, arguments=Arguments((places[0],), kwargs)).values


def _zeroes_masked(step: Step, layer: KerasLayer) -> bool:
    """Whether this Keras sets masked steps to zero: TF-Keras and Keras 3 do, Keras up to 2.3 does not.

    TF-Keras, whose versions were counted like Keras's then, writes `time_major`.
    """
    return step.keras_version >= (2, 4) or "time_major" in layer.config


def _both(step: Step, mode: Any, one: Value, other: Value) -> Value:
    if mode == "concat":
        axis = one.last
        sizes = one.shape[axis], other.shape[axis]
        joined = None if None in sizes else sum(size or 0 for size in sizes)
        tensor = step.node("Concat", one.tensor, other.tensor, axis=one.axis(axis))
        return replace(one, tensor=tensor, shape=(*one.shape[:-1], joined))
    if mode not in _MERGES:
        step.options.unsupported("merge_mode", "Translated are ave, concat, mul, sum and null.")
    if one.shape != other.shape:
        step.damaged(f"merges shapes that differ: {one.shape} and {other.shape}")
    tensor = step.node(_MERGES[mode], one.tensor, other.tensor)
    if mode == "ave":
        tensor = step.node("Mul", tensor, step.graph.scalar(0.5))
    return replace(one, tensor=tensor)
