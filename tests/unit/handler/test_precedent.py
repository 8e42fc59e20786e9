from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from handler.job import Job, parse_job
from handler.precedent import Anew, Answered, Course, Earlier, GoOn, course, newest
from shared.contract.bucket import Manifest, Status
from shared.contract.session import Ending, Outcome, Phase, Session
from shared.errors import ErrorCode
from shared.layout import SessionFolder
from tests.unit.handler.crew import job as event
from tests.unit.handler.made import NOW, session


def made(job_id: str | None = "job-1", *, resume: bool | None = None, steps: int = 9) -> Job:
    delivered = event(steps)
    delivered["id"] = job_id or "local_test"
    if resume is not None:
        delivered["input"]["resume"] = resume
    return parse_job(delivered)


def earlier(outcome: Outcome | None, code: ErrorCode | None = None, *, complete: bool = True) -> Earlier:
    return Earlier("s1", ("s0",), "job-1", made().input_hash, outcome, code, complete)


GO_ON = GoOn("s1", ("s0", "s1"))
FINISHED = earlier(Outcome.FINISHED)
INTERRUPTED = earlier(Outcome.INTERRUPTED, ErrorCode.INTERRUPTED)
OTHER_INPUT = replace(INTERRUPTED, input_hash="other")

RULES: dict[str, tuple[Job, Earlier | None, Course]] = {
    "nothing was there": (made(), None, Anew()),
    "nothing was there to resume": (made(resume=True), None, Anew()),
    "a finished job delivered again": (made(), FINISHED, Answered()),
    "though it says to begin anew": (made(resume=False), FINISHED, Answered()),
    "the same input under a new id after the end": (made("job-2"), FINISHED, Anew()),
    "a local test after the end": (made(None), FINISHED, Anew()),
    "resumed after the end": (made("job-2", resume=True), FINISHED, Answered()),
    "finished and not delivered": (made("job-2"), earlier(Outcome.FINISHED, complete=False), GO_ON),
    "interrupted, delivered again": (made(), INTERRUPTED, GO_ON),
    "interrupted, under a new id": (made("job-2"), INTERRUPTED, GO_ON),
    "interrupted, by hand": (made(None), INTERRUPTED, GO_ON),
    "interrupted, to begin anew": (made(resume=False), INTERRUPTED, Anew()),
    "nobody ended it": (made(), earlier(None), GO_ON),
    "cancelled or out of time at RunPod": (made("job-2"), earlier(Outcome.CANCELLED, ErrorCode.CANCELLED), GO_ON),
    "out of time here": (made(), earlier(Outcome.FAILED, ErrorCode.TIMED_OUT), GO_ON),
    "the disk was full": (made(), earlier(Outcome.FAILED, ErrorCode.DISK_FULL), GO_ON),
    "the dataset was away": (made(), earlier(Outcome.FAILED, ErrorCode.DATASET_NOT_FOUND), GO_ON),
    "the training failed": (made(), earlier(Outcome.FAILED, ErrorCode.TRAINING_FAILED), GO_ON),
    "it failed, to begin anew": (made(resume=False), earlier(Outcome.FAILED, ErrorCode.TRAINING_FAILED), Anew()),
    "its loss was no number": (made(), earlier(Outcome.FAILED, ErrorCode.NAN_LOSS), Anew()),
    "its loss was no number, to be resumed": (made(resume=True), earlier(Outcome.FAILED, ErrorCode.NAN_LOSS), GO_ON),
    "another input": (made(), OTHER_INPUT, Anew()),
    "another input, to be resumed": (made(resume=True), OTHER_INPUT, GO_ON),
    "more steps, to be resumed": (made(steps=20, resume=True), FINISHED, GO_ON),
}


@pytest.mark.parametrize(("job", "known", "expected"), RULES.values(), ids=RULES)
def test_what_an_earlier_run_means(job: Job, known: Earlier | None, expected: Course) -> None:
    assert course(job, known) == expected


def manifest(session_id: str, at: float = NOW, **changes: object) -> Manifest:
    known = Manifest(
        outcome=Outcome.INTERRUPTED, complete=True, session_id=session_id, model_name="cats", created_at=at
    )
    return known.model_copy(update=changes)


def status(session_id: str) -> Status:
    return Status(session_id=session_id, worker="w", epoch=1, counter=1, at=NOW, phase=Phase.TRAINING)


def test_the_manifest_is_the_last_word_in_the_bucket() -> None:
    found = newest(manifest("s1"), status("s1"), None, delivered=False)
    assert found is not None
    assert found.outcome is Outcome.INTERRUPTED


def test_a_status_alone_is_of_a_run_that_nobody_ended() -> None:
    found = newest(None, status("s2"), None, delivered=False)
    assert found is not None
    assert (found.session_id, found.outcome) == ("s2", None)


def test_nothing_is_nothing() -> None:
    assert newest(None, None, None, delivered=False) is None


def local(folder: SessionFolder, at: float = NOW, outcome: Outcome | None = None) -> Session:
    ended = None if outcome is None else Ending(outcome=outcome, by_itself=True, at=at)
    phase = Phase.TRAINING if outcome is None else Phase.CLOSED
    return session(folder, created_at=at, ending=ended, phase=phase)


def test_a_younger_session_on_the_volume_counts_more_than_the_bucket() -> None:
    here = local(SessionFolder(Path("/volume/s2")), NOW + 60, Outcome.INTERRUPTED)
    found = newest(manifest("s1"), status("s1"), here, delivered=False)
    assert found is not None
    assert (found.session_id, found.complete) == ("s2", False)


def test_an_older_session_on_the_volume_counts_less_than_the_bucket() -> None:
    here = local(SessionFolder(Path("/volume/s0")), NOW - 60, Outcome.FINISHED)
    found = newest(manifest("s1"), status("s1"), here, delivered=True)
    assert found is not None
    assert found.session_id == "s1"


def test_a_session_that_was_begun_again_is_not_what_its_manifest_says() -> None:
    here = local(SessionFolder(Path("/volume/s1")))
    found = newest(manifest("s1"), status("s1"), here, delivered=False)
    assert found is not None
    assert found.outcome is None
