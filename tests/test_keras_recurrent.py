"""Recurrent layers, wrappers and masks, against Keras 2 and 3: every option, every kind of file."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fluoroscope
from keras_conformance import FILES, assert_same, branches, framework, pictures, randomise, reference, save

Branches = Callable[[Any, Any], Iterator[Any]]


def check(
    framework_name: str, model: Any, path: Path, batches: Sequence[np.ndarray] | None = None
) -> fluoroscope.Network:
    """Every layer of a model as the framework computes it; returns the network opened."""
    keras = framework(framework_name)
    batches = pictures(model) if batches is None else batches
    expected = reference(keras, model, batches)
    network = fluoroscope.open_network(save(model, path))
    assert_same(network, batches, expected)
    return network


def sequences(layers: Any, entry: Any) -> Iterator[Any]:
    """What comes out, from which end, with which activations: as one operator, and as a loop."""
    for kind, whole, backwards in product(
        (layers.SimpleRNN, layers.GRU, layers.LSTM), (False, True), (False, True)
    ):
        yield kind(4, return_sequences=whole, go_backwards=backwards)(entry)
    for kind in (layers.SimpleRNN, layers.GRU, layers.LSTM):
        yield kind(4, activation="gelu", return_sequences=True)(entry)
        yield kind(4, activation="softmax", go_backwards=True, dropout=0.5, recurrent_dropout=0.5)(entry)
        yield kind(3, activation="relu", use_bias=False, return_sequences=True, unroll=True)(entry)
    for kind in (layers.GRU, layers.LSTM):
        yield kind(4, recurrent_activation="hard_sigmoid")(entry)
        yield kind(4, recurrent_activation="relu", activation="linear", return_sequences=True)(entry)
    for activation in ("tanh", "elu"):
        yield layers.GRU(4, reset_after=False, activation=activation, return_sequences=True)(entry)
        yield layers.GRU(4, reset_after=False, use_bias=False, activation=activation)(entry)


def cells(layers: Any, entry: Any) -> Iterator[Any]:
    """RNN of one cell, of several, of several with the first skipping nothing."""
    yield layers.RNN(layers.LSTMCell(3))(entry)
    yield layers.RNN(layers.GRUCell(3, reset_after=False), return_sequences=True)(entry)
    stack = [layers.LSTMCell(3, activation="relu"), layers.GRUCell(2), layers.SimpleRNNCell(4)]
    yield layers.RNN(stack, return_sequences=True, go_backwards=True)(entry)
    yield layers.RNN(layers.StackedRNNCells([layers.SimpleRNNCell(3), layers.LSTMCell(2)]))(entry)


def directions(layers: Any, entry: Any) -> Iterator[Any]:
    """Bidirectional: every way to merge, sequences or not, a layer of its own for the way back."""
    for mode, whole in product(("concat", "sum", "mul", "ave"), (False, True)):
        yield layers.Bidirectional(layers.GRU(3, return_sequences=whole), merge_mode=mode)(entry)
    back = layers.GRU(2, return_sequences=True, go_backwards=True)
    yield layers.Bidirectional(layers.LSTM(3, return_sequences=True), backward_layer=back)(entry)
    yield layers.Bidirectional(layers.RNN(layers.LSTMCell(2), return_sequences=True))(entry)


def steps(layers: Any, entry: Any) -> Iterator[Any]:
    """TimeDistributed: layers with and without an activation, in each other, around recurrent ones."""
    yield layers.TimeDistributed(layers.Dense(4, activation="relu"))(entry)
    yield layers.TimeDistributed(layers.LayerNormalization())(entry)
    folded = layers.TimeDistributed(layers.Reshape((5, 1)))(entry)
    yield layers.TimeDistributed(layers.Conv1D(3, 2, activation="tanh"))(folded)
    yield layers.TimeDistributed(layers.TimeDistributed(layers.Dense(2)))(folded)
    yield layers.TimeDistributed(layers.LSTM(3))(folded)
    yield layers.TimeDistributed(layers.Bidirectional(layers.GRU(2, return_sequences=True)))(folded)


@pytest.mark.parametrize(("framework_name", "suffix"), FILES)
@pytest.mark.parametrize("make", [sequences, cells, directions, steps])
@pytest.mark.parametrize("length", [6, None])
def test_every_way_over_a_sequence(
    make: Branches, length: int | None, framework_name: str, suffix: str, tmp_path: Path
) -> None:
    keras = framework(framework_name)

    def made(entry: Any, layers: Any) -> Iterator[Any]:
        yield from make(layers, entry)

    if length is None and (make is sequences or suffix == ".h5"):
        pytest.skip("unrolled for a fixed length; one file is enough for another")
    model = branches(keras, (length, 5), made)
    check(framework_name, model, tmp_path / f"m{suffix}")


def masked(layers: Any, value: Any) -> Iterator[Any]:
    """Consumers of a mask, and layers that pass it on, merge it, or end it."""
    for kind in (layers.SimpleRNN, layers.GRU, layers.LSTM):
        yield kind(3)(value)
        yield layers.GRU(2)(kind(3, return_sequences=True, go_backwards=True)(value))
        yield kind(3, return_sequences=True, activation="softsign")(value)
        yield kind(3, return_sequences=True, zero_output_for_mask=True)(value)
        yield kind(3, go_backwards=True, zero_output_for_mask=True)(value)
    yield layers.Bidirectional(layers.LSTM(3, return_sequences=True))(value)
    yield layers.Bidirectional(layers.GRU(3), merge_mode="sum")(value)
    yield layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], return_sequences=True)(value)
    passed = layers.Dropout(0.5)(layers.Activation("tanh")(layers.Dense(4)(value)))
    yield layers.GRU(2)(layers.LayerNormalization()(passed))
    yield layers.GRU(2)(layers.TimeDistributed(layers.Dense(3))(value))
    yield layers.GRU(2)(layers.Conv1D(3, 1)(value))
    yield layers.GRU(2)(layers.Add()([value, layers.Dense(5)(value)]))
    yield layers.GRU(2)(layers.Concatenate()([value, layers.Activation("tanh")(value)]))
    yield layers.GlobalAveragePooling1D()(value)
    yield layers.Flatten()(value)


def merged(layers: Any, one: Any, other: Any) -> Iterator[Any]:
    """Values with different masks, and with none, taken together."""
    plain = layers.Conv1D(5, 1)(one)
    for pair in ([one, other], [one, plain]):
        yield layers.GRU(2)(layers.Add()(pair))
        for kind in (layers.Maximum, layers.Minimum, layers.Multiply):
            yield layers.GRU(2)(kind()(pair))
        yield layers.GRU(2)(layers.Concatenate()(pair))
    yield layers.GRU(2)(layers.Concatenate(axis=1)([one, other]))


@pytest.mark.filterwarnings("ignore:.*does not support masking")
@pytest.mark.parametrize(("framework_name", "suffix"), FILES)
def test_masks(framework_name: str, suffix: str, tmp_path: Path) -> None:
    """From Embedding and Masking; a word 0 anywhere, a line of nothing else."""
    keras = framework(framework_name)
    layers = keras.layers
    words = keras.Input((7,), dtype="int32", name="words")
    value = layers.Embedding(9, 5, mask_zero=True)(words)
    other = keras.Input((7, 5), name="other")
    second = layers.Masking(mask_value=0.5)(other)
    outputs = [*masked(layers, value), *merged(layers, value, second), layers.LSTM(3)(second)]
    model = randomise(keras.Model([words, other], outputs))
    generator = np.random.default_rng(3)
    ids = generator.integers(0, 3, (5, 7)).astype(np.int32)
    ids[3, :4] = 0
    numbers = generator.normal(size=(5, 7, 5)).astype(np.float32)
    numbers[1, 2:5] = numbers[2, -3:] = 0.5
    network = check(framework_name, model, tmp_path / f"m{suffix}", [ids, numbers])
    assert [spec.dtype for spec in network.inputs] == ["int32", "float32"]


@pytest.mark.parametrize(("framework_name", "suffix"), FILES)
def test_a_line_of_nothing_but_masked_steps(framework_name: str, suffix: str, tmp_path: Path) -> None:
    keras = framework(framework_name)
    layers = keras.layers
    words = keras.Input((None,), dtype="int32")
    value = layers.Embedding(9, 5, mask_zero=True)(words)
    outputs = [
        kind(3, return_sequences=whole)(value)
        for kind, whole in product((layers.GRU, layers.LSTM), (False, True))
    ]
    model = randomise(keras.Model(words, outputs))
    check(framework_name, model, tmp_path / f"m{suffix}", [np.array([[0, 0, 0, 0], [1, 0, 2, 0]], np.int32)])


@pytest.mark.parametrize(("framework_name", "suffix"), FILES)
def test_states(framework_name: str, suffix: str, tmp_path: Path) -> None:
    """Given and returned: an encoder and a decoder."""
    keras = framework(framework_name)
    layers = keras.layers
    source, target = keras.Input((6, 5)), keras.Input((4, 3))
    code, h, c = layers.LSTM(4, return_state=True, name="encoder")(source)
    decoded, *_ = layers.LSTM(4, return_sequences=True, return_state=True, name="decoder")(
        target, initial_state=[h, c]
    )
    inner = layers.GRU(4, name="gru")(target, initial_state=h)
    loops = layers.LSTM(4, activation="gelu", name="loop")(target, initial_state=[h, c])
    both = layers.Bidirectional(layers.GRU(4, return_state=True, return_sequences=True), name="both")
    y, forward, backward = both(target, initial_state=[h, c])
    rows = [code, h, c, decoded, inner, loops, y, forward, backward]
    model = randomise(keras.Model([source, target], rows))
    batches = pictures(model)
    expected = dict(enumerate(np.asarray(value) for value in model(batches, training=False)))
    network = fluoroscope.open_network(save(model, tmp_path / f"m{suffix}"))
    names = ["encoder", "encoder:1", "encoder:2", "decoder", "gru", "loop", "both", "both:1", "both:2"]
    assert list(network.outputs) == names
    feeds = {spec.name: batch for spec, batch in zip(network.inputs, batches, strict=True)}
    results = network.run(feeds, names)
    for place, name in enumerate(names):
        np.testing.assert_allclose(results[name], expected[place], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("framework_name", "suffix"), FILES)
def test_both_directions_apart(framework_name: str, suffix: str, tmp_path: Path) -> None:
    keras = framework(framework_name)
    entry = keras.Input((6, 5))
    layer = keras.layers.Bidirectional(
        keras.layers.LSTM(3, return_sequences=True), merge_mode=None, name="it"
    )
    model = randomise(keras.Model(entry, layer(entry)))
    batches = pictures(model)
    network = fluoroscope.open_network(save(model, tmp_path / f"m{suffix}"))
    results = network.run(batches[0], ["it", "it:1"])
    for name, value in zip(results, model(batches[0], training=False), strict=True):
        np.testing.assert_allclose(results[name], value, rtol=1e-5, atol=1e-6)


def conv_lstms(rank: int) -> Callable[[Any, Any], Iterator[Any]]:
    def make(entry: Any, layers: Any) -> Iterator[Any]:
        kind = getattr(layers, f"ConvLSTM{rank}D")
        yield kind(3, 3, padding="same", return_sequences=True)(entry)
        yield kind(2, 2, strides=2, go_backwards=True, activation="relu")(entry)
        yield kind(2, 2, use_bias=False, recurrent_activation="hard_sigmoid", return_sequences=True)(entry)
        if rank == 2:
            yield kind(2, 3, dilation_rate=2, padding="same")(entry)
            yield layers.Bidirectional(kind(2, 2, return_sequences=True), merge_mode="sum")(entry)
            after, h, c = kind(2, 3, padding="same", return_state=True, return_sequences=True)(entry)
            yield after
            yield layers.Conv2D(2, 3)(layers.Add()([h, c]))

    return make


@pytest.mark.parametrize(("framework_name", "suffix"), FILES)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolving_recurrently(rank: int, framework_name: str, suffix: str, tmp_path: Path) -> None:
    keras = framework(framework_name)
    if rank != 2 and suffix == ".h5":
        pytest.skip("one file is enough")
    model = branches(keras, (4, *(7, 6, 5)[:rank], 2), conv_lstms(rank))
    batches = pictures(model)
    names = [layer.name for layer in model.layers if not isinstance(layer.output, (list, tuple))]
    watched = keras.Model(model.inputs, [model.get_layer(name).output for name in names[1:]])
    values = watched(batches, training=False)
    expected = {name: np.asarray(value) for name, value in zip(names[1:], values, strict=True)}
    assert_same(fluoroscope.open_network(save(model, tmp_path / f"m{suffix}")), batches, expected)


def test_channels_first_convolving(tmp_path: Path) -> None:
    """Only a GPU of TensorFlow computes that; the twin with channels last is the oracle."""
    keras = framework("keras")

    def model(data_format: str, shape: tuple[int, ...]) -> Any:
        layers = keras.layers
        return keras.Sequential(
            [keras.Input(shape), layers.ConvLSTM2D(3, 3, data_format=data_format, name="it")]
        )

    last = randomise(model("channels_last", (4, 6, 7, 2)))
    batch = pictures(last)[0]
    first = model("channels_first", (4, 2, 6, 7))
    first.set_weights(last.get_weights())
    network = fluoroscope.open_network(save(first, tmp_path / "m.keras"))
    # A caller has channels last, whatever the file has.
    (spec,) = network.inputs
    assert spec.shape == (4, 6, 7, 2)
    np.testing.assert_allclose(
        network.run(batch, ["it"])["it"], np.asarray(last(batch)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(("framework_name", "suffix"), FILES)
def test_a_model_for_each_picture_of_a_film(framework_name: str, suffix: str, tmp_path: Path) -> None:
    """Each of its layers has a row, over all pictures, as the model computes it of each."""
    keras = framework(framework_name)
    layers = keras.layers
    picture, film = keras.Input((8, 9, 3)), keras.Input((4, 8, 9, 3))
    value = layers.Conv2D(5, 3, activation="relu", name="conv")(picture)
    value = layers.BatchNormalization(name="bn")(value)
    value = layers.Add(name="add")([value, layers.Dropout(0.5, name="drop")(value)])
    cnn = keras.Model(picture, layers.GlobalAveragePooling2D(name="mean")(value), name="cnn")
    frames = layers.TimeDistributed(cnn, name="frames")(film)
    model = randomise(keras.Model(film, layers.LSTM(4, name="lstm")(frames)))
    network = check(framework_name, model, tmp_path / f"m{suffix}")
    (batch,) = pictures(model)
    inner = reference(keras, cnn, [batch.reshape(-1, 8, 9, 3)])
    results = network.run(batch, [f"frames/cnn/{name}" for name in inner])
    for name, expected in inner.items():
        found = results[f"frames/cnn/{name}"]
        np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-5, atol=1e-5)
