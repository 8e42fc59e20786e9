"""RunPod delivers at least once, cancels, stops workers and loses results: a job is trained once, and answered."""

from __future__ import annotations

import shutil
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from local.queue.app import Loss
from local.queue.heard import Kind
from local.storage.faults import Answer, Fault
from shared.contract.session import Outcome, Phase
from tests.scenario.stack import Stack, end, job, stack, until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

PREFIX = "run/pictures"
STAGING = Fault(method="GET", path="/object/.*photographs/", latency=60)
UNAVAILABLE = Answer(status=503)
# The uploader's status and documents still pass, so that the run keeps its claim.
UPLOADS = Fault(method="POST", path="/object/outputs/run/pictures/(checkpoints|samples)/", answer=UNAVAILABLE)
RESUMABLE = Fault(path="/upload/resumable", answer=UNAVAILABLE)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Stack]:
    with stack(tmp_path) as made:
        yield made


def second_worker(worker: Stack, **more: str) -> subprocess.Popen[bytes]:
    """Start another worker, with a disk of its own, on the same queue and bucket."""
    temporary = worker.folder / "second-tmp"
    temporary.mkdir(exist_ok=True)
    environ = {
        "RUNPOD_POD_ID": "second-worker",
        "TRAINING_ROOT": str(worker.folder / "second"),
        "TMPDIR": str(temporary),
    }
    return worker.start_worker(**{**environ, **more})


def trainings(worker: Stack) -> int:
    return worker.log().count("trainer_started")


def results(worker: Stack, job_id: str, count: int) -> list[dict[str, Any]]:
    """Return the answers to a job that workers have posted, once there are so many."""
    until(lambda: len(worker.queue.heard_of(Kind.RESULT, job_id)) >= count, lambda: f"{worker.log()[-3000:]}\nresults")
    payloads = [heard.payload or {} for heard in worker.queue.heard_of(Kind.RESULT, job_id)]
    return [payload["output"] for payload in payloads]


@pytest.mark.guarantee("trained-once", fault="RunPod delivers a job to two workers at once")
def test_two_workers_with_one_job_train_it_once_and_both_answer(worker: Stack) -> None:
    worker.start_worker()
    worker.send(job(steps=60, step_seconds=0.2, keep=20), "job-1")
    until(lambda: worker.session_step() > 4, worker.log)
    second_worker(worker)
    worker.send(job(steps=60, step_seconds=0.2, keep=20), "job-1")
    one, other = results(worker, "job-1", 2)
    assert (one["success"], other["success"]) == (True, True), (one, other)
    assert one["session_id"] == other["session_id"]
    assert trainings(worker) == 1
    assert len([answer for answer in (one, other) if answer.get("stored_answer")]) == 1


@pytest.mark.guarantee("one-writer", fault="RunPod delivers a job to two workers on one volume")
def test_two_workers_on_one_volume_train_a_job_once(worker: Stack) -> None:
    worker.start_worker()
    worker.send(job(steps=60, step_seconds=0.2, keep=20), "job-1")
    until(lambda: worker.session_step() > 4, worker.log)
    second_worker(worker, TRAINING_ROOT=str(worker.root))
    worker.send(job(steps=60, step_seconds=0.2, keep=20), "job-1")
    one, other = results(worker, "job-1", 2)
    assert (one["success"], other["success"]) == (True, True), (one, other)
    assert one["session_id"] == other["session_id"]
    assert trainings(worker) == 1


@pytest.mark.guarantee("resumed-training", fault="all of the worker is killed at once and its disk is gone")
def test_a_job_of_a_worker_that_vanished_goes_on_where_its_checkpoints_are(worker: Stack) -> None:
    worker.start_worker()
    slow = job(steps=40, step_seconds=0.1, keep=20)
    worker.send(slow, "job-1")
    until(lambda: worker.session_step() > 9, worker.log)
    for process in (*worker.workers("handler"), *worker.workers("uploader"), *worker.trainers()):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    shutil.rmtree(worker.root)
    # Ninety seconds of silence pass twenty times faster for this uploader.
    worker.start("tests.scenario.takeover.hasty", "run", RUNPOD_POD_ID="second-worker")
    worker.start("handler", RUNPOD_POD_ID="second-worker")
    worker.send(slow, "job-1")
    shown = worker.result("job-1")
    assert shown["status"] == "COMPLETED", shown
    assert shown["output"]["resumed_from_step"] in {4, 8, 12}
    manifest = worker.manifest(PREFIX)
    assert manifest is not None
    listed = {entry.key.rpartition("_")[2] for entry in manifest.files if "/checkpoints/" in entry.key}
    assert {f"{step:09d}.safetensors" for step in range(4, 40, 4)} <= listed


@pytest.mark.guarantee("trained-once", fault="the result is lost on its way to RunPod")
@pytest.mark.parametrize("fate", [400, Loss.RESULT])
def test_a_job_whose_result_was_lost_is_answered_from_the_bucket(worker: Stack, fate: int | Loss) -> None:
    worker.queue.fates.extend([fate])
    worker.start_worker()
    worker.send(job(), "job-1")
    [lost] = results(worker, "job-1", 1)
    assert worker.queue.queue.jobs["job-1"].results == 0
    worker.send(job(), "job-1")
    shown = worker.result("job-1")
    assert shown["status"] == "COMPLETED"
    assert shown["output"]["session_id"] == lost["session_id"]
    assert trainings(worker) == 1


@pytest.mark.guarantee("told", fault="a job that failed is delivered again")
def test_a_failed_job_is_tried_again_from_its_newest_checkpoint(worker: Stack) -> None:
    failing = job(misbehave={"kind": "error", "step": 6, "once": True})
    worker.start_worker()
    worker.send(failing, "job-1")
    failed = worker.result("job-1")
    assert (failed["status"], failed["output"]["error_code"]) == ("FAILED", "training_failed")
    worker.send(failing, "job-1")
    shown = worker.result("job-1")
    assert (shown["status"], shown["output"]["resumed_from_step"]) == ("COMPLETED", 4)


@pytest.mark.guarantee("every-wait-ends", fault="RunPod cancels a job while its dataset is staged")
def test_a_cancel_while_staging(worker: Stack) -> None:
    worker.server.faults.add(STAGING)
    worker.start_worker()
    worker.send(job(), "job-1")
    until(lambda: worker.phase() is Phase.STAGING, worker.log)
    worker.cancel("job-1")
    until(lambda: worker.phase() is Phase.CLOSED, worker.log)
    worker.server.faults.clear()
    assert worker.result(worker.send(job(), "job-2"))["status"] == "COMPLETED"


@pytest.mark.guarantee("nothing-lost", fault="RunPod cancels a job while its last files are uploaded")
def test_a_cancel_while_draining(worker: Stack) -> None:
    worker.start_worker()
    worker.send(job(step_seconds=0.1), "job-1")
    until(lambda: worker.session_step() > 0, worker.log)
    for fault in (UPLOADS, RESUMABLE):
        worker.server.faults.add(fault)
    until(lambda: worker.phase() is Phase.DRAINING, worker.log)
    worker.cancel("job-1")
    worker.server.faults.clear()
    until(lambda: worker.phase() is Phase.CLOSED, worker.log)
    manifest = until(lambda: worker.manifest(PREFIX), worker.log)
    # The training itself had ended well.
    assert (manifest.outcome, manifest.complete) == (Outcome.FINISHED, True)


@pytest.mark.guarantee("every-wait-ends", fault="the worker is told to stop while the dataset is staged")
def test_a_sigterm_while_staging(worker: Stack) -> None:
    worker.server.faults.add(STAGING)
    handler = worker.start_worker()
    worker.send(job(), "job-1")
    until(lambda: worker.phase() is Phase.STAGING, worker.log)
    assert end(handler, signal.SIGTERM) == 0
    shown = worker.result("job-1")
    assert (shown["status"], shown["output"]["error_code"]) == ("FAILED", "interrupted")


@pytest.mark.guarantee("nothing-lost", fault="the worker is told to stop while the last files are uploaded")
def test_a_sigterm_while_draining_is_made_good_by_the_next_worker_on_the_disk(worker: Stack) -> None:
    handler = worker.start_worker()
    worker.send(job(step_seconds=0.1), "job-1")
    until(lambda: worker.session_step() > 0, worker.log)
    for fault in (UPLOADS, RESUMABLE):
        worker.server.faults.add(fault)
    until(lambda: worker.phase() is Phase.DRAINING, worker.log)
    assert end(handler, signal.SIGTERM) == 0
    shown = worker.result("job-1")
    assert (shown["status"], shown["output"]["error_code"]) == ("FAILED", "upload_incomplete")
    assert shown["output"]["missing"]
    worker.server.faults.clear()
    manifest = until(lambda: worker.manifest(PREFIX), worker.log)
    assert (manifest.outcome, manifest.complete) == (Outcome.FINISHED, True)
    # Delivered again, it needs no training: the uploader has made it whole meanwhile.
    worker.start("handler")
    worker.send(job(step_seconds=0.1), "job-1")
    assert worker.result("job-1")["status"] == "COMPLETED"
    assert trainings(worker) == 1
