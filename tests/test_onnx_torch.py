"""Networks that PyTorch exported, by both of its exporters, against the modules themselves.

Every row that is called after a module is what a forward hook on that module sees.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest

import fluoroscope as fs

torch = pytest.importorskip("torch")
nn = torch.nn


class Residual(nn.Module):
    """Convolutions, folded normalizations, a gate as in squeeze-and-excitation, a sum."""

    def __init__(self, width, activation):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.act = activation()
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(width, width // 2, 1)
        self.expand = nn.Conv2d(width // 2, width, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x):
        y = self.act(self.bn1(self.conv1(x)))
        return y * self.gate(self.expand(self.act(self.reduce(self.squeeze(y))))) + x


class Attention(nn.Module):
    """As in a vision transformer: heads are split off by a reshape."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.softmax = nn.Softmax(dim=-1)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        parts = self.qkv(self.norm(x)).reshape(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        maps = self.softmax(q @ k.transpose(-2, -1) * 0.5)
        return x + self.proj((maps @ v).transpose(1, 2).reshape(batch, tokens, width))


class Tokens(nn.Module):
    def forward(self, x):
        return x.flatten(2).transpose(1, 2)


class Network(nn.Module):
    """All of these one after the other, in lists within lists."""

    def __init__(self, activation):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8), activation())
        self.stages = nn.Sequential(nn.Sequential(Residual(8, activation)), nn.MaxPool2d(2))
        self.tokens = Tokens()
        self.blocks = nn.ModuleList([Attention(8, 2), Attention(8, 4)])
        self.norm = nn.GroupNorm(2, 8)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(8 * 16, 5)

    def forward(self, x):
        x = self.tokens(self.stages(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.head(self.flatten(self.norm(x.transpose(1, 2).reshape(-1, 8, 4, 4))))


def exported(network, picture, *, dynamo, opset):
    """The file's bytes."""
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network, (picture,), None if dynamo else target, dynamo=dynamo, opset_version=opset,
            input_names=["image"], verbose=False,
        )  # fmt: skip
    return program.model_proto.SerializeToString() if dynamo else target.getvalue()


def hooked(network, picture):
    """What each call of a module makes, by its name; the second is ``name#2``."""
    seen: dict[str, np.ndarray] = {}

    def keep(name):
        def hook(module, taken, made):
            seen[f"{name}#2" if name in seen else name] = made.detach().numpy()

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in network.named_modules() if name]
    try:
        network(picture)
    finally:
        for handle in handles:
            handle.remove()
    return seen


@pytest.mark.parametrize(
    ("dynamo", "opset", "activation"),
    [
        *((False, 13, activation) for activation in ("ReLU", "SiLU", "GELU", "Hardswish", "Mish")),
        (False, 18, "ReLU6"),
        (True, 18, "ReLU"),
    ],
)
def test_rows_are_the_modules(dynamo, opset, activation):
    torch.manual_seed(3)
    network = Network(getattr(nn, activation)).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    picture = torch.rand(1, 3, 32, 32)
    seen = hooked(network, picture)
    ours = fs.open_network(exported(network, picture, dynamo=dynamo, opset=opset))
    assert all(layer.problem is None for layer in ours.layers)
    names = [layer.name for layer in ours.layers if layer.family != "input"]
    found = ours.run(picture.numpy().transpose(0, 2, 3, 1), names)
    # TorchScript's exporter numbers the calls in its own way.
    calls = {name: name.replace("act_1", "act#2") for name in names}
    modules = {name for name in names if calls[name] in seen}
    # Normalizations are folded into the convolutions before them.
    folded = {"stem.0": "stem.1", "stages.0.0.conv1": "stages.0.0.bn1"}
    for name in modules:
        wanted = seen[folded.get(name, calls[name])]
        axis = ours._rows[name].channel_axis
        # A linear layer of a sequence has its channels last; its module's output is as it is.
        wanted = np.moveaxis(wanted, axis, -1) if wanted.ndim == found[name].ndim else wanted
        np.testing.assert_allclose(
            found[name].reshape(wanted.shape), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max(), err_msg=name
        )
    leaves = {name for name, module in network.named_modules() if name and not list(module.children())}
    assert leaves - modules <= {"stem.1", "stages.0.0.bn1", "tokens", "flatten"}
    # The maps of attention are there, one for each head.
    assert ours.layer("blocks.1.softmax").shape == (16, 16, 4)
