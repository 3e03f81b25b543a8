"""Layers that Keras keeps with its applications only: those of ConvNeXt and InceptionResNetV2."""

from __future__ import annotations

from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.step import Step


def layer_scale(step: Step) -> Value:
    """LayerScale: a factor for each channel, on the last axis (arXiv:2103.17239)."""
    value = step.value
    size = step.options.integer("projection_dim")
    step.options.raw("init_values")
    if value.shape[-1] != size:
        step.damaged(f"has {size} factors for a shape of {value.shape}")
    gamma = value.aligned(step.variable("gamma", (size,)), (value.last,))
    return step.like(value, step.node("Mul", value.tensor, step.constant("gamma", gamma)))


def custom_scale(step: Step) -> Value:
    """CustomScaleLayer: the first tensor and, a factor smaller, the second."""
    if len(step.inputs) != 2:
        step.damaged(f"takes two inputs, not {len(step.inputs)}")
    first, second = step.inputs
    if first.shape != second.shape:
        step.damaged(f"adds shapes of {first.shape} and {second.shape}")
    second = step.graph.in_moved_order(second) if first.moved else step.graph.in_keras_order(second)
    scaled = step.node("Mul", second.tensor, step.graph.scalar(step.options.number("scale")))
    return step.like(first, step.node("Add", first.tensor, scaled))
