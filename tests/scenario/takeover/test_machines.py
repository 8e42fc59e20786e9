"""Sessions outlive their workers: real processes that are killed and frozen, on one volume and one Storage."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest

from shared.contract.bucket import Claim
from shared.contract.session import Outcome, Session
from shared.storage.body import BytesBody
from tests.scenario.uploader.port import BUCKET, PREFIX, kill, until, write_noise
from uploader.run import ADOPTED

if TYPE_CHECKING:
    from shared.layout import SessionFolder
    from tests.scenario.takeover.machines import Machines

CHUNK = 6 << 20
KEY = "checkpoints/pictures_000000004.ckpt"
FILE = "pictures/pictures_000000004.ckpt"
SIZE = 40_000_000
SLOW = {"UPLOAD_BANDWIDTH": "5M"}


@pytest.mark.guarantee("resumed-upload", fault="the worker is killed for good, and two others find its session at once")
def test_of_two_machines_one_goes_on_in_the_middle_of_a_killed_ones_file(machines: Machines) -> None:
    port = machines.port
    folder = port.session(worker="gone")
    digest = write_noise(folder.output / FILE, SIZE)
    for part in (0.2, 0.5):
        enough = part * SIZE
        uploader = machines.start("gone", "run", **SLOW)
        until(lambda: port.received(KEY) > enough, "some of it")  # noqa: B023 - waited for at once
        kill(uploader, signal.SIGKILL)
    assert "claim_watched" not in port.printed(), "a restarted uploader waits for itself"
    others = [machines.start(worker, "run") for worker in ("left", "right")]
    upload = machines.answered(folder)
    assert upload.receipt is not None
    assert (upload.receipt.token, upload.receipt.complete, upload.claim_epoch) == (ADOPTED, True, 2)
    manifest = port.checked_manifest()
    assert (manifest.outcome, manifest.complete) == (Outcome.INTERRUPTED, True)
    assert [entry.sha256 for entry in manifest.files] == [digest]
    assert port.received(KEY) <= SIZE + 3 * CHUNK
    assert machines.claims() == ["2.json"]
    assert port.printed().count("uploaded session=training_session_1") == 1
    assert [uploader.poll() for uploader in others] == [None, None]
    assert "Traceback" not in port.printed()


@pytest.mark.guarantee("one-writer", fault="the owner is frozen in the middle of a request until another has finished")
def test_a_machine_that_was_frozen_in_the_middle_of_a_file_finds_it_done_and_writes_nothing(machines: Machines) -> None:
    port = machines.port
    folder = port.session(worker="frozen")
    write_noise(folder.output / FILE, SIZE)
    owner = machines.start("frozen", "run", **SLOW)
    until(lambda: port.received(KEY) > SIZE * 0.3, "some of it")
    owner.send_signal(signal.SIGSTOP)
    # What it was sending is history: the run has gone on with another version of the file.
    digest = write_noise(folder.output / FILE, SIZE, seed=2)
    machines.start("heir", "run")
    machines.answered(folder)
    version = port.storage.info(BUCKET, f"{PREFIX}/incomplete/pictures_000000004.ckpt")
    status = port.status()
    owner.send_signal(signal.SIGCONT)
    until(lambda: "claim_lost" in port.printed(owner), "its word that it has lost")
    until(lambda: "run_left" in port.printed(owner), "its leaving the run alone")
    assert port.checked_manifest().files[0].sha256 == digest
    assert port.storage.info(BUCKET, f"{PREFIX}/incomplete/pictures_000000004.ckpt") == version
    assert port.status() == status
    upload = machines.told(folder)
    assert upload is not None
    assert (upload.worker, upload.refused) == ("heir", None)
    assert not port.is_there(KEY)
    assert owner.poll() is None
    assert "Traceback" not in port.printed()


def beat(folder: SessionFolder, end: threading.Event) -> None:
    """Show that the handler of a session lives, as it does every few seconds."""
    while not end.wait(0.1):
        session = Session.read(folder.session_file)
        assert session is not None
        session.model_copy(update={"beat": session.beat + 1}).write(folder.session_file)


@pytest.mark.guarantee("told", fault="somebody saves what dead workers left on a volume, while others work there")
def test_one_pass_finishes_what_the_dead_left_and_says_whom_it_leaves_alone(machines: Machines) -> None:
    port = machines.port
    dead = port.session(worker="gone")
    write_noise(dead.output / FILE, 7_000_000)
    alive = machines.another_session("training_session_2", worker="busy")
    write_noise(alive.output / FILE, 1000)
    over = machines.another_session("training_session_3", worker="gone")
    write_noise(over.output / FILE, 1000)
    over.ledger(1).touch()
    later = Claim(epoch=2, token="later", session_id="training_session_9", worker="busy", at=0.0)
    port.storage.put(
        BUCKET,
        "run/training_session_3/claims/2.json",
        BytesBody(later.dump()),
        content_type="application/json",
        metadata={},
    )
    end = threading.Event()
    heart = threading.Thread(target=beat, args=(alive, end))
    heart.start()
    try:
        once = machines.start("by-hand", "once", "--patience", "60")
        code = port.ends(once, 90)
    finally:
        end.set()
        heart.join()
    printed = port.printed(once)
    assert code == 1
    assert "training_session_1 is the session of worker gone: it is taken over if that stays silent" in printed
    assert "training_session_2: it is left alone: its own worker, busy, is at work on it." in printed
    assert "training_session_3: it is left alone: another run has written to its prefix since." in printed
    assert "2 could not be uploaded" in printed
    manifest = port.checked_manifest()
    assert (manifest.outcome, len(manifest.files)) == (Outcome.INTERRUPTED, 1)
    assert "Traceback" not in printed
