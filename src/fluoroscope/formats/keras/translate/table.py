"""Which layers have a translation: kind -> family, function, variables. A new layer is a new entry here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from fluoroscope.formats.keras.translate import (
    activations,
    applications,
    attention,
    contrast,
    conv_recurrent,
    convolution,
    core,
    dotting,
    einsum_dense,
    embedding,
    encoding,
    locally_connected,
    masking,
    merging,
    normalization,
    pooling,
    preprocessing,
    recurrent,
    reshaping,
    spectra,
    wrappers,
)
from fluoroscope.formats.keras.translate.known import Operand
from fluoroscope.formats.keras.translate.operations.layers import functions
from fluoroscope.formats.keras.translate.step import Step
from fluoroscope.network.protocol import Family


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerType:
    """A kind of layer.

    Attributes
    ----------
    family
        By which it can be selected.
    translate
        Emits its nodes and returns what they make: one value, or several for a layer with several outputs.
    variables
        Names of what is trained, by Keras 3.
    statistics
        Names of what is kept beside: used at inference, never trained.
    state
        Names of what only training needs.
    """

    family: Family
    translate: Callable[[Step], Operand | tuple[Operand, ...]]
    variables: tuple[str, ...] = ()
    statistics: tuple[str, ...] = ()
    state: tuple[str, ...] = ()


_KERNEL = ("kernel", "bias")
_HEADS = tuple(
    f"{part}/{variable}"
    for part in ("query", "key", "gate", "value", "attention_output")
    for variable in ("kernel", "bias")
)
_SEPARABLE = ("depthwise_kernel", "pointwise_kernel", "bias")
_RECURRENT = ("kernel", "recurrent_kernel", "bias")
_RENORM = ("moving_stddev", "renorm_mean", "renorm_stddev")


def _spatial() -> Iterator[tuple[str, LayerType]]:
    """Layers that come for one, two and three spatial axes."""
    for rank in (1, 2, 3):
        yield (
            f"Conv{rank}D",
            LayerType(
                family="conv", translate=partial(convolution.convolution, rank=rank), variables=_KERNEL
            ),
        )
        yield (
            f"Conv{rank}DTranspose",
            LayerType(
                family="conv",
                translate=partial(convolution.transposed_convolution, rank=rank),
                variables=_KERNEL,
            ),
        )
        for reduction in ("Average", "Max"):
            for prefix, pool in (
                ("", pooling.pooling),
                ("Global", pooling.global_pooling),
                ("Adaptive", pooling.adaptive_pooling),
            ):
                translate = partial(pool, rank=rank, reduction=reduction)
                yield f"{prefix}{reduction}Pooling{rank}D", LayerType(family="pool", translate=translate)
        for kind, translate in (
            ("ZeroPadding", reshaping.zero_padding),
            ("Cropping", reshaping.cropping),
            ("UpSampling", reshaping.up_sampling),
        ):
            yield f"{kind}{rank}D", LayerType(family="reshape", translate=partial(translate, rank=rank))
    for rank in (1, 2):
        local = partial(locally_connected.locally_connected, rank=rank)
        yield (
            f"LocallyConnected{rank}D", LayerType(family="conv", translate=local, variables=_KERNEL)
        )  # fmt: skip
        yield (
            f"DepthwiseConv{rank}D",
            LayerType(
                family="conv",
                translate=partial(convolution.depthwise_convolution, rank=rank),
                variables=_KERNEL,
            ),
        )
        yield (
            f"SeparableConv{rank}D",
            LayerType(
                family="conv",
                translate=partial(convolution.separable_convolution, rank=rank),
                variables=_SEPARABLE,
            ),
        )


def _conv_recurrent() -> Iterator[tuple[str, LayerType]]:
    for rank in (1, 2, 3):
        translate = partial(conv_recurrent.conv_lstm, rank=rank)
        yield f"ConvLSTM{rank}D", LayerType(family="other", translate=translate, variables=_RECURRENT)


def _unchanged(family: Family, kinds: str) -> Iterator[tuple[str, LayerType]]:
    for kind in kinds.split():
        yield kind, LayerType(family=family, translate=core.unchanged)


def _functions() -> Iterator[tuple[str, LayerType]]:
    for kind, function, translate in functions():
        yield kind, LayerType(family=function.family, translate=translate)


TABLE: Mapping[str, LayerType] = {
    **dict(_spatial()),
    "Attention": LayerType(
        family="other", translate=attention.attention, variables=("scale", "concat_score_weight")
    ),
    "AdditiveAttention": LayerType(
        family="other", translate=attention.additive_attention, variables=("scale",)
    ),
    "MultiHeadAttention": LayerType(
        family="other", translate=attention.multi_head_attention, variables=_HEADS
    ),
    "GroupQueryAttention": LayerType(
        family="other", translate=attention.group_query_attention, variables=_HEADS
    ),
    "EinsumDense": LayerType(family="dense", translate=einsum_dense.einsum_dense, variables=_KERNEL),
    "Dense": LayerType(family="dense", translate=core.dense, variables=_KERNEL),
    "MaxoutDense": LayerType(family="dense", translate=core.maxout, variables=_KERNEL),
    "Highway": LayerType(
        family="dense", translate=core.highway, variables=("kernel", "carry_kernel", "bias", "carry_bias")
    ),
    "RandomFourierFeatures": LayerType(
        family="dense",
        translate=core.random_fourier_features,
        variables=("kernel_scale",),
        statistics=("unscaled_kernel",),
    ),
    "BatchNormalization": LayerType(
        family="normalization",
        translate=normalization.batch_normalization,
        variables=("gamma", "beta"),
        statistics=("moving_mean", "moving_variance"),
        state=_RENORM,
    ),
    "LayerNormalization": LayerType(
        family="normalization", translate=normalization.layer_normalization, variables=("gamma", "beta")
    ),
    "CustomScaleLayer": LayerType(family="merge", translate=applications.custom_scale),
    "LayerScale": LayerType(family="normalization", translate=applications.layer_scale, variables=("gamma",)),
    "GroupNormalization": LayerType(
        family="normalization", translate=normalization.group_normalization, variables=("gamma", "beta")
    ),
    "RMSNormalization": LayerType(
        family="normalization", translate=normalization.rms_normalization, variables=("scale",)
    ),
    "UnitNormalization": LayerType(family="normalization", translate=normalization.unit_normalization),
    "Activation": LayerType(family="activation", translate=activations.activation),
    "ReLU": LayerType(family="activation", translate=activations.rectified_linear),
    "LeakyReLU": LayerType(family="activation", translate=activations.leaky_rectified_linear),
    "ThresholdedReLU": LayerType(family="activation", translate=activations.thresholded_rectified_linear),
    "ELU": LayerType(family="activation", translate=activations.exponential_linear),
    "PReLU": LayerType(
        family="activation", translate=activations.parametric_rectified_linear, variables=("alpha",)
    ),
    "ParametricSoftplus": LayerType(
        family="activation", translate=activations.parametric_softplus, variables=("alpha", "beta")
    ),
    "SReLU": LayerType(
        family="activation",
        translate=activations.s_shaped_rectified_linear,
        variables=("t_left", "a_left", "t_right", "a_right"),
    ),
    "Softmax": LayerType(family="activation", translate=activations.softmax_layer),
    "Add": LayerType(family="merge", translate=partial(merging.merge, operator="Add")),
    "Multiply": LayerType(family="merge", translate=partial(merging.merge, operator="Mul")),
    "Maximum": LayerType(family="merge", translate=partial(merging.merge, operator="Max")),
    "Minimum": LayerType(family="merge", translate=partial(merging.merge, operator="Min")),
    "Subtract": LayerType(family="merge", translate=merging.subtract),
    "Average": LayerType(family="merge", translate=merging.average),
    "Concatenate": LayerType(family="merge", translate=merging.concatenate),
    "Dot": LayerType(family="merge", translate=dotting.dot),
    "Merge": LayerType(family="merge", translate=dotting.cosine),
    "Flatten": LayerType(family="reshape", translate=reshaping.flatten),
    "Reshape": LayerType(family="reshape", translate=reshaping.reshape),
    "Permute": LayerType(family="reshape", translate=reshaping.permute),
    "RepeatVector": LayerType(family="reshape", translate=reshaping.repeat_vector),
    "Embedding": LayerType(family="dense", translate=embedding.embedding, variables=("embeddings",)),
    "ReversibleEmbedding": LayerType(
        family="dense",
        translate=embedding.reversible_embedding,
        variables=("embeddings", "reverse_embeddings"),
    ),
    "SimpleRNN": LayerType(family="other", translate=recurrent.simple_rnn, variables=_RECURRENT),
    "GRU": LayerType(family="other", translate=recurrent.gru, variables=_RECURRENT),
    "LSTM": LayerType(family="other", translate=recurrent.lstm, variables=_RECURRENT),
    "CuDNNGRU": LayerType(family="other", translate=recurrent.cudnn_gru, variables=_RECURRENT),
    "CuDNNLSTM": LayerType(family="other", translate=recurrent.cudnn_lstm, variables=_RECURRENT),
    **dict(_conv_recurrent()),
    "RNN": LayerType(family="other", translate=recurrent.rnn),
    "Bidirectional": LayerType(family="other", translate=wrappers.bidirectional),
    "Masking": LayerType(family="other", translate=masking.masking),
    "TimeDistributed": LayerType(family="other", translate=wrappers.time_distributed),
    "SpectralNormalization": LayerType(
        family="other", translate=wrappers.spectral_normalization, state=("vector_u",)
    ),
    "Pipeline": LayerType(family="preprocessing", translate=wrappers.pipeline),
    "Rescaling": LayerType(family="preprocessing", translate=preprocessing.rescaling),
    "Normalization": LayerType(
        family="preprocessing",
        translate=preprocessing.normalization,
        statistics=("mean", "variance"),
        state=("count",),
    ),
    "Resizing": LayerType(family="preprocessing", translate=preprocessing.resizing),
    "CenterCrop": LayerType(family="preprocessing", translate=preprocessing.center_crop),
    "RandomCrop": LayerType(family="preprocessing", translate=preprocessing.random_crop),
    "AutoContrast": LayerType(family="preprocessing", translate=contrast.auto_contrast),
    "Discretization": LayerType(
        family="preprocessing", translate=encoding.discretization, state=("summary",)
    ),
    "CategoryEncoding": LayerType(family="preprocessing", translate=encoding.category_encoding),
    "IntegerLookup": LayerType(family="preprocessing", translate=encoding.integer_lookup),
    "MelSpectrogram": LayerType(family="preprocessing", translate=spectra.mel_spectrogram),
    "STFTSpectrogram": LayerType(
        family="preprocessing",
        translate=spectra.stft_spectrogram,
        variables=("real_kernel", "imag_kernel"),
    ),
    **dict(_unchanged("input", "InputLayer")),
    **dict(_unchanged("other", "Identity Layer")),
    **dict(
        _unchanged(
            "regularization",
            "Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianDropout GaussianNoise "
            "AlphaDropout ActivityRegularization StochasticDepth",
        )
    ),
    **dict(
        _unchanged(
            "preprocessing",
            "RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast "
            "RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHeight "
            "RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation RandomSaturation "
            "RandomSharpness RandomShear RandomTranslation RandomWidth RandomZoom AugMix CutMix "
            "Equalization MaxNumBoundingBoxes MixUp RandAugment Solarization",
        )
    ),
    **dict(_functions()),
}
"""Every layer with a translation, by its Keras 3 name; and every function, as `keras_functions` calls it."""

UNTRAINED = frozenset(name for entry in TABLE.values() for name in (*entry.statistics, *entry.state))
"""Variables that training never changes, whatever layer they belong to."""

TAKE_INTEGERS = frozenset(kind for kind, entry in TABLE.items() if entry.translate is core.unchanged) | {
    "Embedding",
    "ReversibleEmbedding",
}
"""Layers that take whole numbers as they are. All others are given float32, which they make of them."""
