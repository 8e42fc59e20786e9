"""What a person sees of a batch: a table that follows it on a terminal, elsewhere a line at each change."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from examples.client.screen import duration, plain
from examples.client.training import End

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.live import Live
    from rich.table import Table

    from examples.client.member import Member

_PARTS = 10


class Board:
    """Prints to stderr."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._told: dict[str, tuple[str, int]] = {}

    @contextmanager
    def following(self) -> Iterator[None]:
        """Keep a table on the terminal while the block lasts, if somebody looks."""
        if not sys.stderr.isatty():
            yield
            return
        from rich.console import Console
        from rich.live import Live

        with Live(console=Console(stderr=True), refresh_per_second=2) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def say(self, text: str) -> None:
        """Print a line, above the table if there is one."""
        if self._live is not None:
            self._live.console.print(plain(text), markup=False, highlight=False)
        else:
            print(plain(text), file=sys.stderr, flush=True)

    def show(self, members: Sequence[Member]) -> None:
        """Show how all of them stand."""
        if self._live is not None:
            self._live.update(_table(members))
            return
        for member in members:
            state = _state(member)
            if self._told.get(member.request.name) != (state, _part(member)):
                self._told[member.request.name] = (state, _part(member))
                self.say(f"{member.request.name}: {', '.join(text for text in (state, _steps(member)) if text)}")


def _table(members: Sequence[Member]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, justify in (
        ("training", "left"),
        ("state", "left"),
        ("step", "right"),
        ("loss", "right"),
        ("left", "right"),
    ):
        table.add_column(name, justify="right" if justify == "right" else "left", no_wrap=name != "training")
    for member in members:
        progress = None if isinstance(member.seen, End) else member.seen.progress
        loss = "" if progress is None or progress.loss is None else f"{progress.loss:.4f}"
        left = duration(progress.eta_seconds) if progress is not None and progress.eta_seconds else ""
        table.add_row(*map(Text, (plain(member.request.name), _state(member), _steps(member), loss, left)))
    return table


def _state(member: Member) -> str:
    if isinstance(member.seen, End):
        return f"{member.seen.how}, fetched" if member.sent.fetched else str(member.seen.how)
    return f"{member.seen.phase} (not heard of)" if member.seen.trouble else member.seen.phase


def _steps(member: Member) -> str:
    if isinstance(member.seen, End) or not member.seen.progress.step:
        return ""
    return f"{member.seen.progress.step}/{member.seen.progress.total or '?'}"


def _part(member: Member) -> int:
    progress = None if isinstance(member.seen, End) else member.seen.progress
    return progress.step * _PARTS // progress.total if progress is not None and progress.total else 0
