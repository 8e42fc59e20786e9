"""The log holds each line once, whatever happened to the process that wrote it, and no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from handler.log_file import MAX_SHOWN, TAIL_LINES, LogFile, console, to_stdout
from shared.log_lines import LogFormat

if TYPE_CHECKING:
    from pathlib import Path


def make_log(path: Path, printed: list[str] | None = None, *, length: int = 0, begun: int = 0) -> LogFile:
    console = [] if printed is None else printed
    return LogFile(path, length=length, begun=begun, console=console.append, secrets=["hush-hush"])


def test_lines_go_to_file_and_console_masked_and_bounded(tmp_path: Path) -> None:
    path, printed = tmp_path / "logs" / "training.log", list[str]()
    make_log(path, printed).add(["key hush-hush", "x" * (MAX_SHOWN + 5)])
    assert printed == ["key ***", "x" * MAX_SHOWN + " … (5 characters more)"]
    assert path.read_text().splitlines() == printed


def test_lines_that_are_there_already_are_neither_written_nor_printed_again(tmp_path: Path) -> None:
    path, printed = tmp_path / "log", list[str]()
    path.write_text("old\none\ntwo\n")
    log = make_log(path, printed, length=4)
    log.add(["one", "two", "three"])
    assert path.read_text() == "old\none\ntwo\nthree\n"
    assert printed == ["three"]
    assert log.length == path.stat().st_size


@pytest.mark.parametrize("there", ["one\ntw", "one\nother\nmore\n"])
def test_a_torn_or_different_line_is_replaced(tmp_path: Path, there: str) -> None:
    path = tmp_path / "log"
    path.write_text("old\n" + there)
    make_log(path, length=4).add(["one", "two"])
    assert path.read_text() == "old\none\ntwo\n"


def test_what_the_disk_refuses_comes_with_the_next_lines(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "training.log"
    (tmp_path / "logs").write_text("in the way")
    log = make_log(path)
    log.add(["one"])
    settled = [log.settled]
    (tmp_path / "logs").unlink()
    log.add([])
    assert [*settled, log.settled] == [False, True]
    assert path.read_text() == "one\n"


def test_a_log_that_somebody_removed_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = make_log(path)
    log.add(["one"])
    path.unlink()
    log.add(["two"])
    assert (path.read_text(), log.length) == ("two\n", 4)


def test_the_tail_holds_this_runs_lines_also_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = make_log(path)
    log.add(["earlier"])
    log.begin()
    lines = [f"line {number}" for number in range(TAIL_LINES + 50)]
    log.add(lines)
    assert log.tail == tuple(lines[-TAIL_LINES:])
    again = make_log(path, length=log.length, begun=log.begun)
    assert again.tail == log.tail
    assert make_log(path, length=log.length, begun=log.length).tail == ()


def test_printing_survives_characters_that_the_console_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    to_stdout("50%|█| \udcff")
    assert capsys.readouterr().out == "50%|█| ?\n"


def test_where_the_log_is_json_the_trainers_lines_are_events_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    assert console(LogFormat.TEXT, "training_session_1") is to_stdout
    with caplog.at_level("INFO"):
        console(LogFormat.JSON, "training_session_1")("Saving at step 250")
    [record] = caplog.records
    assert record.name == "handler"
    assert vars(record)["event"] == "trainer_output"
    assert vars(record)["fields"] == {"session": "training_session_1", "line": "Saving at step 250"}
