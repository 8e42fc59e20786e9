"""A job that runs elsewhere already, and sessions that somebody else may still have open."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

import handler.earlier
import handler.following
from handler.book import Book
from handler.drain import newest_word
from handler.earlier import falls_silent, is_open_elsewhere
from handler.following import follow
from handler.job import parse_job
from handler.reception import run_job
from handler.threads import EndedEarlyError
from handler.watch import Stop, StopRequest
from shared.clock import SystemClock
from shared.contract.bucket import Manifest, Status
from shared.contract.process import identify
from shared.contract.session import Outcome, Phase
from shared.contract.upload import Upload
from shared.errors import ErrorCode
from shared.layout import SessionFolder, sessions
from shared.storage.errors import StorageError, Trouble
from shared.storage.retry import Patience
from tests.unit.handler import made
from tests.unit.handler.crew import Place, job, place
from tests.unit.handler.toolkits import until

if TYPE_CHECKING:
    from pathlib import Path

HASH = parse_job(job()).input_hash
STATUS = "outputs:run/tabby/status.json"
MANIFEST = "outputs:run/tabby/manifest.json"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler.following, "SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(handler.following, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(handler.earlier, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(handler.earlier, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr("handler.reporter.SILENCE_SECONDS", 0.01)


def status(counter: int = 1, job_id: str = "job-1") -> bytes:
    return Status(
        session_id="elsewhere",
        job_id=job_id,
        input_hash=HASH,
        worker="another",
        epoch=1,
        counter=counter,
        at=made.NOW,
        phase=Phase.TRAINING,
    ).dump()


def manifest(outcome: Outcome = Outcome.FINISHED, **changes: Any) -> bytes:
    known = Manifest(
        outcome=outcome,
        complete=True,
        session_id="elsewhere",
        job_id="job-1",
        input_hash=HASH,
        model_name="tabby",
        created_at=made.NOW,
    )
    return known.model_copy(update=changes).dump()


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """Return a worker whose uploader is refused the prefix, since the job runs elsewhere."""
    found = place(tmp_path)
    found.storage.objects[STATUS] = status()
    found.uploader.refuses = Upload(worker="worker", refused=ErrorCode.PREFIX_IN_USE, refusal="It is in use.")
    return found


def run(here: Place, *meanwhile: Any) -> dict[str, Any]:
    async def running() -> dict[str, Any]:
        async with here.uploader.at_work():
            answer = asyncio.ensure_future(run_job(job(), here.workshop, StopRequest()))
            for each in meanwhile:
                await each
            return await answer

    return asyncio.run(running())


@pytest.mark.guarantee("trained-once", fault="RunPod delivers a job to two workers at once")
def test_the_second_worker_follows_the_first_to_its_answer(here: Place) -> None:
    async def end_elsewhere() -> None:
        await until(lambda: len(here.sessions) == 1 and here.sessions[0].phase is Phase.CLOSED)
        for counter in range(2, 40):
            here.storage.objects[STATUS] = status(counter)
            await asyncio.sleep(0.02)
        here.storage.objects[MANIFEST] = manifest()

    answer = run(here, end_elsewhere())
    assert answer["success"] is True
    assert (answer["session_id"], answer["stored_answer"]) == ("elsewhere", True)
    assert not here.trainers()


def test_a_failure_elsewhere_is_the_answer_too(here: Place) -> None:
    async def end_elsewhere() -> None:
        await until(lambda: len(here.sessions) == 1 and here.sessions[0].phase is Phase.CLOSED)
        here.storage.objects[MANIFEST] = manifest(
            Outcome.FAILED, error_code=ErrorCode.NAN_LOSS, error="The loss is not a number."
        )

    answer = run(here, end_elsewhere())
    assert (answer["success"], answer["error_code"]) == (False, "nan_loss")
    assert answer["error"] == "The loss is not a number."


@pytest.mark.guarantee("one-writer", fault="another job writes under the same prefix")
def test_another_jobs_run_is_not_followed(here: Place) -> None:
    here.storage.objects[STATUS] = status(job_id="job-2")
    answer = run(here)
    assert (answer["error_code"], answer["error"]) == ("prefix_in_use", "It is in use.")


@pytest.mark.guarantee("trained-once", fault="the worker that runs the job falls silent")
def test_a_run_that_falls_silent_is_taken_over(here: Place) -> None:
    async def die_elsewhere() -> None:
        await until(lambda: len(here.sessions) == 1 and here.sessions[0].phase is Phase.CLOSED)
        here.uploader.refuses = None

    answer = run(here, die_elsewhere())
    assert answer["success"] is True
    assert answer["session_id"] != "elsewhere"
    assert {session.lineage for session in here.sessions} == {("elsewhere",)}


@pytest.mark.guarantee("trained-once", fault="the volume does not answer while a job is followed")
def test_a_job_is_followed_on_when_the_volume_is_away(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[object] = []

    def away(root: Path) -> list[SessionFolder]:
        looks.append(root)
        if len(looks) in {2, 3}:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        if len(looks) == 4:
            here.storage.objects[MANIFEST] = manifest()
        return list(sessions(root))

    monkeypatch.setattr(handler.earlier, "sessions", away)
    seen = asyncio.run(follow(parse_job(job()), here.workshop, StopRequest()))
    assert seen is not None
    assert seen.manifest is not None
    assert len(looks) == 5


@pytest.mark.guarantee("trained-once", fault="Storage does not answer when a job is to be followed")
def test_a_job_that_is_not_seen_at_once_is_followed_all_the_same(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler.earlier, "STORAGE_PATIENCE", Patience(seconds=0, first=0.001, longest=0.001))
    here.storage.objects[MANIFEST] = manifest()
    here.storage.error = StorageError(Trouble.UNREACHABLE, "Reading", "it is away")

    async def comes_back() -> bool:
        task = asyncio.ensure_future(follow(parse_job(job()), here.workshop, StopRequest()))
        await until(lambda: here.storage.calls.count("read") > 2 or task.done())
        here.storage.error = None
        seen = await task
        return seen is not None and seen.manifest is not None

    assert asyncio.run(comes_back())


@pytest.mark.parametrize("trouble", [Trouble.DENIED, Trouble.UNREACHABLE])
def test_a_job_that_cannot_be_seen_at_all_is_refused(
    here: Place, monkeypatch: pytest.MonkeyPatch, trouble: Trouble
) -> None:
    monkeypatch.setattr(handler.earlier, "STORAGE_PATIENCE", Patience(seconds=0, first=0.001, longest=0.001))
    monkeypatch.setattr(handler.following, "SILENCE_SECONDS", 0.1)
    here.storage.error = StorageError(trouble, "Reading", "it is so")
    with pytest.raises(StorageError):
        asyncio.run(follow(parse_job(job()), here.workshop, StopRequest()))


def test_following_ends_when_the_worker_is_to_stop(here: Place) -> None:
    async def stopped() -> None:
        stop = StopRequest()
        task = asyncio.ensure_future(follow(parse_job(job()), here.workshop, stop))
        await until(lambda: "read" in here.storage.calls)
        stop.ask(Stop.INTERRUPTED)
        with pytest.raises(EndedEarlyError):
            await task

    asyncio.run(stopped())


def test_a_session_of_a_dead_worker_falls_silent(tmp_path: Path) -> None:
    folder = made.folder(tmp_path)
    session = made.session(folder, worker="dead", phase=Phase.TRAINING)
    session.write(folder.session_file)
    assert is_open_elsewhere(session, "worker")
    assert asyncio.run(falls_silent(folder, SystemClock(), StopRequest())) is True


@pytest.mark.guarantee("one-writer", fault="the handler of a living trainer is dead")
def test_a_trainer_that_writes_is_no_silence(tmp_path: Path) -> None:
    folder = made.folder(tmp_path)
    made.session(folder, worker="dead", phase=Phase.TRAINING).write(folder.session_file)

    async def watched() -> bool:
        task = asyncio.ensure_future(falls_silent(folder, SystemClock(), StopRequest()))
        await asyncio.sleep(0)
        with folder.trainer_output.open("a") as output:
            output.write("a line\n")
        return await task

    assert asyncio.run(watched()) is False


@pytest.mark.guarantee("one-writer", fault="a handler wakes up after its session was taken over")
def test_a_book_that_is_another_handlers_by_now_is_not_written(tmp_path: Path) -> None:
    clock = made.FakeClock()
    mine = made.book(tmp_path, clock)
    mine.write()
    other = identify().model_copy(update={"pid": 1})
    theirs = Book(mine.folder, mine.session.model_copy(update={"handler": other, "worker": "other"}), clock)
    theirs.write()
    content = mine.folder.session_file.read_bytes()
    mine.enter(Phase.TRAINING)
    assert mine.lost
    assert mine.folder.session_file.read_bytes() == content


def test_an_older_attempts_word_says_nothing(tmp_path: Path) -> None:
    folder = made.folder(tmp_path)
    Upload(worker="worker", attempt=1, claim_epoch=3).write(folder.upload_file)
    assert newest_word(folder, 1) is not None
    assert newest_word(folder, 2) is None
