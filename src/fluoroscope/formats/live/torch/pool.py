"""Memory for activations that is used again: fresh memory costs a page fault every 4 KiB.

Activations of a whole network are some hundred megabytes a picture. Taken from the system anew each time,
that alone costs a third of a ResNet50's forward pass.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from fluoroscope.network.protocol import FloatArray

_Memory = NDArray[np.uint8]


class Pool:
    """Gives out arrays; their memory comes back when they and all views of them are gone.

    What comes back may do so in any thread and at any time (the garbage collector's): all that is done then
    is one append.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[_Memory]] = {}
        self._out: dict[int, weakref.ref[FloatArray]] = {}

    def expect(self, shapes: Iterable[Sequence[int]]) -> None:
        """Let go of all memory that arrays of these shapes cannot use."""
        wanted = Counter(map(_bytes, shapes))
        for size, free in list(self._free.items()):
            del free[wanted[size] :]
            if not free:
                del self._free[size]

    def take(self, shape: Sequence[int]) -> tuple[FloatArray, FloatArray]:
        """An array of float32 to write to, its values undefined, and the same to give out, always read-only.

        The memory is in use as long as there is a view of the second.
        """
        size = _bytes(shape)
        try:
            memory = self._free[size].pop()
        except (KeyError, IndexError):
            memory = np.empty(size, np.uint8)
        # Made from a memoryview, this array is what every view of it refers to, however many steps away.
        array: FloatArray = np.frombuffer(memory.data.toreadonly(), np.float32)
        key = id(array)

        def returned(_: object) -> None:
            del self._out[key]
            self._free.setdefault(size, []).append(memory)

        self._out[key] = weakref.ref(array, returned)
        return memory.view(np.float32).reshape(shape), array.reshape(shape)


def _bytes(shape: Sequence[int]) -> int:
    return 4 * prod(shape)
