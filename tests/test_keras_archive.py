"""``.keras`` archives of TF-Keras and Keras 3 against the live model, and of Keras 2.12 by hand."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import fluoroscope
import keras_zoo as zoo
from fluoroscope.errors import BudgetExceeded, DamagedFile, RefusedFile, WeightMismatch
from fluoroscope.formats.keras import archive as keras_archive
from fluoroscope.formats.keras.model import KerasLayer, KerasModel
from fluoroscope.formats.keras.zip import Archive
from fluoroscope.formats.limits import Limits
from keras_conformance import FRAMEWORKS, framework, pictures, save

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Each model of the zoo, written once by each Keras: (model, path)."""
    folder = tmp_path_factory.mktemp("zoo")
    cache: dict[tuple[str, str], tuple[Any, Path]] = {}

    def get(framework_name: str, name: str) -> tuple[Any, Path]:
        key = framework_name, name
        if key not in cache:
            model = zoo.built(framework(framework_name), zoo.ALL[name])
            cache[key] = model, save(model, folder / f"{framework_name}_{name}.keras")
        return cache[key]

    return get


def opened(path: Path) -> KerasModel:
    return keras_archive.read(path.read_bytes())


def layer_weights(model: KerasModel) -> dict[str, dict[str, Array]]:
    return {call.layer.name: dict(call.layer.weights) for call in model.calls}


def arange(*shape: int) -> Array:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
@pytest.mark.parametrize("name", list(zoo.ALL))
def test_every_array_is_where_keras_has_it(framework_name: str, name: str, written: Any) -> None:
    model, path = written(framework_name, name)
    found = layer_weights(opened(path))
    for layer, arrays in zoo.weights(model).items():
        assert len(found[layer]) == len(arrays), layer
        for own, array in zip(found[layer].values(), arrays, strict=True):
            assert own.dtype == array.dtype
            np.testing.assert_array_equal(own, array, err_msg=layer)


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
@pytest.mark.parametrize("name", ["nested", "shared", "many_outputs", "twins", "lent"])
def test_what_comes_out_is_what_keras_gives(framework_name: str, name: str, written: Any) -> None:
    model, path = written(framework_name, name)
    batches = pictures(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = model(batches if len(batches) > 1 else batches[0], training=False)
    wanted = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    network = fluoroscope.open_network(path)
    feeds = {spec.name: batch for spec, batch in zip(network.inputs, batches, strict=True)}
    found = network.run(feeds, network.outputs)
    assert len(network.outputs) == len(wanted)
    for output, array in zip(network.outputs, wanted, strict=True):
        np.testing.assert_allclose(found[output], np.asarray(array), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_what_the_file_says_of_itself(framework_name: str, written: Any) -> None:
    found = opened(written(framework_name, "nested")[1])
    version = framework(framework_name).__version__
    assert (found.name, found.writer, found.backend, found.sequential) == ("nested", version, None, False)
    assert found.keras_version == tuple(int(part) for part in version.split(".")[:2])


def test_both_formats_hold_the_same(written: Any, tmp_path: Path) -> None:
    from fluoroscope.formats.keras import hdf5 as keras_hdf5

    model, path = written("keras", "frozen_layers")
    one, other = opened(path), keras_hdf5.read(save(model, tmp_path / "m.h5").read_bytes())
    assert [(call.name, call.inputs, call.layer.kind, call.layer.trainable) for call in one.calls] == [
        (call.name, call.inputs, call.layer.kind, call.layer.trainable) for call in other.calls
    ]
    for call, same in zip(one.calls, other.calls, strict=True):
        assert call.layer.config == same.layer.config
        for name, array in call.layer.weights.items():
            np.testing.assert_array_equal(array, same.layer.weights[name])


def test_bfloat16_is_widened(tmp_path: Path) -> None:
    keras = framework("keras")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, dtype="bfloat16", name="d")])
    found = layer_weights(opened(save(model, tmp_path / "m.keras")))["d"]["kernel"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.asarray(model.layers[0].kernel).astype(np.float32))


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_weights_of_layers_inside_layers(framework_name: str, tmp_path: Path) -> None:
    """Recurrent layers keep theirs in a cell, wrappers in layers; of attention the file tells."""
    keras = framework(framework_name)
    k = keras.layers
    entry = keras.Input((6,))
    value = k.Embedding(10, 4, name="embedding")(entry)
    value = k.LSTM(4, return_sequences=True, name="lstm")(value)
    value = k.MultiHeadAttention(2, 3, name="attention")(value, value)
    value = k.Bidirectional(k.GRU(3, return_sequences=True), name="both")(value)
    model = zoo.built(
        keras, lambda keras: keras.Model(entry, k.TimeDistributed(k.Dense(2), name="each")(value))
    )
    calls = opened(save(model, tmp_path / "m.keras")).calls
    found = {call.name: call.layer.weights for call in calls}
    live = zoo.weights(model)
    assert list(found["embedding"]) == ["embeddings"]
    assert list(found["lstm"]) == ["kernel", "recurrent_kernel", "bias"]
    for layer in ("embedding", "lstm"):
        for own, array in zip(found[layer].values(), live[layer], strict=True):
            np.testing.assert_array_equal(own, array)
    stored = {array.tobytes() for array in found["attention"].values()}
    assert stored == {array.tobytes() for array in live["attention"]}
    for call in calls[-2:]:
        inner = [layer.weights for layer in call.layer.inner.values() if isinstance(layer, KerasLayer)]
        arrays = [array for weights in inner for array in weights.values()]
        for own, array in zip(arrays, live[call.name], strict=True):
            np.testing.assert_array_equal(own, array)


@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_an_optimizers_state_is_left_out(framework_name: str, tmp_path: Path) -> None:
    keras = framework(framework_name)
    model = zoo.built(keras, zoo.sequentials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.compile("adam", "mse", metrics=["mae"])
        model.fit(np.zeros((2, *zoo.SHAPE)), np.zeros((2, 2)), verbose=0)
    assert opened(save(model, tmp_path / "m.keras")).notes == (
        "the optimizer's state in the file is not read",
    )


# Archives put together by hand.

CONV = {"kernel_size": [1, 1], "filters": 3}
LAYERS = [
    {
        "class_name": "InputLayer",
        "config": {"name": "in", "batch_shape": [None, 8, 8, 3], "dtype": "float32"},
    },
    {"class_name": "Conv2D", "config": {"name": "a", "dtype": "float32", **CONV}},
    {"class_name": "Conv2D", "config": {"name": "b", "dtype": "float32", **CONV}},
]
CONFIG: Mapping[str, Any] = {"class_name": "Sequential", "config": {"name": "net", "layers": LAYERS}}


def weight_file(groups: Mapping[str, list[Array]], names: Mapping[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for group, arrays in groups.items():
            stored = file.create_group(f"{group}/vars")
            for number, array in enumerate(arrays):
                stored[str(number)] = array
            if names and group in names:
                stored.attrs["name"] = names[group]
    return buffer.getvalue()


WEIGHTS = {
    "layers/conv2d": [arange(1, 1, 3, 3), arange(3)],
    "layers/conv2d_1": [arange(1, 1, 3, 3) + 9, arange(3)],
}


def archive(
    config: Any = CONFIG,
    weights: bytes | None = None,
    *,
    version: str = "3.5.0",
    compression: int = zipfile.ZIP_STORED,
    members: Mapping[str | zipfile.ZipInfo, bytes] | None = None,
) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as file:
        warnings.simplefilter("ignore")  # of two members of one name
        file.writestr("metadata.json", json.dumps({"keras_version": version}))
        if config is not None:
            file.writestr("config.json", config if isinstance(config, (bytes, str)) else json.dumps(config))
        file.writestr("model.weights.h5", weight_file(WEIGHTS) if weights is None else weights)
        for name, content in (members or {}).items():
            file.writestr(name, content)
    return buffer.getvalue()


class TestGroups:
    @pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_the_archive_that_the_others_are_made_of(self, compression: int) -> None:
        found = layer_weights(keras_archive.read(archive(compression=compression)))
        assert found["b"]["kernel"][0, 0, 0, 0] == 9

    def test_stored_weights_are_views_of_the_file(self) -> None:
        data = archive()
        arrays = [
            array
            for weights in layer_weights(keras_archive.read(data)).values()
            for array in weights.values()
        ]
        whole = np.frombuffer(data, np.uint8)
        # A zip may begin its members anywhere, so they need not be aligned.
        assert all(np.shares_memory(array, whole) and not array.flags.writeable for array in arrays)

    def test_up_to_2_14_layers_with_weights_count_twice(self) -> None:
        """``_layer_checkpoint_dependencies`` lists them as layer_with_weights-0 and as layer-0."""
        inner = {"class_name": "Sequential", "config": {"name": "inner", "layers": LAYERS[1:]}}
        relu = {"class_name": "ReLU", "config": {"name": "r"}}
        config = {
            "class_name": "Sequential",
            "config": {"name": "net", "layers": [*LAYERS[:2], relu, inner, LAYERS[2]]},
        }
        kept = "_layer_checkpoint_dependencies"
        arrays = [[arange(1, 1, 3, 3) + number, arange(3)] for number in range(4)]
        groups = {
            f"{kept}/conv2d": arrays[0],
            f"{kept}/sequential/{kept}/conv2d": arrays[1],
            f"{kept}/sequential/{kept}/conv2d_2": arrays[2],
            f"{kept}/conv2d_2": arrays[3],
        }
        found = layer_weights(keras_archive.read(archive(config, weight_file(groups), version="2.12.0")))
        firsts = {name: weights["kernel"][0, 0, 0, 0] for name, weights in found.items() if weights}
        assert firsts == {"a": 0, "inner/a": 1, "inner/b": 2, "b": 3}

    @pytest.mark.parametrize(
        ("class_name", "version", "group"),
        [
            ("Conv2DTranspose", "3.0.0", "conv2d_transpose"),
            ("Conv2DTranspose", "2.15.0", "conv2d_transpose"),
            ("PReLU", "3.0.0", "p_re_lu"),
            ("Custom>DenseV2Block", "3.0.0", "dense_v2_block"),
            ("Custom>DenseV2Block", "2.15.0", "dense_v2block"),
            ("Custom>_Hidden", "2.15.0", "private__hidden"),
        ],
    )
    def test_groups_are_classes_in_snake_case(self, class_name: str, version: str, group: str) -> None:
        entry = {"class_name": class_name, "config": {"name": "x", "dtype": "float32"}}
        if class_name == "Conv2DTranspose":
            entry["config"] |= {"kernel_size": [1, 1], "filters": 3}  # type: ignore[operator]
        config = {"class_name": "Sequential", "config": {"name": "net", "layers": [LAYERS[0], entry]}}
        arrays = [arange(1, 1, 3)] if class_name == "PReLU" else [arange(1, 1, 3, 3), arange(3)]
        data = archive(config, weight_file({f"layers/{group}": arrays}), version=version)
        assert len(layer_weights(keras_archive.read(data))["x"]) == len(arrays)

    def test_more_than_ten_arrays_keep_their_order(self) -> None:
        entry = {"class_name": "Custom>Many", "config": {"name": "x"}}
        config = {"class_name": "Sequential", "config": {"name": "net", "layers": [LAYERS[0], entry]}}
        data = archive(config, weight_file({"layers/many": [np.full(1, number) for number in range(12)]}))
        assert [int(array[0]) for array in layer_weights(keras_archive.read(data))["x"].values()] == list(
            range(12)
        )

    @pytest.mark.parametrize(
        ("groups", "names", "message"),
        [
            (
                {"layers/conv2d": WEIGHTS["layers/conv2d"]},
                None,
                r"'b' \(Conv2D\) should have 2 weights .* has 0",
            ),
            (
                {**WEIGHTS, "layers/conv2d_2": [arange(3)]},
                None,
                "no layer of its architecture has: layers/conv2d_2/vars/0",
            ),
            (
                {**WEIGHTS, "layers/conv2d_1": [arange(3)]},
                None,
                r"2 weights \(kernel, bias\); the file has 1",
            ),
            (
                {**WEIGHTS, "layers/conv2d_1": [arange(3), arange(3)]},
                None,
                r"should have shape \(1, 1, any, 3\)",
            ),
            (
                WEIGHTS,
                {"layers/conv2d_1": "c"},
                "'b' should have the weights in 'layers/conv2d_1'; .* those of 'c'",
            ),
            ({}, None, "the file has 0"),
        ],
    )
    def test_weights_that_do_not_fit(self, groups: Any, names: Any, message: str) -> None:
        with pytest.raises(WeightMismatch, match=message):
            keras_archive.read(archive(weights=weight_file(groups, names)))


class TestMembers:
    def test_no_weights(self) -> None:
        data = zipped({"config.json": json.dumps(CONFIG).encode()})
        with pytest.raises(WeightMismatch, match="an architecture but no weights"):
            keras_archive.read(data)

    def test_pickled_weights_are_refused(self) -> None:
        data = zipped({"config.json": json.dumps(CONFIG).encode(), "model.weights.npz": b"PK"})
        with pytest.raises(RefusedFile, match="are Python pickles"):
            keras_archive.read(data)

    def test_no_config(self) -> None:
        with pytest.raises(DamagedFile, match=r"'config\.json' is missing"):
            keras_archive.read(archive(None))

    def test_no_metadata(self) -> None:
        data = zipped({"config.json": json.dumps(CONFIG).encode(), "model.weights.h5": weight_file(WEIGHTS)})
        found = keras_archive.read(data)
        assert (found.keras_version, found.writer) == ((3, 0), None)

    def test_a_config_that_is_no_text(self) -> None:
        with pytest.raises(DamagedFile, match=r"'config\.json' is no UTF-8"):
            keras_archive.read(archive(b"\xff\xfe{}"))

    def test_a_changed_byte_of_the_weights_is_told(self) -> None:
        data = bytearray(archive())
        place = data.find((arange(1, 1, 3, 3) + 9).tobytes())
        data[place] ^= 1
        with pytest.raises(DamagedFile, match=r"'model\.weights\.h5' is damaged: size or checksum"):
            keras_archive.read(bytes(data))

    @pytest.mark.parametrize(
        "name", ["../x", "assets/../../x", "/etc/passwd", "C:\\x", "a\\..\\b", "//host/x"]
    )
    def test_names_that_lead_out_are_refused(self, name: str) -> None:
        with pytest.raises(RefusedFile, match="leads out of the archive"):
            keras_archive.read(archive(members={name: b"x"}))

    def test_symbolic_links_are_refused(self) -> None:
        link = zipfile.ZipInfo("assets")
        link.external_attr = 0o120777 << 16
        with pytest.raises(RefusedFile, match="'assets' is a symbolic link"):
            keras_archive.read(archive(members={link: b"/etc"}))

    def test_two_members_of_one_name(self) -> None:
        with pytest.raises(DamagedFile, match=r"Two of its members are called 'config\.json'"):
            keras_archive.read(archive(members={"config.json": b"{}"}))

    def test_encrypted(self) -> None:
        data = bytearray(archive())
        for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            at = data.find(signature)
            while at >= 0:
                data[at + place] |= 1
                at = data.find(signature, at + 4)
        with pytest.raises(RefusedFile, match="is encrypted"):
            keras_archive.read(bytes(data))

    def test_other_compressions(self) -> None:
        with pytest.raises(DamagedFile, match="compressed in a way that Keras does not use"):
            keras_archive.read(archive(compression=zipfile.ZIP_LZMA))

    @pytest.mark.parametrize("cut", [1, 100, 5000])
    def test_a_truncated_archive(self, cut: int) -> None:
        with pytest.raises(DamagedFile, match="damaged zip archive"):
            keras_archive.read(archive()[:-cut])


def zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


class TestBombs:
    def test_a_config_that_unpacks_to_gigabytes(self) -> None:
        data = zipped({"config.json": b" " * (1 << 25)})
        with pytest.raises(BudgetExceeded, match=r"'config\.json' declares 32 MiB; at most 16 MiB are read"):
            keras_archive.read(data)

    def test_weights_that_unpack_a_thousandfold(self) -> None:
        data = zipped({"config.json": json.dumps(CONFIG).encode(), "model.weights.h5": bytes(1 << 27)})
        with pytest.raises(BudgetExceeded, match=r"would unpack from \d+ KiB to 128 MiB"):
            keras_archive.read(data)

    def test_a_directory_that_lies_about_sizes(self) -> None:
        """It declares 100 bytes; the stream holds 10 MiB."""
        data = bytearray(zipped({"config.json": bytes(10 << 20)}))
        for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
            struct.pack_into("<I", data, data.find(signature) + place, 100)
        opened = Archive(bytes(data), Limits())
        tracemalloc.start()
        try:
            with pytest.raises(DamagedFile, match="size or checksum do not fit"):
                opened.read("config.json", limit=1000)
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()

    def test_thousands_of_members(self) -> None:
        data = zipped({"config.json": b"{}", **{f"assets/{number}": b"" for number in range(5000)}})
        with pytest.raises(BudgetExceeded, match="It has 5001 members; at most 1000"):
            keras_archive.read(data)

    @pytest.mark.parametrize("zip64", [False, True])
    def test_a_directory_of_megabytes_is_not_gone_through(self, zip64: bool) -> None:
        end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, 0 if zip64 else 1 << 26, 0, 0)
        if zip64:
            end_64 = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 1 << 26, 0)
            end = end_64 + struct.pack("<4sIQI", b"PK\x06\x07", 0, 4, 1) + end
        with pytest.raises(BudgetExceeded, match="zip directory has 64 MiB"):
            Archive(b"PK\x03\x04" + bytes(100) + end, Limits())

    def test_a_zip_in_a_zip_is_not_opened(self) -> None:
        inner = zipped({"config.json": b"{}"})
        with pytest.raises(DamagedFile, match=r"no valid JSON|no UTF-8"):
            keras_archive.read(archive(inner))


@pytest.mark.parametrize("place", [512, 1024, 4096])
def test_weights_that_lie_where_an_hdf5_file_may_begin(place: int, written: Any, tmp_path: Path) -> None:
    """HDF5 is looked for behind 512, 1024, 2048... bytes of other content, and archives are not deflated."""
    with zipfile.ZipFile(written("keras", "twins")[1]) as given:
        members = {name: given.read(name) for name in given.namelist()}
    moved, weights, padding = tmp_path / "moved.keras", "model.weights.h5", "padding"
    with zipfile.ZipFile(moved, "w") as stored:
        stored.writestr(padding, bytes(place - 2 * 30 - len(padding) - len(weights)))
        for name in (weights, "config.json", "metadata.json"):
            stored.writestr(name, members[name])
    assert moved.read_bytes().find(b"\x89HDF") == place
    assert fluoroscope.open_network(moved).provenance.format == "keras-archive"
    assert fluoroscope.check(moved).format == "keras-archive"


def test_recognition(written: Any) -> None:
    assert keras_archive.is_keras_archive(archive())
    assert keras_archive.is_keras_archive(archive()[:-100])
    assert keras_archive.is_keras_archive(written("keras", "twins")[1].read_bytes())
    assert not keras_archive.is_keras_archive(zipped({"archive/data.pkl": b"x"}))
    assert not keras_archive.is_keras_archive(b"\x89HDF config.json")
    assert not keras_archive.is_keras_archive(b"")
