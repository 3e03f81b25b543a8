"""What is known of one tensor's receptive field, and the node that makes the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from fluoroscope.network.tracing import Trace

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis of a tensor: unit ``i`` sees ``[i * stride + offset, i * stride + offset + size)``.

    Attributes
    ----------
    position
        Its place among the tensor's axes.
    extent
        Its length; None where it is not known.
    picture
        Length of the picture's axis that it runs along; None where it is not known.
    size, stride, offset
        In pixels of the picture.
    """

    position: int
    extent: int | None
    picture: int | None
    size: float = 1.0
    stride: float = 1.0
    offset: float = 0.0

    def behind(self, extent: int | None, low: float, high: float, step: float) -> Axis:
        """Behind an operator whose unit ``i`` takes units ``i * step + low`` to ``i * step + high``."""
        return replace(
            self,
            extent=extent,
            size=self.size + (high - low) * self.stride,
            stride=self.stride * step,
            offset=self.offset + low * self.stride,
        )

    @property
    def covers(self) -> bool:
        """True when its only unit sees the picture from end to end."""
        return (
            self.extent == 1
            and self.picture is not None
            and self.offset <= 0
            and self.offset + self.size >= self.picture
        )


@dataclass(frozen=True, slots=True)
class Field:
    """What is known of one tensor.

    Attributes
    ----------
    axes
        Its spatial axes, by position; empty where none runs along the picture any more.
    whole
        Every value depends on the whole picture.
    regular
        False where single values see boxes that no stride and offset describe (a flattened map).
    """

    axes: tuple[Axis, ...] = ()
    whole: bool = False
    regular: bool = True

    @property
    def positions(self) -> tuple[int, ...]:
        """Positions of the spatial axes."""
        return tuple(axis.position for axis in self.axes)


WHOLE = Field(whole=True)
IRREGULAR = Field(regular=False)


@dataclass(frozen=True, slots=True)
class Context:
    """A node, and what the trace knows of the tensors around it.

    Attributes
    ----------
    names
        Of the tensors taken that depend on the picture, in the order of their fields.
    weights
        Of the graph, by tensor name.
    """

    node: onnx.NodeProto
    traced: Trace
    opset: int
    names: Sequence[str]
    weights: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])

    def value(self, place: int) -> NDArray[Any] | None:
        """The value of an input that is a small constant."""
        return self.traced.values.get(self.node.input[place]) if place < len(self.node.input) else None

    def weight(self, place: int) -> NDArray[Any] | None:
        """The value of an input that is a weight, or a small constant."""
        known = self.value(place)
        return known if known is not None else self.weights.get(self.node.input[place])

    def given(self, place: int) -> bool:
        """True when the optional input is there."""
        return place < len(self.node.input) and bool(self.node.input[place])

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """Shape of a tensor; None where its rank is not known."""
        kind = self.traced.types.get(name)
        return kind.shape if kind is not None else None

    @property
    def before(self) -> tuple[int | None, ...] | None:
        """Shape of the first tensor that depends on the picture."""
        return self.shape(self.names[0])

    @property
    def after(self) -> tuple[int | None, ...] | None:
        """Shape of what the node makes."""
        return self.shape(self.node.output[0])

    def extent(self, axis: Axis) -> int | None:
        """Length of the same axis in what the node makes."""
        after = self.after
        return after[axis.position] if after is not None and axis.position < len(after) else None
