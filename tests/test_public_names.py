"""What the package offers, where it comes from, and what it does not load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import fluoroscope

NAMES = """
    Activations Budget ChannelStatistics CheckReport FeatureMap FeatureMaps FluoroscopeError Groups Image
    InputSpec Layer Limits Network Prepared Preprocessing Provenance ReceptiveField Scaling Sheet Style
    __version__ capture capture_many check demo errors open_image open_network prepare preprocess select
""".split()

ERRORS = """
    BudgetExceeded DamagedFile FluoroscopeError LayerNotFound MissingDependency NetworkError PictureError
    RefusedFile UnknownFormat UnsupportedLayer UsageError WeightMismatch WorkerFailed
""".split()

HEAVY = """
    onnx onnxruntime pyfive PIL matplotlib reportlab rich typer
    tensorflow keras tf_keras torch h5py scipy pandas
""".split()

FRAMEWORKS = "tensorflow keras tf_keras torch h5py matplotlib".split()


def loaded(code: str, *arguments: object) -> set[str]:
    """Top-level modules that a process of its own holds when it has run the code."""
    report = "\nimport json, sys\nprint(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code + report, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_public_names_are_these() -> None:
    assert sorted(fluoroscope.__all__) == sorted(NAMES)
    assert dir(fluoroscope) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there_and_explained(name: str) -> None:
    member = getattr(fluoroscope, name)
    assert member is getattr(fluoroscope, name)
    if name != "__version__":
        assert member.__doc__
        assert member.__name__.removeprefix("fluoroscope.") == name


def test_a_star_brings_them_all() -> None:
    space: dict[str, object] = {}
    exec("from fluoroscope import *", space)
    assert set(NAMES) <= set(space)


def test_what_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'fluoroscope' has no attribute 'Captures'"):
        _ = fluoroscope.Captures


def test_the_errors_are_these_and_stand_in_one_tree() -> None:
    errors = {
        name: member
        for name, member in vars(fluoroscope.errors).items()
        if isinstance(member, type) and member.__module__ == "fluoroscope.errors"
    }
    assert sorted(errors) == ERRORS
    assert all(issubclass(member, fluoroscope.FluoroscopeError) for member in errors.values())


def test_an_error_reads_as_it_was_written() -> None:
    # KeyError, which it also is, would show the repr.
    assert str(fluoroscope.errors.LayerNotFound("No layer 'a'.\nNext line.")) == "No layer 'a'.\nNext line."
    assert str(fluoroscope.errors.UsageError()) == ""


def test_importing_loads_nothing_foreign() -> None:
    before = loaded("")
    added = loaded("import fluoroscope") - before
    assert "fluoroscope" in added
    assert added <= {"fluoroscope", *sys.stdlib_module_names}


def test_naming_everything_loads_nothing_heavy() -> None:
    everything = loaded("from fluoroscope import *")
    assert "numpy" in everything
    assert everything.isdisjoint(HEAVY)


def test_from_file_to_pictures_without_a_framework(tmp_path: Path) -> None:
    code = """
import sys
import fluoroscope as fs
network = fs.open_network(fs.demo.network_path())
acts = fs.capture(network, fs.demo.image_path(), layers="conv2d_4, dense_1")
for name in ("acts.pdf", "acts.png", "acts.npz", "acts"):
    acts.save(f"{sys.argv[1]}/{name}", classes=fs.demo.classes())
acts["conv2d_4"].save(f"{sys.argv[1]}/sheet.png")
acts["conv2d_4"][3].save(f"{sys.argv[1]}/channel.png")
acts._repr_html_()
"""
    held = loaded(code, tmp_path)
    assert held.isdisjoint(FRAMEWORKS)
    assert {"onnxruntime", "pyfive", "reportlab"} <= held
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"acts.pdf", "acts.png", "acts.npz", "acts", "sheet.png", "channel.png"}


def test_a_figure_is_what_loads_matplotlib_and_never_pyplot() -> None:
    code = """
import sys
import fluoroscope as fs
acts = fs.capture(fs.demo.network_path(), fs.demo.image_path(), layers="conv2d_4")
assert "matplotlib" not in sys.modules
acts["conv2d_4"][3].figure()
assert "matplotlib.figure" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    assert "matplotlib" in loaded(code)
