"""Log lines: a fixed event, fields, and no secret."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from shared.log import MASK, EventLog, configure, mask, secrets_of

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


def test_what_is_secret_is_told_by_the_name_and_the_length() -> None:
    environ = {"SUPABASE_SERVICE_KEY": SECRET, "HF_TOKEN": "hf_0123456789", "A_KEY": "short", "PATH": "/usr/local/bin"}
    assert secrets_of(environ) == {SECRET, "hf_0123456789"}


def test_a_secret_within_another_leaves_nothing_of_either() -> None:
    assert mask("a 12345678 b 123456789abc c", ["12345678", "123456789abc"]) == f"a {MASK} b {MASK} c"


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
