"""A config of any Keras version to one tree: Sequential and Functional, nested to any depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from fluoroscope.errors import BudgetExceeded, DamagedFile, UnsupportedLayer
from fluoroscope.formats.keras import keras_1
from fluoroscope.formats.keras import layers as keras_layers
from fluoroscope.formats.keras.arguments import Arguments
from fluoroscope.formats.keras.calls import Resolver, as_called
from fluoroscope.formats.keras.entries import (
    every_layer,
    input_shape,
    is_model,
    layer_entries,
    layer_names,
    listed,
    options,
)
from fluoroscope.formats.keras.json import JsonObject
from fluoroscope.formats.keras.nodes import check, parse, references
from fluoroscope.formats.keras.replace import Replacements, replaced_entry
from fluoroscope.formats.keras.tree import OUTSIDE, Call, LayerNode, ModelNode, TensorRef
from fluoroscope.formats.keras.wrappers import DEEPEST, inner_entries
from fluoroscope.formats.limits import Limits

_INPUT = "InputLayer"
_MODELS = frozenset({"Sequential", "Functional", "Model", "Container"})
_LOW_PRECISION = frozenset({"float16", "bfloat16", "mixed_float16", "mixed_bfloat16"})


def keras_major(config: JsonObject) -> int:
    """The major version of the Keras that wrote a config, told by its style."""
    for class_name, body in every_layer(config):
        if keras_1.is_keras_1(class_name, body):
            return 1
        if class_name == _INPUT and "batch_shape" in body:
            return 3
    return 2


def read_config(
    config: JsonObject, *, major: int, limits: Limits, replacements: Replacements | None = None
) -> tuple[ModelNode, tuple[str, ...]]:
    """A model's tree, and what of its config is worth a line to the user.

    Parameters
    ----------
    config
        As parsed from JSON: with ``class_name`` and ``config``, either of which old files may lack.
    major
        Of the Keras version that wrote it.
    replacements
        Layers that others stand for.

    Raises
    ------
    UsageError
        A replacement for no layer.
    DamagedFile
        A config that contradicts itself.
    UnsupportedLayer
        No architecture, but a class that only its author has.
    BudgetExceeded
        More layers, or longer names, than `limits` allow.
    """
    entry = config if is_model(config) else {"config": config}
    if not is_model(entry):
        raise UnsupportedLayer(
            f"Its architecture is {str(config.get('class_name'))[:80]!r}, a class of its author's whose code "
            "is not in the file, and no list of layers. Save it as a Functional or Sequential model."
        )
    data_format = keras_1.data_format(every_layer(config)) if major == 1 else "channels_last"
    reader = _Reader(major, data_format, limits, replacements or Replacements())
    root = reader.model(entry, name="model", needs_input=True)
    reader.check_replacements()
    policies = {str(leaf.config.get("dtype")) for leaf in root.leaves()} & _LOW_PRECISION
    notes = [f"{name} (a class of its author's) is read as the layers it lists" for name in reader.custom]
    notes += reader.replaced
    notes += [f"dtype policy {name}: computed here in float32" for name in sorted(policies)]
    notes += dict.fromkeys(leaf.note for leaf in root.leaves() if leaf.note is not None)
    stateful = [layer.name for layer in root.leaves() if layer.config.get("stateful")]
    if stateful:
        notes.append(f"stateful layers start from zeros for every picture: {', '.join(stateful[:5])[:200]}")
    return root, tuple(notes)


_Node = LayerNode | ModelNode


@dataclass(slots=True)
class _Wiring:
    """A model's layers and their calls, in the making."""

    layers: list[_Node] = field(default_factory=list[_Node])
    calls: list[list[Call]] = field(default_factory=list[list[Call]])

    def add(self, layer: _Node) -> int:
        self.layers.append(layer)
        self.calls.append([])
        return len(self.layers) - 1

    def call(
        self, position: int, tensors: tuple[TensorRef, ...], arguments: Arguments | None = None
    ) -> TensorRef:
        """Call a layer; its first output."""
        self.calls[position].append(Call(tensors, arguments))
        return TensorRef(position, len(self.calls[position]) - 1, 0)


class _Reader:
    """What reading one config carries along: version, limits, how many layers there were so far."""

    def __init__(self, major: int, data_format: str, limits: Limits, replacements: Replacements) -> None:
        self.custom: list[str] = []
        self.replaced: list[str] = []
        self._major = major
        self._data_format = data_format
        self._limits = limits
        self._layers = 0
        self._depth = 0
        self._replacements = replacements
        self._wishes: set[str] = set()
        self._classes: list[tuple[str, str]] = []
        self._prefix = ""

    def check_replacements(self) -> None:
        """Refuse a replacement for no layer."""
        self._replacements.check_used(self._wishes, self._classes)

    def model(self, entry: JsonObject, *, name: str, needs_input: bool) -> ModelNode:
        """The node of a model.

        Parameters
        ----------
        name
            For a model that does not tell its own.
        needs_input
            Nothing outside brings in a tensor: put in the input layers that old configs leave out.
        """
        config = entry["config"]
        body: JsonObject = {"layers": config} if isinstance(config, list) else cast(JsonObject, config)
        sequential = "input_layers" not in body
        class_name = str(entry.get("class_name") or ("Sequential" if sequential else "Functional"))
        if class_name not in _MODELS or not keras_layers.is_keras(entry):
            self.custom.append(class_name[: self._limits.name])
        given = entry.get("name") or body.get("name")
        own = given if isinstance(given, str) else None
        wiring = _Wiring()
        if sequential:
            arity, outputs = self._sequential(body, wiring, needs_input=needs_input)
        else:
            arity, outputs = self._functional(body, wiring)
        return ModelNode(
            name=own or name,
            class_name=class_name,
            sequential=sequential,
            layers=tuple(wiring.layers),
            calls=tuple(tuple(calls) for calls in wiring.calls),
            arity=arity,
            outputs=outputs,
            named=own is not None,
            trainable=body.get("trainable") is not False,
        )

    def _layer(self, entry: JsonObject, name: str, *, needs_input: bool = False) -> _Node:
        self._layers += 1
        if self._layers > self._limits.layers:
            raise BudgetExceeded(f"It has more than {self._limits.layers} layers.")
        if len(name) > self._limits.name:
            raise BudgetExceeded(
                f"A layer's name has {len(name)} characters; at most {self._limits.name} are read."
            )
        if is_model(entry):
            outside, self._prefix = self._prefix, f"{self._prefix}{name}/"
            model = self.model(entry, name=name, needs_input=needs_input)
            self._prefix = outside
            return model
        layer = self._leaf(entry, name)
        entries = inner_entries(layer.kind, options(entry)) if layer.problem is None else {}
        return replace(layer, inner=self._inside(layer, entries)) if entries else layer

    def _leaf(self, entry: JsonObject, name: str) -> LayerNode:
        """A layer, or the one that the user puts in its place."""
        class_name = str(entry.get("class_name")).rpartition(">")[2]
        path = self._prefix + name
        if self._replacements:
            self._classes.append((path, class_name))
        found = self._replacements.find(path, class_name)
        if found is None:
            return keras_layers.canonical(entry, name=name, major=self._major, data_format=self._data_format)
        wish, replacement = found
        self._wishes.add(wish)
        self.replaced.append(f"{path} ({class_name[:80]}) is replaced by {replacement}, as asked")
        other = replaced_entry(entry, replacement, keeps=class_name != "Lambda")
        node = keras_layers.canonical(other, name=name, major=self._major, data_format=self._data_format)
        # Its weights are stored under the class in the file.
        return replace(node, class_name=str(entry.get("class_name")), asked=frozenset(replacement.options))

    def _inside(self, wrapper: LayerNode, entries: Mapping[str, JsonObject]) -> dict[str, _Node]:
        """What a wrapper holds; a model in it takes its tensor as one that is called."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise BudgetExceeded(f"Its layers wrap each other more than {DEEPEST} deep.")
        names = layer_names(list(entries.values()))
        outside, self._prefix = self._prefix, f"{self._prefix}{wrapper.name}/"
        inner = {
            attribute: self._layer(entry, name, needs_input=True)
            for (attribute, entry), name in zip(entries.items(), names, strict=True)
        }
        self._prefix = outside
        self._depth -= 1
        return inner

    def _sequential(
        self, body: JsonObject, wiring: _Wiring, *, needs_input: bool
    ) -> tuple[int, tuple[TensorRef, ...]]:
        """Lay out a Sequential; how many tensors it takes, and its output."""
        entries = layer_entries(body["layers"])
        if not entries:
            raise DamagedFile("A Sequential in it has no layers.")
        names = layer_names(entries)
        first, arity = entries[0], 0
        branches = options(first).get("layers") if first["class_name"] == "Merge" else None
        if branches is None:
            tensor, arity = self._begin(first, names[0], wiring, arity, body, needs_input=needs_input)
        else:
            # Keras 1: a Sequential that begins by merging the ends of others.
            ends: list[TensorRef] = []
            inner = layer_entries(branches)
            for entry, name in zip(inner, layer_names(inner), strict=True):
                tensor, arity = self._begin(entry, name, wiring, arity, {}, needs_input=needs_input)
                ends.append(tensor)
            tensor = wiring.call(wiring.add(self._layer(first, names[0])), tuple(ends))
        places = {names[0]: (tensor.layer, first)}
        for entry, name in zip(entries[1:], names[1:], strict=True):
            place, twin = places.get(name, (None, entry))
            # Up to Keras 2 a layer that was added twice is listed twice.
            if twin != entry or (place is not None and self._major > 2):
                raise DamagedFile(f"Two layers of a model are called {name[:80]!r}.")
            position = wiring.add(self._layer(entry, name)) if place is None else place
            places[name] = position, entry
            tensor = wiring.call(position, (tensor,))
        return arity, (tensor,)

    def _begin(
        self,
        entry: JsonObject,
        name: str,
        wiring: _Wiring,
        arity: int,
        body: JsonObject,
        *,
        needs_input: bool,
    ) -> tuple[TensorRef, int]:
        """Lay out the first layer of a chain, which takes the tensors from number `arity` on."""
        layer = self._layer(entry, name, needs_input=needs_input)
        if isinstance(layer, ModelNode):
            count = layer.arity
            tensors = tuple(TensorRef(OUTSIDE, 0, arity + number) for number in range(count))
        else:
            count = 1
            tensors = (TensorRef(OUTSIDE, 0, arity),)
            if needs_input and layer.kind != _INPUT:
                # What is in a wrapper takes the shape that the wrapper is called on.
                shape = None if self._depth else input_shape(entry, body)
                config = {"batch_shape": shape, "dtype": layer.config.get("dtype")}
                unwritten = LayerNode(name=f"{name}_input", kind=_INPUT, class_name=_INPUT, config=config)
                tensors = (wiring.call(wiring.add(unwritten), tensors),)
        return wiring.call(wiring.add(layer), tensors), arity + count

    def _functional(self, body: JsonObject, wiring: _Wiring) -> tuple[int, tuple[TensorRef, ...]]:
        """Lay out a Functional model; how many tensors it takes, and its outputs."""
        entries = layer_entries(body["layers"])
        names = layer_names(entries)
        places = {name: place for place, name in enumerate(names)}
        if len(places) < len(names):
            twice = next(name for place, name in enumerate(names) if places[name] != place)
            raise DamagedFile(f"Two layers of a model are called {twice[:80]!r}.")
        inbound = [listed(entry, "inbound_nodes") for entry in entries]
        nodes = [[parse(node, names=places) for node in calls] for calls in inbound]
        for entry, name, calls in zip(entries, names, nodes, strict=True):
            wiring.add(as_called(self._layer(entry, name), calls))
        inputs = list(references(body["input_layers"]))
        outputs = list(references(body.get("output_layers")))
        check((*inputs, *outputs), names=places)
        for number, (name, _, _) in enumerate(inputs):
            layer = wiring.layers[places[name]]
            if not isinstance(layer, LayerNode) or layer.kind != _INPUT or wiring.calls[places[name]]:
                raise DamagedFile(f"A model's input {name[:80]!r} is no input layer, or there twice.")
            wiring.call(places[name], (TensorRef(OUTSIDE, 0, number),))
        keras_3 = any(isinstance(node, dict) and "args" in node for calls in inbound for node in calls)
        resolve = Resolver(wiring.layers, nodes, places, outputs, keras_3=keras_3)
        for place, calls in enumerate(nodes):
            for node in calls:
                tensors = tuple(resolve.tensor(reference) for reference in node.tensors)
                wiring.call(place, tensors, node.arguments)
        return len(inputs), tuple(resolve.output(reference) for reference in outputs)
