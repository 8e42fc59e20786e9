"""What is secret in an environment, in whatever form, and that none of it leaves."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from unittest.mock import Mock
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.secrecy import MASK, Secrets, _Masked, mask, secrets_of

PROJECT = Path(__file__).resolve().parents[3]
SECRET = "canary-of-the-service-key"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.c2lnbmF0dXJlLW9mLXRoZS1rZXk"


def test_what_is_secret_is_told_by_the_name_and_the_length() -> None:
    environ = {"SUPABASE_SERVICE_KEY": SECRET, "HF_TOKEN": "hf_0123456789", "A_KEY": "short", "PATH": "/usr/local/bin"}
    assert secrets_of(environ) == {SECRET, "hf_0123456789"}


def test_of_the_keys_file_the_content_is_secret_and_not_the_path(tmp_path: Path) -> None:
    file = tmp_path / "service-key"
    assert secrets_of({"SUPABASE_SERVICE_KEY_FILE": str(file)}) == frozenset()
    file.write_text(f"{SECRET}\n")
    assert secrets_of({"SUPABASE_SERVICE_KEY_FILE": str(file)}) == {SECRET}


@pytest.mark.parametrize("name", ["DB_PASSWD", "ssh_passphrase", "AWS_SECRET_ACCESS_KEY", "Credentials", "API_TOKEN"])
def test_names_that_tell(name: str) -> None:
    assert secrets_of({name: SECRET}) == {SECRET}


def test_a_password_in_an_address_is_secret_whatever_the_variable_is_called() -> None:
    secrets = secrets_of({"DATABASE": "postgres://me:p%40ss-w0rd-1@host/db", "PROXY": "http://a:b@c", "X": "http://[a"})
    assert secrets == {"p%40ss-w0rd-1", "p@ss-w0rd-1", "p%2540ss-w0rd-1"}
    assert mask("no connection to postgres://me:p%40ss-w0rd-1@host", secrets).endswith(f"me:{MASK}@host")


def test_each_line_of_a_secret_is_one_because_logs_are_read_by_lines() -> None:
    secrets = secrets_of({"A_KEY": "-----BEGIN-----\r\n  canary-line-one\ncanary-line-two\n"})
    printed = ["  canary-line-one", "x canary-line-two y"]
    assert [mask(line, secrets) for line in printed] == [f"  {MASK}", f"x {MASK} y"]


def test_a_line_end_behind_a_secret_hides_nothing() -> None:
    assert mask(f"Bearer {SECRET}", secrets_of({"A_KEY": f"{SECRET}\n"})) == f"Bearer {MASK}"


def test_the_parts_of_a_signed_token_are_secret_too_but_how_it_is_signed_is_not() -> None:
    secrets = secrets_of({"SUPABASE_SERVICE_KEY": TOKEN})
    header, *own = TOKEN.split(".")
    for part in own:
        assert mask(f"refused: {part}", secrets) == f"refused: {MASK}"
    address = f"https://x/object/sign/b/k?token={header}.eyJ1cmwiOiJiL2sifQ.c2lnbmVkLWJ5LXRoZS1zYW1lLWtleQ"
    assert mask(address, secrets) == address


def test_the_parts_of_a_token_that_begins_otherwise_are_all_secret() -> None:
    parts = ("MTIzNDU2Nzg5MDEyMzQ1Njc4", "a-part-in-the-middle", "the-last-part-of-it")
    assert secrets_of({"BOT_TOKEN": ".".join(parts)}) >= set(parts)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(st.characters(min_codepoint=33, exclude_categories=["Cs", "Z", "C"]), min_size=8, max_size=40))
def test_no_usual_way_of_writing_it_gets_a_secret_through(secret: str) -> None:
    secrets = secrets_of({"A_TOKEN": secret})
    written = (secret, quote(secret, safe=""), json.dumps({"token": secret}), repr(secret))
    for text in written:
        masked = mask(f"before {text} behind", secrets)
        assert MASK in masked
        assert secret not in masked.replace(MASK, "")


def test_a_secret_within_another_leaves_nothing_of_either() -> None:
    assert mask("a 12345678 b 123456789abc c", ["12345678", "123456789abc"]) == f"a {MASK} b {MASK} c"


def test_a_key_that_was_replaced_stays_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(9))
    known = Secrets(lambda: float(next(seconds)))
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", "canary-of-the-old-key")
    known()
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", "canary-of-the-new-key")
    assert {"canary-of-the-old-key", "canary-of-the-new-key"} <= known()


def test_the_environment_is_searched_again_only_when_it_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, searched = iter(range(9)), Mock(side_effect=secrets_of)
    monkeypatch.setattr("shared.secrecy.secrets_of", searched)
    known = Secrets(lambda: float(next(seconds)))
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", "canary-of-the-old-key")
    assert known() == known()
    assert searched.call_count == 1
    monkeypatch.setenv("HF_TOKEN", "canary-of-a-token")
    assert "canary-of-a-token" in known()
    assert searched.call_count == 2


def test_whatever_is_written_to_a_masked_stream_is_masked() -> None:
    inner = io.StringIO()
    stream = _Masked(inner, lambda: frozenset({SECRET}))
    assert stream.write(f"a {SECRET}\n") == len(SECRET) + 3
    stream.writelines(["b\n", SECRET])
    try:
        raise ValueError(SECRET)  # noqa: TRY301 - its traceback is what the test is about
    except ValueError:
        traceback.print_exc(file=stream)
    assert SECRET not in inner.getvalue()
    assert inner.getvalue().startswith(f"a {MASK}\nb\n{MASK}")
    assert stream.closed is False


@pytest.mark.parametrize(
    "around", [("'", "'"), ('{\\"url\\": \\"', '\\"}'), ("<", ">"), ("see ", " there"), ("", "&download=")]
)
def test_a_signed_address_opens_nothing_when_it_is_printed(around: tuple[str, str]) -> None:
    inner = io.StringIO()
    address = "https://x.supabase.co/storage/v1/object/sign/outputs/run/a%20b.png"
    _Masked(inner, frozenset).write(f"{around[0]}{address}?token={TOKEN}{around[1]}")
    assert inner.getvalue() == f"{around[0]}{address}?token={MASK}{around[1]}"


_PROCESS = """
import logging, multiprocessing, os, sys
from shared.secrecy import keep_secrets
keep_secrets()
os.mkdir("folder")
open("folder/file", "w").close()
key = os.environ["SUPABASE_SERVICE_KEY"]
print("plain", key, flush=True)
logging.basicConfig(level=logging.DEBUG)
logging.getLogger("httpcore").debug("authorization: Bearer %s", key)
child = multiprocessing.get_context("fork").Process(target=print, args=("child", key))
child.start()
child.join()
raise RuntimeError(f"refused: {key}")
"""


@pytest.mark.guarantee("secret", fault="a library prints, logs at DEBUG, or dies with a secret in its last words")
def test_a_process_that_keeps_secrets_shows_none_and_writes_for_its_user_alone(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROCESS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "SUPABASE_SERVICE_KEY": TOKEN},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        umask=0,
    )
    printed = done.stdout + done.stderr
    assert f"plain {MASK}" in done.stdout
    assert f"child {MASK}" in done.stdout
    assert f"authorization: Bearer {MASK}" in done.stderr
    assert f"RuntimeError: refused: {MASK}" in done.stderr
    assert not any(part in printed for part in TOKEN.split(".")[1:])
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "folder/file").stat().st_mode & 0o777 == 0o600
