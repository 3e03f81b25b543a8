"""One pass of a model, watched: every call of a layer, of a block and of a function, by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from fluoroscope.formats.live.torch import attention
from fluoroscope.formats.live.torch.functions import FUNCTIONS, name_of
from fluoroscope.formats.live.torch.modules import Modules

_ATTENDING = frozenset({"scaled_dot_product_attention", "multi_head_attention_forward"})


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is a row of the layer table.

    Attributes
    ----------
    name
        Unique in the pass: the module's path, with ``#2`` from the second call on; for a function the path of
        the module that calls it and the function's name (``layer1.0.add``).
    module
        The module; None for a function.
    function
        The function's plain name; empty for a module.
    block
        True for a module that others are in.
    inputs
        The arguments.
    """

    name: str
    module: nn.Module | None
    function: str
    block: bool
    inputs: tuple[object, ...]


class Listener(Protocol):
    """Who is told what happens in a pass."""

    def called(self, call: Call, output: object) -> None:
        """A layer, block or function has returned. The output is to be read at once: it may be
        overwritten."""
        ...

    def flowed(
        self, function: str, inputs: tuple[object, ...], output: object, inside: nn.Module | None
    ) -> None:
        """A function of torch has returned, before `called` is told of it if it is a row.

        `inside` is the layer that it is a part of; None between layers.
        """
        ...

    def attended(self, name: str, weights: attention.Weights, inputs: tuple[object, ...]) -> None:
        """Attention weights were, or can be, computed: a row of their own."""
        ...

    def wants(self, name: str) -> bool:
        """Whether a row is asked for; weights that nobody wants are not computed a second time."""
        ...


class Watch(TorchFunctionMode):
    """A context in which one pass of a model is told to a listener.

    Hooks are registered when it is entered, and removed when it is left, however it is left.
    """

    def __init__(self, modules: Modules, listener: Listener) -> None:
        super().__init__()
        self._modules = modules
        self._listener = listener
        self._open: list[tuple[nn.Module, str, bool]] = []
        self._names: dict[str, int] = {}
        self._paths = frozenset(modules.paths.values())
        self._hooks: list[RemovableHandle] = []
        self._telling = False

    def __enter__(self) -> Watch:
        try:
            for module in self._modules.paths:
                self._hooks.append(module.register_forward_pre_hook(self._before))
                self._hooks.append(module.register_forward_hook(self._after, with_kwargs=True))
            super().__enter__()
        except BaseException:
            self._unhook()
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            super().__exit__(*error)
        finally:
            self._unhook()

    def _unhook(self) -> None:
        while self._hooks:
            self._hooks.pop().remove()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        function = name_of(func)
        kwargs = kwargs or {}
        # Who is told in a hook may use torch as well.
        if not function or self._telling:
            return func(*args, **kwargs)
        inputs = (args, kwargs)
        module, where, layer = self._open[-1] if self._open else (None, "", False)
        heads = ""
        if function in _ATTENDING:
            heads = self._attention_name(module, where)
        if function == "multi_head_attention_forward" and self._listener.wants(heads):
            output, weights = attention.with_weights(func, args, kwargs)
            if weights is not None:
                self._listener.attended(heads, weights, inputs)
        else:
            output = func(*args, **kwargs)
        self._listener.flowed(function, inputs, output, module if layer else None)
        if function == "scaled_dot_product_attention" and self._listener.wants(heads):
            self._listener.attended(heads, attention.of_product(args, kwargs), inputs)
        if function == "softmax" and attention.is_attention(output):
            heads = self._attention_name(module, where)
            self._listener.attended(heads, attention.Weights.of(output), inputs)
        elif function in FUNCTIONS and not layer:
            path = where.partition("#")[0]
            name = f"{path}.{function}" if path else function
            # A module of that name may be called later, and has the better right to it.
            name = self._unique(f"{name}_function" if name in self._paths else name)
            self._listener.called(Call(name, None, function, False, inputs), output)
        return output

    def _before(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if not self._in_layer():
            path = self._modules.paths[module]
            self._open.append((module, self._unique(path) if path else "", self._modules.is_layer(module)))

    def _after(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object
    ) -> None:
        if not any(entry[0] is module for entry in self._open):
            return
        # A module that failed, and whose error the model caught, has never told that it was left.
        while self._open:
            current, name, layer = self._open.pop()
            if current is module:
                if layer or name:
                    name = name or type(module).__name__
                    self._telling = True
                    try:
                        self._listener.called(Call(name, module, "", not layer, (args, kwargs)), output)
                    finally:
                        self._telling = False
                return

    def _attention_name(self, module: nn.Module | None, where: str) -> str:
        """Weights are those of the module that attends, not of its softmax."""
        if isinstance(module, nn.Softmax):
            where = self._open[-2][1] if len(self._open) > 1 else ""
        return self._unique(f"{where}{attention.SUFFIX}".removeprefix(":"))

    def _in_layer(self) -> bool:
        return bool(self._open) and self._open[-1][2]

    def _unique(self, name: str) -> str:
        """The name, with the number of its occurrence if it was there already: ``conv#2``."""
        count = self._names[name] = self._names.get(name, 0) + 1
        return name if count == 1 else f"{name}#{count}"
