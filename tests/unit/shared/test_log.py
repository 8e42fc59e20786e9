"""Log lines: a fixed event, fields, and no secret."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest

from shared.log import EventLog, configure
from shared.secrecy import MASK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
