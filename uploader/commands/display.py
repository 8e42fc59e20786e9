"""What a person sees while files go up: bars on a terminal, the log's plain lines elsewhere."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TextColumn("{task.fields[files]}"),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(file=terminal), refresh_per_second=4) as bars:
        while True:
            for carrier in daemon.carriers:
                upload = carrier.upload
                name = carrier.run.prefix
                if name not in tasks:
                    tasks[name] = bars.add_task(name, total=None, files="")
                total = upload.uploaded.bytes + upload.pending.bytes
                files = (
                    f"{upload.uploaded.files} uploaded, {upload.pending.files} pending, {upload.failed.files} failed"
                )
                bars.update(tasks[name], completed=upload.uploaded.bytes, total=total or None, files=files)
            if end.wait(_REDRAW_SECONDS):
                return
