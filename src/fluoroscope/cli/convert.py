"""``fluoroscope convert``: a network of any format as an ONNX file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluoroscope.cli import destination
from fluoroscope.cli.options import (
    LAYERS,
    OUTPUT,
    ConfigOption,
    DebugOption,
    ExternalOption,
    ForceOption,
    JsonOption,
    MemoryOption,
    ModelArgument,
    ReplaceOption,
    SizeOption,
    parse_size,
)
from fluoroscope.cli.terminal import show_json
from fluoroscope.errors import UsageError
from fluoroscope.output.typography import counted, speakable

if TYPE_CHECKING:
    from fluoroscope.network.onnx_network import OnnxNetwork


def convert(
    model: ModelArgument,
    output: Annotated[str, typer.Argument(metavar="OUT.onnx", help="The ONNX file to write.")],
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            rich_help_panel=LAYERS,
            help="Which layers become outputs, as in render: names, patterns, kinds, numbers, all; x:pre is "
            "before its activation.",
            show_default="the network's own outputs",
        ),
    ] = None,
    channels_last: Annotated[
        bool,
        typer.Option(
            "--channels-last",
            rich_help_panel=OUTPUT,
            help="Pictures go in and maps come out as (batch, height, width, channels), as Keras has them.",
        ),
    ] = False,
    force: ForceOption = False,
    size: SizeOption = None,
    config: ConfigOption = None,
    replace: ReplaceOption = None,
    external: ExternalOption = None,
    memory: MemoryOption = "2G",
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a network as an ONNX file that any program runs: Keras to ONNX, and ONNX with readable names.

    The value of every layer is a tensor of the layer's name (x:pre before its activation), so that any of
    them can be made an output later. Pictures go in as (batch, channels, height, width) where a Keras file is
    converted, and as they did where an ONNX file is. No framework is needed, nothing in the file is executed,
    and layers that cannot be run are left out.
    """
    from fluoroscope.cli.opening import NetworkOptions
    from fluoroscope.network.onnx_network import OnnxNetwork

    destination.check([output], [model], force=force)
    wanted = parse_size(size) if size is not None else None
    network = NetworkOptions(config=config, replace=replace, external=external, memory=memory).open(model)
    if not isinstance(network, OnnxNetwork):
        raise UsageError(f"{model!r} is no network of a file.")
    if wanted is not None:
        network = network.at_size(*wanted)
    network.save(output, layers=layers, channels_last=channels_last)
    facts = _facts(network, output)
    if json:
        show_json(facts)
    else:
        _print(facts)


def _facts(network: OnnxNetwork, path: str) -> dict[str, Any]:
    """What was written, read from the file itself but for its weights."""
    import os

    import onnx

    written = onnx.load(path, load_external_data=False)
    left_out = [layer.name for layer in network.layers if layer.problem is not None]
    return {
        "output": path,
        "bytes": os.path.getsize(path),
        "opset": written.opset_import[0].version,
        "inputs": {value.name: _dims(value) for value in written.graph.input},
        "outputs": {value.name: _dims(value) for value in written.graph.output},
        "layers": len(network.layers) - len(left_out),
        "left_out": left_out,
    }


def _dims(value: Any) -> list[int | str]:
    return [size.dim_value or size.dim_param or "?" for size in value.type.tensor_type.shape.dim]


def _print(facts: dict[str, Any]) -> None:
    from fluoroscope.network.budget import human_bytes

    print(
        f"{speakable(facts['output'])}: {counted(facts['layers'], 'layer')}, "
        f"{human_bytes(facts['bytes'])}, operator set {facts['opset']}"
    )
    for word, values in (("takes", facts["inputs"]), ("gives", facts["outputs"])):
        for name, dims in values.items():
            print(f"{word} {speakable(name)} ({', '.join(map(str, dims))})")
    for name in facts["left_out"]:
        print(f"left out, as it cannot be run: {speakable(name)}")
