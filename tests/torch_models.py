"""Small PyTorch models for the tests, and torchvision and timm as they are imported here."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn import functional


def torchvision() -> ModuleType:
    """torchvision, also where its compiled operators do not suit the torch that is installed."""
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", "(Tensor a, Tensor b, float c) -> Tensor")
    import torchvision

    return torchvision


def timm(name: str, **options: Any) -> nn.Module:
    """A timm model with random weights, and statistics of its batches that are not trivial."""
    torchvision()
    import timm

    return disturbed(timm.create_model(name, pretrained=False, **options))


def disturbed(model: nn.Module) -> nn.Module:
    """The model with batch statistics and weights as after some training."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3, generator=generator)
                module.running_var.uniform_(0.5, 2.0, generator=generator)
            if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)) and module.weight is not None:
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.2, generator=generator)
    return model


class Residual(nn.Module):
    """A block whose ReLU, in place, is called twice, with a sum in place between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.bn = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.relu(self.bn(self.conv(x)))
        out += x
        return self.relu(out)


class Cnn(nn.Module):
    """Two residual blocks, of which one is called twice, a module that is never called, and a functional
    end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2)
        self.body = nn.Sequential(Residual(6), nn.MaxPool2d(2))
        self.tower = Residual(6)
        self.spare = nn.Linear(6, 2)
        self.head = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(functional.relu(self.stem(x), inplace=True))
        x = self.tower(self.tower(x))
        x = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        return functional.softmax(self.head(x), dim=1)


class Functional(nn.Module):
    """No modules in it at all."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(5, 3, 3, 3))
        self.dense = nn.Parameter(torch.randn(4, 5))

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        x = functional.conv2d(picture, self.kernel)
        x = functional.max_pool2d(torch.relu_(x), 2)
        return functional.linear(x.flatten(2).mean(-1), self.dense)


@dataclass
class Answer:
    """What `Several` returns."""

    logits: torch.Tensor
    maps: tuple[torch.Tensor, ...]


class Twins(nn.Module):
    """Returns a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 2, 1)
        self.right = nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.left(x), self.right(x)


class Pair(nn.Module):
    """No modules in it, and a tuple out of it: a layer with two outputs."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x + 1, x * 2


class Several(nn.Module):
    """Tuples inside, a dataclass as output."""

    def __init__(self) -> None:
        super().__init__()
        self.twins = Twins()
        self.pair = Pair()
        self.fc = nn.Linear(2, 3)

    def forward(self, x: torch.Tensor) -> Answer:
        left, right = self.twins(x)
        one, two = self.pair(left)
        return Answer(self.fc((one + two).mean((2, 3))), (left, right))
