"""Live PyTorch modules: values against the module's own hooks, and the module as it was before."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import fluoroscope as fs
import torch_models
from fluoroscope.errors import (
    BudgetExceeded,
    LayerNotFound,
    NetworkError,
    UnsupportedLayer,
    UsageError,
)
from fluoroscope.network.selection import select

RANDOM = np.random.default_rng(5)


def picture(height: int = 32, width: int = 32, channels: int = 3, pictures: int = 1) -> np.ndarray:
    return RANDOM.random((pictures, height, width, channels), np.float32)


def as_tensor(batch: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.moveaxis(batch, -1, 1).copy())


def hooked(model: nn.Module, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    """The oracle: every module's output, cloned by hooks on a copy of the model; later calls are
    ``name#2``."""
    model = copy.deepcopy(model).eval()
    found: dict[str, torch.Tensor] = {}
    counts: dict[str, int] = {}

    def hook(name: str) -> Callable[..., None]:
        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            counts[name] = counts.get(name, 0) + 1
            label = name if counts[name] == 1 else f"{name}#{counts[name]}"
            if isinstance(output, torch.Tensor):
                found[label] = output.detach().clone()

        return keep

    for name, module in model.named_modules():
        if name:
            module.register_forward_hook(hook(name))
    with torch.no_grad():
        model(batch)
    return found


def same(values: np.ndarray, tensor: torch.Tensor, tolerance: float = 1e-6) -> None:
    """Equal, whichever axis of the tensor holds the channels; a leading 1 stands for tokens of one window."""
    expected = tensor.float().numpy()
    if values.shape != expected.shape or values.ndim == 4:
        candidates = [expected, *(np.moveaxis(expected, axis, -1) for axis in range(1, expected.ndim))]
        if values.ndim == expected.ndim + 1:
            candidates = [each[np.newaxis] for each in candidates]
            candidates += [np.moveaxis(expected, 0, -1)[np.newaxis]]
    else:
        candidates = [expected]
    scale = max(1.0, float(np.abs(expected).max()))
    fitting = [each for each in candidates if each.shape == values.shape]
    assert fitting, (values.shape, expected.shape)
    assert min(float(np.abs(values - each).max()) for each in fitting) <= tolerance * scale


MODELS: dict[str, Callable[[], nn.Module]] = {
    "cnn": torch_models.Cnn,
    "timm-resnet18": lambda: torch_models.timm("resnet18"),
    "torchvision-mobilenet": lambda: torch_models.disturbed(
        torch_models.torchvision().models.mobilenet_v3_small(weights=None)
    ),
    "timm-convnext": lambda: torch_models.timm("convnext_atto", depths=(1, 1, 1, 1)),
    "timm-vit": lambda: torch_models.timm("vit_tiny_patch16_224", img_size=64, depth=2),
    "timm-swin": lambda: torch_models.timm(
        "swin_tiny_patch4_window7_224", img_size=64, window_size=4, depths=(2, 1, 1, 1)
    ),
    "transformer": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 8, 8), nn.Flatten(2), nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4), 2)
    ),
}


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("name", MODELS)
def test_every_module_has_the_values_that_its_own_hooks_see(name: str) -> None:
    torch.manual_seed(3)
    model = torch_models.disturbed(MODELS[name]())
    side = 32 if name in ("cnn", "transformer") else 64
    batch = picture(side, side)
    network = fs.open_network(model, input_shape=(side, side, 3))
    wanted = [layer.name for layer in network.layers if layer.problem is None]
    values = network.run(batch, wanted)
    assert set(values) == set(wanted)
    expected = hooked(model, as_tensor(batch))
    modules = {name for name in expected if name in values}
    assert modules >= {name for name in expected if name in {layer.name for layer in network.layers}}
    assert len(modules) > len(wanted) * 0.6
    for layer in network.layers:
        if layer.name in modules:
            same(values[layer.name], expected[layer.name], 2e-6)
        if layer.problem is None:
            assert values[layer.name].shape[1:] == layer.shape
            assert not values[layer.name].flags.writeable
            assert np.moveaxis(values[layer.name], -1, 1).flags.c_contiguous
            assert set(layer.inputs) <= {other.name for other in network.layers}
    with torch.no_grad():
        result = copy.deepcopy(model).eval()(as_tensor(batch))
    same(values[network.outputs[0]], result, 2e-6)
    total = sum(layer.parameters for layer in network.layers)
    assert total == sum(weight.numel() for weight in model.parameters())


class TestNames:
    def network(self) -> fs.Network:
        return fs.open_network(torch_models.Cnn(), input_shape=(16, 16, 3))

    def test_rows_in_the_order_of_their_calls(self) -> None:
        assert [layer.name for layer in self.network().layers] == [
            "x", "stem", "relu", "body.0.conv", "body.0.bn", "body.0.relu", "body.0.add", "body.0.relu#2",
            "body.0", "body.1", "body", "tower.conv", "tower.bn", "tower.relu", "tower.add", "tower.relu#2",
            "tower", "tower.conv#2", "tower.bn#2", "tower.relu#3", "tower.add#2", "tower.relu#4", "tower#2",
            "mean", "amax", "cat", "head", "softmax", "spare",
        ]  # fmt: skip

    def test_kinds_families_shapes_and_where_they_come_from(self) -> None:
        rows = {layer.name: layer for layer in self.network().layers}
        assert (rows["stem"].kind, rows["stem"].family, rows["stem"].shape) == ("Conv2d", "conv", (7, 7, 6))
        assert (rows["relu"].kind, rows["relu"].family) == ("relu", "activation")
        assert rows["body.0.add"].inputs == ("body.0.relu", "relu")
        assert rows["body.0"].family == "block"
        assert rows["body.1"].inputs == ("body.0.relu#2",)
        assert rows["cat"].inputs == ("mean", "amax")
        assert (rows["cat"].family, rows["cat"].shape) == ("merge", (12,))
        assert (rows["x"].family, rows["x"].shape) == ("input", (16, 16, 3))
        assert self.network().outputs == ("softmax",)

    def test_weights_count_where_they_are_used_first(self) -> None:
        rows = {layer.name: layer for layer in self.network().layers}
        assert rows["stem"].parameters == rows["stem"].trainable == 168
        assert rows["tower.conv"].parameters == 330
        assert rows["tower.conv#2"].parameters == 0
        assert rows["tower"].parameters == 0

    def test_what_was_not_called_says_so(self) -> None:
        network = self.network()
        spare = next(layer for layer in network.layers if layer.name == "spare")
        assert spare.parameters == 14
        assert "was not called" in (spare.problem or "")
        with pytest.raises(UnsupportedLayer, match="'spare' cannot be run: it was not called"):
            network.run(picture(16, 16), ["spare"])

    def test_blocks_are_chosen_only_where_they_are_asked_for(self) -> None:
        network = self.network()
        assert "body.0" not in select(network)
        assert select(network, "block") == ("body.0", "body", "tower", "tower#2")
        assert "body.0" in select(network, "all")

    def test_a_function_called_as_a_module_is(self) -> None:
        class Both(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.relu = nn.ReLU()
                self.conv = nn.Conv2d(3, 2, 1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.relu(functional.relu(self.conv(x)) - 1)

        names = [layer.name for layer in fs.open_network(Both(), input_shape=(4, 4, 3)).layers]
        assert names == ["x", "conv", "relu_function", "sub", "relu"]

    def test_a_model_without_modules(self) -> None:
        network = fs.open_network(torch_models.Functional(), input_shape=(9, 9, 3))
        rows = {layer.name: layer for layer in network.layers}
        assert list(rows) == ["picture", "conv2d", "relu", "max_pool2d", "flatten", "mean", "linear"]
        assert (rows["conv2d"].parameters, rows["linear"].parameters) == (135, 20)
        assert (rows["conv2d"].family, rows["max_pool2d"].family) == ("conv", "pool")

    def test_a_single_layer(self) -> None:
        network = fs.open_network(nn.Conv2d(3, 2, 1))
        assert [layer.name for layer in network.layers] == ["input", "Conv2d"]
        assert network.outputs == ("Conv2d",)

    def test_several_outputs(self) -> None:
        network = fs.open_network(torch_models.Several(), input_shape=(4, 4, 3))
        names = [layer.name for layer in network.layers]
        assert names == [
            "x", "twins.left", "twins.right", "twins", "twins:1", "pair", "pair:1", "add", "mean", "fc"
        ]  # fmt: skip
        assert network.outputs == ("fc", "twins.left", "twins.right")
        values = network.run(picture(4, 4), ["pair", "pair:1", "twins.left", "twins:1"])
        np.testing.assert_array_equal(values["pair"], values["twins.left"] + 1)
        np.testing.assert_array_equal(values["pair:1"], values["twins.left"] * 2)
        assert values["twins:1"].shape == (1, 4, 4, 4)

    def test_an_output_that_no_layer_has(self) -> None:
        class Reshaped(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.output = nn.Conv2d(3, 4, 1)

            def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
                return {"maps": self.output(x), "rows": self.output(x).view(x.shape[0], -1)}

        network = fs.open_network(Reshaped(), input_shape=(2, 2, 3))
        assert network.outputs == ("output", "output#2:rows")
        batch = picture(2, 2)
        values = network.run(batch, network.outputs)
        expected = np.moveaxis(values["output"], -1, 1).reshape(1, -1)
        np.testing.assert_array_equal(values["output#2:rows"], expected)


class TestLeftAsItWas:
    def check(self, model: nn.Module, act: Callable[[], object]) -> None:
        """`act` changes nothing of the model, nor of torch."""
        state = {name: value.clone() for name, value in model.state_dict().items()}
        modes = [module.training for module in model.modules()]
        hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
        trained = [weight.requires_grad for weight in model.parameters()]
        buffers = [id(buffer) for buffer in model.buffers()]
        attributes = [set(vars(module)) for module in model.modules()]
        random = torch.get_rng_state()
        act()
        assert [module.training for module in model.modules()] == modes
        assert [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()] == hooks
        assert [weight.requires_grad for weight in model.parameters()] == trained
        assert [id(buffer) for buffer in model.buffers()] == buffers
        assert [set(vars(module)) for module in model.modules()] == attributes
        assert all(weight.grad is None for weight in model.parameters())
        assert torch.equal(torch.get_rng_state(), random)
        assert torch.is_grad_enabled()
        after = model.state_dict()
        assert after.keys() == state.keys()
        assert all(torch.equal(after[name], value) for name, value in state.items())

    def test_a_model_in_training(self) -> None:
        model = torch_models.Cnn().train()
        model.body[0].bn.eval()
        network: list[fs.Network] = []
        self.check(model, lambda: network.append(fs.open_network(model, input_shape=(16, 16, 3))))
        self.check(model, lambda: network[0].run(picture(16, 16), ["relu", "softmax"]))
        assert any("in training mode" in note for note in network[0].provenance.notes)

    def test_after_a_failure(self) -> None:
        class Fails(torch_models.Cnn):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                if len(x) > 1:
                    self.stem(x)
                    raise ValueError("no such picture")
                return super().forward(x)

        model = Fails().train()

        def act() -> None:
            with pytest.raises(
                NetworkError, match=r"'Fails' failed on x \[2, 3, 16, 16\]: ValueError: no such"
            ):
                fs.open_network(model, input_shape=(16, 16, 3)).run(picture(16, 16, pictures=2), ["softmax"])

        self.check(model, act)

    def test_what_a_model_writes_into_its_buffers(self) -> None:
        class Counts(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(1, 1, 1)
                self.register_buffer("calls", torch.zeros(2))
                self.register_buffer("other", torch.zeros(1))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                self.calls += torch.rand(2)
                self.other = self.other + 1
                self.register_buffer("fresh", torch.ones(1), persistent=False)
                return self.conv(x)

        model = Counts()
        self.check(model, lambda: fs.open_network(model).at_size(4, 4).run(picture(4, 4, 1), ["conv"]))

    def test_a_model_can_be_trained_afterwards_with_what_it_kept(self) -> None:
        class Keeps(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 3, 1)
                self.table: torch.Tensor | None = None

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                if self.table is None:
                    self.table = torch.ones(3, 1, 1)
                return self.conv(x) * self.table

        model = Keeps()
        fs.open_network(model, input_shape=(4, 4, 3))
        model(torch.ones(1, 3, 4, 4)).sum().backward()
        assert model.conv.weight.grad is not None

    def test_inside_inference_mode(self) -> None:
        model = torch_models.Cnn()
        with torch.inference_mode():
            network = fs.open_network(model, input_shape=(16, 16, 3))
            assert network.run(picture(16, 16), ["softmax"])["softmax"].shape == (1, 4)

    def test_hooks_of_the_owner_are_heard_and_stay(self) -> None:
        model = torch_models.Cnn()
        model.stem.register_forward_hook(lambda _module, _inputs, output: output * 2)
        plain = copy.deepcopy(model)
        plain.stem._forward_hooks.clear()
        batch = picture(16, 16)
        ours, bare = (
            fs.open_network(each, input_shape=(16, 16, 3)).run(batch, ["stem"])["stem"]
            for each in (model, plain)
        )
        np.testing.assert_array_equal(ours, bare * 2)
        assert len(model.stem._forward_hooks) == 1

    def test_the_callers_batch(self) -> None:
        class Overwrites(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(1, 1, 1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.conv(x.mul_(0))

        batch = picture(4, 4, 1)
        before = batch.copy()
        values = fs.open_network(Overwrites(), input_shape=(4, 4, 1)).run(batch, ["x", "mul"])
        np.testing.assert_array_equal(batch, before)
        np.testing.assert_array_equal(values["x"], before)
        assert not values["mul"].any()


class TestBatches:
    @pytest.mark.parametrize("name", ["cnn", "timm-swin"])
    def test_several_pictures_are_as_one_by_one(self, name: str) -> None:
        torch.manual_seed(1)
        network = fs.open_network(MODELS[name](), input_shape=(64, 64, 3))
        batch = picture(64, 64, pictures=3)
        names = select(network)
        together = network.run(batch, names)
        alone = [network.run(batch[i : i + 1], names) for i in range(3)]
        for layer in names:
            assert together[layer].shape[0] == 3
            assert not together[layer].flags.writeable
            expected = np.concatenate([values[layer] for values in alone])
            np.testing.assert_allclose(together[layer], expected, rtol=1e-4, atol=1e-5)

    def test_memory_is_used_again_only_when_nobody_looks_at_it(self) -> None:
        network = fs.open_network(torch_models.Cnn(), input_shape=(16, 16, 3))
        first = network.run(picture(16, 16), ["stem"])["stem"]
        view, copied = first[0, 2:, ::2], first.copy()
        del first
        second = network.run(picture(16, 16), ["stem"])["stem"]
        np.testing.assert_array_equal(view, copied[0, 2:, ::2])
        assert not np.shares_memory(view, second)
        address = second.__array_interface__["data"][0]
        del second
        third = network.run(picture(16, 16), ["stem"])["stem"]
        assert third.__array_interface__["data"][0] == address

    def test_what_is_handed_on_is_copied_once_and_again_when_it_was_overwritten(self) -> None:
        class Hands(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 2, 1)
                self.one, self.two, self.three = nn.Identity(), nn.Identity(), nn.Identity()

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                x = self.two(self.one(self.conv(x)))
                x.add_(1)
                return self.three(x)

        network = fs.open_network(Hands(), input_shape=(4, 4, 3))
        values = network.run(picture(4, 4), ["conv", "one", "two", "add", "three"])
        np.testing.assert_array_equal(values["two"], values["conv"])
        np.testing.assert_array_equal(values["three"], values["conv"] + 1)
        assert np.shares_memory(values["one"], values["two"])
        assert not np.shares_memory(values["two"], values["three"])

    def test_a_network_is_let_go_of(self) -> None:
        network = fs.open_network(torch_models.Cnn(), input_shape=(16, 16, 3))
        values = network.run(picture(16, 16), ["stem"])["stem"]
        gone = weakref.ref(network)
        del network
        gc.collect()
        assert gone() is None
        assert np.isfinite(values).all()

    def test_what_cannot_be_run(self) -> None:
        network = fs.open_network(torch_models.Cnn(), input_shape=(16, 16, 3))
        with pytest.raises(LayerNotFound, match=r"No layer is called 'stm'\. Did you mean 'stem'"):
            network.run(picture(16, 16), ["stm"])
        with pytest.raises(LayerNotFound, match="'stem' has no fused activation"):
            network.run(picture(16, 16), ["stem:pre"])
        with pytest.raises(UsageError, match=r"takes \(n, 16, 16, 3\)"):
            network.run(picture(8, 8), ["stem"])
        small = fs.open_network(torch_models.Cnn(), input_shape=(16, 16, 3), budget=fs.Budget(memory=2000))
        with pytest.raises(BudgetExceeded, match="The activations asked for of 'Cnn' would take"):
            small.run(picture(16, 16), ["stem", "relu"])

    def test_a_forward_that_depends_on_the_picture(self) -> None:
        class Picks(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.one, self.other = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.one(x) if x.mean() < 0.1 else self.other(x)

        network = fs.open_network(Picks(), input_shape=(4, 4, 3))
        with pytest.raises(NetworkError, match="'one' was not computed for this picture"):
            network.run(np.ones((1, 4, 4, 3), np.float32), ["one"])


class TestSizes:
    def test_any_size_is_found(self) -> None:
        network = fs.open_network(torch_models.Cnn())
        assert network.inputs[0].shape == (None, None, 3)
        rows = {layer.name: layer.shape for layer in network.layers}
        assert rows["stem"] == (None, None, 6)
        assert rows["cat"] == (12,)
        sized = network.at_size(20, 30)
        assert sized.at_size(20, 30) is sized
        assert next(layer for layer in sized.layers if layer.name == "stem").shape == (9, 14, 6)
        assert network.run(picture(20, 30), ["stem"])["stem"].shape == (1, 9, 14, 6)

    def test_a_fixed_size_is_found_and_said(self) -> None:
        model = nn.Sequential(nn.Conv2d(1, 4, 5), nn.Flatten(), nn.Linear(4 * 24 * 24, 10))
        network = fs.open_network(model)
        assert network.inputs[0].shape == (28, 28, 1)
        assert "takes pictures of 28 x 28, by trial" in network.provenance.notes[0]
        with pytest.raises(UsageError, match="takes pictures of 28 x 28, not 32 x 32"):
            network.at_size(32, 32)

    def test_a_size_that_the_model_states(self) -> None:
        assert fs.open_network(MODELS["timm-vit"]()).inputs[0].shape == (64, 64, 3)

    def test_sizes_that_are_given(self) -> None:
        network = fs.open_network(torch_models.Cnn(), input_shape=(16, 24, 3))
        assert network.inputs[0].shape == (16, 24, 3)
        with pytest.raises(UsageError, match="give whole numbers"):
            fs.open_network(torch_models.Cnn(), input_shape=(16, 0, 3))
        with pytest.raises(NetworkError, match=r"failed on x \[1, 4, 16, 16\]"):
            fs.open_network(torch_models.Cnn(), input_shape=(16, 16, 4))

    def test_what_cannot_be_told(self) -> None:
        with pytest.raises(UsageError, match=r"has no convolution.*input_shape="):
            fs.open_network(nn.Linear(3, 2))
        with pytest.raises(UsageError, match="No picture was found that 'Sequential' takes"):
            fs.open_network(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(7, 1)))
        with pytest.raises(UsageError, match="input_shape is for live models"):
            fs.open_network(fs.demo.network_path(), input_shape=(8, 8, 3))

    def test_several_inputs(self) -> None:
        class Two(nn.Module):
            def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
                return left + right.mean()

        with pytest.raises(
            UsageError, match=r"The forward of 'Two' takes left, right\. Say the shape of each"
        ):
            fs.open_network(Two())
        network = fs.open_network(Two(), input_shape={"left": (4, 4, 1), "right": (5,)})
        left, right = picture(4, 4, 1), np.arange(5, dtype=np.float32)[np.newaxis]
        values = network.run({"left": left, "right": right}, ["add", "left"])
        np.testing.assert_allclose(values["add"], left + 2)
        assert {layer.name: layer.inputs for layer in network.layers}["add"] == ("left", "mean")


class TestWhereItLies:
    def test_channels_last_memory(self) -> None:
        model = torch_models.Cnn()
        batch = picture(16, 16)
        expected = fs.open_network(model, input_shape=(16, 16, 3)).run(batch, ["stem", "body.1", "softmax"])
        network = fs.open_network(model.to(memory_format=torch.channels_last), input_shape=(16, 16, 3))
        values = network.run(batch, list(expected))
        for name, array in expected.items():
            np.testing.assert_allclose(values[name], array, atol=1e-6)
            assert np.moveaxis(values[name], -1, 1).flags.c_contiguous
        assert model.stem.weight.is_contiguous(memory_format=torch.channels_last)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_precisions(self, dtype: torch.dtype) -> None:
        model = torch_models.Cnn().to(dtype)
        network = fs.open_network(model, input_shape=(16, 16, 3))
        batch = picture(16, 16)
        values = network.run(batch, ["stem", "softmax"])
        assert {array.dtype for array in values.values()} == {np.dtype(np.float32)}
        assert any(f"computed in {str(dtype)[6:]}" in note for note in network.provenance.notes)
        same(values["stem"], hooked(model, as_tensor(batch).to(dtype))["stem"])

    def test_wrappers_are_looked_through(self) -> None:
        model = torch_models.Cnn()
        for wrapped in (nn.DataParallel(model), torch.compile(model, backend="eager")):
            assert fs.open_network(wrapped, input_shape=(16, 16, 3)).name == "Cnn"

    def test_a_part_that_is_compiled_runs_as_it_was_written(self) -> None:
        model, batch = torch_models.Cnn(), picture(16, 16)
        network = fs.open_network(model, input_shape=(16, 16, 3))
        expected = network.run(batch, ["softmax"])["softmax"]
        model.stem = torch.compile(model.stem, backend="eager")
        model.head.compile(backend="eager")
        network = fs.open_network(model, input_shape=(16, 16, 3))
        assert {"stem._orig_mod", "head"} <= {layer.name for layer in network.layers}
        np.testing.assert_array_equal(network.run(batch, ["softmax"])["softmax"], expected)

    def test_weights_without_values(self) -> None:
        with pytest.raises(UsageError, match=r"'Cnn' has weights on the device 'meta'.*load_state_dict"):
            fs.open_network(torch_models.Cnn().to("meta"), input_shape=(16, 16, 3))

    @pytest.mark.filterwarnings("ignore:.*jit.*:DeprecationWarning")
    def test_what_cannot_be_seen_into(self) -> None:
        with pytest.raises(UnsupportedLayer, match="'Conv2d' is TorchScript"):
            fs.open_network(torch.jit.trace(nn.Conv2d(3, 2, 1), torch.ones(1, 3, 4, 4)))
        part = nn.Sequential(nn.ReLU(), torch.jit.trace(nn.Conv2d(3, 2, 1), torch.ones(1, 3, 4, 4)))
        with pytest.raises(UnsupportedLayer, match="'1' in 'Sequential' is TorchScript"):
            fs.open_network(part, input_shape=(16, 16, 3))
        with pytest.raises(UsageError, match="layers that were never run"):
            fs.open_network(nn.LazyConv2d(3, 1))

    def test_it_is_not_isolated(self) -> None:
        with pytest.raises(UsageError, match="isolate=True is for files"):
            fs.open_network(torch_models.Cnn(), input_shape=(16, 16, 3), isolate=True)

    def test_a_graph_module(self) -> None:
        network = fs.open_network(torch.fx.symbolic_trace(torch_models.Cnn()), input_shape=(16, 16, 3))
        assert {"stem", "body.0.conv", "cat", "softmax"} <= {layer.name for layer in network.layers}

    def test_weights_that_are_not_finite_are_said(self) -> None:
        model = torch_models.Cnn()
        with torch.no_grad():
            model.stem.bias[0] = float("nan")
        network = fs.open_network(model, input_shape=(16, 16, 3))
        assert "NaN or infinite weights in stem.bias" in network.provenance.notes

    def test_how_its_pictures_are_scaled_is_said(self) -> None:
        assert any(
            "does not say how" in note for note in fs.open_network(torch_models.Cnn()).provenance.notes
        )
        model = torch_models.timm("vit_tiny_patch16_224", img_size=32, depth=1)
        notes = " ".join(fs.open_network(model).provenance.notes)
        assert (
            "timm scales its pictures as --scale 0.00392156863 --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5" in notes
        )
        model.pretrained_cfg.update(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
        assert "as --preprocess torch" in " ".join(fs.open_network(model).provenance.notes)

    def test_a_module_that_scales_by_itself(self) -> None:
        class Scales(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 2, 1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.conv(x / 255)

        acts = fs.capture(Scales(), np.full((4, 4, 3), 51, np.uint8), layers="div")
        np.testing.assert_allclose(acts["div"].values, 0.2, rtol=1e-6)

    def test_where_it_comes_from(self) -> None:
        model = torch_models.Cnn()
        origin = fs.open_network(model, input_shape=(16, 16, 3)).provenance
        assert (origin.path, origin.format, origin.backend) == (None, "torch-module", "torch")
        assert origin.writer == f"PyTorch {torch.__version__}"
        assert origin.size == sum(v.numel() * v.element_size() for v in model.state_dict().values())
        assert fs.open_network(copy.deepcopy(model), input_shape=(16, 16, 3)).provenance == origin
        with torch.no_grad():
            model.stem.bias[0] += 1
        assert fs.open_network(model, input_shape=(16, 16, 3)).provenance.sha256 != origin.sha256


class TestAttention:
    """Weights of every head, against modules that give them themselves."""

    def test_fused_attention_of_timm(self) -> None:
        model = MODELS["timm-vit"]().eval()
        batch = picture(64, 64)
        network = fs.open_network(model)
        values = network.run(batch, ["blocks.0.attn:attention", "blocks.1.attn:attention"])
        plain = copy.deepcopy(model)
        found: list[torch.Tensor] = []
        for block in plain.blocks:
            block.attn.fused_attn = False
            block.attn.attn_drop.register_forward_hook(
                lambda _module, inputs, _output: found.append(inputs[0])
            )
        with torch.no_grad():
            plain(as_tensor(batch))
        for array, weights in zip(values.values(), found, strict=True):
            assert array.shape == (1, 17, 17, 3)
            np.testing.assert_allclose(np.moveaxis(array, -1, 1), weights.numpy(), atol=1e-6)
            np.testing.assert_allclose(array.sum(2), 1, atol=1e-5)
        assert all(block.attn.fused_attn for block in model.blocks)

    @pytest.mark.parametrize("ask", [{}, {"need_weights": False}, {"average_attn_weights": False}])
    def test_torchs_own_module(self, ask: dict[str, bool]) -> None:
        class Attends(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.patches = nn.Conv2d(3, 8, 4, 4)
                self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

            def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Any]:
                x = self.patches(x).flatten(2).transpose(1, 2)
                return self.attend(x, x, x, **ask)

        model = Attends().eval()
        network = fs.open_network(model, input_shape=(16, 16, 3))
        batch = picture(16, 16)
        values = network.run(batch, ["attend:attention", "attend"])
        with torch.no_grad():
            x = model.patches(as_tensor(batch)).flatten(2).transpose(1, 2)
            expected, weights = model.attend(x, x, x, average_attn_weights=False)
        np.testing.assert_allclose(np.moveaxis(values["attend:attention"], -1, 1), weights, atol=1e-6)
        np.testing.assert_allclose(values["attend"], expected, atol=1e-6)
        with torch.no_grad():
            assert (model(as_tensor(batch))[1] is None) == (ask == {"need_weights": False})

    @pytest.mark.parametrize("kind", ["bool", "float", "causal", "scale", "groups"])
    def test_masks_and_scales(self, kind: str) -> None:
        generator = torch.Generator().manual_seed(1)
        options: dict[str, Any] = {
            "bool": {"attn_mask": torch.rand(9, 9, generator=generator) < 0.7},
            "float": {"attn_mask": torch.randn(9, 9, generator=generator)},
            "causal": {"is_causal": True},
            "scale": {"scale": 0.7},
            "groups": {"enable_gqa": True},
        }[kind]
        if kind == "bool":
            options["attn_mask"].fill_diagonal_(True)

        class Product(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.project = nn.Conv2d(1, 8, 1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                q = self.project(x).flatten(2).unflatten(1, (4, 2)).transpose(2, 3)
                k = q[:, :2] if kind == "groups" else q
                # Values that are the unit matrix bring the weights themselves out.
                v = torch.eye(9).expand(len(x), k.shape[1], 9, 9)
                return functional.scaled_dot_product_attention(q, k, v, **options)

        values = fs.open_network(Product(), input_shape=(3, 3, 1)).run(
            picture(3, 3, 1), ["attention", "scaled_dot_product_attention"]
        )
        assert values["attention"].shape == (1, 9, 9, 4)
        np.testing.assert_allclose(values["attention"], values["scaled_dot_product_attention"], atol=1e-6)
