"""The daemon among thousands of delivered files: what it takes, what it still sees, and how it comes back."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from bench.processes import PYTHON, FailedError, Process
from bench.product import RUN, WATCHED, daemon, environ_of
from bench.results import FERRY, Measurement, Series
from bench.rows.jobs import share_of_a_core

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.bench import Bench

_MOST_SECONDS = 60.0
_LOOK_SECONDS = 0.005
# What the daemon still does after something has happened is over by then.
_CALM_SECONDS = 3.0
# So far apart are the files that are changed one after the other.
_STRIDE = 997
# Larger than the tiny ones, so that it shows whether they are read.
_LARGER = 10
# So slowly that a file is under way for so long, whatever its size.
_SLOW_SECONDS = 100


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
    among = f"{bench.scale.many_files} delivered files"
    title = f"CPU of the uploader with {among} and nothing to do"
    yield Measurement("idle", title, "CPU", {FERRY: Series(tuple(shares))}, unit="cores")
    title = f"a changed file among {among}, until it is visible"
    yield Measurement("idle", title, "a changed old file", {FERRY: Series(tuple(found))})


def restart(bench: Bench) -> Iterator[Measurement]:
    """From the start after a SIGKILL, with thousands of delivered files, to the next byte of what was under way."""
    if not bench.site.embedded:
        bench.say("restart: only the embedded Storage counts what it is asked")
        return
    seconds: list[float] = []
    read: list[int] = []
    with _delivered(bench) as tree:
        slow = {"UPLOAD_BANDWIDTH": str(bench.scale.huge // _SLOW_SECONDS)}
        [checkpoint] = bench.material.checkpoints(1, bench.scale.huge)
        for number in range(bench.runs):
            under_way = tree.output / f"model_{number:09d}.safetensors"
            os.link(checkpoint, under_way)
            with closing(tree.daemon(**slow)) as killed:
                bench.site.count_anew()
                _until_sending(bench, killed)
                time.sleep(1)
                killed.signal(signal.SIGKILL)
            bench.site.count_anew()
            with closing(tree.daemon(**slow)) as process:
                seconds.append(_until_sending(bench, process) - process.started_at)
                read.append(psutil.Process(process.pid).io_counters().read_chars)
                process.signal(signal.SIGKILL)
            under_way.unlink()
            bench.say(f"restart: {seconds[-1]:.3f} s, {read[-1] / 1e6:.1f} MB read")
        part = max(read) / tree.size
    title = f"a restart after SIGKILL with {bench.scale.many_files} delivered files, until it sends again"
    facts = {"read of what was delivered": part}
    yield Measurement("restart", title, "SIGKILL", {FERRY: Series(tuple(seconds))}, facts=facts)


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
