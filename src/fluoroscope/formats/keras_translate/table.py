"""Which layers have a translation: kind -> family, function, variables. A new layer is a new entry here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from fluoroscope.formats.keras_translate import (
    activations,
    applications,
    convolution,
    core,
    merging,
    normalization,
    pooling,
    preprocessing,
    reshaping,
)
from fluoroscope.formats.keras_translate.builder import Value
from fluoroscope.formats.keras_translate.step import Step
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
    translate: Callable[[Step], Value | tuple[Value, ...]]
    variables: tuple[str, ...] = ()
    statistics: tuple[str, ...] = ()
    state: tuple[str, ...] = ()


_KERNEL = ("kernel", "bias")
_SEPARABLE = ("depthwise_kernel", "pointwise_kernel", "bias")
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
            windowed = partial(pooling.pooling, rank=rank, reduction=reduction)
            whole = partial(pooling.global_pooling, rank=rank, reduction=reduction)
            yield f"{reduction}Pooling{rank}D", LayerType(family="pool", translate=windowed)
            yield f"Global{reduction}Pooling{rank}D", LayerType(family="pool", translate=whole)
        for kind, translate in (
            ("ZeroPadding", reshaping.zero_padding),
            ("Cropping", reshaping.cropping),
            ("UpSampling", reshaping.up_sampling),
        ):
            yield f"{kind}{rank}D", LayerType(family="reshape", translate=partial(translate, rank=rank))
    for rank in (1, 2):
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


def _unchanged(family: Family, kinds: str) -> Iterator[tuple[str, LayerType]]:
    for kind in kinds.split():
        yield kind, LayerType(family=family, translate=core.unchanged)


TABLE: Mapping[str, LayerType] = {
    **dict(_spatial()),
    "Dense": LayerType(family="dense", translate=core.dense, variables=_KERNEL),
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
    "LayerScale": LayerType(family="normalization", translate=applications.layer_scale, variables=("gamma",)),
    "Activation": LayerType(family="activation", translate=activations.activation),
    "ReLU": LayerType(family="activation", translate=activations.rectified_linear),
    "LeakyReLU": LayerType(family="activation", translate=activations.leaky_rectified_linear),
    "ThresholdedReLU": LayerType(family="activation", translate=activations.thresholded_rectified_linear),
    "ELU": LayerType(family="activation", translate=activations.exponential_linear),
    "PReLU": LayerType(
        family="activation", translate=activations.parametric_rectified_linear, variables=("alpha",)
    ),
    "Softmax": LayerType(family="activation", translate=activations.softmax_layer),
    "Add": LayerType(family="merge", translate=partial(merging.merge, operator="Add")),
    "Multiply": LayerType(family="merge", translate=partial(merging.merge, operator="Mul")),
    "Maximum": LayerType(family="merge", translate=partial(merging.merge, operator="Max")),
    "Minimum": LayerType(family="merge", translate=partial(merging.merge, operator="Min")),
    "Subtract": LayerType(family="merge", translate=merging.subtract),
    "Average": LayerType(family="merge", translate=merging.average),
    "Concatenate": LayerType(family="merge", translate=merging.concatenate),
    "Flatten": LayerType(family="reshape", translate=reshaping.flatten),
    "Reshape": LayerType(family="reshape", translate=reshaping.reshape),
    "Permute": LayerType(family="reshape", translate=reshaping.permute),
    "RepeatVector": LayerType(family="reshape", translate=reshaping.repeat_vector),
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
    **dict(_unchanged("input", "InputLayer")),
    **dict(_unchanged("other", "Identity")),
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
            "MixUp RandAugment Solarization",
        )
    ),
}
"""Every layer with a translation, by its Keras 3 name."""

UNTRAINED = frozenset(name for entry in TABLE.values() for name in (*entry.statistics, *entry.state))
"""Variables that training never changes, whatever layer they belong to."""
