"""The other ways into the worker than RunPod's queue, and the way out of an idle one."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

import pytest

from tests.scenario.stack import PROJECT, Stack, end, job, stack, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Stack]:
    with stack(tmp_path) as made:
        yield made


def without_queue(worker: Stack) -> dict[str, str]:
    return {name: value for name, value in worker.environ.items() if not name.startswith("RUNPOD_WEBHOOK")}


def test_a_job_by_file_is_run_and_answered_on_the_last_line(worker: Stack, tmp_path: Path) -> None:
    worker.start("uploader", "run")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "test_input.json").write_text(json.dumps({"input": job("by_file")}))
    done = subprocess.run(
        [sys.executable, "-m", "handler"],
        cwd=folder,
        env={**without_queue(worker), "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["success"] is True, answer
    assert done.returncode == 0


@pytest.mark.parametrize("given", ["{broken", "[1]", '{"id": "1"}', '{"input": {}}'])
def test_a_broken_test_input_is_one_line_and_no_traceback(worker: Stack, given: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "handler", "--test_input", given],
        cwd=PROJECT,
        env=without_queue(worker),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["error_code"] == "invalid_input"
    assert "Traceback" not in done.stdout + done.stderr


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def ask(url: str, sent: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{url}/runsync", json.dumps({"input": sent}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/openapi.json").close()
    except URLError:
        return False
    return True


def test_the_sdks_local_server_runs_one_job_at_a_time_and_ends_at_sigterm(worker: Stack) -> None:
    worker.start("uploader", "run")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    worker.environ = without_queue(worker)
    handler = worker.start("handler", "--rp_serve_api", "--rp_api_host", "127.0.0.1", "--rp_api_port", str(port))
    until(lambda: answers(url), "the server")
    first = ask(url, job("served"))
    assert (first["status"], first["output"]["success"]) == ("COMPLETED", True)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, url, job("stopped", steps=2000, step_seconds=0.05))
        until(worker.trainers, "the second training")
        busy = ask(url, job("another"))
        assert (busy["status"], "training already" in busy["error"]) == ("FAILED", True)
        end(handler, signal.SIGTERM)
        stopped = running.result(60)
    assert (stopped["status"], "told to stop" in stopped["error"]) == ("FAILED", True)
    assert worker.trainers() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_worker_leaves_at_once(worker: Stack, number: signal.Signals) -> None:
    handler = worker.start("handler")
    until(lambda: worker.queue.polls > 0, "the first poll")
    assert end(handler, number, 15) == 0
    assert "Traceback" not in worker.log()
