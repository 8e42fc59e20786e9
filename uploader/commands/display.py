"""What a person sees while files go up: bars on a terminal, the log's plain lines elsewhere."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from shared.bars import bars
from shared.sizes import counted
from uploader.paths import on_terminal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shared.bars import Bars
    from shared.contract.upload import Upload
    from uploader.carrier import Carrier
    from uploader.daemon import Daemon

_REDRAW_SECONDS = 0.5


@contextmanager
def display(terminal: TextIO, daemon: Daemon) -> Iterator[None]:
    """Show a bar for each run of ``daemon`` while the block lasts, if ``terminal`` is one."""
    with bars(terminal) as drawn:
        if not drawn.drawn:
            yield
            return
        runs, end = Runs(drawn), threading.Event()
        thread = threading.Thread(target=_draw, args=(runs, daemon, end), name="display", daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()


def _draw(runs: Runs, daemon: Daemon, end: threading.Event) -> None:
    while not end.wait(_REDRAW_SECONDS):
        runs.show(daemon.carriers)
    runs.show(daemon.carriers)


class Runs:
    """A bar for each run. Bytes count as they are sent, files when they are verified."""

    def __init__(self, drawn: Bars) -> None:
        self._bars = drawn
        self._before: dict[str, int] = {}

    def show(self, carriers: Iterable[Carrier]) -> None:
        """Draw how the runs stand now."""
        for carrier in carriers:
            upload, name = carrier.upload, carrier.run.prefix
            before = self._before.setdefault(name, upload.moved - upload.uploaded.bytes)
            total = upload.uploaded.bytes + upload.pending.bytes
            sent = min(total, max(upload.uploaded.bytes, upload.moved - before))
            self._bars.show(on_terminal(name), sent, total or None, _files(upload))


def _files(upload: Upload) -> str:
    told = [counted(upload.uploaded.files, "file")]
    told += [
        f"{count.files} {what}" for count, what in ((upload.pending, "left"), (upload.failed, "failed")) if count.files
    ]
    return ", ".join(told)
