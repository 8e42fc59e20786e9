"""An output tree full of what no uploader likes: each thing has its outcome, and none holds up another."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from shared.clock import SystemClock
from shared.contract.bucket import Claim, Status
from shared.contract.session import DrainRequest, Ending, Outcome, Phase
from tests.scenario.hostile.tree import FORGED, make, without_privilege
from tests.scenario.uploader.port import BUCKET, PREFIX, PROJECT, Port, port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d (INFO|WARNING|ERROR) +uploader \w+ ")


@pytest.fixture
def harbour(tmp_path: Path) -> Iterator[Port]:
    with port(tmp_path) as made:
        yield made


@pytest.mark.guarantee("contained", fault="a tree holds links, pipes, sockets, devices and names made to be misread")
@pytest.mark.guarantee("nothing-lost", fault="files cannot be read, or claim to be a terabyte, among those that can")
def test_each_nasty_thing_is_carried_or_listed_and_holds_up_nothing(harbour: Port) -> None:
    output = harbour.session().output
    expected = make(output)
    now = SystemClock().now()
    harbour.session(
        phase=Phase.DRAINING,
        ending=Ending(outcome=Outcome.FINISHED, by_itself=True, at=now),
        drain=DrainRequest(token="drain", at=now),
    )
    process = harbour._start(without_privilege("-m", "uploader", "once"), {})
    code = harbour.ends(process)
    for locked in expected.locked:
        locked.chmod(0o700)
    printed = harbour.printed(process)
    assert (code, "Traceback" in printed) == (1, False), printed[-3000:]

    manifest = harbour.checked_manifest()
    assert not manifest.complete
    keys = {entry.path: entry.key.removeprefix(f"{PREFIX}/") for entry in manifest.files}
    assert keys.keys() == expected.carried.keys()
    assert {path: keys[path] for path, key in expected.carried.items() if key} == {
        path: key for path, key in expected.carried.items() if key
    }
    reasons = {missing.path: missing.reason for missing in manifest.missing}
    assert reasons.keys() == expected.missing.keys()
    assert [path for path, reason in expected.missing.items() if reason not in reasons[path]] == []

    _check_documents(harbour)
    _check_printed(printed, expected.missing)


def _check_documents(harbour: Port) -> None:
    """No file has taken the place of what Ferry itself writes under the prefix."""
    claim, status = harbour.content("claims/1.json"), harbour.content("status.json")
    assert claim
    assert Claim.parse(claim)
    assert status
    assert Status.parse(status)
    top = {record.key.removeprefix(f"{PREFIX}/").split("/")[0] for record in harbour.storage.walk(BUCKET, PREFIX)}
    folders = {"samples", "checkpoints", "logs", "outputs", "incomplete"}
    assert top == folders - {"logs"} | {"claims", "status.json", "manifest.json"}


def _check_printed(printed: str, missing: dict[str, str]) -> None:
    """Every line is one of the log's, or the list's; what a name holds breaks none, and reaches no terminal."""
    assert FORGED in printed
    log = [line for line in printed.splitlines() if _LOG_LINE.match(line)]
    listed = [line for line in printed.splitlines() if line.startswith("pictures: ")]
    assert len(log) + len(listed) + 1 == len(printed.splitlines())
    assert len(listed) == len(missing)
    assert not any(line.startswith(FORGED) for line in printed.splitlines())
    assert printed.replace("\n", "").isprintable()


def test_a_watched_folder_with_a_name_made_for_terminals_is_told_of_in_plain_text(harbour: Port) -> None:
    name = os.fsdecode(b"[bold]\x1b[31m\n\xff")
    run = harbour.watched / name
    run.mkdir()
    (run / "link").symlink_to("nowhere")
    process = harbour.watch("once")
    assert harbour.ends(process) == 1
    shown = r"[bold]\x1b[31m\n\xff"
    assert f"{shown}: link: it is a symbolic link" in harbour.printed(process)
    for arguments in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "uploader", "status", "--watch", str(harbour.watched), *arguments],
            cwd=PROJECT,
            env={**harbour.environ, "PYTHONIOENCODING": "utf-8:strict"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (1, "")
        if arguments:
            assert json.loads(done.stdout)["runs"][0]["run"] == name
        else:
            # In the table, and in the list below it.
            assert done.stdout.count(shown) == 2
