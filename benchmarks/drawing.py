"""Measure drawing alone: from activations to PNG bytes, step by step, against plain NumPy and Pillow.

The activations are those of random convolutions with ReLU over the demonstration's chest X-ray - smooth and
sparse, as a trained network's are - in the shapes of the two benchmark networks. The rival is what notebooks
do, one channel at a time, with Pillow's default compression. Times are the least of several runs; on a shared
machine only the ratios hold.

    python benchmarks/drawing.py [--repeat 20] [--threads 2]
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from PIL import Image

from fluoroscope.drawing.colormaps import palette
from fluoroscope.drawing.levels import levels
from fluoroscope.drawing.scaling import Scaling
from fluoroscope.drawing.sheet import draw_sheet
from fluoroscope.output.png import encode
from fluoroscope.statistics.channels import channel_statistics

PICTURE = Path(__file__).parent.parent / "src" / "fluoroscope" / "demo" / "person3_virus_16.jpeg"
POOL = 0
NETWORKS = {
    # Side of the picture, padding, and the channels of each convolution, with max pooling between.
    "LAB": (150, 0, [32, POOL, 64, POOL, 128, POOL, 128, POOL]),
    "VGG": (300, 1, [64, 64, POOL, 128, 128, POOL, *[256] * 3, POOL, *[512] * 3, POOL, *[512] * 3, POOL]),
}

Maps = NDArray[np.float32]


def activations(name: str) -> list[Maps]:
    """Feature maps ``(channels, height, width)`` of every layer, by He-normal weights, always the same."""
    side, padding, plan = NETWORKS[name]
    generator = np.random.default_rng(0)
    nodes, weights, tensor, channels = [], [], "picture", 3
    for number, wanted in enumerate(plan):
        output = f"layer{number}"
        if wanted == POOL:
            nodes.append(helper.make_node("MaxPool", [tensor], [output], kernel_shape=[2, 2], strides=[2, 2]))
        else:
            kernel = generator.normal(scale=(2 / (9 * channels)) ** 0.5, size=(wanted, channels, 3, 3))
            weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"kernel{number}"))
            nodes.append(
                helper.make_node("Conv", [tensor, f"kernel{number}"], [output + "pre"], pads=[padding] * 4)
            )
            nodes.append(helper.make_node("Relu", [output + "pre"], [output]))
            channels = wanted
        tensor = output
    names = [f"layer{number}" for number in range(len(plan))]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("picture", 1, [1, 3, side, side])],
        [helper.make_tensor_value_info(output, 1, None) for output in names],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    with Image.open(PICTURE) as picture:
        pixels = np.asarray(picture.convert("RGB").resize((side, side), Image.Resampling.NEAREST), np.float32)
    batch = np.ascontiguousarray(np.moveaxis(pixels / 255, -1, 0)[None])
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return [values[0] for values in session.run(names, {"picture": batch})]


def as_notebooks_do(maps: Maps) -> NDArray[np.uint8]:
    """The sheet of a layer by a loop over its channels."""
    channels, height, width = maps.shape
    rows = -(-channels // 16)
    sheet = np.zeros((rows * (height + 1) - 1, 16 * (width + 1) - 1), np.uint8)
    for channel in range(channels):
        image = maps[channel].copy()
        image -= image.mean()
        image /= image.std() or 1
        image *= 64
        image += 128
        top, left = (channel // 16) * (height + 1), (channel % 16) * (width + 1)
        sheet[top : top + height, left : left + width] = np.clip(image, 0, 255).astype("uint8")
    return sheet


def by_pillow(sheet: NDArray[np.uint8]) -> bytes:
    """A palette PNG with Pillow's defaults."""
    picture = Image.fromarray(sheet)
    picture.putpalette(palette("viridis").tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def drawn(maps: Maps) -> bytes:
    """The whole way of one layer."""
    limits = Scaling().limits(maps, channel_statistics(maps))
    sheet = draw_sheet(maps, limits)
    return encode(sheet.indices, sheet.palette).png()


def least(work: Callable[[], object], repeat: int) -> float:
    """Milliseconds of the fastest run."""
    times: list[float] = []
    for _ in range(repeat):
        before = time.perf_counter()
        work()
        times.append(time.perf_counter() - before)
    return 1000 * min(times)


def measure(name: str, repeat: int, threads: int) -> None:
    """Print the table of a network."""
    layers = activations(name)
    pixels = sum(maps.size for maps in layers)
    statistics = [channel_statistics(maps) for maps in layers]
    limits = [Scaling().limits(maps, own) for maps, own in zip(layers, statistics, strict=True)]
    sheets = [draw_sheet(maps, own) for maps, own in zip(layers, limits, strict=True)]
    plain = [as_notebooks_do(maps) for maps in layers]

    def each(work: Callable[..., object], *arguments: Sequence[object]) -> Callable[[], object]:
        return lambda: [work(*items) for items in zip(*arguments, strict=True)]

    print(f"\n{name}: {len(layers)} layers, {sum(map(len, layers)):,} channels, {pixels:,} values")
    steps = {
        "statistics": each(channel_statistics, layers),
        "levels": each(levels, layers, limits),
        "sheet (levels, tiling, markers)": each(draw_sheet, layers, limits),
        "compression": lambda: [encode(sheet.indices, sheet.palette).png() for sheet in sheets],
        "all": each(drawn, layers),
    }
    times = {step: least(work, repeat) for step, work in steps.items()}
    # The two largest layers first, so that the threads end together.
    ordered = sorted(layers, key=lambda maps: -maps.size)
    with ThreadPoolExecutor(threads) as pool:
        times[f"all, {threads} threads"] = least(lambda: list(pool.map(drawn, ordered)), repeat)
    rival = {"notebooks' loop": each(as_notebooks_do, layers), "Pillow's PNG": each(by_pillow, plain)}
    times |= {step: least(work, max(2, repeat // 5)) for step, work in rival.items()}
    for step, milliseconds in times.items():
        print(f"  {step:34}{milliseconds:9.2f} ms{milliseconds * 1e6 / pixels:9.2f} ns a value")

    ours = sum(len(drawn(maps)) for maps in layers)
    theirs = sum(len(by_pillow(sheet)) for sheet in plain)
    both = times["notebooks' loop"] + times["Pillow's PNG"]
    moved = sum(sheet.moved for sheet in sheets)
    print(f"  against loop and Pillow            {both / times['all']:9.1f}x faster on one thread")
    print(f"  size of the files                  {ours / theirs:9.3f} of Pillow's")
    print(f"  values one level lower for markers {100 * moved / pixels:9.3f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=20, help="runs of each step (default: 20)")
    parser.add_argument("--threads", type=int, default=2, help="threads that draw (default: 2)")
    options = parser.parse_args()
    for name in NETWORKS:
        measure(name, options.repeat, options.threads)


if __name__ == "__main__":
    main()
