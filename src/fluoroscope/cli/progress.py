"""Bars for what takes long: on stderr, only in a terminal, and only after half a second."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fluoroscope.cli.terminal import is_terminal
from fluoroscope.output.typography import speakable

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

PATIENCE = 0.5
"""Seconds before a bar is shown."""


class Progress:
    """Two bars, one for pictures (if there are several) and one for the layers of the picture at hand.

    A context manager: the bars vanish when it ends. Nothing is imported or started before `PATIENCE` is over.

    Parameters
    ----------
    pictures
        How many there are.
    shown
        False for no bars at all. There are none either where stderr is no terminal.
    """

    def __init__(self, pictures: int = 1, *, shown: bool = True) -> None:
        self._pictures = pictures
        self._shown = shown and is_terminal(sys.stderr)
        self._lock = threading.Lock()
        self._bars: RichProgress | None = None
        self._picture = (0, "")
        self._layer = (0, 0, "opening the network")
        self._timer = threading.Timer(PATIENCE, self._start)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        if self._shown:
            self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._shown = False
            if self._bars is not None:
                self._bars.stop()
                self._bars = None

    def picture(self, done: int, name: str) -> None:
        """The picture called `name` begins; `done` pictures are done."""
        self._picture = (done, name)
        self._layer = (0, 0, "reading the picture")
        self._update()

    def running(self) -> None:
        """The picture is read, and goes through the network."""
        self._layer = (0, 0, "running the network")
        self._update()

    def layer(self, done: int, count: int, name: str) -> None:
        """`done` of `count` layers are done, the last of them is `name`."""
        self._layer = (done, count, name)
        self._update()

    def _start(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        from fluoroscope.cli.terminal import console

        with self._lock:
            if not self._shown:
                return
            self._bars = Progress(
                TextColumn("{task.fields[what]}", style="dim"),
                BarColumn(complete_style="cyan", finished_style="cyan", pulse_style="cyan"),
                TextColumn("{task.fields[count]}", style="cyan", markup=False),
                TimeElapsedColumn(),
                TextColumn("{task.description}", style="dim", markup=False),
                console=console(stderr=True),
                transient=True,
                # Lines printed meanwhile go above the bars, but never into another stream than their own.
                redirect_stdout=is_terminal(sys.stdout),
            )
            if self._pictures > 1:
                self._bars.add_task("", total=self._pictures, what="pictures", count="")
            self._bars.add_task("", total=None, what="layers", count="")
            self._bars.start()
        self._update()

    def _update(self) -> None:
        if not self._shown:
            return
        with self._lock:
            if self._bars is None:
                return
            *picture, layer = self._bars.task_ids
            self._advance(layer, *self._layer)
            for task in picture:
                self._advance(task, self._picture[0], self._pictures, self._picture[1])

    def _advance(self, task: TaskID, done: int, total: int, name: str) -> None:
        assert self._bars is not None
        count = f"{done:,}/{total:,}" if total else ""
        self._bars.update(
            task, completed=done, total=total or None, count=count, description=speakable(name, 40)
        )
