"""Embedding: a row of a table for each whole number; and back, how much each row is like a vector."""

from __future__ import annotations

from onnx import TensorProto

from fluoroscope.formats.keras.translate.builder import Mask, Value
from fluoroscope.formats.keras.translate.step import Step

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


def reversible_embedding(step: Step) -> Value:
    """ReversibleEmbedding: an Embedding; with ``reverse=True``, the products of a vector with all rows.

    These are with a table of their own unless `tie_weights`, and bent to stay below `logit_soft_cap`.
    """
    step.used.update(("embeddings", "reverse_embeddings"))  # each way takes one of them
    tied = step.options.flag("tie_weights", default=True)
    cap = step.options.raw("logit_soft_cap")
    step.options.raw("reverse_dtype")  # all is computed in float32
    if step.arguments.get("reverse", 1) is not True:
        return embedding(step)
    step.options.raw("mask_zero")
    value = step.graph.in_keras_order(step.value)
    rows, size = step.options.integer("input_dim"), step.options.integer("output_dim")
    if tied:
        # Keras's own name: a call the other way shares the table.
        table = step.constant("embeddings", step.variable("embeddings", (rows, size)))
        table = step.node("Transpose", table, perm=(1, 0))
    else:
        table = step.constant("reverse_embeddings", step.variable("reverse_embeddings", (size, rows)))
    tensor = step.node("MatMul", value.tensor, table)
    if cap is not None:
        limit = step.graph.scalar(step.options.number("logit_soft_cap"))
        tensor = step.node("Mul", step.node("Tanh", step.node("Div", tensor, limit)), limit)
    return Value(tensor=tensor, shape=(*value.shape[:-1], rows), channel=value.last)
