from __future__ import annotations

import io
import logging
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from shared.contract.upload import Count, Upload
from shared.log import configure
from uploader.commands.display import Runs, display

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
    there, waiting = Count(files=1, bytes=uploaded), Count(files=1 if pending else 0, bytes=pending)
    return cast("list[Carrier]", [Shown(Upload(worker="w", moved=moved, uploaded=there, pending=waiting))])


class Drawn:
    """Remembers how each bar stands."""

    drawn = True

    def __init__(self) -> None:
        self.bars: dict[str, tuple[int, int | None, str]] = {}

    def show(self, name: str, done: int, total: int | None, note: str = "") -> None:
        self.bars[name] = (done, total, note)


def test_bytes_count_as_they_are_sent_and_what_was_there_before_counts_too() -> None:
    drawn = Drawn()
    runs = Runs(drawn)
    seen = []
    # An earlier process had sent 100 bytes; now a file of 50 goes up, is counted, and nothing is counted twice.
    for moved, uploaded, pending in ((100, 100, 50), (130, 100, 50), (150, 150, 0), (170, 150, 0)):
        runs.show(carriers(moved, uploaded, pending))
        seen.append(drawn.bars["run/pictures"])
    there, waiting = "1 file", "1 file, 1 left"
    assert seen == [(100, 150, waiting), (130, 150, waiting), (150, 150, there), (150, 150, there)]


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
