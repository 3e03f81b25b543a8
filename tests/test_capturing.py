"""Running networks on pictures: one, many, in batches, in groups; and how a picture is brought to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import fluoroscope as fs
from fluoroscope.errors import LayerNotFound, PictureError, UsageError
from fluoroscope.network.own_scaling import own_scaling
from fluoroscope.preparing import default_preprocessing
from onnx_models import after, chain, floats, model, node, plainly, value

WEIGHTS = {
    "k1": floats(4, 3, 3, 3),
    "b1": floats(4),
    "k2": floats(6, 4, 3, 3),
    "m": floats(6, 2),
}


def toy(size: tuple[int, int] | None = (12, 16), channels: int = 3) -> bytes:
    """Convolution, ReLU, convolution, pooling, softmax over two; any size where None is given."""
    sides = ("h", "w") if size is None else size
    weights = {**WEIGHTS, "k1": WEIGHTS["k1"][:, :channels]}
    nodes = [
        after("Conv", "k1", "b1", name="conv_1", outputs=["c1"]),
        after("Relu", name="relu_1", outputs=["r1"]),
        after("Conv", "k2", name="conv_2", outputs=["c2"], strides=[2, 2]),
        after("GlobalAveragePool", name="gap", outputs=["g"]),
        after("Flatten", name="flat", outputs=["f"]),
        after("MatMul", "m", name="dense", outputs=["d"]),
        after("Softmax", name="probability", outputs=["p"], axis=-1),
    ]
    return chain(nodes, weights, shape=("n", channels, *sides))


def pixels(height: int = 12, width: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def network() -> fs.Network:
    return fs.open_network(toy())


@pytest.fixture(scope="module")
def free() -> fs.Network:
    return fs.open_network(toy(None))


def same(one: fs.Activations, other: fs.Activations) -> None:
    """Hold two captures to be equal, bit for bit."""
    assert list(one) == list(other)
    for name in one:
        np.testing.assert_array_equal(one[name].values, other[name].values)
    assert list(one.predictions) == list(other.predictions)
    for name, values in one.predictions.items():
        np.testing.assert_array_equal(values, other.predictions[name])
    np.testing.assert_array_equal(one.prepared.values, other.prepared.values)


# --- One picture ---------------------------------------------------------------------------------------


def test_values_are_those_of_plain_onnxruntime() -> None:
    data, picture = toy(), pixels()
    acts = fs.capture(data, picture)
    batch = picture.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
    expected = plainly(data, {"x": batch}, ["c1", "r1", "c2", "g", "p"])
    assert list(acts) == [layer.name for layer in fs.open_network(data).layers if layer.family != "input"]
    for name, tensor in {"conv_1": "c1", "relu_1": "r1", "conv_2": "c2", "gap": "g"}.items():
        if name in acts:
            wanted = np.moveaxis(expected[tensor][0], 0, -1)
            np.testing.assert_allclose(acts[name].values, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(acts.predictions["probability"], expected["p"][0], rtol=1e-4)


def test_a_capture_is_frozen_float32_and_channels_last(network: fs.Network) -> None:
    acts = fs.capture(network, pixels())
    assert acts["conv_1"].shape == (10, 14, 4)
    for maps in acts.values():
        assert maps.values.dtype == np.float32
        assert not maps.values.flags.writeable


def test_only_what_is_asked_for_is_kept(network: fs.Network) -> None:
    acts = fs.capture(network, pixels(), layers="conv_2, conv_1")
    assert list(acts) == ["conv_1", "conv_2"]
    assert acts.predictions["probability"].sum() == pytest.approx(1)
    with pytest.raises(LayerNotFound, match="Did you mean 'conv_"):
        fs.capture(network, pixels(), layers="conv_9")


def test_the_picture_is_not_written_to(network: fs.Network) -> None:
    picture = pixels()
    before = picture.copy()
    fs.capture(network, picture)
    np.testing.assert_array_equal(picture, before)
    assert picture.flags.writeable


def test_an_open_network_is_used_as_it_is(network: fs.Network) -> None:
    assert fs.capture(network, pixels()).network is network


# --- Many pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_a_batch_changes_nothing_but_the_speed(network: fs.Network, batch: int) -> None:
    pictures = [pixels(seed=seed) for seed in range(5)]
    together = list(fs.capture_many(network, pictures, batch=batch))
    assert len(together) == 5
    for acts, picture in zip(together, pictures, strict=True):
        alone = fs.capture(network, picture)
        for name in alone:
            np.testing.assert_allclose(acts[name].values, alone[name].values, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(acts.prepared.values, alone.prepared.values)


@settings(max_examples=10, deadline=None)
@given(sides=st.lists(st.sampled_from([(12, 16), (12, 18), (15, 12)]), max_size=6), batch=st.integers(1, 4))
def test_pictures_of_mixed_sizes_come_in_order(
    free: fs.Network, sides: list[tuple[int, int]], batch: int
) -> None:
    pictures = [pixels(*size, seed=seed) for seed, size in enumerate(sides)]
    captured = list(fs.capture_many(free, pictures, layers="conv_1, dense", batch=batch))
    assert [acts["conv_1"].shape[:2] for acts in captured] == [(h - 2, w - 2) for h, w in sides]
    for acts, picture in zip(captured, pictures, strict=True):
        np.testing.assert_array_equal(acts.prepared.image.pixels, picture)
        alone = fs.capture(free, picture, layers="conv_1, dense")
        np.testing.assert_allclose(acts["conv_1"].values, alone["conv_1"].values, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(acts["dense"].values, alone["dense"].values, rtol=1e-5, atol=1e-5)


def test_no_more_than_a_batch_is_read_ahead(network: fs.Network) -> None:
    read: list[int] = []

    def pictures():
        for seed in range(10):
            read.append(seed)
            yield pixels(seed=seed)

    walk = fs.capture_many(network, pictures(), layers="conv_1", batch=3)
    assert read == []
    next(walk)
    assert read == [0, 1, 2]


def test_a_pattern_is_walked_in_sorted_order(network: fs.Network, tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "deep/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels()).save(tmp_path / name)
    shallow = [acts.prepared.image.name for acts in fs.capture_many(network, f"{tmp_path}/*.png")]
    deep = [acts.prepared.image.name for acts in fs.capture_many(network, f"{tmp_path}/**/*.png")]
    assert shallow == ["a.png", "b.png"]
    assert deep == ["a.png", "b.png", "c.png"]


def test_a_pattern_without_files_and_a_folder_are_told_at_once(network: fs.Network, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"No file fits the pattern '.*\*\.jpeg'\."):
        fs.capture_many(network, f"{tmp_path}/*.jpeg")
    with pytest.raises(PictureError, match=r"is a folder\. For the pictures in it: '.*/\*'"):
        fs.capture_many(network, str(tmp_path))
    with pytest.raises(UsageError, match="A batch is one picture or more, not 0"):
        fs.capture_many(network, [], batch=0)


def test_a_file_whose_name_is_a_pattern_is_found(network: fs.Network, tmp_path: Path) -> None:
    path = tmp_path / "scan[1].png"
    Image.fromarray(pixels()).save(path)
    (acts,) = fs.capture_many(network, str(path))
    assert acts.prepared.image.name == "scan[1].png"


def test_pictures_that_cannot_be_read_are_left_out_where_somebody_is_told(network: fs.Network) -> None:
    told: list[tuple[object, str]] = []
    pictures = [pixels(seed=0), b"no picture", pixels(seed=1), b""]
    captured = list(
        fs.capture_many(
            network, pictures, batch=2, skip=lambda source, error: told.append((source, str(error)))
        )
    )
    assert len(captured) == 2
    np.testing.assert_array_equal(captured[1].prepared.image.pixels, pictures[2])
    assert [source for source, _ in told] == [b"no picture", b""]
    assert all(message for _, message in told)


def test_without_skip_the_first_such_picture_ends_the_walk(network: fs.Network) -> None:
    walk = fs.capture_many(network, [pixels(), b"no picture", pixels()])
    next(walk)
    with pytest.raises(PictureError):
        next(walk)


def test_skip_hides_no_other_mistake(network: fs.Network) -> None:
    with pytest.raises(UsageError, match="There is no preset 'percent'"):
        list(fs.capture_many(network, [pixels()], preprocessing="percent", skip=lambda *_: None))


# --- Groups --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [0, 3000, 10**9])
def test_groups_together_are_the_capture(network: fs.Network, memory: int) -> None:
    whole = fs.capture(network, pixels())
    groups = fs.Groups(network, whole.prepared, list(whole), memory=memory)
    parts = list(groups)
    assert len(parts) == len(groups)
    assert [name for part in parts for name in part] == list(whole)
    for part in parts:
        for name in part:
            np.testing.assert_allclose(part[name].values, whole[name].values, rtol=1e-5, atol=1e-6)
            assert part[name].number == whole[name].number
        assert part.predictions.keys() == whole.predictions.keys()
        np.testing.assert_allclose(
            part.predictions["probability"], whole.predictions["probability"], rtol=1e-5
        )
    if memory == 0:
        assert all(len(part) == 1 for part in parts)
    assert all(part.nbytes <= memory or len(part) == 1 for part in parts)


def test_groups_can_be_walked_again(network: fs.Network) -> None:
    prepared = fs.prepare(network, pixels())
    groups = fs.Groups(network, prepared, ["conv_1", "conv_2", "conv_1"], memory=0)
    assert groups.names == ("conv_1", "conv_2", "conv_1")
    assert len(groups) == 2
    for first, second in zip(groups, groups, strict=True):
        same(first, second)


def test_groups_of_a_network_of_any_size_know_the_size(free: fs.Network) -> None:
    prepared = fs.prepare(free, pixels(12, 16))
    parts = list(fs.Groups(free, prepared, ["conv_1", "conv_2"], memory=10 * 14 * 4 * 4))
    assert [list(part) for part in parts] == [["conv_1"], ["conv_2"]]
    assert parts[0].network.layers[-1].shape == (2,)


def test_no_names_are_no_groups(network: fs.Network) -> None:
    groups = fs.Groups(network, fs.prepare(network, pixels()), [], memory=10)
    assert len(groups) == 0
    assert list(groups) == []


# --- Bringing a picture to a network -------------------------------------------------------------------


def test_a_network_of_fixed_size_brings_the_picture_to_it(network: fs.Network) -> None:
    prepared = fs.prepare(network, pixels(24, 32))
    assert prepared.values.shape == (12, 16, 3)
    message = r"takes pictures of 12 x 16; the size 24 x 32 cannot be chosen\. Leave it out\."
    with pytest.raises(UsageError, match=message):
        fs.prepare(network, pixels(), fs.Preprocessing(size=(24, 32)))
    assert fs.prepare(network, pixels(), fs.Preprocessing(size=(12, 16))).values.shape == (12, 16, 3)


def test_a_network_of_any_size_takes_the_picture_as_it_is_or_at_the_size_chosen(free: fs.Network) -> None:
    assert fs.prepare(free, pixels(13, 17)).values.shape == (13, 17, 3)
    assert fs.prepare(free, pixels(13, 17), fs.Preprocessing(size=(20, 18))).values.shape == (20, 18, 3)
    assert fs.capture(free, pixels(13, 17), layers="conv_1")["conv_1"].shape == (11, 15, 4)


def test_one_side_may_be_free() -> None:
    one = fs.open_network(chain([after("Relu", name="r")], shape=("n", 3, 12, "w")))
    assert fs.prepare(one, pixels(13, 17)).values.shape == (12, 17, 3)
    assert fs.prepare(one, pixels(13, 17), fs.Preprocessing(size=(12, 9))).values.shape == (12, 9, 3)


def test_a_network_of_grey_pictures_gets_grey() -> None:
    assert fs.prepare(fs.open_network(toy(channels=1)), pixels()).values.shape == (12, 16, 1)


def test_channels_that_are_free_are_those_of_the_picture() -> None:
    one = fs.open_network(chain([after("Relu", name="r")], shape=("n", "c", 12, 16)))
    assert fs.prepare(one, pixels()).values.shape == (12, 16, 3)
    assert fs.prepare(one, pixels()[..., 0]).values.shape == (12, 16, 1)


def test_networks_that_take_no_picture_say_what_to_do() -> None:
    shape = ["n", 3, 12, 16]
    two = model([node("Add", ["x", "y"], ["z"], name="add")], [value("x", shape), value("y", shape)], ["z"])
    with pytest.raises(UsageError, match=r"has 2 inputs and was given one thing\. .* --input x=picture.png"):
        fs.capture(two.SerializeToString(), pixels())
    rows = fs.open_network(chain([after("Relu", name="r")], shape=("n", 7)))
    with pytest.raises(UsageError, match=r"Input 'x' takes \(7,\), not a picture of \(height, width, ch"):
        fs.prepare(rows, pixels())
    with pytest.raises(UsageError, match=r"Input 'x' takes numbers of shape \(7\); 'array' has \(12, 16, 3"):
        fs.capture(rows, pixels())


@pytest.mark.parametrize("how", ["raw", fs.Preprocessing("raw"), fs.Preprocessing(scale=1.0)])
def test_preprocessing_by_name_or_in_full(network: fs.Network, how: str | fs.Preprocessing) -> None:
    np.testing.assert_array_equal(fs.prepare(network, pixels(), how).values, pixels().astype(np.float32))


def test_pictures_are_brought_to_0_1_where_nothing_tells_otherwise(network: fs.Network) -> None:
    assert default_preprocessing(network) == fs.Preprocessing("unit")
    prepared = fs.prepare(network, pixels())
    np.testing.assert_array_equal(prepared.values, pixels().astype(np.float32) / 255)
    assert not any("by itself" in step for step in prepared.steps)


# --- Networks that scale by themselves -----------------------------------------------------------------

CONV = after("Conv", "k1", "b1", name="conv_1")
CONSTANTS = {
    "small": np.float32(1 / 255),
    "half": np.float32(127.5),
    "twice": np.float32(2),
    "one": np.float32(1),
    "caffe": np.array([103.939, 116.779, 123.68], np.float32).reshape(1, 3, 1, 1),
    "torch": np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 3, 1, 1),
    "deviation": np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1),
    "wide": np.array([58.395, 57.12, 57.375], np.float32).reshape(1, 3, 1, 1),
    "imagenet": np.array([123.675, 116.28, 103.53], np.float32).reshape(1, 3, 1, 1),
}


def scaling(*operators: tuple[str, str], size: tuple[int | str, int | str] = (12, 16)) -> fs.Network:
    """A network that begins with operators with a constant each, which are called as they are."""
    nodes = [
        after(kind, constant, name=f"{kind.lower()}_{index}")
        for index, (kind, constant) in enumerate(operators)
    ]
    return fs.open_network(chain([*nodes, CONV], {**WEIGHTS, **CONSTANTS}, shape=("n", 3, *size)))


@pytest.mark.parametrize(
    ("operators", "name"),
    [
        ([("Mul", "small")], "mul_0"),
        ([("Div", "half")], "div_0"),
        ([("Div", "half"), ("Sub", "one")], "div_0"),
        ([("Sub", "caffe")], "sub_0"),
        ([("Sub", "imagenet"), ("Div", "wide")], "sub_0"),
    ],
)
@pytest.mark.parametrize("size", [(12, 16), ("h", "w")])
def test_a_network_that_scales_gets_the_values_as_they_are(
    operators: list[tuple[str, str]], name: str, size: tuple[int | str, int | str]
) -> None:
    network = scaling(*operators, size=size)
    assert own_scaling(network) == name
    assert default_preprocessing(network).preset == "raw"
    prepared = fs.prepare(network, pixels())
    np.testing.assert_array_equal(prepared.values, pixels().astype(np.float32))
    assert prepared.steps[-1] == (
        f"values left at 0..255: the network scales by itself, in its layer '{name}'"
    )


@pytest.mark.parametrize(
    "operators",
    [
        [],
        [("Sub", "torch"), ("Div", "deviation")],
        [("Mul", "twice"), ("Sub", "one")],
        [("Sub", "torch")],
        [("Div", "deviation")],
    ],
)
@pytest.mark.parametrize("size", [(12, 16), ("h", "w")])
def test_a_network_that_shifts_what_lies_in_0_1_gets_that(
    operators: list[tuple[str, str]], size: tuple[int | str, int | str]
) -> None:
    network = scaling(*operators, size=size)
    assert own_scaling(network) is None
    assert default_preprocessing(network).preset == "unit"
    np.testing.assert_array_equal(
        fs.prepare(network, pixels()).values, pixels().astype(np.float32) / np.float32(255)
    )


def test_scaling_twice_is_warned_of() -> None:
    network = scaling(("Mul", "small"))
    prepared = fs.prepare(network, pixels(), "unit")
    assert prepared.steps[-1] == (
        "careful: the network scales by itself too, in its layer 'mul_0'; 'raw' is what fits it"
    )
    assert prepared.values.max() <= 1
    assert "0..255" in fs.prepare(network, pixels(), "raw").steps[-1]


@pytest.mark.parametrize(
    "nodes",
    [
        [CONV, after("Mul", "small", name="mul")],
        [after("Relu", name="r"), after("Mul", "small", name="mul")],
    ],
)
def test_what_scales_later_does_not_count(nodes: list[onnx.NodeProto]) -> None:
    assert (
        own_scaling(fs.open_network(chain(nodes, {**WEIGHTS, **CONSTANTS}, shape=("n", 3, 12, 16)))) is None
    )


def test_a_network_that_uses_the_picture_twice_tells_nothing() -> None:
    nodes = [
        node("Mul", ["x", "small"], ["a"], name="mul"),
        node("Add", ["x", "a"], ["z"], name="add"),
    ]
    made = model(nodes, [value("x", ["n", 3, 12, 16])], ["z"], {"small": CONSTANTS["small"]})
    assert own_scaling(fs.open_network(made.SerializeToString())) is None


def test_a_picture_multiplied_by_itself_is_not_scaled() -> None:
    made = model([node("Mul", ["x", "x"], ["z"], name="square")], [value("x", ["n", 3, 12, 16])], ["z"])
    assert own_scaling(fs.open_network(made.SerializeToString())) is None


def test_what_only_moves_the_picture_is_looked_through() -> None:
    nodes = [
        after("Pad", "pads", name="pad", mode="constant"),
        after("Identity", name="same"),
        after("Mul", "small", name="mul"),
        CONV,
    ]
    weights = {**WEIGHTS, **CONSTANTS, "pads": np.array([0, 0, 2, 2, 0, 0, 2, 2], np.int64)}
    network = fs.open_network(chain(nodes, weights, shape=("n", 3, 12, 16)))
    assert own_scaling(network) == "mul"


def test_whole_numbers_are_left_as_they_are() -> None:
    nodes = [
        node("Cast", ["x"], ["a"], name="cast", to=onnx.TensorProto.FLOAT),
        node("Relu", ["a"], ["z"], name="relu"),
    ]
    made = model(nodes, [value("x", ["n", 3, 12, 16], onnx.TensorProto.UINT8)], ["z"])
    acts = fs.capture(made.SerializeToString(), pixels())
    np.testing.assert_array_equal(acts["relu"].values, pixels())


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
def test_rescaling_of_keras_against_keras(tmp_path: Path) -> None:
    import keras

    made = keras.Sequential(
        [keras.Input((12, 16, 3)), keras.layers.Rescaling(1 / 127.5, -1, name="scale"),
         keras.layers.Conv2D(4, 3, name="conv")]
    )  # fmt: skip
    path = tmp_path / "scales.keras"
    made.save(path)
    acts = fs.capture(path, pixels(), layers="scale, conv")
    assert acts.prepared.preprocessing.preset == "raw"
    assert "its layer 'scale'" in acts.prepared.steps[-1]
    expected = np.asarray(made(pixels()[None].astype(np.float32)))[0]
    np.testing.assert_allclose(acts["conv"].values, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(acts["scale"].values, pixels() / np.float32(127.5) - 1, atol=1e-6)


def test_a_layer_that_cannot_be_tried_is_taken_to_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    network = scaling(("Mul", "twice"))
    assert own_scaling(network) is None

    def refuse(*_: object) -> None:
        raise UsageError("no")

    monkeypatch.setattr(network, "run", refuse)
    assert own_scaling(network) == "mul_0"
