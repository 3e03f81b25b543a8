"""One layer of a config, of any Keras version, in canonical form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from fluoroscope.formats.keras import activations as keras_activations
from fluoroscope.formats.keras import functions as keras_functions
from fluoroscope.formats.keras import keras_1
from fluoroscope.formats.keras import lambda_hints as keras_lambda
from fluoroscope.formats.keras.json import JsonObject, plain_object
from fluoroscope.formats.keras.refused import REFUSED
from fluoroscope.formats.keras.translate.operations.keras_ops import KERAS
from fluoroscope.formats.keras.tree import LayerNode

_KERAS = re.compile(r"(keras|tf_keras|keras_core|tensorflow(_core)?(\.python)?\.keras)(\..*)?")
_OPERATIONS = re.compile(r"(^|\.)ops(\.|$)")

ALIASES: Mapping[str, str] = {
    "GroupedQueryAttention": "GroupQueryAttention",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    **{
        f"{prefix}Convolution{rank}D{suffix}": f"{prefix}Conv{rank}D{suffix}"
        for rank in (1, 2, 3)
        for prefix, suffix in (("", ""), ("", "Transpose"), ("Separable", ""))
        if (prefix, rank) != ("Separable", 3)
    },
    **{
        f"{prefix}{short}Pool{rank}D": f"{prefix}{full}Pooling{rank}D"
        for rank in (1, 2, 3)
        for prefix in ("", "Global")
        for short, full in (("Max", "Max"), ("Avg", "Average"))
    },
}

_REGISTERED = frozenset({"CustomScaleLayer"})
"""Classes of Keras's own applications that it registers as if they were their author's."""

_FOR_TRAINING = ("_initializer", "_regularizer", "_constraint")
_NOT_OPTIONS = frozenset(
    "name trainable batch_input_shape batch_shape input_shape input_dtype build_config".split()
)

_CONVOLUTION = re.compile(r"(Separable|Depthwise)?Conv([123])D(Transpose)?")
_LOCAL = re.compile(r"LocallyConnected([12])D")
_POOLING = re.compile(r"(Max|Average)Pooling([123])D")
_MARGINS = re.compile(r"(ZeroPadding|Cropping)([123])D")
_UPSAMPLING = re.compile(r"(UpSampling)([23])D")
_MARGIN_SIDES = ("top_pad", "bottom_pad", "left_pad", "right_pad")
_HAS_DATA_FORMAT = re.compile(
    r"(Separable|Depthwise)?Conv[123]D(Transpose)?|(Global|Adaptive)?(Max|Average)Pooling[123]D|UpSampling[23]D"
    r"|(ZeroPadding|Cropping)[23]D|Flatten|Resizing|CenterCrop|LocallyConnected[12]D|ConvLSTM[123]D"
)


def canonical(entry: JsonObject, *, name: str, major: int, data_format: str) -> LayerNode:
    """A layer by its entry in a model's list of layers.

    Parameters
    ----------
    entry
        With ``class_name`` and ``config``; newer versions add ``module`` and ``registered_name``.
    name
        The layer's own name, settled by the caller.
    major
        Of the Keras version that wrote it.
    data_format
        Where a layer has one and does not say which.

    Returns
    -------
    LayerNode
        With a `problem` when the layer is, or holds, a program, or something that only its author has.
    """
    spelled = str(entry.get("class_name"))
    given = plain_object(entry.get("config"))
    kind, problem = _kind(entry, given, major)
    fields = given
    if major == 1 or kind in keras_1.LEGACY:
        kind, fields, obsolete = keras_1.modern(kind, given)
        problem = problem or obsolete
    if kind == "Lambda":
        clues = keras_lambda.hints(given)
        mentions = f" (it mentions {clues})" if clues else ""
        problem = (
            f"{REFUSED[kind]}{mentions}. If you know what it does, say "
            f"so: --replace {name[:80]}={keras_lambda.suggestion(given)}"
        )
    fields, misfit = _fields(kind, fields, major=major, data_format=data_format)
    return LayerNode(
        name=name,
        kind=kind,
        class_name=spelled,
        config=fields,
        trainable=given.get("trainable") is not False,
        problem=problem or misfit,
        note=_note(given),
    )


def _note(given: Mapping[str, Any]) -> str | None:
    """What is taken for granted of a layer that names functions of its author's."""
    for option in ("activation", "recurrent_activation"):
        name = keras_activations.assumed(given.get(option))
        if name is not None:
            return f"the author's own activation {name!r} is read as the public function of that name"
    return None


def is_keras_module(module: Any) -> bool:
    """Whether a class from `module` is Keras's own: null counts, as old files do not tell."""
    if module is None or module == "":
        return True
    return _KERAS.fullmatch(str(module)) is not None


def is_keras(entry: Mapping[str, Any]) -> bool:
    """Whether an entry's class is Keras's own, by all that the entry tells."""
    return package(entry) is None and is_keras_module(entry.get("module"))


def package(entry: Mapping[str, Any]) -> str | None:
    """The author's package that a class is registered in (``Custom>MyLayer``); None for Keras's own."""
    for spelled in (entry.get("registered_name"), entry.get("class_name")):
        name = spelled if isinstance(spelled, str) else ""
        owner, mark, own = name.rpartition(">")
        if mark and not is_keras_module(owner) and own not in _REGISTERED:
            return owner
    return None


def _kind(entry: JsonObject, config: Mapping[str, Any], major: int) -> tuple[str, str | None]:
    """Class by Keras 3, and why it cannot be known what it does."""
    kind = str(entry.get("class_name")).rpartition(">")[2]
    module = entry.get("module")
    if (owner := package(entry)) is not None:
        return kind, (
            f"{kind[:80]!r} is a class of its author's ({owner[:80]}), whose code is not in the file"
            f"{_like(kind)}"
        )
    if not is_keras_module(module):
        return kind, (
            f"{kind[:80]!r} is a class from {str(module)[:80]!r}: not Keras's, and not imported{_like(kind)}"
        )
    if _OPERATIONS.search(str(module)) or _is_function(kind, entry, config, major):
        return f"{keras_functions.OPERATIONS}{kind}", None
    kind = keras_functions.wrapped(kind, config)
    kind = ALIASES.get(kind, kind)
    return kind, REFUSED.get(kind)


def _like(kind: str) -> str:
    return f". If it is like a class of Keras's, say which: --replace class:{kind[:80]}=KIND"


def _is_function(kind: str, entry: JsonObject, config: Mapping[str, Any], major: int) -> bool:
    """Whether an entry is a function of ``keras.ops``, such as ``x + y``, and not the layer of that name.

    Keras 3 lists functions among the layers. Its ``.h5`` files leave out the module, but layers always tell
    whether they are trainable.
    """
    untold = "module" not in entry and "trainable" not in config
    return major >= 3 and untold and kind in KERAS


def _fields(
    kind: str, given: Mapping[str, Any], *, major: int, data_format: str
) -> tuple[dict[str, Any], str | None]:
    """A config's values settled: one spelling for each, training's left out; and what is not understood."""
    kept = (name for name in given if name not in _NOT_OPTIONS and not name.endswith(_FOR_TRAINING))
    fields = {name: given[name] for name in kept}
    if kind not in ("Embedding", "ReversibleEmbedding"):
        # The shape of the input in other words; an Embedding's is the size of its vocabulary.
        fields.pop("input_dim", None)
        fields.pop("input_length", None)
    problem = None
    if "dtype" in fields:
        fields["dtype"], problem = _policy(fields["dtype"])
    if fields.pop("quantization_config", None) and problem is None:
        problem = _quantized(None)
    for name in ("activation", "recurrent_activation"):
        if name in fields:
            fields[name], unknown = keras_activations.canonical(fields[name], major=major)
            problem = problem or unknown
    if kind == "InputLayer":
        fields["batch_shape"] = given.get("batch_shape", given.get("batch_input_shape"))
    elif kind == "LeakyReLU" and "alpha" in fields:
        fields["negative_slope"] = fields.pop("alpha")
    elif kind in ("BatchNormalization", "LayerNormalization") and isinstance(
        axis := fields.get("axis"), list
    ):
        axes = cast(list[Any], axis)
        fields["axis"] = axes[0] if len(axes) == 1 else axes
    if kind == "Flatten" and major == 1:
        data_format = "channels_last"  # it took values in the order they had
    if _HAS_DATA_FORMAT.fullmatch(kind):
        fields["data_format"] = fields.get("data_format") or data_format
    _settle_windows(kind, fields)
    return fields, problem


def _settle_windows(kind: str, fields: dict[str, Any]) -> None:
    """Sizes along the spatial axes: a list with one for each."""
    if match := _CONVOLUTION.fullmatch(kind):
        _spread(fields, int(match[2]), "kernel_size", "strides", "dilation_rate", "output_padding")
        if fields.get("groups") == 1 and (match[1] or match[3]):
            # Keras 2 writes it for convolutions that have none.
            del fields["groups"]
    elif match := _LOCAL.fullmatch(kind):
        _spread(fields, int(match[1]), "kernel_size", "strides")
    elif match := _POOLING.fullmatch(kind):
        fields["strides"] = fields.get("strides") or fields.get("pool_size")
        _spread(fields, int(match[2]), "pool_size", "strides")
    elif match := _UPSAMPLING.fullmatch(kind):
        _spread(fields, int(match[2]), "size")
    elif match := _MARGINS.fullmatch(kind):
        name = "padding" if match[1] == "ZeroPadding" else "cropping"
        fields[name] = _margins(fields.get(name), int(match[2]))


def _policy(dtype: Any) -> tuple[Any, str | None]:
    """A dtype policy's name, and what of it changes how a layer computes."""
    if not isinstance(dtype, dict):
        return dtype, None
    policy = cast(JsonObject, dtype)
    inner = policy.get("config")
    config = cast(JsonObject, inner) if isinstance(inner, dict) else {}
    class_name = str(policy.get("class_name"))
    if "Quantized" in class_name or class_name.startswith("Int4"):
        return config.get("name"), _quantized(config.get("mode"))
    return config.get("name"), None


def _quantized(mode: Any) -> str:
    kind = f" ({mode[:40]})" if isinstance(mode, str) else ""
    return (
        f"its weights are quantized{kind}, which is not supported. Save the model as it was before "
        "model.quantize()"
    )


def _spread(fields: dict[str, Any], rank: int, *names: str) -> None:
    """One number for all axes to a list with one for each."""
    for name in names:
        if isinstance(fields.get(name), int):
            fields[name] = [fields[name]] * rank


def _margins(value: Any, rank: int) -> Any:
    """Padding or cropping as Keras 3 has it: ``[before, after]``, of several axes a list of these.

    Keras 1 wrote one number, one for each axis, all in a row, or names. What else there may be is left alone.
    """
    if isinstance(value, dict):
        sides = cast(JsonObject, value)
        value = [sides.get(side, 0) for side in _MARGIN_SIDES[-2 * rank :]]
    if isinstance(value, int):
        value = [value, value] if rank == 1 else [[value, value]] * rank
    if not isinstance(value, list):
        return value
    numbers = cast(list[Any], value)
    if rank > 1 and all(isinstance(number, int) for number in numbers):
        if len(numbers) == rank:
            return [[number, number] for number in numbers]
        if len(numbers) == 2 * rank:
            return [numbers[at : at + 2] for at in range(0, 2 * rank, 2)]
    return numbers
