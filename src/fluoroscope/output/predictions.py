"""What a network's output says: probabilities of classes, or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fluoroscope.network.protocol import Layer

_EXCLUSIVE = frozenset({"softmax", "Softmax"})
_INDEPENDENT = frozenset({"sigmoid", "hard_sigmoid", "Sigmoid", "HardSigmoid"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """An output of a network, ready to be shown.

    Attributes
    ----------
    layer
        Name of the output.
    meaning
        ``exclusive``: probabilities of classes of which one holds; ``independent``: probabilities each for
        itself; ``numbers``: no probabilities.
    labels, values
        In the order of the output. A single probability has become two, of the class and of its opposite.
    named
        True when the labels are class names.
    """

    layer: str
    meaning: Literal["exclusive", "independent", "numbers"]
    labels: tuple[str, ...]
    values: NDArray[np.float64]
    named: bool

    def top(self, count: int) -> list[tuple[str, float]]:
        """The `count` greatest, greatest first; what is not a number comes last."""
        order = np.argsort(-np.where(np.isnan(self.values), -np.inf, self.values), kind="stable")
        return [(self.labels[index], float(self.values[index])) for index in order[:count].tolist()]


def read_prediction(layer: Layer, values: NDArray[np.float32], classes: Sequence[str] = ()) -> Prediction:
    """Tell what an output's values are.

    They are probabilities when the output's activation says so and they lie in 0..1, or, whatever it is
    called, when there are several of them in 0..1 that sum to 1 within 0.001.

    Parameters
    ----------
    layer
        The output's row of the layer table.
    values
        ``(classes,)``.
    classes
        Their names. For a single value one name, of what it is the probability of, or two, of what it is
        when it is 0 and when it is 1. Other numbers of names are those of another output, and not used.
    """
    wide = values.astype(np.float64)
    within = bool(np.all((wide >= 0) & (wide <= 1)))
    names = {layer.activation or "", layer.kind}
    meaning: Literal["exclusive", "independent", "numbers"] = "numbers"
    if within and wide.size > 1 and (names & _EXCLUSIVE or abs(wide.sum() - 1) <= 1e-3):
        meaning = "exclusive"
    elif within and names & _INDEPENDENT:
        meaning = "independent"
    if wide.size == 1 and len(classes) in (1, 2) and meaning == "independent":
        labels = (f"not {classes[0]}", *classes) if len(classes) == 1 else tuple(classes)
        return Prediction(
            layer=layer.name,
            meaning="exclusive",
            labels=labels,
            values=np.array([1 - wide[0], wide[0]]),
            named=True,
        )
    noun = "value" if meaning == "numbers" else "class" if wide.size > 1 else "probability"
    named = len(classes) == wide.size
    if named:
        labels = tuple(classes)
    else:
        labels = tuple(f"{noun} {index}" for index in range(wide.size)) if wide.size > 1 else (noun,)
    return Prediction(layer=layer.name, meaning=meaning, labels=labels, values=wide, named=named)
