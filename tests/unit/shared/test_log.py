"""Log lines: a fixed event, fields, and no secret."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shared.log import EventLog, configure
from shared.log_lines import LogFormat
from shared.secrecy import MASK

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "canary-of-the-service-key"


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    saved, level = list(root.handlers), root.level
    yield root
    root.handlers[:] = saved
    root.setLevel(level)


@pytest.mark.guarantee("secret", fault="the key is rotated while the program runs")
def test_a_rotated_key_is_masked_like_the_one_before(
    root_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "service-key"
    file.write_text(SECRET)
    monkeypatch.setenv("SUPABASE_SERVICE_KEY_FILE", str(file))
    configure()
    EventLog("handler").info("before", text=SECRET)
    file.write_text("another-canary")
    EventLog("handler").info("after", text=f"{SECRET}+another-canary", file=file)
    told = capsys.readouterr().err
    assert told.count(MASK) == 3
    assert SECRET not in told
    assert "another-canary" not in told
    assert str(file) in told


def test_an_event_is_one_masked_line(
    root_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", SECRET)
    configure()
    EventLog("handler").warning("storage_down", reason=f"it says\n{SECRET}", bucket="outputs", empty="")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"WARNING handler storage_down reason='it says\\n{MASK}' bucket=outputs empty=''")


def test_a_traceback_is_masked_too(
    root_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", SECRET)
    configure()
    try:
        int(SECRET)
    except ValueError:
        logging.getLogger("handler").exception("defect")
    told = capsys.readouterr().err
    assert "ValueError" in told
    assert SECRET not in told


def told_as_json(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_as_json_a_line_is_an_object_with_the_fields_as_they_are(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(LogFormat.JSON)
    EventLog("uploader").warning(
        "uploaded", session="training_session_1", path=Path("a\nb"), bytes=5, part=0.5, none=None, all=True, pids=[1, 2]
    )
    [line] = told_as_json(capsys)
    time = datetime.fromisoformat(str(line.pop("time")))
    assert time.utcoffset() == timedelta(0)
    fields = {"path": "a\nb", "bytes": 5, "part": 0.5, "none": None, "all": True, "pids": [1, 2]}
    named = {"level": "warning", "program": "uploader", "event": "uploaded", "session": "training_session_1"}
    assert line == named | fields


@pytest.mark.guarantee("secret", fault="the log is JSON")
def test_as_json_every_secret_is_masked_even_a_number_and_a_traceback(
    root_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", SECRET)
    monkeypatch.setenv("A_TOKEN", 'with "quotes"')
    monkeypatch.setenv("A_PASSWORD", "1234567890")
    configure(LogFormat.JSON)
    log = EventLog("handler")
    log.info("told", text=f"it is {SECRET}", quoted='with "quotes"', number=1234567890, several=[SECRET])
    try:
        int(SECRET)
    except ValueError:
        log.exception("defect", session="training_session_1")
    logging.getLogger("library").warning("it said %s", SECRET)
    told, defect, said = told_as_json(capsys)
    assert (told["text"], told["quoted"], told["number"], told["several"]) == (f"it is {MASK}", MASK, MASK, [MASK])
    assert (defect["event"], defect["session"]) == ("defect", "training_session_1")
    assert MASK in str(defect["traceback"])
    assert "ValueError" in str(defect["traceback"])
    assert (said["event"], said["program"], said["message"]) == ("log", "library", f"it said {MASK}")


class Terminal(io.StringIO):
    """A stream that calls itself a terminal."""

    def isatty(self) -> bool:
        return True


def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Let stderr be a terminal; pytest would take a fixture's stderr away again."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return terminal


def test_on_a_terminal_a_line_is_short_and_trouble_is_coloured(
    root_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = at_a_terminal(monkeypatch)
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", SECRET)
    configure()
    log = EventLog("uploader")
    log.info("uploaded", session="training_session_1", key="a b", bytes=3 << 20)
    log.warning("upload_retried", reason=SECRET)
    log.error("not_uploaded")
    plain = [re.sub(r"\x1b\[\d*m", "", line).partition(" ")[2] for line in terminal.getvalue().splitlines()]
    assert plain == [
        "uploaded training_session_1 key='a b' bytes=3.0MiB",
        f"warning: upload_retried reason={MASK}",
        "error: not_uploaded",
    ]
    assert "\x1b[33mwarning: upload_retried\x1b[0m" in terminal.getvalue()
    assert "\x1b[31merror: not_uploaded\x1b[0m" in terminal.getvalue()


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_who_wants_no_colour_gets_none(
    root_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    terminal = at_a_terminal(monkeypatch)
    monkeypatch.setenv(name, value)
    configure()
    EventLog("uploader").error("not_uploaded", session="training_session_1")
    assert terminal.getvalue().endswith(" error: not_uploaded training_session_1\n")
    assert "\x1b" not in terminal.getvalue()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\x1b[31mb", r"'a\x1b[31mb'"),
        ("a\n2026-01-01T00:00:00 ERROR   handler forged", r"'a\n2026-01-01T00:00:00 ERROR   handler forged'"),
        ("a\x85b\u2028c\u202ed", r"'a\x85b\u2028c\u202ed'"),
        (os.fsdecode(b"\xff"), r"'\udcff'"),
        ("größe", "größe"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str], value: str, shown: str
) -> None:
    configure()
    EventLog("uploader").info("uploaded", path=value)
    assert capsys.readouterr().err.endswith(f"uploaded path={shown}\n")
