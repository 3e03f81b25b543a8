"""The layer table of a model, from one pass that is watched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from fluoroscope.formats.live.torch.attention import Weights
from fluoroscope.formats.live.torch.functions import FUNCTIONS, HEAVY
from fluoroscope.formats.live.torch.layout import Layout, after
from fluoroscope.formats.live.torch.modules import Modules, family_of, is_custom, kind_of
from fluoroscope.formats.live.torch.values import outputs_in, tensors_in
from fluoroscope.formats.live.torch.watching import Call
from fluoroscope.network.protocol import Family, Layer
from fluoroscope.network.tokens import ATTENTION

OUTPUT = "output"
"""Name of the row for an output of the model that is no layer's."""

NOT_CALLED = "it was not called: the model does not use it for a picture like this, in evaluation mode."
"""Why a module of the model has no values."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the layer table, and how its tensor is laid out."""

    layer: Layer
    layout: Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What one pass has shown.

    Attributes
    ----------
    rows
        By name, in the order in which they were computed; modules that were not called last.
    outputs
        Names of the rows that are the model's outputs.
    result
        What the rows are called that only what the model returns has: this, and the key behind it.
    opened
        Modules without modules in them that turned out to be networks of their own.
    unused
        Number of weights that no row uses.
    """

    rows: Mapping[str, Row]
    outputs: tuple[str, ...]
    result: str
    opened: frozenset[str]
    unused: int


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a tensor comes from: rows, weights that were not counted with a row, and its layout."""

    rows: tuple[str, ...] = ()
    weights: frozenset[int] = frozenset()
    layout: Layout = field(default_factory=Layout)


class Tracer:
    """Listens to one pass and writes the table.

    Parameters
    ----------
    model, modules
        What is run.
    inputs
        Input name -> tensor, of one picture.
    """

    def __init__(self, model: nn.Module, modules: Modules, inputs: Mapping[str, torch.Tensor]) -> None:
        self._modules = modules
        self._rows: dict[str, Row] = {}
        self._made: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._origins: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._weights = {id(weight): weight for weight in model.parameters()}
        self._counted: set[int] = set()
        self._inside: dict[nn.Module, list[Family]] = {}
        self._called: set[nn.Module] = set()
        for name, tensor in inputs.items():
            layout = Layout(0, 1)
            layer = Layer(name=name, kind="Input", family="input", shape=layout.layer_shape(tensor.shape))
            self._rows[name] = Row(layer, layout)
            self._origins[tensor] = _Origin((name,), layout=layout)
            self._made[tensor] = name

    def wants(self, name: str) -> bool:
        return True

    def flowed(
        self, function: str, inputs: tuple[object, ...], output: object, inside: nn.Module | None
    ) -> None:
        if inside is not None and function in FUNCTIONS:
            self._inside.setdefault(inside, []).append(FUNCTIONS[function].family)
        args, kwargs = cast("tuple[tuple[Any, ...], Mapping[str, Any]]", inputs)
        taken = list(tensors_in(inputs))
        origins = [self._origin(tensor) for tensor in taken]
        leader = next((place for place, origin in enumerate(origins) if origin.rows), None)
        rows = _together(*(origin.rows for origin in origins))
        weights = frozenset[int]().union(*(origin.weights for origin in origins))
        for made in tensors_in(output):
            layout = Layout()
            if leader is not None:
                layout = after(function, args, kwargs, origins[leader].layout, taken[leader], made)
            self._origins[made] = _Origin(rows, weights, layout)
            self._made.pop(made, None)

    def attended(self, name: str, weights: Weights, inputs: tuple[object, ...]) -> None:
        rows, _ = self._sources(inputs)
        if not rows:
            return
        layout = Layout(0 if weights.shape[0] == 1 else None, 1)
        layer = Layer(
            name=name, kind=ATTENTION, family="other", shape=layout.layer_shape(weights.shape), inputs=rows
        )
        self._rows[name] = Row(layer, layout)

    def called(self, call: Call, output: object) -> None:
        rows, used = self._sources(call.inputs)
        module = call.module
        if module is not None:
            self._called.add(module)
        tensors = outputs_in(output)
        if module is None:
            # Indices and the like beside the values are no row.
            tensors = [pair for pair in tensors[:1] if pair[1].is_floating_point()]
            if not rows:
                return
        elif not call.block:
            used |= {id(weight) for weight in module.parameters()}
        parameters, trainable = (0, 0) if call.block else self._count(used)
        for place, (suffix, tensor) in enumerate(tensors):
            takes = rows if not call.block else self._origin(tensor).rows
            name = call.name + suffix
            layout = self._layout(tensor)
            layer = Layer(
                name=name,
                kind=call.function if module is None else kind_of(module),
                family=self._family(call, takes),
                shape=layout.layer_shape(tensor.shape),
                parameters=0 if place else parameters,
                trainable=0 if place else trainable,
                inputs=takes,
            )
            self._rows[name] = Row(layer, layout)
            if not call.block:
                self._origins[tensor] = _Origin((name,), frozenset(), layout)
                self._made[tensor] = name
            elif tensor not in self._made:
                self._made[tensor] = name

    def table(self, result: object) -> Table:
        """The table, after the pass has returned `result`."""
        base = OUTPUT if OUTPUT not in self._rows else f"{OUTPUT}#2"
        outputs = tuple(
            dict.fromkeys(self._output(base + suffix, tensor) for suffix, tensor in outputs_in(result))
        )
        for module, path in self._modules.can_be_called():
            if path and module not in self._called:
                parameters, trainable = self._count({id(weight) for weight in module.parameters()})
                layer = Layer(
                    name=path,
                    kind=kind_of(module),
                    family=family_of(module),
                    shape=(),
                    parameters=parameters,
                    trainable=trainable,
                    problem=NOT_CALLED,
                )
                self._rows.setdefault(path, Row(layer, Layout()))
        unused = sum(weight.numel() for key, weight in self._weights.items() if key not in self._counted)
        return Table(
            rows=self._rows, outputs=outputs, result=base, opened=self._networks_inside(), unused=unused
        )

    def _output(self, name: str, tensor: torch.Tensor) -> str:
        """The row that has this tensor; one called `name` for what no row has (a view, a lookup)."""
        made = cast("str | None", self._made.get(tensor))
        if made is not None and self._rows[made].layer.family != "input":
            return made
        layout = self._layout(tensor)
        shape = layout.layer_shape(tensor.shape)
        layer = Layer(name=name, kind="Output", family="other", shape=shape, inputs=self._origin(tensor).rows)
        self._rows[name] = Row(layer, layout)
        return name

    def _layout(self, tensor: torch.Tensor) -> Layout:
        layout = self._origin(tensor).layout.settled(tensor.ndim)
        if layout.batch is not None and tensor.shape[layout.batch] != 1:
            # One picture went in: this axis is not that of the pictures.
            return replace(layout, batch=None).settled(tensor.ndim)
        return layout

    def _origin(self, tensor: torch.Tensor) -> _Origin:
        known = cast("_Origin | None", self._origins.get(tensor))
        if known is not None:
            return known
        key = id(tensor)
        return _Origin(weights=frozenset({key})) if key in self._weights else _Origin()

    def _sources(self, inputs: object) -> tuple[tuple[str, ...], set[int]]:
        """The rows and the weights that arguments come from."""
        origins = [self._origin(tensor) for tensor in tensors_in(inputs)]
        weights = set[int]().union(*(origin.weights for origin in origins))
        return _together(*(origin.rows for origin in origins)), weights

    def _count(self, weights: set[int]) -> tuple[int, int]:
        """How many numbers these weights have, and how many are trained; each counts where it is used
        first."""
        fresh = [self._weights[key] for key in weights - self._counted if key in self._weights]
        self._counted |= weights
        return sum(w.numel() for w in fresh), sum(w.numel() for w in fresh if w.requires_grad)

    def _family(self, call: Call, takes: tuple[str, ...]) -> Family:
        if call.block:
            return "block"
        if call.module is None:
            family = FUNCTIONS[call.function].family
            # An operation with a constant merges nothing.
            return "other" if family == "merge" and len(takes) < 2 else family
        family = family_of(call.module)
        if family == "other" and is_custom(call.module):
            inside = set(self._inside.get(call.module, ())) - _NO_KIND
            return inside.pop() if len(inside) == 1 else "other"
        return family

    def _networks_inside(self) -> frozenset[str]:
        return frozenset(
            self._modules.paths[module]
            for module, families in self._inside.items()
            if is_custom(module) and sum(family in HEAVY for family in families) > 1
        )


_NO_KIND = frozenset({"merge", "reshape", "other"})
"""Families of functions that say nothing of the module that uses them."""


def _together(*names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in names for name in group))
