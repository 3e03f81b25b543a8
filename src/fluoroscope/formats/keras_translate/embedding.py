"""Embedding: a row of a table for each whole number."""

from __future__ import annotations

from onnx import TensorProto

from fluoroscope.formats.keras_translate.builder import Mask, Value
from fluoroscope.formats.keras_translate.step import Step

_INDICES = ("int32", "int64")


def embedding(step: Step) -> Value:
    """Embedding: row ``x`` of a table of `input_dim` rows, `output_dim` long each.

    Numbers with a fraction lose it, as in Keras. A number beyond the table is refused when it is run, as
    TensorFlow refuses it on a processor; a negative one counts from the end, as in Keras 3.
    """
    value = step.graph.in_keras_order(step.value)
    rows, size = step.options.integer("input_dim"), step.options.integer("output_dim")
    step.options.raw("input_length")  # says of the input what that says itself
    table = step.constant("embeddings", step.variable("embeddings", (rows, size)))
    indices = value.tensor
    if value.dtype not in _INDICES:
        indices = step.node("Cast", indices, to=TensorProto.INT32)
    mask = None
    if step.options.flag("mask_zero", default=False):
        mask = Mask(tensor=step.node("Cast", value.tensor, to=TensorProto.BOOL), rank=value.rank)
    tensor = step.node("Gather", table, indices)
    return Value(tensor=tensor, shape=(*value.shape, size), channel=value.rank, mask=mask)
