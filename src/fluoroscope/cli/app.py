"""The commands put together."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.main

from fluoroscope import __version__
from fluoroscope.cli.failures import INTERRUPTED, Manner, tell
from fluoroscope.cli.help import Command, Group
from fluoroscope.cli.terminal import prepare_streams

COMMANDS = ("summary", "render", "image", "check", "convert", "demo")
"""In the order of the help. Each is the function of its name in the module of its name."""

_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}


class _Commands(Mapping[str, Any]):
    """Name -> command. Each is imported and built when it is asked for: a start pays for one."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        if name not in self._built:
            single = typer.Typer(add_completion=False, context_settings=_SETTINGS)
            single.command(name, cls=Command)(getattr(import_module(f"fluoroscope.cli.{name}"), name))
            self._built[name] = typer.main.get_command(single)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class Fluoroscope(Group):
    """The group of all commands: here every failure ends up, and becomes a message and an exit code."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.commands: Any = _Commands()

    def list_commands(self, ctx: typer.Context) -> list[str]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return list(COMMANDS)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        prepare_streams()
        given = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(
                args,
                prog_name="fluoroscope",
                complete_var=complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
        except (KeyboardInterrupt, typer.Abort):
            code = INTERRUPTED
        except Exception as error:  # noqa: BLE001 - the last place where anything can be told
            code = tell(error, Manner.of(given))
        if code == INTERRUPTED:
            print("Stopped.", file=sys.stderr)
        sys.exit(code or 0)


app = typer.Typer(cls=Fluoroscope, pretty_exceptions_enable=False, context_settings=_SETTINGS)


def _version(asked: bool) -> None:
    if asked:
        print(f"fluoroscope {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def fluoroscope(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """See a trained network from inside while it sees a picture.

    Every channel of every layer, with true pixels and true numbers. Networks are Keras files (.h5, .hdf5,
    .keras) and ONNX files (.onnx); nothing in them is executed, and no deep-learning framework is needed.
    With --arch they are PyTorch weights (.pth, .safetensors), which PyTorch runs.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())
