"""A live Keras model in canonical form: its config and the arrays it holds; nothing is saved, nothing run.

Works alike for Keras 3 on any backend and for tf_keras, which are asked for nothing but what both have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fluoroscope.errors import NetworkError, UnsupportedLayer
from fluoroscope.formats.keras.config import read_config
from fluoroscope.formats.keras.graph import TreePath, unfold
from fluoroscope.formats.keras.json import parse
from fluoroscope.formats.keras.model import KerasModel
from fluoroscope.formats.keras.tree import LayerNode, ModelNode
from fluoroscope.formats.keras.variables import Array
from fluoroscope.formats.keras.weights import layer_weights
from fluoroscope.formats.limits import Limits
from fluoroscope.formats.live.keras.watching import KERAS, is_keras_own, is_model, values_of

_NAMED_FUNCTIONS = (*KERAS, "tensorflow.", "jax.", "torch.")
"""Modules whose functions are, in a config, called what they are called everywhere."""


def read_live(model: Any, *, version: str) -> KerasModel:
    """Architecture and weights of a live ``keras.Model`` as of now: later training changes nothing here.

    Parameters
    ----------
    model
        Functional or Sequential, of Keras's own layers, nested ones too.
    version
        Of the library that it is an object of.

    Raises
    ------
    UnsupportedLayer
        It has a layer, a function or a ``call`` of its author's, or is not built: only its own framework can
        run it.
    NetworkError
        Its config or its arrays are not those of any known version.
    """
    _refuse_own_code(model)
    limits = Limits()
    config = parse(_architecture(model), what="Its config", limits=limits)
    major, minor = (int(part) for part in version.split(".")[:2])
    root, notes = read_config(config, major=major, limits=limits)
    weights = dict(_weights(root, model, (), "", major))
    unfolded = unfold(root, weights, limits=limits)
    return KerasModel(
        name=root.name,
        calls=unfolded.calls,
        inputs=unfolded.inputs,
        outputs=unfolded.outputs,
        keras_version=(major, minor),
        writer=version,
        sequential=root.sequential,
        notes=notes,
    )


def _architecture(model: Any) -> str:
    try:
        return model.to_json()
    except Exception as error:  # whatever a class of the author's raises when asked for its config
        raise UnsupportedLayer(f"{model.name!r} cannot tell its config: {error}") from error


def _refuse_own_code(model: Any) -> None:
    """Names do not decide here, as they do in a file: a class of the author's may have any name."""
    for layer in model._flatten_layers():
        kind = type(layer)
        calls = next(base for base in kind.__mro__ if "call" in vars(base))
        # A model may be of a class of its author's that changes training only; a layer's options are its own.
        decisive = calls if is_model(layer) else kind
        if not is_keras_own(decisive):
            raise UnsupportedLayer(f"Layer {layer.name!r} ({kind.__name__}) is a class of its author's.")
        function = getattr(layer, "activation", None)
        module = str(getattr(function, "__module__", ""))
        if hasattr(function, "__name__") and not module.startswith(_NAMED_FUNCTIONS):
            raise UnsupportedLayer(f"Layer {layer.name!r} has an activation function of its author's.")
        if kind.__name__ == "Lambda":
            raise UnsupportedLayer(f"Layer {layer.name!r} (Lambda) is a function of its author's.")


def _weights(
    node: LayerNode | ModelNode, live: Any, path: TreePath, label: str, major: int
) -> Iterator[tuple[TreePath, dict[str, Array]]]:
    """For each layer below `node`, whose object is `live`, its arrays by name."""
    if isinstance(node, LayerNode):
        objects = [_held(live, place) for place in node.inner]
        inside = {id(variable) for held in objects for variable in held.weights}
        variables = [*live.trainable_weights, *live.non_trainable_weights]
        stored = [
            (getattr(variable, "path", variable.name), values_of(variable))
            for variable in variables
            if id(variable) not in inside
        ]
        yield path, layer_weights(node, label, stored, major=major)
        for place, (child, held) in enumerate(zip(node.layers, objects, strict=True)):
            yield from _weights(child, held, (*path, place), f"{label}/{child.name}", major)
        return
    layers: Mapping[str, Any] = {layer.name: layer for layer in live.layers}
    for place, child in enumerate(node.layers):
        if child.name in layers:
            name = f"{label}/{child.name}".lstrip("/")
            yield from _weights(child, layers[child.name], (*path, place), name, major)
        elif not isinstance(child, LayerNode) or child.kind != "InputLayer":
            raise NetworkError(f"{live.name!r} has no layer {child.name!r}, which its config lists.")


def _held(wrapper: Any, place: str) -> Any:
    """What a wrapper has at a place as `LayerNode.inner` names it: ``layer``, or ``cells/0`` of a list."""
    attribute, _, number = place.partition("/")
    held = getattr(wrapper, attribute)
    return held[int(number)] if number else held
