"""Known layers in the place of others: of Lambdas, classes of the author's, layers without a translation.

What such a layer computes is not in the file, or only as a program. Whoever knows says so:
``lambda_1=Rescaling:scale=1/127.5,offset=-1``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, cast

from fluoroscope.errors import UsageError
from fluoroscope.formats.keras.json import JsonObject

CLASS = "class:"
"""Before the name of a class: all layers of it are meant."""

_PATTERN = re.compile(r"[*?\[]")
_FRACTION = re.compile(r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*/\s*([\d.]+(?:[eE][-+]?\d+)?)\s*")
_EXAMPLE = "lambda_1=Rescaling:scale=1/255,offset=0"

Wish = str | tuple[str, Mapping[str, Any]]
"""A class and its options, as text or apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """A layer in the place of another.

    Attributes
    ----------
    kind
        Class by Keras 3.
    options
        Its options, as far as given; of a class of the author's that is derived from `kind` the file tells
        the others.
    """

    kind: str
    options: Mapping[str, Any]

    def __str__(self) -> str:
        listed = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{self.kind}({listed})"


class Replacements:
    """Which layers others stand for.

    Parameters
    ----------
    wishes
        From a layer's name, its path (``vgg16/scale``), a pattern of these, or ``class:`` and a class, to
        what stands for it. A path counts before a name, a name before a pattern, a pattern before a class.
    """

    def __init__(self, wishes: Mapping[str, Replacement] | None = None) -> None:
        self._wishes = dict(wishes or {})

    def __bool__(self) -> bool:
        return bool(self._wishes)

    def plain(self) -> dict[str, list[Any]]:
        """As JSON can hold them; `of_plain` is the way back."""
        return {wish: [own.kind, dict(own.options)] for wish, own in self._wishes.items()}

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> Replacements:
        """Those that `plain` gave."""
        return cls({wish: Replacement(kind=kind, options=options) for wish, (kind, options) in plain.items()})

    def find(self, path: str, class_name: str) -> tuple[str, Replacement] | None:
        """What stands for a layer, and the words by which it was meant; None for most."""
        own = path.rpartition("/")[2]
        patterns = [wish for wish in self._wishes if _PATTERN.search(wish)]
        meant = (
            path if path in self._wishes else None,
            own if own in self._wishes else None,
            next((wish for wish in patterns if fnmatchcase(path, wish) or fnmatchcase(own, wish)), None),
            f"{CLASS}{class_name}" if f"{CLASS}{class_name}" in self._wishes else None,
        )
        wish = next(filter(None, meant), None)
        return None if wish is None else (wish, self._wishes[wish])

    def check_used(self, used: Collection[str], layers: Iterable[tuple[str, str]]) -> None:
        """Refuse what no layer was meant by.

        Parameters
        ----------
        used
            The words that found a layer.
        layers
            Path and class of every layer.

        Raises
        ------
        UsageError
            With the names nearest to it.
        """
        unused = next((wish for wish in self._wishes if wish not in used), None)
        if unused is None:
            return
        known = list(layers)
        if unused.startswith(CLASS):
            names = sorted({f"{CLASS}{class_name}" for _, class_name in known})
        else:
            names = [path for path, _ in known]
        near = get_close_matches(unused, names, n=2)
        hint = (
            f"Did you mean {' or '.join(map(repr, near))}?"
            if near
            else "`fluoroscope summary MODEL` lists them."
        )
        what = "class" if unused.startswith(CLASS) else "name or path"
        raise UsageError(f"--replace {unused}=...: no layer has this {what}. {hint}")


def parse_replacements(given: Mapping[str, Wish], kinds: Collection[str]) -> Replacements:
    """What a user typed or wrote.

    Parameters
    ----------
    given
        From layers to ``"Rescaling:scale=1/127.5,offset=-1"``, or to ``("Rescaling", {"scale": ...})``.
    kinds
        The classes that there are.

    Raises
    ------
    UsageError
        A class that there is not, or something else than options.
    """
    wishes: dict[str, Replacement] = {}
    for layer, wish in given.items():
        if isinstance(wish, str):
            kind, mark, text = wish.partition(":")
            options = _options(layer, kind.strip(), text) if mark else {}
        else:
            kind, options = wish
            options = {name: _plain(value) for name, value in options.items()}
        kind = kind.strip()
        if kind not in kinds:
            near = get_close_matches(kind, kinds, n=2, cutoff=0.5)
            hint = f" Did you mean {' or '.join(near)}?" if near else f" For example: {_EXAMPLE}."
            raise UsageError(f"--replace {layer}={kind}: no layer is called {kind!r}.{hint}")
        if not layer:
            raise UsageError(f"--replace ={kind}: the layer's name is missing. For example: {_EXAMPLE}.")
        wishes[layer] = Replacement(kind=kind, options=_positional(kind, options))
    return Replacements(wishes)


def split_option(option: str) -> tuple[str, str]:
    """``NAME=KIND...`` of the command line in two.

    A name may hold ``=``; a class holds none, and its options stand behind a colon.

    Raises
    ------
    UsageError
        It has no such form.
    """
    match = re.fullmatch(r"(.+?)=([A-Za-z]\w*(?::.*)?)", option, re.DOTALL)
    if match is None:
        raise UsageError(
            f"--replace {option!r}: it is NAME=KIND or NAME=KIND:option=value,... as in {_EXAMPLE}."
        )
    return match[1], match[2]


def _options(layer: str, kind: str, text: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for part in _parts(text):
        name, mark, value = part.partition("=")
        if not mark and len(options) == 0 and name.strip():
            options[""] = _value(name)  # Activation:relu
            continue
        if not mark or not name.strip().isidentifier():
            raise UsageError(
                f"--replace {layer}={kind}:{text}: {part.strip()!r} is no option=value. For example: "
                f"{_EXAMPLE}."
            )
        if name.strip() in options:
            raise UsageError(f"--replace {layer}={kind}:{text}: {name.strip()!r} is given twice.")
        options[name.strip()] = _value(value)
    return options


def _parts(text: str) -> list[str]:
    """Split at the commas that are in no brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _positional(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with a value that was given without a name under the name of the class's first option."""
    named = dict(options)
    if "" in named:
        first = _FIRST.get(kind)
        if first is None:
            raise UsageError(
                f"--replace ...={kind}:{named['']}: say which option it is: {kind}:option=value."
            )
        named[first] = named.pop("")
    return named


_FIRST = {
    "Activation": "activation",
    "Rescaling": "scale",
    "Reshape": "target_shape",
    "Permute": "dims",
    "Softmax": "axis",
    "Concatenate": "axis",
    "Cropping2D": "cropping",
    "ZeroPadding2D": "padding",
    "UpSampling2D": "size",
}
"""The option that a class is mostly called with alone."""


def _value(text: str) -> Any:
    """A number, a fraction of two, a list, true, false or null; anything else is a name."""
    text = text.strip()
    if fraction := _FRACTION.fullmatch(text):
        try:
            return float(fraction[1]) / float(fraction[2])
        except (ValueError, ZeroDivisionError):
            return text
    if text in ("True", "False", "None"):
        return {"True": True, "False": False, "None": None}[text]
    if text.startswith("(") and text.endswith(")"):
        text = f"[{text[1:-1].rstrip(', ')}]"
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.strip("'\"")


def _plain(value: Any) -> Any:
    """A Python value as JSON has it."""
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in cast("list[Any]", value)]
    return value.item() if hasattr(value, "item") else value


def replaced_entry(entry: JsonObject, replacement: Replacement, *, keeps: bool) -> JsonObject:
    """The entry of a layer's config with another class.

    Parameters
    ----------
    keeps
        The options in the file hold for the new class too: it is the base of the author's.
    """
    inner = entry.get("config")
    own = cast(JsonObject, inner) if isinstance(inner, dict) else {}
    kept = own if keeps else {name: own[name] for name in _OF_EVERY_LAYER if name in own}
    # Without its module and registered name: the class is Keras's now.
    rest = {name: value for name, value in entry.items() if name not in ("module", "registered_name")}
    return {**rest, "class_name": replacement.kind, "config": {**kept, **replacement.options}}


_OF_EVERY_LAYER = ("name", "trainable", "dtype", "batch_input_shape", "batch_shape", "input_shape")
