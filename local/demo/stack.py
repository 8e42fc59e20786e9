"""The processes of the demo, started in order and ended in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from local.queue.app import worker_variables
from shared.settings import StorageSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROJECT = Path(__file__).resolve().parents[2]
_STOP_SECONDS = 90.0


@contextmanager
def storage_server(root: Path, log: Path) -> Iterator[StorageSettings]:
    """Run the embedded Storage in a process of its own; yields where it is and its key."""
    command = [sys.executable, "-m", "local", "storage", "--port", "0", "--root", str(root)]
    with log.open("ab") as output, _running(command, output, os.environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
        exported = dict(_exported(process.stdout.readline().decode()) for _ in range(2))
        if "SUPABASE_SERVICE_KEY" not in exported:
            raise RuntimeError(f"The embedded Storage did not start; see {log}.")
        yield StorageSettings(url=exported["SUPABASE_URL"], key=exported["SUPABASE_SERVICE_KEY"])


@contextmanager
def worker(folder: Path, storage: StorageSettings, queue_url: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run supervisord with the project's own configuration below ``folder``, as the container would."""
    supervisord = Path(sys.executable).with_name("supervisord")
    command = [str(supervisord), "-c", str(PROJECT / "supervisord.conf")]
    with log.open("ab") as output, _running(command, output, _environment(folder, storage, queue_url)) as process:
        yield process


def _environment(folder: Path, storage: StorageSettings, queue_url: str) -> dict[str, str]:
    run = folder / "run"
    run.mkdir(parents=True, exist_ok=True)
    return {
        **os.environ,
        **worker_variables(queue_url),
        "RUNPOD_POD_ID": "demo-worker",
        "SUPABASE_URL": storage.url,
        "SUPABASE_SERVICE_KEY": storage.key,
        "TRAINING_ROOT": str(folder / "training"),
        "AI_TOOLKIT_DIR": str(PROJECT / "local" / "trainer"),
        "AI_TOOLKIT_PYTHON": sys.executable,
        "UPLOAD_LOG_SECONDS": "2",
        "FERRY_PYTHON": sys.executable,
        "FERRY_HOME": str(PROJECT),
        "FERRY_RUN": str(run),
    }


@contextmanager
def _running(
    command: list[str], log: IO[bytes], environ: Mapping[str, str], stdout: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command,
        cwd=PROJECT,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=log if stdout is None else stdout,
        stderr=log,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _exported(line: str) -> tuple[str, str]:
    name, _, value = line.strip().removeprefix("export ").partition("=")
    return name, value.strip("'\"")
