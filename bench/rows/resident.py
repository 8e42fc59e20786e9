"""The daemon that is just there: how soon it is, what it takes, what it still sees, and how it comes back."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from bench.line import Line
from bench.processes import PYTHON, FailedError, Process
from bench.product import RUN, WATCHED, daemon, delivery, environ_of, lay_out
from bench.results import FERRY, Measurement, Series
from bench.rounds import play
from bench.rows.jobs import share_of_a_core
from bench.scale import MIB
from bench.targets import SDK
from bench.task import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.bench import Bench
    from bench.task import Contestant, Task

_MOST_SECONDS = 60.0
_LOOK_SECONDS = 0.005
# What the daemon still does after something has happened is over by then.
_CALM_SECONDS = 3.0
# So far apart are the files that are changed one after the other.
_STRIDE = 997
# Larger than the tiny ones, so that it shows whether they are read.
_LARGER = 10
_SLOW = "20M"
_MB = 1_000_000


def start(bench: Bench) -> Iterator[Measurement]:
    """From the process's start: of the uploader to its first look, of the handler until it is ready for a job."""
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


def idle(bench: Bench) -> Iterator[Measurement]:
    """Thousands of delivered files in the tree and nothing to do: CPU, and how soon an old file's change is there."""
    shares: list[float] = []
    found: list[float] = []
    with _delivered(bench) as tree, closing(tree.daemon(UPLOAD_DEBOUNCE_SECONDS="0")) as process:
        process.event("run_found", _MOST_SECONDS)
        files = sorted(tree.output.iterdir())
        for number in range(bench.runs):
            time.sleep(_CALM_SECONDS)
            shares.append(share_of_a_core(process.pid, bench.scale.settle_seconds))
            found.append(_seconds_until_changed(bench, tree, files[number * _STRIDE % len(files)]))
            bench.say(f"idle: {shares[-1]:.2%} of a core; a changed file was there after {found[-1]:.1f} s")
    title = f"{bench.scale.many_files} delivered files"
    yield Measurement("idle", title, "CPU", {FERRY: Series(tuple(shares))}, unit="cores")
    yield Measurement("idle", title, "a changed old file", {FERRY: Series(tuple(found))})


def restart(bench: Bench) -> Iterator[Measurement]:
    """From the start after a SIGKILL, with thousands of delivered files, to the next byte of what was under way."""
    if not bench.site.embedded:
        bench.say("restart: only the embedded Storage counts what it is asked")
        return
    seconds: list[float] = []
    read: list[int] = []
    with _delivered(bench) as tree:
        [checkpoint] = bench.material.checkpoints(1, bench.scale.huge)
        for number in range(bench.runs):
            under_way = tree.output / f"model_{number:09d}.safetensors"
            os.link(checkpoint, under_way)
            with closing(tree.daemon(UPLOAD_BANDWIDTH=_SLOW)) as killed:
                bench.site.count_anew()
                _until_sending(bench, killed)
                time.sleep(1)
                killed.signal(signal.SIGKILL)
            bench.site.count_anew()
            with closing(tree.daemon(UPLOAD_BANDWIDTH=_SLOW)) as process:
                seconds.append(_until_sending(bench, process) - process.started_at)
                read.append(psutil.Process(process.pid).io_counters().read_chars)
                process.signal(signal.SIGKILL)
            under_way.unlink()
            bench.say(f"restart: {seconds[-1]:.3f} s, {read[-1] / 1e6:.1f} MB read")
        part = max(read) / tree.size
    title = f"{bench.scale.many_files} delivered files"
    facts = {"read of what was delivered": part}
    yield Measurement("restart", title, "SIGKILL", {FERRY: Series(tuple(seconds))}, facts=facts)


def memory(bench: Bench) -> Iterator[Measurement]:
    """The most memory that the uploader has: with nothing to do, with a very large file, and with very many."""
    large, many = bench.material.checkpoints(1, bench.scale.huge), bench.material.samples(bench.scale.rows, 1)
    for title, condition, contestant, files in (
        ("nothing to do", "idle", _resting(bench), ()),
        (f"one file of {bench.scale.huge // MIB} MiB", "a very large file", None, large),
        (f"{bench.scale.rows} files", "very many files", None, many),
    ):
        task = bench.task(Line(), files)
        racing = {FERRY: contestant or delivery(bench.site, to_manifest=True)}
        rounds = 1 if len(files) > 1 else bench.runs
        outcomes = play(bench.site, task, racing, rounds, lambda *_: None)
        peaks = tuple(outcome.peak / _MB for outcome in outcomes[FERRY])
        bench.say(f"memory, {condition}: {max(peaks):.1f} MB")
        yield Measurement("memory", f"the uploader's memory, {title}", condition, {FERRY: Series(peaks)}, unit="MB")


@dataclass(frozen=True, slots=True)
class Tree:
    """A watched folder whose thousands of files have all been delivered. ``size`` is their bytes."""

    bench: Bench
    folder: Path
    prefix: str
    size: int

    @property
    def output(self) -> Path:
        """Return where the files lie."""
        return self.folder / WATCHED / RUN

    def daemon(self, **environ: str) -> Process:
        """Start a daemon on it."""
        return daemon(self.bench.site.endpoint, self.folder, self.bench.site.bucket, self.prefix, **environ)


@contextmanager
def _delivered(bench: Bench) -> Iterator[Tree]:
    """Yield such a folder. Its files are its own, so that they can be changed in their places."""
    files = bench.material.samples(bench.scale.many_files, bench.scale.many * _LARGER)
    with _folder(bench) as folder, bench.site.room() as prefix:
        tree = Tree(bench, folder, prefix, sum(path.stat().st_size for path in files))
        tree.output.mkdir(parents=True)
        for path in files:
            shutil.copyfile(path, tree.output / path.name)
        bench.say(f"{len(files)} files are being delivered first")
        environ = environ_of(bench.site.endpoint, folder, UPLOAD_DEBOUNCE_SECONDS="0")
        command = [PYTHON, "-m", "uploader", "once", "--watch", str(folder / WATCHED), "--bucket", bench.site.bucket]
        with closing(Process([*command, "--prefix", prefix], environ)) as process:
            process.finish()
        yield tree


def _resting(bench: Bench) -> Contestant:
    """Return Ferry with nothing to do."""

    def rest(task: Task) -> Outcome:
        lay_out(task.folder, ())
        with closing(daemon(task.endpoint, task.folder, task.bucket, task.prefix)) as process:
            process.event("run_found", _MOST_SECONDS)
            time.sleep(bench.scale.settle_seconds / 3)
            process.note_memory()
            return Outcome(bench.scale.settle_seconds, process.peak)

    return rest


def _seconds_until_changed(bench: Bench, tree: Tree, path: Path) -> float:
    """Rewrite a file in its place, so that no folder changes; return the seconds until the bucket holds the new one."""
    key = f"{tree.prefix}/{RUN}/samples/{path.name}"
    old = bench.site.storage.info(bench.site.bucket, key)
    if old is None:
        raise FailedError(f"{key} is not in the bucket")
    with path.open("r+b") as file:
        file.write(os.urandom(16))
    start = time.monotonic()
    while (now := bench.site.storage.info(bench.site.bucket, key)) is None or now.version == old.version:
        if time.monotonic() - start > _MOST_SECONDS:
            raise FailedError(f"the changed {path.name} did not arrive")
        time.sleep(_LOOK_SECONDS * 10)
    return time.monotonic() - start


def _until_sending(bench: Bench, process: Process) -> float:
    """Return when (Unix seconds) bytes of a large file were on their way."""
    deadline = time.monotonic() + _MOST_SECONDS
    while not bench.site.requests().get("PATCH upload/resumable"):
        if process.ended or time.monotonic() > deadline:
            raise FailedError(f"nothing is sent:\n{process.tail()}")
        time.sleep(_LOOK_SECONDS)
    return time.time()


@contextmanager
def _folder(bench: Bench) -> Iterator[Path]:
    folder = bench.folder / "resident"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
