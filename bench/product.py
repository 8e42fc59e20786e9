"""Ferry as a contestant: the uploader in its own process, judged by what it writes itself.

When a version settled and when it was verified stand in the run's ledger, which is read once the process has ended.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.processes import PYTHON, FailedError, Process
from bench.task import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from bench.site import Site
    from bench.task import Contestant, Endpoint, Task

WATCHED, RUN = "watched", "run"


@dataclass(frozen=True, slots=True)
class Times:
    """When (Unix seconds) the first version of a run settled, and when the last was verified; how many there are."""

    settled: float
    verified: float
    files: int


def environ_of(endpoint: Endpoint, folder: Path, **more: str) -> dict[str, str]:
    """Return the environment of a worker at ``endpoint`` whose training root lies in ``folder``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SUPABASE_", "RUNPOD_"))}
    return {**kept, **endpoint.environ, "TRAINING_ROOT": str(folder / "training"), **more}


def delivery(site: Site, *, to_manifest: bool) -> Contestant:
    """Return the contestant that carries all files in one pass.

    It takes from the first version's settling to the last one's verification, or until the manifest is there. The pause
    that a watched folder's files are given is left out, as no contestant waits before it begins.
    """

    def deliver(task: Task) -> Outcome:
        watched = lay_out(task.folder, task.files)
        environ = environ_of(task.endpoint, task.folder, UPLOAD_DEBOUNCE_SECONDS="0")
        command = [PYTHON, "-m", "uploader", "once", "--watch", str(watched), "--bucket", task.bucket]
        site.count_anew()
        with closing(Process([*command, "--prefix", task.prefix], environ)) as process:
            process.finish()
            closed = process.event("closed", 0.0)
        times = times_of(watched)
        if times.files != len(task.files):
            raise FailedError(f"of {len(task.files)} files {times.files} were delivered:\n{process.tail()}")
        end = closed.at if to_manifest else times.verified
        return Outcome(end - times.settled, process.peak, facts=_facts(site, process, closed.at, task))

    return deliver


def daemon(endpoint: Endpoint, folder: Path, bucket: str, prefix: str, **environ: str) -> Process:
    """Start the daemon on the folder to be watched below ``folder``, with its default settings but for ``environ``."""
    command = [PYTHON, "-m", "uploader", "run", "--watch", str(folder / WATCHED), "--bucket", bucket]
    return Process([*command, "--prefix", prefix], environ_of(endpoint, folder, **environ))


def lay_out(folder: Path, files: tuple[Path, ...]) -> Path:
    """Lay files out as the output of one run in a folder to be watched; return that folder. No byte is copied."""
    watched = folder / WATCHED
    (watched / RUN).mkdir(parents=True)
    for file in files:
        os.link(file, watched / RUN / file.name)
    return watched


def times_of(watched: Path) -> Times:
    """Return what the newest ledger of the run tells. Raises FailedError where nothing was delivered."""
    ledger = max((watched / ".uploader" / RUN).glob("ledger.*.sqlite3"), default=None)
    if ledger is None:
        raise FailedError(f"there is no ledger below {watched}")
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        # The tables' seals are made by this function; SQLite opens no table whose columns it cannot make.
        connection.create_function("seal_of", -1, _seal_of, deterministic=True)
        settled, verified, files = connection.execute(
            "SELECT min(files.first_seen), max(stored.at), count(*) FROM files JOIN stored ON stored.key = files.key"
            " WHERE files.state = 'delivered'"
        ).fetchone()
    if not files:
        raise FailedError(f"{ledger} knows of nothing that was delivered")
    return Times(settled, verified, files)


def _seal_of(*values: object) -> int:
    return zlib.crc32(repr(values).encode(errors="backslashreplace"))


def _facts(site: Site, process: Process, closed: float, task: Task) -> dict[str, float]:
    """Return what else is known of a pass: how long it took from its start on, and what the server was asked for it."""
    facts = {"start to manifest": closed - process.started_at}
    asked = site.requests()
    if asked:
        facts["requests a file"] = sum(asked.values()) / len(task.files)
        facts["chunks"] = float(asked.get("PATCH upload/resumable", 0))
    return facts
