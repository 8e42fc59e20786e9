"""What the handler adds to a job: before the training, beside it, and after it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psutil
import yaml

from bench.pod import Pod
from bench.processes import PROJECT, PYTHON, FailedError, Process
from bench.results import FERRY, Measurement, Series
from bench.targets import BARE_TRAINER as BARE
from shared.contract.bucket import Manifest
from shared.storage.body import FileRange

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.bench import Bench
    from bench.pod import Job

_TRAINER = PROJECT / "local" / "trainer"
_PICTURES = PROJECT / "local" / "sample" / "dataset"
_ONE_THREAD = {"OMP_NUM_THREADS": "1"}
_MOST_SECONDS = 300.0
# A training's beginning and end are not its middle.
_MARGIN_SECONDS = 2.0


def around(bench: Bench) -> Iterator[Measurement]:
    """From the job's taking to the trainer's start, with one picture for a dataset, and from its end to the answer."""
    before: list[float] = []
    after: list[float] = []
    with closing(Pod(bench.folder / "job", bench.site.endpoint)) as pod, bench.site.room() as place:
        dataset = _put_pictures(bench, place, most=1)
        process = {"datasets": [{"folder_path": "pictures"}], "bench": {"seconds": 2.0, "step_seconds": 0.25}}
        for number in range(bench.runs):
            job = pod.send(bench.site.bucket, f"{place}/results-{number}", process, dataset)
            started = pod.handler.event("trainer_started", _MOST_SECONDS, after=job.sent_at).at
            ended = pod.result(job, _MOST_SECONDS)
            before.append(started - ended.taken)
            after.append(ended.answered - _last_verified(bench, job))
            bench.say(f"job: {before[-1]:.3f} s before the training, {after[-1]:.3f} s after the last byte")
    title = "a job, from its taking to the trainer's start"
    yield Measurement("job", title, "before", {FERRY: Series(tuple(before))})
    title = "a job, from the last byte's verification to the answer"
    yield Measurement("job", title, "after", {FERRY: Series(tuple(after))})


def beside(bench: Bench) -> Iterator[Measurement]:
    """What share of a core the handler takes while a training draws its bar four times a second."""
    shares: list[float] = []
    seconds = bench.scale.settle_seconds + 2 * _MARGIN_SECONDS
    process = {"bench": {"seconds": seconds, "step_seconds": 0.25, "sample_bytes": bench.scale.small}}
    with closing(Pod(bench.folder / "handler", bench.site.endpoint)) as pod:
        for _ in range(bench.runs):
            with bench.site.room() as prefix:
                job = pod.send(bench.site.bucket, prefix, process)
                pod.handler.event("trainer_started", _MOST_SECONDS, after=job.sent_at)
                time.sleep(_MARGIN_SECONDS)
                shares.append(share_of_a_core(pod.handler.pid, bench.scale.settle_seconds))
                pod.result(job, _MOST_SECONDS)
            bench.say(f"handler: {shares[-1]:.2%} of a core")
    title = "CPU of the handler beside a training"
    yield Measurement("handler", title, "CPU", {FERRY: Series(tuple(shares))}, unit="cores")


def steps(bench: Bench) -> Iterator[Measurement]:
    """How fast the small trainer trains by itself, and below the handler, with the uploader beside it."""
    rates: dict[str, list[float]] = {FERRY: [], BARE: []}
    with (
        closing(Pod(bench.folder / "steps", bench.site.endpoint, _TRAINER, **_ONE_THREAD)) as pod,
        bench.site.room() as place,
    ):
        dataset = _put_pictures(bench, place)
        for number in range(bench.runs):
            job = pod.send(bench.site.bucket, f"{place}/results-{number}", _training(bench), dataset)
            ended = pod.result(job, _MOST_SECONDS)
            rates[FERRY].append(_steps_a_second(ended.session.output))
            rates[BARE].append(_bare(bench))
            bench.say(f"steps: {rates[FERRY][-1]:.2f} a second in the worker, {rates[BARE][-1]:.2f} alone")
    series = {name: Series(tuple(values)) for name, values in rates.items()}
    yield Measurement("steps", "the small trainer in the worker, and alone", "rate", series, unit="steps/s")


def share_of_a_core(pid: int, seconds: float) -> float:
    """Return what part of one core a process takes during the next ``seconds``."""
    process = psutil.Process(pid)
    before, start = process.cpu_times(), time.monotonic()
    time.sleep(seconds)
    after, end = process.cpu_times(), time.monotonic()
    return (after.user + after.system - before.user - before.system) / (end - start)


def _training(bench: Bench) -> dict[str, Any]:
    """Return the small trainer's process: as fast as it can, long enough to be measured, its log kept by the step."""
    return {
        # In one process and one thread: it keeps one core busy, and leaves the others to the worker, as a GPU's does.
        "datasets": [{"folder_path": "pictures", "resolution": 512, "num_workers": 0}],
        "train": {"steps": bench.scale.steps, "batch_size": 2, "lr": 1e-4, "disable_sampling": True},
        "save": {"save_every": bench.scale.steps},
        "logging": {"log_every": 1, "use_ui_logger": True},
    }


def _bare(bench: Bench) -> float:
    """Let ``run.py`` train the same by itself; return its steps a second."""
    folder = bench.folder / "bare-training"
    process = _training(bench) | {"type": "sd_trainer", "training_folder": str(folder / "output")}
    process["datasets"] = [process["datasets"][0] | {"folder_path": str(folder / "pictures")}]
    shutil.copytree(_PICTURES, folder / "pictures")
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({"job": "extension", "config": {"name": "model", "process": [process]}}))
    environ = {**os.environ, "PYTHONUNBUFFERED": "1", **_ONE_THREAD}
    try:
        with closing(Process([PYTHON, str(_TRAINER / "run.py"), str(config)], environ, cwd=_TRAINER)) as training:
            training.finish()
        return _steps_a_second(folder / "output")
    finally:
        shutil.rmtree(folder)


def _steps_a_second(output: Path) -> float:
    """Return what the trainer's own record says, from its second logged step on."""
    [log] = output.rglob("loss_log.db")
    with closing(sqlite3.connect(f"file:{log}?mode=ro", uri=True)) as connection:
        count, first, last = connection.execute("SELECT count(*), min(wall_time), max(wall_time) FROM steps").fetchone()
    if count < 2:
        raise FailedError(f"{log} has {count} steps")
    return float((count - 1) / (last - first))


def _put_pictures(bench: Bench, place: str, most: int | None = None) -> dict[str, str]:
    """Upload the sample's pictures below ``place``; return the job's word for where they are."""
    for path in sorted(_PICTURES.glob("*.jpg"))[:most]:
        key = f"{place}/pictures/{path.name}"
        body = FileRange(path, 0, path.stat().st_size)
        bench.site.storage.put(bench.site.bucket, key, body, content_type="image/jpeg", metadata={})
    return {"bucket_name": bench.site.bucket, "folder_path": f"{place}/pictures"}


def _last_verified(bench: Bench, job: Job) -> float:
    """Return when (Unix seconds) the last file was verified, as the manifest has it."""
    content = bench.site.storage.read(job.bucket, f"{job.prefix}/manifest.json")
    manifest = Manifest.parse(content) if content else None
    if manifest is None:
        raise FailedError(f"there is no manifest at {job.prefix}")
    return max(entry.uploaded_at or 0.0 for entry in manifest.files)
