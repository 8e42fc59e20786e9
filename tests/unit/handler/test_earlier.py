"""What a volume tells of earlier runs: one bad file holds up no job, and what it hides for a moment is waited for."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from typing import TYPE_CHECKING

import pytest

import handler.earlier
import handler.reception
from handler.earlier import falls_silent, look_back, session_of
from handler.job import parse_job
from handler.precedent import GoOn
from handler.reception import run_job
from handler.watch import StopRequest
from shared.clock import SystemClock
from shared.contract.bucket import Status
from shared.contract.session import Phase, Session
from shared.contract.upload import Upload
from shared.errors import ErrorCode
from tests.unit.handler.crew import Place, job, place
from tests.unit.handler.made import NOW, folder, session

if TYPE_CHECKING:
    from pathlib import Path

    from shared.layout import SessionFolder

JOB = parse_job(job())


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.patience.PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(handler.earlier, "_BAD_FILES_SECONDS", 0.05)
    monkeypatch.setattr(handler.earlier, "SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(handler.earlier, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr("handler.reporter.SILENCE_SECONDS", 0.01)


@pytest.fixture
def here(tmp_path: Path) -> Place:
    return place(tmp_path)


def left(here: Place, name: str, prefix: str = JOB.prefix, **changes: object) -> SessionFolder:
    found = folder(here.root, name)
    session(found, prefix=prefix, input_hash=JOB.input_hash, **changes).write(found.session_file)
    return found


def hide(monkeypatch: pytest.MonkeyPatch, hidden: SessionFolder, times: int) -> None:
    """Have the volume keep a session back so many times."""
    real, left = Session.read.__func__, [errno.ESTALE] * times  # type: ignore[attr-defined]  # a classmethod's function

    def stale(cls: type[Session], path: Path) -> Session | None:
        if path == hidden.session_file and left:
            number = left.pop()
            raise OSError(number, os.strerror(number))
        known: Session | None = real(cls, path)
        return known

    monkeypatch.setattr(Session, "read", classmethod(stale))


def run(here: Place) -> dict[str, object]:
    async def running() -> dict[str, object]:
        async with here.uploader.at_work():
            return await run_job(job(), here.workshop, StopRequest())

    return asyncio.run(running())


@pytest.mark.guarantee("every-wait-ends", fault="the file of another run on the volume cannot be read, now or ever")
def test_a_job_runs_beside_a_session_that_cannot_be_read(
    here: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, look = folder(here.root, "training_session_1"), here.uploader.look
    bad.session_file.mkdir()
    monkeypatch.setattr(here.uploader, "look", lambda found: None if found == bad else look(found))
    assert run(here)["success"] is True
    assert "session_passed_over session=training_session_1" in caplog.text


def test_a_session_that_is_hidden_for_a_moment_is_found(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    found = left(here, "training_session_1", phase=Phase.TRAINING)
    hide(monkeypatch, found, 2)
    decided, _ = look_back(JOB, here.workshop, threading.Event())
    assert decided == GoOn("training_session_1", ("training_session_1",))


def test_the_newest_of_what_can_be_read_counts(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    found = left(here, "training_session_1", created_at=NOW)
    left(here, "training_session_2", "somewhere/else", created_at=NOW + 1)
    hide(monkeypatch, left(here, "training_session_3", created_at=NOW + 2), 10_000)
    seen = session_of(JOB, here.workshop)
    assert seen is not None
    assert seen[0] == found


def test_a_delivery_that_cannot_be_read_does_not_hold_up_the_job(here: Place) -> None:
    left(here, "training_session_1").upload_file.mkdir()
    decided, _ = look_back(JOB, here.workshop, threading.Event())
    assert isinstance(decided, GoOn)


@pytest.mark.guarantee("one-writer", fault="the volume hides a living session until it is to be gone on with")
def test_a_session_that_nobody_could_see_to_be_free_is_not_taken_up(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = left(here, "training_session_1", phase=Phase.TRAINING, worker="another")
    before = found.session_file.read_bytes()
    here.storage.objects[f"outputs:{JOB.prefix}/status.json"] = Status(
        session_id=found.session_id,
        job_id="job-2",
        input_hash=JOB.input_hash,
        worker="another",
        epoch=1,
        counter=1,
        at=NOW,
        phase=Phase.TRAINING,
    ).dump()
    monkeypatch.setattr(handler.reception, "session_of", lambda *_: None)
    here.uploader.refuses = Upload(worker="worker", refused=ErrorCode.PREFIX_IN_USE, refusal="It is in use.")
    assert run(here)["error_code"] == "prefix_in_use"
    assert found.session_file.read_bytes() == before
    assert not here.trainers()


@pytest.mark.parametrize("times", [1, 3])
def test_who_was_out_of_sight_for_a_moment_may_have_fallen_silent(
    here: Place, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    found = left(here, "training_session_1", phase=Phase.TRAINING, worker="dead")
    hide(monkeypatch, found, times)
    assert asyncio.run(falls_silent(found, SystemClock(), StopRequest())) is True


@pytest.mark.guarantee("one-writer", fault="the volume hides another worker's session for as long as one waits")
def test_who_stays_out_of_sight_has_not_fallen_silent(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    found = left(here, "training_session_1", phase=Phase.TRAINING, worker="another")
    hide(monkeypatch, found, 10_000)
    assert asyncio.run(falls_silent(found, SystemClock(), StopRequest())) is False
