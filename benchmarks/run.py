"""Measure every bar of Fluoroscope, each against its rival in the same run, and print ratios.

Times on a shared machine drift; a ratio of two things measured in turn, A B A B, holds. Whole processes are
timed cold (files in the page cache), with the memory of the process; single steps are timed warm.

    python benchmarks/run.py                  everything, about 15 minutes
    python benchmarks/run.py --only lab vgg   some
    python benchmarks/run.py --list           what there is
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).parent
PICTURE = HERE.parent / "src" / "fluoroscope" / "demo" / "person3_virus_16.jpeg"
SCRIPTS = Path(sys.executable).parent
RUNS = 5
"""Pairs of whole processes."""


@dataclass(frozen=True)
class Result:
    """One row of the table: what was measured, the bar, and the figure."""

    what: str
    bar: str
    measured: str
    met: bool


@dataclass(frozen=True)
class Usage:
    """A finished process: wall seconds and peak resident memory in bytes."""

    seconds: float
    memory: int


def process(command: Sequence[str | Path]) -> Usage:
    """Run a command to its end; its output is thrown away unless it fails."""
    # Installed packages are compiled; so is what the first run here leaves.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    before = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(list(map(str, command)), stdout=output, stderr=output, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - before
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            output.seek(0)
            raise RuntimeError(f"{command} failed:\n{output.read().decode(errors='replace')}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Usage(seconds, usage.ru_maxrss * unit)


def in_turn(
    ours: Callable[[], Usage], theirs: Callable[[], Usage], runs: int
) -> tuple[list[Usage], list[Usage]]:
    """A warm-up of each, then A B A B."""
    ours(), theirs()
    pairs = [(ours(), theirs()) for _ in range(runs)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Median of the ratios, pair by pair."""
    return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))


def warm_ratio(ours: Callable[[], object], theirs: Callable[[], object], runs: int) -> float:
    """Ratio of two functions in this process: the median over pairs of `ours` to the median of `theirs`.

    Both are warmed up. Medians of either side are taken before the ratio: one run of a few milliseconds is
    noisier than the machine's drift.
    """
    for _ in range(3):
        ours(), theirs()
    a: list[float] = []
    b: list[float] = []
    for _ in range(runs):
        for function, times in ((ours, a), (theirs, b)):
            before = time.perf_counter()
            function()
            times.append(time.perf_counter() - before)
    return statistics.median(a) / statistics.median(b)


class Bench:
    """The benchmarks; each method named ``measure_*`` gives rows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models: dict[str, Path] = {}

    def model(self, name: str) -> Path:
        """The benchmark network ``lab`` or ``vgg`` as a legacy `.h5`."""
        if not self.models:
            process([sys.executable, HERE / "models.py", self.folder])
            self.models = {key: self.folder / f"{key}.h5" for key in ("lab", "vgg")}
        return self.models[name]

    def measure_import(self) -> list[Result]:
        """`import fluoroscope` over bare numpy."""
        ours, theirs = in_turn(
            lambda: process([sys.executable, "-c", "import numpy, fluoroscope"]),
            lambda: process([sys.executable, "-c", "import numpy"]),
            15,
        )
        extra = statistics.median(a.seconds for a in ours) - statistics.median(b.seconds for b in theirs)
        return [Result("import fluoroscope, over numpy", "<= 0.10 s", f"{extra:.3f} s", extra <= 0.10)]

    def measure_lab(self) -> list[Result]:
        """LAB to the PDF, cold, against the notebook."""
        return self._against_notebook(
            "lab", "LAB to PDF", "out.pdf", speed=25, memory=1 / 6, memory_text="1/6"
        )

    def measure_vgg(self) -> list[Result]:
        """VGG to a folder of PNGs, cold, against the notebook."""
        return self._against_notebook("vgg", "VGG to PNGs", "out/", speed=15, memory=1 / 2, memory_text="1/2")

    def _against_notebook(
        self, name: str, what: str, out: str, *, speed: float, memory: float, memory_text: str
    ) -> list[Result]:
        model = self.model(name)
        # The notebook's layers: everything with feature maps.
        layers = "conv,pool,!global*"
        target = self.folder / f"ours_{name}" / out
        target.parent.mkdir(exist_ok=True)
        render = [SCRIPTS / "fluoroscope", "render", model, PICTURE, "--layers", layers, "-o"]
        ours, theirs = in_turn(
            lambda: process([*render, f"{target.parent}/{out}", "--quiet"]),
            lambda: process(
                [
                    sys.executable,
                    HERE / "notebook_way.py",
                    name,
                    model,
                    PICTURE,
                    self.folder / f"nb_{name}_{out}",
                ]
            ),
            RUNS,
        )
        faster = median_ratio([b.seconds for b in theirs], [a.seconds for a in ours])
        share = median_ratio([a.memory for a in ours], [b.memory for b in theirs])
        seconds = statistics.median(a.seconds for a in ours), statistics.median(b.seconds for b in theirs)
        megabytes = max(a.memory for a in ours) / 1e6, max(b.memory for b in theirs) / 1e6
        return [
            Result(
                f"{what}, whole cold process, speed against the notebook's script",
                f">= {speed:g}x",
                f"{faster:.1f}x ({seconds[0]:.2f} s, {seconds[1]:.1f} s)",
                faster >= speed,
            ),
            Result(
                f"{what}, memory against the notebook's script",
                f"<= {memory_text}",
                f"1/{1 / share:.1f} ({megabytes[0]:.0f} MB, {megabytes[1]:.0f} MB)",
                share <= memory,
            ),
        ]

    def measure_opening(self) -> list[Result]:
        """Opening a file, cold, against `keras.models.load_model`."""
        rows: list[Result] = []
        for name in ("lab", "vgg"):
            legacy = self.model(name)
            modern = legacy.with_suffix(".keras")
            convert = (
                "import sys, keras; keras.models.load_model(sys.argv[1], compile=False).save(sys.argv[2])"
            )
            process([sys.executable, "-c", convert, legacy, modern])
            for model in (legacy, modern):
                ours, theirs = in_turn(
                    lambda m=model: process(
                        [
                            sys.executable,
                            "-c",
                            "import sys, fluoroscope as fs; fs.open_network(sys.argv[1])",
                            m,
                        ]
                    ),
                    lambda m=model: process(
                        [sys.executable, "-c", "import sys, keras; keras.models.load_model(sys.argv[1])", m]
                    ),
                    RUNS,
                )
                faster = median_ratio([b.seconds for b in theirs], [a.seconds for a in ours])
                share = median_ratio([a.memory for a in ours], [b.memory for b in theirs])
                what = (
                    f"{name.upper()}{model.suffix}, opening in a cold process against keras.models.load_model"
                )
                seconds = (
                    statistics.median(a.seconds for a in ours),
                    statistics.median(b.seconds for b in theirs),
                )
                megabytes = max(a.memory for a in ours) / 1e6, max(b.memory for b in theirs) / 1e6
                rows += [
                    Result(
                        f"{what}, speed",
                        ">= 8x",
                        f"{faster:.1f}x ({seconds[0]:.2f} s, {seconds[1]:.1f} s)",
                        faster >= 8,
                    ),
                    Result(
                        f"{what}, memory",
                        "<= 1/5",
                        f"1/{1 / share:.1f} ({megabytes[0]:.0f} MB, {megabytes[1]:.0f} MB)",
                        share <= 1 / 5,
                    ),
                ]
        return rows

    def measure_forward(self) -> list[Result]:
        """All layers' activations, and all of drawing, over the bare forward pass, warm."""
        import numpy as np

        import fluoroscope as fs
        from fluoroscope.files import atomic_write
        from fluoroscope.output.draw import draw_layers

        rows: list[Result] = []
        for name, bar in (("vgg", 1.8), ("lab", 5.0)):
            network = fs.open_network(self.model(name))
            prepared = fs.prepare(network, PICTURE)
            batch = prepared.values[np.newaxis]
            names = fs.select(network, "conv,pool,!global*")
            last = [names[-1]]
            runs = 15 if name == "vgg" else 200
            if name == "vgg":
                ratio = warm_ratio(
                    lambda n=network, b=batch, k=names: n.run(b, k),
                    lambda n=network, b=batch, k=last: n.run(b, k),
                    runs,
                )
                rows.append(
                    Result(
                        "VGG, all layers' activations over the bare forward pass",
                        "<= 1.15x",
                        f"{ratio:.2f}x",
                        ratio <= 1.15,
                    )
                )
            target = self.folder / f"warm_{name}"
            target.mkdir(exist_ok=True)

            def everything(n=network, p=prepared, k=names, t=target) -> None:
                acts = fs.capture(n, p.image, layers=list(k))
                for number, drawn in enumerate(draw_layers(acts.values(), fs.Style())):
                    atomic_write(t / f"{number}.png", drawn.image.png())

            ratio = warm_ratio(everything, lambda n=network, b=batch, k=last: n.run(b, k), runs)
            rows.append(
                Result(
                    f"{name.upper()}, forward + scaling + sheets + PNG files over the bare pass, warm",
                    f"<= {bar:g}x",
                    f"{ratio:.2f}x",
                    ratio <= bar,
                )
            )
        return rows

    def measure_torch(self) -> list[Result]:
        """A live ResNet50 of PyTorch: all layers over the bare forward, warm."""
        import numpy as np

        import fluoroscope as fs

        sys.path.insert(0, str(HERE.parent / "tests"))
        import torch

        import torch_models

        model = torch_models.timm("resnet50").eval()
        network = fs.open_network(model, input_shape=(224, 224, 3))
        names = fs.select(network)
        batch = np.random.default_rng(0).random((1, 224, 224, 3), np.float32)
        tensor = torch.from_numpy(np.moveaxis(batch, -1, 1).copy())

        def bare() -> None:
            with torch.no_grad():
                model(tensor)

        ratio = warm_ratio(lambda: network.run(batch, names), bare, 25)
        what = f"live PyTorch ResNet50, all {len(names)} layers over the bare forward, warm"
        return [Result(what, "<= 1.3x", f"{ratio:.2f}x", ratio <= 1.3)]

    def measure_isolate(self) -> list[Result]:
        """A network in a process of its own over one in this: all layers warm, and a whole cold command."""
        import numpy as np

        import fluoroscope as fs

        model = self.model("vgg")
        here = fs.open_network(model)
        batch = fs.prepare(here, PICTURE).values[np.newaxis]
        names = fs.select(here)
        with fs.open_network(model, isolate=True) as there:
            warm = warm_ratio(lambda: there.run(batch, names), lambda: here.run(batch, names), 15)
        target = self.folder / "isolated"
        target.mkdir(exist_ok=True)
        render = [
            SCRIPTS / "fluoroscope",
            "render",
            model,
            PICTURE,
            "--quiet",
            "--force",
            "-o",
            f"{target}/out/",
        ]
        isolated, plain = in_turn(lambda: process([*render, "--isolate"]), lambda: process(render), RUNS)
        cold = median_ratio([a.seconds for a in isolated], [b.seconds for b in plain])
        seconds = statistics.median(a.seconds for a in isolated), statistics.median(b.seconds for b in plain)
        return [
            Result(
                "VGG, all layers' activations isolated over in this process, warm",
                "<= 1.25x",
                f"{warm:.2f}x",
                warm <= 1.25,
            ),
            Result(
                "VGG to PNGs, whole cold process with --isolate over without",
                "<= 1.25x",
                f"{cold:.2f}x ({seconds[0]:.2f} s, {seconds[1]:.2f} s)",
                cold <= 1.25,
            ),
        ]

    def measure_size(self) -> list[Result]:
        """Bytes of all PNGs against Pillow's default encoder on the same pixels."""
        import io

        import numpy as np
        from PIL import Image

        import fluoroscope as fs

        rows: list[Result] = []
        for name in ("lab", "vgg"):
            acts = fs.capture(self.model(name), PICTURE, layers="conv,pool,!global*")
            ours = theirs = 0
            for maps in acts.values():
                sheet = maps.sheet()
                ours += len(sheet.png())
                picture = Image.fromarray(np.asarray(sheet.indices), "P")
                picture.putpalette(np.asarray(sheet.palette).tobytes())
                stream = io.BytesIO()
                picture.save(stream, "PNG")
                theirs += len(stream.getvalue())
            ratio = ours / theirs
            rows.append(
                Result(
                    f"{name.upper()}, PNG size against Pillow's default",
                    "<= 1.0x",
                    f"{ratio:.2f}x",
                    ratio <= 1,
                )
            )
        return rows

    def measure_truth(self) -> list[Result]:
        """Every layer against tf_keras, and levels against the notebooks' formula."""
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        import numpy as np
        import tf_keras

        import fluoroscope as fs
        from fluoroscope.drawing.levels import levels

        rows: list[Result] = []
        for name in ("lab", "vgg"):
            network = fs.open_network(self.model(name))
            acts = fs.capture(network, PICTURE, layers="conv,pool,!global*")
            model = tf_keras.models.load_model(self.model(name))
            wanted = [model.get_layer(layer).output for layer in acts]
            reference = tf_keras.Model(model.input, wanted)(acts.prepared.values[np.newaxis])
            worst = 0.0
            differ = total = furthest = 0
            for maps, tensor in zip(acts.values(), reference, strict=True):
                expected = np.asarray(tensor)[0]
                worst = max(worst, float(np.abs(maps.values - expected).max() / np.abs(expected).max()))
                ours = levels(maps.maps, fs.Scaling().limits(maps.maps, maps.statistics))
                for channel in range(len(maps)):
                    if maps.statistics.flat[channel]:
                        continue
                    image = np.array(maps.values[..., channel])
                    image -= image.mean()
                    image /= image.std()
                    image *= 64
                    image += 128
                    theirs = np.clip(image, 0, 255).astype("uint8")
                    apart = np.abs(ours[channel].astype(int) - theirs.astype(int))
                    furthest = max(furthest, int(apart.max()))
                    differ += int(np.count_nonzero(apart))
                    total += apart.size
            share = differ / total
            rows += [
                Result(
                    f"{name.upper()}, agreement with tf_keras, every layer, relative to its scale",
                    "<= 1e-5",
                    f"{worst:.1e}",
                    worst <= 1e-5,
                ),
                Result(
                    f"{name.upper()}, levels against the notebooks' formula",
                    "<= 1 apart on <= 0.1%",
                    f"{furthest} apart on {share:.3%}",
                    furthest <= 1 and share <= 1e-3,
                ),
            ]
        return rows

    def measure_install(self) -> list[Result]:
        """Size of a core install in an environment of its own, pip not counted."""
        environment = self.folder / "environment"
        process([sys.executable, "-m", "venv", environment])
        python = environment / "bin" / "python"
        process([python, "-m", "pip", "install", "--quiet", HERE.parent])
        process([python, "-m", "pip", "uninstall", "--quiet", "--yes", "pip", "setuptools"])
        packages = next(environment.glob("lib/python*/site-packages"))
        size = sum(path.lstat().st_size for path in packages.rglob("*") if path.is_file()) / 1e6
        shutil.rmtree(environment)
        return [Result("core install (site-packages)", "<= 250 MB", f"{size:.0f} MB", size <= 250)]

    def measure_many(self) -> list[Result]:
        """Memory while 512 pictures are drawn: at the end against after the first 32."""
        code = (
            "import gc, sys, numpy as np, fluoroscope as fs\n"
            "def resident():\n"
            "    return int(open('/proc/self/statm').read().split()[1]) * 4096\n"
            "from fluoroscope.output.draw import draw_layers\n"
            "rng = np.random.default_rng(0)\n"
            "pictures = (rng.integers(0, 256, (180, 200, 3), np.uint8) for _ in range(512))\n"
            "seen = []\n"
            "for acts in fs.capture_many(sys.argv[1], pictures, layers='conv,pool,!global*'):\n"
            "    for drawn in draw_layers(acts.values(), fs.Style()):\n"
            "        drawn.image.png()\n"
            "    seen.append(resident())\n"
            "print(seen[31], max(seen[480:]))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, self.model("lab")], capture_output=True, text=True, check=True
        )
        early, late = map(int, done.stdout.split())
        growth = late / early
        return [
            Result(
                "512 pictures drawn: memory at the end over that after 32",
                "flat",
                f"{growth:.3f}x ({late / 1e6:.0f} MB)",
                growth <= 1.05,
            )
        ]


def machine() -> str:
    """The machine, for the record."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = models[0].partition(":")[2].strip() if models else name
    return f"{name}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def main() -> None:
    every = [name.removeprefix("measure_") for name in vars(Bench) if name.startswith("measure_")]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=every, default=every, metavar="NAME")
    parser.add_argument("--list", action="store_true", help="name the benchmarks")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args()
    if options.list:
        for name in every:
            print(f"{name:10} {getattr(Bench, f'measure_{name}').__doc__}")
        return
    print(machine())
    rows: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for name in options.only:
            for row in getattr(bench, f"measure_{name}")():
                rows.append(row)
                print(
                    f"{'met ' if row.met else 'MISS'}  {row.what:85} {row.bar:22} {row.measured}", flush=True
                )
    if options.json:
        record = {"machine": machine(), "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
