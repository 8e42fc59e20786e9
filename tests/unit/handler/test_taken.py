"""The job that was taken is answered once, by whoever knows most of it, and by nobody where nobody waits."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any, cast

import pytest

from handler.stop import Stop, StopRequest
from handler.taken import answer_taken, forget, note
from shared.contract.bucket import Manifest
from shared.contract.session import Outcome, Phase
from shared.contract.taken import Taken
from shared.errors import ErrorCode
from shared.layout import taken_file
from tests.unit.handler.crew import Place, place
from tests.unit.handler.made import ending, folder, session

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from handler.lifeline import Lifeline

JOB = "job-1"
SESSION = "training_session_1"


class Line:
    """A lifeline that posts at once."""

    def __init__(self) -> None:
        self.posted: dict[str, dict[str, Any]] = {}

    async def carry(
        self, job_id: str, work: Coroutine[Any, Any, dict[str, Any]], _: StopRequest
    ) -> dict[str, Any] | None:
        self.posted[job_id] = await work
        return self.posted[job_id]


@pytest.fixture
def made(tmp_path: Path) -> Place:
    made = place(tmp_path)
    note(made.workshop.settings, JOB)
    return made


def is_noted(made: Place) -> bool:
    return taken_file(made.root, made.workshop.settings.worker).exists()


def posted(made: Place, *answered: str, stop: Stop | None = None) -> dict[str, dict[str, Any]]:
    line, asked = Line(), StopRequest()
    if stop is not None:
        asked.ask(stop)
    asyncio.run(answer_taken(made.workshop, cast("Lifeline", line), asked, answered))
    return line.posted


def left(made: Place, **changes: Any) -> None:
    found = folder(made.root, SESSION)
    known = {"job_id": JOB, "worker": made.workshop.settings.worker, "phase": Phase.CLOSED, **changes}
    session(found, **known).write(found.session_file)


def test_a_job_that_has_no_session_never_began(made: Place) -> None:
    answer = posted(made)[JOB]
    assert (answer["success"], answer["error_code"]) == (False, "interrupted")
    assert "run the job again" in answer["error"]
    assert not is_noted(made)
    assert posted(made) == {}


def test_a_job_whose_session_is_closed_is_answered_from_the_bucket(made: Place) -> None:
    left(made, bucket="outputs", prefix="run/tabby")
    manifest = Manifest(outcome=Outcome.FINISHED, complete=True, session_id=SESSION, model_name="tabby", created_at=0.0)
    made.storage.objects["outputs:run/tabby/manifest.json"] = manifest.dump()
    answer = posted(made)[JOB]
    assert (answer["success"], answer["session_id"], answer["stored_answer"]) == (True, SESSION, True)
    assert not is_noted(made)


def test_an_answer_that_was_written_down_is_given_whatever_else_is_known(made: Place) -> None:
    """As a refusal, which has no session, or an answer from a bucket that another worker has filled."""
    told = {"success": True, "session_id": "elsewhere", "links": [{"url": "https://a.test/?token=secret"}]}
    note(made.workshop.settings, JOB, told)
    assert b"secret" not in taken_file(made.root, made.workshop.settings.worker).read_bytes()
    assert posted(made) == {JOB: {"success": True, "session_id": "elsewhere", "stored_answer": True}}
    assert not is_noted(made)


@pytest.mark.parametrize("another", [False, True])
def test_a_session_without_a_manifest_of_its_own_speaks_for_itself(made: Place, another: bool) -> None:
    left(made, bucket="outputs", prefix="run/tabby", ending=ending(Outcome.FAILED, ErrorCode.NAN_LOSS, "It diverged."))
    if another:
        manifest = Manifest(outcome=Outcome.FINISHED, complete=True, session_id="b", model_name="tabby", created_at=0.0)
        made.storage.objects["outputs:run/tabby/manifest.json"] = manifest.dump()
    answer = posted(made)[JOB]
    assert (answer["error"], answer["error_code"], answer["session_id"]) == ("It diverged.", "nan_loss", SESSION)


@pytest.mark.parametrize(
    "changes",
    [{}, {"ending": ending(Outcome.CANCELLED)}],
    ids=["it has just been answered", "RunPod has cancelled it"],
)
def test_a_job_that_nobody_waits_for_is_forgotten(made: Place, changes: dict[str, Any]) -> None:
    left(made, **changes)
    assert posted(made, *([] if changes else [SESSION])) == {}
    assert not is_noted(made)


@pytest.mark.parametrize("stop", [None, Stop.INTERRUPTED])
def test_what_is_not_over_is_left_to_the_next_handler(made: Place, stop: Stop | None) -> None:
    if stop is None:
        left(made, phase=Phase.TRAINING)
    assert posted(made, stop=stop) == {}
    assert is_noted(made)


def test_only_the_job_that_was_answered_is_forgotten(made: Place) -> None:
    forget(made.workshop.settings, "another")
    assert is_noted(made)
    forget(made.workshop.settings, JOB)
    assert not is_noted(made)
    forget(made.workshop.settings)


def test_a_disk_that_refuses_is_no_trouble_yet(made: Place) -> None:
    file = taken_file(made.root, made.workshop.settings.worker)
    file.unlink()
    file.mkdir()
    note(made.workshop.settings, JOB)
    forget(made.workshop.settings)
    assert posted(made) == {}


@pytest.mark.guarantee("handler-death", fault="the file of another run on the volume cannot be read")
def test_a_session_that_cannot_be_read_keeps_no_answer_back(made: Place) -> None:
    folder(made.root, "training_session_0").session_file.mkdir()
    left(made, ending=ending(Outcome.FAILED, ErrorCode.NAN_LOSS, "It diverged."))
    assert posted(made)[JOB]["error"] == "It diverged."
    assert not is_noted(made)


def test_a_job_that_was_answered_is_not_answered_otherwise_because_the_volume_hides_its_session(made: Place) -> None:
    folder(made.root, SESSION).session_file.mkdir()
    assert posted(made, SESSION) == {}
    assert is_noted(made)


def test_a_volume_that_is_away_for_a_moment_is_asked_again(made: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.patience.PAUSE_SECONDS", 0.001)
    real, failures = Taken.read.__func__, [errno.ESTALE, errno.EIO]  # type: ignore[attr-defined]  # a classmethod's

    def stale(cls: type[Taken], path: Path) -> Taken | None:
        if failures:
            raise OSError(failures.pop(), "The volume is away")
        known: Taken | None = real(cls, path)
        return known

    monkeypatch.setattr(Taken, "read", classmethod(stale))
    assert posted(made)[JOB]["error_code"] == "interrupted"
