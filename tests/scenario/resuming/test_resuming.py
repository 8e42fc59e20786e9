"""Interrupted trainings go on: on a fresh worker from the bucket alone, and where their folder still is."""

from __future__ import annotations

import hashlib
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

from local.storage.faults import Answer, Fault
from shared import folders
from shared.contract.session import Outcome, Session
from shared.layout import sessions
from shared.storage.body import BytesBody
from tests.scenario.stack import OUTPUTS, Stack, end, job, stack, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREFIX = "run/pictures"
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
# Long enough to be interrupted, and soon over afterwards.
JOB: dict[str, Any] = {"steps": 40, "step_seconds": 0.1, "keep": 20}


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Stack]:
    with stack(tmp_path) as made:
        yield made


def interrupt(worker: Stack, job_id: str | None = None, **more: Any) -> None:
    """Run a job, and end the worker by SIGTERM once two checkpoints are in the bucket."""
    handler = worker.start_worker()
    sent = worker.send({**job(**JOB), **more}, job_id)
    until(lambda: worker.session_step() > 9, "training")
    assert end(handler, signal.SIGTERM) == 0
    assert worker.result(sent)["output"]["error_code"] == "interrupted"
    end(worker.processes[-2], signal.SIGTERM)


def lose_the_disk(worker: Stack) -> None:
    shutil.rmtree(worker.root)


def compared(worker: Stack) -> set[str]:
    """Compare every object that the manifest lists, byte for byte; return their keys below the prefix."""
    manifest = worker.manifest(PREFIX)
    assert manifest is not None
    assert (manifest.outcome, manifest.complete, manifest.missing) == (Outcome.FINISHED, True, ())
    for entry in manifest.files:
        with worker.storage.open(OUTPUTS, entry.key) as download:
            content = b"".join(download.blocks())
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry.size, entry.sha256), entry.key
    return {entry.key.removeprefix(f"{PREFIX}/") for entry in manifest.files}


def received(worker: Stack, key: str) -> int:
    return worker.server.stats.received_for(OUTPUTS, f"{PREFIX}/{key}")


def checkpoint(step: int) -> str:
    return f"checkpoints/pictures_{step:09d}.safetensors"


@pytest.mark.guarantee("resumed-training", fault="the worker and its disk are gone")
def test_the_same_input_goes_on_from_the_bucket_alone_on_a_worker_with_an_empty_disk(worker: Stack) -> None:
    interrupt(worker)
    [before] = sessions(worker.root)
    lose_the_disk(worker)
    sent_before = {step: received(worker, checkpoint(step)) for step in (4, 8, 12)}
    worker.start_worker(RUNPOD_POD_ID="another-worker")
    result = worker.result(worker.send(job(**JOB)))
    assert result["status"] == "COMPLETED", result
    resumed = result["output"]["resumed_from_step"]
    assert resumed in {4, 8, 12}
    assert (result["output"]["steps"], result["output"]["total_steps"]) == (40, 40)
    keys = compared(worker)
    assert {checkpoint(step) for step in range(4, 40, 4)} <= keys
    assert "checkpoints/pictures.safetensors" in keys
    for step in (4, resumed):
        # Nothing that was restored, or that only lies there, has been sent again.
        assert received(worker, checkpoint(step)) == sent_before[step]
    manifest = worker.manifest(PREFIX)
    assert manifest is not None
    assert manifest.lineage == (before.session_id,)
    log = worker.storage.read(OUTPUTS, f"{PREFIX}/logs/training.log")
    assert log is not None
    assert log.count(b"#### IMPORTANT RESUMING FROM") == 1
    assert log.count(b"# Running job") == 2


@pytest.mark.guarantee("resumed-training", fault="the newest checkpoint in the bucket is damaged")
def test_a_damaged_checkpoint_is_passed_over_and_made_again(worker: Stack) -> None:
    interrupt(worker)
    lose_the_disk(worker)
    manifest = worker.manifest(PREFIX)
    assert manifest is not None
    newest = max(entry.key for entry in manifest.files if entry.key.endswith(".safetensors"))
    record = worker.storage.info(OUTPUTS, newest)
    assert record is not None
    body = BytesBody(bytes(record.size))
    worker.storage.put(OUTPUTS, newest, body, content_type="application/octet-stream", metadata=record.metadata)
    worker.start_worker(RUNPOD_POD_ID="another-worker")
    answer = worker.result(worker.send(job(**JOB)))["output"]
    assert answer["success"] is True, answer
    assert checkpoint(answer["resumed_from_step"]) < newest.removeprefix(f"{PREFIX}/")
    assert any(newest in warning and "damaged" in warning for warning in answer["warnings"])
    assert newest.removeprefix(f"{PREFIX}/") in compared(worker)
    command = ("uploader", "verify", "--deep", "--bucket", OUTPUTS, "--prefix", PREFIX)
    assert worker.start(*command).wait(60) == 0, worker.log()[-2000:]


@pytest.mark.guarantee(
    "resumed-training", fault="Storage refuses the weights of the newest checkpoint's folder for good"
)
def test_a_folder_without_its_weights_is_passed_over_and_the_one_before_it_is_whole(worker: Stack) -> None:
    later = r"/object/outputs/run/pictures/checkpoints/pictures_0000000(08|1.|2.|3.)/transformer/.*\.safetensors"
    number = worker.server.faults.add(Fault(method="POST", path=later, answer=Answer(status=413)))
    whole = job(as_folder=True, **JOB)
    interrupt(worker, config=whole["config"])
    assert worker.server.faults.hits(number)
    manifest = worker.manifest(PREFIX)
    assert manifest is not None
    missing = {entry.path for entry in manifest.missing}
    assert {f"pictures/pictures_000000008/{part}" for part in (WEIGHTS, folders.LAST)} <= missing
    lose_the_disk(worker)
    worker.server.faults.clear()
    worker.start_worker(RUNPOD_POD_ID="another-worker")
    answer = worker.result(worker.send(whole))["output"]
    assert answer["success"] is True, answer
    assert answer["resumed_from_step"] == 4
    parts = {f"checkpoints/pictures_{step:09d}/{part}" for step in range(4, 40, 4) for part in (WEIGHTS, folders.LAST)}
    assert parts <= compared(worker)


@pytest.mark.guarantee("resumed-training", fault="the worker is ended and starts again on its volume")
def test_a_run_whose_folder_is_still_there_goes_on_in_it(worker: Stack) -> None:
    interrupt(worker, "job-1")
    [folder] = sessions(worker.root)
    worker.start_worker()
    answer = worker.result(worker.send(job(**JOB), "job-2"))["output"]
    assert answer["success"] is True, answer
    assert answer["resumed_from_step"] in {8, 12}
    assert [found.path for found in sessions(worker.root)] == [folder.path]
    session = Session.read(folder.session_file)
    assert session is not None
    assert (session.attempt, session.job_id, session.lineage) == (2, "job-2", ())
    assert {checkpoint(step) for step in range(4, 40, 4)} <= compared(worker)


@pytest.mark.guarantee("trained-once", fault="RunPod delivers a finished job again")
def test_a_finished_job_is_answered_from_the_bucket_when_it_comes_again(worker: Stack) -> None:
    worker.start_worker()
    first = worker.result(worker.send(job(), "job-1"))["output"]
    lines = worker.log().count("trainer_started")
    again = worker.result(worker.send(job(), "job-1"))["output"]
    assert again["success"] is True
    same = ("message", "session_id", "model_name", "upload_folder", "output_path", "steps", "checkpoints", "manifest")
    assert {name: again[name] for name in same} == {name: first[name] for name in same}
    assert worker.log().count("trainer_started") == lines == 1


def test_resume_false_begins_at_the_beginning_and_keeps_the_old_manifest(worker: Stack) -> None:
    interrupt(worker)
    [before] = sessions(worker.root)
    worker.start_worker()
    answer = worker.result(worker.send({**job(**JOB), "resume": False}))["output"]
    assert answer["success"] is True, answer
    assert "resumed_from_step" not in answer
    old = worker.storage.read(OUTPUTS, f"{PREFIX}/manifests/{before.session_id}.json")
    assert old is not None
    assert answer["session_id"].encode() in old
    assert compared(worker)
