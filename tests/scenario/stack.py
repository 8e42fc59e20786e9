"""The whole worker on this machine: Storage and queue in this process, uploader and handler as a pod has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil
import yaml

from local.background import served
from local.queue.app import QueueApp, worker_variables
from local.storage.server import running_storage
from shared.clock import Deadline, SystemClock
from shared.contract.bucket import Manifest, Status
from shared.contract.session import Session
from shared.layout import sessions
from shared.settings import StorageSettings
from shared.storage.body import FileRange
from shared.storage.client import Storage

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator

    from local.storage.server import RunningStorage
    from shared.contract.session import Phase

PROJECT = Path(__file__).resolve().parents[2]
SAMPLE = PROJECT / "local" / "sample"
DATASETS, OUTPUTS = "datasets", "outputs"
FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
_LOOK_SECONDS = 0.05

T = TypeVar("T")


def until(condition: Callable[[], T | None], what: str | Callable[[], str], seconds: float = 90.0) -> T:
    """Return the first true value of ``condition``; fail, saying ``what``, when there is none within ``seconds``."""
    deadline, pause = Deadline(SystemClock(), seconds), threading.Event()
    while not (value := condition()):
        if deadline.passed():
            raise AssertionError(f"{what if isinstance(what, str) else what()}: not within {seconds:.0f} s")
        pause.wait(_LOOK_SECONDS)
    return value


class Stack:
    """One worker with its Storage and its queue. Processes that a test leaves running are killed at the end."""

    def __init__(self, folder: Path, storage: RunningStorage, queue: QueueApp, queue_url: str) -> None:
        self.folder = folder
        self.root = folder / "training"
        self.server = storage
        self.queue = queue
        self.queue_url = queue_url
        self.storage = Storage(StorageSettings(storage.url, storage.service_key))
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SUPABASE_", "RUNPOD_"))},
            **worker_variables(queue_url),
            "RUNPOD_POD_ID": "test-worker",
            "SUPABASE_URL": storage.url,
            "SUPABASE_SERVICE_KEY": storage.service_key,
            "TRAINING_ROOT": str(self.root),
            "AI_TOOLKIT_DIR": str(PROJECT / "local" / "trainer"),
            "AI_TOOLKIT_PYTHON": sys.executable,
            "UPLOAD_LOG_SECONDS": "1",
            "UPLOAD_POLL_SECONDS": "0.25",
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    # Processes

    def start(self, *module: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start ``python -m module…``; its output goes to a file in the test's folder."""
        log = (self.folder / f"{module[0]}-{len(self.processes)}.log").open("wb")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", *module],
                cwd=PROJECT,
                env={**self.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process

    def start_worker(self, **environ: str) -> subprocess.Popen[bytes]:
        """Start the uploader and the handler; return the handler."""
        self.start("uploader", "run", **environ)
        return self.start("handler", **environ)

    def log(self) -> str:
        """Return what all processes have printed."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def trainers(self) -> list[psutil.Process]:
        """Return every process that belongs to a trainer of this test."""
        return [
            process for process, environ in _environs() if environ.get("FERRY_SESSION", "").startswith(str(self.root))
        ]

    def workers(self, module: str | None = None) -> list[psutil.Process]:
        """Return every process of this test's worker but the trainers; with ``module`` only those that run it."""
        own = [process for process, environ in _environs() if environ.get("TRAINING_ROOT") == str(self.root)]
        return own if module is None else [process for process in own if _runs(process, module)]

    def close(self) -> None:
        """Kill what is left."""
        self.storage.close()
        left = [psutil.Process(process.pid) for process in self.processes if process.poll() is None]
        left += [child for process in left for child in process.children(recursive=True)]
        for process in {*left, *self.workers(), *self.trainers()}:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        for started in self.processes:
            started.wait()

    # Jobs

    def fill(self) -> None:
        """Make both buckets and upload the sample pictures."""
        for bucket in (DATASETS, OUTPUTS):
            self.storage.make_bucket(bucket)
        for path in sorted(path for path in (SAMPLE / "dataset").rglob("*") if path.is_file()):
            key = f"photographs/{path.relative_to(SAMPLE / 'dataset').as_posix()}"
            body = FileRange(path, 0, path.stat().st_size)
            self.storage.put(DATASETS, key, body, content_type="application/octet-stream", metadata={})

    def send(self, job: dict[str, Any], job_id: str | None = None) -> str:
        """Send a job as RunPod's client does; return its id."""
        body = json.dumps({"input": job, "id": job_id}).encode()
        request = urllib.request.Request(f"{self.queue_url}/v2/local/run", data=body, method="POST")
        with urllib.request.urlopen(request) as answer:
            return str(json.load(answer)["id"])

    def cancel(self, job_id: str) -> None:
        """Cancel a job as RunPod's client does."""
        request = urllib.request.Request(f"{self.queue_url}/v2/local/cancel/{job_id}", data=b"", method="POST")
        urllib.request.urlopen(request).close()

    def result(self, job_id: str, seconds: float = 90.0) -> dict[str, Any]:
        """Return what RunPod shows of a job once it is over."""
        job = self.queue.queue.jobs[job_id]
        until(lambda: job.status in FINAL, lambda: f"{self.log()[-3000:]}\nthe end of the job", seconds)
        return job.shown()

    def session(self) -> Session | None:
        """Return the newest session of this worker; None while there is none."""
        found = [Session.read(folder.session_file) for folder in sessions(self.root)]
        return found[-1] if found else None

    def phase(self) -> Phase | None:
        """Return where the newest session stands."""
        session = self.session()
        return None if session is None else session.phase

    def session_step(self) -> int:
        """Return the highest step that any session of this worker has reached."""
        files = self.root.glob("training_session_*/session.json")
        return max((int(json.loads(path.read_bytes())["progress"]["step"]) for path in files), default=0)

    # The bucket

    def manifest(self, prefix: str) -> Manifest | None:
        """Return the manifest at ``prefix``."""
        content = self.storage.read(OUTPUTS, f"{prefix}/manifest.json")
        return Manifest.parse(content) if content else None

    def status(self, prefix: str) -> Status | None:
        """Return ``status.json`` at ``prefix``."""
        content = self.storage.read(OUTPUTS, f"{prefix}/status.json")
        return Status.parse(content) if content else None


def job(name: str = "pictures", **knobs: Any) -> dict[str, Any]:
    """Return a quick job: 12 steps of the sample's configuration, saved and sampled at every fourth.

    ``keep`` is how many checkpoints the trainer keeps; ``arch`` tells what one consists of, and so does ``as_folder``,
    for a model that is trained as a whole. The other ``knobs`` go to the small trainer itself (``step_seconds``,
    ``misbehave`` and so on).
    """
    config = yaml.safe_load((SAMPLE / "config.yaml").read_text())
    config["config"]["name"] = name
    process = config["config"]["process"][0]
    process["ferry"] = knobs
    process["train"]["steps"] = knobs.pop("steps", 12)
    process["save"]["max_step_saves_to_keep"] = knobs.pop("keep", process["save"]["max_step_saves_to_keep"])
    if knobs.pop("as_folder", False):
        process["save"]["save_format"] = "diffusers"
        del process["network"]
    if "arch" in knobs:
        process["model"]["arch"] = knobs.pop("arch")
    process["save"]["save_every"] = process["sample"]["sample_every"] = 4
    return {
        "config": yaml.safe_dump(config),
        "dataset_config": {"bucket_name": DATASETS, "folder_path": "photographs"},
        "upload_config": {"bucket_name": OUTPUTS, "folder_path": "run"},
    }


@contextmanager
def stack(folder: Path) -> Iterator[Stack]:
    """Yield a stack with filled buckets and no process started yet."""
    queue = QueueApp()
    with running_storage(folder / "storage") as storage, served(queue.app, queue.connections.attach) as queue_url:
        made = Stack(folder, storage, queue, queue_url)
        try:
            made.fill()
            yield made
        finally:
            made.close()


def _environs() -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    for process in psutil.process_iter():
        try:
            yield process, process.environ()
        except (psutil.Error, OSError):
            continue


def _runs(process: psutil.Process, module: str) -> bool:
    try:
        line = process.cmdline()
    except psutil.Error:
        return False
    return line[1:3] == ["-m", module]


def end(process: subprocess.Popen[bytes], number: signal.Signals, seconds: float = 60.0) -> int:
    """Send a signal and return the exit code."""
    process.send_signal(number)
    return process.wait(seconds)
