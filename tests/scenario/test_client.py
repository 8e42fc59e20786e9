"""The client as a person runs it: against the SDK's own server, and against the stand-in for RunPod's queue."""

from __future__ import annotations

import hashlib
import json
import signal
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from shared.contract.bucket import Manifest
from tests.scenario.stack import OUTPUTS, Stack, end, job, stack, until
from tests.scenario.test_ways_in import free_port, without_queue

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Stack]:
    with stack(tmp_path) as made:
        yield made


def is_there(url: str) -> bool:
    try:
        urlopen(f"{url}/health").close()
    except HTTPError:
        return True
    except URLError:
        return False
    return True


def served_by_the_sdk(worker: Stack) -> str:
    """Start the uploader and the SDK's own server; return its address."""
    worker.environ = without_queue(worker)
    port = free_port()
    worker.start("uploader", "run")
    worker.start("handler", "--rp_serve_api", "--rp_api_host", "127.0.0.1", "--rp_api_port", str(port))
    url = f"http://127.0.0.1:{port}"
    until(lambda: is_there(url), "the server")
    return url


def submitted(worker: Stack, address: str, sent: dict[str, Any], *more: str) -> subprocess.Popen[bytes]:
    """Send a job as a person does; what is printed goes to the process's own log."""
    file = worker.folder / "job.json"
    file.write_text(json.dumps({"input": sent}))
    return worker.start("examples.submit", str(file), "--endpoint", address, "--to", str(worker.folder / "out"), *more)


def said(worker: Stack) -> str:
    """Return what the newest client has printed."""
    logs = sorted(worker.folder.glob("examples.submit-*.log"), key=lambda path: path.stat().st_mtime)
    return logs[-1].read_text()


def fetched(worker: Stack, name: str) -> Manifest:
    """Return the manifest that was fetched; fail where a file is not what it says, or one is too many."""
    folder = worker.folder / "out"
    manifest = Manifest.parse((folder / "manifest.json").read_bytes())
    assert manifest == worker.manifest(f"run/{name}")
    assert manifest is not None
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    there.pop("manifest.json")
    digests = {path: hashlib.sha256(file.read_bytes()).hexdigest() for path, file in there.items()}
    assert digests == {entry.key.removeprefix(f"run/{name}/"): entry.sha256 for entry in manifest.files}
    return manifest


def test_against_the_sdks_server_the_bucket_shows_the_progress(worker: Stack) -> None:
    client = submitted(worker, served_by_the_sdk(worker), job("served", steps=60, step_seconds=0.1))
    assert client.wait(120) == 0, said(worker)
    lines = said(worker).splitlines()
    assert lines[0].endswith("its results go to outputs/run/served.")
    assert any("/60, loss " in line for line in lines), lines
    assert any(line.startswith("The training has finished: 60 steps") for line in lines)
    assert fetched(worker, "served").complete


def test_a_refused_job_says_what_is_wrong_and_is_not_sent_again(worker: Stack) -> None:
    client = submitted(worker, served_by_the_sdk(worker), {**job("refused"), "resum": True, "config": "a: ["})
    assert client.wait(60) == 2
    assert "holds a configuration that is no YAML" in said(worker)
    wrong = {**job("refused"), "dataset_config": {"bucket_name": "nowhere", "folder_path": "x"}}
    client = submitted(worker, worker_address(worker), wrong)
    assert client.wait(60) == 1
    assert "nowhere" in said(worker)
    assert said(worker).count("Sent ") == 1


def worker_address(worker: Stack) -> str:
    """Return the address of the server that runs."""
    [handler] = worker.workers("handler")
    arguments = handler.cmdline()
    return f"http://127.0.0.1:{arguments[arguments.index('--rp_api_port') + 1]}"


def test_through_the_queue_what_was_interrupted_goes_on(worker: Stack) -> None:
    handler = worker.start_worker()
    address = f"{worker.queue_url}/v2/local"
    client = submitted(worker, address, job("again", steps=120, step_seconds=0.1))
    until(lambda: worker.session_step() > 20, worker.log)
    assert end(handler, signal.SIGTERM) == 0
    worker.start("handler")
    assert client.wait(120) == 0, said(worker)
    assert "Sent again as job" in said(worker)
    assert len(worker.queue.queue.jobs) == 2
    manifest = fetched(worker, "again")
    assert (manifest.resumed_step or 0) > 0
    assert manifest.progress.step == 120


def test_a_client_that_is_left_finds_its_job_again(worker: Stack) -> None:
    worker.start_worker()
    address = f"{worker.queue_url}/v2/local"
    sent = job("left", steps=80, step_seconds=0.1)
    client = submitted(worker, address, sent)
    until(worker.trainers, worker.log)
    assert end(client, signal.SIGINT, 20) == 130
    [job_id] = worker.queue.queue.jobs
    assert f"--follow {job_id}" in said(worker)
    client = submitted(worker, address, sent, "--follow", job_id)
    assert client.wait(120) == 0, said(worker)
    assert list(worker.queue.queue.jobs) == [job_id]
    assert fetched(worker, "left").job_id == job_id


def test_where_the_results_are_is_where_the_client_looks(worker: Stack) -> None:
    worker.start_worker()
    sent = {**job("Größe 1"), "upload_config": {"bucket_name": OUTPUTS, "folder_path": "/a b/ü/"}}
    client = submitted(worker, f"{worker.queue_url}/v2/local", sent)
    assert client.wait(120) == 0, said(worker)
    assert (worker.folder / "out/manifest.json").is_file()


def batched(worker: Stack, *names: str) -> subprocess.Popen[bytes]:
    """Run the batch of these trainings, which are written into its folder if they are not there."""
    folder = worker.folder / "batch"
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.json").write_text(json.dumps({"input": job(name, steps=20, step_seconds=0.1)}))
    results = str(worker.folder / "results")
    return worker.start("examples.batch", str(folder), "--endpoint", f"{worker.queue_url}/v2/local", "--to", results)


def test_a_batch_that_is_killed_goes_on_and_sends_nothing_twice(worker: Stack) -> None:
    worker.start_worker()
    names = ("one", "three", "two")
    client = batched(worker, *names)
    until(lambda: worker.manifest("run/one") is not None and worker.trainers(), worker.log)
    end(client, signal.SIGKILL)
    client = batched(worker)
    assert client.wait(150) == 0, worker.log()[-3000:]
    assert len(worker.queue.queue.jobs) == len(names)
    for name in names:
        there = Manifest.parse((worker.folder / "results" / name / "manifest.json").read_bytes())
        assert there == worker.manifest(f"run/{name}")
    assert batched(worker).wait(60) == 0
    assert len(worker.queue.queue.jobs) == len(names)
