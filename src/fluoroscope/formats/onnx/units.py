"""Which nodes of an ONNX graph are one layer to whoever made the network.

- A node that computes something is a layer: a convolution, a pooling, a sum.
- What belongs to it joins it, where nothing else takes the value in between: the bias that is added to a
  convolution or dense layer; scale and shift behind a normalization; the float scale behind a convolution
  of whole numbers; padding before a window; and the activation. Where names tell modules
  (`Scopes.telling`), only within the same one: a PyTorch ``ReLU`` is a module, and stays a layer.
  Elsewhere an activation joins the convolution, dense layer, normalization or sum before it, unless the
  file gives it a name of its own. What came before the activation is ``name:pre``.
- An activation or normalization that is written out as arithmetic is one layer, of the operator's name.
- What only moves values about or drops some (``Transpose``, ``Reshape``, ``Slice``), or writes them in
  other numbers (``Cast``, ``QuantizeLinear``), is no layer: the values stand in the row before. Unless it
  has a name or a module of its own (a ``Flatten`` layer), or is an output of the network.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from fluoroscope.formats.onnx.activations import activation_of, written_out
from fluoroscope.formats.onnx.operators import FAMILIES, REARRANGING, SHAPE_ONLY, WINDOWS
from fluoroscope.formats.onnx.scopes import Scopes
from fluoroscope.formats.onnx.told import Told
from fluoroscope.network.nodes import integer, reads

if TYPE_CHECKING:
    import onnx

_CARRIERS = frozenset({"conv", "dense", "normalization"})
"""Families of layers that have a bias, or a scale and a shift."""

_OF_WHOLE_NUMBERS = frozenset({"ConvInteger", "MatMulInteger"})
_OTHER_NUMBERS = frozenset(
    {"Cast", "CastLike", "DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"}
)
"""Operators that write the same values in other numbers."""


_MODULES = frozenset({"Dropout", "Expand", "Flatten", "Reshape", "Slice", "Transpose"})
"""Rearrangements that are layers, where they are alone in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Nodes that are one layer.

    Attributes
    ----------
    main
        The node that the layer is named after.
    kind
        The ONNX operator that it is, or would be in a newer operator set.
    nodes
        In order.
    tensor
        Its value.
    before
        The value before its activation; None without one.
    activation
        Name of the activation that joined it.
    spelled
        What nodes make that write out one operator: what they take beside is no weight.
    told
        What the file itself says of the layer.
    """

    main: onnx.NodeProto
    kind: str
    nodes: tuple[onnx.NodeProto, ...]
    tensor: str
    before: str | None = None
    activation: str | None = None
    spelled: frozenset[str] = frozenset()
    told: Told | None = None


@dataclass(frozen=True, slots=True)
class _Step:
    """One or several nodes that compute one thing, before layers are made of them."""

    kind: str
    nodes: tuple[onnx.NodeProto, ...]
    activation: str | None = None

    @property
    def main(self) -> onnx.NodeProto:
        return self.nodes[-1]

    @property
    def spelled(self) -> frozenset[str]:
        return frozenset(node.output[0] for node in self.nodes) if len(self.nodes) > 1 else frozenset()

    @property
    def output(self) -> str:
        return next(name for name in self.main.output if name)


class Units:
    """The layers of a graph.

    Parameters
    ----------
    nodes
        In topological order.
    constants
        Weights, by name.
    pictured
        Tensors that depend on what is in the picture.
    outputs
        Tensors that are outputs of the network.
    where
        The places of the nodes.
    layers
        What the file itself says of its layers: then they are those.

    Attributes
    ----------
    list
        In the order of their last nodes.
    told
        Those that the file tells of, in its order.
    aliases
        Tensors that hold the same values as another -> that one.
    """

    def __init__(
        self,
        nodes: Sequence[onnx.NodeProto],
        constants: Mapping[str, NDArray[Any]],
        pictured: Collection[str],
        outputs: Iterable[str],
        where: Scopes,
        layers: Sequence[Told] = (),
    ) -> None:
        self._where = where
        self._pictured = pictured
        self._outputs = frozenset(outputs)
        self._steps = self._composed([node for node in nodes if self._sees(node)], constants)
        self._takers: dict[str, list[_Step]] = {}
        for step in self._steps:
            inside = {name for node in step.nodes for name in node.output}
            for name in dict.fromkeys(name for node in step.nodes for name in reads(node)):
                if name not in inside:
                    self._takers.setdefault(name, []).append(step)
        computing = [step.main for step in self._steps if not self._rearranges(step)]
        self._busy = {where.leaf(node) for node in computing} | {where.of(node).path for node in computing}
        self._done: set[int] = set()
        self.list: list[Unit] = []
        self.aliases = {step.output: step.main.input[0] for step in self._steps if step.kind == "Identity"}
        padding = self._padding()
        for step in () if layers else self._steps:
            if id(step) not in self._done and self._is_layer(step):
                self.list.append(self._grown(step, padding.get(step.main.input[0])))
        self.told = list(_told_units([node for node in nodes if self._sees(node)], layers))
        self.list += self.told
        places = {id(node): place for place, node in enumerate(nodes)}
        self.list.sort(key=lambda unit: max(places[id(node)] for node in unit.nodes))

    def show(self, instead: Mapping[str, str]) -> None:
        """Have units show other tensors: the numbers that quantized ones mean.

        Parameters
        ----------
        instead
            Tensor -> the one to show.
        """
        self.list = [replace(unit, tensor=instead.get(unit.tensor, unit.tensor)) for unit in self.list]
        self.aliases.update(instead)

    def standing_for(self, tensor: str, known: Container[str]) -> str:
        """The tensor among those known that holds the values of `tensor`; itself if there is none."""
        found = tensor
        while found not in known and found in self.aliases:
            found = self.aliases[found]
        return found if found in known else tensor

    def _sees(self, node: onnx.NodeProto) -> bool:
        """Whether a node computes something of what is in the picture."""
        return node.op_type not in SHAPE_ONLY and any(
            name in self._pictured for name in (*reads(node), *node.output)
        )

    def _composed(
        self, nodes: Sequence[onnx.NodeProto], constants: Mapping[str, NDArray[Any]]
    ) -> list[_Step]:
        """The nodes, those that are an activation or a normalization together as one step."""
        grouped: dict[str, _Step] = {}
        found = [
            _Step(one.operator, one.nodes, one.name) for one in written_out(nodes, constants, self._outputs)
        ]
        for step in (*found, *_written_out_normalizations(nodes, self._outputs)):
            places = [self._where.of(node) for node in step.nodes]
            # Nodes of several modules, or with names of their own, are each something to whoever made them.
            one = len({place.scope for place in places}) == 1 and not any(
                place.named for place in places[:-1]
            )
            if one and grouped.keys().isdisjoint(step.spelled):
                grouped.update((name, step) for name in step.spelled)
        steps: list[_Step] = []
        for node in nodes:
            step = grouped.get(node.output[0])
            if step is None:
                steps.append(_Step(node.op_type, (node,), activation_of(node, constants)))
            elif node is step.main:
                # In its last node's place all that it takes is there.
                steps.append(step)
        return steps

    def _padding(self) -> dict[str, _Step]:
        """What is padded only for a window, by the tensor that the window takes."""
        found: dict[str, _Step] = {}
        for step in self._steps:
            takers = self._takers.get(step.output, ())
            if step.kind != "Pad" or step.output in self._outputs or len(takers) != 1:
                continue
            scope = self._where.leaf(step.main)
            alone = self._where.of(step.main).named or scope not in ("", self._where.leaf(takers[0].main))
            if takers[0].kind in WINDOWS and takers[0].main.input[0] == step.output and not alone:
                found[step.output] = step
                self._done.add(id(step))
        return found

    def _rearranges(self, step: _Step) -> bool:
        """Whether a step only moves values of the picture about. To look some up in a table is more."""
        return step.kind in REARRANGING and (step.kind != "Gather" or step.main.input[0] in self._pictured)

    def _is_layer(self, step: _Step) -> bool:
        if not self._rearranges(step):
            return True
        if step.kind == "Identity":
            return False
        if not self._outputs.isdisjoint(step.main.output):
            return True
        place = self._where.of(step.main)
        if step.kind not in _MODULES or place.put_in:
            return False
        if place.named:
            return True
        scope = self._where.leaf(step.main)
        if not scope or scope in self._busy:
            return False
        # Of several in one module the last is its value.
        return not any(
            self._where.of(taker.main).scope == scope for taker in self._takers.get(step.output, ())
        )

    def _grown(self, step: _Step, padding: _Step | None) -> Unit:
        """A unit of a step and all that joins it."""
        nodes = [*(padding.nodes if padding is not None else ()), *step.nodes]
        family = FAMILIES.get(step.kind, "other")
        tensor, before, activation = step.output, None, None
        spelled = {*step.spelled}
        while activation is None and (found := self._following(step, tensor)) is not None:
            path, after = found
            if not self._joins(after, step, family):
                break
            nodes += [node for part in (*path, after) for node in part.nodes]
            self._done.update(map(id, (*path, after)))
            spelled |= after.spelled
            if after.activation is not None:
                before, activation = path[-1].output if path else tensor, after.activation
            tensor = after.output
        return Unit(
            main=step.main,
            kind=step.kind,
            nodes=tuple(nodes),
            tensor=self._as_used(tensor),
            before=before,
            activation=activation,
            spelled=frozenset(spelled),
        )

    def _following(self, step: _Step, tensor: str) -> tuple[list[_Step], _Step] | None:
        """The only step that takes a tensor, behind those of the same place that only rearrange it."""
        path: list[_Step] = []
        while tensor not in self._outputs and len(takers := self._takers.get(tensor, ())) == 1:
            (after,) = takers
            if id(after) in self._done:
                return None
            if not self._rearranges(after):
                return (path, after) if self._belongs(after, step) else None
            if after.kind not in _OTHER_NUMBERS and not (self._where.telling and self._belongs(after, step)):
                return None
            path.append(after)
            tensor = after.output
        return None

    def _belongs(self, after: _Step, step: _Step) -> bool:
        """Whether what follows a step can be part of the same layer, by their places."""
        scope = self._where.of(step.main).scope
        return not self._where.telling or (bool(scope) and scope == self._where.of(after.main).scope)

    def _joins(self, after: _Step, step: _Step, family: str) -> bool:
        if after.kind in ("Add", "Mul") and step.kind in _OF_WHOLE_NUMBERS:
            return True
        # What is multiplied with what comes from the picture too is no dense layer; what is added, a sum.
        several = len(step.nodes) == 1 and self._variables(step) > 1 and step.kind not in _OF_WHOLE_NUMBERS
        carries = family in _CARRIERS and not several
        if after.activation is not None:
            return (carries or (family == "merge" and several)) and not self._where.of(after.main).named
        if not carries or self._variables(after) != 1:
            return False
        return after.kind == "Add" or (after.kind == "Mul" and family == "normalization")

    def _variables(self, step: _Step) -> int:
        return sum(name in self._pictured for name in reads(step.main))

    def _as_used(self, tensor: str) -> str:
        """The tensor behind what passes values on as they are, or rounds them to what those behind get."""
        while tensor not in self._outputs:
            takers = self._takers.get(tensor, ())
            if len(takers) != 1:
                break
            (after,) = takers
            if after.kind == "Identity" or (after.kind == "DequantizeLinear" and id(after) not in self._done):
                self._done.add(id(after))
                tensor = after.output
                continue
            behind = self._takers.get(after.output, [])
            rounded = after.kind == "QuantizeLinear" and after.output not in self._outputs
            if not rounded or {part.kind for part in behind} != {"DequantizeLinear"}:
                break
            # Each of those behind may dequantize for itself: all get the same.
            tensor = next((part.output for part in behind if part.output in self._outputs), behind[0].output)
            self.aliases.update((part.output, tensor) for part in behind if part.output != tensor)
            self._done.update(id(part) for part in behind)
        return tensor


def _told_units(nodes: Sequence[onnx.NodeProto], layers: Sequence[Told]) -> Iterable[Unit]:
    """The units that the file tells of: each with the nodes behind those of the layers before it."""
    makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    named = {layer.name for layer in layers}
    claimed: set[int] = set()
    for layer in layers:
        if layer.name not in makers or makers[layer.name] in claimed:
            continue
        own: set[int] = set()
        stack = [makers[layer.name]]
        while stack:
            index = stack.pop()
            own.add(index)
            before = {makers[name] for name in reads(nodes[index]) if name in makers and name not in named}
            stack.extend(before - own - claimed)
        claimed |= own
        last = nodes[makers[layer.name]]
        yield Unit(
            main=last,
            kind=layer.kind,
            nodes=tuple(nodes[index] for index in sorted(own)),
            tensor=layer.name,
            before=layer.pre if layer.pre in makers else None,
            activation=layer.activation,
            told=layer,
        )


def _written_out_normalizations(nodes: Sequence[onnx.NodeProto], kept: frozenset[str]) -> list[_Step]:
    """Layer normalization as sets before 17 have it: ``c / sqrt(mean(c²) + eps)``, ``c = x - mean(x)``."""
    makers = {name: node for node in nodes for name in node.output if name}
    takers: dict[str, set[int]] = {}
    for index, node in enumerate(nodes):
        for name in reads(node):
            takers.setdefault(name, set()).add(index)
    numbers = {id(node): index for index, node in enumerate(nodes)}
    found: list[_Step] = []
    for node in nodes:
        parts = _deviation(node, makers) if node.op_type == "Div" else None
        if parts is None:
            continue
        group = sorted({numbers[id(part)] for part in parts})
        inner = {name for index in group[:-1] for name in nodes[index].output}
        if inner.isdisjoint(kept) and all(takers.get(name, set()) <= set(group) for name in inner):
            found.append(_Step("LayerNormalization", tuple(nodes[index] for index in group)))
    return found


def _deviation(last: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto]) -> list[onnx.NodeProto] | None:
    def made(name: str, *kinds: str) -> onnx.NodeProto | None:
        node = makers.get(name)
        if node is not None and node.op_type == "Cast" and "Cast" not in kinds:
            node = makers.get(node.input[0])
        return node if node is not None and node.op_type in kinds else None

    centred, root = made(last.input[0], "Sub"), made(last.input[1], "Sqrt")
    shifted = made(root.input[0], "Add") if root is not None else None
    if centred is None or root is None or shifted is None:
        return None
    mean = made(centred.input[1], "ReduceMean")
    variance = next((node for name in shifted.input if (node := made(name, "ReduceMean")) is not None), None)
    square = made(variance.input[0], "Pow", "Mul") if variance is not None else None
    if mean is None or variance is None or square is None or mean.input[0] != centred.input[0]:
        return None
    if integer(mean, "keepdims", 1) != 1 or makers.get(square.input[0]) is not centred:
        return None
    return [mean, centred, square, variance, shifted, root, last]
