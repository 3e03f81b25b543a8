"""What a module takes: found out by looking at it, and by trying."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from fluoroscope.errors import FluoroscopeError, UsageError
from fluoroscope.formats.live import InputShape
from fluoroscope.formats.live.torch.runner import Runner
from fluoroscope.formats.live.torch.tracing import Row, Table
from fluoroscope.network.protocol import InputSpec, Shape

_SIDES = (224, 32, 28, 64, 128, 256, 299, 384, 512)
"""Sides of pictures that networks are made for; tried in turn where a module does not say its own."""

_FURTHER = (32, 112)
"""Pixels added to find out whether a module takes other sizes too: 224 + 32 suits steps of 16 and 32, 224 +
112 steps of 14."""

_HELP = "Say what it takes: open_network(model, input_shape=(height, width, channels))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is known of a module's inputs.

    Attributes
    ----------
    inputs
        With None for sides that may be any.
    table
        For them.
    notes
        How that was found out.
    """

    inputs: tuple[InputSpec, ...]
    table: Table
    notes: tuple[str, ...] = ()


def given_inputs(runner: Runner, shape: InputShape) -> Found:
    """Inputs as the caller says they are."""
    given = dict(shape) if isinstance(shape, Mapping) else {_input_name(runner.module): shape}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, sizes in given.items():
        shapes[name] = tuple(size for size in sizes if size is not None and size > 0)
        if not sizes or len(shapes[name]) < len(sizes):
            raise UsageError(
                f"input_shape {sizes!r} of {name!r}: give whole numbers, (height, width, channels) for a "
                "picture, without the batch."
            )
    inputs = tuple(InputSpec(name=name, shape=sizes) for name, sizes in shapes.items())
    return Found(inputs=inputs, table=runner.trace(shapes))


def found_inputs(runner: Runner) -> Found:
    """The input of a module that takes one picture, of a size that is tried out.

    Raises
    ------
    UsageError
        It takes several inputs, or no picture that was tried.
    """
    module = runner.module
    name = _input_name(module)
    channels = _channels(module)
    failure: FluoroscopeError | None = None
    for side in dict.fromkeys((*_stated_sides(module), *_SIDES)):
        try:
            table = runner.trace({name: (side, side, channels)})
        except FluoroscopeError as error:
            failure = failure or error
            continue
        return _free_or_fixed(runner, name, side, channels, table)
    raise UsageError(
        f"No picture was found that {runner.name!r} takes; tried were {channels} channels at "
        f"{', '.join(map(str, _SIDES))} pixels a side. {_HELP}. The first failure: {failure}"
    ) from failure


def _free_or_fixed(runner: Runner, name: str, side: int, channels: int, table: Table) -> Found:
    for more in _FURTHER:
        other = side + more
        try:
            second = runner.trace({name: (other, other, channels)})
        except FluoroscopeError:
            continue
        spec = InputSpec(name=name, shape=(None, None, channels))
        return Found(inputs=(spec,), table=_open_sizes(table, second))
    spec = InputSpec(name=name, shape=(side, side, channels))
    note = f"takes pictures of {side} x {side}, by trial; for others open it with input_shape=..."
    return Found(inputs=(spec,), table=table, notes=(note,))


def _open_sizes(one: Table, other: Table) -> Table:
    """The table with None for every size that is another for another picture."""

    def opened(name: str, row: Row) -> Row:
        second = other.rows.get(name, row).layer.shape
        shape: Shape = row.layer.shape
        if len(second) == len(shape):
            shape = tuple(a if a == b else None for a, b in zip(shape, second, strict=True))
        return replace(row, layer=replace(row.layer, shape=shape))

    return replace(one, rows={name: opened(name, row) for name, row in one.rows.items()})


def _input_name(module: nn.Module) -> str:
    """The name of the first argument of ``forward``; several that must be given are more than a picture."""
    try:
        parameters = list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):
        return "input"
    needed = [
        entry.name
        for entry in parameters
        if entry.kind in (entry.POSITIONAL_ONLY, entry.POSITIONAL_OR_KEYWORD) and entry.default is entry.empty
    ]
    if len(needed) > 1:
        raise UsageError(
            f"The forward of {type(module).__name__!r} takes {', '.join(needed)}. Say the shape of each, "
            "without batch and "
            f"with channels last: open_network(model, input_shape={{{needed[0]!r}: (224, 224, 3), ...}})."
        )
    first = (
        needed[0] if needed else next((entry.name for entry in parameters if entry.name != "self"), "input")
    )
    return first if first not in ("args", "kwargs") else "input"


def _channels(module: nn.Module) -> int:
    """Channels of the picture: those of the first convolution, or of the first weight of one."""
    for part in module.modules():
        if isinstance(part, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            return part.in_channels
    stated = next(iter(_stated(module, "num_channels", "in_chans")), None)
    if isinstance(stated, int):
        return stated
    kernel = next((weight for weight in module.parameters() if weight.ndim == 4), None)
    if kernel is not None:
        return kernel.shape[1]
    raise UsageError(
        f"{type(module).__name__!r} has no convolution, so that it cannot be told how many channels its "
        "pictures have. "
        f"{_HELP}."
    )


def _stated_sides(module: nn.Module) -> Iterator[int]:
    """Sides that a module says it is made for, as timm, torchvision and Transformers let it."""
    config: Any = getattr(module, "pretrained_cfg", None)
    size: Any = config.get("input_size") if isinstance(config, Mapping) else None
    if isinstance(size, (tuple, list)) and len(size) == 3:
        # What timm's weights were trained with; the module may have been made for another size.
        patches: Any = getattr(getattr(module, "patch_embed", None), "img_size", None)
        yield int(patches[0] if isinstance(patches, (tuple, list)) else patches or size[1])
    for stated in _stated(module, "image_size", "img_size"):
        side = stated[0] if isinstance(stated, (tuple, list)) and stated else stated
        if isinstance(side, int) and 0 < side <= 2048:
            yield side


def _stated(module: nn.Module, *names: str) -> Iterator[Any]:
    for holder in (module, getattr(module, "config", None)):
        for name in names:
            value: Any = getattr(holder, name, None)
            if value is not None and not isinstance(value, (nn.Module, torch.Tensor)):
                yield value
