"""The commands put together."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from fluoroscope import __version__
from fluoroscope.cli import demo, image, render, summary
from fluoroscope.cli.failures import INTERRUPTED, Manner, tell
from fluoroscope.cli.help import Command, Group
from fluoroscope.cli.terminal import prepare_streams


class Fluoroscope(Group):
    """The group of all commands: here every failure ends up, and becomes a message and an exit code."""

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
        sys.exit(code or 0)


app = typer.Typer(
    cls=Fluoroscope,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name, function in (
    ("summary", summary.summary),
    ("render", render.render),
    ("image", image.image),
    ("demo", demo.demo),
):
    app.command(name, cls=Command)(function)


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
    """
    if context.invoked_subcommand is None:
        print(context.get_help())
