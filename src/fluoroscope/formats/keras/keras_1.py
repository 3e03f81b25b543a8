"""Keras 1 layers in the words of Keras 3.

Source: ``get_config`` of the layers in Keras 1.0 to 1.2, and the conversions that Keras 2 made in
``keras/legacy/interfaces.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

CLASSES = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
    "TimeDistributedDense": "Dense",
}
"""Classes of Keras 1 that have another name since."""

_FIELDS = {
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "subsample": "strides",
    "subsample_length": "strides",
    "stride": "strides",
    "border_mode": "padding",
    "dim_ordering": "data_format",
    "atrous_rate": "dilation_rate",
    "pool_length": "pool_size",
    "length": "size",
    "bias": "use_bias",
    "output_dim": "units",
    "p": "rate",
    "sigma": "stddev",
    "inner_activation": "recurrent_activation",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
}
_KERNEL_SIDES = ("nb_row", "nb_col", "kernel_dim1", "kernel_dim2", "kernel_dim3")
_FOR_TRAINING = frozenset(
    "init inner_init forget_bias_init consume_less input_dim input_length input_dtype weights beta_init "
    "gamma_init alpha_init beta_init".split()
)
_DATA_FORMATS = {"th": "channels_first", "tf": "channels_last"}

LEGACY = frozenset({"Highway", "MaxoutDense", "Merge"})
"""Classes of Keras 1 that Keras 2 still read and wrote, as Keras 1 did."""

_MERGES = {
    "sum": "Add",
    "mul": "Multiply",
    "ave": "Average",
    "max": "Maximum",
    "concat": "Concatenate",
    "dot": "Dot",
}

_MARKS = frozenset(
    {"nb_filter", "border_mode", "dim_ordering", "subsample", "subsample_length", "pool_length"}
)
"""Fields that no later Keras writes."""


def is_keras_1(class_name: Any, config: Mapping[str, Any]) -> bool:
    """Whether a layer's config betrays Keras 1, for files that do not tell their version."""
    dense = class_name == "Dense" and "output_dim" in config
    return dense or class_name in ("Merge", *CLASSES) or not _MARKS.isdisjoint(config)


def data_format(layers: Iterable[tuple[Any, Mapping[str, Any]]]) -> str:
    """The ``dim_ordering`` of a whole model, from its layers' classes and configs.

    It was a setting of the machine: padding, cropping and upsampling layers do not record it, convolutions
    and pooling layers do.
    """
    orders = (_DATA_FORMATS.get(str(config.get("dim_ordering"))) for _, config in layers)
    return next(filter(None, orders), "channels_last")


def modern(class_name: str, config: Mapping[str, Any]) -> tuple[str, dict[str, Any], str | None]:
    """A Keras 1 layer's class and config by Keras 3, and what keeps it from being understood.

    The names are changed, the values left: `keras_layers` settles these for all versions.
    """
    if class_name == "Merge":
        return _merge(config)
    fields = dict(_renamed(class_name, config))
    sides = [config[side] for side in _KERNEL_SIDES if side in config]
    if sides:
        fields["kernel_size"] = sides
    problem = None
    if class_name == "BatchNormalization" and fields.get("mode") == 0:
        del fields["mode"]
    elif class_name == "BatchNormalization" and fields.get("mode") == 2:
        problem = "mode=2 of Keras 1 normalizes by the values of each batch; no later Keras has it"
    return CLASSES.get(class_name, class_name), fields, problem


def _renamed(class_name: str, config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if name in _KERNEL_SIDES:
            continue
        if class_name == "Embedding" and name in ("input_dim", "output_dim"):
            yield name, value
        elif name == "dim_ordering":
            yield "data_format", _DATA_FORMATS.get(value, value)
        elif name not in _FOR_TRAINING:
            yield _FIELDS.get(name, name), value


def _merge(config: Mapping[str, Any]) -> tuple[str, dict[str, Any], str | None]:
    mode = config.get("mode")
    kept = {name: config[name] for name in ("name", "trainable") if name in config}
    if config.get("mode_type", "raw") != "raw" or not isinstance(mode, str):
        return "Merge", kept, "merges by Python bytecode or a function of the author's, which is never run"
    if mode not in _MERGES and mode != "cos":
        return "Merge", kept, f"merges by mode {mode[:80]!r}, which no later Keras has"
    if mode == "concat":
        kept["axis"] = config.get("concat_axis", -1)
    if mode in ("dot", "cos"):
        axes: Any = config.get("dot_axes", -1)
        kept["axes"] = list(cast(Iterable[Any], axes)) if isinstance(axes, (list, tuple)) else axes
    if mode == "dot":
        kept["normalize"] = False
    return _MERGES.get(mode, "Merge"), kept, None
