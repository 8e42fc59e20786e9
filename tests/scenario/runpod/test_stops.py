"""RunPod stops a worker, or cancels its job, in every phase from the job's arrival to the middle of a save."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

from local.queue.heard import Kind
from local.storage.faults import Fault
from shared.contract.session import Phase
from tests.scenario.stack import Stack, end, job, stack, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREFIX = "run/pictures"
LONG = 600.0
# What the worker is waiting for when it happens.
WAITS = {
    "the look at an earlier run": Fault(
        method="GET", path="/object/authenticated/outputs/run/pictures/status", latency=LONG
    ),
    "the preflight": Fault(method="GET", path="/bucket/", latency=LONG),
    "the claim": Fault(method="POST", path="/object/move", latency=LONG),
}
RESTORING = Fault(method="GET", path="/object/authenticated/outputs/run/pictures/checkpoints/", latency=LONG)
FAILING: dict[str, Any] = {"misbehave": {"kind": "error", "step": 6, "once": True}}


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Stack]:
    with stack(tmp_path) as made:
        yield made


def held(worker: Stack, fault: Fault, wanted: dict[str, Any], job_id: str) -> None:
    """Send a job and return when it waits for an exchange that does not end."""
    number = worker.server.faults.add(fault)
    worker.send(wanted, job_id)
    until(lambda: worker.server.faults.hits(number), worker.log)


def goes_on(worker: Stack, wanted: dict[str, Any]) -> dict[str, Any]:
    """Deliver the job once more, to a new handler, with nothing in the way; return what RunPod shows of it."""
    worker.server.faults.clear()
    worker.start("handler")
    return worker.result(worker.send(wanted, "job-1"))


@pytest.mark.guarantee("every-wait-ends", fault="the worker is told to stop at any moment before the training")
@pytest.mark.parametrize("wait", WAITS)
def test_a_sigterm_before_the_training_is_answered_at_once_and_the_job_runs_elsewhere(worker: Stack, wait: str) -> None:
    handler = worker.start_worker()
    held(worker, WAITS[wait], job(), "job-1")
    assert end(handler, signal.SIGTERM) == 0
    shown = worker.result("job-1")
    assert (shown["status"], shown["output"]["error_code"]) == ("FAILED", "interrupted"), shown
    assert goes_on(worker, job())["status"] == "COMPLETED"


@pytest.mark.guarantee("every-wait-ends", fault="RunPod cancels a job at any moment before the training")
@pytest.mark.parametrize("wait", WAITS)
def test_a_cancel_before_the_training_frees_the_worker(worker: Stack, wait: str) -> None:
    worker.start_worker()
    held(worker, WAITS[wait], job(), "job-1")
    worker.cancel("job-1")
    until(lambda: worker.queue.queue.jobs["job-1"].status == "CANCELLED", worker.log)
    worker.server.faults.clear()
    assert worker.result(worker.send(job("other"), "job-2"))["status"] == "COMPLETED"
    assert worker.trainers() == []


@pytest.mark.guarantee("resumed-training", fault="the worker is told to stop while it restores a checkpoint")
def test_a_sigterm_while_a_checkpoint_is_restored_leaves_it_to_the_next_worker(worker: Stack) -> None:
    handler = worker.start_worker()
    worker.send(job(**FAILING), "job-1")
    assert worker.result("job-1")["status"] == "FAILED"
    assert end(handler, signal.SIGTERM) == 0
    shutil.rmtree(worker.root / worker.session().session_id)  # type: ignore[union-attr]  # there is one
    handler = worker.start("handler")
    held(worker, RESTORING, job(**FAILING), "job-1")
    assert end(handler, signal.SIGTERM) == 0
    shown = worker.result("job-1")
    assert (shown["status"], shown["output"]["error_code"]) == ("FAILED", "interrupted"), shown
    shown = goes_on(worker, job(**FAILING))
    assert (shown["status"], shown["output"].get("resumed_from_step")) == ("COMPLETED", 4), shown


@pytest.mark.guarantee("every-wait-ends", fault="the worker is told to stop while the model is loaded, for ever")
def test_a_sigterm_while_the_model_is_loaded_ends_the_trainer(worker: Stack) -> None:
    handler = worker.start_worker()
    worker.send(job(misbehave={"kind": "hang"}), "job-1")
    until(lambda: worker.phase() is Phase.LOADING, worker.log)
    assert end(handler, signal.SIGTERM) == 0
    assert worker.result("job-1")["output"]["error_code"] == "interrupted"
    assert worker.trainers() == []


@pytest.mark.guarantee(
    "resumed-training", fault="the worker is told to stop in the middle of a checkpoint, or of pictures"
)
@pytest.mark.parametrize(
    ("phase", "slow", "arch", "files"),
    [
        (Phase.SAVING, {"write_seconds": 4, "writes": "growing"}, "", 1),
        (Phase.SAVING, {"write_seconds": 4, "writes": "preallocated"}, "wan22_14b", 2),
        (Phase.SAMPLING, {"sample_seconds": 3}, "", 1),
    ],
    ids=["growing", "preallocated halves", "pictures"],
)
def test_a_sigterm_in_the_middle_of_a_save_leaves_nothing_half_to_go_on_with(
    worker: Stack, phase: Phase, slow: dict[str, Any], arch: str, files: int
) -> None:
    handler = worker.start_worker()
    worker.send(job(arch=arch, **slow), "job-1")
    until(lambda: worker.session_step() > 0 and worker.phase() is phase, worker.log)
    assert end(handler, signal.SIGTERM) == 0
    assert worker.result("job-1")["output"]["error_code"] == "interrupted"
    manifest = until(lambda: worker.manifest(PREFIX), worker.log)
    assert manifest.complete
    whole = [entry.key for entry in manifest.files if "/checkpoints/pictures" in entry.key]
    shutil.rmtree(worker.root / worker.session().session_id)  # type: ignore[union-attr]  # there is one
    shown = goes_on(worker, {**job(arch=arch), "resume": True})
    assert shown["status"] == "COMPLETED", shown
    assert shown["output"].get("resumed_from_step") == (4 if len(whole) == files else None)


@pytest.mark.guarantee("trained-once", fault="a worker that follows a job elsewhere is told to stop")
def test_a_sigterm_while_following_leaves_the_training_alone(worker: Stack) -> None:
    worker.start_worker()
    slow = job(steps=90, step_seconds=0.2, keep=20)
    worker.send(slow, "job-1")
    until(lambda: any(worker.root.glob("training_session_*")), worker.log)
    # It takes its seconds to start; the job comes to it when the training has begun.
    temporary = worker.folder / "second-tmp"
    temporary.mkdir()
    second = {
        "RUNPOD_POD_ID": "second-worker",
        "TRAINING_ROOT": str(worker.folder / "second"),
        "TMPDIR": str(temporary),
    }
    follower = worker.start_worker(**second)
    until(lambda: worker.session_step() > 4, worker.log)
    worker.send(slow, "job-1")
    until(lambda: "job_followed" in worker.log(), worker.log)
    assert end(follower, signal.SIGTERM) == 0
    until(lambda: len(worker.queue.heard_of(Kind.RESULT, "job-1")) == 2, worker.log)
    answers = [(heard.payload or {})["output"] for heard in worker.queue.heard_of(Kind.RESULT, "job-1")]
    assert [answer.get("error_code") for answer in answers] == ["interrupted", None]
    assert worker.log().count("trainer_started") == 1
