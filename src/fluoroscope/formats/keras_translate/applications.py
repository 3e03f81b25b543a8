"""Layers that Keras keeps with its applications only: those of ConvNeXt."""

from __future__ import annotations

from fluoroscope.formats.keras_translate.builder import Value
from fluoroscope.formats.keras_translate.step import Step


def layer_scale(step: Step) -> Value:
    """LayerScale: a factor for each channel, on the last axis (arXiv:2103.17239)."""
    value = step.value
    size = step.options.integer("projection_dim")
    step.options.raw("init_values")
    if value.shape[-1] != size:
        step.damaged(f"has {size} factors for a shape of {value.shape}")
    gamma = value.aligned(step.variable("gamma", (size,)), (value.last,))
    return step.like(value, step.node("Mul", value.tensor, step.constant("gamma", gamma)))
