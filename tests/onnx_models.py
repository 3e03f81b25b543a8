"""Small ONNX models for the tests, and plain onnxruntime to compare with."""

from copy import deepcopy

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(7)

node = helper.make_node


def value(name, shape=None, kind=TensorProto.FLOAT):
    """A graph input or output; ``"N"`` or None for a size that is free."""
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, weights=None, *, opset=18, ir_version=8, named=True, **graph):
    """A model; `outputs` may be names. Weights are arrays by name.

    Where `named`, nodes without a name get that of what they make: then each is a layer of its own.
    """
    for one in nodes if named else ():
        one.name = one.name or next((output for output in one.output if output), "")
    made = helper.make_graph(
        nodes,
        graph.pop("name", "toy"),
        inputs,
        [value(output) if isinstance(output, str) else output for output in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
        **graph,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def chain(nodes, weights=None, *, shape=("N", 2, 16, 12), **options):
    """A model whose nodes follow each other: each gets the tensor before it as first input; bytes.

    Of `weights` it has those that are taken.
    """
    before = "x"
    nodes = [deepcopy(one) for one in nodes]
    for place, one in enumerate(nodes):
        one.input.insert(0, before)
        if not one.output:
            one.output.append(f"t{place}")
        before = one.output[0]
    taken = {name for one in nodes for name in one.input}
    weights = {name: array for name, array in (weights or {}).items() if name in taken}
    return model(nodes, [value("x", list(shape))], [before], weights, **options).SerializeToString()


def after(operator, *inputs, outputs=None, **attributes):
    """A node for `chain`: without its first input."""
    return node(operator, list(inputs), list(outputs or []), **attributes)


def floats(*shape, low=-1.0, high=1.0):
    """Float32 numbers, different each time."""
    return RNG.uniform(low, high, shape).astype(np.float32)


def plainly(data, feeds, tensors):
    """What plain onnxruntime makes of the tensors, by name."""
    import onnxruntime

    loaded = onnx.load_from_string(data) if isinstance(data, bytes) else data
    declared = {output.name for output in loaded.graph.output}
    fed = {entry.name for entry in loaded.graph.input}
    loaded.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in tensors if name not in declared | fed
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(loaded.SerializeToString(), options)
    wanted = [name for name in tensors if name not in fed]
    return dict(zip(wanted, session.run(wanted, feeds), strict=True)) | {
        name: feeds[name] for name in tensors if name in fed
    }
