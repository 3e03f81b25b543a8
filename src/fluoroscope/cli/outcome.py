"""What came of rendering a picture, in words and for machines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fluoroscope.cli.terminal import painted, wrapped
from fluoroscope.output.typography import counted, number, numbers_in_runs, percent, speakable

if TYPE_CHECKING:
    from fluoroscope.activations import Activations, FeatureMaps
    from fluoroscope.network.protocol import Network
    from fluoroscope.output.predictions import Prediction

_NAME = 60
"""Characters shown of a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNumbers:
    """What is said of a layer.

    Attributes
    ----------
    sparsity
        Fraction of the activations that are not above zero; NaN without finite ones.
    flat, nonfinite
        Numbers of the channels of which all values are equal, and of those with NaN or infinities.
    """

    name: str
    number: int
    kind: str
    shape: tuple[int, ...]
    channels: int
    sparsity: float
    flat: tuple[int, ...]
    nonfinite: tuple[int, ...]


def layer_numbers(maps: FeatureMaps) -> LayerNumbers:
    """The numbers of feature maps, from their statistics.

    A channel of a vector is a single value: it varies nowhere, and is not called flat.
    """
    import numpy as np

    statistics = maps.statistics
    flat = np.zeros(len(maps), bool) if maps.is_vector else statistics.flat
    broken = ~np.isfinite(maps.values.reshape(-1)) if maps.is_vector else statistics.nonfinite > 0
    return LayerNumbers(
        name=maps.name,
        number=maps.number,
        kind=maps.layer.kind,
        shape=maps.values.shape,
        channels=len(maps),
        sparsity=statistics.sparsity,
        flat=tuple(maps.channels[i] for i in np.flatnonzero(flat)),
        nonfinite=tuple(maps.channels[i] for i in np.flatnonzero(broken)),
    )


class Watched:
    """Activations in parts, passed on as they are; of each layer the numbers are kept.

    They are taken when the next part is asked for: by then whoever drew the part has computed them.
    """

    def __init__(self, parts: Iterable[Activations]) -> None:
        self._parts = parts
        self.layers: dict[str, LayerNumbers] = {}
        self.last: Activations | None = None

    def __iter__(self) -> Iterator[Activations]:
        for part in self._parts:
            yield part
            self.note(part)

    def note(self, part: Activations) -> None:
        """Keep the numbers of `part`."""
        self.last = part
        for name, maps in part.items():
            if name not in self.layers:
                self.layers[name] = layer_numbers(maps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A picture that was rendered.

    Attributes
    ----------
    picture, output
        Paths; of several inputs that all are named, that of the first.
    inputs
        Input -> path.
    seconds
        From its file to the output.
    steps
        What was done, from the files to the tensors.
    layers
        In network order.
    predictions
        What the outputs say that are vectors.
    remarks
        What to know about the pictures' values; also among `steps`.
    """

    picture: str
    inputs: Mapping[str, str]
    output: str
    seconds: float
    steps: tuple[str, ...]
    layers: tuple[LayerNumbers, ...]
    predictions: tuple[Prediction, ...] = ()
    remarks: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For machines; ``docs/cli.md`` says what each entry means."""
        return {
            "picture": self.picture,
            "inputs": [{"input": name, "file": path} for name, path in self.inputs.items()],
            "output": self.output,
            "seconds": round(self.seconds, 3),
            "steps": list(self.steps),
            "layers": [asdict(layer) for layer in self.layers],
            "predictions": [
                {
                    "layer": prediction.layer,
                    "meaning": prediction.meaning,
                    "labels": list(prediction.labels),
                    "values": prediction.values.tolist(),
                }
                for prediction in self.predictions
            ],
        }

    def words(self) -> str:
        """For people, in a few lines: what was written, what the network says, what is odd."""
        channels = sum(layer.channels for layer in self.layers)
        made = f"{counted(len(self.layers), 'layer')}, {counted(channels, 'channel')}, {self.seconds:.2f} s"
        # Wrapped without its colours, which take no room.
        first, *rest = wrapped(f"✓ {speakable(self.output)}  {made}", indent=2).split("\n")
        mark, name, numbers = first.partition(speakable(self.output))
        lines = [painted(mark, "green") + painted(name, "bold") + painted(numbers, "dim")]
        lines += [painted(line, "dim") for line in rest]
        lines += [wrapped(f"  {_top(prediction)}", indent=4) for prediction in self.predictions]
        lines += [wrapped(f"  {remark}", indent=4) for remark in dict.fromkeys(self.remarks)]
        lines += self._oddities("flat", "flat channel")
        lines += self._oddities(
            "nonfinite", "channel with NaN or infinite values", "channels with NaN or infinite values"
        )
        return "\n".join(lines)

    def _oddities(self, field: str, one: str, many: str = "") -> list[str]:
        """Channels to be listed, of at most three layers."""
        found = [(layer.name, getattr(layer, field)) for layer in self.layers if getattr(layer, field)]
        total = sum(len(channels) for _, channels in found)
        if not total:
            return []
        worst = sorted(found, key=lambda entry: -len(entry[1]))[:3]
        places = "; ".join(
            f"{speakable(name, _NAME)} {numbers_in_runs(channels, 6)}" for name, channels in worst
        )
        rest = f"; {counted(len(found) - 3, 'more layer')}" if len(found) > 3 else ""
        text = f"  {total:,} {one if total == 1 else many or one + 's'}: {places}{rest}"
        return [wrapped(text, indent=4)]


def network_remarks(network: Network) -> list[str]:
    """What is worth knowing of the network itself: notes of its reader, layers that cannot be run."""
    texts = [speakable(note) for note in network.provenance.notes]
    broken = [layer for layer in network.layers if layer.problem is not None]
    if broken:
        texts.append(
            f"{counted(len(broken), 'layer')} cannot be run, from {speakable(broken[0].name, _NAME)} on: "
            f"{speakable(broken[0].problem or '')}"
        )
    return [painted("note", "yellow") + wrapped(f"note  {text}", indent=6)[len("note") :] for text in texts]


def _top(prediction: Prediction) -> str:
    """The greatest values of an output."""
    shares = prediction.meaning != "numbers"
    values = (
        f"{speakable(label, _NAME)} {percent(value) if shares else number(value)}"
        for label, value in prediction.top(3)
    )
    return f"{speakable(prediction.layer, _NAME)}: {', '.join(values)}"
