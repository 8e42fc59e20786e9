"""What a person sees of one training: a bar on a terminal, elsewhere a line at each change."""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress as Bar

    from examples.client.training import Standing
    from shared.contract.session import Progress

# Where nobody looks, a line for so much of the training is enough.
_PARTS = 10


class Screen:
    """Prints to stderr. Everything else that is printed while a bar is drawn has to go through ``say``, too."""

    def __init__(self) -> None:
        self._bar = _bar() if sys.stderr.isatty() else None
        self._shown: tuple[object, ...] = ()
        self._warned: set[str] = set()
        self._trouble: str | None = None

    @contextmanager
    def following(self) -> Iterator[None]:
        """Draw a bar while the block lasts, if somebody looks."""
        with self._bar or nullcontext():
            yield

    def say(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        text = plain(text)
        if self._bar is not None and self._bar.live.is_started:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def warn(self, warning: str) -> None:
        """Print a warning, once."""
        if warning not in self._warned:
            self._warned.add(warning)
            self.say(f"warning: {warning}")

    def show(self, standing: Standing) -> None:
        """Show how the training stands; each warning once."""
        self._note(standing)
        progress = standing.progress
        if self._bar is not None:
            task = self._bar.task_ids[0]
            total = progress.total if progress.step else None
            self._bar.update(
                task, description=standing.phase, completed=progress.step, total=total, told=told(progress)
            )
            return
        part = progress.step * _PARTS // progress.total if progress.total else 0
        if (standing.phase, part) != self._shown:
            self._shown = (standing.phase, part)
            self.say(", ".join(text for text in (standing.phase, told(progress)) if text))

    def _note(self, standing: Standing) -> None:
        for warning in standing.warnings:
            self.warn(warning)
        if standing.trouble != self._trouble:
            self.say(standing.trouble or "RunPod answers again.")
            self._trouble = standing.trouble


def _bar() -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=12), markup=False),
        BarColumn(bar_width=None, table_column=Column(min_width=6, ratio=1)),
        TextColumn("{task.fields[told]}", table_column=Column(no_wrap=True, justify="right"), markup=False),
        TimeElapsedColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True), refresh_per_second=4, expand=True, transient=True)
    bar.add_task("in the queue", total=None, told="")
    return bar


def plain(text: str) -> str:
    """Return ``text`` without anything that a terminal obeys: others may have written it."""
    return "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text)


def told(progress: Progress) -> str:
    """Return the numbers of a training that has begun, as in ``1200/2000, loss 0.0931, 28 min left``."""
    if not progress.step:
        return ""
    return ", ".join(
        text
        for text in (
            f"{progress.step}/{progress.total or '?'}",
            "" if progress.loss is None else f"loss {progress.loss:.4f}",
            f"{duration(progress.eta_seconds)} left" if progress.eta_seconds else "",
        )
        if text
    )


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
