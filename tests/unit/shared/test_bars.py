"""Bars on a terminal, and nothing where there is none."""

from __future__ import annotations

import io
import re
import sys

import pytest

from shared.bars import bars
from shared.sizes import shown


class Terminal(io.StringIO):
    """A stream that calls itself a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")


def last_frame(terminal: Terminal) -> list[str]:
    """Return what stands on the terminal when all is over, a line each."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue().rpartition("\r")[2])
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def test_a_bar_tells_name_sizes_and_a_note_on_one_line_of_a_narrow_terminal() -> None:
    terminal = Terminal()
    with bars(terminal) as drawn:
        assert drawn.drawn
        drawn.show("a-prefix-that-is-longer/with-a-model-name", 3 << 29, 3 << 30, "12 files, 1 left")
    [line] = last_frame(terminal)
    assert len(line) <= 80
    assert line.startswith("…r/with-a-model-name ")
    assert line.endswith("1.5/3.0 GiB, 12 files, 1 left")


def test_a_total_that_nobody_knows_yet_is_not_told() -> None:
    terminal = Terminal()
    with bars(terminal) as drawn:
        drawn.show("run", 5, None)
    [line] = last_frame(terminal)
    assert line.endswith(" 5 B")


def test_markup_in_a_name_is_text() -> None:
    terminal = Terminal()
    with bars(terminal) as drawn:
        drawn.show("[red]run[/red]", 5, 10, "[b]")
    [line] = last_frame(terminal)
    assert line.startswith("[red]run")
    assert line.endswith("[b]")


def test_what_is_printed_to_a_pipe_meanwhile_stays_out_of_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, pipe = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", pipe)
    with bars(terminal) as drawn:
        drawn.show("run", 5, 10)
        print("a result")
    assert pipe.getvalue() == "a result\n"
    assert "a result" not in terminal.getvalue()


def test_what_is_no_terminal_gets_no_bars() -> None:
    stream = io.StringIO()
    with bars(stream) as drawn:
        drawn.show("run", 5, 10)
        assert not drawn.drawn
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1536 << 10, "1.5 MiB"),
        (5 << 40, "5.0 TiB"),
        (1 << 52, "4096 TiB"),
    ],
)
def test_a_size_is_told_in_the_unit_that_fits(count: int, told: str) -> None:
    assert shown(count) == told
