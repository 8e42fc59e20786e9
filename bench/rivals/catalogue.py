"""The rivals as contestants."""

from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from bench.processes import PYTHON, Process
from bench.rivals.handing import handed
from bench.task import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from bench.task import Contestant, Task

CLIENT, CLIENT_THREADS, CLIENT_BYTES = "client in a loop", "client in threads", "client, given bytes"
TUSPY, BARE, BARE_SAME, BARE_MANY = "tuspy", "bare, 6 MiB chunks", "bare, Ferry's chunks", "bare, N connections"
CURL = "curl"
CLIENT_DOWN, BARE_DOWN, CURL_DOWN = "client, downloading", "bare, downloading", "curl, downloading"

SCRIPTS = {
    CLIENT: ("bench.rivals.client", "loop"),
    CLIENT_THREADS: ("bench.rivals.client", "threads"),
    CLIENT_BYTES: ("bench.rivals.client", "content"),
    TUSPY: ("bench.rivals.tus", "tuspy"),
    BARE: ("bench.rivals.bare", "resumable"),
    BARE_MANY: ("bench.rivals.bare", "standard"),
    CLIENT_DOWN: ("bench.rivals.client", "download_loop"),
    BARE_DOWN: ("bench.rivals.bare", "download"),
}


def script(name: str) -> Contestant:
    """Return a rival that is a script of ours."""
    return partial(_run_script, name)


def in_chunks(contestant: Contestant, chunk: Callable[[], int]) -> Contestant:
    """Return the contestant with another length of its chunks, asked for when it is its turn."""
    return lambda task: contestant(replace(task, chunk=chunk()))


def curl(task: Task) -> Outcome:
    """Stream one file after the other with ``curl``: the floor for any client."""
    sending = ["--request", "POST", "--header", "x-upsert: true", "--header", "Content-Type: application/octet-stream"]
    return _in_a_row(
        _curl(task, path, *sending, "--upload-file", str(path), "--output", os.devnull) for path in task.files
    )


def curl_down(task: Task) -> Outcome:
    """Download one file after the other with ``curl``."""
    return _in_a_row(_curl(task, path, "--output", str(task.folder / path.name)) for path in task.files)


def _curl(task: Task, path: Path, *options: str) -> list[str]:
    command = ["curl", "--silent", "--show-error", "--fail", "--header", f"Authorization: Bearer {task.endpoint.key}"]
    if task.endpoint.authority is not None:
        command += ["--cacert", str(task.endpoint.authority)]
    return [*command, *options, f"{task.endpoint.url}/storage/v1/object/{task.bucket}/{task.prefix}/{path.name}"]


def _in_a_row(commands: Iterable[list[str]]) -> Outcome:
    seconds, peak = 0.0, 0
    for command in commands:
        start = time.perf_counter()
        with closing(Process(command, os.environ)) as process:
            process.finish()
            seconds += time.perf_counter() - start
            peak = max(peak, process.peak)
    return Outcome(seconds, peak)


def _run_script(name: str, task: Task) -> Outcome:
    command = [PYTHON, "-m", "bench.rivals", name]
    with closing(Process(command, {**os.environ, **task.endpoint.environ}, given=handed(task))) as process:
        process.finish()
        said = process.hear("seconds ", 0.0)
        return Outcome(float(said.text.split()[1]), process.peak)
