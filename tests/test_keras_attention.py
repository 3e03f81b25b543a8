"""Attention in all its forms, and EinsumDense, against the Keras that wrote the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fluoroscope
from keras_conformance import FILES, TOLERANCE, assert_same, framework, pictures, save

_QUERIES, _KEYS = (5, 6), (7, 8)

MULTI_HEAD: Mapping[str, Callable[[Any], tuple[Any, Mapping[str, Any]]]] = {
    "plain": lambda layers: (layers.MultiHeadAttention(2, 3, name="attend"), {}),
    "sizes": lambda layers: (layers.MultiHeadAttention(2, 3, value_dim=4, output_shape=5, name="attend"), {}),
    "shape": lambda layers: (layers.MultiHeadAttention(2, 3, output_shape=(2, 3), name="attend"), {}),
    "no bias": lambda layers: (
        layers.MultiHeadAttention(3, 2, use_bias=False, dropout=0.3, name="attend"),
        {},
    ),
    "causal": lambda layers: (layers.MultiHeadAttention(2, 3, name="attend"), {"use_causal_mask": True}),
    "scores": lambda layers: (
        layers.MultiHeadAttention(2, 3, name="attend"),
        {"return_attention_scores": True},
    ),
}


def _randomised(model: Any) -> Any:
    generator = np.random.default_rng(3)
    for layer in model.layers:
        arrays = [generator.normal(size=weight.shape) * 0.4 for weight in layer.get_weights()]
        if arrays and "embedding" not in layer.name:
            layer.set_weights(arrays)
    return model


def _check(
    keras: Any, model: Any, path: Path, batches: Sequence[Any] | None = None, tolerance: float = TOLERANCE
) -> Any:
    _randomised(model)
    batches = pictures(model) if batches is None else batches
    network = fluoroscope.open_network(save(model, path))
    assert_same(network, batches, _layers(keras, model, batches), tolerance)
    return network


def _layers(keras: Any, model: Any, batches: Sequence[Any]) -> dict[str, Any]:
    """What each layer gives, several outputs under our names of rows."""
    layers = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    tensors = {
        layer.name if not index else f"{layer.name}:{index}": tensor
        for layer in layers
        for index, tensor in enumerate(
            layer.output if isinstance(layer.output, (list, tuple)) else [layer.output]
        )
    }
    values = keras.Model(model.inputs, list(tensors.values()))(list(batches), training=False)
    values = values if isinstance(values, (list, tuple)) else [values]
    arrays = dict(zip(tensors, map(np.asarray, values), strict=True))
    # Attention weights (heads, queries, keys) are shown with a channel a head.
    return {
        name: np.moveaxis(array, 1, -1) if name == "attend:1" and array.ndim == 4 else array
        for name, array in arrays.items()
    }


@pytest.mark.parametrize(("name", "suffix"), FILES)
@pytest.mark.parametrize("case", MULTI_HEAD)
def test_several_heads(name: str, suffix: str, case: str, tmp_path: Path) -> None:
    keras = framework(name)
    query, value = keras.Input(_QUERIES, name="query"), keras.Input(_KEYS, name="value")
    layer, options = MULTI_HEAD[case](keras.layers)
    made = layer(query, value, **options)
    network = _check(keras, keras.Model([query, value], made), tmp_path / f"m{suffix}")
    views = [row for row in network.layers if row.name == "attend:attention"]
    assert [(row.kind, row.shape) for row in views] == [
        ("Attention", (5, 7, layer.get_config()["num_heads"]))
    ]


@pytest.mark.parametrize(("name", "suffix"), FILES)
def test_attention_weights_can_be_seen(name: str, suffix: str, tmp_path: Path) -> None:
    keras = framework(name)
    query, value = keras.Input(_QUERIES), keras.Input(_KEYS)
    layer = keras.layers.MultiHeadAttention(2, 3, name="attend")
    model = _randomised(keras.Model([query, value], layer(query, value)))
    batches = pictures(model)
    network = fluoroscope.open_network(save(model, tmp_path / f"m{suffix}"))
    feeds = {spec.name: batch for spec, batch in zip(network.inputs, batches, strict=True)}
    weights = network.run(feeds, ["attend:attention"])["attend:attention"]
    _, expected = layer(*batches, return_attention_scores=True)
    np.testing.assert_allclose(weights, np.moveaxis(np.asarray(expected), 1, -1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(weights.sum(2), 1, rtol=1e-5)


@pytest.mark.parametrize(("name", "suffix"), [("tf_keras", ".h5"), ("keras", ".keras")])
@pytest.mark.parametrize("axes", [(1,), (2,), (1, 2)])
def test_attention_along_axes_of_a_picture(
    name: str, suffix: str, axes: tuple[int, ...], tmp_path: Path
) -> None:
    keras = framework(name)
    entry = keras.Input((3, 4, 6))
    layer = keras.layers.MultiHeadAttention(2, 3, attention_axes=axes, name="attend")
    _check(keras, keras.Model(entry, layer(entry, entry)), tmp_path / f"m{suffix}")


@pytest.mark.parametrize(("name", "suffix"), FILES)
@pytest.mark.parametrize(
    "options", [{}, {"use_causal_mask": True}, {"return_attention_scores": True}], ids=str
)
def test_attention_without_heads(name: str, suffix: str, options: Mapping[str, Any], tmp_path: Path) -> None:
    keras = framework(name)
    layers = keras.layers
    query, value = keras.Input((5, 6)), keras.Input((7, 6))
    kinds = {
        "dot": layers.Attention(),
        "scaled": layers.Attention(use_scale=True, dropout=0.2),
        "concat": layers.Attention(use_scale=True, score_mode="concat"),
        "sum": layers.AdditiveAttention(),
        "plain_sum": layers.AdditiveAttention(use_scale=False),
    }
    made = [layer([query, value], **options) for layer in kinds.values()]
    made.append(layers.Attention()([query, value, layers.Dense(6)(value)], **options))
    flat = [
        tensor for output in made for tensor in (output if isinstance(output, (list, tuple)) else [output])
    ]
    _check(keras, keras.Model([query, value], flat), tmp_path / f"m{suffix}")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_what_only_keras_3_has(suffix: str, tmp_path: Path) -> None:
    keras = framework("keras")
    layers = keras.layers
    query, value = keras.Input((5, 6)), keras.Input((7, 6))
    made = [
        layers.GroupQueryAttention(3, 4, 2)(query, value),
        layers.GroupQueryAttention(3, 4, 4, use_gate=True, use_bias=False)(query, value),
        layers.GroupQueryAttention(3, 4, 1, sliding_window=2)(query, query, use_causal_mask=True),
        layers.MultiHeadAttention(2, 3, use_gate=True)(query, value),
        layers.MultiHeadAttention(2, 3, sliding_window=2)(query, value),
    ]
    _check(keras, keras.Model([query, value], made), tmp_path / f"m{suffix}")


@pytest.mark.parametrize(("name", "suffix"), FILES)
def test_masks_say_where_not_to_look(name: str, suffix: str, tmp_path: Path) -> None:
    keras = framework(name)
    layers = keras.layers
    words, other = keras.Input((6,), dtype="int32"), keras.Input((5,), dtype="int32")
    mask = keras.Input((6, 5))

    def left() -> Any:  # a new one each time: Keras 3's attention takes the mask off what it is called on
        return layers.Embedding(9, 8, mask_zero=True)(words)

    def right() -> Any:
        return layers.Embedding(9, 8, mask_zero=True)(other)

    plain = layers.Embedding(9, 8)(other)
    made = [
        layers.MultiHeadAttention(2, 3)(plain, right()),
        layers.MultiHeadAttention(2, 3)(plain, plain, right()),
        layers.MultiHeadAttention(2, 3)(left(), plain, attention_mask=mask),
        layers.Attention()([left(), right()]),
        layers.AdditiveAttention()([plain, right()]),
    ]
    model = keras.Model([words, other, mask], made)
    batches = [
        np.array([[3, 4, 0, 1, 2, 0], [1, 2, 3, 4, 5, 6]], "int32"),
        np.array([[1, 2, 3, 0, 0], [4, 0, 5, 0, 1]], "int32"),
        (np.random.default_rng(5).uniform(size=(2, 6, 5)) > 0.3).astype("float32"),
    ]
    batches[2][:, :, 0] = 1
    network = fluoroscope.open_network(save(_randomised(model), tmp_path / f"m{suffix}"))
    expected = _layers(keras, model, batches)
    # Where all that a query may look at is masked, versions differ; it is masked itself.
    network_ = network.run(
        {spec.name: batch for spec, batch in zip(network.inputs, batches, strict=True)}, list(expected)
    )
    for layer, value in expected.items():
        kept = value.shape[1] == 5 or "attention" not in layer
        chosen = slice(None) if kept else batches[0] != 0
        np.testing.assert_allclose(
            network_[layer][chosen], value[chosen], rtol=2e-5, atol=2e-6, err_msg=layer
        )


@pytest.mark.parametrize(("name", "suffix"), FILES)
@pytest.mark.parametrize(
    ("equation", "shape", "bias", "entry"),
    [
        ("ab,bc->ac", 7, "c", (6,)),
        ("abc,cd->abd", (None, 7), "d", (5, 6)),
        ("...x,xy->...y", 7, "y", (4, 5, 6)),
        ("abc,cde->abde", (None, 2, 3), "de", (5, 6)),
        ("abc,cde->abde", (None, 2, 3), "d", (5, 6)),
        ("abcd,cde->abe", (None, 4), None, (5, 2, 6)),
        ("abc,bd->adc", (3, 6), "d", (5, 6)),
        ("ab...,bc->ac...", 3, "c", (5, 2, 6)),
        ("abc,bcd->ad", 4, "d", (5, 6)),
    ],
)
def test_einsum_dense(
    name: str, suffix: str, equation: str, shape: Any, bias: str | None, entry: Any, tmp_path: Path
) -> None:
    keras = framework(name)
    given = keras.Input(entry)
    layer = keras.layers.EinsumDense(equation, output_shape=shape, bias_axes=bias, activation="tanh")
    _check(keras, keras.Model(given, layer(given)), tmp_path / f"m{suffix}")
