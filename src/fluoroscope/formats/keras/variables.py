"""The variables of each kind of layer: a table, and stored arrays held against it.

The order is the one that Keras keeps them in, in the ``weight_names`` of an ``.h5`` file as well as in the
``vars/0, 1, 2...`` of a ``.keras`` archive.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from fluoroscope.errors import WeightMismatch
from fluoroscope.formats.keras.functions import is_function

Array = NDArray[Any]
Stored = Sequence[tuple[str, Array]]
"""Arrays with the names that they have in the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One variable of a kind of layer.

    Attributes
    ----------
    name
        By Keras 3.
    shape
        For each axis the option that tells its size (an option that lists several stands for as many axes),
        or None where the layer's input decides. None altogether where options do not tell the rank.
    option
        Option without which the variable does not exist; they are on unless the config says otherwise.
    trainable
        False for statistics.
    """

    name: str
    shape: tuple[str | None, ...] | None = None
    option: str | None = None
    trainable: bool = True


_BIAS = Variable(name="bias", shape=("filters",), option="use_bias")
_CONVOLUTION = (Variable(name="kernel", shape=("kernel_size", None, "filters")), _BIAS)
_TRANSPOSED = (Variable(name="kernel", shape=("kernel_size", "filters", None)), _BIAS)
_DEPTHWISE = (
    Variable(name="kernel", shape=("kernel_size", None, "depth_multiplier")),
    Variable(name="bias", shape=(None,), option="use_bias"),
)
_SEPARABLE = (
    Variable(name="depthwise_kernel", shape=("kernel_size", None, "depth_multiplier")),
    Variable(name="pointwise_kernel"),
    _BIAS,
)
_LOCAL = (Variable(name="kernel"), Variable(name="bias", option="use_bias"))
_DENSE = (
    Variable(name="kernel", shape=(None, "units")),
    Variable(name="bias", shape=("units",), option="use_bias"),
)
_SCALE_AND_CENTER = (Variable(name="gamma", option="scale"), Variable(name="beta", option="center"))
_RECURRENT = (
    Variable(name="kernel"),
    Variable(name="recurrent_kernel"),
    Variable(name="bias", option="use_bias"),
)

ATTENTION_PARTS = {
    "query": "query_dense",
    "key": "key_dense",
    "gate": "gate_dense",
    "value": "value_dense",
    "attention_output": "output_dense",
}
"""Layers in an attention of several heads, in the order of their variables -> the attributes they are in."""

VARIABLES: Mapping[str, tuple[Variable, ...]] = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D"), _CONVOLUTION),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _TRANSPOSED),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _DEPTHWISE),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _SEPARABLE),
    **dict.fromkeys(("LocallyConnected1D", "LocallyConnected2D"), _LOCAL),
    **dict.fromkeys(("SimpleRNN", "GRU", "LSTM", "CuDNNGRU", "CuDNNLSTM"), _RECURRENT),
    **dict.fromkeys(("SimpleRNNCell", "GRUCell", "LSTMCell"), _RECURRENT),
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), _RECURRENT),
    **dict.fromkeys(
        (
            "InputLayer Activation ReLU LeakyReLU ELU Softmax ThresholdedReLU Dropout SpatialDropout1D "
            "SpatialDropout2D SpatialDropout3D GaussianDropout GaussianNoise AlphaDropout "
            "ActivityRegularization Add Subtract Multiply Average Maximum Minimum Concatenate Dot Merge "
            "Flatten Reshape Permute RepeatVector Masking Identity Rescaling Resizing CenterCrop "
            "UnitNormalization MaxPooling1D MaxPooling2D MaxPooling3D AveragePooling1D AveragePooling2D "
            "AveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D "
            "GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D ZeroPadding1D "
            "ZeroPadding2D ZeroPadding3D Cropping1D Cropping2D Cropping3D UpSampling1D UpSampling2D "
            "UpSampling3D RandomFlip RandomRotation RandomZoom RandomTranslation RandomContrast "
            "RandomBrightness RandomCrop RandomHeight RandomWidth StochasticDepth CustomScaleLayer "
            "AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D AdaptiveMaxPooling1D "
            "AdaptiveMaxPooling2D AdaptiveMaxPooling3D AutoContrast CategoryEncoding MelSpectrogram"
        ).split(),
        (),
    ),
    "Attention": (
        Variable(name="scale", shape=(), option="use_scale"),
        Variable(name="concat_score_weight", shape=()),
    ),
    "AdditiveAttention": (Variable(name="scale", shape=(None,), option="use_scale"),),
    **dict.fromkeys(
        ("MultiHeadAttention", "GroupQueryAttention"),
        tuple(
            Variable(name=f"{part}/{name}", option="use_bias" if name == "bias" else None)
            for part in ATTENTION_PARTS
            for name in ("kernel", "bias")
        ),
    ),
    "EinsumDense": (Variable(name="kernel"), Variable(name="bias", option="bias_axes")),
    **dict.fromkeys(("Bidirectional", "Pipeline", "RNN", "StackedRNNCells", "TimeDistributed"), ()),
    "SpectralNormalization": (Variable(name="vector_u", trainable=False),),
    "Dense": _DENSE,
    "Embedding": (Variable(name="embeddings", shape=("input_dim", "output_dim")),),
    "ReversibleEmbedding": (
        Variable(name="embeddings", shape=("input_dim", "output_dim")),
        Variable(name="reverse_embeddings", shape=("output_dim", "input_dim")),
    ),
    "MaxoutDense": (
        Variable(name="kernel", shape=("nb_feature", None, "units")),
        Variable(name="bias", shape=("nb_feature", "units"), option="use_bias"),
    ),
    "RandomFourierFeatures": (
        Variable(name="kernel_scale", shape=(None,)),
        Variable(name="unscaled_kernel", shape=(None, "output_dim"), trainable=False),
        Variable(name="bias", shape=("output_dim",), trainable=False),
    ),
    "PReLU": (Variable(name="alpha"),),
    "ParametricSoftplus": (Variable(name="alpha"), Variable(name="beta")),
    "SReLU": tuple(Variable(name=name) for name in ("t_left", "a_left", "t_right", "a_right")),
    "BatchNormalization": (
        *(
            Variable(name=variable.name, shape=(None,), option=variable.option)
            for variable in _SCALE_AND_CENTER
        ),
        Variable(name="moving_mean", shape=(None,), trainable=False),
        Variable(name="moving_variance", shape=(None,), trainable=False),
    ),
    "LayerNormalization": _SCALE_AND_CENTER,
    "GroupNormalization": _SCALE_AND_CENTER,
    "LayerScale": (Variable(name="gamma", shape=("projection_dim",)),),
    "STFTSpectrogram": (Variable(name="real_kernel"), Variable(name="imag_kernel")),
    "Discretization": (Variable(name="summary", trainable=False),),
    "RMSNormalization": (Variable(name="scale"),),
    "Normalization": tuple(Variable(name=name, trainable=False) for name in ("mean", "variance", "count")),
}
"""Kinds whose variables are known. Of others the file's names are taken."""

_ROLES = {
    "W": "kernel",
    "b": "bias",
    "W_carry": "carry_kernel",
    "b_carry": "carry_bias",
    "U": "recurrent_kernel",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",
    "alphas": "alpha",
    "betas": "beta",
}
"""What Keras 1 called them. Its running_std is a variance."""

_ROLE = re.compile(
    r"(?:^|_)((?:depthwise|pointwise|recurrent|real|imag|unscaled)_kernel|kernel|bias|gamma|beta|moving_mean"
    r"|moving_variance|running_mean|running_std|embeddings|alphas?|betas|[ta]_left|[ta]_right|reverse_embeddings|W_carry|b_carry"
    r"|W|b|U)(?:_\d+)?$"
)
_STRAY = re.compile(r"(^|/)((seed|random)_generator(_\d+)?/vars/\d+|(seed_generator_state|StateVar)(:\d+)?)$")


def expected(kind: str, config: Mapping[str, Any], *, major: int) -> tuple[Variable, ...] | None:
    """The variables that a layer of this kind and config has, in order; None where that is not known."""
    variables = () if is_function(kind) else VARIABLES.get(kind)
    if variables is None or (major == 1 and variables is _RECURRENT):
        # Keras 1 kept a matrix for each gate.
        return None
    if kind == "BatchNormalization" and config.get("renorm"):
        names = ("renorm_mean", "renorm_stddev")
        variables = (*variables, *(Variable(name=name, shape=(None,), trainable=False) for name in names))
    if kind == "Normalization" and config.get("mean") is not None:
        return ()
    if kind == "Discretization" and config.get("bin_boundaries"):
        # Beside them, early versions of Keras 3 kept what they had been made of.
        return None
    if kind == "ReversibleEmbedding" and config.get("tie_weights", True):
        return variables[:1]
    if kind == "STFTSpectrogram" and config.get("mode") in ("real", "imag"):
        return (Variable(name=f"{config['mode']}_kernel"),)
    if kind == "Attention" and config.get("score_mode") != "concat":
        variables = variables[:1]
    if kind in ("MultiHeadAttention", "GroupQueryAttention") and not config.get("use_gate"):
        variables = tuple(entry for entry in variables if not entry.name.startswith("gate/"))
    if kind == "LayerNormalization" and config.get("rms_scaling"):
        return variables[:1]
    return tuple(entry for entry in variables if entry.option is None or config.get(entry.option, True))


def role(stored_name: str) -> str | None:
    """The Keras 3 name of a variable by its name in a file; None when the name does not tell.

    ``conv2d_1/kernel:0``, ``convolution2d_1_W`` and ``block/depthwise_kernel`` tell, ``param_0`` does not.
    """
    match = _ROLE.search(stored_name.split("/")[-1].split(":")[0])
    return _ROLES.get(match[1], match[1]) if match else None


def is_stray(stored_name: str) -> bool:
    """True for the state of a random generator, which layers for training carry along."""
    return _STRAY.search(stored_name) is not None


def contradicts(stored_name: str, kind: str, variable: Variable) -> bool:
    """Whether a stored name says that an array is another variable than `variable` of a layer of `kind`."""
    told = role(stored_name)
    if told is None:
        return False
    # Up to Keras 2 a depthwise layer's only kernel was called by its full name; Keras 1 called embeddings W.
    same = {told, "kernel"} if told == "depthwise_kernel" and kind.startswith("Depthwise") else {told}
    return variable.name.rpartition("/")[2] not in same | (
        {"embeddings"} if told == "kernel" and kind == "Embedding" else set()
    )


def named(label: str, kind: str, variables: Sequence[Variable] | None, stored: Stored) -> dict[str, Array]:
    """Stored arrays by their variables' names.

    Parameters
    ----------
    label
        Names the layer in messages.
    variables
        What the layer has; None when unknown: then the file's names tell.

    Raises
    ------
    WeightMismatch
        More or fewer arrays than variables, or an array whose name says that it is another variable.
    """
    if variables is None:
        return _by_own_names(stored)
    stored = [entry for entry in stored if not is_stray(entry[0])]
    if len(stored) != len(variables):
        raise WeightMismatch(
            f"Layer {label[:80]!r} ({kind}) should have {len(variables)} weights "
            f"({_listing(entry.name for entry in variables)}); the file has {len(stored)} "
            f"({_listing(name for name, _ in stored)})."
        )
    for variable, (name, _) in zip(variables, stored, strict=True):
        if contradicts(name, kind, variable):
            raise WeightMismatch(
                f"Layer {label[:80]!r} ({kind}) should have {variable.name!r} where the file has "
                f"{name[:80]!r}."
            )
    return {variable.name: array for variable, (_, array) in zip(variables, stored, strict=True)}


def check_shapes(
    label: str,
    kind: str,
    config: Mapping[str, Any],
    variables: Sequence[Variable],
    weights: Mapping[str, Array],
) -> None:
    """Hold shapes against the sizes that the config declares.

    Raises
    ------
    WeightMismatch
        A variable of another shape.
    """
    for variable in variables:
        wanted = _sizes(variable, config)
        found = weights[variable.name].shape
        fits = wanted is None or (
            len(wanted) == len(found)
            and all(size is None or size == actual for size, actual in zip(wanted, found, strict=True))
        )
        if not fits:
            assert wanted is not None
            shape = ", ".join("any" if size is None else str(size)[:20] for size in wanted)
            raise WeightMismatch(
                f"{variable.name!r} of layer {label[:80]!r} ({kind}) should have shape ({shape}) by the "
                f"architecture; the file has {found}."
            )


def _sizes(variable: Variable, config: Mapping[str, Any]) -> list[int | None] | None:
    if variable.shape is None:
        return None
    sizes: list[int | None] = []
    for option in variable.shape:
        size = None if option is None else config.get(option)
        sizes += size if isinstance(size, list) else [size]
    return sizes


def _by_own_names(stored: Stored) -> dict[str, Array]:
    """Names that tell their role by it, if no two tell the same; else all as they are in the file."""
    roles = [role(name) or name for name, _ in stored]
    names = roles if len(set(roles)) == len(roles) else [name for name, _ in stored]
    return {name: array for name, (_, array) in zip(names, stored, strict=True)}


def _listing(names: Any) -> str:
    shown = [str(name)[:60] for name in names]
    return ", ".join(shown[:6]) + (" ..." if len(shown) > 6 else "") if shown else "none"
