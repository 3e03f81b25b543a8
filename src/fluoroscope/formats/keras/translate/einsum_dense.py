"""EinsumDense: a kernel summed with the input by an equation of indices."""

from __future__ import annotations

import re
from string import ascii_letters
from typing import Any

from fluoroscope.formats.keras.translate.activations import activated
from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.options import brief
from fluoroscope.formats.keras.translate.step import Step
from fluoroscope.network.protocol import Shape

_EQUATION = re.compile(r"(\.\.\.)?([a-zA-Z]+)(\.\.\.)?,([a-zA-Z]+)->(\.\.\.)?([a-zA-Z]+)(\.\.\.)?")


def einsum_dense(step: Step) -> Value:
    """``equation`` such as ``abc,cde->abde``; the bias has the indices in `bias_axes`."""
    value = step.graph.in_keras_order(step.value)
    term, kernel_term, out, spelled = _terms(step, value.rank + 1)
    sizes: dict[str, int | None] = dict(zip(term, (None, *value.shape), strict=True))
    if out[0] != term[0] or term[0] in kernel_term or term.count(term[0]) + out.count(term[0]) != 2:
        step.unsupported("mixes the pictures of a batch: each is computed by itself here")
    given: Any = step.options.raw("output_shape")
    listed = list(given) if isinstance(given, (list, tuple)) else [given]
    # Sizes of the last of the indices that the equation spells; null for what the input has.
    for letter, size in zip(spelled[::-1], listed[::-1], strict=False):
        if size is not None and letter not in term:
            sizes[letter] = step.options.whole("output_shape", size, 1)
    kernel_shape = tuple(sizes.get(letter) for letter in kernel_term)
    if None in kernel_shape:
        step.damaged(f"has a kernel {kernel_term!r} of unknown size, by its output_shape={brief(given)}")
    kernel = step.constant("kernel", step.variable("kernel", kernel_shape))
    tensor = step.node("Einsum", value.tensor, kernel, equation=f"{term},{kernel_term}->{out}")
    axes: Any = step.options.raw("bias_axes")
    if axes:
        if not isinstance(axes, str) or not set(axes) <= set(out[1:]):
            step.damaged(f"has bias_axes={brief(axes)}, which its result {out!r} has not")
        first = min(map(out.index, axes))
        shape = tuple(sizes[letter] if letter in axes else 1 for letter in out[first:])
        tensor = step.node("Add", tensor, step.constant("bias", step.variable("bias", shape)))
    made: Shape = tuple(sizes[letter] for letter in out[1:])
    return activated(step, Value(tensor=tensor, shape=made, channel=len(made) - 1))


def _terms(step: Step, rank: int) -> tuple[str, str, str, str]:
    """The indices of input, kernel and result with letters for dots; and the result's without these."""
    given: Any = step.options.raw("equation")
    written = given.replace(" ", "") if isinstance(given, str) else ""
    match = _EQUATION.fullmatch(written) if len(written) < 100 else None
    if match is None:
        step.damaged(f"has equation={brief(given)}, which is none")
    before, inner, behind, kernel, out_before, out, out_behind = match.groups()
    free = [letter for letter in ascii_letters[::-1] if letter not in written]
    dots = "".join(free[: rank - len(inner)]) if before or behind else ""
    term = (dots if before else "") + inner + (dots if behind else "")
    result = (dots if out_before else "") + out + (dots if out_behind else "")
    known = set(term) | set(kernel)
    if (before and behind) or len(term) != rank or len(set(term)) < len(term) or not set(result) <= known:
        step.damaged(f"has equation={brief(given)} for an input of {rank} axes")
    if len(set(result)) < len(result) or len(set(kernel)) < len(kernel):
        step.damaged(f"has equation={brief(given)}, in which an index stands twice")
    return term, kernel, result, out
