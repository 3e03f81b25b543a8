"""Architectures by name from an installed library, with weights from a file. Nothing is downloaded."""

from __future__ import annotations

import ast
import importlib
import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from fluoroscope.errors import MissingDependency, UsageError
from fluoroscope.formats.state_dict import Matched, StoredTensor, Tensors, matched

LIBRARIES = ("timm", "torchvision")

_INSTALL = {
    "timm": "pip install timm (or --no-deps, where torch and torchvision are there already)",
    "torchvision": "pip install torchvision, in the version that goes with your torch",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What ``timm:resnet18,num_classes=2`` says.

    Attributes
    ----------
    library
        One of `LIBRARIES`.
    name
        Of a model in it.
    options
        Arguments of its constructor: numbers, texts, tuples, true or false.
    """

    library: str
    name: str
    options: Mapping[str, Any]

    @classmethod
    def parse(cls, text: str) -> Architecture:
        """Read ``library:name`` or ``library:name,option=value,...``.

        Raises
        ------
        UsageError
            It is none.
        """
        library, _, rest = text.partition(":")
        name, *settings = _split(rest)
        if library not in LIBRARIES or not name:
            raise UsageError(
                f"--arch {text!r}: an architecture is said as timm:resnet18 or torchvision:resnet18, with "
                "options "
                "behind it if need be: timm:vit_tiny_patch16_224,img_size=64."
            )
        options: dict[str, Any] = {}
        for setting in settings:
            key, equals, value = setting.partition("=")
            if not equals or not key.strip().isidentifier():
                raise UsageError(f"--arch {text!r}: {setting!r} is no option=value.")
            options[key.strip()] = _value(value.strip())
        return cls(library=library, name=name.strip(), options=options)

    def __str__(self) -> str:
        return ",".join([f"{self.library}:{self.name}", *(f"{k}={v}" for k, v in self.options.items())])

    def module(self, **more: Any) -> nn.Module:
        """The module, with random weights; `more` are options too.

        Raises
        ------
        MissingDependency, UsageError
            The library is not installed; it has no such model, or not with these options.
        """
        library = _imported(self.library)
        known = set(library.list_models()) if self.library == "timm" else set(library.models.list_models())
        # Names such as hf-hub:... would be looked up in the network.
        if self.name.partition(".")[0] not in known:
            near = get_close_matches(self.name, known, n=3)
            hint = f" Did you mean {' or '.join(f'{self.library}:{name}' for name in near)}?" if near else ""
            raise UsageError(f"{self.library} {library.__version__} has no architecture {self.name!r}.{hint}")
        options = {**self.options, **more}
        try:
            # Initial weights are drawn, and then replaced: nobody's random numbers are to change by that.
            with torch.random.fork_rng(devices=[]):
                if self.library == "timm":
                    return cast("nn.Module", library.create_model(self.name, pretrained=False, **options))
                return cast(
                    "nn.Module",
                    library.models.get_model(self.name, **_without_weights(library, self.name), **options),
                )
        except (TypeError, ValueError, RuntimeError, AssertionError) as error:
            raise UsageError(f"{self} cannot be made: {type(error).__name__}: {error}") from error


def built(architecture: Architecture, tensors: Tensors) -> tuple[nn.Module, tuple[str, ...]]:
    """The architecture with the weights of a file, and what is to be said of them.

    The number of classes and of the picture's channels are those of the weights, where the architecture lets
    them be chosen and the user has not.

    Raises
    ------
    WeightMismatch
        Weights are missing, left over, or of another shape.
    """
    module = architecture.module()
    match = matched(tensors, _shapes(module))
    chosen = _inferred(architecture, match)
    if chosen:
        module = architecture.module(**chosen)
        match = matched(tensors, _shapes(module))
    match.check(str(architecture))
    state = module.state_dict()
    with torch.no_grad():
        for name, stored in match.weights.items():
            state[name].copy_(_tensor(stored))
    notes = [f"{key}={value}, from the weights" for key, value in chosen.items()]
    if match.prefix:
        notes.append(f"the names of its weights begin with {match.prefix!r}, left out")
    return module.eval(), tuple(notes)


def _inferred(architecture: Architecture, match: Matched) -> dict[str, int]:
    """Options that the shapes of the weights tell: the length of the last layer, the depth of the first."""
    options: dict[str, int] = {}
    firsts = {given[0] for given, wanted in match.shapes.values() if _other_at(given, wanted, 0)}
    channels = {
        given[1] for given, wanted in match.shapes.values() if len(given) == 4 and _other_at(given, wanted, 1)
    }
    if len(firsts) == 1:
        options["num_classes"] = firsts.pop()
    if len(channels) == 1 and architecture.library == "timm":
        options["in_chans"] = channels.pop()
    return {key: value for key, value in options.items() if key not in architecture.options}


def _other_at(given: tuple[int, ...], wanted: tuple[int, ...], axis: int) -> bool:
    """True for shapes that differ along this axis only."""
    return (
        len(given) == len(wanted) > axis
        and given[axis] != wanted[axis]
        and all(a == b for place, (a, b) in enumerate(zip(given, wanted, strict=True)) if place != axis)
    )


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _tensor(stored: StoredTensor) -> torch.Tensor:
    dtype = getattr(torch, stored.dtype)
    if not len(stored.data):
        return torch.empty(stored.shape, dtype=dtype)
    # What is made here is only read from; NumPy, unlike frombuffer, has a word for that.
    raw = np.frombuffer(stored.data, np.uint8)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        flat = torch.from_numpy(raw).view(dtype)
    return flat.as_strided(stored.shape, stored.strides, stored.offset)


def _imported(library: str) -> Any:
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as missing:
        if missing.name != library:
            raise
        raise MissingDependency(
            f"Architectures of {library} need {library}: {_INSTALL[library]}."
        ) from missing
    except (ImportError, RuntimeError) as error:
        raise MissingDependency(
            f"{library} is installed, but does not go with torch {torch.__version__}: {error}. "
            f"{_INSTALL['torchvision']}."
        ) from error


def _without_weights(library: Any, name: str) -> dict[str, Any]:
    """Arguments by which nothing is fetched: a detector fetches its backbone by default."""
    builder = library.models.get_model_builder(name)
    parameters = inspect.signature(builder).parameters
    options: dict[str, Any] = {"weights": None}
    if "weights_backbone" in parameters:
        options["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        # Their first weights take half a minute to draw.
        options["init_weights"] = False
    return options


def _split(text: str) -> list[str]:
    """At commas that are not inside brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _value(text: str) -> Any:
    try:
        return ast.literal_eval({"true": "True", "false": "False", "none": "None"}.get(text.lower(), text))
    except (ValueError, SyntaxError):
        return text
