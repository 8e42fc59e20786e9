"""A whole worker: queue, uploader and handler, each in its own process, and a trainer that does what it is told."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from bench.processes import PROJECT, PYTHON, FailedError, Process
from bench.product import environ_of
from shared.layout import sessions

if TYPE_CHECKING:
    from bench.task import Endpoint
    from shared.layout import SessionFolder

TOOLKIT = PROJECT / "bench" / "toolkit"
_START_SECONDS = 30.0
_LOOK_SECONDS = 0.02
_NAME = "model"


@dataclass(frozen=True, slots=True)
class Job:
    """A job that was sent; ``sent_at`` is Unix seconds."""

    id: str
    sent_at: float
    bucket: str
    prefix: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that is over: when (Unix seconds) the worker took it and its answer was there, and where its files lie."""

    taken: float
    answered: float
    output: dict[str, Any]
    session: SessionFolder

    def said(self) -> list[str]:
        """Return the lines that the trainer printed."""
        return self.session.trainer_output.read_text(errors="replace").splitlines()

    def closed(self) -> dict[str, float]:
        """Return when (Unix seconds) the trainer was done with each of its files, by path below the run's folder."""
        told = [line.removeprefix("closed ").rpartition(" ") for line in self.said() if line.startswith("closed ")]
        output = self.session.output / _NAME
        return {Path(path).relative_to(output).as_posix(): float(at) for path, _, at in told}


class Pod:
    """One worker. ``toolkit`` is what it trains with. To be closed."""

    def __init__(self, folder: Path, endpoint: Endpoint, toolkit: Path = TOOLKIT, **environ: str) -> None:
        self._processes = ExitStack()
        folder.mkdir(parents=True)
        self._processes.callback(shutil.rmtree, folder)
        queue = self._opened(Process([PYTHON, "-m", "local", "queue"], os.environ))
        queue.hear("RUNPOD_ENDPOINT_BASE_URL", _START_SECONDS)
        told = dict(_assignment(line.text) for line in queue.lines)
        self._queue = f"{told['RUNPOD_ENDPOINT_BASE_URL']}/local"
        self._root = folder / "training"
        environ = environ_of(
            endpoint,
            folder,
            **told,
            RUNPOD_POD_ID="bench-worker",
            AI_TOOLKIT_DIR=str(toolkit),
            AI_TOOLKIT_PYTHON=PYTHON,
            KEEP_SESSIONS="1",
            **environ,
        )
        self.uploader = self._opened(Process([PYTHON, "-m", "uploader", "run"], environ))
        self.handler = self._opened(Process([PYTHON, "-m", "handler"], environ))
        self.handler.event("ready", _START_SECONDS)
        self.uploader.event("ready", _START_SECONDS)

    def close(self) -> None:
        """End everything: the handler first, as the container does."""
        self._processes.close()

    def send(self, bucket: str, prefix: str, process: dict[str, Any], dataset: dict[str, str] | None = None) -> Job:
        """Send a job whose configuration has that one process, and whose results go below ``prefix``."""
        settings = {"type": "sd_trainer", "training_folder": "output", **process}
        config = {"job": "extension", "config": {"name": _NAME, "process": [settings]}}
        upload = {"bucket_name": bucket, "folder_path": prefix}
        body = {"input": {"config": config, "dataset_config": dataset, "upload_config": upload}}
        answer = httpx.post(f"{self._queue}/run", json={**body, "id": uuid.uuid4().hex}).raise_for_status()
        return Job(answer.json()["id"], time.time(), bucket, f"{prefix}/{_NAME}")

    def result(self, job: Job, seconds: float) -> Ended:
        """Return the job once it has succeeded. Raises FailedError where that was not within ``seconds``."""
        deadline = time.monotonic() + seconds
        while (shown := httpx.get(f"{self._queue}/status/{job.id}").json())["status"] in {"IN_QUEUE", "IN_PROGRESS"}:
            if time.monotonic() > deadline or self.handler.ended:
                raise FailedError(f"the job does not come to its end:\n{self.handler.tail()}\n{self.uploader.tail()}")
            time.sleep(_LOOK_SECONDS)
        if shown["status"] != "COMPLETED":
            raise FailedError(f"the job failed: {json.dumps(shown)[:2000]}\n{self.uploader.tail()}")
        taken = job.sent_at + shown["delayTime"] / 1000
        return Ended(taken, taken + shown["executionTime"] / 1000, shown["output"], self.session())

    def session(self) -> SessionFolder:
        """Return the newest session."""
        return list(sessions(self._root))[-1]

    def _opened(self, process: Process) -> Process:
        self._processes.callback(process.close)
        return process


def _assignment(line: str) -> tuple[str, str]:
    [assignment] = shlex.split(line.removeprefix("export "))
    name, _, value = assignment.partition("=")
    return name, value
