"""The options that commands share: their names, their words of help, and what their values are made into.

The lists of choices are repeated here from the rooms they belong to, because asking those would load NumPy
before an argument is read; a test holds both equal.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args

import typer

from fluoroscope.errors import UsageError

NETWORK = "The network"
PICTURE = "The picture"
LAYERS = "What is shown"
DRAWING = "How it is drawn"
OUTPUT = "Where it goes"
RUNNING = "How it runs"

Method = Literal["zscore", "minmax", "percentile", "symmetric", "fixed"]
Scope = Literal["channel", "layer", "network"]
Palette = Literal["viridis", "magma", "inferno", "plasma", "cividis", "gray", "turbo", "RdBu", "coolwarm"]
Fit = Literal["stretch", "crop", "pad"]
Resample = Literal["nearest", "bilinear", "lanczos"]
Preset = Literal["unit", "raw", "tf", "caffe", "torch"]
Device = Literal["cpu", "cuda", "tensorrt", "rocm", "directml", "coreml", "openvino", "xnnpack", "auto"]
Precision = Literal["float32", "float16"]


ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A network: a Keras .h5, .hdf5 or .keras file, or an .onnx file; with --arch PyTorch weights, "
        ".pth or .safetensors, which may also be said as --weights FILE.",
    ),
]
ArchOption = Annotated[
    str | None,
    typer.Option(
        metavar="LIBRARY:NAME",
        rich_help_panel=NETWORK,
        help="For a MODEL with nothing but PyTorch weights: its architecture, timm:resnet18 or "
        "torchvision:resnet18, where that library is installed. Nothing is downloaded.",
        show_default=False,
    ),
]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=NETWORK,
        help="For a MODEL with nothing but Keras weights: its architecture, the JSON of model.to_json().",
        show_default=False,
    ),
]
ReplaceOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=KIND",
        rich_help_panel=NETWORK,
        help="A layer of Keras in the place of one that is not run, such as a Lambda: "
        "lambda_1=Rescaling:scale=1/127.5,offset=-1. NAME may be a pattern, or class:MyLayer. Can be given "
        "several times.",
        show_default=False,
    ),
]
ImageArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[IMAGE]",
        help="A picture: JPEG, PNG, TIFF, WebP, GIF, BMP, PNM or NPY.",
        show_default=False,
    ),
]
ImagesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[IMAGE]...",
        help="Pictures; folders of pictures; patterns such as 'xrays/*.jpeg'. For a network that takes no "
        "picture: numbers, as .npy or .npz.",
        show_default=False,
    ),
]
InputOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="NAME=PATH",
        rich_help_panel=PICTURE,
        help="What an input of a network with several gets: a picture, or numbers as .npy or .npz. Once for "
        "each input; an input left out gets each IMAGE in turn.",
        show_default=False,
    ),
]
LayersOption = Annotated[
    str | None,
    typer.Option(
        metavar="SPEC",
        rich_help_panel=LAYERS,
        help="Which layers, with commas between: names (conv2d_2), patterns (block?_conv*), kinds (conv, "
        "pool, dense, Conv2D), numbers and ranges (3, 1:18), all; !x leaves x out; x:pre is before its "
        "activation.",
        show_default="every layer but the inputs",
    ),
]
ChannelOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        rich_help_panel=LAYERS,
        help="One channel of one layer, from 0 on, as a PNG with a legend of its values.",
        show_default="all, as sheets",
    ),
]
ClassesOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|A,B,C",
        rich_help_panel=LAYERS,
        help="Names of the classes, in the order of the output: a file with one a line or as JSON, or the "
        "names with commas between.",
        show_default="numbers",
    ),
]
MethodOption = Annotated[
    Method,
    typer.Option(
        metavar="METHOD",
        rich_help_panel=DRAWING,
        help="How values become colours. zscore: mean ± 2 standard deviations; minmax: least to greatest; "
        "percentile: see --percentiles; symmetric: zero in the middle; fixed: see --limits.",
    ),
]
ScopeOption = Annotated[
    Scope,
    typer.Option(
        metavar="SCOPE",
        rich_help_panel=DRAWING,
        help="Who shares a scale. channel: nobody; layer: its channels; network: all that is drawn. Only "
        "what shares one can be compared by colour.",
    ),
]
PercentilesOption = Annotated[
    str | None,
    typer.Option(
        metavar="LOW,HIGH", rich_help_panel=DRAWING, help="For --scaling percentile.", show_default="1,99"
    ),
]
LimitsOption = Annotated[
    str | None,
    typer.Option(
        metavar="LOW,HIGH",
        rich_help_panel=DRAWING,
        help="For --scaling fixed, in activation units; chooses it by itself.",
        show_default=False,
    ),
]
ColormapOption = Annotated[
    Palette | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=DRAWING,
        help=f"The colours: {', '.join(get_args(Palette))}.",
        show_default="viridis; RdBu for symmetric",
    ),
]
ColumnsOption = Annotated[int, typer.Option(metavar="N", rich_help_panel=DRAWING, help="Maps in a row.")]
ZoomOption = Annotated[
    int,
    typer.Option(
        metavar="N",
        rich_help_panel=DRAWING,
        help="Side of the square of pixels one activation becomes.",
    ),
]
GapOption = Annotated[int, typer.Option(metavar="N", rich_help_panel=DRAWING, help="Pixels between maps.")]
SizeOption = Annotated[
    str | None,
    typer.Option(
        metavar="HxW",
        rich_help_panel=PICTURE,
        help="Height and width it is brought to, for a network that leaves them open.",
        show_default="the network's, or the picture's own",
    ),
]
FitOption = Annotated[
    Fit,
    typer.Option(
        metavar="FIT",
        rich_help_panel=PICTURE,
        help="A picture of another shape. stretch it; crop its middle; pad it with black.",
    ),
]
ResampleOption = Annotated[
    Resample,
    typer.Option(
        metavar="FILTER",
        rich_help_panel=PICTURE,
        help="How it is resized: nearest, as Keras's load_img does, bilinear or lanczos.",
    ),
]
PresetOption = Annotated[
    Preset | None,
    typer.Option(
        "--preprocess",
        metavar="PRESET",
        rich_help_panel=PICTURE,
        help="Its values, from 0..255. unit: / 255; raw: as they are; tf: / 127.5 - 1; torch and caffe: "
        "those of ImageNet networks.",
        show_default="unit; raw for a network that scales by itself",
    ),
]
ScaleOption = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBERS",
        rich_help_panel=PICTURE,
        help="Instead of a preset: (value * scale - mean) / std. One number, or one a channel with commas "
        "between.",
        show_default=False,
    ),
]
MeanOption = Annotated[
    str | None,
    typer.Option(metavar="NUMBERS", rich_help_panel=PICTURE, help="See --scale.", show_default=False),
]
StdOption = Annotated[
    str | None,
    typer.Option(metavar="NUMBERS", rich_help_panel=PICTURE, help="See --scale.", show_default=False),
]
FrameOption = Annotated[
    int,
    typer.Option(
        metavar="N", rich_help_panel=PICTURE, help="Frame of an animation, page of a TIFF, from 0 on."
    ),
]
ExternalOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=RUNNING,
        help="A file beside an .onnx model that holds its weights (model.onnx.data). No file is opened that "
        "is not named.",
        show_default=False,
    ),
]
ForceOption = Annotated[
    bool,
    typer.Option(
        "--force", rich_help_panel=OUTPUT, help="Replace files that Fluoroscope did not write, too."
    ),
]
ThreadsOption = Annotated[
    int,
    typer.Option(
        metavar="N",
        rich_help_panel=RUNNING,
        help="Threads that run the network.",
        show_default="one a core",
    ),
]
DeviceOption = Annotated[
    Device,
    typer.Option(
        metavar="DEVICE",
        rich_help_panel=RUNNING,
        help=f"What runs the network: {', '.join(get_args(Device))} (a GPU where there is one). All but the "
        "CPU need another build of onnxruntime; the error says which.",
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        metavar="TYPE",
        rich_help_panel=RUNNING,
        help="Of sums and products: float32, or float16 on tensorrt, coreml and openvino.",
    ),
]
WorkOption = Annotated[
    float,
    typer.Option(
        metavar="N",
        rich_help_panel=RUNNING,
        help="Budget of multiplications for one run.",
        show_default="1e13",
    ),
]
ExpansionOption = Annotated[
    int,
    typer.Option(
        metavar="N",
        rich_help_panel=RUNNING,
        help="How many times their stored size compressed weights may take.",
    ),
]
IsolateOption = Annotated[
    bool,
    typer.Option(
        "--isolate",
        rich_help_panel=RUNNING,
        help="Open and run the network in a process of its own, with limits of time and memory, and on Linux "
        "without files and network: for files from strangers.",
    ),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        rich_help_panel=RUNNING,
        help="With --isolate: for opening the network, and for each run.",
        show_default="60",
    ),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", rich_help_panel=RUNNING, help="Say nothing but errors.")
]
MemoryOption = Annotated[
    str,
    typer.Option(
        metavar="SIZE",
        rich_help_panel=RUNNING,
        help="Budget for the weights, and again for the activations alive at one time.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", rich_help_panel=RUNNING, help="Print JSON for machines, errors included.")
]
DebugOption = Annotated[
    bool,
    typer.Option(
        "--debug", rich_help_panel=RUNNING, help="Show where an error came from; also FLUOROSCOPE_DEBUG=1."
    ),
]


def parse_size(text: str, option: str = "--size") -> tuple[int, int]:
    """``150x200`` as (height, width); ``150`` is a square."""
    match = re.fullmatch(r"\s*(\d{1,6})\s*(?:[x×]\s*(\d{1,6}))?\s*", text, re.IGNORECASE)
    if match is None or int(match[1]) == 0 or int(match[2] or 1) == 0:
        raise UsageError(
            f"{option} {text!r}: a size is HEIGHTxWIDTH in pixels, such as 150x200, or one number for a "
            "square."
        )
    return int(match[1]), int(match[2] or match[1])


def parse_numbers(text: str, option: str) -> tuple[float, ...]:
    """``0.485,0.456,0.406`` as numbers."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"{option} {text!r}: these are not numbers with commas between, such as 0.485,0.456,0.406."
        ) from None


def parse_pair(text: str, option: str) -> tuple[float, float]:
    """``1,99`` as two numbers."""
    numbers = parse_numbers(text, option)
    if len(numbers) != 2:
        raise UsageError(f"{option} {text!r}: two numbers are needed, with a comma between, such as 1,99.")
    return numbers[0], numbers[1]
