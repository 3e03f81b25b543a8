"""The window that convolution and pooling slide: its steps, its padding, and the sizes it leaves.

TensorFlow's rule for ``same``, from its documentation of convolution: the output is ``ceil(size / stride)``
long, and of an odd amount of padding the larger half comes behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fluoroscope.formats.keras.translate.step import Step
from fluoroscope.network.protocol import Shape

PADDINGS = frozenset({"valid", "same"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Kernel size, strides and dilations along each spatial axis; padding is valid, same or causal."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    padding: str

    @property
    def spans(self) -> tuple[int, ...]:
        """Pixels from the first tap to the last, both included."""
        return tuple((size - 1) * step + 1 for size, step in zip(self.kernel, self.dilations, strict=True))

    def over(self, step: Step, sizes: Shape) -> tuple[Shape, dict[str, Any]]:
        """Slide over axes of these sizes.

        Returns
        -------
        sizes
            Of the output.
        attributes
            ``strides`` and ``pads`` (or, where they depend on a free size, ``auto_pad``) of the operator.
        """
        out: list[int | None] = []
        begins: list[int] = []
        ends: list[int] = []
        free = False
        for size, span, stride in zip(sizes, self.spans, self.strides, strict=True):
            if self.padding == "causal":
                total = begin = span - 1
            elif self.padding == "valid":
                total = begin = 0
            else:
                # What the last window of all, which begins within the picture, lacks behind it.
                rest = (stride if size is None else size % stride) or stride
                total = max(span - rest, 0)
                begin = total // 2
                free = free or (size is None and stride > 1 and span > 1)
            begins.append(begin)
            ends.append(total - begin)
            if size is None:
                out.append(None)
            elif size + total < span or size < 1:
                step.does_not_fit(f"has a window of {span} pixels, more than the {size} there are")
            else:
                out.append((size + total - span) // stride + 1)
        if free and (max(self.dilations) > 1 or any(map(int.__gt__, self.strides, self.spans))):
            # onnxruntime's own padding knows neither dilations nor strides beyond the window.
            step.needs_size("pads by strides beyond its window or with dilations")
        padding: dict[str, Any] = {"auto_pad": "SAME_UPPER"} if free else {"pads": (*begins, *ends)}
        return tuple(out), {"kernel_shape": self.kernel, "strides": self.strides, **padding}
