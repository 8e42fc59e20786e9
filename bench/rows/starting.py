"""How soon the two programs are there."""

from __future__ import annotations

import compileall
import shutil
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from bench.processes import PROJECT, PYTHON, Process
from bench.product import daemon, environ_of, lay_out
from bench.results import FERRY, Measurement, Series
from bench.targets import SDK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.bench import Bench

_MOST_SECONDS = 60.0


def start(bench: Bench) -> Iterator[Measurement]:
    """From the process's start: of the uploader to its first look, of the handler until it is ready for a job."""
    for package in ("handler", "shared", "uploader"):
        # As the image is; else every start would do it where PYTHONDONTWRITEBYTECODE is set.
        compileall.compile_dir(PROJECT / package, quiet=2)
    looks: list[float] = []
    ready: dict[str, list[float]] = {FERRY: [], SDK: []}
    for _ in range(bench.runs):
        with _folder(bench) as folder, bench.site.room() as prefix:
            lay_out(folder, bench.material.samples(1, bench.scale.many))
            with closing(daemon(bench.site.endpoint, folder, bench.site.bucket, prefix)) as process:
                looks.append(process.event("run_found", _MOST_SECONDS).at - process.started_at)
        with _folder(bench) as folder:
            # No queue has to be there for a worker to be ready for its jobs.
            environ = environ_of(bench.site.endpoint, folder, RUNPOD_WEBHOOK_GET_JOB="http://127.0.0.1:9/job-take/$ID")
            environ |= {"RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true", "RUNPOD_SKIP_GPU_CHECK": "true"}
            with closing(Process([PYTHON, "-m", "handler"], environ)) as process:
                ready[FERRY].append(process.event("ready", _MOST_SECONDS).at - process.started_at)
            with closing(Process([PYTHON, "-c", "import runpod; print('imported')"], environ)) as process:
                ready[SDK].append(process.hear("imported", _MOST_SECONDS).at - process.started_at)
        bench.say(f"start: uploader {looks[-1]:.3f} s, handler {ready[FERRY][-1]:.3f} s, SDK {ready[SDK][-1]:.3f} s")
    yield Measurement("start", "the uploader's start to its first look", "uploader", {FERRY: Series(tuple(looks))})
    series = {name: Series(tuple(values)) for name, values in ready.items()}
    yield Measurement("start", "the handler's start until it is ready for a job", "handler", series)


@contextmanager
def _folder(bench: Bench) -> Iterator[Path]:
    folder = bench.folder / "starting"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
