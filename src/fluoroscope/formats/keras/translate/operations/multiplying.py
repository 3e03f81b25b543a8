"""Products of matrices, and sums over any indices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from string import ascii_letters
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoroscope.formats.keras.translate.builder import Value
from fluoroscope.formats.keras.translate.known import Known, Operand
from fluoroscope.formats.keras.translate.operations.call import Call, Result
from fluoroscope.formats.keras.translate.options import brief
from fluoroscope.network.protocol import Shape

_EQUATION = re.compile(r"[A-Za-z.,]*(->[A-Za-z.]*)?")
_DOTS = "..."


def matmul(call: Call) -> Result:
    """The matrix product over the last two axes."""
    left, right = call.operand("x1"), call.operand("x2")
    left = _turned(call, left, call.flag("transpose_a") or call.flag("adjoint_a"))
    right = _turned(call, right, call.flag("transpose_b") or call.flag("adjoint_b"))
    ranks = [_rank(left), _rank(right)]
    if min(ranks) < 1:
        call.unsupported("multiplies a number as if it were a matrix")
    letters = ascii_letters[: max(ranks) + 3]
    shared, row, column = letters[-3], letters[-2], letters[-1]
    rows = _DOTS + row + shared if ranks[0] > 1 else shared
    columns = _DOTS + shared + column if ranks[1] > 1 else shared
    if _is_vector(left) or _is_vector(right):
        call.mixes_pictures("multiplies the batch as if it were a matrix")
    out = _DOTS + row * (ranks[0] > 1) + column * (ranks[1] > 1)
    terms, target, sizes = _indexed(call, [rows, columns], out, [left, right])
    if all(isinstance(operand, Known) for operand in (left, right)):
        return _folded(call, f"{','.join(terms)}->{target}", [left, right])
    _check_batch(call, terms, target, [left, right])
    tensors = [_tensor(call, operand) for operand in (left, right)]
    return call.reread(call.step.node("MatMul", *tensors), tuple(sizes[letter] for letter in target[1:]))


def einsum(call: Call) -> Result:
    """``bij,bjk->bik``: products summed over every index that the result does not have."""
    return summed(call, call.text("subscripts", ""), call.operands("operands"))


def summed(call: Call, subscripts: str, operands: Sequence[Operand]) -> Operand:
    """The sum of products that `subscripts` say; all tensors in them have the batch as their first index."""
    written = subscripts.replace(" ", "")
    if len(written) > 200 or not _EQUATION.fullmatch(written):
        call.unsupported(f"sums by the equation {brief(subscripts)}, which is none")
    before, arrow, out = written.partition("->")
    terms = before.split(",")
    if len(terms) != len(operands):
        call.unsupported(f"sums {len(operands)} tensors by the equation {brief(subscripts)}")
    if not arrow:
        once = sorted({letter for letter in before if before.count(letter) == 1} - set(".,"))
        out = _DOTS * (_DOTS in before) + "".join(once)
    terms, out, sizes = _indexed(call, terms, out, operands)
    equation = f"{','.join(terms)}->{out}"
    if all(isinstance(operand, Known) for operand in operands):
        return _folded(call, equation, operands)
    _check_batch(call, terms, out, operands)
    tensors = [_tensor(call, operand) for operand in operands]
    shape: Shape = tuple(sizes[letter] for letter in out[1:])
    return call.reread(call.step.node("Einsum", *tensors, equation=equation), shape)


def tensordot(call: Call) -> Result:
    """Summed over axes of the first and as many of the second: so many, or a list for each."""
    left, right = call.operand("x1"), call.operand("x2")
    given = call.known("axes")
    ranks = [_rank(left), _rank(right)]
    if given is None or given.ndim == 0:
        count = 2 if given is None else int(given)
        pairs = [list(range(ranks[0] - count, ranks[0])), list(range(count))]
    else:
        if len(given) != 2:
            call.unsupported(f"sums over axes={brief(given.tolist())}, not a list for each tensor")
        pairs = [np.atleast_1d(axes).tolist() for axes in given]
    axes = [
        [call.place("axes", axis, rank) for axis in entry] for entry, rank in zip(pairs, ranks, strict=True)
    ]
    return contracted(call, left, right, axes[0], axes[1])


def dot(call: Call) -> Result:
    """NumPy's ``dot``: the last axis of the first with the last but one of the second."""
    left, right = call.operand("x1"), call.operand("x2")
    if min(_rank(left), _rank(right)) < 1:
        call.unsupported("multiplies by a single number, which is written as a product")
    return contracted(call, left, right, [_rank(left) - 1], [max(_rank(right) - 2, 0)])


def inner(call: Call) -> Result:
    """NumPy's ``inner``: the last axes of both."""
    left, right = call.operand("x1"), call.operand("x2")
    return contracted(call, left, right, [_rank(left) - 1], [_rank(right) - 1])


def outer(call: Call) -> Result:
    """Every number of one with every number of the other."""
    call.mixes_pictures("multiplies the numbers of all pictures with each other")


def contracted(
    call: Call, left: Operand, right: Operand, first: Sequence[int], second: Sequence[int]
) -> Operand:
    """The sum over pairs of axes; what is left of the first, then of the second."""
    if len(first) != len(second):
        call.unsupported("sums over other numbers of axes of its two tensors")
    letters = iter(ascii_letters)
    rows = [next(letters) for _ in range(_rank(left))]
    columns = [next(letters) for _ in range(_rank(right))]
    for a, b in zip(first, second, strict=True):
        columns[b] = rows[a]
    out = [letter for letter in (*rows, *columns) if (letter in rows) != (letter in columns)]
    return summed(call, f"{''.join(rows)},{''.join(columns)}->{''.join(out)}", [left, right])


def _turned(call: Call, operand: Operand, turn: bool) -> Operand:
    """With its last two axes exchanged."""
    if not turn:
        return operand
    if isinstance(operand, Known):
        return Known(operand.array.swapaxes(-1, -2)) if operand.array.ndim > 1 else operand
    if operand.rank < 2:
        call.mixes_pictures("transposes the batch")
    value = call.graph.in_keras_order(operand)
    order = [*range(value.rank - 1), value.rank, value.rank - 1]
    tensor = call.step.node("Transpose", value.tensor, perm=order)
    return call.reread(tensor, (*value.shape[:-2], value.shape[-1], value.shape[-2]))


def _rank(operand: Operand) -> int:
    """Axes, batch included."""
    return operand.array.ndim if isinstance(operand, Known) else operand.rank + 1


def _is_vector(operand: Operand) -> bool:
    return isinstance(operand, Value) and operand.rank < 1


def _tensor(call: Call, operand: Operand) -> str:
    if isinstance(operand, Value):
        return call.graph.in_keras_order(operand).tensor
    array = call.numbers(operand)
    return call.constant(array)


def _folded(call: Call, equation: str, operands: Sequence[Operand]) -> Known:
    """Of numbers alone. Bounded: the steps are as many as there are combinations of indices."""
    arrays: list[NDArray[Any]] = [operand.array for operand in operands if isinstance(operand, Known)]
    sizes: dict[str, int] = {}
    for term, array in zip(equation.partition("->")[0].split(","), arrays, strict=True):
        sizes.update(zip(term, array.shape, strict=True))
    call.step.allow_table(prod(sizes.values()))
    try:
        return Known(np.einsum(equation, *arrays))
    except (TypeError, ValueError) as error:
        call.unsupported(f"sums numbers in a way that cannot be: {str(error)[:120]}")


def _indexed(
    call: Call, terms: Sequence[str], out: str, operands: Sequence[Operand]
) -> tuple[list[str], str, dict[str, int | None]]:
    """The terms with a letter for every axis, no dots; and each letter's size (None for the batch)."""
    free = [letter for letter in ascii_letters[::-1] if letter not in "".join((*terms, out))]
    most = max(
        (
            _rank(operand) - len(term.replace(_DOTS, ""))
            for term, operand in zip(terms, operands, strict=True)
            if _DOTS in term
        ),
        default=0,
    )
    if most < 0 or most > len(free):
        call.unsupported("sums tensors of fewer axes than its equation has")
    dotted = "".join(free[:most])
    spelled: list[str] = []
    sizes: dict[str, int | None] = {}
    for term, operand in zip(terms, operands, strict=True):
        count = _rank(operand) - len(term.replace(_DOTS, ""))
        full = term.replace(_DOTS, dotted[most - count :] if count > 0 else "")
        if len(full) != _rank(operand) or "." in full or count < 0:
            call.unsupported(f"sums a tensor of {_rank(operand)} axes as {brief(term)}")
        shape = operand.array.shape if isinstance(operand, Known) else (None, *operand.shape)
        for letter, size in zip(full, shape, strict=True):
            known = sizes.get(letter)
            one = letter in dotted and 1 in (known, size)
            if size is not None and known is not None and size != known and not one:
                call.unsupported(f"sums over an index of {known} and of {size}")
            sizes[letter] = size if known is None or known == 1 else known
        spelled.append(full)
    made = out.replace(_DOTS, dotted)
    if "." in made or len(set(made)) < len(made) or not set(made) <= set(sizes):
        call.unsupported(f"makes {brief(out)} by an equation that has not all of it")
    return spelled, made, sizes


def _check_batch(call: Call, terms: Sequence[str], out: str, operands: Sequence[Operand]) -> None:
    """Every tensor's first index is the batch, and so is the result's; no number has it."""
    first = {term[0] for term, operand in zip(terms, operands, strict=True) if isinstance(operand, Value)}
    batch = first.pop()
    fits = (
        not first
        and out[:1] == batch
        and all(
            term.count(batch) == isinstance(operand, Value)
            for term, operand in zip(terms, operands, strict=True)
        )
    )
    if not fits:
        call.mixes_pictures(f"sums {','.join(terms)}->{out}")
