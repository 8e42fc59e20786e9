from __future__ import annotations

import io
import logging
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from rich.console import Console
from rich.progress import Progress

from shared.contract.upload import Count, Upload
from shared.log import configure
from uploader.commands.display import Bars, display

if TYPE_CHECKING:
    import pytest

    from uploader.carrier import Carrier
    from uploader.daemon import Daemon


@dataclass
class Run:
    prefix: str = "run/pictures"


@dataclass
class Shown:
    upload: Upload
    run: Run = field(default_factory=Run)


def carriers(moved: int, uploaded: int, pending: int) -> list[Carrier]:
    there, waiting = Count(files=1, bytes=uploaded), Count(files=1, bytes=pending)
    return cast("list[Carrier]", [Shown(Upload(worker="w", moved=moved, uploaded=there, pending=waiting))])


def test_bytes_count_as_they_are_sent_and_what_was_there_before_counts_too() -> None:
    progress = Progress(console=Console(file=io.StringIO()))
    bars = Bars(progress)
    seen = []
    # An earlier process had sent 100 bytes; now a file of 50 goes up, is counted, and nothing is counted twice.
    for moved, uploaded, pending in ((100, 100, 50), (130, 100, 50), (150, 150, 0), (170, 150, 0)):
        bars.show(carriers(moved, uploaded, pending))
        [task] = progress.tasks
        seen.append((task.completed, task.total))
    assert seen == [(100, 150), (130, 150), (150, 150), (150, 150)]


def test_what_is_no_terminal_gets_no_bars() -> None:
    stream = io.StringIO()
    with display(stream, cast("Daemon", None)):
        pass
    assert stream.getvalue() == ""


def test_log_lines_go_to_whatever_stderr_is_while_bars_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure()
        replaced = io.StringIO()
        monkeypatch.setattr(sys, "stderr", replaced)
        logging.getLogger("uploader").warning("a line")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert "a line" in replaced.getvalue()
