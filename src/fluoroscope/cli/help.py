"""Help that teaches: options in groups, examples beneath, boxes only where there is a terminal.

Typer draws the boxes. In a pipe the same is said in plain lines, which can be searched, and which
``docs/cli.md`` quotes.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from fluoroscope.cli.terminal import is_terminal

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("fluoroscope demo", "the bundled network and X-ray, to a PDF"),
        ("fluoroscope summary model.h5", "what is in a file"),
        ("fluoroscope render model.h5 picture.jpeg", "every channel of every layer, to a PDF"),
    ),
    "summary": (
        ("fluoroscope summary model.h5", "the table"),
        ("fluoroscope summary model.h5 --json > model.json", "the same for machines"),
    ),
    "render": (
        ("fluoroscope render model.h5 picture.jpeg", "everything, to a PDF"),
        ("fluoroscope render model.h5 picture.jpeg -o maps/", "a PNG a layer, values, manifest"),
        ("fluoroscope render model.h5 picture.jpeg -o poster.png --layers conv", "convolutions, one picture"),
        (
            "fluoroscope render model.h5 picture.jpeg --layers conv2d_2 --channel 10 -o map.png",
            "one channel with its legend",
        ),
        (
            "fluoroscope render model.h5 picture.jpeg --scaling symmetric --scope layer",
            "one scale a layer, zero in the middle",
        ),
        ("fluoroscope render model.h5 pictures/ -o maps/", "a folder of pictures, a folder each"),
        ("fluoroscope render model.h5 pictures/ -o 'maps/{name}.pdf'", "a PDF each"),
        (
            "fluoroscope render model.h5 picture.jpeg --isolate --timeout 30",
            "a stranger's file, in a process of its own",
        ),
    ),
    "image": (
        ("fluoroscope image model.h5 picture.jpeg", "numbers, and a small preview"),
        ("fluoroscope image model.h5 picture.jpeg --fit crop -o input.png", "before and after, side by side"),
    ),
    "check": (
        ("fluoroscope check model.h5", "what is in a stranger's file"),
        ("fluoroscope check pictures/ model.h5", "several, and all in a folder"),
        ("fluoroscope check model.h5 --json > report.json", "the same for machines"),
    ),
    "convert": (
        ("fluoroscope convert model.h5 model.onnx", "to run anywhere"),
        ("fluoroscope convert model.h5 model.onnx --channels-last", "pictures in as Keras takes them"),
        ("fluoroscope convert model.h5 maps.onnx --layers conv", "with every convolution as an output"),
    ),
    "demo": (
        ("fluoroscope demo", "to Intermediate_Activations_Visualized.pdf"),
        ("fluoroscope demo -o maps/", "to a folder of PNGs"),
    ),
}
"""Command -> lines to type, and what each gives. The tests run every one."""


class Command(TyperCommand):
    """A command whose help ends with examples."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.help = _unwrapped(self.help)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _model_first(args))

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        if _boxes():
            super().format_help(ctx, formatter)
            _print_examples(ctx)
        else:
            _write_plain(self, ctx, formatter)


class Group(TyperGroup):
    """The group of commands, with the same help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.help = _unwrapped(self.help)

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        if _boxes():
            super().format_help(ctx, formatter)
            _print_examples(ctx)
        else:
            _write_plain(self, ctx, formatter)
            self.format_commands(ctx, formatter)


def _model_first(arguments: list[str]) -> list[str]:
    """``--weights FILE`` as the MODEL that it is: what goes with --arch may be said by its name."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    for place, argument in enumerate(arguments[:end]):
        if argument == "--weights" and place + 1 < end:
            return [arguments[place + 1], *arguments[:place], *arguments[place + 2 :]]
        if argument.startswith("--weights="):
            return [argument.partition("=")[2], *arguments[:place], *arguments[place + 1 :]]
    return arguments


def _boxes() -> bool:
    return is_terminal(sys.stdout)


def _unwrapped(text: str | None) -> str | None:
    """Paragraphs of a docstring on one line each: they are wrapped to the terminal, not to the source."""
    if text is None:
        return None
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n"))


def _examples(ctx: typer.Context) -> tuple[tuple[str, str], ...]:
    return EXAMPLES.get(ctx.info_name or "", ()) if ctx.parent else EXAMPLES[""]


def _write_plain(command: Any, ctx: typer.Context, formatter: Any) -> None:
    command.format_usage(ctx, formatter)
    command.format_help_text(ctx, formatter)
    for title, entries in _panels(command.get_params(ctx), ctx):
        with formatter.section(title):
            formatter.write_dl(entries)
    # As they are typed, never wrapped: they are there to be copied.
    formatter.write("\nExamples:\n")
    for line, what in _examples(ctx):
        formatter.write(f"  # {what}\n  {line}\n")


def _panels(parameters: Iterable[Any], ctx: typer.Context) -> list[tuple[str, list[tuple[str, str]]]]:
    """Heading -> what each parameter is called and does, in the order of the parameters."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in parameters:
        record = parameter.get_help_record(ctx)
        if record is not None:
            usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
            panel = getattr(parameter, "rich_help_panel", None) or usual
            panels.setdefault(panel, []).append(record)
    # The options that every command has come last.
    return sorted(panels.items(), key=lambda panel: panel[0] == "Options")


def _print_examples(ctx: typer.Context) -> None:
    from rich.panel import Panel
    from rich.text import Text

    from fluoroscope.cli.terminal import show

    body = Text()
    for line, what in _examples(ctx):
        body.append(f"# {what}\n", style="dim")
        body.append(f"{line}\n", style="cyan")
    body.rstrip()
    show(Panel(body, title="Examples", title_align="left", border_style="dim"))
