"""The layers that are no family of their own: Dense, and what passes its input on."""

from __future__ import annotations

from fluoroscope.formats.keras_translate.activations import activated
from fluoroscope.formats.keras_translate.builder import Value
from fluoroscope.formats.keras_translate.step import Step


def dense(step: Step) -> Value:
    """Dense: a matrix over the last axis, whatever comes before it."""
    value = step.graph.in_keras_order(step.value)
    units = step.options.integer("units")
    if not value.shape or value.shape[-1] is None:
        step.damaged("needs a known size of the last axis")
    weights = [step.constant("kernel", step.variable("kernel", (value.shape[-1], units)))]
    if step.options.flag("use_bias", default=True):
        weights.append(step.constant("bias", step.variable("bias", (units,))))
    if value.rank == 1:
        tensor = step.node("Gemm", value.tensor, *weights)
    else:
        tensor = step.node("MatMul", value.tensor, weights[0])
        tensor = step.node("Add", tensor, weights[1]) if len(weights) == 2 else tensor
    return activated(step, Value(tensor=tensor, shape=(*value.shape[:-1], units), channel=value.last))


def unchanged(step: Step) -> Value:
    """Layers that only training knows: what comes in goes out, in the same tensor."""
    for name in step.layer.config:
        step.options.raw(name)  # none of their options matters at inference
    return step.value
