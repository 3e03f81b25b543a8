"""ONNX files that want more than they say: each is refused with a reason, in bounded time and memory.

Every file is built here and tried in a process of its own, which writes down what was opened, run and used.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import fluoroscope as fs
from fluoroscope.errors import (
    BudgetExceeded,
    DamagedFile,
    NetworkError,
    RefusedFile,
    UnknownFormat,
    UsageError,
)
from onnx_models import after, chain, floats, model, node, value

MEBIBYTE = 2**20
PICTURE = [value("x", ["N", 3, 32, 32])]


def ints(*numbers):
    return np.array(numbers, np.int64)


def big(*nodes, weights=None, opset=18, inputs=PICTURE, output=None):
    """A network that looks at its picture, and beside that makes something."""
    last = output or nodes[-1].output[0]
    return model(list(nodes), inputs, [last], weights, opset=opset).SerializeToString()


def shaped(*more):
    """Nodes that compute a size from the picture's."""
    return [node("Shape", ["x"], ["shape"]), *more]


def counted():
    """Nodes that compute a size from what is in the picture."""
    return [
        node("ReduceSum", ["x"], ["sum"], keepdims=0),
        node("Cast", ["sum"], ["count"], to=7),
        node("Unsqueeze", ["count", "zero"], ["size"]),
    ]


ZERO = {"zero": ints(0)}


def doubled(times):
    nodes = [node("Concat", ["x", "x"], ["t0"], axis=1)]
    nodes += [node("Concat", [f"t{i}", f"t{i}"], [f"t{i + 1}"], axis=1) for i in range(times)]
    return big(*nodes)


def gathered():
    """Each axis of the picture a thousand times."""
    names = ("x", "a", "b", "y")
    nodes = [node("Gather", [names[i], "many"], [names[i + 1]], axis=i + 1) for i in range(3)]
    return big(*nodes, weights={"many": np.zeros(1000, np.int64)})


def crowd(size, count):
    """Many tensors, each within the budget, made of nothing and alive at once."""
    names = [f"c{i}" for i in range(count)]
    return big(
        node("GlobalAveragePool", ["x"], ["p"]),
        *(node("ConstantOfShape", ["s"], [name]) for name in names),
        node("Sum", ["p", *names], ["y"]),
        weights={"s": ints(1, 3, size, size)},
    )


def laborious(times):
    """Little memory, much to multiply."""
    nodes = [node("ConstantOfShape", ["s"], ["m"]), node("Reshape", ["x", "r"], ["t0"])]
    nodes += [node("MatMul", [f"t{i}" if i == 0 else f"u{i - 1}", "m"], [f"u{i}"]) for i in range(times)]
    return big(*nodes, weights={"s": ints(3072, 3072), "r": ints(-1, 3072)})


BOMBS = {
    "ConstantOfShape": big(node("ConstantOfShape", ["s"], ["y"]), weights={"s": ints(2**33)}),
    "ConstantOfShape of many sizes": big(
        node("ConstantOfShape", ["s"], ["y"]), weights={"s": ints(*[2**29] * 4)}
    ),
    "ConstantOfShape behind a Cast": big(
        node("Cast", ["s"], ["i"], to=7),
        node("ConstantOfShape", ["i"], ["y"]),
        weights={"s": np.array([2.0**31])},
    ),
    "ConstantOfShape behind a product": big(
        *shaped(node("Mul", ["shape", "s"], ["i"]), node("ConstantOfShape", ["i"], ["y"])),
        weights={"s": ints(2**10)},
    ),
    "Tile": big(node("Tile", ["x", "s"], ["y"]), weights={"s": ints(1, 2**12, 2**12, 1)}),
    "Tile behind a sum": big(
        *shaped(node("Add", ["shape", "s"], ["i"]), node("Tile", ["x", "i"], ["y"])),
        weights={"s": ints(0, 999, 999, 9)},
    ),
    "Expand": big(
        node("GlobalAveragePool", ["x"], ["p"]),
        node("Expand", ["p", "s"], ["y"]),
        weights={"s": ints(1, 3, 2**16, 2**16)},
    ),
    "Expand behind shapes": big(
        *shaped(
            node("Mul", ["shape", "s"], ["i"]),
            node("GlobalAveragePool", ["x"], ["p"]),
            node("Expand", ["p", "i"], ["y"]),
        ),
        weights={"s": ints(1, 1, 4096, 4096)},
    ),
    "Range": big(
        node("Range", ["a", "b", "c"], ["y"]),
        weights={"a": np.array(0), "b": np.array(2**40), "c": np.array(1)},
    ),
    "Resize by scales": big(
        node("Resize", ["x", "", "s"], ["y"]), weights={"s": np.array([1, 1, 9e3, 9e3], np.float32)}
    ),
    "Resize to sizes": big(
        node("Resize", ["x", "", "", "s"], ["y"]), weights={"s": ints(1, 3, 2**20, 2**20)}
    ),
    "Resize by computed scales": big(
        *shaped(
            node("Cast", ["shape"], ["f"], to=1),
            node("Mul", ["f", "s"], ["m"]),
            node("Resize", ["x", "", "m"], ["y"]),
        ),
        weights={"s": np.array([1, 1 / 3, 500, 500], np.float32)},
    ),
    "Upsample": big(
        node("Upsample", ["x", "s"], ["y"], mode="nearest"),
        weights={"s": np.array([1, 1, 9e3, 9e3], np.float32)},
        opset=9,
    ),
    "Resizing in a chain": chain([after("Resize", "", "s")] * 8, {"s": np.array([1, 1, 8, 8], np.float32)}),
    "Pad": big(node("Pad", ["x", "s"], ["y"]), weights={"s": ints(0, 0, 10**5, 10**5, 0, 0, 0, 0)}),
    "Pad by an attribute": big(node("Pad", ["x"], ["y"], pads=[0, 0, 10**5, 10**5, 0, 0, 0, 0]), opset=10),
    "OneHot": big(
        node("ArgMax", ["x"], ["i"], axis=1, keepdims=0),
        node("OneHot", ["i", "depth", "values"], ["y"]),
        weights={"depth": np.array(2**29), "values": np.array([0, 1], np.float32)},
    ),
    "Concat in a chain": doubled(30),
    "Gather in a chain": gathered(),
    "ConvTranspose by its stride": big(
        node("ConvTranspose", ["x", "k"], ["y"], strides=[2**19, 2**19]), weights={"k": floats(3, 1, 1, 1)}
    ),
    "ConvTranspose by its output": big(
        node("ConvTranspose", ["x", "k"], ["y"], output_shape=[10**5, 10**5], strides=[3200, 3200]),
        weights={"k": floats(3, 1, 1, 1)},
    ),
    "Outer sum": big(
        node("Reshape", ["x", "a"], ["column"]),
        node("Reshape", ["x", "b"], ["row"]),
        node("Add", ["column", "row"], ["y"]),
        weights={"a": ints(-1, 1), "b": ints(1, -1)},
        inputs=[value("x", [1, 3, 256, 256])],
    ),
    "Outer product": big(
        node("Reshape", ["x", "a"], ["column"]),
        node("Reshape", ["x", "b"], ["row"]),
        node("MatMul", ["column", "row"], ["y"]),
        weights={"a": ints(-1, 1), "b": ints(1, -1)},
        inputs=[value("x", [1, 3, 256, 256])],
    ),
    "Outer product of three": big(
        node("Reshape", ["x", "a"], ["v"]),
        node("Einsum", ["v", "v", "v"], ["y"], equation="i,j,k->ijk"),
        weights={"a": ints(-1)},
    ),
    "RoiAlign": big(
        node("RoiAlign", ["x", "rois", "which"], ["y"], output_height=2**20, output_width=2**20),
        weights={"rois": floats(1, 4), "which": ints(0)},
    ),
    "MaxRoiPool": big(
        node("MaxRoiPool", ["x", "rois"], ["y"], pooled_shape=[2**20, 2**20]), weights={"rois": floats(1, 5)}
    ),
    "Padding of a convolution": big(
        node("Conv", ["x", "k"], ["y"], pads=[2**19] * 4), weights={"k": floats(4, 3, 3, 3)}
    ),
    "An input": big(node("Relu", ["x"], ["y"]), inputs=[value("x", [1, 3, 2**16, 2**16])]),
}
"""Files that ask for far more memory than there is, by sizes that are said or can be computed."""

LATE_BOMBS = {
    "Scratch space": big(
        node("ConvTranspose", ["x", "k"], ["y"], pads=[511] * 4),
        weights={"k": np.ones((3, 1, 1024, 1024), np.float32)},
    ),
    "Many at once": crowd(2**11, 50),
    "Much work": laborious(400),
}
"""Files whose single tensors are all within the budget: found out before the first run."""


def blind(*made, **weights):
    return big(*counted(), *made, weights={**ZERO, **weights})


def sizes(*others):
    """All sizes of a tensor, the last one counted in the picture."""
    return node("Concat", [*others, "size"], ["sizes"], axis=0)


BLIND = {
    "ConstantOfShape": blind(node("ConstantOfShape", ["size"], ["y"])),
    "Expand": blind(
        node("GlobalAveragePool", ["x"], ["p"]),
        sizes("one", "one", "size"),
        node("Expand", ["p", "sizes"], ["y"]),
        one=ints(1),
    ),
    "Tile": blind(sizes("one", "one", "size"), node("Tile", ["x", "sizes"], ["y"]), one=ints(1)),
    "Range": blind(node("Range", ["a", "count", "b"], ["y"]), a=np.array(0), b=np.array(1)),
    "Pad": blind(sizes("zeros"), node("Pad", ["x", "sizes"], ["y"]), zeros=ints(*[0] * 7)),
    "OneHot": blind(node("OneHot", ["size", "count", "values"], ["y"]), values=np.zeros(2, np.float32)),
    "Resize": blind(sizes("one", "one", "size"), node("Resize", ["x", "", "", "sizes"], ["y"]), one=ints(1)),
}
"""Files whose sizes hang on what is in the picture."""


def subgraph(nodes, outputs, inputs=()):
    return helper.make_graph(nodes, "inner", list(inputs), [value(name, None) for name in outputs])


def branches(depth):
    """Branches in branches."""
    other = subgraph([node("Relu", ["x"], ["q"])], ["q"])
    inner = other
    for level in range(depth):
        one = node("If", ["c"], [f"r{level}"], then_branch=inner, else_branch=other)
        inner = subgraph([one], [f"r{level}"])
    return big(node("If", ["c"], ["y"], then_branch=inner, else_branch=other), weights={"c": np.array(True)})


def endless():
    body = helper.make_graph(
        [node("Identity", ["go"], ["on"]), node("Relu", ["v"], ["w"])],
        "body",
        [value("i", [], 7), value("go", [], 9), value("v", None)],
        [value("on", [], 9), value("w", None)],
    )
    return big(node("Loop", ["", "true", "x"], ["y"], body=body), weights={"true": np.array(True)})


def scanned():
    body = helper.make_graph([node("Relu", ["a"], ["b"])], "body", [value("a", None)], [value("b", None)])
    return big(node("Scan", ["x"], ["y"], body=body, num_scan_inputs=1))


def with_functions(recursive):
    made = model([node("Mine", ["x"], ["y"], domain="own")], PICTURE, ["y"])
    inner = node("Mine", ["a"], ["b"], domain="own") if recursive else node("Relu", ["a"], ["b"])
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    made.functions.append(helper.make_function("own", "Mine", ["a"], ["b"], [inner], imports))
    made.opset_import.append(imports[1])
    return made.SerializeToString()


def foreign(domain, operator, **settings):
    made = model([node(operator, ["x"], ["y"], domain=domain, **settings)], PICTURE, ["y"])
    made.opset_import.append(helper.make_opsetid(domain, 1))
    return made.SerializeToString()


PROGRAMS = {
    "Endless Loop": endless(),
    "Scan": scanned(),
    "If": branches(0),
    "If in If": branches(8),
    "A Loop in a branch": big(
        node(
            "If",
            ["c"],
            ["y"],
            then_branch=subgraph([node("Loop", ["", "c"], ["z"], body=subgraph([], []))], ["z"]),
            else_branch=subgraph([node("Relu", ["x"], ["z"])], ["z"]),
        ),
        weights={"c": np.array(True)},
    ),
    "A subgraph where none belongs": big(node("Relu", ["x"], ["y"], body=subgraph([], []))),
}
"""Files with control flow."""


def sparse():
    made = model([node("MatMul", ["x", "w"], ["y"])], [value("x", ["N", 4])], ["y"])
    values = helper.make_tensor("w", 1, [1], [1.0])
    made.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, helper.make_tensor("i", 7, [1], [0]), [4, 2**30])
    )
    return made.SerializeToString()


def sparse_constant():
    values = helper.make_tensor("w", 1, [1], [1.0])
    tensor = helper.make_sparse_tensor(values, helper.make_tensor("i", 7, [1], [0]), [4, 2**30])
    return big(node("Constant", [], ["c"], sparse_value=tensor), node("Relu", ["x"], ["y"]))


STRANGERS = {
    "Microsoft's operators": foreign("com.microsoft", "FusedConv"),
    "A cached program of a device": foreign(
        "com.microsoft", "EPContext", ep_cache_context="../program.bin", embed_mode=0
    ),
    "Python in an operator": foreign("ai.onnx.contrib", "PyOp"),
    "Sparse weights": sparse(),
    "A sparse constant": sparse_constant(),
    "A constant of texts": big(node("Constant", [], ["c"], value_strings=["a"]), node("Relu", ["x"], ["y"])),
}
"""Files with what is no part of standard ONNX, or of no dense numbers."""


def weighed(**fields):
    """A network with one weight that declares something else than it holds."""
    made = model([node("Add", ["x", "w"], ["y"])], PICTURE, ["y"])
    tensor = made.graph.initializer.add()
    tensor.name, tensor.data_type = "w", fields.pop("data_type", 1)
    tensor.dims.extend(fields.pop("dims", [3, 1, 1]))
    for name, content in fields.items():
        if isinstance(content, bytes):
            setattr(tensor, name, content)
        else:
            getattr(tensor, name).extend(content)
    return made.SerializeToString()


WEIGHTS = {
    "raw data too short": weighed(raw_data=b"\0" * 11),
    "raw data too long": weighed(raw_data=b"\0" * 13),
    "no data": weighed(),
    "too few numbers": weighed(float_data=[1, 2]),
    "numbers of another type": weighed(int32_data=[1, 2, 3]),
    "a negative size": weighed(dims=[3, -1, 1], raw_data=b"\0" * 12),
    "a size beyond all": weighed(dims=[2**62], raw_data=b"\0" * 12),
    "sizes whose product overflows": weighed(dims=[2**31, 2**31, 4], raw_data=b"\0" * 12),
    "nothing of something huge": weighed(dims=[0, 2**62]),
    "sizes over the budget": weighed(dims=[2**30], raw_data=b"\0" * 12),
    "an unknown type": weighed(data_type=99, raw_data=b"\0" * 12),
    "no type": weighed(data_type=0, raw_data=b"\0" * 12),
    "texts": weighed(data_type=8, string_data=[b"a", b"b", b"c"]),
    "complex numbers": weighed(data_type=14, float_data=[1] * 6),
}


def elsewhere(location, *, offset=None, in_node=False):
    """A network whose weight lies in another file."""
    tensor = TensorProto(name="w", data_type=1, dims=[3, 1, 1], data_location=TensorProto.EXTERNAL)
    for key, text in (("location", location), ("offset", offset), ("length", "12")):
        if text is not None:
            tensor.external_data.add(key=key, value=text)
    if in_node:
        nodes = [node("ConstantOfShape", ["s"], ["w"]), node("Add", ["x", "w"], ["y"])]
        made = model(nodes, PICTURE, ["y"], {"s": ints(1)})
        made.graph.node[0].attribute.append(helper.make_attribute("value", tensor))
    else:
        made = model([node("Add", ["x", "w"], ["y"])], PICTURE, ["y"])
        made.graph.initializer.append(tensor)
    return made.SerializeToString()


def edit(action):
    """A small network with something wrong in its graph."""
    made = model(
        [node("Conv", ["x", "k"], ["a"], name="conv"), node("Relu", ["a"], ["b"], name="relu")],
        PICTURE,
        ["b"],
        {"k": floats(4, 3, 3, 3)},
    )
    action(made)
    return made.SerializeToString()


def set_attribute(name, content, **more):
    def action(made):
        made.graph.node[0].attribute.append(helper.make_attribute(name, content, **more))

    return edit(action)


def calling(times, calls, *, payload=0):
    """Functions each of which calls the one before several times."""
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    made = model([node(f"F{times}", ["x"], ["y"], domain="own")], PICTURE, ["y"])
    made.opset_import.append(imports[1])
    for level in range(times + 1):
        body = [node("Relu", ["a"], ["b"])]
        if payload and not level:
            weight = numpy_helper.from_array(np.zeros(payload, np.uint8))
            body = [node("Constant", [], ["c"], value=weight), node("Relu", ["a"], ["b"])]
        if level:
            names = ["a", *(f"t{i}" for i in range(calls - 1)), "b"]
            body = [node(f"F{level - 1}", [names[i]], [names[i + 1]], domain="own") for i in range(calls)]
        made.functions.append(helper.make_function("own", f"F{level}", ["a"], ["b"], body, imports))
    return made.SerializeToString()


FUNCTIONS = {
    "one that calls itself": with_functions(recursive=True),
    "sixty that double": calling(60, 2),
    "three hundred in a row that double": calling(300, 2),
    "a large setting a thousand times": calling(3, 10, payload=MEBIBYTE),
}

GRAPHS = {
    "a circle": edit(lambda made: made.graph.node[0].input.__setitem__(0, "b")),
    "a node that takes itself": edit(lambda made: made.graph.node[1].input.__setitem__(0, "b")),
    "a tensor that nothing makes": edit(lambda made: made.graph.node[1].input.__setitem__(0, "lost")),
    "a tensor made twice": edit(lambda made: made.graph.node[1].output.__setitem__(0, "a")),
    "a weight made again": edit(lambda made: made.graph.node[1].output.__setitem__(0, "k")),
    "an input made again": edit(lambda made: made.graph.node[1].output.__setitem__(0, "x")),
    "two weights of one name": edit(lambda made: made.graph.initializer.append(made.graph.initializer[0])),
    "two inputs of one name": edit(lambda made: made.graph.input.append(made.graph.input[0])),
    "an input without a name": edit(lambda made: made.graph.input.append(value("", [1]))),
    "a node that makes nothing": edit(lambda made: made.graph.node[1].output.__delitem__(0)),
    "a node of no type": edit(lambda made: setattr(made.graph.node[1], "op_type", "")),
    "too few inputs": edit(lambda made: made.graph.node[0].input.__delitem__(1)),
    "too many inputs": edit(lambda made: made.graph.node[1].input.extend(["k", "k"])),
    "an input left out": edit(lambda made: made.graph.node[0].input.__setitem__(1, "")),
    "a setting of another type": set_attribute("kernel_shape", "3"),
    "a setting that is unknown": set_attribute("unheard_of", 3),
    "a stride of nothing": set_attribute("strides", [0, 0]),
    "a negative stride": set_attribute("strides", [-1, -1]),
    "a stride beyond all": set_attribute("strides", [2**62, 2**62]),
    "a dilation of nothing": set_attribute("dilations", [0, 0]),
    "a kernel of nothing": set_attribute("kernel_shape", [0, 0]),
    "no groups": set_attribute("group", 0),
    "scales beyond all": big(node("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 1e9, 1e9]), opset=7),
    "groups that do not divide": set_attribute("group", 7),
    "pads of the wrong number": set_attribute("pads", [1]),
    "pads beyond all": set_attribute("pads", [2**62] * 4),
    "a setting that is no text": set_attribute("auto_pad", b"\xff\xfe"),
    "a name of a megabyte": edit(lambda made: setattr(made.graph.node[0], "name", "a" * MEBIBYTE)),
    "an input's name of a megabyte": edit(lambda made: setattr(made.graph.input[0], "name", "a" * MEBIBYTE)),
    "an operator of a megabyte": edit(lambda made: setattr(made.graph.node[0], "op_type", "a" * MEBIBYTE)),
    "an operator that is unknown": edit(lambda made: setattr(made.graph.node[0], "op_type", "Convolve")),
    "no nodes": edit(lambda made: made.graph.ClearField("node")),
    "no graph": edit(lambda made: made.ClearField("graph")),
    "no operator set": edit(lambda made: made.ClearField("opset_import")),
    "a kernel for other channels": edit(
        lambda made: made.graph.initializer[0].CopyFrom(numpy_helper.from_array(floats(4, 5, 3, 3), "k"))
    ),
    "a kernel of other rank": edit(
        lambda made: made.graph.initializer[0].CopyFrom(numpy_helper.from_array(floats(4, 3), "k"))
    ),
    "a name that is no text": edit(lambda made: None).replace(b"relu", b"re\xfcu"),
}


def tag(number, content):
    """A length-delimited protobuf field."""
    size, head = len(content), bytes([number << 3 | 2])
    while size > 127:
        head += bytes([size & 127 | 128])
        size >>= 7
    return head + bytes([size]) + content


END = tag(8, b"\x10\x12")


def nested(depth):
    graph = b""
    for _ in range(depth):
        graph = tag(1, tag(5, tag(6, graph)))
    return b"\x08\x08" + tag(7, graph) + END


SWARMS = {
    "millions of empty nodes": b"\x08\x08" + tag(7, b"\x0a\x00" * 10**7) + END,
    "millions of empty settings": b"\x08\x08" + tag(7, tag(1, b"\x2a\x00" * 10**7)) + END,
    "millions of names": b"\x08\x08" + tag(7, tag(1, b"\x0a\x00" * 10**7)) + END,
    "millions of weights": b"\x08\x08" + tag(7, b"\x2a\x00" * 2 * 10**6 + tag(1, b"\x22\x04Relu")) + END,
    "a hundred thousand nodes": model(
        [node("Relu", ["x" if i == 0 else f"t{i - 1}"], [f"t{i}"]) for i in range(10**5)], PICTURE, ["t99999"]
    ).SerializeToString(),
    "graphs a thousand deep": nested(1000),
    "graphs twenty deep": nested(20),
}

MANY = model(
    [node("Relu", ["x" if i == 0 else f"t{i - 1}"], [f"t{i}"]) for i in range(5000)],
    [value("x", ["N", 1, 2, 2])],
    ["t4999"],
).SerializeToString()

REFUSED = {
    **{f"bomb - {name}": (data, "open", "BudgetExceeded") for name, data in BOMBS.items()},
    **{f"late bomb - {name}": (data, "run", "BudgetExceeded") for name, data in LATE_BOMBS.items()},
    **{f"blind - {name}": (data, "open", "RefusedFile") for name, data in BLIND.items()},
    **{f"program - {name}": (data, "open", "RefusedFile") for name, data in PROGRAMS.items()},
    **{f"stranger - {name}": (data, "open", "UnsupportedLayer") for name, data in STRANGERS.items()},
    **{f"functions - {name}": (data, "open", None) for name, data in FUNCTIONS.items()},
    **{f"weight - {name}": (data, "open", None) for name, data in WEIGHTS.items()},
    **{f"graph - {name}": (data, "open", None) for name, data in GRAPHS.items()},
    **{f"swarm - {name}": (data, "open", None) for name, data in SWARMS.items()},
}


def tried(folder, files, memory, *, seconds):
    """What comes of files, by name; in a process that may take little more than is allowed."""
    # The first file is a harmless one, for all that is imported late.
    files = {"  ": model([node("Relu", ["x"], ["y"])], PICTURE, ["y"]).SerializeToString(), **files}
    names = {f"{place:05}": name for place, name in enumerate(files)}
    for place, name in names.items():
        (folder / f"{place}.onnx").write_bytes(files[name])
    script = str(Path(__file__).with_name("onnx_sandbox.py"))
    child = subprocess.run(
        [sys.executable, "-W", "error", script, str(folder), str(memory)],
        capture_output=True,
        text=True,
        timeout=seconds,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    lines = [json.loads(line) for line in child.stdout.splitlines()]
    last = names[lines[-1]["begun"]] if lines and "begun" in lines[-1] else ""
    assert child.returncode == 0, f"died over {last!r}: {child.stderr[-2000:]}"
    assert child.stderr == ""
    return {names[line["name"]]: line for line in lines if "name" in line}


TYPED = ("BudgetExceeded", "DamagedFile", "UnknownFormat", "UnsupportedLayer", "RefusedFile")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "marker.bin").write_bytes(np.ones(3, np.float32).tobytes())
    return tried(folder, {name: data for name, (data, _, _) in REFUSED.items()}, 2**31, seconds=300)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(outcomes, name):
    _, step, kind = REFUSED[name]
    found = outcomes[name]
    assert found["outcome"] in ((kind,) if kind else TYPED)
    assert found["step"] == step
    assert found["seconds"] < 10
    assert found["grown"] < 400 * MEBIBYTE
    assert found["events"] == []
    assert len(found["message"]) < 2000
    assert found["message"].endswith((".", ")", "]")) or ": " in found["message"]


@pytest.mark.parametrize(
    ("group", "name", "message"),
    [
        ("weight", "raw data too short", r"'w' declares shape \[3, 1, 1\] of float32 but holds other data"),
        ("weight", "a negative size", r"'w' cannot be of shape \[3, -1, 1\]"),
        ("weight", "a size beyond all", r"'w' cannot be of shape \[4611686018427387904\]"),
        ("weight", "nothing of something huge", "'w' cannot be of shape"),
        ("weight", "sizes over the budget", "Weight 'w' would take 4 GiB; the memory budget is 2 GiB"),
        ("weight", "an unknown type", "'w' has an unknown type, 99"),
        ("weight", "texts", "'w' is of type object, which is not shown"),
        ("graph", "a circle", r"Node 'conv' \(Conv\) is in a circle of nodes"),
        ("graph", "a tensor that nothing makes", r"Node 'relu' \(Relu\) takes 'lost', which nothing makes"),
        ("graph", "a tensor made twice", r"'a' is made twice, the second time by 'relu' \(Relu\)"),
        ("graph", "two inputs of one name", "Two inputs are called 'x'"),
        ("graph", "too few inputs", r"Node 'conv' \(Conv\) is no valid ONNX: .*input size 1 not in range"),
        ("graph", "a stride of nothing", "has strides 0; 1 to 1048576 are possible"),
        ("graph", "a setting that is no text", r"has the setting auto_pad b'\\xff\\xfe'"),
        ("graph", "a name of a megabyte", r"has 1,048,576 characters \('a{60}…'\); up to 1,000 are read"),
        ("graph", "a name that is no text", r"is not UTF-8: b're\\xfcu'"),
        ("graph", "a kernel for other channels", r"kernels float32\[4, 5, 3, 3\], which do not fit"),
        (
            "stranger",
            "Python in an operator",
            r"Nothing of .* shown: node .* outside standard ONNX \('ai.onnx.con",
        ),
        ("functions", "one that calls itself", "Function 'Mine' of this ONNX model calls itself"),
        ("functions", "sixty that double", "operators; up to 20,000 are read. Nothing was put in"),
        ("stranger", "Sparse weights", "sparse weights, which are not read"),
        ("program", "Endless Loop", r"'y' \(Loop\) is control flow: what it would cost"),
        ("swarm", "a hundred thousand nodes", "has 100,000 operators; up to 20,000 are read"),
        ("swarm", "millions of empty nodes", "millions of tiny parts. Nothing was decoded"),
        ("blind", "Tile", r"'y' \(Tile\) makes a tensor whose size cannot be known before running it"),
        ("late bomb", "Scratch space", r"node 'y' \(ConvTranspose\), with all that is needed by then"),
    ],
)
def test_reasons(outcomes, group, name, message):
    assert re.search(message, outcomes[f"{group} - {name}"]["message"])


def test_optional_tensors_that_are_left_out(tmp_path):
    """In a process of its own: onnxruntime 1.31 crashes over the empty name of a bias at the end."""
    nodes = [
        after("Clip", "", ""),
        after("LayerNormalization", "g", "", axis=-1),
        after("Resize", "", "s", ""),
        node("Dropout", [], ["d", ""]),
    ]
    data = chain(nodes, {"g": np.ones(12, np.float32), "s": np.array([1, 1, 2, 2], np.float32)})
    assert tried(tmp_path, {"left out": data}, 2**27, seconds=60)["left out"]["outcome"] == "fine"


def test_a_bomb_of_seventy_bytes():
    """Just the operator and its size."""
    made = model([node("ConstantOfShape", ["s"], ["y"])], [], ["y"], {"s": ints(2**33)}, name="g")
    data = made.SerializeToString()
    assert len(data) < 90
    with pytest.raises(NetworkError, match="takes no input"):
        fs.open_network(data)


@pytest.mark.parametrize("memory", [2**27, 2**29])
def test_what_is_allowed_is_what_is_used(tmp_path, memory):
    """A network that fills its budget takes about that much: three maps of a third at the worst moment."""
    side = int((memory / 3 / 4 / 3) ** 0.5) - 1
    data = chain(
        [after("Resize", "", "", "s", mode="nearest"), after("Abs"), after("Neg"), after("GlobalMaxPool")],
        {"s": ints(2, 3, side, side)},
        shape=(2, 3, 8, 8),
    )
    found = tried(tmp_path, {"large": data}, memory, seconds=60)["large"]
    assert found["outcome"] in ("fine", "BudgetExceeded")
    assert found["grown"] < 1.5 * memory + 64 * MEBIBYTE


# Values in other files.


ELSEWHERE = "weights.bin /etc/hostname ../secret.bin missing.bin pipe link a/../weights.bin".split()


@pytest.mark.parametrize("in_node", [False, True])
@pytest.mark.parametrize("where", [*ELSEWHERE, ""])
def test_values_in_other_files_are_not_looked_for(tmp_path, monkeypatch, where, in_node):
    folder = tmp_path / "inner"
    folder.mkdir()
    for path in (folder / "weights.bin", tmp_path / "secret.bin"):
        path.write_bytes(np.ones(3, np.float32).tobytes())
    # Whoever reads a pipe that nobody writes waits for ever.
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to(tmp_path / "secret.bin")
    monkeypatch.chdir(folder)
    data = elsewhere(where, in_node=in_node)
    (folder / "network.onnx").write_bytes(data)
    for source in (data, folder / "network.onnx"):
        with pytest.raises(RefusedFile, match=r"lies in another file.*(--external|It is not opened)"):
            fs.open_network(source)


def test_no_working_directory_lends_weights(tmp_path, monkeypatch):
    """Our weights are handed over as if they lay in a file called 'lent': one of that name is not read."""
    monkeypatch.chdir(tmp_path)
    kernel = floats(40, 3, 3, 3)
    (tmp_path / "lent").write_bytes(np.full(kernel.shape, 7, np.float32).tobytes())
    network = fs.open_network(chain([after("Conv", "k")], {"k": kernel}, shape=("N", 3, 8, 8)))
    found = network.run(np.ones((1, 8, 8, 3), np.float32), ["t0"])["t0"]
    np.testing.assert_allclose(found[0, 0, 0], kernel.sum(axis=(1, 2, 3)), atol=1e-4)


KERNEL = floats(4, 3, 3, 3)


def with_external(location, *, offset=None, length=None, dims=(4, 3, 3, 3)):
    """A convolution whose kernel lies in another file."""
    tensor = onnx.TensorProto(name="k", data_type=1, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, content in (("location", location), ("offset", offset), ("length", length)):
        if content is not None:
            tensor.external_data.add(key=key, value=str(content))
    made = model([node("Conv", ["x", "k"], ["y"], name="y")], PICTURE, ["y"])
    made.graph.initializer.append(tensor)
    return made.SerializeToString()


@pytest.mark.parametrize("isolate", [False, True])
def test_weights_in_a_file_that_is_named(tmp_path, isolate):
    (tmp_path / "model.onnx.data").write_bytes(b"before" + KERNEL.tobytes() + b"behind")
    path = tmp_path / "model.onnx"
    path.write_bytes(with_external("model.onnx.data", offset=6, length=KERNEL.nbytes))
    network = fs.open_network(path, external=[tmp_path / "model.onnx.data"], isolate=isolate)
    try:
        found = network.run(np.ones((1, 32, 32, 3), np.float32), ["y"])["y"]
        np.testing.assert_allclose(found[0, 0, 0], KERNEL.sum(axis=(1, 2, 3)), atol=1e-4)
    finally:
        if isolate:
            network.close()


def test_a_file_in_a_folder_is_named_as_the_model_says(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "w.bin").write_bytes((KERNEL * (folder == "b")).tobytes())
    data = with_external("b/w.bin")
    network = fs.open_network(data, external=[tmp_path / "a/w.bin", tmp_path / "b/w.bin"])
    found = network.run(np.ones((1, 32, 32, 3), np.float32), ["y"])["y"]
    np.testing.assert_allclose(found[0, 0, 0], KERNEL.sum(axis=(1, 2, 3)), atol=1e-4)
    with pytest.raises(RefusedFile, match=r"lies in another file, 'b/w.bin'"):
        fs.open_network(data, external=[tmp_path / "a/w.bin"])
    with pytest.raises(UsageError, match="how several files named end"):
        fs.open_network(with_external("w.bin"), external=[tmp_path / "a/w.bin", tmp_path / "b/w.bin"])


@pytest.mark.parametrize(
    ("location", "options", "message"),
    [
        ("w.bin", {"offset": 9}, r"at 9 to 441 of 'w.bin', which has 432 bytes"),
        ("w.bin", {"offset": 10**17}, "at 100000000000000000 to"),
        ("w.bin", {"offset": -1}, "lie at '-1' of another file, which is no number"),
        ("w.bin", {"offset": "9" * 30}, "which is no number"),
        ("w.bin", {"offset": "²"}, "which is no number"),
        ("w.bin", {"length": 7}, "takes 432 bytes, but 7 are said to lie"),
        ("w.bin", {"dims": (4, 3, 3, 4)}, "to 576 of 'w.bin'"),
        ("w.bin", {"dims": (2**20, 2**10, 3, 3)}, "36 GiB; the memory budget"),
        ("w.bin", {"dims": (4, 3, 3, -3)}, "cannot be of shape"),
        ("../w.bin", {}, "no plain path beside the model. It is not opened"),
        ("a/../w.bin", {}, "no plain path"),
        ("/w.bin", {}, "no plain path"),
        ("C:w.bin", {}, "no plain path"),
        ("a\\w.bin", {}, "no plain path"),
        ("", {}, "no plain path"),
        ("w.bin" * 10**5, {}, "lies in another file, 'w.bin"),
    ],
)
def test_weights_that_are_said_to_lie_elsewhere(tmp_path, location, options, message):
    (tmp_path / "w.bin").write_bytes(KERNEL.tobytes())
    with pytest.raises((DamagedFile, RefusedFile, BudgetExceeded), match=message) as failure:
        fs.open_network(with_external(location, **options), external=[tmp_path / "w.bin"])
    assert len(str(failure.value)) < 1000


@pytest.mark.parametrize("kind", ["pipe", "link", "hard link", "device", "folder", "missing", "other format"])
def test_what_is_named_must_be_a_file_of_its_own(tmp_path, kind):
    path = tmp_path / "w.bin"
    source = with_external("w.bin")
    (tmp_path / "secret").write_bytes(KERNEL.tobytes())
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(tmp_path / "secret")
    elif kind == "hard link":
        path.hardlink_to(tmp_path / "secret")
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "other format":
        path.write_bytes(b"")
        source = fs.demo.network_path()
    expected = UsageError if kind == "other format" else NetworkError
    messages = {
        "link": "is a link. Name the file that it leads to",
        "hard link": r"has 2 names \(hard links\)",
        "missing": "There is no file",
        "other format": "external is for the weights of ONNX files",
    }
    with pytest.raises(expected, match=messages.get(kind, ".")):
        fs.open_network(source, external=[path])


def test_only_the_files_named_are_opened(tmp_path, monkeypatch):
    """What the model says of other weights is not looked for, whatever is named beside."""
    (tmp_path / "w.bin").write_bytes(KERNEL.tobytes())
    (tmp_path / "other.bin").write_bytes(KERNEL.tobytes())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(with_external("other.bin"))
    with pytest.raises(RefusedFile, match=r"--external other\.bin"):
        fs.open_network("model.onnx", external=["w.bin"])
    # A setting that is no constant's value would be read by onnxruntime itself.
    made = onnx.load_from_string(big(node("Shape", ["x"], ["s"]), node("ConstantOfShape", ["s"], ["y"])))
    tensor = onnx.TensorProto(data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="w.bin")
    made.graph.node[1].attribute.append(helper.make_attribute("value", tensor))
    with pytest.raises(RefusedFile, match="A setting of node 'y'"):
        fs.open_network(made.SerializeToString(), external=["w.bin"])


# Damage.


def sound():
    made = model(
        [
            node("Conv", ["x", "k"], ["a"], name="conv", kernel_shape=[3, 3], strides=[2, 2]),
            node("BatchNormalization", ["a", "g", "g", "g", "g"], ["b"], name="bn"),
            node("Relu", ["b"], ["c"], name="relu"),
            node("MaxPool", ["c"], ["d"], name="pool", kernel_shape=[2, 2], ceil_mode=1),
            node("Resize", ["d", "", "s"], ["e"], name="resize", mode="linear"),
            node("Shape", ["e"], ["n"], name="shape", end=1),
            node("Concat", ["n", "minus"], ["t"], name="concat", axis=0),
            node("Reshape", ["e", "t"], ["f"], name="reshape"),
            node("Gemm", ["f", "w"], ["h"], name="gemm"),
            node("Softmax", ["h"], ["y"], name="softmax"),
        ],
        [value("x", ["N", 3, 16, 16])],
        [value("y", ["N", 5])],
        {
            "k": floats(4, 3, 3, 3),
            "g": floats(4, low=0.5),
            "s": np.array([1, 1, 2, 2], np.float32),
            "minus": ints(-1),
            "w": floats(4 * 12 * 12, 5),
        },
    )
    return made.SerializeToString()


def test_the_sound_network_is_sound():
    network = fs.open_network(sound())
    assert network.run(floats(2, 16, 16, 3), ["softmax"])["softmax"].shape == (2, 5)


@pytest.mark.parametrize("part", range(20))
def test_cut_short(part):
    data = sound()
    with pytest.raises((DamagedFile, UnknownFormat)):
        fs.open_network(data[: len(data) * part // 20])


def test_five_thousand_nodes_are_no_attack():
    network = fs.open_network(MANY)
    assert len(network.layers) == 5001
    assert network.run(np.ones((1, 2, 2, 1)), ["t4999"])["t4999"].min() == 1
