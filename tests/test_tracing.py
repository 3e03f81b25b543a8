"""What is known before a graph is run: numbers computed beforehand, shapes, costs; against onnxruntime."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fluoroscope as fs
from fluoroscope.errors import BudgetExceeded, DamagedFile, UnsupportedLayer
from fluoroscope.network.budget import Budget
from fluoroscope.network.cost import cost
from fluoroscope.network.folding import FOLDABLE, fold
from fluoroscope.network.tensors import TensorType
from fluoroscope.network.tracing import trace
from onnx_models import after, chain, floats, model, node, plainly, value

FLOAT = np.dtype(np.float32)
INT = np.dtype(np.int64)


def by_onnxruntime(one, arrays, opset=18):
    """What onnxruntime makes of a node whose inputs are all given."""
    from onnx import helper

    inputs = [
        value(name, array.shape, helper.np_dtype_to_tensor_dtype(array.dtype))
        for name, array in zip(one.input, arrays, strict=True)
        if name
    ]
    made = model([one], inputs, [helper.make_empty_tensor_value_info(one.output[0])], opset=opset)
    fed = {name: array for name, array in zip(one.input, arrays, strict=True) if name}
    return plainly(made, fed, [one.output[0]])[one.output[0]]


def ints(*numbers):
    return np.array(numbers, np.int64)


CASES = [
    (node("Gather", ["a", "b"], ["y"]), [ints(5, 6, 7), ints(2, 0)]),
    (node("Gather", ["a", "b"], ["y"], axis=1), [ints(5, 6, 7, 8).reshape(2, 2), np.array(-1)]),
    (node("Concat", ["a", "b"], ["y"], axis=0), [ints(5), ints(6, 7)]),
    (node("Concat", ["a", "b"], ["y"], axis=-1), [ints(5, 6).reshape(2, 1), ints(7, 8).reshape(2, 1)]),
    (node("Unsqueeze", ["a", "b"], ["y"]), [ints(5, 6), ints(0, -1)]),
    (node("Squeeze", ["a", "b"], ["y"]), [ints(5, 6).reshape(1, 2, 1), ints(-1)]),
    (node("Squeeze", ["a"], ["y"]), [ints(5, 6).reshape(1, 2, 1)]),
    (node("Slice", ["a", "s", "e"], ["y"]), [ints(5, 6, 7, 8), ints(1), ints(-1)]),
    (
        node("Slice", ["a", "s", "e", "x", "t"], ["y"]),
        [ints(5, 6, 7, 8), ints(-1), ints(-(2**62)), ints(0), ints(-2)],
    ),
    (node("Slice", ["a", "s", "e", "", "t"], ["y"]), [ints(5, 6, 7, 8), ints(0), ints(2**62), None, ints(3)]),
    (node("Cast", ["a"], ["y"], to=1), [ints(5, -6)]),
    (node("Cast", ["a"], ["y"], to=7), [np.array([5.9, -6.9], np.float32)]),
    (node("Cast", ["a"], ["y"], to=9), [ints(0, 3)]),
    (node("Reshape", ["a", "b"], ["y"]), [ints(1, 2, 3, 4, 5, 6).reshape(2, 3), ints(0, -1)]),
    (node("Reshape", ["a", "b"], ["y"], allowzero=1), [ints(1, 2, 3, 4), ints(2, 2)]),
    (node("Transpose", ["a"], ["y"]), [ints(1, 2, 3, 4, 5, 6).reshape(1, 2, 3)]),
    (node("Transpose", ["a"], ["y"], perm=[1, 0]), [ints(1, 2, 3, 4, 5, 6).reshape(2, 3)]),
    (node("ConstantOfShape", ["a"], ["y"]), [ints(2, 3)]),
    (node("Range", ["a", "b", "c"], ["y"]), [np.array(2), np.array(9), np.array(3)]),
    (node("Range", ["a", "b", "c"], ["y"]), [np.array(9), np.array(2), np.array(-3)]),
    (node("Expand", ["a", "b"], ["y"]), [ints(5, 6), ints(3, 1)]),
    (node("Tile", ["a", "b"], ["y"]), [ints(5, 6), ints(3)]),
    (node("ReduceProd", ["a", "b"], ["y"], keepdims=0), [ints(2, 3, 4), ints(0)]),
    (node("ReduceProd", ["a"], ["y"]), [ints(2, 3, 4)]),
    (node("Div", ["a", "b"], ["y"]), [ints(7, 8, 9), ints(2, 2, 5)]),
    (node("Div", ["a", "b"], ["y"]), [np.array([7, 1], np.float32), np.array([3, -3], np.float32)]),
    (node("Mod", ["a", "b"], ["y"]), [ints(14, -3, 7), ints(7, 5, -4)]),
    (node("Where", ["a", "b", "c"], ["y"]), [np.array([True, False]), ints(5, 6), ints(7, 8)]),
    (node("Min", ["a", "b", "c"], ["y"]), [ints(5, 6), ints(7, 2), ints(6)]),
    (node("Max", ["a"], ["y"]), [ints(5, 6)]),
    (node("Identity", ["a"], ["y"]), [ints(5, 6)]),
    *(
        (node(name, ["a", "b"], ["y"]), [ints(5, -6), ints(5, 2)])
        for name in "Add Sub Mul Equal Greater Less".split()
    ),
    *(
        (node(name, ["a", "b"], ["y"]), [ints(5, -6), ints(5, 2)])
        for name in ("GreaterOrEqual", "LessOrEqual")
    ),
    *((node(name, ["a"], ["y"]), [ints(5, -6)]) for name in ("Neg", "Abs")),
    *(
        (node(name, ["a"], ["y"]), [np.array([5.5, -6.5, 0.5], np.float32)])
        for name in ("Floor", "Ceil", "Neg", "Abs")
    ),
    (node("Sqrt", ["a"], ["y"]), [np.array([2, 49], np.float32)]),
    (node("Not", ["a"], ["y"]), [np.array([True, False])]),
    *((node(name, ["a", "b"], ["y"]), [np.array([True, False]), np.array([True])]) for name in ("And", "Or")),
]


@pytest.mark.parametrize(("one", "arrays"), CASES, ids=lambda given: getattr(given, "op_type", ""))
def test_numbers_are_those_of_onnxruntime(one, arrays):
    found, expected = fold(one, arrays), by_onnxruntime(one, arrays)
    assert found is not None
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(found, expected)


def test_every_operator_is_compared():
    assert {one.op_type for one, _ in CASES} | {"Shape", "Size"} == set(FOLDABLE)


@pytest.mark.parametrize(
    ("start", "end", "expected"), [(None, None, [2, 3, 4]), (1, None, [3, 4]), (-2, -1, [3])]
)
def test_shapes_and_parts_of_them(start, end, expected):
    given_ = {name: number for name, number in (("start", start), ("end", end)) if number is not None}
    one = node("Shape", ["a"], ["y"], **given_)
    assert fold(one, [ints(2, 3, 4)]).tolist() == expected
    assert by_onnxruntime(one, [np.zeros((2, 3, 4), np.float32)]).tolist() == expected
    assert fold(node("Size", ["a"], ["y"]), [ints(2, 3, 4)]) == 24


@settings(deadline=None)
@given(
    st.sampled_from(["Add", "Sub", "Mul", "Div", "Min", "Max", "Equal", "Less"]),
    st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=3),
    st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=1),
)
def test_arithmetic_on_any_numbers_is_that_of_onnxruntime_or_not_known(operator, some, other):
    one, arrays = node(operator, ["a", "b"], ["y"]), [np.array(some), np.array(other)]
    found = fold(one, arrays)
    if found is not None:
        np.testing.assert_array_equal(found, by_onnxruntime(one, arrays))


@pytest.mark.parametrize(
    ("one", "arrays"),
    [
        (node("Div", ["a", "b"], ["y"]), [ints(7), ints(0)]),
        (node("Div", ["a", "b"], ["y"]), [ints(-7), ints(2)]),
        (node("Mod", ["a", "b"], ["y"]), [ints(7), ints(0)]),
        (node("Mod", ["a", "b"], ["y"], fmod=1), [ints(-7), ints(2)]),
        (node("Div", ["a", "b"], ["y"]), [np.ones(1, np.float32), np.zeros(1, np.float32)]),
        (node("Cast", ["a"], ["y"], to=7), [np.array([1e30], np.float32)]),
        (node("Cast", ["a"], ["y"], to=7), [np.array([np.nan], np.float32)]),
        (node("Cast", ["a"], ["y"], to=6), [ints(2**33)]),
        (node("Gather", ["a", "b"], ["y"]), [ints(7), ints(5)]),
        (node("Concat", ["a", "b"], ["y"], axis=1), [ints(7), ints(5)]),
        (node("Reshape", ["a", "b"], ["y"]), [ints(7, 8, 9), ints(2, 2)]),
        (node("Sqrt", ["a"], ["y"]), [np.array([-1], np.float32)]),
        (node("Range", ["a", "b", "c"], ["y"]), [np.array(0.5), np.array(2.5), np.array(0.1)]),
        (node("Slice", ["a", "s", "e"], ["y"]), [ints(7, 8), ints(0, 0), ints(1)]),
        (node("Expand", ["a", "b"], ["y"]), [ints(7, 8), ints(3)]),
        # onnxruntime 1.31 finds -1 the smaller one here.
        (node("Min", ["a", "b"], ["y"]), [ints(-(2**31) - 1), ints(-1)]),
        (node("Mul", ["a", "b"], ["y"]), [ints(2**40), ints(2**40)]),
    ],
    ids=lambda given: getattr(given, "op_type", ""),
)
def test_what_cannot_be_said_with_certainty_is_not_said(one, arrays):
    assert fold(one, arrays) is None


# Shapes.


def traced(nodes, weights=None, shape=(2, 2, 16, 12), **options):
    import onnx

    graph = onnx.load_from_string(chain(nodes, weights, shape=shape)).graph
    arrays = {name: np.asarray(array) for name, array in (weights or {}).items()}
    inputs = {"x": TensorType(FLOAT, tuple(shape))}
    return trace(graph.node, arrays, inputs, 18, options.pop("budget", Budget()), **options)


PROGRAM = [
    node("Shape", ["x"], ["s"]),
    node("Gather", ["s", "two"], ["h"], axis=0),
    node("Gather", ["s", "zero"], ["n"], axis=0),
    node("Mul", ["h", "two"], ["hh"]),
    node("Unsqueeze", ["hh", "zeros"], ["hh1"]),
    node("Unsqueeze", ["n", "zeros"], ["n1"]),
    node("Concat", ["n1", "minus", "hh1"], ["target"], axis=0),
    node("Reshape", ["x", "target"], ["y"]),
    node("Cast", ["target"], ["f"], to=1),
    node("Slice", ["f", "zeros", "ones"], ["one"]),
]
NUMBERS = {
    "two": np.array(2),
    "zero": np.array(0),
    "zeros": ints(0),
    "ones": ints(1),
    "minus": ints(-1),
}


@pytest.mark.parametrize("batch", [1, 3])
def test_a_program_of_shapes_is_followed(batch):
    found = trace(PROGRAM, NUMBERS, {"x": TensorType(FLOAT, (batch, 3, 8, 10))}, 18, Budget())
    assert found.types["y"].shape == (batch, 15, 16)
    assert found.values["target"].tolist() == [batch, -1, 16]
    assert not found.unknown
    made = model(PROGRAM, [value("x", [batch, 3, 8, 10])], ["y", "one"], NUMBERS)
    assert plainly(made, {"x": floats(batch, 3, 8, 10)}, ["y"])["y"].shape == (batch, 15, 16)


def test_free_sizes_stay_free():
    found = traced([after("Conv", "k"), after("Relu")], {"k": floats(5, 2, 3, 3)}, shape=(1, 2, None, 12))
    assert found.types["t1"].shape == (1, 5, None, 10)
    assert not found.types["t1"].known
    assert found.types["t1"].elements == 50
    assert found.types["t1"].nbytes == 200
    assert not found.unknown


def test_what_depends_on_the_picture_has_no_size_and_neither_has_what_follows():
    found = traced([after("NonZero"), after("Cast", to=1), after("Relu"), after("Shape")])
    assert found.unknown == dict.fromkeys(["t0", "t1", "t2", "t3"], "'t0' (NonZero)")


def test_masks_without_a_type_harm_nothing():
    found = trace(
        [node("Dropout", ["x"], ["y", "mask"]), node("Relu", ["y"], ["z"])],
        {},
        {"x": TensorType(FLOAT, (1, 2))},
        9,
        Budget(),
    )
    assert found.types["z"].shape == (1, 2)
    assert list(found.unknown) == ["mask"]


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (
            after("Conv", "k"),
            r"kernels float32\[5, 3, 3, 3\], which do not fit what it is given, float32\[2, 2, 16, 12\]",
        ),
        (after("Conv", "five"), r"cannot take float32\[2, 2, 16, 12\], int64\[2\]"),
        (after("Conv", "large"), r"windows of \[1, 13\], larger than what it is given"),
        (after("MaxPool", kernel_shape=[17, 1]), r"windows of \[17, 1\], larger"),
        (after("MatMul", "k"), "Incompatible dimensions"),
        (after("Reshape", "five"), r"cannot make \[5, 5\] of \[2, 2, 16, 12\]"),
        (after("Concat", "k", axis=1), "Can't merge shape info"),
        (after("Add", "five"), "'t0' .Add. cannot take"),
    ],
    ids=lambda given: getattr(given, "op_type", ""),
)
def test_contradictions(one, message):
    weights = {"k": floats(5, 3, 3, 3), "five": ints(5, 5), "large": floats(5, 2, 1, 13)}
    with pytest.raises(DamagedFile, match=message):
        traced([one, after("Relu")], weights)
    assert list(traced([one, after("Relu")], weights, forgiving=True).unknown) == ["t0", "t1"]


def test_an_operator_that_the_operator_set_has_not():
    with pytest.raises(UnsupportedLayer, match="operator set 9 of ONNX has no Gelu"):
        trace([node("Gelu", ["x"], ["y"])], {}, {"x": TensorType(FLOAT, (1, 2))}, 9, Budget())


@pytest.mark.parametrize("size", [2**30, 2**40, 2**62, -(2**63)])
@pytest.mark.parametrize("operator", ["Expand", "Tile", "Reshape", "ConstantOfShape", "Pad"])
def test_sizes_that_no_memory_holds_are_not_even_multiplied(operator, size):
    before = [] if operator == "ConstantOfShape" else ["x"]
    sizes = ints(*([0] * 7), size) if operator == "Pad" else ints(1, 1, 1, size)
    # What is only reshaped must be there already.
    error = DamagedFile if operator == "Reshape" and size == 2**30 else BudgetExceeded
    with pytest.raises(error, match=f"no memory budget allows that|{operator}"):
        trace(
            [node(operator, [*before, "s"], ["y"])],
            {"s": sizes},
            {"x": TensorType(FLOAT, (1, 2, 3, 1))},
            18,
            Budget(),
        )


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool", "LpPool"])
@pytest.mark.parametrize("extent", range(5, 12))
def test_pools_that_round_up_leave_out_windows_behind_the_picture(operator, extent):
    for kernel in range(1, 5):
        for stride in range(1, 4):
            for padding in range(min(2, kernel)):
                one = after(
                    operator, kernel_shape=[kernel], strides=[stride], pads=[padding] * 2, ceil_mode=1
                )
                data = chain([one], shape=(1, 2, extent))
                expected = plainly(data, {"x": floats(1, 2, extent)}, ["t0"])["t0"].shape
                assert fs.open_network(data)._graph.traced.types["t0"].shape == expected


# Costs.


def costs(nodes, kept, shape=(1, 2, 16, 12), weights=None):
    import onnx

    graph = onnx.load_from_string(chain(nodes, weights, shape=shape)).graph
    return cost(list(graph.node), traced(nodes, weights, shape), ["x"], kept)


def test_memory_of_a_chain_is_that_of_the_widest_step():
    """1536 bytes at a time: the picture stays, each step needs what it takes and what it makes."""
    found = costs([after("Relu") for _ in range(5)], ["t4"])
    assert found.memory == 3 * 1536
    assert found.worst == "'t1' (Relu)"
    everything = costs([after("Relu") for _ in range(5)], [f"t{i}" for i in range(5)])
    assert everything.memory == 6 * 1536


def test_memory_of_branches_that_wait_for_each_other():
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Abs", ["x"], ["b"]),
        node("Neg", ["x"], ["c"]),
        node("Sum", ["a", "b", "c"], ["d"]),
        node("Relu", ["d"], ["e"]),
    ]
    known = trace(nodes, {}, {"x": TensorType(FLOAT, (1, 100))}, 18, Budget())
    found = cost(nodes, known, ["x"], ["e"])
    assert (found.memory, found.worst) == (5 * 400, "'d' (Sum)")


def test_what_is_made_of_weights_alone_stays():
    """onnxruntime computes it once, before the first run."""
    nodes = [
        node("ConstantOfShape", ["s"], ["w"]),
        node("Relu", ["w"], ["v"]),
        node("Add", ["x", "v"], ["y"]),
        node("Relu", ["y"], ["z"]),
    ]
    known = trace(nodes, {"s": ints(1, 100)}, {"x": TensorType(FLOAT, (1, 100))}, 18, Budget())
    assert cost(nodes, known, ["x"], ["z"]).memory == 5 * 400


def test_scratch_space_counts():
    """A transposed convolution unfolds its picture: 2 * 9 * 9 numbers for each of 16 * 12 places."""
    found = costs([after("ConvTranspose", "k")], ["t0"], weights={"k": floats(2, 2, 9, 9)})
    assert found.memory == 4 * (2 * 16 * 12 + 2 * 24 * 20 + 2 * 81 * 16 * 12)
    assert costs([after("LRN", size=100)], ["t0"]).memory == 4 * (2 * 2 * 16 * 12 + 102 * 16 * 12)


@pytest.mark.parametrize(
    ("one", "weights", "work"),
    [
        (after("Conv", "k"), {"k": (5, 2, 3, 3)}, 5 * 14 * 10 * 18),
        (after("Conv", "k", group=2), {"k": (4, 1, 3, 3)}, 4 * 14 * 10 * 9),
        (after("ConvTranspose", "k"), {"k": (2, 5, 3, 3)}, 2 * 16 * 12 * 45),
        (after("MatMul", "k"), {"k": (12, 7)}, 2 * 16 * 7 * 12),
        (after("MaxPool", kernel_shape=[3, 3]), {}, 2 * 14 * 10 * 9),
        (after("Relu"), {}, 2 * 16 * 12),
        (after("Einsum", "k", equation="nchw, wk -> nchk"), {"k": (12, 7)}, 2 * 16 * 12 * 7),
        (after("LRN", size=5), {}, 2 * 16 * 12 * 5),
        (after("Resize", "", "two", mode="cubic"), {"two": None}, 16 * 2 * 32 * 24),
    ],
    ids=lambda given: getattr(given, "op_type", ""),
)
def test_work(one, weights, work):
    arrays = {
        name: np.array([1, 1, 2, 2], np.float32) if shape is None else floats(*shape)
        for name, shape in weights.items()
    }
    found = costs([one], ["t0"], weights=arrays).work
    # Touching what is taken and made counts once more.
    assert work <= found <= work + 5000


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_work_of_a_recurrent_layer(direction):
    directions = 1 + (direction != "forward")
    nodes = [node("LSTM", ["x", "w", "r"], ["y"], hidden_size=8, direction=direction)]
    weights = {"w": floats(directions, 32, 6), "r": floats(directions, 32, 8)}
    known = trace(nodes, weights, {"x": TensorType(FLOAT, (5, 3, 6))}, 18, Budget())
    work = cost(nodes, known, ["x"], ["y"]).work
    assert work >= 5 * 3 * directions * 32 * (6 + 8)
