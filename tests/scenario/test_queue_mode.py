"""The worker in queue mode: the real SDK, a stand-in for RunPod's queue, a real trainer."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from shared.contract.session import Outcome
from tests.scenario.stack import DATASETS, OUTPUTS, PROJECT, Stack, end, job, stack, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLOW: dict[str, Any] = {"steps": 2000, "step_seconds": 0.05}


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Stack]:
    with stack(tmp_path) as made:
        yield made


def compared(worker: Stack, prefix: str) -> int:
    """Compare every object that the manifest lists, byte for byte; return how many there are."""
    manifest = worker.manifest(prefix)
    assert manifest is not None
    for entry in manifest.files:
        with worker.storage.open(OUTPUTS, entry.key) as download:
            content = b"".join(download.blocks())
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry.size, entry.sha256), entry.key
    return len(manifest.files)


def test_two_jobs_one_after_the_other_both_come_out_right(worker: Stack) -> None:
    worker.start_worker()
    first, second = worker.send(job("first")), worker.send(job("second"))
    for job_id, name in ((first, "first"), (second, "second")):
        result = worker.result(job_id)
        answer = result["output"]
        assert result["status"] == "COMPLETED", result
        assert answer["success"] is True
        assert answer["message"] == "Training completed successfully"
        assert (answer["model_name"], answer["upload_folder"]) == (name, f"run/{name}")
        assert answer["steps"] == 12
        assert f"run/{name}/checkpoints/{name}.safetensors" in answer["checkpoints"]
        manifest = worker.manifest(f"run/{name}")
        assert manifest is not None
        assert (manifest.outcome, manifest.complete, manifest.job_id) == (Outcome.FINISHED, True, job_id)
        assert compared(worker, f"run/{name}") == answer["files_uploaded"] > 10
    assert worker.trainers() == []


def test_a_bad_job_fails_with_its_reason(worker: Stack) -> None:
    worker.start_worker()
    broken = {**job(), "config": "config: [unclosed", "upload_config": {"bucket_name": OUTPUTS}}
    result = worker.result(worker.send(broken))
    assert result["status"] == "FAILED"
    assert "upload_config.folder_path is missing" in result["error"]
    assert "line 1" in result["error"]
    assert "Traceback" not in worker.log()


def test_a_cancelled_jobs_trainer_is_gone_and_the_worker_takes_the_next(worker: Stack) -> None:
    worker.start_worker()
    cancelled = worker.send(job("cancelled", **SLOW))
    until(lambda: worker.session_step() > 4, "training")
    worker.cancel(cancelled)
    until(lambda: not worker.trainers(), "the end of the trainer", 15)
    manifest = until(lambda: worker.manifest("run/cancelled"), "the manifest")
    assert manifest.outcome is Outcome.CANCELLED
    assert any(entry.key.endswith("_000000004.safetensors") for entry in manifest.files)
    assert worker.result(worker.send(job("next")))["status"] == "COMPLETED"


def test_sigterm_in_mid_training_ends_with_a_drained_bucket_and_an_honest_answer(worker: Stack) -> None:
    handler = worker.start_worker()
    job_id = worker.send(job("stopped", **SLOW))
    until(lambda: worker.session_step() > 4, "training")
    assert end(handler, signal.SIGTERM) == 0
    assert worker.trainers() == []
    result = worker.result(job_id)
    assert (result["status"], result["output"]["error_code"]) == ("FAILED", "interrupted")
    assert result["output"]["missing"] == []
    manifest = worker.manifest("run/stopped")
    assert manifest is not None
    assert (manifest.outcome, manifest.complete) == (Outcome.INTERRUPTED, True)
    assert compared(worker, "run/stopped") > 0


def test_a_prefix_that_another_run_writes_to_is_refused(worker: Stack, tmp_path: Path) -> None:
    worker.start_worker()
    worker.send(job("shared", **SLOW))
    until(lambda: worker.session_step() > 0, "training")
    other = {"RUNPOD_POD_ID": "other-worker", "TRAINING_ROOT": str(tmp_path / "other")}
    worker.start("uploader", "run", **other)
    answer = answer_of_test_input(worker, job("shared"), **other)
    assert answer["error_code"] == "prefix_in_use"
    assert f"{OUTPUTS}/run/shared" in answer["error"]


def answer_of_test_input(worker: Stack, sent: dict[str, Any], **environ: str) -> dict[str, Any]:
    """Run a job by ``--test_input``; the answer is the last line on stdout, and the exit code says success."""
    local = {name: value for name, value in worker.environ.items() if not name.startswith("RUNPOD_WEBHOOK")}
    done = subprocess.run(
        [sys.executable, "-m", "handler", "--test_input", json.dumps({"input": sent})],
        cwd=PROJECT,
        env={**local, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    # The trainer's own may stand in its output; neither the handler nor the answer shows one.
    assert "Traceback" not in done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert "Traceback" not in str(answer.get("error"))
    assert done.returncode == (0 if answer["success"] else 1)
    return answer


def test_a_job_by_test_input_is_answered_on_the_last_line(worker: Stack) -> None:
    worker.start("uploader", "run")
    answer = answer_of_test_input(worker, job("by_hand"))
    assert answer["success"] is True, answer


@pytest.mark.parametrize(
    ("knobs", "environ", "code", "words"),
    [
        ({"misbehave": {"kind": "error", "step": 6}}, {}, "training_failed", "illegal memory access"),
        ({"misbehave": {"kind": "signal", "step": 6, "signal": 11}}, {}, "training_failed", "SIGSEGV"),
        ({"misbehave": {"kind": "exit", "step": 6}}, {}, "no_checkpoint", "pictures.safetensors"),
        ({"misbehave": {"kind": "oom", "step": 6}}, {}, "gpu_out_of_memory", "batch_size"),
        ({"misbehave": {"kind": "nan", "step": 6}}, {}, "nan_loss", "not a number"),
        ({"misbehave": {"kind": "hang", "step": 6}}, {"TRAINING_STALL_SECONDS": "8"}, "stalled", "Nothing moved"),
        (SLOW, {"TRAINING_MAX_SECONDS": "6"}, "timed_out", "TRAINING_MAX_SECONDS"),
    ],
    ids=["exit 1", "signal", "no checkpoint", "out of memory", "nan", "hang", "too long"],
)
def test_a_training_that_goes_wrong_is_told_in_a_sentence_and_what_exists_is_delivered(
    worker: Stack, knobs: dict[str, Any], environ: dict[str, str], code: str, words: str
) -> None:
    worker.start("uploader", "run")
    answer = answer_of_test_input(worker, job("pictures", **knobs), **environ)
    assert answer["error_code"] == code, answer
    assert words in str(answer["error"])
    assert answer["log_tail"]
    assert answer["missing"] == []
    manifest = worker.manifest("run/pictures")
    assert manifest is not None
    assert manifest.outcome is Outcome.FAILED
    assert any(entry.path.endswith("_000000004.safetensors") for entry in manifest.files)
    assert worker.trainers() == []


@pytest.mark.parametrize(
    ("change", "environ", "code", "words"),
    [
        ({"upload_config": {"bucket_name": "nowhere", "folder_path": ""}}, {}, "bucket_not_found", "nowhere"),
        ({"dataset_config": {"bucket_name": DATASETS, "folder_path": "empty"}}, {}, "dataset_not_found", "photographs"),
        ({}, {"AI_TOOLKIT_DIR": "/nonexistent"}, "toolkit_not_found", "/nonexistent"),
        ({}, {"SUPABASE_SERVICE_KEY": "not.a.key"}, "storage_denied", "SUPABASE_SERVICE_KEY"),
    ],
    ids=["no bucket", "no dataset", "no toolkit", "wrong key"],
)
def test_what_is_missing_is_told_before_anything_is_trained(
    worker: Stack, change: dict[str, Any], environ: dict[str, str], code: str, words: str
) -> None:
    worker.start("uploader", "run")
    answer = answer_of_test_input(worker, {**job(), **change}, **environ)
    assert answer["error_code"] == code, answer
    assert words in str(answer["error"])
    assert worker.trainers() == []
