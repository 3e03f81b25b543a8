"""Functions as layers: ``keras.ops``, TensorFlow's functions in tf.keras, nodes of TensorFlow 1's graphs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fluoroscope
from fluoroscope.network.protocol import Network
from keras_conformance import TOLERANCE, assert_same, branches, framework, pictures, randomise, save

_table = np.random.default_rng(1).normal(size=(5, 3)).astype("float32")
_row = np.array([0.5, -1.0, 2.0, 0.25], "float32")
_kernel = np.random.default_rng(2).normal(size=(3, 3, 4, 6)).astype("float32") * 0.2

KERAS_OPS: Mapping[str, Callable[[Any, Any], Any]] = {
    "arithmetic": lambda x, o: [
        x + 1, 1 - x, x * 0.5, x / 3.0, 2.0 / (x * x + 1.0), -x, abs(x), x // 0.7, x % 0.7, x % -0.7, x**2,
        x + _row, o.multiply(_row, x), x - x[:, :1], o.add(x, np.ones((1, 6, 8, 4), "float32")),
    ],
    "pairs": lambda x, o: [
        o.maximum(x, 0.1), o.minimum(x, x[:, ::-1]), o.where(x > 0, x, -1.0), o.where(x < 0.2, x, x * 2),
        o.power(o.abs(x), 1.7), o.hypot(x, x * 2), o.logaddexp(x, x * 2), o.divide_no_nan(x, o.relu(x)),
        o.mod(x, o.abs(x[..., :1]) + 0.1), o.floor_divide(x, 0.4), o.true_divide(x, 0.3),
    ],
    "comparisons": lambda x, o: [
        o.cast(y, "float32")
        for y in (
            x > 0, x >= x[:, :1], x < 0.3, x <= 0, o.equal(x, o.relu(x)), o.not_equal(x, o.relu(x)),
            o.logical_and(x > 0, x < 1), o.logical_or(x > 1, x < -1), o.logical_xor(x > 0, x > 1),
            o.logical_not(x > 0), o.isnan(x), o.isinf(x), o.isfinite(x),
        )
    ],
    "each": lambda x, o: [
        o.exp(x), o.expm1(x), o.exp2(x), o.log(o.abs(x) + 1), o.log1p(o.abs(x) * 0.001), o.log2(o.abs(x) + 1),
        o.log10(o.abs(x) + 1), o.sqrt(o.abs(x)), o.rsqrt(o.abs(x) + 1), o.square(x), o.reciprocal(x + 10),
        o.sin(x), o.cos(x), o.tan(x * 0.3), o.arcsin(o.tanh(x)), o.arccos(o.tanh(x)), o.arctan(x), o.sinh(x),
        o.cosh(x), o.arcsinh(x), o.arccosh(o.abs(x) + 1), o.arctanh(o.tanh(x) * 0.9), o.sign(x), o.floor(x),
        o.ceil(x), o.round(x), o.round(x, 1), o.trunc(x), o.erf(x), o.clip(x, -0.5, 0.5), o.deg2rad(x),
        o.rad2deg(x), o.nan_to_num(o.log(x)), o.stop_gradient(x), o.zeros_like(x), o.ones_like(x),
        o.full_like(x, 2.5), o.cast(x * 3, "int32"), o.cast(x, "bool"), o.cast(x, "float64"), o.copy(x),
    ],
    "activations": lambda x, o: [
        o.relu(x), o.relu6(x * 4), o.sigmoid(x), o.softplus(x), o.softsign(x), o.silu(x), o.log_sigmoid(x),
        o.leaky_relu(x, 0.1), o.hard_sigmoid(x), o.hard_silu(x), o.elu(x, 0.7), o.selu(x), o.gelu(x),
        o.gelu(x, approximate=False), o.celu(x, 0.6), o.glu(x), o.tanh(x), o.softmax(x), o.softmax(x, axis=1),
        o.log_softmax(x, axis=2), o.hard_shrink(x, 0.2), o.soft_shrink(x, 0.2),
        o.tanh_shrink(x), o.hard_tanh(x), o.threshold(x, 0.1, -3.0), o.squareplus(x, 2.0), o.sparse_plus(x),
        o.sparse_sigmoid(x), o.sparsemax(x),
    ],
    "reductions": lambda x, o: [
        o.mean(x, axis=(1, 2)), o.mean(x, axis=(1, 2), keepdims=True), o.sum(x, axis=-1), o.max(x, axis=1),
        o.min(x, axis=(1, 2, 3)), o.prod(x, axis=2), o.var(x, axis=(2, 3)), o.std(x, axis=-1, keepdims=True),
        o.logsumexp(x, axis=(1, 3)), o.average(x, axis=1),
        o.argmax(x, axis=-1), o.argmin(x, axis=1), o.cast(o.any(x > 2, axis=1), "float32"),
        o.cast(o.all(x > -2, axis=(1, 2)), "float32"), o.count_nonzero(o.relu(x), axis=2), o.norm(x, axis=-1),
        o.norm(x, ord=1, axis=2, keepdims=True), *o.moments(x, (1, 2)), o.cumsum(x, axis=1),
        *o.top_k(x, 2), o.normalize(x), o.normalize(x, axis=1, order=1), o.normalize(x, axis=2, order=3),
    ],
    "arranging": lambda x, o: [
        o.reshape(x, (-1, 48, 4)), o.reshape(x, (-1, 6, 32)), o.transpose(x, (0, 3, 1, 2)),
        o.swapaxes(x, 1, -1), o.moveaxis(x, -1, 1), o.squeeze(x[:, :1]), o.expand_dims(x, 1),
        o.expand_dims(x, (1, -1)), o.concatenate([x, x * 2], -1), o.concatenate([x, o.exp(x)], axis=1),
        o.stack([x, x * 2], axis=1), o.stack([x, x * 2], axis=-1), *o.split(x, 2, axis=1),
        *o.split(x, [1, 3], axis=-1), *o.unstack(x, axis=-1), o.tile(x, (1, 2, 1, 3)), o.repeat(x, 2, axis=1),
        o.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0))), o.flip(x, axis=1), o.flip(x, axis=(1, 2)),
        o.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)), mode="reflect"), o.roll(x, 1, axis=1),
        o.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)), mode="symmetric"), o.roll(x, (1, -2), axis=(1, 2)),
        o.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)), constant_values=1.5), o.hstack([x, x]), o.dstack([x, x]),
        o.rot90(x, 1, axes=(1, 2)),
        o.rot90(x, 3, axes=(1, 2)), o.tril(x), o.triu(x, 1),
    ],
    "indexing": lambda x, o: [
        x[:, 0], x[..., -1], x[:, 1:, ::2], x[:, ::-1], x[:, 4:1:-1], x[:, None, :, 2], x[:, 1, 2, 3],
        x[:, :, :, None], x[:, -2:], o.take(x, [2, 0], axis=-1),
        o.take(x, np.array([[1, 2], [0, 0]]), axis=1),
        o.take(x, 1, axis=2), o.take(_table, o.cast(o.clip(o.abs(x) * 2, 0, 4), "int32"), axis=0),
        o.take_along_axis(x, o.argmax(x, axis=1, keepdims=True), axis=1),
        o.one_hot(o.argmax(x, axis=-1), 4), o.one_hot(o.argmax(x, axis=-1), 3, axis=1),
    ],
    "products": lambda x, o: [
        o.matmul(x, o.swapaxes(x, -1, -2)), o.matmul(x, _table[:4]),
        o.matmul(np.ones((1, 3, 8), "float32"), x),
        o.einsum("bijk,bilk->bijl", x, x), o.einsum("b...k,kl->b...l", x, _table[:4]), o.dot(x, _table[:4]),
        o.einsum("bhwc,c->bhw", x, _row), o.tensordot(x, _table[:4], axes=1), o.einsum("bijk->bkj", x),
        o.einsum("...k,k", x, _row),
    ],
    "pictures": lambda x, o: [
        o.conv(x, _kernel, padding="same"), o.conv(x, _kernel, strides=2), o.max_pool(x, 2),
        o.conv(x, _kernel, dilation_rate=2), o.average_pool(x, (2, 3), strides=1, padding="same"),
        o.depthwise_conv(x, _kernel[..., :2]),
        o.separable_conv(x, _kernel[..., :1], _kernel[:1, :1]), o.image.resize(x, (9, 5)),
        o.image.resize(x, (12, 16), interpolation="nearest"),
        o.image.resize(x, (4, 4), interpolation="bicubic"),
        o.image.extract_patches(x, 2), o.image.extract_patches(x, (2, 3), strides=1, padding="same"),
        o.image.pad_images(x, 1, 2, 1, 0), o.image.crop_images(x, 1, 2, 1, 0),
        o.image.rgb_to_grayscale(x[..., :3]), o.batch_normalization(x, _row, _row**2, -1, _row, _row),
        o.rms_normalization(x, _row), o.layer_normalization(x, _row, _row),
    ],
}  # fmt: skip


def _reference(keras: Any, model: Any, batches: Sequence[Any]) -> dict[str, Any]:
    """What Keras computes for every output of every layer or operation, by our names of rows."""
    names: list[str] = []
    tensors: list[Any] = []
    for layer in model.operations if hasattr(model, "operations") else model.layers:
        if type(layer).__name__ == "InputLayer" or layer.name.startswith("tf.range"):
            continue  # numbers that no picture has a part in are no rows
        made = layer.output
        for index, tensor in enumerate(made if isinstance(made, (list, tuple)) else [made]):
            if getattr(tensor, "shape", ())[:1] == (None,) or tuple(tensor.shape)[:1] == (None,):
                names.append(layer.name if not index else f"{layer.name}:{index}")
                tensors.append(tensor)
    values = keras.Model(model.inputs, tensors)(list(batches), training=False)
    values = values if isinstance(values, (list, tuple)) else [values]
    # One number a picture is shown as a vector of one.
    arrays = [np.asarray(value, np.float32) for value in values]
    return {
        name: array[:, None] if array.ndim == 1 else array
        for name, array in zip(names, arrays, strict=True)
        if np.isfinite(array).all()
    }


def _check(keras: Any, model: Any, path: Path, tolerance: float = TOLERANCE) -> Network:
    batches = pictures(model)
    network = fluoroscope.open_network(save(model, path))
    assert_same(network, batches, _reference(keras, model, batches), tolerance)
    return network


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("group", KERAS_OPS)
def test_operations_of_keras_3(group: str, suffix: str, tmp_path: Path) -> None:
    keras = framework("keras")
    model = branches(keras, (6, 8, 4), lambda x, layers: KERAS_OPS[group](x, keras.ops))
    _check(keras, model, tmp_path / f"m{suffix}")


TF_FUNCTIONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "arithmetic": lambda x, tf: [
        x + 1, 1 - x, x * 0.5, x / 3.0, 2.0 / (x * x + 1.0), -x, abs(x), x // 0.7, x % 0.7, x**2, x + x,
        x + _row, tf.add(_row, x), tf.subtract(x, x[:, :1]), tf.multiply(x, 2.0), tf.maximum(x, 0.1),
        tf.math.squared_difference(x, 1.0), tf.where(x > 0, x, tf.zeros_like(x)), tf.cast(x > 0, tf.float32),
        tf.clip_by_value(x, -0.5, 0.5), tf.cast(tf.logical_and(x > 0, x < 1), tf.float32), tf.add_n([x, x]),
        tf.math.divide_no_nan(x, tf.nn.relu(x)), tf.cast(tf.equal(x, 0.0), "float32"), tf.cast(x, "int32"),
    ],
    "each": lambda x, tf: [
        tf.exp(x), tf.math.log(tf.abs(x) + 1), tf.sqrt(tf.abs(x)), tf.math.rsqrt(tf.abs(x) + 1),
        tf.square(x), tf.sin(x), tf.tanh(x), tf.sigmoid(x), tf.round(x), tf.floor(x), tf.sign(x),
        tf.nn.relu(x), tf.nn.relu6(x * 4), tf.nn.leaky_relu(x), tf.nn.leaky_relu(x, 0.1), tf.nn.elu(x),
        tf.nn.selu(x), tf.nn.softplus(x), tf.nn.swish(x), tf.nn.silu(x, 0.5), tf.nn.gelu(x),
        tf.nn.gelu(x, True), tf.nn.softmax(x), tf.nn.softmax(x, axis=1), tf.nn.log_softmax(x),
        tf.nn.sigmoid(x), tf.nn.tanh(x), tf.math.erf(x), tf.stop_gradient(x), tf.identity(x),
        tf.math.softplus(x), tf.ones_like(x), tf.math.abs(x), tf.math.log1p(tf.abs(x) * 0.01),
    ],
    "reductions": lambda x, tf: [
        tf.reduce_mean(x, [1, 2]), tf.reduce_mean(x, [1, 2], keepdims=True), tf.reduce_sum(x, -1),
        tf.reduce_max(x, axis=1), tf.reduce_min(x, axis=[1, 2, 3]), tf.math.reduce_std(x, axis=2),
        tf.math.reduce_variance(x, axis=-1), tf.reduce_logsumexp(x, axis=1), tf.argmax(x, axis=-1),
        tf.norm(x, axis=-1), tf.math.l2_normalize(x, axis=-1), tf.nn.l2_normalize(x, 3),
        *tf.nn.moments(x, [1, 2], keepdims=True), *tf.math.top_k(x, 2), tf.cumsum(x, axis=1),
        tf.reduce_prod(x, axis=2), tf.cast(tf.reduce_any(x > 1, axis=1), tf.float32),
    ],
    "arranging": lambda x, tf: [
        tf.reshape(x, (-1, 48, 4)), tf.reshape(x, [tf.shape(x)[0], -1, 8]), tf.transpose(x, [0, 3, 1, 2]),
        tf.reshape(x, tf.stack([tf.shape(x)[0], tf.shape(x)[1] * tf.shape(x)[2], 4])),
        tf.reshape(x, (tf.shape(x)[0], 6, tf.shape(x)[2] // 2, -1)), tf.expand_dims(x, 1),
        tf.reshape(x, tf.concat([tf.shape(x)[:1], [48, 4]], axis=0)), tf.squeeze(x[:, :1], axis=1),
        tf.expand_dims(x, -1), tf.concat([x, x * 2], -1), tf.concat([x, x], axis=1), tf.stack([x, x], axis=1),
        *tf.split(x, 2, axis=1), *tf.split(x, [1, 3], axis=-1), *tf.unstack(x, axis=3),
        tf.tile(x, [1, 2, 1, 3]),
        tf.tile(x[:, :1], [1, tf.shape(x)[1], 1, 1]), tf.repeat(x, 2, axis=1), tf.reverse(x, [1]),
        tf.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]]), tf.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]], "REFLECT"),
        tf.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]], "SYMMETRIC"), tf.roll(x, [1, 2], [1, 2]),
        tf.broadcast_to(x[:, :1], tf.shape(x)), tf.concat([x, tf.zeros([tf.shape(x)[0], 6, 8, 2])], -1),
        tf.concat([x, tf.fill(tf.stack([tf.shape(x)[0], 6, 8, 2]), 1.5)], -1),
        x + tf.range(0, tf.cast(tf.shape(x)[-1], tf.float32), 1.0),
    ],
    "indexing": lambda x, tf: [
        x[:, 0], x[:, :, :, -1], x[:, 1:, ::2], x[:, ::-1], x[:, None, :, 2], x[:, 1, 2, 3], x[:, -2:],
        tf.gather(x, [2, 0], axis=-1), tf.gather(x, 1, axis=1), tf.slice(x, [0, 1, 0, 0], [-1, 2, 8, 4]),
        tf.gather(_table, tf.cast(tf.clip_by_value(tf.abs(x) * 2, 0, 4), tf.int32)),
        tf.strided_slice(x, [0, 1, 0, 0], [0, 5, 8, 4], [1, 2, 1, 1], begin_mask=1, end_mask=1),
        tf.one_hot(tf.argmax(x, axis=-1), 4), tf.one_hot(tf.argmax(x, axis=-1), 3, axis=1),
    ],
    "products": lambda x, tf: [
        tf.matmul(x, x, transpose_b=True), tf.linalg.matmul(x, _table[:4]), tf.tensordot(x, _table[:4], 1),
        tf.tensordot(x, _kernel, [[3], [2]]), tf.matmul(x, x, adjoint_a=True), tf.nn.bias_add(x, _row),
    ],
    "pictures": lambda x, tf: [
        tf.nn.depth_to_space(x, 2), tf.nn.space_to_depth(x, 2), tf.nn.max_pool2d(x, 2, 2, "SAME"),
        tf.nn.avg_pool2d(x, [1, 3, 3, 1], [1, 1, 1, 1], "VALID"), tf.nn.conv2d(x, _kernel, 1, "SAME"),
        tf.nn.depthwise_conv2d(x, _kernel[..., :2], [1, 1, 1, 1], "SAME"), tf.image.resize(x, (9, 5)),
        tf.image.resize(x, (12, 16), method="nearest"), tf.image.resize(x, tf.shape(x)[1:3] * 2),
        tf.compat.v1.image.resize(x, (11, 5), align_corners=True), tf.compat.v1.image.resize(x, (11, 5)),
        tf.compat.v1.image.resize_nearest_neighbor(x, (11, 5), align_corners=True),
        tf.compat.v1.image.resize_bilinear(x, (12, 16)), tf.image.flip_left_right(x),
        tf.compat.v1.image.resize_nearest_neighbor(x, (9, 5)), tf.nn.local_response_normalization(x, 1),
        tf.image.extract_patches(x, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID"),
        tf.image.extract_patches(x, [1, 3, 2, 1], [1, 2, 1, 1], [1, 1, 1, 1], "SAME"),
        tf.nn.batch_normalization(x, _row, _row**2, _row, _row, 1e-3),
        tf.image.rgb_to_grayscale(x[:, :, :, :3]), tf.image.flip_up_down(x),
        tf.image.flip_left_right(x[:, 0]),  # three axes are a picture to TensorFlow, the batch its rows
    ],
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("group", TF_FUNCTIONS)
def test_functions_of_tensorflow_in_tf_keras(group: str, suffix: str, tmp_path: Path) -> None:
    import tensorflow as tf

    keras = framework("tf_keras")
    model = branches(keras, (6, 8, 4), lambda x, layers: TF_FUNCTIONS[group](x, tf))
    _check(keras, model, tmp_path / f"m{suffix}")


def _write_nodes(
    path: Path, compute: Callable[[Any, Any], Sequence[Any]], batch: np.ndarray
) -> dict[str, np.ndarray]:
    """A file as Keras on TensorFlow 2.1 to 2.3 made it of `compute`, and what TensorFlow makes of `batch`.

    Such Keras cannot be installed any more, but a layer of its class still tells its config, and TensorFlow
    still runs its graphs.
    """
    import h5py
    import tensorflow as tf
    from tf_keras.src.engine.base_layer import TensorFlowOpLayer

    graph = tf.Graph()
    with graph.as_default():
        placeholder = tf.compat.v1.placeholder(tf.float32, (None, *batch.shape[1:]), name="entry")
        compute(placeholder, tf)
    shape = [None, *batch.shape[1:]]
    entry = {"batch_input_shape": shape, "dtype": "float32", "name": "entry"}
    layers: list[Any] = [{"class_name": "InputLayer", "config": entry, "name": "entry", "inbound_nodes": []}]
    names, constants, expected = {"entry": "entry"}, dict[str, Any](), dict[str, np.ndarray]()
    with tf.compat.v1.Session(graph=graph) as session:
        for op in graph.get_operations()[1:]:
            given = {
                place: constants[tensor.op.name][tensor.value_index]
                for place, tensor in enumerate(op.inputs)
                if tensor.op.name in constants
            }
            if len(given) == len(op.inputs):
                constants[op.name] = session.run(op.outputs)
                continue
            config = TensorFlowOpLayer(op.node_def.SerializeToString(), op.name, given).get_config()
            name = names[op.name] = f"tf_op_layer_{op.name}"
            tensors = [
                [names[tensor.op.name], 0, tensor.value_index, {}]
                for tensor in op.inputs
                if tensor.op.name in names
            ]
            layers.append(
                {
                    "class_name": "TensorFlowOpLayer",
                    "config": config,
                    "name": name,
                    "inbound_nodes": [tensors],
                }
            )
            for index, tensor in enumerate(op.outputs):
                if tensor.shape.rank and tensor.shape[0] is None:
                    value = np.asarray(session.run(tensor, {placeholder: batch}), np.float32)
                    expected[name if not index else f"{name}:{index}"] = (
                        value[:, None] if value.ndim == 1 else value
                    )
    last = layers[-1]["name"]
    model = {
        "name": "m",
        "layers": layers,
        "input_layers": [["entry", 0, 0]],
        "output_layers": [[last, 0, 0]],
    }
    with h5py.File(path, "w") as file:
        text = json.dumps({"class_name": "Functional", "config": model}, default=lambda value: value.tolist())
        file.attrs.update({"model_config": text, "keras_version": "2.4.0", "backend": "tensorflow"})
        file.create_group("model_weights").attrs["layer_names"] = np.array([], "S1")
    return expected


NODES: Mapping[str, Callable[[Any, Any], Sequence[Any]]] = {
    "arithmetic": lambda x, tf: [
        x + 1.0, 2.0 - x, x * _row, x / 3.0, tf.maximum(x, 0.1), tf.nn.relu6(x), tf.nn.leaky_relu(x, 0.1),
        tf.nn.softmax(x), tf.math.squared_difference(x, 1.0), tf.exp(x), tf.math.rsqrt(tf.abs(x) + 1.0),
        tf.cast(x > 0.0, tf.float32), tf.where(x > 0.0, x, x * 2.0), tf.clip_by_value(x, -0.5, 0.5), -x,
        x**2.0,
        tf.nn.bias_add(x, _row), tf.add_n([x, x * 2.0]), tf.sigmoid(x), tf.math.floormod(x, 0.7),
    ],
    "shapes": lambda x, tf: [
        tf.reshape(x, [tf.shape(x)[0], -1, 8]), tf.reshape(x, [-1, 48, 4]), tf.transpose(x, [0, 3, 1, 2]),
        tf.concat([x, x * 2.0], -1), tf.stack([x, x], 1), tf.split(x, 2, axis=1)[0], tf.expand_dims(x, 1),
        tf.unstack(x, axis=3)[0], x[:, 1:, ::2, 0], tf.squeeze(x[:, :1], [1]), tf.tile(x, [1, 2, 1, 3]),
        tf.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]]), tf.slice(x, [0, 1, 0, 0], [-1, 2, 8, 4]), x[..., 1],
        tf.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]], "REFLECT"), tf.gather(x, [2, 0], axis=3),
        tf.split(x, [1, 3], axis=-1)[0], tf.reverse(x, [1]),
    ],
    "pictures": lambda x, tf: [
        tf.reduce_mean(x, [1, 2]), tf.reduce_max(x, 3, keepdims=True), tf.argmax(x, 3),
        tf.compat.v1.image.resize_bilinear(x, (11, 5)), tf.nn.depth_to_space(x, 2),
        tf.nn.space_to_depth(x, 2), tf.compat.v1.image.resize_nearest_neighbor(x, (12, 16)),
        tf.nn.max_pool2d(x, 2, 2, "SAME"), tf.matmul(x, x, transpose_b=True),
        tf.compat.v1.image.resize_bilinear(x, (11, 5), align_corners=True),
        tf.nn.avg_pool2d(x, 3, 1, "VALID"), tf.nn.conv2d(x, _kernel, 1, "SAME"),
        tf.linalg.matmul(x, x, adjoint_a=True), tf.nn.lrn(x, 1),
        tf.nn.depthwise_conv2d(x, _kernel[..., :2], [1, 1, 1, 1], "SAME"), tf.one_hot(tf.argmax(x, 3), 4),
    ],
}  # fmt: skip


@pytest.mark.parametrize("group", NODES)
def test_nodes_of_tensorflow_1(group: str, tmp_path: Path) -> None:
    batch = np.random.default_rng(0).normal(size=(2, 6, 8, 4)).astype("float32")
    expected = _write_nodes(tmp_path / "m.h5", NODES[group], batch)
    network = fluoroscope.open_network(tmp_path / "m.h5")
    assert len(expected) >= len(network.layers) - 1 > 10
    assert_same(network, [batch], expected)


def _vision_transformer(keras: Any) -> Any:
    """Patches, a class token, positions, two blocks of attention: all by operations of Keras 3."""
    o, layers = keras.ops, keras.layers
    entry = keras.Input((24, 24, 3))
    x = o.image.extract_patches(layers.Rescaling(1 / 127.5, -1)(entry), 8)
    x = layers.Dense(12)(o.reshape(x, (-1, 9, 192)))
    token = layers.EinsumDense("abc,cd->abd", output_shape=(1, 12), bias_axes="d")(o.zeros_like(x[:, :1]))
    x = o.concatenate([token, x], axis=1) + np.random.default_rng(0).normal(size=(1, 10, 12)).astype(
        "float32"
    )
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(3, 4)(y, y)
        y = layers.Dense(24, activation="gelu")(layers.LayerNormalization()(x))
        x = x + layers.Dense(12)(y)
    return keras.Model(entry, layers.Dense(4, activation="softmax")(layers.LayerNormalization()(x)[:, 0]))


def _super_resolution(keras: Any) -> Any:
    """ESPCN: Shi et al. 2016, arXiv 1609.05158."""
    import tensorflow as tf

    layers = keras.layers
    entry = keras.Input((None, None, 1))
    x = layers.Conv2D(16, 5, padding="same", activation="tanh")(entry * 0.5 + 1)
    x = layers.Conv2D(9, 3, padding="same")(x)
    return keras.Model(entry, tf.clip_by_value(tf.nn.depth_to_space(x, 3), 0.0, 1.0))


def _channel_attention(keras: Any) -> Any:
    """A residual block with squeeze and excitation, written in TensorFlow's functions."""
    import tensorflow as tf

    layers = keras.layers
    entry = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, padding="same")(entry)
    gate = tf.reduce_mean(x, axis=[1, 2], keepdims=True)
    gate = tf.nn.sigmoid(layers.Conv2D(8, 1)(tf.nn.relu(layers.Conv2D(4, 1)(gate))))
    y = x * gate + x
    shape = tf.shape(y)
    y = tf.reshape(y, [shape[0], shape[1] * shape[2], 8])
    return keras.Model(entry, tf.math.l2_normalize(tf.reduce_max(y, axis=1), axis=1))


def _text_encoder(keras: Any) -> Any:
    """A transformer's encoder over words; positions are embedded too."""
    o, layers = keras.ops, keras.layers
    words = keras.Input((7,), dtype="int32")
    x = layers.Embedding(11, 8)(words)
    places = o.cumsum(o.ones_like(words), axis=1) - 1
    x = x + layers.Embedding(7, 8)(places)
    y = layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)
    x = layers.LayerNormalization()(x + y)
    return keras.Model(words, layers.Dense(3)(o.mean(x, axis=1)))


def _mobile_net(keras: Any) -> Any:
    return keras.applications.MobileNetV3Small(input_shape=(32, 32, 3), weights=None, classes=4)


@pytest.mark.parametrize(
    ("name", "make", "suffix"),
    [
        ("keras", _vision_transformer, ".keras"),
        ("keras", _vision_transformer, ".h5"),
        ("tf_keras", _super_resolution, ".h5"),
        ("tf_keras", _super_resolution, ".keras"),
        ("tf_keras", _channel_attention, ".h5"),
        ("tf_keras", _mobile_net, ".h5"),
        ("tf_keras", _mobile_net, ".keras"),
        ("keras", _text_encoder, ".keras"),
    ],
)
def test_networks_made_of_them(name: str, make: Callable[[Any], Any], suffix: str, tmp_path: Path) -> None:
    keras = framework(name)
    model = randomise(make(keras))
    batches = pictures(model)
    if make is _text_encoder:
        batches = [np.random.default_rng(0).integers(0, 11, (2, 7)).astype("int32")]
    network = fluoroscope.open_network(save(model, tmp_path / f"m{suffix}"))
    assert_same(network, batches, _reference(keras, model, batches), 1e-4)


def _saved(keras: Any, path: Path, make: Callable[[Any, Any], Any], shape: Any = (6, 8, 4)) -> Network:
    entry = keras.Input(shape)
    return fluoroscope.open_network(save(keras.Model(entry, make(entry, keras)), path))


MIXING: Mapping[str, tuple[Callable[[Any, Any], Any], str]] = {
    "sum": (lambda x, k: k.ops.sum(x, axis=0, keepdims=True), "has axis=[0]"),
    "all": (lambda x, k: k.ops.mean(x, keepdims=True), "over all axes"),
    "fold": (lambda x, k: k.ops.reshape(x, (-1, 8, 4)), "brings the shape ('n', 6, 8, 4) to [-1, 8, 4]"),
    "transpose": (lambda x, k: k.ops.transpose(x), "takes the batch to another axis"),
    "join": (lambda x, k: k.ops.concatenate([x, x], 0), "joins along the batch"),
    "pick": (lambda x, k: x[0], "takes pictures out of the batch"),
    "einsum": (lambda x, k: k.ops.einsum("bhwc,dhwc->bd", x, x), "sums bhwc,dhwc->bd"),
    "flip": (lambda x, k: k.ops.flip(x, 0), "has axis=[0]"),
    "tile": (lambda x, k: k.ops.tile(x, (2, 1, 1, 1)), "repeats the pictures"),
}


@pytest.mark.parametrize("case", MIXING)
def test_what_mixes_pictures_is_refused(case: str, tmp_path: Path) -> None:
    make, reason = MIXING[case]
    network = _saved(framework("keras"), tmp_path / "m.keras", make)
    problem = str(network.layers[-1].problem)
    assert reason in problem
    assert "mixes the pictures of a batch" in problem
    assert network.layers[0].problem is None


def test_functions_without_a_translation_are_named(tmp_path: Path) -> None:
    keras = framework("keras")
    network = _saved(keras, tmp_path / "m.keras", lambda x, k: k.ops.sort(x + 1))
    assert [row.kind for row in network.layers] == ["InputLayer", "ops.Add", "ops.Sort"]
    assert "'sort' (ops.Sort) has no translation" in str(network.layers[-1].problem)
    import tensorflow as tf

    keras = framework("tf_keras")
    network = _saved(keras, tmp_path / "m.h5", lambda x, k: tf.einsum("bij,bjk->bik", x, x), (4, 4))
    assert "writes only the equation" in str(network.layers[-1].problem)


def test_sizes_are_no_rows_and_numbers_a_picture_are(tmp_path: Path) -> None:
    import tensorflow as tf

    def make(x: Any, _: Any) -> list[Any]:
        shape = tf.shape(x)
        return [tf.reshape(x, [shape[0], shape[1] * 8, 4]), tf.reduce_mean(x, axis=[1, 2, 3])]

    network = _saved(framework("tf_keras"), tmp_path / "m.h5", make)
    rows = {row.kind: row for row in network.layers}
    assert {kind: row.shape for kind, row in rows.items()} == {
        "InputLayer": (6, 8, 4),
        "tf.math.reduce_mean": (1,),
        "tf.reshape": (48, 4),
    }
    batch = np.random.default_rng(0).uniform(size=(2, 6, 8, 4)).astype("float32")
    name = rows["tf.math.reduce_mean"].name
    np.testing.assert_allclose(network.run(batch, [name])[name][:, 0], batch.mean((1, 2, 3)), atol=1e-6)
    acts = fluoroscope.capture(network, batch[0])
    acts.save(tmp_path / "all.pdf")


def test_pictures_of_free_size_have_sizes_to_compute_with(tmp_path: Path) -> None:
    import tensorflow as tf

    def make(x: Any, _: Any) -> list[Any]:
        shape = tf.shape(x)
        return [
            tf.reshape(x, [shape[0], shape[1] * shape[2], 4]),
            tf.image.resize(x, (shape[1] * 2, shape[2] * 2)),
        ]

    keras = framework("tf_keras")
    network = _saved(keras, tmp_path / "m.h5", make, (None, None, 4))
    rows = {row.kind: row for row in network.layers}
    assert rows["tf.reshape"].shape == (None, 4)
    assert "network.at_size" in str(rows["tf.image.resize"].problem)
    batch = np.random.default_rng(0).normal(size=(2, 5, 6, 4)).astype("float32")
    sized = network.at_size(5, 6)
    moved, larger = (rows[kind].name for kind in ("tf.reshape", "tf.image.resize"))
    values = sized.run(batch, [moved, larger])
    assert values[larger].shape == (2, 10, 12, 4)
    np.testing.assert_array_equal(values[moved], batch.reshape(2, 30, 4))
