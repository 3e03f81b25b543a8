"""Live Keras models: translated where they can be, else run by Keras; on every backend."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fluoroscope as fs
import live_keras_models as live
from fluoroscope.errors import BudgetExceeded, LayerNotFound, NetworkError, UsageError
from fluoroscope.formats.live.keras import open_model
from fluoroscope.formats.live.keras.network import LiveKeras
from fluoroscope.network.budget import Budget
from keras_conformance import FRAMEWORKS, framework
from network_conformance import Arrays, Case, NetworkConformance


@pytest.fixture(params=FRAMEWORKS)
def keras(request: pytest.FixtureRequest) -> ModuleType:
    return framework(request.param)


@pytest.mark.parametrize("check", live.CHECKS)
def test_on_tensorflow(keras: ModuleType, check: Callable[[ModuleType], None]) -> None:
    check(keras)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_on_other_backends(backend: str) -> None:
    script = Path(live.__file__)
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == [backend, str(len(live.CHECKS)), "checks"]


class TestWhatIsTranslated:
    """Names do not decide for live models: classes and functions do."""

    def test_a_class_of_the_author_with_keras_name(self, keras: ModuleType) -> None:
        class Conv2D(keras.layers.Conv2D):
            def call(self, inputs: Any) -> Any:
                return super().call(inputs) * 0.0

        network = live.opened(keras, keras.Sequential([keras.Input((6, 6, 3)), Conv2D(2, 3, name="c")]))
        assert isinstance(network, LiveKeras)
        assert network.layers[-1].family == "other"
        assert not network.run(live.batch(1, 6, 6, 3), ["c"])["c"].any()

    def test_a_function_of_the_author_with_keras_name(self, keras: ModuleType) -> None:
        def relu(x: Any) -> Any:
            return x * 0.0

        conv = keras.layers.Conv2D(2, 3, activation=relu, name="c")
        network = live.opened(keras, keras.Sequential([keras.Input((6, 6, 3)), conv]))
        assert isinstance(network, LiveKeras)
        assert not network.run(live.batch(1, 6, 6, 3), ["c"])["c"].any()

    def test_a_model_class_that_changes_training_only(self, keras: ModuleType) -> None:
        class Trainer(keras.Model):
            def train_step(self, *data: Any) -> Any:
                raise AssertionError

        entry = keras.Input((6, 6, 3))
        network = live.opened(keras, Trainer(entry, keras.layers.Conv2D(2, 3)(entry)))
        assert not isinstance(network, LiveKeras)

    def test_a_lambda_runs_in_keras(self, keras: ModuleType) -> None:
        layer = keras.layers.Lambda(lambda x: x * 3.0, name="triple")
        network = live.opened(keras, keras.Sequential([keras.Input((4, 4, 1)), layer]))
        picture = live.batch(1, 4, 4, 1)
        np.testing.assert_array_equal(network.run(picture, ["triple"])["triple"], picture * 3)
        # It is run, so nothing is to be said of bytes that never are.
        (note,) = network.provenance.notes
        assert note.endswith("its own library: Layer 'triple' (Lambda) is a function of its author's.")


def test_numbers_are_those_of_the_model_s_layers(keras: ModuleType) -> None:
    k = keras.layers
    layers = [keras.Input((4, 4, 1)), k.Lambda(lambda x: x * 2.0, name="twice"), k.ReLU(name="relu")]
    acts = fs.capture(keras.Sequential(layers), np.full((4, 4), 255, np.uint8), layers=[0])
    assert list(acts) == ["twice"]
    acts = fs.capture(live.custom_layer(keras), np.full((10, 12, 3), 255, np.uint8), layers=[1])
    assert list(acts) == ["conv"]


class TestInputs:
    def test_a_mapping_by_name(self, keras: ModuleType) -> None:
        model = _two_inputs(keras, lambda left, right: {"left": left, "right": right})
        self._check(keras, model)

    def test_a_list(self, keras: ModuleType) -> None:
        self._check(keras, _two_inputs(keras, lambda left, right: [left, right]))

    @staticmethod
    def _check(keras: ModuleType, model: Any) -> None:
        network = live.opened(keras, model)
        assert isinstance(network, LiveKeras)
        assert [spec.name for spec in network.inputs] == ["left", "right"]
        left, right = live.batch(2, 4, 4, 1), live.batch(2, 4, 4, 1) + 1
        found = network.run({"right": right, "left": left}, ["minus"])["minus"]
        np.testing.assert_allclose(found, (left - right) * 3, rtol=1e-6)

    def test_one_that_does_not_say_is_asked_for(self, keras: ModuleType) -> None:
        with pytest.raises(UsageError, match=r"never called. Say the shape of a picture: open_network"):
            live.opened(keras, live.subclassed(keras))

    def test_one_that_was_called_says_by_that(self, keras: ModuleType) -> None:
        model = live.subclassed(keras)
        model(live.batch(1, 8, 9, 3))
        assert live.opened(keras, model).inputs[0].shape == (8, 9, 3)

    @pytest.mark.parametrize("shape", [(), (0, 3, 3), ("a", 3, 3), (2.5, 3, 3)])
    def test_a_shape_that_is_none(self, keras: ModuleType, shape: Any) -> None:
        with pytest.raises(UsageError, match="input_shape is"):
            live.opened(keras, live.subclassed(keras), input_shape=shape)

    def test_whole_numbers(self, keras: ModuleType) -> None:
        class Scale(keras.layers.Layer):
            def call(self, inputs: Any) -> Any:
                return inputs

        entry = keras.Input((4, 4, 1), dtype="uint8", name="entry")
        network = live.opened(keras, keras.Model(entry, Scale(name="same")(entry)))
        assert network.inputs[0].dtype == "uint8"
        picture = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
        np.testing.assert_array_equal(network.run(picture, ["same"])["same"], picture)


class TestErrors:
    def test_nothing_before_an_activation(self, keras: ModuleType) -> None:
        network = live.network_of(keras, live.custom_layer)
        with pytest.raises(LayerNotFound, match="Ask for 'conv'"):
            network.run(live.batch(1, 10, 12, 3), ["conv:pre"])
        with pytest.raises(LayerNotFound, match="Did you mean 'conv'"):
            network.run(live.batch(1, 10, 12, 3), ["conf"])

    def test_other_sizes_than_it_takes(self, keras: ModuleType) -> None:
        network = live.network_of(keras, live.custom_layer)
        with pytest.raises(UsageError, match="takes pictures of 10 x 12, not 5 x 5"):
            network.at_size(5, 5)
        with pytest.raises(UsageError, match="channels last"):
            network.run(live.batch(1, 5, 5, 3), ["conv"])

    def test_more_than_the_budget(self, keras: ModuleType) -> None:
        network = open_model(live.custom_layer(keras), library=keras, budget=Budget(memory=2000))
        with pytest.raises(BudgetExceeded, match="1 layers of 'custom' for 3 pictures"):
            network.run(live.batch(3, 10, 12, 3), ["joined"])

    def test_an_error_of_the_author(self, keras: ModuleType) -> None:
        class Broken(keras.layers.Layer):
            def call(self, inputs: Any) -> Any:
                if inputs.shape[0] == 2:
                    raise ValueError("two are too many")
                return inputs

        network = live.opened(keras, keras.Sequential([keras.Input((4, 4, 1)), Broken(name="b")]))
        with pytest.raises(NetworkError, match=r"input of \(2, 4, 4, 1\): two are too many"):
            network.run(live.batch(2, 4, 4, 1), ["b"])

    def test_a_layer_that_is_not_always_called(self, keras: ModuleType) -> None:
        class Choosing(keras.Model):
            def __init__(self) -> None:
                super().__init__(name="choosing")
                self.dark = keras.layers.ReLU(name="dark")
                self.bright = keras.layers.ReLU(name="bright")

            def call(self, inputs: Any) -> Any:
                return self.dark(inputs) if float(inputs[0, 0, 0, 0]) == 0 else self.bright(inputs)

        network = live.opened(keras, Choosing(), input_shape=(4, 4, 1))
        with pytest.raises(NetworkError, match="'dark' was not called for this picture"):
            network.run(np.ones((1, 4, 4, 1), np.float32), ["dark"])


def _two_inputs(keras: ModuleType, arranged: Callable[[Any, Any], Any]) -> Any:
    class Minus(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return (inputs[0] - inputs[1]) * 3.0

    left, right = keras.Input((4, 4, 1), name="left"), keras.Input((4, 4, 1), name="right")
    return keras.Model(arranged(left, right), Minus(name="minus")([left, right]))


class TestDoor:
    """`open_network` and `capture` take live models; what is no model is refused."""

    def test_capture(self, keras: ModuleType) -> None:
        picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
        for model in (live.custom_layer(keras), live.convolution(keras)):
            acts = fs.capture(model, picture)
            assert acts["conv"].layer.name == "conv"
            assert acts.network.provenance.format == "keras-model"
            assert acts.network.provenance.writer == f"Keras {keras.__version__}"
            assert acts.network.provenance.backend == "tensorflow"
            weights = sum(np.asarray(weight).nbytes for weight in model.weights)
            assert acts.network.provenance.size == weights

    def test_a_size_for_one_that_does_not_say(self, keras: ModuleType) -> None:
        network = fs.open_network(live.subclassed(keras), input_shape=(9, 9, 3))
        assert isinstance(network, LiveKeras)

    def test_no_child_process(self, keras: ModuleType) -> None:
        with pytest.raises(UsageError, match="a live model runs where it lies"):
            fs.open_network(live.convolution(keras), isolate=True)

    def test_something_else(self) -> None:
        with pytest.raises(UsageError, match=r"a keras.Model or a torch.nn.Module; not as dict"):
            fs.open_network({})


class TestConformance(NetworkConformance):
    @pytest.fixture(scope="class", params=FRAMEWORKS)
    @classmethod
    def case(cls, request: pytest.FixtureRequest) -> Case:
        library = framework(request.param)
        model = live.custom_layer(library)
        network = fs.open_network(model)
        kept = {"conv", "twice", "joined", "norm", "flat", "head"}

        def oracle(batch: Arrays) -> Arrays:
            """Keras's own models that end at each layer; what is called twice or inside is taken apart."""
            picture = batch["entry"]
            ends = library.Model(model.inputs, [model.get_layer(name).output for name in sorted(kept)])
            values = dict(zip(sorted(kept), map(live.values, ends([picture], training=False)), strict=True))
            shared = values["joined"][..., :4]
            inner = values["twice"] / 2
            return {"entry": picture, **values, "shared": shared, "shared#2": shared, "twice/inner": inner}

        return Case(network=network, oracle=oracle)


class TestConformanceOfFreeSize(NetworkConformance):
    @pytest.fixture(scope="class", params=FRAMEWORKS)
    @classmethod
    def case(cls, request: pytest.FixtureRequest) -> Case:
        library = framework(request.param)
        model = live.subclassed(library)
        network = fs.open_network(model, input_shape=(None, None, 3))

        def oracle(batch: Arrays) -> Arrays:
            """The author's call, done by hand."""
            picture = batch["input"]
            first = model.first(picture)
            bright = model.rest[0](first)
            inner = model.rest[1].layers[0](bright)
            steps = {"first": first, "relu": bright, "block/inner": inner, "block/drop": inner}
            steps |= {"relu#2": model.rest[0](inner), "net": inner + 1.0}
            return {"input": picture, **{name: live.values(value) for name, value in steps.items()}}

        return Case(network=network, oracle=oracle, size=(11, 9))
