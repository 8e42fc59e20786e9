"""The commands that only look and ask: their exit codes and what they say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from local.storage.faults import Answer, Fault
from tests.scenario.uploader.port import BUCKET, PREFIX, PROJECT, until, write_noise

if TYPE_CHECKING:
    from tests.scenario.uploader.port import Port


def said(port: Port, *arguments: str, **environ: str) -> tuple[int, str]:
    """Run a command to its end; return its exit code and what it printed."""
    process = port.start(*arguments, **environ)
    code = port.ends(process)
    printed = port.printed(process)
    assert "Traceback" not in printed
    return code, printed


def delivered(port: Port, *, refused: bool = False) -> None:
    """Carry a session with two files to its end, one of them refused if so wished."""
    if refused:
        text = json.dumps({"statusCode": "413", "error": "Payload too large", "message": "too large"})
        port.server.faults.add(Fault(method="POST", path="bad.txt", answer=Answer(status=400, body=text)))
    output = port.session().output
    write_noise(output / "bad.txt", 10)
    write_noise(output / "pictures/samples/a.png", 1000)
    daemon = port.start("run")
    port.drain()
    daemon.send_signal(signal.SIGTERM)
    assert port.ends(daemon) == 0
    port.server.faults.clear()


def test_status_of_nothing_and_of_a_run(harbour: Port) -> None:
    nothing = "No runs yet: nothing has been trained or watched here.\n"
    nobody = "No uploader lives here: start it with python -m uploader run.\n"
    assert said(harbour, "status") == (0, nothing + nobody)
    delivered(harbour)
    code, printed = said(harbour, "status")
    assert code == 0
    assert "training_session_1" in printed
    code, printed = said(harbour, "status", "--json")
    [run] = json.loads(printed)["runs"]
    assert (code, run["uploaded"]["files"], run["failed"]["files"]) == (0, 2, 0)


def test_status_lists_what_failed_and_retry_has_it_tried_again(harbour: Port) -> None:
    assert said(harbour, "retry") == (0, "Nothing has failed; nothing to retry.\n")
    delivered(harbour, refused=True)
    code, printed = said(harbour, "status")
    assert code == 1
    assert "bad.txt" in printed
    assert said(harbour, "retry") == (0, "Asked the uploader to try 1 file again.\n")
    harbour.start("run")
    until(lambda: harbour.is_there("outputs/bad.txt"), "the file that had failed")
    until(lambda: (manifest := harbour.manifest()) is not None and manifest.complete, "the new manifest")
    until(lambda: said(harbour, "status")[0] == 0, "a status without failures")


def test_verify_finds_what_is_wrong_by_record_and_by_content(harbour: Port) -> None:
    code, printed = said(harbour, "verify")
    assert (code, "No sessions here" in printed) == (1, True)
    harbour.session()
    code, printed = said(harbour, "verify")
    assert (code, "there is no manifest" in printed) == (1, True)
    delivered(harbour)
    place = ("--bucket", BUCKET, "--prefix", PREFIX)
    for arguments in ((), ("--deep",), place, (*place, "--deep")):
        code, printed = said(harbour, "verify", *arguments)
        assert (code, "2 of 2 objects are right" in printed) == (0, True)
    harbour.storage.remove(BUCKET, [f"{PREFIX}/samples/a.png"])
    code, printed = said(harbour, "verify")
    assert (code, "it is not in the bucket" in printed) == (1, True)


@pytest.mark.parametrize("command", ["status", "verify", "retry"])
def test_a_disk_that_refuses_is_one_sentence_and_another_time_it_may_not(harbour: Port, command: str) -> None:
    folder = harbour.session()
    for file in (folder.session_file, folder.upload_file):
        file.unlink(missing_ok=True)
        file.mkdir()
    code, printed = said(harbour, command)
    assert code == 3
    assert printed.startswith("uploader: The system refuses ")
    assert printed.endswith(".json: Is a directory.\n")


def test_whoever_reads_the_output_may_leave_at_any_time(harbour: Port) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-m", "uploader", "status", "--json"],
        cwd=PROJECT,
        env=harbour.environ,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
        timeout=60,
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_storage_that_is_away_is_another_ending_than_a_wrong_key(harbour: Port) -> None:
    place = ("--bucket", BUCKET, "--prefix", PREFIX)
    code, printed = said(harbour, "verify", *place, SUPABASE_URL="http://127.0.0.1:9")
    assert (code, "check SUPABASE_URL" in printed) == (3, True)
    code, printed = said(harbour, "verify", *place, SUPABASE_SERVICE_KEY="wrong")
    assert (code, "service_role key" in printed) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "environ", "sentence"),
    [
        (("once",), {"SUPABASE_URL": ""}, "SUPABASE_URL is not set"),
        (("once",), {"SUPABASE_SERVICE_KEY": ""}, "SUPABASE_SERVICE_KEY is not set"),
        (("run",), {"UPLOAD_CONCURRENCY": "many"}, "UPLOAD_CONCURRENCY is 'many'"),
        (("once", "--watch", "/nowhere/at/all", "--bucket", BUCKET), {}, "is not a folder"),
        (("once", "--watch", "/"), {}, "--watch needs --bucket"),
        (("verify", "--bucket", BUCKET), {}, "--bucket and --prefix go together"),
        (("fly",), {}, "invalid choice"),
    ],
)
def test_wrong_usage_is_one_sentence(
    harbour: Port, arguments: tuple[str, ...], environ: dict[str, str], sentence: str
) -> None:
    code, printed = said(harbour, *arguments, **environ)
    assert code == 2
    assert sentence in printed
