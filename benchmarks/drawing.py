"""Measure drawing alone: from activations to PNG bytes, step by step, against plain NumPy and Pillow.

The activations are those of random convolutions with ReLU over the demonstration's chest X-ray - smooth and
sparse, as a trained network's are - in the shapes of the two benchmark networks. The rival is what notebooks
do, one channel at a time, with Pillow's default compression. All are run in turn, in rounds, and the least of
each is printed; on a shared machine processor times and ratios hold, wall times do not.

    python benchmarks/drawing.py [--rounds 20] [--threads 2]
"""

from __future__ import annotations

import argparse
import io
import math
import time
from collections.abc import Callable, Mapping
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


def least(steps: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Wall and processor milliseconds of each step's fastest run; every round runs all of them in turn."""
    best = dict.fromkeys(steps, (math.inf, math.inf))
    for _ in range(rounds):
        for step, work in steps.items():
            wall, processor = time.perf_counter(), time.process_time()
            work()
            took = 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - processor)
            best[step] = min(best[step][0], took[0]), min(best[step][1], took[1])
    return best


def measure(name: str, rounds: int, threads: int) -> None:
    """Print the table of a network."""
    # The largest layers first, so that the threads end together.
    layers = sorted(activations(name), key=lambda maps: -maps.size)
    values = sum(maps.size for maps in layers)
    limits = [Scaling().limits(maps, channel_statistics(maps)) for maps in layers]
    sheets = [draw_sheet(maps, own) for maps, own in zip(layers, limits, strict=True)]
    plain = [as_notebooks_do(maps) for maps in layers]

    with ThreadPoolExecutor(threads) as pool:
        times = least(
            {
                "statistics": lambda: [channel_statistics(maps) for maps in layers],
                "levels": lambda: list(map(levels, layers, limits)),
                "sheet (levels, tiling, markers)": lambda: list(map(draw_sheet, layers, limits)),
                "compression": lambda: [encode(sheet.indices, sheet.palette).png() for sheet in sheets],
                "all": lambda: list(map(drawn, layers)),
                f"all, {threads} threads": lambda: list(pool.map(drawn, layers)),
                "the notebooks' loop": lambda: list(map(as_notebooks_do, layers)),
                "Pillow's PNG": lambda: list(map(by_pillow, plain)),
            },
            rounds,
        )
    channels = sum(map(len, layers))
    print(f"\n{name}: {len(layers)} layers, {channels:,} channels, {values:,} values")
    print(f"  {'':34}{'wall ms':>9}{'processor ms':>14}{'ns a value':>12}")
    for step, (wall, processor) in times.items():
        print(f"  {step:34}{wall:9.2f}{processor:14.2f}{processor * 1e6 / values:12.2f}")

    ours = sum(len(drawn(maps)) for maps in layers)
    theirs = sum(len(by_pillow(sheet)) for sheet in plain)
    rival = times["the notebooks' loop"][1] + times["Pillow's PNG"][1]
    moved = sum(sheet.moved for sheet in sheets)
    print(f"  loop and Pillow, over all          {rival / times['all'][1]:9.2f} in processor time")
    print(f"  size of the files, over Pillow's   {ours / theirs:9.3f}")
    print(f"  values one level lower for markers {100 * moved / values:9.3f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="runs of each step (default: 20)")
    parser.add_argument("--threads", type=int, default=2, help="threads that draw (default: 2)")
    options = parser.parse_args()
    for name in NETWORKS:
        measure(name, options.rounds, options.threads)


if __name__ == "__main__":
    main()
