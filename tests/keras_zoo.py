"""Models with the turns that saved files take: nested, shared, frozen, many inputs. Not a test itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Make = Callable[[ModuleType], Any]

SHAPE = (8, 8, 3)


def layer_kinds(keras: ModuleType) -> Any:
    """Every kind of layer that has variables, and some that have none."""
    k = keras.layers
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            k.Normalization(),
            k.Conv2D(4, 3, use_bias=False, padding="same"),
            k.BatchNormalization(scale=False),
            k.SeparableConv2D(4, 3, depth_multiplier=2, padding="same"),
            k.BatchNormalization(center=False),
            k.DepthwiseConv2D(3, depth_multiplier=2, padding="same"),
            k.PReLU(shared_axes=[1, 2]),
            k.Conv2DTranspose(5, 2, strides=2),
            k.LayerNormalization(),
            k.Dropout(0.5),
            k.MaxPooling2D(),
            k.Reshape((64, 5)),
            k.Conv1D(4, 3),
            k.SeparableConv1D(4, 3),
            k.DepthwiseConv1D(3),
            k.Conv1DTranspose(3, 2),
            k.BatchNormalization(),
            k.Flatten(),
            k.Dense(3, activation="relu"),
            k.Dense(2, use_bias=False, activation="softmax"),
        ],
        name="kinds",
    )


def augmenting(keras: ModuleType) -> Any:
    """Layers with a random generator's state beside their weights."""
    k = keras.layers
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            k.RandomFlip(),
            k.RandomRotation(0.1),
            k.RandomZoom(0.1),
            k.RandomContrast(0.1),
            k.GaussianNoise(0.1),
            k.SpatialDropout2D(0.1),
            k.Conv2D(2, 3),
        ],
        name="augmenting",
    )


def _block(keras: ModuleType, name: str) -> Any:
    k = keras.layers
    entry = keras.Input(SHAPE)
    value = k.Conv2D(3, 3, padding="same", name="conv")(entry)
    value = k.BatchNormalization(name="norm")(value)
    value = k.Conv2D(3, 3, padding="same", name="last")(value)
    return keras.Model(entry, k.BatchNormalization(name="norm_last")(value), name=name)


def nested(keras: ModuleType) -> Any:
    """A model in a model in a model, layers before and behind."""
    k = keras.layers
    middle_entry = keras.Input(SHAPE)
    middle = keras.Model(
        middle_entry,
        k.BatchNormalization(name="outer_norm")(_block(keras, "block")(middle_entry)),
        name="middle",
    )
    entry = keras.Input(SHAPE)
    value = k.Conv2D(3, 1, name="first")(entry)
    return keras.Model(entry, k.Conv2D(2, 1, name="head")(middle(value)), name="nested")


def frozen_model(keras: ModuleType) -> Any:
    model = nested(keras)
    model.get_layer("middle").trainable = False
    return model


def frozen_layers(keras: ModuleType) -> Any:
    model = nested(keras)
    block = model.get_layer("middle").get_layer("block")
    block.get_layer("conv").trainable = False
    block.get_layer("norm_last").trainable = False
    return model


def frozen_inner_model(keras: ModuleType) -> Any:
    model = nested(keras)
    model.get_layer("middle").get_layer("block").trainable = False
    return model


def thawed_layer(keras: ModuleType) -> Any:
    """A frozen model of which one layer is not."""
    model = frozen_inner_model(keras)
    model.get_layer("middle").get_layer("block").get_layer("last").trainable = True
    return model


def sequentials(keras: ModuleType) -> Any:
    """Sequentials in a Sequential."""
    k = keras.layers
    first = keras.Sequential([keras.Input(SHAPE), k.Conv2D(4, 3), k.BatchNormalization()], name="first")
    second = keras.Sequential([keras.Input((6, 6, 4)), k.Conv2D(2, 3), k.ReLU()], name="second")
    return keras.Sequential([keras.Input(SHAPE), first, second, k.Flatten(), k.Dense(2)], name="sequentials")


def shared(keras: ModuleType) -> Any:
    """A shared layer and a shared model, two inputs, two outputs."""
    k = keras.layers
    left, right = keras.Input(SHAPE, name="left"), keras.Input(SHAPE, name="right")
    conv, block = k.Conv2D(3, 3, padding="same", name="shared_conv"), _block(keras, "shared_block")
    one, two = block(conv(left)), block(conv(right))
    total = k.Add(name="sum")([one, two])
    last = block(total)
    joined = k.Concatenate(name="joined")([last, two, total])
    return keras.Model([right, left], [k.Conv2D(2, 1, name="head")(joined), one], name="shared")


def many_outputs(keras: ModuleType) -> Any:
    """A nested model of two inputs and three outputs, called on its own outputs."""
    k = keras.layers
    a, b = keras.Input(SHAPE, name="a"), keras.Input(SHAPE, name="b")
    inner = keras.Model(
        [a, b],
        [k.Add(name="add")([a, b]), k.Subtract(name="sub")([a, b]), k.Conv2D(3, 1, name="conv")(a)],
        name="inner",
    )
    c, d = keras.Input(SHAPE, name="c"), keras.Input(SHAPE, name="d")
    first = inner([c, d])
    second = inner([first[1], first[0]])
    end = k.Concatenate(name="end")([first[2], second[1]])
    return keras.Model([d, c], [second[2], first[0], end], name="many_outputs")


def twins(keras: ModuleType) -> Any:
    """Two models alike in everything but their weights."""

    def tower(name: str) -> Any:
        k = keras.layers
        layers = [keras.Input(SHAPE, name="entry"), k.Conv2D(3, 1, name="one"), k.Conv2D(3, 1, name="two")]
        return keras.Sequential(layers, name=name)

    entry = keras.Input(SHAPE)
    return keras.Model(
        entry, keras.layers.Subtract()([tower("left")(entry), tower("right")(entry)]), name="twins"
    )


def lent(keras: ModuleType) -> Any:
    """One layer in two models, with others of its kind behind it."""
    k = keras.layers
    entry = keras.Input(SHAPE)
    conv = k.Conv2D(3, 3, padding="same", name="lent_conv")
    other = keras.Sequential(
        [keras.Input(SHAPE), conv, k.ReLU(), k.Conv2D(3, 3, padding="same", name="own_conv")], name="borrower"
    )
    return keras.Model(entry, k.Add(name="sum")([conv(entry), other(entry)]), name="lent")


ALL: Mapping[str, Make] = {
    make.__name__: make
    for make in (
        layer_kinds,
        augmenting,
        nested,
        frozen_model,
        frozen_layers,
        frozen_inner_model,
        thawed_layer,
        sequentials,
        shared,
        many_outputs,
        twins,
        lent,
    )
}


def built(keras: ModuleType, make: Make, seed: int = 0) -> Any:
    """The model with random numbers in every variable, so that no two are mistaken for each other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make(keras)
        generator = np.random.default_rng(seed)
        model.set_weights(
            [
                array
                if array.dtype.kind != "f"
                else generator.uniform(0.1, 0.9, array.shape).astype(array.dtype)
                for array in model.get_weights()
            ]
        )
    return model


def weights(model: Any, prefix: str = "") -> dict[str, list[Array]]:
    """Every layer's arrays by its path, as the live model has them; generators' states left out."""
    found: dict[str, list[Array]] = {}
    for layer in model.layers:
        if hasattr(layer, "layers"):
            found |= weights(layer, f"{prefix}{layer.name}/")
        else:
            arrays = [np.asarray(variable) for variable in layer.weights]
            found[prefix + layer.name] = [array for array in arrays if array.dtype != np.uint32]
    return found


def variable_names(model: Any, prefix: str = "") -> dict[str, list[str]]:
    """Every layer's variables' names by its path."""
    found: dict[str, list[str]] = {}
    for layer in model.layers:
        if hasattr(layer, "layers"):
            found |= variable_names(layer, f"{prefix}{layer.name}/")
        else:
            names = [variable.name.split("/")[-1].split(":")[0] for variable in layer.weights]
            found[prefix + layer.name] = [name for name in names if "seed" not in name]
    return found
