"""``status``: what is uploaded, pending and failed, as the daemon last wrote it down; live as long as it moves."""

from __future__ import annotations

import io
import json
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.settings import read_root
from uploader.commands.overview import Speeds, look

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator

    from uploader.commands.overview import Overview

_LOOK_SECONDS = 1.0
# A table that nobody looks at on a terminal may be as wide as it likes.
_NO_END = 10_000


def main(options: Namespace) -> int:
    """Show every run; return 1 when something has failed for good.

    On a terminal the table follows for as long as anything moves, unless told otherwise.
    """
    root = read_root()
    live = sys.stdout.isatty() and not options.json
    follow = live if options.follow is None else options.follow
    with _drawn() if live else _printed(_json(lines=follow) if options.json else _plain) as show:
        last = followed(
            lambda: look(root, options.watch, time.time()),
            show,
            time.sleep,
            follow=follow,
            for_ever=bool(options.follow),
        )
    return 1 if last.failed else 0


def followed(
    see: Callable[[], Overview],
    show: Callable[[Overview], None],
    wait: Callable[[float], object],
    *,
    follow: bool,
    for_ever: bool,
) -> Overview:
    """Show how the runs stand, once, or, with ``follow``, every second as long as anything moves, or ``for_ever``."""
    while True:
        seen = see()
        show(seen)
        if not follow or not (for_ever or seen.moving):
            return seen
        wait(_LOOK_SECONDS)


@contextmanager
def _drawn() -> Iterator[Callable[[Overview], None]]:
    """Yield what draws the table on the terminal, each time over the last one."""
    from rich.console import Console
    from rich.live import Live

    from uploader.commands.table import table

    console, speeds = Console(file=sys.stdout), Speeds()
    with Live(console=console, auto_refresh=False) as live:

        def show(seen: Overview) -> None:
            speeds.note(seen, time.monotonic())
            live.update(table(seen, speeds, console.width), refresh=True)

        yield show


@contextmanager
def _printed(told: Callable[[Overview], str]) -> Iterator[Callable[[Overview], None]]:
    """Yield what prints how the runs stand whenever that has changed."""
    before: list[str] = []

    def show(seen: Overview) -> None:
        text = told(seen)
        if text not in before:
            print(text, flush=True)
            before[:] = [text]

    yield show


def _json(*, lines: bool) -> Callable[[Overview], str]:
    return lambda seen: json.dumps(seen.fields(), indent=None if lines else 1)


def _plain(seen: Overview) -> str:
    """Return the table for whoever reads it from a pipe: nothing is shortened, coloured or wrapped."""
    from rich.console import Console

    from uploader.commands.table import table

    written = io.StringIO()
    Console(file=written, width=_NO_END, no_color=True).print(table(seen, Speeds()))
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines())
