"""The layers that are no family of their own: Dense and its relatives, and what passes its input on."""

from __future__ import annotations

from fluoroscope.formats.keras.translate.activations import activated
from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.step import Step


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


def maxout(step: Step) -> Value:
    """MaxoutDense (Keras 1): the largest of `nb_feature` matrices' results; Goodfellow, arXiv 1302.4389."""
    value, inputs = _vector(step)
    units, count = step.options.integer("units"), step.options.integer("nb_feature", default=4)
    kernel = step.variable("kernel", (count, inputs, units))
    rows = step.node("Unsqueeze", value.tensor, step.graph.integers([1, 2]))
    tensor = step.node("MatMul", rows, step.constant("kernel", kernel))  # (batch, nb_feature, 1, units)
    if step.options.flag("use_bias", default=True):
        bias = step.variable("bias", (count, units)).reshape(count, 1, units)
        tensor = step.node("Add", tensor, step.constant("bias", bias))
    tensor = step.node("ReduceMax", tensor, step.graph.integers([1, 2]), keepdims=0)
    return Value(tensor=tensor, shape=(units,), channel=0)


def highway(step: Step) -> Value:
    """Highway (Keras 1): between a dense layer's result and its input, as a gate says; arXiv 1505.00387."""
    value, size = _vector(step)
    biased = step.options.flag("use_bias", default=True)

    def product(label: str) -> str:
        prefix = f"{label}_" if label else ""
        weights = [step.constant(f"{prefix}kernel", step.variable(f"{prefix}kernel", (size, size)))]
        if biased:
            weights.append(step.constant(f"{prefix}bias", step.variable(f"{prefix}bias", (size,))))
        return step.node("Gemm", value.tensor, *weights)

    gate = step.node("Sigmoid", product("carry"))
    inner = activated(step, step.like(value, product("")))
    step.pre = None  # the activation is not the last that happens
    changed = step.node("Mul", inner.tensor, gate)
    kept = step.node("Mul", step.node("Sub", step.graph.scalar(1.0), gate), value.tensor)
    return step.like(value, step.node("Add", changed, kept))


def random_fourier_features(step: Step) -> Value:
    """RandomFourierFeatures (tf.keras): ``cos(x W / scale + b)``, which stands for a kernel; Rahimi 2007."""
    value, inputs = _vector(step)
    units = step.options.integer("output_dim", default=None)
    step.options.raw("scale")  # what `kernel_scale` began with
    kernel = step.variable("unscaled_kernel", (inputs, units)) / step.variable("kernel_scale", (1,))
    weights = [
        step.constant("kernel", kernel), step.constant("bias", step.variable("bias", (units,)))
    ]  # fmt: skip
    tensor = step.node("Cos", step.node("Gemm", value.tensor, *weights))
    return Value(tensor=tensor, shape=(units,), channel=0)


def _vector(step: Step) -> tuple[Value, int]:
    value = step.value
    if value.rank != 1 or value.shape[0] is None:
        step.damaged(f"takes a vector of known size, not a shape of {value.shape}")
    return value, value.shape[0]


def unchanged(step: Step) -> Value:
    """Layers that only training knows: what comes in goes out, in the same tensor."""
    for name in step.layer.config:
        if name not in (step.layer.asked or ()):
            step.options.raw(name)  # none of their options matters at inference
    return step.value
