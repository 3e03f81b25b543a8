"""Loops over the steps of a sequence: ONNX's Scan, with a body that is emitted like any other nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onnx import TensorProto, ValueInfoProto, helper

from fluoroscope.formats.keras.translate.builder import Mask, Value
from fluoroscope.formats.keras.translate.step import Step

Body = Callable[[str, Sequence[Value]], Sequence[Value]]
"""From the tensor of one step, and the states, to the new states. The first of them is the step's output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looped:
    """What a loop leaves.

    Attributes
    ----------
    outputs
        The output of every step, ``(batch, steps, ...)``, in the order they were made.
    last
        The output of the last.
    states
        The states after it.
    """

    outputs: str
    last: str
    states: tuple[str, ...]


def loop(
    step: Step,
    sequence: str,
    initial: Sequence[Value],
    resting: Value,
    body: Body,
    *,
    mask: Mask | None,
    backwards: bool,
    zero_masked: bool,
) -> Looped:
    """Call `body` on each step of a sequence.

    Parameters
    ----------
    sequence
        A tensor ``(batch, steps, ...)``.
    initial
        States before the first step.
    resting
        Zeros, laid out as an output.
    mask
        Of the steps. Where it is false the states stay, and the output is the one before, `resting` at first.
    backwards
        From the last step to the first.
    zero_masked
        The output of a masked step is zeros.
    """
    graph = step.graph
    before = [_like(value, graph.unique(f"{step.name}/Scan/state")) for value in initial]
    previous = _like(resting, graph.unique(f"{step.name}/Scan/before"))
    current, kept = (graph.unique(f"{step.name}/Scan/{name}") for name in ("step", "mask"))
    with graph.body() as nodes:
        after = list(body(current, before))
        output = after[0]
        if mask is not None:
            here = step.node("Reshape", kept, graph.integers([-1] + [1] * resting.rank))
            otherwise = graph.scalar(0.0) if zero_masked else previous.tensor
            output = step.like(output, step.node("Where", here, output.tensor, otherwise))
            after = [
                step.like(new, step.node("Where", here, new.tensor, old.tensor))
                for new, old in zip(after, before, strict=True)
            ]
            before, after, initial = [*before, previous], [*after, output], [*initial, resting]
        # Each output of a body is a tensor of its own.
        results = [step.node("Identity", value.tensor) for value in (*after, output)]
    scanned = {current: (sequence, TensorProto.FLOAT)}
    if mask is not None:
        scanned[kept] = (mask.tensor, TensorProto.BOOL)
    whole = helper.make_graph(
        nodes,
        "step",
        [_declared(value.tensor) for value in before]
        + [_declared(name, kind) for name, (_, kind) in scanned.items()],
        [_declared(name) for name in results],
    )
    made = graph.node_of_many(
        "Scan",
        [*(value.tensor for value in initial), *(tensor for tensor, _ in scanned.values())],
        len(results),
        scope=step.name,
        body=whole,
        num_scan_inputs=len(scanned),
        scan_input_axes=[1] * len(scanned),
        scan_output_axes=[1],
        scan_input_directions=[int(backwards)] * len(scanned),
    )
    step.made.update(made)
    *states, outputs = made
    last = states.pop() if mask is not None else states[0]
    return Looped(outputs=outputs, last=last, states=tuple(states))


def _like(value: Value, tensor: str) -> Value:
    return Value(tensor=tensor, shape=value.shape, channel=value.channel, moved=value.moved)


def _declared(name: str, kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, None)
