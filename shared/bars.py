"""Bars for what takes a while: drawn on a terminal, and nowhere else."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

from shared.sizes import shown, shown_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress, Task, TaskID

# As much as leaves room for a bar on a terminal of 80 columns.
_NAME_WIDTH = 20


class Bars(Protocol):
    """Bars of bytes, one for each name. Any thread may call."""

    @property
    def drawn(self) -> bool:
        """Return whether somebody sees them; if not, it is for the log to tell."""
        ...

    def show(self, name: str, done: int, total: int | None, note: str = "") -> None:
        """Let the bar called ``name`` stand at ``done`` of ``total`` bytes (None: not known yet), with a few words."""
        ...


@contextmanager
def bars(stream: TextIO) -> Iterator[Bars]:
    """Yield bars that are drawn on ``stream`` while the block lasts, if it is a terminal. Log lines stay above them."""
    if not stream.isatty():
        yield _Unseen()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=_NAME_WIDTH), markup=False),
        BarColumn(bar_width=None, table_column=Column(min_width=6, ratio=1)),
        TextColumn("{task.fields[told]}", table_column=Column(no_wrap=True, justify="right"), markup=False),
    )
    # What is printed to a terminal goes above the bars, and what is piped elsewhere goes there.
    above = sys.stdout.isatty()
    console = Console(file=stream)
    with Progress(*columns, console=console, refresh_per_second=4, expand=True, redirect_stdout=above) as progress:
        yield _Drawn(progress)


class _Unseen:
    drawn = False

    def show(self, name: str, done: int, total: int | None, note: str = "") -> None:
        """Draw nothing."""


class _Drawn:
    drawn = True

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def show(self, name: str, done: int, total: int | None, note: str = "") -> None:
        """Draw the bar; the first time it is called so, add it."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(_short(name), total=None, told="")
        task = self._tasks[name]
        self._progress.update(task, completed=done, total=total)
        self._progress.update(task, told=_told(self._progress.tasks[task], note))


def _told(task: Task, note: str) -> str:
    speed = task.finished_speed or task.speed
    sizes = shown(task.completed) if task.total is None else shown_of(task.completed, task.total)
    return ", ".join(part for part in (sizes, f"{shown(speed)}/s" if speed else "", note) if part)


def _short(name: str) -> str:
    """Return a name that fits; of a path it is the end that tells most."""
    return name if len(name) <= _NAME_WIDTH else f"…{name[1 - _NAME_WIDTH :]}"
