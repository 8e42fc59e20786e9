"""A handler that dies costs nothing: the real SDK, a stand-in for RunPod's queue, and SIGKILL in each phase."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from local.queue.app import Loss
from local.queue.heard import Kind
from local.storage.faults import Fault
from shared.contract.session import Outcome, Phase
from shared.layout import taken_file
from tests.scenario.stack import OUTPUTS, Stack, end, job, stack, until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import psutil

    from local.queue.heard import Heard

# What tells RunPod who speaks, of what, and in which form; the rest is the HTTP library's.
FORM = ("authorization", "content-type", "charset", "x-request-id")


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Stack]:
    with stack(tmp_path) as made:
        made.environ["RUNPOD_PING_INTERVAL"] = "1000"
        yield made


@contextmanager
def frozen(processes: Iterable[psutil.Process]) -> Iterator[None]:
    """Keep processes from doing anything while the block lasts."""
    held = list(processes)
    for process in held:
        process.suspend()
    try:
        yield
    finally:
        for process in held:
            process.resume()


def begun(worker: Stack, name: str, **knobs: Any) -> tuple[subprocess.Popen[bytes], str]:
    """Start the worker with a job; return its handler and the job's id when the training is under way."""
    handler = worker.start_worker()
    job_id = worker.send(job(name, **knobs))
    until(lambda: worker.session_step() > 4 and worker.queue.heard_of(Kind.PING, job_id), worker.log)
    return handler, job_id


def killed(worker: Stack, handler: subprocess.Popen[bytes]) -> int:
    """Kill a handler, start the next, wait until nothing of the dead one is left; return how much RunPod had heard."""
    before = worker.workers("handler")
    assert len(before) == 2, "the handler and the SDK's own ping process"
    end(handler, signal.SIGKILL)
    heard = len(worker.queue.heard)
    worker.start("handler")
    until(lambda: not any(process.is_running() for process in before), "the end of the dead handler's ping process")
    return heard


def taken(worker: Stack) -> bool:
    """Return whether the handler has a job that it may not have answered."""
    return taken_file(worker.root, "test-worker").exists()


def answered(worker: Stack, job_id: str, since: int) -> list[Heard]:
    """Return what RunPod has heard since then until the result of the job came; nobody must have asked for another."""
    until(lambda: worker.queue.heard_of(Kind.RESULT, job_id), lambda: f"{worker.log()[-3000:]}\nthe result")
    heard = worker.queue.heard[since:]
    result = next(index for index, each in enumerate(heard) if each.kind is Kind.RESULT)
    assert [each for each in heard[:result] if each.kind is Kind.TAKE] == []
    return heard[: result + 1]


def interrupted(worker: Stack, name: str, read: str, reached: Callable[[], bool]) -> str:
    """Kill the handler while Storage keeps it waiting for what it reads; return the job, of which RunPod is told so."""
    held = worker.server.faults.add(Fault(method="GET", path=read, latency=60))
    handler = worker.start_worker()
    job_id = worker.send(job(name))
    until(lambda: reached() and worker.queue.heard_of(Kind.PING, job_id), worker.log)
    since = killed(worker, handler)
    worker.server.faults.clear(held)
    result = worker.result(job_id)
    assert (result["status"], result["output"]["error_code"]) == ("FAILED", "interrupted")
    assert "run the job again" in result["error"]
    answered(worker, job_id, since)
    return job_id


def wire(heard: Iterable[Heard], job_id: str) -> set[str]:
    """Return the forms in which a job was spoken of: RunPod must not be able to tell them from the SDK's."""
    about = [each for each in heard if job_id in each.jobs or each.kind is Kind.STOP]
    return {f"{each.worker} {sorted(each.query)} {_form(each)}" for each in about}


def _form(heard: Heard) -> list[str | None]:
    names = FORM if heard.kind in {Kind.PROGRESS, Kind.RESULT} else FORM[:1]
    return [heard.headers.get(name) for name in names]


@pytest.mark.guarantee("handler-death", fault="the handler is killed while it trains, and its result is cut off twice")
def test_the_next_handler_keeps_the_job_alive_and_answers_it_before_it_asks_for_another(worker: Stack) -> None:
    handler, job_id = begun(worker, "orphan", steps=16, step_seconds=0.1, keep=20)
    trainers = {process.pid for process in worker.trainers()}
    by_the_sdk = wire(worker.queue.heard, job_id)
    worker.queue.fates.extend([503, Loss.RESULT, Loss.ANSWER])
    with frozen(worker.trainers()):
        since = killed(worker, handler)
        gone = len(worker.queue.heard)
        until(lambda: {Kind.PING, Kind.STOP} <= {each.kind for each in worker.queue.heard[gone:]}, worker.log)
        assert {process.pid for process in worker.trainers()} == trainers
        assert len(worker.workers("handler")) == 1, "pings need no process of their own"
    result = worker.result(job_id)
    assert (result["status"], result["output"]["success"], result["output"]["steps"]) == ("COMPLETED", True, 16)
    heard = answered(worker, job_id, since)
    assert wire(heard, job_id) == by_the_sdk
    assert {Kind.PING, Kind.STOP, Kind.PROGRESS, Kind.RESULT} == {each.kind for each in heard}
    until(lambda: worker.queue.polls > 1, "the next question for a job")
    posted = [each.payload for each in worker.queue.heard_of(Kind.RESULT, job_id)]
    assert len(posted) == 4, "a refusal, two cut-off connections, and one that got through"
    assert [each for each in posted if each != {"output": result["output"]}] == []
    manifest = worker.manifest("run/orphan")
    assert manifest is not None
    assert (manifest.outcome, manifest.complete, manifest.progress.step) == (Outcome.FINISHED, True, 16)
    log = worker.storage.read(OUTPUTS, "run/orphan/logs/training.log") or b""
    saved = [line for line in log.splitlines() if line.startswith(b"Saved checkpoint to")]
    assert len(saved) == len(set(saved)) == 4
    until(lambda: len(worker.workers("handler")) == 2, "the SDK's one ping process")


@pytest.mark.guarantee("handler-death", fault="the handler is killed before its job has a session")
def test_a_job_whose_handler_died_before_anything_is_answered_as_interrupted(worker: Stack) -> None:
    interrupted(worker, "early", "/object/.*status.json", lambda: taken(worker))
    assert worker.session() is None
    assert not taken(worker)
    again = worker.result(worker.send(job("early", steps=4)))
    assert again["output"]["success"] is True


@pytest.mark.guarantee("handler-death", fault="the handler is killed between the end of its run and its answer")
def test_a_job_whose_handler_died_before_its_answer_was_posted_is_answered_from_the_bucket(worker: Stack) -> None:
    worker.queue.fates.append(Loss.RESULT)
    handler = worker.start_worker()
    job_id = worker.send(job("late", steps=4))
    until(lambda: worker.queue.heard_of(Kind.RESULT, job_id), worker.log)
    since = killed(worker, handler)
    result = worker.result(job_id)
    output = result["output"]
    assert (result["status"], output["success"], output["stored_answer"]) == ("COMPLETED", True, True)
    answered(worker, job_id, since)
    until(lambda: worker.queue.polls > 1, "the next question for a job")
    assert not taken(worker)


@pytest.mark.guarantee("handler-death", fault="the handler is killed while it stages the dataset")
def test_a_job_whose_handler_died_in_staging_is_answered_as_interrupted(worker: Stack) -> None:
    job_id = interrupted(worker, "staged", "/object/.*photographs/", lambda: worker.phase() is Phase.STAGING)
    assert worker.queue.queue.jobs[job_id].results == 1
    assert worker.trainers() == []


@pytest.mark.guarantee("handler-death", fault="the handler is killed while it waits for the last uploads")
def test_a_job_whose_handler_died_in_the_drain_is_answered_with_all_that_was_delivered(worker: Stack) -> None:
    handler = worker.start_worker()
    job_id = worker.send(job("drained", step_seconds=0.1))
    until(lambda: worker.session_step() > 4, worker.log)
    with frozen(worker.workers("uploader")):
        until(lambda: worker.phase() is Phase.DRAINING, worker.log)
        since = killed(worker, handler)
    result = worker.result(job_id)
    assert (result["status"], result["output"]["success"], result["output"]["missing"]) == ("COMPLETED", True, [])
    answered(worker, job_id, since)
    assert worker.queue.queue.jobs[job_id].results == 1
    manifest = worker.manifest("run/drained")
    assert manifest is not None
    assert len(manifest.files) == result["output"]["files_uploaded"] > 10


@pytest.mark.guarantee("handler-death", fault="RunPod cancels the job of a handler that was killed")
def test_a_cancelled_job_of_a_dead_handler_ends_and_is_not_answered(worker: Stack) -> None:
    handler, job_id = begun(worker, "cancelled", steps=2000, step_seconds=0.2, keep=500)
    since = killed(worker, handler)
    until(lambda: [each for each in worker.queue.heard[since:] if each.kind is Kind.STOP], "an ear for RunPod's stop")
    worker.cancel(job_id)
    until(lambda: not worker.trainers(), "the end of the trainer")
    polls = worker.queue.polls
    until(lambda: worker.queue.polls > polls, lambda: f"{worker.log()[-3000:]}\nthe next question for a job")
    manifest = worker.manifest("run/cancelled")
    assert manifest is not None
    assert (manifest.outcome, manifest.complete) == (Outcome.CANCELLED, True)
    assert worker.queue.heard_of(Kind.RESULT, job_id) == []
    session = worker.session()
    assert session is not None
    assert session.phase is Phase.CLOSED
