"""Where each node of an ONNX graph stands in the network that was exported, as far as names tell.

==========================  ====================================================  ======================
written by                  a node is called                                      and stands in
==========================  ====================================================  ======================
PyTorch, TorchScript        ``/layer1/layer1.0/conv1/Conv``                       ``layer1.0.conv1``
PyTorch, torch.export       ``node_conv2d_3``, its metadata hold the modules      ``layer1.0.conv1``
tf2onnx                     ``StatefulPartitionedCall/model/conv2d/Conv2D``       ``conv2d``
others                      ``Conv_12`` or nothing; its kernel ``conv1_weights``  nowhere; is ``conv1``
==========================  ====================================================  ======================

PyTorch's scopes are written as `named_modules` does. Of TensorFlow's, what all of them begin with is left
out: it is the name of the model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_TORCH_SCOPES = "pkg.torch.onnx.name_scopes"
_TORCH_RULES = "pkg.onnxscript.rewriter.rule_name"
_FOLDED_BATCH_NORM = "FuseBatchNormIntoConv"
_QUOTED = re.compile(r"'([^']*)'")

_SCOPED = re.compile(r"(?:/[\w.:>@-]+)+")
"""Names that are paths: https://www.tensorflow.org/api_docs/python/tf/Graph#name_scope has the rule."""

_CALL = re.compile(r"(?:StatefulPartitionedCall|PartitionedCall)(?:_\d+)?")

_CONVERTERS = re.compile(r"__\d+$")
"""How the words of nodes end that tf2onnx put in."""

_WEIGHT = re.compile(
    r"[._/](?:weights?|kernel|filter|gamma|scale|s|w|W|ReadVariableOp|quantized|fused_bn|w_0|s_0|scale_0|:?\d)"
    r"(?:_quantized|_0|:0)*$"
)
"""How the names of weights end behind that of their layer."""

_VALUE = re.compile(r"(?:[._]tmp_\d+|:\d+|_output(?:_\d+)?|_Y|_O)$")
"""How the names of values end behind that of their layer."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node stands.

    Attributes
    ----------
    scope
        Path of the module or layer it belongs to; empty where none is known.
    word
        What it is called in there.
    named
        Whether the file calls it so: the name tells more than the operator, and no scope is known.
    joint
        What stands between both.
    """

    scope: str
    word: str
    joint: str = "."
    named: bool = False

    @property
    def put_in(self) -> bool:
        """Whether a converter put the node in, to suit what is around it."""
        return _CONVERTERS.search(self.word) is not None

    @property
    def path(self) -> str:
        """Scope and word."""
        return f"{self.scope}{self.joint}{self.word}" if self.scope else self.word


@dataclass(frozen=True, slots=True)
class Scopes:
    """The places of all nodes, by the first tensor that each makes.

    Attributes
    ----------
    telling
        Whether names tell the modules of the network: then an activation belongs to a layer only where it
        stands in its scope.
    inner
        Scopes that have others in them: what stands in one of those is a part of it, never the whole.
    """

    places: Mapping[str, Place]
    telling: bool
    inner: frozenset[str]

    def of(self, node: onnx.NodeProto) -> Place:
        """The place of a node of this graph."""
        return self.places[_made(node)]

    def leaf(self, node: onnx.NodeProto) -> str:
        """The scope of a node, if there are only nodes in it; empty otherwise."""
        scope = self.of(node).scope
        return "" if scope in self.inner else scope


def scopes(nodes: Sequence[onnx.NodeProto]) -> Scopes:
    """The places of `nodes`."""
    uses = Counter(name for node in nodes for name in dict.fromkeys(node.input))
    places = _without_model({_made(node): _place(node, uses) for node in nodes})
    inner: set[str] = set()
    for scope, joint in {(place.scope, place.joint) for place in places.values() if place.scope}:
        parts = scope.split(joint)
        inner.update(joint.join(parts[:end]) for end in range(1, len(parts)))
    telling = any(place.scope for place in places.values()) or any(name.endswith(".weight") for name in uses)
    return Scopes(places, telling, frozenset(inner))


def _made(node: onnx.NodeProto) -> str:
    return next(name for name in node.output if name)


def _place(node: onnx.NodeProto, uses: Mapping[str, int]) -> Place:
    metadata = {entry.key: entry.value for entry in node.metadata_props}
    listed = _QUOTED.findall(metadata.get(_TORCH_SCOPES, "")[:4000])
    if len(listed) > 1:
        own = _weights_layer(node, uses)
        if _FOLDED_BATCH_NORM in metadata.get(_TORCH_RULES, "") and own:
            # It is said to be the batch normalization that was folded into it.
            return Place(own, node.op_type)
        # A function of several nodes: its last makes what it is called after.
        word = listed[-1] if _made(node) == listed[-1] else f"{listed[-1]}.{node.op_type}"
        return Place(listed[-2], word)
    if node.name.startswith("/") and _SCOPED.fullmatch(node.name):
        return _torch_place(node.name)
    made = _made(node)
    # TensorFlow's values have the names of what makes them; others' names with strokes in them tell nothing.
    for name in (node.name, made if made.endswith(":0") else ""):
        # Converted twice, a node has the names of all that became it.
        first = name.split(";")[0].removesuffix(":0")
        if "/" in first and _SCOPED.fullmatch(f"/{first}"):
            scope, word = first.rsplit("/", 1)
            return Place(scope, word, "/")
    return Place(
        "", _flat_name(node, uses), named=bool(node.name) and not _is_general(node.name, node.op_type)
    )


def _torch_place(name: str) -> Place:
    """``/layer1/layer1.0/conv1/Conv``: a child in a list repeats the name of the list."""
    *modules, word = name.strip("/").split("/")
    path: list[str] = []
    for module in modules:
        if path and module.startswith(f"{path[-1]}."):
            path.pop()
        path.append(module)
    return Place(".".join(path), word)


def _without_model(places: dict[str, Place]) -> dict[str, Place]:
    """TensorFlow's scopes without what all of them begin with."""
    paths = [place.scope.split("/") for place in places.values() if place.joint == "/"]
    shared = 0
    if paths:
        shortest = min(map(len, paths))
        while shared < shortest and len({path[shared] for path in paths}) == 1:
            shared += 1
    cut: dict[str, Place] = {}
    for name, place in places.items():
        parts = place.scope.split("/")[shared:] if place.joint == "/" else None
        if parts is not None:
            while parts and _CALL.fullmatch(parts[0]):
                del parts[0]
            place = Place("/".join(parts), place.word, "/")
        cut[name] = place
    return cut


def _is_general(name: str, operator: str) -> bool:
    """True for a name that tells no more than the operator: ``Conv_12``, ``p2o.Conv.0``, ``n7``, ``363``."""
    return bool(re.fullmatch(rf"{re.escape(operator)}[._@]?\d*|p2o\.[\w.]+|(?:n|r|node_?)\d+|\d*", name))


def _flat_name(node: onnx.NodeProto, uses: Mapping[str, int]) -> str:
    """The name of a node that stands in no scope: its own, its kernel's, or that of what it makes."""
    if not _is_general(node.name, node.op_type):
        return node.name
    made = _made(node)
    layer = _weights_layer(node, uses)
    if layer:
        return layer
    if not _is_general(made, node.op_type):
        return _VALUE.sub("", made) or made
    if node.name and not re.fullmatch(r"n?\d*", node.name):
        return node.name
    number = re.sub(r"\D", "", made)
    return f"{node.op_type}_{number}" if number else node.op_type


def _weights_layer(node: onnx.NodeProto, uses: Mapping[str, int]) -> str:
    """The layer that the name of a node's weights tells; empty for weights that several share."""
    for name in _parameters(node):
        if uses[name] == 1 and (ending := _WEIGHT.search(name)):
            layer = name[: ending.start()]
            layer = layer.removesuffix("_quantized").strip("./")
            if any(sign.isalpha() for sign in layer) and "::" not in layer:
                return layer
    return ""


def _parameters(node: onnx.NodeProto) -> Iterable[str]:
    places = {"QLinearConv": (3,), "QLinearMatMul": (3,), "MatMul": (1, 0), "LSTM": (1,), "GRU": (1,)}
    weighted = (
        "Conv",
        "ConvTranspose",
        "ConvInteger",
        "Gemm",
        "MatMulInteger",
        "BatchNormalization",
        "PRelu",
    )
    chosen = places.get(node.op_type, (1,) if node.op_type in weighted else ())
    return [node.input[place] for place in chosen if place < len(node.input) and node.input[place]]
