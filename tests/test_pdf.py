"""The PDF, read back by pypdf."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pypdf
import pytest
from pypdf.generic import ContentStream

from drawn_reports import HOSTILE, draw, layer, maps, report, stack
from fluoroscope.drawing.colormaps import palette
from fluoroscope.drawing.scaling import Scaling
from fluoroscope.drawing.style import Style
from fluoroscope.errors import UsageError
from fluoroscope.output.pdf import write_pdf
from fluoroscope.output.pdf.outline import nested


def read(given, path):
    """Write a report and read it back. The layers come as a list: a test looks at them again."""
    layers = list(given.layers)
    write_pdf(replace(given, layers=layers), path)
    return pypdf.PdfReader(path, strict=True), layers


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out.pdf"


def page_texts(reader):
    return [page.extract_text() for page in reader.pages]


def rgb_of(drawn):
    samples = drawn.image.samples()
    return samples if drawn.image.palette is None else drawn.image.palette[samples]


def pictures(reader):
    """Every picture in the document once, as RGB, by its object's number."""
    found = {}
    for page in reader.pages:
        for image in page.images:
            found[image.indirect_reference.idnum] = np.asarray(image.image.convert("RGB"))
    return list(found.values())


def drawings(reader):
    """For each picture drawn: page, object number, clip and matrix, both in points."""
    for number, page in enumerate(reader.pages):
        matrix, stack_, clip, path = np.eye(3), [], None, None
        objects = page["/Resources"].get("/XObject", {})
        for operands, operator in ContentStream(page.get_contents(), reader).operations:
            if operator == b"q":
                stack_.append((matrix, clip))
            elif operator == b"Q":
                matrix, clip = stack_.pop()
            elif operator == b"cm":
                a, b, c, d, e, f = map(float, operands)
                matrix = np.array([[a, b, 0], [c, d, 0], [e, f, 1]]) @ matrix
            elif operator == b"re":
                path = tuple(map(float, operands))
            elif operator in (b"W", b"W*"):
                clip = path
            elif operator == b"Do":
                yield number, objects.raw_get(operands[0]).idnum, clip, matrix


# What is in the document


@pytest.mark.parametrize(
    ("shape", "style"),
    [
        ((9, 7, 20), Style()),
        ((2, 1, 3), Style()),
        ((30, 40, 1), Style()),
        ((5, 5, 33), Style(columns=4, zoom=3, gap=0)),
        ((12, 12, 18), Style(colormap="gray", scaling=Scaling("minmax", scope="layer"))),
        ((6, 6, 300), Style()),
        ((40, 6), Style()),
        ((100,), Style()),
    ],
    ids=str,
)
def test_sheets_are_in_the_document_pixel_for_pixel(target, shape, style):
    kind = "Dense" if len(shape) == 1 else "Conv2D"
    reader, (drawn,) = read(report([(layer("conv", shape, kind), maps(*shape))], style=style), target)
    sheet = rgb_of(drawn)
    assert any(np.array_equal(picture, sheet) for picture in pictures(reader))


def test_the_compressed_bytes_go_in_as_they_are(target):
    _, (drawn,) = read(report(stack(1, 8, 8, 5)), target)
    assert drawn.image.stream in target.read_bytes()


def test_a_sheet_is_in_the_document_once_however_many_pages_show_it(target):
    reader, (drawn,) = read(report(stack(1, 3, 3, 1100)), target)
    numbers = {number for _, number, clip, _ in drawings(reader) if clip is not None}
    assert len(reader.pages) > 2
    assert len(numbers) == 1
    assert target.read_bytes().count(drawn.image.stream) == 1


@pytest.mark.parametrize("shape", [(3, 3, 1100), (20, 20, 32), (8, 300, 24), (40, 200)], ids=str)
def test_pages_show_every_pixel_of_a_sheet_once(target, shape):
    """Undo each drawing's matrix on its clip: the parts of the sheet shown must tile it."""
    reader, (drawn,) = read(report([(layer("conv", shape), maps(*shape))]), target)
    shown = np.zeros(drawn.geometry.shape, int)
    high, wide = shown.shape
    for _, _, clip, matrix in drawings(reader):
        if clip is None:
            continue
        across, down = matrix[0, 0] / wide, matrix[1, 1] / high
        left, width = (clip[0] - matrix[2, 0]) / across, clip[2] / across
        top, height = high - (clip[1] - matrix[2, 1] + clip[3]) / down, clip[3] / down
        sides = np.array([left, width, top, height])
        # Coordinates are written with a few decimals.
        assert np.allclose(sides, sides.round(), atol=0.1)
        left, width, top, height = sides.round().astype(int)
        shown[top : top + height, left : left + width] += 1
        assert clip[0] >= 0
        assert clip[0] + clip[2] <= 842
    boxes = np.zeros_like(shown)
    for channel in range(drawn.geometry.channels):
        top, left, height, width = drawn.geometry.box(channel)
        boxes[top : top + height, left : left + width] = 1
    assert shown[boxes == 1].tolist() == [1] * int(boxes.sum())
    assert shown.max() == 1


def test_maps_keep_their_aspect(target):
    reader, _ = read(report(stack(1, 10, 25, 12)), target)
    (matrix,) = (matrix for _, _, clip, matrix in drawings(reader) if clip is not None)
    assert matrix[0, 0] / matrix[1, 1] == pytest.approx((12 * 26 - 1) / 10, rel=1e-3)


def test_readers_are_asked_not_to_smooth(target):
    read(report(stack(1, 8, 8, 5)), target)
    images = re.findall(rb"/Subtype /Image.*?>>", target.read_bytes(), re.DOTALL)
    assert images
    assert all(b"/Interpolate false" in image for image in images)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_is_shown_as_read_and_as_the_network_gets_it(target, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 33, channels), np.uint8)
    reader, _ = read(report(stack(1, 8, 8, 5), picture=pixels), target)
    shown = [picture for picture in pictures(reader) if picture.shape[:2] == (20, 33)]
    assert len(shown) == 2
    for picture in shown:
        assert np.array_equal(picture, np.broadcast_to(pixels, (20, 33, 3)))


def test_a_large_picture_is_reduced_and_that_is_said(target):
    pixels = np.full((300, 1500), 77, np.uint8)
    reader, _ = read(report(stack(1, 8, 8, 5), picture=pixels), target)
    shapes = [picture.shape[:2] for picture in pictures(reader)]
    assert (100, 500) in shapes
    assert "1500 × 300 pixels, shown at 1/3" in page_texts(reader)[0]


@pytest.mark.parametrize("name", ["viridis", "gray"])
def test_the_legend_has_the_colours_of_the_palette(target, name):
    reader, _ = read(report(stack(2, 8, 8, 5), style=Style(colormap=name)), target)
    bars = [picture for picture in pictures(reader) if picture.shape[:2] == (1, 256)]
    assert len(bars) == 1
    assert np.array_equal(bars[0][0], palette(name))


# What can be read


def test_the_cover_tells_what_was_done(target):
    outputs = {"out": np.array([0.1, 0.7, 0.2], np.float32)}
    layers = [*stack(2, 8, 8, 5), (layer("out", (3,), "Dense", "softmax"), outputs["out"])]
    given = report(
        layers,
        name="lungs",
        outputs=outputs,
        classes=("healthy", "viral", "bacterial"),
        skipped={"lambda_1": "it is a Lambda"},
        notes=["optimizer state skipped"],
    )
    text = page_texts(read(given, target)[0])[0]
    for words in (
        "lungs",
        "13 channels of 3 layers",
        "Keras 2.0.5",
        "0123456789abcdef",
        "zscore: mean ± 2 std, per channel",
        "floor(256 · (value − low) / (high − low))",
        "viridis",
        "16 a row",
        "viral",
        "70.0 %",
        "1 layer, from lambda_1: it is a Lambda",
        "optimizer state skipped",
        "Sparsity and flat channels by depth",
        *given.inputs["input"].steps,
    ):
        assert words in text, words


def test_a_sigmoid_is_a_class_and_its_opposite(target):
    outputs = {"out": np.array([0.25], np.float32)}
    given = report(
        [*stack(1, 8, 8, 5), (layer("out", (1,), "Dense", "sigmoid"), outputs["out"])],
        outputs=outputs,
        classes=["pneumonia"],
    )
    for text in (page_texts(read(given, target)[0])[index] for index in (0, -1)):
        assert "not pneumonia" in text
        assert "75.0 %" in text
        assert "25.0 %" in text


def test_outputs_that_are_no_probabilities_are_shown_as_numbers(target):
    outputs = {"out": np.array([3.5, -1.25, np.nan], np.float32)}
    given = report([(layer("out", (3,), "Dense", None), outputs["out"])], outputs=outputs)
    text = page_texts(read(given, target)[0])[0]
    assert "Output, no probabilities" in text
    assert "−1.25" in text
    assert "NaN" in text
    assert "%" not in text.split("Summary")[0]


def test_every_layer_has_its_heading_legend_and_numbers(target):
    values = maps(8, 8, 20)
    values[..., [3, 4, 5, 11]] = 2
    values[1, 1, 17] = np.nan
    reader, _ = read(report([(layer("conv_a", (8, 8, 20)), values), *stack(1, 6, 6, 4)]), target)
    text = page_texts(reader)[2]
    for words in (
        "conv_a",
        "Conv2D + relu",
        "8 × 8 × 20",
        "20 channels",
        "4 flat",
        "1 not finite",
        "of values 0 or less",
        "each sees 3 × 3 px",
        "mean − 2 std",
        "mean + 2 std",
        "Each channel has a scale of its own",
        "Flat (one value everywhere): 3–5, 11",
        "With NaN or infinite values: 17",
        "conv_0",
    ):
        assert words in text, words
    # The first channel of each row.
    assert {"0", "16"} <= set(text.split())


@pytest.mark.parametrize("channels", [300, 1100])
def test_rows_are_numbered_on_all_strips_and_pages(target, channels):
    reader, _ = read(report(stack(1, 3, 3, channels)), target)
    words = {word for text in page_texts(reader)[1:] for word in text.split()}
    assert {str(first) for first in range(0, channels, 16)} <= words


def test_limits_that_are_shared_are_given_in_activation_units(target):
    values = np.linspace(-3, 5, 75, dtype=np.float32).reshape(5, 5, 3)
    style = Style(scaling=Scaling("minmax", scope="layer"))
    text = page_texts(read(report([(layer("conv", (5, 5, 3)), values)], style=style), target)[0])[1]
    assert {"−3", "1", "5"} <= set(text.split())
    assert "One scale for all: least to greatest value of the layer." in text


def test_vectors_have_their_strongest_values_listed(target):
    values = np.zeros(100, np.float32)
    values[[42, 77]] = 9.5, -4.25
    text = page_texts(read(report([(layer("fc", (100,), "Dense", None), values)]), target)[0])[1]
    assert "42: 9.5" in text
    assert "77: −4.25" in text
    assert "+8" in text
    assert "64" in text.split()


def test_short_vectors_are_bars_in_order(target):
    values = np.array([0.5, -1.5, 3], np.float32)
    text = page_texts(read(report([(layer("fc", (3,), "Dense", None), values)]), target)[0])[1]
    assert re.search(r"0\s+0\.5\s+1\s+−1\.5\s+2\s+3", text)


def test_channels_keep_their_numbers_when_only_some_are_drawn(target):
    drawn = replace(draw(layer("conv", (6, 6, 64)), maps(6, 6, 20)), channels=tuple(range(40, 60)))
    given = replace(report(stack(1, 6, 6, 64)), layers=[drawn])
    text = page_texts(read(given, target)[0])[1]
    assert {"40", "56"} <= set(text.split())
    assert "(20 of them)" in text


def test_every_page_has_its_number(target):
    texts = page_texts(read(report(stack(5, 20, 20, 40)), target)[0])
    for number, text in enumerate(texts, 1):
        assert f"{number} / {len(texts)}" in text


def test_layers_not_shown_are_listed_with_the_reason(target):
    given = report(stack(2, 8, 8, 5), skipped={"lambda_1": "a Lambda is code", "after": "comes after it"})
    text = page_texts(read(given, target)[0])[1]
    assert re.search(r"lambda_1\s+not shown: a Lambda is code\s+after\s+not shown: comes after it", text)


# How it is found


def outline_of(reader):
    """Title, level and page of every entry."""

    def walk(entries, level):
        for entry in entries:
            if isinstance(entry, list):
                yield from walk(entry, level + 1)
            else:
                yield entry.title, level, reader.get_destination_page_number(entry)

    return list(walk(reader.outline, 0))


def test_every_layer_has_a_bookmark_where_it_begins(target):
    reader, layers = read(report([*stack(3, 20, 20, 70), *stack(1, 3, 3, 1100)]), target)
    entries = outline_of(reader)
    assert [title for title, _, _ in entries] == ["Cover", "Layers at a glance", *(d.name for d in layers)]
    texts = page_texts(reader)
    for title, _, page in entries[2:]:
        assert title in texts[page]
        assert f"{title}\n" not in texts[page - 1] or page == 2


def test_bookmarks_are_nested_by_path(target):
    names = ["stem", "vgg/block1/conv1", "vgg/block1/conv2", "vgg/block2/conv1", "head/dense"]
    layers = [(layer(name, (8, 8, 3)), maps(8, 8, 3)) for name in names]
    entries = outline_of(read(report(layers), target)[0])
    assert [(title, level) for title, level, _ in entries[2:]] == [
        ("stem", 0),
        ("vgg", 0),
        ("block1", 1),
        ("conv1", 2),
        ("conv2", 2),
        ("block2/conv1", 1),
        ("head/dense", 0),
    ]


def test_nesting_has_an_end():
    deep = "/".join("a" * 100)
    levels = [level for _, _, level in nested([("1", f"{deep}/x"), ("2", f"{deep}/y")])]
    assert max(levels) <= 3
    assert nested([]) is not None


def test_the_overview_leads_to_the_pages_it_names(target):
    reader, layers = read(report(stack(60, 5, 5, 20)), target)
    pages = {title: page + 1 for title, _, page in outline_of(reader)}
    lines = [line for text in page_texts(reader)[1:3] for line in text.splitlines()]
    # A row is ten cells, of which the name is the second and the page the last.
    named = {drawn.name: int(lines[lines.index(drawn.name) + 8]) for drawn in layers}
    assert named == {drawn.name: pages[drawn.name] for drawn in layers}
    links = [
        annotation.get_object()
        for page in reader.pages[1:3]
        for annotation in page.get("/Annots", [])
        if annotation.get_object()["/Subtype"] == "/Link"
    ]
    assert len(links) == len(layers)


def test_the_document_describes_itself(target):
    reader, _ = read(report(stack(1, 8, 8, 5), name="lungs"), target)
    info = reader.metadata
    assert info is not None
    assert info.title == "Intermediate activations of lungs: array"
    assert info.author == "Fluoroscope"
    assert info.subject == "Scaling zscore: mean ± 2 std, per channel; colour map viridis"


def test_the_settings_are_attached_as_json(target):
    reader, _ = read(report(stack(1, 8, 8, 5), name="lungs"), target)
    record = json.loads(reader.attachments["manifest.json"][0])
    assert record["network"]["name"] == "lungs"
    assert record["drawing"]["scaling"]["method"] == "zscore"


def test_the_typeface_is_embedded(target):
    reader, _ = read(report(stack(1, 8, 8, 5)), target)
    names = {
        str(font.get_object()["/BaseFont"]).split("+")[-1]
        for page in reader.pages
        for font in page["/Resources"]["/Font"].values()
        if "/FontDescriptor" in font.get_object()
    }
    assert names == {"Inter-Regular", "Inter-SemiBold"}


# What can go wrong


def test_names_are_not_trusted(target):
    layers = [(layer(name, (4, 4, 3)), maps(4, 4, 3, seed=i)) for i, name in enumerate(HOSTILE)]
    outputs = {"out": np.array([0.5, 0.3, 0.2], np.float32)}
    layers.append((layer("out", (3,), "Dense", "softmax"), outputs["out"]))
    given = report(
        layers,
        name=HOSTILE[1] * 100,
        outputs=outputs,
        classes=(HOSTILE[0], HOSTILE[3], HOSTILE[4]),
        skipped={name + "!": name for name in HOSTILE},
        notes=HOSTILE,
    )
    reader, _ = read(given, target)
    text = "\n".join(page_texts(reader))
    for words in (
        "line\\nbreak\\x00 and \\x1b[31m",
        "\\u202ereversed \\u05d0\\u05d1",
        "(unbalanced \\) << /Type /Catalog >> endstream endobj %%EOF",
        "\\u732b/\\u8bc6\\u522b\\u5c42",
        "\\ud800 half of a pair",
        "\\U0001f600",
        "'   '",
        "<img src=x onerror=alert(1)>",
        "aaaaaa…aaaaaa",
    ):
        assert words in text, words
    titles = [title for title, _, _ in outline_of(reader)]
    assert "猫/识别层" in titles
    assert all(title.isprintable() and len(title) <= 2400 for title in titles)
    assert target.stat().st_size < 300_000


@pytest.mark.parametrize(
    "layers",
    [
        pytest.param([(layer("flat", (5, 5, 20)), np.ones((5, 5, 20), np.float32))], id="flat"),
        pytest.param([(layer("nan", (5, 5, 20)), np.full((5, 5, 20), np.nan, np.float32))], id="nan"),
        pytest.param([(layer("nan", (50,), "Dense"), np.full(50, np.inf, np.float32))], id="infinite vector"),
        pytest.param([(layer("fc", (41_472,), "Flatten"), maps(41_472))], id="vector alone"),
        pytest.param([(layer("one", (1,), "Dense", None), np.array([2.5], np.float32))], id="one value"),
        pytest.param([], id="nothing"),
    ],
)
def test_odd_reports_are_written(target, layers):
    reader, _ = read(report(layers), target)
    assert len(reader.pages) >= 1
    assert f"{len(layers)} drawn of {len(layers)}" in page_texts(reader)[0]


def test_a_network_of_200_layers(target):
    reader, _ = read(report(stack(200, 4, 4, 16)), target)
    assert len(outline_of(reader)) == 202
    assert "conv_199" in "".join(page_texts(reader)[1:8])


def test_layers_are_taken_once_and_progress_is_told_of_each(target):
    told = []
    write_pdf(report(stack(3, 8, 8, 5)), target, progress=told.append)
    assert told == ["conv_0", "conv_1", "conv_2"]


def test_a_failure_leaves_what_was_there(target):
    target.write_bytes(b"before")

    def layers():
        yield draw(*stack(1, 8, 8, 5)[0])
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        write_pdf(replace(report([]), layers=layers()), target)
    assert target.read_bytes() == b"before"
    assert os.listdir(target.parent) == [target.name]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        write_pdf(report(stack(1, 8, 8, 5)), tmp_path / "nowhere" / "out.pdf")


def test_two_documents_of_one_report_differ_only_in_date_and_identity(tmp_path):
    given = report(stack(2, 8, 8, 5))
    layers = list(given.layers)
    contents = []
    for name in ("a.pdf", "b.pdf"):
        write_pdf(replace(given, layers=layers), tmp_path / name)
        content = (tmp_path / name).read_bytes()
        content = re.sub(rb"/(CreationDate|ModDate) \(.*?\)", b"", content)
        contents.append(re.sub(rb"/ID\s*\[.*?\]", b"", content, flags=re.DOTALL))
    assert contents[0] == contents[1]


QUIET = "import fluoroscope.output.pdf.reportlab_quietly"
PLAIN = "import reportlab.pdfgen.canvas"


@pytest.mark.parametrize(("code", "runs"), [(PLAIN, True), (QUIET, False)], ids=["plain", "ours"])
@pytest.mark.parametrize("place", ["home", "path"])
def test_reportlab_runs_nothing_of_its_user(tmp_path, code, runs, place):
    """With the plain import first, which shows that the traps work."""
    marker = tmp_path / "marker"
    trap = f"open({str(marker)!r}, 'w').close()\n"
    for stem in ("reportlab_mods", "reportlab_settings"):
        name = f".{stem}" if place == "home" else f"{stem}.py"
        (tmp_path / name).write_text(trap)
    env = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path) if place == "path" else ""}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=60)
    assert marker.exists() == runs


def test_the_stand_ins_are_gone_after_the_import():
    left = "[name for name in sys.modules if name.endswith(('lab_mods', 'rl_mods', 'lab_settings'))]"
    code = f"{QUIET}, sys; assert not {left}, {left}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_package_does_not_import_reportlab_before_it_is_needed():
    code = "import fluoroscope, fluoroscope.output.save, sys; assert 'reportlab' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("form", "told"), [("keras-hdf5", "given as bytes"), ("torch-module", "none: a live model")]
)
def test_the_cover_says_what_is_no_file(form, told, target):
    given = report([(layer("conv", (4, 4, 2)), maps(4, 4, 2))])
    origin = replace(given.network.provenance, path=None, format=form)
    reader, _ = read(replace(given, network=replace(given.network, provenance=origin)), target)
    assert told in reader.pages[0].extract_text()
