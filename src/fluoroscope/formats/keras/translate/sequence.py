"""Sequences as batches: what is done to each step by itself is done to all at once."""

from __future__ import annotations

from dataclasses import replace

from fluoroscope.formats.keras.translate.builder import Mask, Value
from fluoroscope.formats.keras.translate.step import Step


class FoldedSequence:
    """The steps of a sequence in the batch, and out of it again.

    Parameters
    ----------
    value
        The sequence, of shape ``(steps, ...)``.
    """

    def __init__(self, step: Step, value: Value) -> None:
        self._step = step
        self._value = value
        self._done: dict[tuple[str, int], Value] = {}
        self._steps = value.shape[0]

    def folded(self, value: Value) -> Value:
        """``(batch, steps, ...)`` as ``(batch * steps, ...)``."""
        tensor, inner = value.tensor, value.shape[1:]
        moved = value.moved and len(inner) > 1
        if value.moved:
            # From (batch, channels, steps, ...): the steps come to the batch, the channels stay in front.
            tensor = self._step.node("Transpose", tensor, perm=(0, 2, 1, *range(3, value.rank + 1)))
        result = Value(
            tensor="",
            shape=inner,
            channel=value.channel - 1 if value.channel else len(inner) - 1,
            moved=moved,
            dtype=value.dtype,
            mask=self._inner_mask(value.mask),
        )
        return replace(result, tensor=self._reshaped(tensor, (-1,), result.tensor_shape, 2))

    def _inner_mask(self, mask: Mask | None) -> Mask | None:
        """What is left of a mask within a step: nothing of one that runs along the steps only."""
        if mask is None or mask.rank < 2:
            return None
        return Mask(
            tensor=self._reshaped(mask.tensor, (-1,), (None,) * (mask.rank - 1), 2), rank=mask.rank - 1
        )

    def unfolded(self, value: Value) -> Value:
        """``(batch * steps, ...)`` as ``(batch, steps, ...)``."""
        made = value.tensor, value.channel
        if made not in self._done:
            self._done[made] = self._unfolded(value)
        return self._done[made]

    def _unfolded(self, value: Value) -> Value:
        step = self._step
        result = replace(
            value,
            tensor="",
            shape=(self._steps, *value.shape),
            channel=value.channel + 1 if value.shape else 0,
            moved=False,
            mask=None,
        )
        if self._steps is not None:
            tensor = self._reshaped(value.tensor, (-1, self._steps), value.tensor_shape, 1)
        else:
            tensor = self.in_front(value.tensor)
        if value.moved:
            # From (batch, steps, channels, ...).
            tensor = step.node("Transpose", tensor, perm=(0, 2, 1, *range(3, result.rank + 1)))
        return replace(result, tensor=tensor, moved=value.moved)

    def in_front(self, tensor: str) -> str:
        """A tensor ``(batch * steps, ...)`` as ``(batch, steps, ...)``, whatever sizes are known."""
        step = self._step
        places = step.graph.integers([0, self._value.axis(0)])
        before = step.node("Gather", step.node("Shape", self._value.tensor), places)
        sizes = step.node("Concat", before, step.node("Shape", tensor, start=1), axis=0)
        return step.node("Reshape", tensor, sizes)

    def _reshaped(
        self, tensor: str, batch: tuple[int, ...], rest: tuple[int | None, ...], behind: int
    ) -> str:
        """`tensor` with other axes in front; its axes from `behind` on stay."""
        step = self._step
        known = [size for size in rest if size is not None]
        if len(known) == len(rest):
            return step.node("Reshape", tensor, step.graph.integers([*batch, *known]))
        sizes = step.node("Shape", tensor, start=behind)
        return step.node("Reshape", tensor, step.node("Concat", step.graph.integers(batch), sizes, axis=0))
