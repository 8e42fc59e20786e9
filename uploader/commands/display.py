"""What a person sees while files go up: bars on a terminal, the log's plain lines elsewhere."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.progress import Progress, TaskID

    from uploader.carrier import Carrier
    from uploader.daemon import Daemon

_REDRAW_SECONDS = 0.5


@contextmanager
def display(terminal: TextIO, daemon: Daemon) -> Iterator[None]:
    """Show a bar for each run of ``daemon`` while the block lasts, if ``terminal`` is one."""
    if not terminal.isatty():
        yield
        return
    end = threading.Event()
    thread = threading.Thread(target=_draw, args=(terminal, daemon, end), name="display", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def _draw(terminal: TextIO, daemon: Daemon, end: threading.Event) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TextColumn("{task.fields[files]}"),
    )
    with Progress(*columns, console=Console(file=terminal), refresh_per_second=4) as progress:
        bars = Bars(progress)
        while not end.wait(_REDRAW_SECONDS):
            bars.show(daemon.carriers)
        bars.show(daemon.carriers)


class Bars:
    """A bar for each run. Bytes count as they are sent, files when they are verified."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._before: dict[str, int] = {}

    def show(self, carriers: Iterable[Carrier]) -> None:
        """Draw how the runs stand now."""
        for carrier in carriers:
            upload, name = carrier.upload, carrier.run.prefix
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(name, total=None, files="")
                self._before[name] = upload.moved - upload.uploaded.bytes
            total = upload.uploaded.bytes + upload.pending.bytes
            sent = min(total, max(upload.uploaded.bytes, upload.moved - self._before[name]))
            files = f"{upload.uploaded.files} uploaded, {upload.pending.files} pending, {upload.failed.files} failed"
            self._progress.update(self._tasks[name], completed=sent, total=total or None, files=files)
