"""Receptive fields, against what onnxruntime lets through: light one row of the picture at a time, and see
which activations change."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fluoroscope import open_network
from fluoroscope.errors import NetworkError
from onnx_models import after, chain, floats, model, node, plainly, value

HEIGHT, WIDTH = 61, 44
SLOWLY = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)


def seen(data, rows, axis, extent, shape):
    """For each layer ``(extent, its length)``: whether line `r` of the picture changes line `i` of it."""
    lines = np.zeros((extent + 1, *shape), np.float32)
    for place in range(extent):
        lines[(place, slice(None), *[slice(None)] * axis, place)] = 1
    values = plainly(data, {"x": lines}, [row.tensor for row in rows])
    found = {}
    for row in rows:
        array = np.moveaxis(values[row.tensor], row.channel_axis, -1)
        changed = np.abs(array[:extent] - array[extent:]) > 1e-7
        others = tuple(i for i in range(1, changed.ndim) if i != axis + 1)
        found[row.layer.name] = changed.any(axis=others)
    return found


def boxes(field, axis, count):
    """First and one past the last pixel that each unit sees, along one axis."""
    first = np.arange(count) * field.stride[axis] + field.offset[axis]
    return first, first + field.size[axis]


def compare(data, shape=(2, HEIGHT, WIDTH), exact=True):
    """The boxes given hold all that is seen and, where `exact`, no more for the unit in the middle."""
    network = open_network(data)
    maps = [row for row in network._rows.values() if len(row.layer.shape) == 3]
    rows = [row for row in maps if row.layer.family != "input"]
    checked = 0
    for axis, extent in enumerate(shape[1:]):
        found = seen(data, rows, axis, extent, shape)
        for row in rows:
            field = row.layer.receptive_field
            changed = found[row.layer.name]
            first, end = boxes(field, axis, changed.shape[1])
            for unit in range(changed.shape[1]):
                pixels = np.flatnonzero(changed[:, unit])
                if not len(pixels):
                    continue
                assert first[unit] - 1e-4 <= pixels[0], (row.layer, unit)
                assert pixels[-1] + 1 <= end[unit] + 1e-4, (row.layer, unit)
            middle = changed.shape[1] // 2
            if exact and first[middle] >= 12 and end[middle] <= extent - 12:
                pixels = np.flatnonzero(changed[:, middle])
                assert (pixels[0], pixels[-1] + 1) == (first[middle], end[middle]), row.layer
                checked += 1
    return network, checked


def compare_if_possible(data, *given, **more):
    """`compare`, unless nothing is left of the picture."""
    try:
        compare(data, *given, **more)
    except NetworkError:
        assume(False)


PAIRS = st.tuples(st.integers(1, 4), st.integers(1, 4))


@st.composite
def windows(draw):
    """A convolution or pooling with any setting that onnxruntime takes."""
    operator = draw(st.sampled_from(["Conv", "MaxPool", "AveragePool"]))
    kernel = draw(PAIRS)
    settings_ = {
        "kernel_shape": list(kernel),
        "strides": draw(st.lists(st.integers(1, 3), min_size=2, max_size=2)),
    }
    mode = draw(st.sampled_from(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if mode != "NOTSET":
        settings_["auto_pad"] = mode
        # onnxruntime pools no window narrower than its stride with these.
        settings_["strides"] = [min(pair) for pair in zip(settings_["strides"], kernel, strict=True)]
    else:
        settings_["pads"] = [draw(st.integers(0, size - 1)) for size in kernel * 2]
        settings_["dilations"] = draw(st.lists(st.integers(1, 2), min_size=2, max_size=2))
    if operator == "Conv":
        group = draw(st.sampled_from([1, 2]))
        return after("Conv", f"w{kernel[0]}{kernel[1]}{group}", group=group, **settings_)
    if mode == "NOTSET":
        settings_["ceil_mode"] = draw(st.integers(0, 1))
    return after(operator, **settings_)


MOVES = st.sampled_from(
    [
        lambda: [after("Pad", "pads")],
        lambda: [after("Pad", "crops")],
        lambda: [after("Slice", "starts", "ends", "axes", "steps")],
        lambda: [after("Relu")],
        lambda: [after("Transpose", perm=[0, 2, 3, 1]), after("Relu"), after("Transpose", perm=[0, 3, 1, 2])],
        lambda: [after("Gather", "some", axis=1)],
    ]
)

KERNELS = {
    f"w{height}{width}{group}": floats(2, 2 // group, height, width, low=0.5, high=1.0) / (height * width)
    for height in range(1, 5)
    for width in range(1, 5)
    for group in (1, 2)
}
NUMBERS = {
    "pads": np.array([0, 0, 1, 0, 0, 0, 2, 3]),
    "crops": np.array([0, 0, -1, 2, 0, 0, -2, -1]),
    "starts": np.array([1, -40]),
    "ends": np.array([2**62, -1]),
    "axes": np.array([2, -1]),
    "steps": np.array([2, 1]),
    "some": np.array([1, 0]),
}


@st.composite
def chains(draw):
    """Two to four operators after each other."""
    nodes = []
    for part in draw(st.lists(st.one_of(windows(), windows(), MOVES), min_size=2, max_size=4)):
        nodes += part() if callable(part) else [part]
    return chain(nodes, KERNELS | NUMBERS, shape=("N", 2, HEIGHT, WIDTH), opset=19)


@SLOWLY
@given(chains())
def test_windows_pads_and_crops_see_exactly_their_boxes(data):
    compare_if_possible(data)


def test_the_comparison_does_compare():
    data = chain([after("Conv", "w331", strides=[2, 2])], KERNELS, shape=("N", 2, HEIGHT, WIDTH))
    assert compare(data)[1] == 2


@st.composite
def transposed(draw):
    """A transposed convolution with any setting that onnxruntime takes."""
    kernel = draw(PAIRS)
    strides = draw(st.lists(st.integers(1, 3), min_size=2, max_size=2))
    dilations = draw(st.lists(st.integers(1, 2), min_size=2, max_size=2))
    settings_ = {"kernel_shape": list(kernel), "strides": strides, "dilations": dilations}
    kind = draw(st.sampled_from(["pads", "auto_pad", "output_shape"]))
    if kind == "pads":
        settings_["pads"] = [draw(st.integers(0, size - 1)) for size in kernel * 2]
        settings_["output_padding"] = [draw(st.integers(0, stride - 1)) for stride in strides]
    elif kind == "auto_pad":
        settings_["auto_pad"] = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    else:
        settings_["output_shape"] = [
            max(extent, (extent - 1) * stride + (size - 1) * dilation + 1 - draw(st.integers(0, 2)))
            for extent, stride, size, dilation in zip((21, 14), strides, kernel, dilations, strict=True)
        ]
    return after("ConvTranspose", f"w{kernel[0]}{kernel[1]}1", **settings_)


@SLOWLY
@given(transposed(), windows())
def test_transposed_windows_are_held_and_no_box_is_larger_than_need_be(up, down):
    data = chain([up], KERNELS, shape=("N", 2, 21, 14))
    network, _ = compare(data, (2, 21, 14), exact=False)
    tight(network, data, (2, 21, 14))
    if any(attribute.name == "output_shape" for attribute in up.attribute):
        return
    compare_if_possible(
        chain([down, up, after("Relu")], KERNELS, shape=("N", 2, 41, 28)), (2, 41, 28), exact=False
    )


def tight(network, data, shape):
    """Of all units some sees the first pixel of its box, and some the last."""
    (row,) = [row for row in network._rows.values() if row.layer.family != "input"]
    for axis, extent in enumerate(shape[1:]):
        changed = seen(data, [row], axis, extent, shape)[row.layer.name]
        first, end = boxes(row.layer.receptive_field, axis, changed.shape[1])
        inside = [unit for unit in range(changed.shape[1]) if changed[:, unit].any()]
        low = min(np.flatnonzero(changed[:, unit])[0] - first[unit] for unit in inside)
        high = min(end[unit] - np.flatnonzero(changed[:, unit])[-1] - 1 for unit in inside)
        assert low < 1e-4, row.layer
        assert high < 1e-4, row.layer


SCALES = [(2, 2), (3, 1.5), (0.5, 0.75), (4, 0.3), (1, 2.5)]


@pytest.mark.parametrize("scales", SCALES, ids=str)
@pytest.mark.parametrize(
    "how",
    [
        *(
            {"mode": "nearest", "coordinate_transformation_mode": transform, "nearest_mode": rounding}
            for transform in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
            for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
        ),
        *(
            {"mode": mode, "coordinate_transformation_mode": transform}
            for mode in ("linear", "cubic")
            for transform in ("half_pixel", "asymmetric", "align_corners", "half_pixel_symmetric")
        ),
        {"mode": "linear", "antialias": 1},
        {"mode": "cubic", "antialias": 1},
    ],
    ids=lambda how: "-".join(map(str, how.values())),
)
@pytest.mark.parametrize("given_as", ["scales", "sizes"])
def test_resizing_is_held_and_tight(how, scales, given_as):
    sizes = np.array([1, 2, int(21 * scales[0]), int(16 * scales[1])])
    weights = {"scales": np.array([1, 1, *scales], np.float32), "sizes": sizes}
    inputs = ["", "scales"] if given_as == "scales" else ["", "", "sizes"]
    if given_as == "sizes":
        # The batch's size is stated with the others: one picture at a time.
        weights["picture"] = np.array([2, 3])
        weights["sizes"] = sizes[2:]
        how = how | {"axes": [2, 3]}
    data = chain([after("Resize", *inputs, **how)], weights, shape=("N", 2, 21, 16))
    network, _ = compare(data, (2, 21, 16), exact=False)
    tight(network, data, (2, 21, 16))


@pytest.mark.parametrize(("opset", "operator"), [(7, "Upsample"), (9, "Upsample"), (10, "Resize")])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_old_resizing(opset, operator, mode):
    scales = np.array([1, 1, 2, 3], np.float32)
    one = (
        after(operator, mode=mode, scales=scales.tolist()) if opset == 7 else after(operator, "s", mode=mode)
    )
    data = chain([one], {"s": scales} if opset > 7 else {}, shape=("N", 2, 21, 14), opset=opset)
    network, _ = compare(data, (2, 21, 14), exact=False)
    tight(network, data, (2, 21, 14))
    assert network.layers[1].receptive_field.stride == pytest.approx((1 / 2, 1 / 3))


def test_blocks_and_channels():
    data = chain([after("DepthToSpace", blocksize=2)], shape=("N", 4, 10, 6))
    compare(data, (4, 10, 6), exact=False)
    data = chain([after("Conv", "w331"), after("SpaceToDepth", blocksize=2)], KERNELS, shape=("N", 2, 42, 34))
    network, checked = compare(data, (2, 42, 34))
    assert checked == 4
    assert network.layers[-1].receptive_field.size == (4, 4)


def branches(nodes, output, weights=None, shape=("N", 2, 24, 20), **options):
    """A network of nodes with all their inputs written out."""
    weights = KERNELS | (weights or {})
    made = model(nodes, [value("x", list(shape))], [output], weights, **options)
    return made.SerializeToString()


def fields(data):
    return {layer.name: layer.receptive_field for layer in open_network(data).layers}


@pytest.mark.parametrize("join", ["Add", "Concat", "Mul", "Max", "Sum"])
def test_a_join_sees_what_its_branches_see(join):
    extra = {"axis": -3} if join == "Concat" else {}
    data = branches(
        [
            node("Conv", ["x", "w331"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], name="a"),
            node("Conv", ["a", "w411"], ["b"], kernel_shape=[4, 1], pads=[0, 0, 3, 0], name="b"),
            node(join, ["a", "b"], ["y"], name="y", **extra),
        ],
        "y",
    )
    compare(data, (2, 24, 20))
    assert fields(data)["y"].size == (6, 3)
    assert fields(data)["y"].offset == (-1, -1)


def test_a_gate_leaves_the_box_and_adds_the_whole_picture():
    data = branches(
        [
            node("Conv", ["x", "w331"], ["a"], kernel_shape=[3, 3], name="a"),
            node("GlobalAveragePool", ["a"], ["g"], name="g"),
            node("Conv", ["g", "w111"], ["h"], kernel_shape=[1, 1], name="h"),
            node("Sigmoid", ["h"], ["s"], name="s"),
            node("Mul", ["a", "s"], ["y"], name="y"),
        ],
        "y",
    )
    found = fields(data)
    assert (found["y"].size, found["y"].stride, found["y"].offset) == ((3, 3), (1, 1), (0, 0))
    assert found["y"].whole
    assert not found["a"].whole
    assert found["s"].whole
    assert found["s"].size == (24, 20)
    assert found["s"].stride == ()


def test_a_unit_that_sees_everything_may_be_spread_over_a_map_and_no_other():
    def spread(height, width):
        return branches(
            [
                node("Conv", ["x", "k"], ["a"], name="a"),
                node("Slice", ["a", "zeros", "ones", "axes"], ["b"], name="b"),
                node("Mul", ["x", "b"], ["y"], name="y"),
            ],
            "y",
            {
                "k": floats(2, 2, height, width, low=0.1),
                "zeros": np.array([0, 0]),
                "ones": np.array([1, 1]),
                "axes": np.array([2, 3]),
            },
        )

    found = fields(spread(24, 20))
    assert found["b"].size == (24, 20)
    assert (found["y"].size, found["y"].whole) == ((1, 1), True)
    assert fields(spread(23, 20))["y"] is None


@pytest.mark.parametrize(
    ("one", "whole"),
    [
        (after("Softmax", axis=1), False),
        (after("Softmax", axis=-1), True),
        (after("Softmax", axis=2), True),
        (after("LogSoftmax", axis=-3), False),
        (after("LayerNormalization", "g", axis=-1), True),
        (after("InstanceNormalization", "two", "two"), True),
        (after("LRN", size=3), False),
        (after("MeanVarianceNormalization", axes=[1]), False),
        (after("MeanVarianceNormalization"), True),
        (after("LpNormalization", axis=1), False),
    ],
    ids=lambda one: one.op_type if hasattr(one, "op_type") else str(one),
)
def test_normalizing_over_places_sees_the_whole_picture(one, whole):
    weights = {"g": np.ones(12, np.float32), "two": np.ones(2, np.float32)}
    found = list(fields(chain([after("Relu"), one], weights)).values())[-1]
    assert (found.size, found.whole) == ((1, 1), whole)


def test_up_to_operator_set_12_softmax_was_over_all_axes_from_its_axis_on():
    old = list(fields(chain([after("Softmax", axis=1)], opset=11)).values())[-1]
    new = list(fields(chain([after("Softmax", axis=1)], opset=13)).values())[-1]
    assert (old.whole, new.whole) == (True, False)


def test_layer_normalization_over_channels_keeps_the_box():
    data = chain(
        [
            after("Conv", "w331"),
            after("Transpose", perm=[0, 2, 3, 1]),
            after("LayerNormalization", "two", axis=-1),
            after("MatMul", "w"),
        ],
        KERNELS | {"two": np.ones(2, np.float32), "w": floats(2, 5)},
    )
    compare(data, (2, 16, 12))
    assert [field.size for field in list(fields(data).values())[1:]] == [(3, 3)] * 4


def test_what_is_flattened_has_no_box_until_all_of_it_is_mixed():
    data = chain(
        [after("Conv", "w331"), after("Flatten"), after("Relu"), after("Gemm", "w")],
        KERNELS | {"w": floats(2 * 14 * 10, 3)},
    )
    conv, flat, relu, dense = list(fields(data).values())[1:]
    assert conv.size == (3, 3)
    assert (flat, relu) == (None, None)
    assert dense.whole
    assert (dense.size, dense.stride) == ((16, 12), ())


@pytest.mark.parametrize(
    ("axes", "keepdims", "expected"),
    [
        ([2, 3], 1, "whole"),
        ([2, 3], 0, "whole"),
        ([-1, -2], 1, "whole"),
        ([1], 0, (3, 3)),
        ([1], 1, (3, 3)),
        ([2], 1, None),
    ],
)
def test_reducing(axes, keepdims, expected):
    data = chain(
        [after("Conv", "w331"), after("ReduceMean", "axes", keepdims=keepdims)],
        KERNELS | {"axes": np.array(axes)},
    )
    found = list(fields(data).values())[-1]
    if expected == "whole":
        assert found.whole
        assert found.stride == ()
    elif expected is None:
        assert found is None
    else:
        assert found.size == expected
        assert not found.whole


def test_reshapes_that_keep_the_map_keep_the_box():
    """A shuffle of channels: five axes, and back."""
    data = chain(
        [
            after("Conv", "w331", name="c"),
            after("Reshape", "five"),
            after("Transpose", perm=[0, 2, 1, 3, 4]),
            after("Reshape", "four"),
            after("Conv", "w331", name="d"),
        ],
        KERNELS | {"five": np.array([0, 2, 1, 14, 10]), "four": np.array([0, 2, 14, 10])},
    )
    compare(data, (2, 16, 12))
    assert list(fields(data).values())[-1].size == (5, 5)


def test_a_sequence_through_two_dimensional_windows():
    """As TensorFlow's one-dimensional convolutions are exported: one axis of length 1 comes and goes."""
    weights = {"a": np.array([0, 2, 1, 30]), "b": np.array([0, 2, 26]), "w": floats(2, 2, 1, 5, low=0.1)}
    data = chain(
        [
            after("Transpose", perm=[0, 2, 1]),
            after("Reshape", "a"),
            after("Conv", "w", kernel_shape=[1, 5]),
            after("Reshape", "b"),
            after("MaxPool", kernel_shape=[2]),
        ],
        weights,
        shape=("N", 30, 2),
    )
    found = list(fields(data).values())
    assert [field.size for field in found] == [(1,), (1,), (1,), (5,), (5,), (6,)]
    assert found[-1].stride == (1,)


@pytest.mark.parametrize(
    "one",
    [
        after("Slice", "starts", "ends", "axes", "back"),
        after("Concat", "row", axis=2),
        after("CumSum", "axis"),
        after("TopK", "two", axis=3, outputs=["t", "i"]),
        after("Gather", "indices", axis=2),
    ],
    ids=lambda one: one.op_type,
)
def test_what_no_box_describes_has_none_and_neither_has_what_follows(one):
    weights = {
        "starts": np.array([-1]),
        "ends": np.array([-(2**62)]),
        "axes": np.array([2]),
        "back": np.array([-1]),
        "axis": np.array(3),
        "two": np.array([2]),
        "indices": np.array([3, 1, 2]),
    }
    if one.op_type == "Concat":
        first = after("Conv", "w331", pads=[1, 1, 1, 1], name="row")
        one = after("Concat", "x", axis=2)
        found = fields(chain([first, one, after("Relu")], KERNELS))
    else:
        found = fields(chain([after("Conv", "w331"), one, after("Relu")], KERNELS | weights))
    # To pick some is no layer of its own.
    expected = [None] if one.op_type == "Gather" else [None, None]
    assert list(found.values())[-len(expected) :] == expected


def test_a_vector_that_is_fed_beside_the_picture_is_no_picture():
    made = model(
        [
            node("Conv", ["x", "w331"], ["a"], name="a"),
            node("Gemm", ["v", "w"], ["b"], name="b"),
            node("Unsqueeze", ["b", "axes"], ["c"], name="c"),
            node("Mul", ["a", "c"], ["y"], name="y"),
        ],
        [value("x", ["N", 2, 16, 12]), value("v", ["N", 3])],
        ["y"],
        KERNELS | {"w": floats(3, 2), "axes": np.array([2, 3])},
    )
    found = fields(made.SerializeToString())
    assert found["v"] is None
    assert found["b"] is None
    assert found["y"].size == (3, 3)
    assert not found["y"].whole


def windows_of(layers, size):
    """A network of windows alone: (kernel, stride, padding) each."""
    weights = {f"w{kernel}": floats(1, 1, kernel, kernel, low=0.1) for kernel, _, _ in layers}
    nodes = [
        after("Conv", f"w{kernel}", strides=[stride] * 2, pads=[before, before, behind, behind])
        for kernel, stride, (before, behind) in layers
    ]
    return open_network(chain(nodes, weights, shape=("N", 1, size, size))).layers[-1].receptive_field


VGG16 = [(3, 1, (1, 1))] * 2 + [(2, 2, (0, 0))] + [(3, 1, (1, 1))] * 2 + [(2, 2, (0, 0))]
VGG16 += ([(3, 1, (1, 1))] * 3 + [(2, 2, (0, 0))]) * 3
RESNET50 = [(7, 2, (3, 3)), (3, 2, (0, 1))]
for blocks, stride in ((3, 1), (4, 2), (6, 2), (3, 2)):
    for block in range(blocks):
        RESNET50 += [(1, stride if block == 0 else 1, (0, 0)), (3, 1, (1, 1)), (1, 1, (0, 0))]
MOBILENET = [(3, 2, (0, 1))]
for stride in (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1):
    MOBILENET += [(3, stride, (1, 1) if stride == 1 else (0, 1)), (1, 1, (0, 0))]


@pytest.mark.parametrize(
    ("layers", "size", "stride", "first"),
    [(VGG16, 212, 32, -90), (RESNET50, 483, 32, -239), (MOBILENET, 315, 32, -126)],
    ids=["VGG16", "ResNet50", "MobileNet"],
)
def test_networks_of_the_published_table(layers, size, stride, first):
    """Araujo, Norris, Sim, Distill 2019, table 1: receptive field and stride of well-known networks.

    The first pixel follows from the paddings: for ResNet50 it is the table's effective padding, 239.
    """
    found = windows_of(layers, 224)
    assert found.size == (size, size)
    assert found.stride == (stride, stride)
    assert found.offset == (first, first)
