"""Activations, in whatever way a config spells them, as one plain name or a layer with options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

LINEAR = "linear"

_NAMES = frozenset(
    (
        "abs celu cos elu erf exponential gelu gelu_tanh glu hard_shrink hard_sigmoid hard_silu hard_tanh "
        "leaky_relu linear lisht log_sigmoid log_softmax mish quick_gelu relu relu6 selu sigmoid silu sin "
        "soft_shrink softmax softplus softsign sparse_plus sparse_sigmoid sparsemax sqrt square squareplus "
        "tanh tanh_shrink"
    ).split()
)
_ALIASES = {
    "approximate_gelu": "gelu_tanh",
    "exp": "exponential",
    "gelu_fast": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "h_swish": "hard_silu",
    "hard_swish": "hard_silu",
    "hardswish": "hard_silu",
    "hswish": "hard_silu",
    "identity": LINEAR,
    "log_softmax_v2": "log_softmax",
    "softmax_v2": "softmax",
    "swish": "silu",
}
"""Names that TensorFlow's functions have, and those under which public code adds functions of its own."""

_PUBLIC = {
    name: _ALIASES.get(name, name)
    for name in "gelu gelu_new h_swish hard_swish hardswish hswish mish quick_gelu relu6 silu swish".split()
}
"""Names that mean one thing wherever they are published, also where an author registered their own."""

_ADDONS = {
    "gelu": "gelu_tanh",
    "hardshrink": "hard_shrink",
    "lisht": "lisht",
    "mish": "mish",
    "softshrink": "soft_shrink",
    "tanhshrink": "tanh_shrink",
}
"""Functions of TensorFlow Addons, with its defaults."""

_KERAS2_NAMES = {"hard_sigmoid": "hard_sigmoid_keras2"}
"""clip(0.2 x + 0.5, 0, 1) up to Keras 2; since Keras 3 the name means relu6(x + 3) / 6."""

_PACKAGES = ("keras", "tf_keras", "tensorflow")

_LAYERS = frozenset("ELU LeakyReLU ReLU Softmax ThresholdedReLU".split())
"""Layers without variables that can stand where a function is asked for."""

_RELU6_CAP, _LEAKY_SLOPE = 6, 0.2
"""Of the functions ``relu6`` and ``leaky_relu``. The layer LeakyReLU has another default."""


def canonical(value: Any, *, major: int) -> tuple[str | Mapping[str, Any], str | None]:
    """The activation by Keras 3, and what keeps it from being understood.

    Parameters
    ----------
    value
        A name, null, ``{"class_name": "function", "config": name}``, or a serialized layer.
    major
        Of the Keras version that wrote it: ``hard_sigmoid`` changed its meaning.

    Returns
    -------
    activation, problem
        A name; ``{"class_name": kind, "config": options}`` for a layer whose options no plain function has.
        With a problem, the name is `LINEAR` and stands for nothing.
    """
    if value is None:
        return LINEAR, None
    spelled = value
    if isinstance(value, dict):
        given = cast(Mapping[str, Any], value)
        inner = given.get("config")
        if given.get("class_name") == "function":
            spelled = _spelled(given)
        elif given.get("class_name") == "Activation" and isinstance(inner, dict):
            return canonical(cast(Mapping[str, Any], inner).get("activation"), major=major)
        elif isinstance(inner, dict):
            kind, options = str(given.get("class_name")), cast(Mapping[str, Any], inner)
            spelled = _layer_function(kind, options)
            if spelled is None and kind in _LAYERS and _keras(given):
                return {"class_name": kind, "config": _by_keras_3(kind, options)}, None
    if isinstance(spelled, str):
        owner, name = _owner(spelled), spelled.rpartition(">")[2]
        if owner == "Addons":
            name = _ADDONS.get(name)
        elif owner is not None:
            name = _PUBLIC.get(name)
        else:
            name = _ALIASES.get(name, name)
            name = (_KERAS2_NAMES.get(name, name) if major < 3 else name) if name in _NAMES else None
        if name is not None:
            return name, None
    return LINEAR, _problem(value)


def assumed(value: Any) -> str | None:
    """The public name by which an author's own function, registered under it, is understood; else None."""
    given = cast(Mapping[str, Any], value) if isinstance(value, dict) else {"config": value}
    spelled = _spelled(given) if given.get("class_name", "function") == "function" else None
    owner = _owner(spelled) if isinstance(spelled, str) else None
    name = str(spelled).rpartition(">")[2]
    return name if owner not in (None, "Addons") and name in _PUBLIC else None


def _spelled(given: Mapping[str, Any]) -> Any:
    """A function's name, behind the package that it is registered in."""
    name, registered = given.get("config"), given.get("registered_name")
    package = registered.rpartition(">")[0] if isinstance(registered, str) else ""
    return f"{package}>{name}" if package and isinstance(name, str) and ">" not in name else name


def _owner(spelled: str) -> str | None:
    """The package of ``Custom>swish``; None for a name of Keras's."""
    package = spelled.rpartition(">")[0].split(".")[0]
    return package if package and package not in _PACKAGES else None


def _custom(registered: Any) -> bool:
    """True for ``Custom>ReLU``: a class that the author registered, whatever Keras has of that name."""
    return isinstance(registered, str) and _owner(registered) is not None


def _keras(given: Mapping[str, Any]) -> bool:
    """False where the class is of another package than Keras's, by all that is told."""
    module = given.get("module")
    own = not isinstance(module, str) or module.split(".")[0] in _PACKAGES
    return own and not _custom(given.get("registered_name"))


def _by_keras_3(kind: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """A layer's options by their names in Keras 3, which calls LeakyReLU's `alpha` its `negative_slope`."""
    if kind != "LeakyReLU":
        return options
    return {("negative_slope" if name == "alpha" else name): value for name, value in options.items()}


def _layer_function(kind: str, config: Mapping[str, Any]) -> str | None:
    """The plain function that a layer object with these options is, if there is one."""
    slope = config.get("negative_slope", config.get("alpha"))
    if kind == "ReLU" and not slope and not config.get("threshold"):
        cap = config.get("max_value")
        return "relu" if cap is None else "relu6" if cap == _RELU6_CAP else None
    if kind == "LeakyReLU" and isinstance(slope, (int, float)) and abs(slope - _LEAKY_SLOPE) < 1e-6:
        return "leaky_relu"
    if kind == "ELU" and slope == 1:
        return "elu"
    if kind == "Softmax" and config.get("axis") in (-1, [-1]):
        return "softmax"
    return None


def _problem(value: Any) -> str:
    if isinstance(value, dict):
        given = cast(Mapping[str, Any], value)
        inner = given.get("config")
        name = inner if isinstance(inner, str) else given.get("class_name")
        if name == "__lambda__":
            return "its activation is a lambda: marshalled Python bytecode, which is never run"
        if isinstance(inner, dict):
            return f"its activation is a {str(name)[:80]} layer with options that no plain activation has"
    else:
        name = value
    return (
        f"its activation {str(name)[:80]!r} is none of Keras's: it is a function of the author's, "
        "whose code is not in the file"
    )
