"""Files changed a little, always in the same way for the same number: what a disk, a proxy or an attacker
does.

A mutant is made from one of several sound files of a format, in one of several ways: bits and bytes
changed, runs of bytes moved, doubled, lost or zeroed, numbers made extreme, the file cut off or spliced
with another; and below the format's shell, where checksums and syntax would catch the rest: values of the
JSON exchanged or inflated, the weights in a zip changed and zipped again, nodes of an ONNX graph connected
otherwise.
"""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

EXTREMES = (
    0,
    1,
    -1,
    2,
    3,
    7,
    64,
    255,
    1000,
    2**15,
    2**20,
    2**31 - 1,
    2**31,
    2**33,
    2**62,
    2**63 - 1,
    -(2**63),
)
ODDITIES = (
    None,
    -1,
    0,
    1,
    2**31,
    2**63,
    2**70,
    1e300,
    float("nan"),
    "x",
    "",
    True,
    [],
    {},
    [[]],
    [None],
    "\0",
    "a" * 2000,
)

Mutate = Callable[[bytes, random.Random], bytes]


def mutant(originals: Sequence[bytes], number: int, ways: Sequence[Mutate]) -> bytes:
    """Mutant `number` of these files."""
    chance = random.Random(number)
    return chance.choice(ways)(chance.choice(originals), chance)


# Bytes.


def scrambled(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed in place."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 4, 16])):
        place = chance.randrange(max(1, len(changed) - 8))
        kind = chance.randrange(5)
        if kind == 0:
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[place] = chance.randrange(256)
        elif kind == 2:
            size = chance.choice((2, 4, 8))
            value = chance.choice((*EXTREMES, len(data), place)) % 2 ** (8 * size)
            changed[place : place + size] = value.to_bytes(size, "little")
        elif kind == 3:
            changed[place] = chance.choice([0, 127, 128, 255])
        else:
            other, length = chance.randrange(len(changed)), chance.randrange(1, 64)
            piece = changed[other : other + length]
            changed[place : place + len(piece)] = piece
    return bytes(changed)


def torn(data: bytes, chance: random.Random) -> bytes:
    """Runs of bytes lost, doubled, exchanged, zeroed; or the end cut off."""
    kind = chance.randrange(5)
    size = chance.choice((1, 2, 8, 64, 512, 4096))
    one, other = (chance.randrange(max(1, len(data) - size)) for _ in range(2))
    if kind == 0:
        return data[: chance.randrange(len(data))]
    if kind == 1:
        return data[:one] + data[one + size :]
    if kind == 2:
        return data[:one] + data[other : other + size] + data[one:]
    if kind == 3:
        return data[:one] + bytes(size) + data[one + size :]
    changed = bytearray(data)
    changed[one : one + size], changed[other : other + size] = (
        data[other : other + size],
        data[one : one + size],
    )
    return bytes(changed)


def spliced(others: Sequence[bytes]) -> Mutate:
    """The beginning of one file and the end of another."""

    def mutate(data: bytes, chance: random.Random) -> bytes:
        other = chance.choice(others)
        cut = chance.randrange(len(data))
        return data[:cut] + other[min(cut, len(other)) :]

    return mutate


def inflated(data: bytes, chance: random.Random) -> bytes:
    """Varints, as protobuf has them, made long."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 3])):
        place = chance.randrange(len(changed))
        changed[place : place + 1] = b"\xff" * chance.choice((1, 2, 4, 8, 9)) + bytes([chance.randrange(128)])
    return bytes(changed)


# JSON.


def exchanged(config: Any, chance: random.Random) -> Any:
    """Values exchanged for others of the same config, for extreme numbers, or for oddities."""
    config = json.loads(json.dumps(config))
    for _ in range(chance.choice([1, 1, 2, 3])):
        places = list(_places(config))
        if not places:
            return config
        (parent, key), (giver, other) = chance.choice(places), chance.choice(places)
        kind = chance.randrange(4)
        if kind == 0:
            parent[key] = json.loads(json.dumps(giver[other]))
        elif kind == 1:
            parent[key] = chance.choice(ODDITIES)
        elif kind == 2 and isinstance(parent[key], (int, float)):
            parent[key] = chance.choice(EXTREMES)
        elif isinstance(parent, list):
            parent[key:key] = [json.loads(json.dumps(giver[other]))] * chance.choice((1, 2, 50))
        else:
            del parent[key]
    return config


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


# Below the shell.


def attributes(data: bytes, chance: random.Random) -> bytes:
    """Of a Keras ``.h5``: its config, or its lists of names."""
    import h5py

    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        weights = file["model_weights"]
        kind = chance.randrange(4)
        if kind < 3:
            text = file.attrs["model_config"]
            text = text.decode() if isinstance(text, bytes) else text
            file.attrs["model_config"] = json.dumps(exchanged(json.loads(text), chance))
        else:
            group = weights[chance.choice(sorted(weights))]
            holder, name = chance.choice([(weights, "layer_names"), (group, "weight_names")])
            if name in holder.attrs:
                names = [one.decode() if isinstance(one, bytes) else one for one in holder.attrs[name]]
                chance.shuffle(names)
                holder.attrs[name] = names[: chance.randrange(len(names) + 1)] + [
                    "a/../b"
                ] * chance.randrange(2)
    return buffer.getvalue()


def rezipped(data: bytes, chance: random.Random) -> bytes:
    """Of a ``.keras`` archive: one member changed, and all zipped again with the right checksums."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        members = {name: old.read(name) for name in old.namelist()}
        name = chance.choice(sorted(members))
        if name.endswith(".json") and chance.random() < 0.9:
            members[name] = json.dumps(exchanged(json.loads(members[name]), chance)).encode()
        else:
            members[name] = chance.choice((scrambled, scrambled, torn))(members[name], chance)
        method = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        for member, content in members.items():
            new.writestr(member, content, compress_type=method)
    return buffer.getvalue()


def rewired(data: bytes, chance: random.Random) -> bytes:
    """Of an ONNX file: well formed, with a number, an operator or a connection that does not belong there."""
    import numpy as np
    import onnx
    from onnx import TensorProto

    made = onnx.load_from_string(data)
    operators = sorted({one.op_type for one in made.graph.node} | set(OPERATORS))
    for _ in range(chance.choice([1, 1, 2, 3])):
        one = chance.choice(made.graph.node)
        lists = [a for a in one.attribute if a.ints]
        whole = [t for t in made.graph.initializer if t.data_type == TensorProto.INT64]
        way = chance.randrange(7)
        if way == 0 and lists:
            listed = chance.choice(lists).ints
            listed[chance.randrange(len(listed))] = chance.choice(EXTREMES)
        elif way == 1 and whole:
            tensor = chance.choice(whole)
            numbers = np.frombuffer(tensor.raw_data, np.int64).copy()
            if numbers.size:
                numbers[chance.randrange(numbers.size)] = chance.choice(EXTREMES)
            tensor.raw_data = numbers.tobytes()
        elif way == 2:
            one.op_type = chance.choice(operators)
        elif way == 3 and made.graph.initializer:
            tensor = chance.choice(made.graph.initializer)
            if tensor.dims:
                tensor.dims[chance.randrange(len(tensor.dims))] = chance.choice(EXTREMES)
        elif way == 4:
            dims = chance.choice(made.graph.input).type.tensor_type.shape.dim
            if dims:
                chance.choice(dims).dim_value = chance.choice(EXTREMES)
        elif way == 5 and one.attribute:
            attribute = chance.choice(one.attribute)
            attribute.i = chance.choice(EXTREMES)
            attribute.f = chance.choice((float("nan"), float("inf"), -1e30, 0.0))
        elif one.input:
            others = ["x", "", *(name for node in made.graph.node for name in node.output)]
            one.input[chance.randrange(len(one.input))] = chance.choice(others)
    return made.SerializeToString()


OPERATORS = (
    "Add AveragePool BatchNormalization Concat Conv ConvTranspose Div Einsum Expand Flatten Gather GatherND "
    "Gemm GlobalAveragePool GRU InstanceNormalization LRN LSTM LayerNormalization MatMul MaxPool Mul OneHot "
    "Pad Range ReduceMean ReduceSum Relu Reshape Resize RoiAlign ScatterND Shape Slice Softmax SpaceToDepth "
    "Split Squeeze Sum TopK Tile Transpose Unsqueeze Where QLinearConv DequantizeLinear QuantizeLinear"
).split()

WAYS: dict[str, Callable[[Sequence[bytes]], tuple[Mutate, ...]]] = {
    "h5": lambda originals: (scrambled, scrambled, torn, spliced(originals), attributes, attributes),
    "keras": lambda originals: (scrambled, torn, spliced(originals), rezipped, rezipped, rezipped),
    "onnx": lambda originals: (scrambled, torn, spliced(originals), inflated, rewired, rewired),
}
"""For each format, ways to make a mutant of one of its files."""
