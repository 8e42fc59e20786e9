"""The environment, with its defaults, and one clear line that names the variable that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import ErrorCode, FerryError
from shared.settings import (
    DRAIN_SECONDS_WITH_VOLUME,
    DRAIN_SECONDS_WITHOUT_VOLUME,
    parse_bytes,
    read_root,
    read_settings,
)

KNOWN = {"SUPABASE_URL": "https://p.supabase.co/", "SUPABASE_SERVICE_KEY": "secret-key", "RUNPOD_POD_ID": "pod"}
NOWHERE = Path("/no/such/volume")


def test_the_defaults_are_the_documented_ones() -> None:
    known = read_settings(KNOWN, NOWHERE)
    assert (known.storage.url, known.root, known.worker) == (
        "https://p.supabase.co",
        Path("/workspace/training"),
        "pod",
    )
    assert (known.handler.toolkit, known.handler.stall_seconds, known.handler.max_seconds) == (
        Path("/app/ai-toolkit"),
        1800,
        0,
    )
    assert (known.handler.keep_sessions, known.handler.drain_seconds) == (3, DRAIN_SECONDS_WITHOUT_VOLUME)
    upload = known.upload
    assert (upload.poll_seconds, upload.debounce_seconds, upload.concurrency, upload.bandwidth) == (1, 3, 16, None)
    assert (upload.log_seconds, upload.lag_alarm_seconds, upload.spool_bytes) == (15, 600, 20 << 30)


def test_on_a_volume_the_root_is_there_and_the_drain_is_shorter(tmp_path: Path) -> None:
    known = read_settings(KNOWN, tmp_path)
    assert (known.root, known.volume, known.handler.drain_seconds) == (
        tmp_path / "training",
        True,
        DRAIN_SECONDS_WITH_VOLUME,
    )
    elsewhere = read_settings({**KNOWN, "TRAINING_ROOT": "/own/disk"}, tmp_path)
    assert (elsewhere.volume, elsewhere.handler.drain_seconds) == (False, DRAIN_SECONDS_WITHOUT_VOLUME)
    assert read_root({}, tmp_path) == tmp_path / "training"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUPABASE_URL", ""),
        ("SUPABASE_URL", "ftp://x"),
        ("SUPABASE_URL", "http://my project"),
        ("SUPABASE_URL", "http://x:99999"),
        ("SUPABASE_SERVICE_KEY", " "),
        ("TRAINING_ROOT", "relative/path"),
        ("LOG_FORMAT", "xml"),
        ("TRAINING_STALL_SECONDS", "soon"),
        ("TRAINING_STALL_SECONDS", "0"),
        ("TRAINING_MAX_SECONDS", "-1"),
        ("DRAIN_SECONDS", "nan"),
        ("KEEP_SESSIONS", "1.5"),
        ("UPLOAD_CONCURRENCY", "0"),
        ("UPLOAD_BANDWIDTH", "12"),
        ("UPLOAD_BANDWIDTH", "fast"),
        ("SPOOL_BYTES", "20 apples"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(name: str, value: str) -> None:
    with pytest.raises(FerryError) as caught:
        read_settings({**KNOWN, name: value}, NOWHERE)
    assert caught.value.code is ErrorCode.INVALID_INPUT
    assert caught.value.sentence.startswith(f"{name} is ")
    assert "\n" not in caught.value.sentence


def test_the_key_may_be_in_a_file_which_goes_before_the_other(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("key-of-the-file\n")
    known = read_settings({**KNOWN, "SUPABASE_SERVICE_KEY_FILE": str(file)}, NOWHERE).storage
    assert (known.key, known.key_file) == ("key-of-the-file", file)
    alone = {name: value for name, value in KNOWN.items() if name != "SUPABASE_SERVICE_KEY"}
    assert read_settings({**alone, "SUPABASE_SERVICE_KEY_FILE": str(file)}, NOWHERE).storage == known
    assert "key-of-the-file" not in repr(known)


def test_a_key_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FerryError, match=r"SUPABASE_SERVICE_KEY_FILE is .*no such file"):
        read_settings({**KNOWN, "SUPABASE_SERVICE_KEY_FILE": str(tmp_path / "none")}, NOWHERE)


@pytest.mark.parametrize(
    ("text", "count"),
    [("1048576", 1 << 20), ("20G", 20 << 30), ("500 MB", 500 << 20), ("1.5k", 1536), ("2TiB", 2 << 40)],
)
def test_bytes_with_units(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize(("given", "name"), [("a/../b", "a-..-b"), ("..", "worker"), (".hidden", "hidden")])
def test_a_workers_name_is_safe_as_a_files(given: str, name: str) -> None:
    assert read_settings({**KNOWN, "RUNPOD_POD_ID": given}, NOWHERE).worker == name


def test_the_key_shows_in_no_repr() -> None:
    assert "secret-key" not in repr(read_settings(KNOWN, NOWHERE))
