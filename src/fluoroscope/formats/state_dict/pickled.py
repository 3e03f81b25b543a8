"""The data in a pickle, read from its opcodes. Nothing is imported, called or built but lists, dicts and the
like.

Only what PyTorch writes to put tensors together is understood (`_rebuild_tensor_v2` and its kin); any other
object becomes an `Opaque`, which has a name and nothing else. Opcodes: ``Lib/pickletools.py`` of CPython.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any

from fluoroscope.errors import BudgetExceeded, DamagedFile

_MOST_OPCODES = 2_000_000
"""Some seconds' worth; the state dict of ten thousand tensors takes 300,000."""


@dataclass(frozen=True, slots=True)
class Name:
    """A global, such as ``torch.FloatStorage``, by its name only."""

    text: str


@dataclass(frozen=True, slots=True)
class Opaque:
    """An object of which only the name of its class, or of what makes it, is known."""

    name: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A persistent id: in PyTorch's files, a storage."""

    key: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The arguments of ``torch._utils._rebuild_tensor_v2``: a storage, and a view of it."""

    storage: Stored
    offset: Any
    shape: Any
    strides: Any


class _Mark:
    """Where a group of values begins on the stack."""


_MARK = _Mark()


def read(stream: BytesIO, storages: list[Stored] | None = None) -> Any:
    """The value of the next pickle in a stream.

    Parameters
    ----------
    storages
        Gets every storage that is spoken of, also those of objects that are not made.

    Raises
    ------
    DamagedFile
        No pickle, or a damaged one.
    BudgetExceeded
        One of far too many opcodes.
    """
    from pickletools import genops

    machine = _Machine([] if storages is None else storages)
    steps = islice(genops(stream), _MOST_OPCODES)
    try:
        for opcode, argument, _ in steps:
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.step(opcode.name, argument)
    # genops and the machine trip over wrong bytes in many ways; each means the same.
    except Exception as error:
        raise DamagedFile(f"It is a damaged pickle ({type(error).__name__}: {error}).") from error
    raise BudgetExceeded(f"It is a pickle of more than {_MOST_OPCODES:,} steps, and not read further.")


class _Machine:
    """A stack and a memo."""

    def __init__(self, storages: list[Stored]) -> None:
        self.stack: list[Any] = []
        self._storages = storages
        self._memo: dict[Any, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in _IGNORED:
            return
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self._memo[argument])
        elif name in ("GLOBAL", "INST"):
            found = Name(str(argument).replace(" ", ".", 1))
            if name == "INST":
                self._group()
            self.stack.append(found if name == "GLOBAL" else Opaque(found.text))
        else:
            _STEPS[name](self)

    def _group(self) -> list[Any]:
        """What was put on the stack since the last mark."""
        at = len(self.stack) - 1 - next(i for i, value in enumerate(reversed(self.stack)) if value is _MARK)
        group = self.stack[at + 1 :]
        del self.stack[at:]
        return group

    def _pops(self, count: int) -> list[Any]:
        values = self.stack[-count:]
        if len(values) < count:
            raise IndexError("empty stack")
        del self.stack[-count:]
        return values

    def pop(self) -> None:
        self.stack.pop()

    def pop_group(self) -> None:
        self._group()

    def duplicate(self) -> None:
        self.stack.append(self.stack[-1])

    def make_tuple(self, count: int | None = None) -> None:
        self.stack.append(tuple(self._group() if count is None else self._pops(count)))

    def make_list(self) -> None:
        self.stack.append(self._group())

    def make_dict(self) -> None:
        group = self._group()
        made: dict[Any, Any] = {}
        _put(made, group)
        self.stack.append(made)

    def make_set(self) -> None:
        self._group()
        self.stack.append(Opaque("frozenset"))

    def append(self, several: bool) -> None:
        values = self._group() if several else self._pops(1)
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def put(self, several: bool) -> None:
        values = self._group() if several else self._pops(2)
        if isinstance(self.stack[-1], dict):
            _put(self.stack[-1], values)

    def add(self) -> None:
        self._group()

    def name(self) -> None:
        module, attribute = self._pops(2)
        if not (isinstance(module, str) and isinstance(attribute, str)):
            raise TypeError("a name that is no text")
        self.stack.append(Name(f"{module}.{attribute}"))

    def stored(self) -> None:
        key = self.stack.pop()
        if not isinstance(key, tuple):
            raise TypeError("a persistent id that is no tuple")
        storage = Stored(key)
        self._storages.append(storage)
        self.stack.append(storage)

    def call(self, count: int = 2) -> None:
        maker, arguments = self._pops(count)[:2]
        self.stack.append(_made(maker, arguments))

    def make_object(self) -> None:
        maker = self._group()[0]
        self.stack.append(_made(maker, ()))

    def build(self) -> None:
        # The state of an object. Of a dict it is attributes, such as `_metadata`; nothing else has any here.
        self._pops(1)


def _made(maker: object, arguments: Any, depth: int = 4) -> Any:
    """What a call of a name makes, for the names that are known."""
    name = maker.text if isinstance(maker, Name) else "?"
    if not isinstance(arguments, tuple):
        return Opaque(name)
    if name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor") and len(arguments) >= 4:
        storage, offset, shape, strides = arguments[:4]
        if isinstance(storage, Stored):
            return Rebuilt(storage, offset, shape, strides)
    if name in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"):
        return next(iter(arguments), None)
    if name == "torch._tensor._rebuild_from_type_v2" and depth and len(arguments) >= 3:
        return _made(arguments[0], arguments[2], depth - 1)
    if name == "collections.OrderedDict":
        made: dict[Any, Any] = {}
        for pair in arguments[0] if arguments and isinstance(arguments[0], (list, tuple)) else ():
            _put(made, list(pair))
        return made
    if name == "torch.Size":
        return next(iter(arguments), ())
    return Opaque(name)


def _put(into: dict[Any, Any], values: list[Any]) -> None:
    # Of what a key can be, only these are hashed in no time: tuples of tuples of tuples are not.
    into.update(
        (key, value)
        for key, value in zip(values[::2], values[1::2], strict=True)
        if isinstance(key, (str, int, float, bytes, type(None)))
    )


_IGNORED = frozenset({"PROTO", "FRAME"})
_VALUES = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE "
    "BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": lambda: Opaque("set"),
    "MARK": lambda: _MARK,
}
_STEPS: dict[str, Callable[[_Machine], None]] = {
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_group,
    "DUP": _Machine.duplicate,
    "TUPLE": _Machine.make_tuple,
    "TUPLE1": lambda machine: machine.make_tuple(1),
    "TUPLE2": lambda machine: machine.make_tuple(2),
    "TUPLE3": lambda machine: machine.make_tuple(3),
    "LIST": _Machine.make_list,
    "DICT": _Machine.make_dict,
    "FROZENSET": _Machine.make_set,
    "APPEND": lambda machine: machine.append(several=False),
    "APPENDS": lambda machine: machine.append(several=True),
    "SETITEM": lambda machine: machine.put(several=False),
    "SETITEMS": lambda machine: machine.put(several=True),
    "ADDITEMS": _Machine.add,
    "STACK_GLOBAL": _Machine.name,
    "BINPERSID": _Machine.stored,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "NEWOBJ_EX": lambda machine: machine.call(3),
    "OBJ": _Machine.make_object,
    "BUILD": _Machine.build,
}
