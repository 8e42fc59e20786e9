"""How long a sample waits before it is visible in the bucket: alone, and beside a large checkpoint."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING

from bench.pod import Pod
from bench.processes import FailedError
from bench.results import FERRY, Measurement, Series
from bench.scale import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.bench import Bench
    from bench.pod import Ended, Job

_CHECKPOINT = "model_000000001.safetensors"
_SAMPLE_SECONDS = 0.6
_MOST_SECONDS = 600.0


def latency(bench: Bench) -> Iterator[Measurement]:
    """From the moment at which a sample has its name to the one that the server's record has for it."""
    alone: list[float] = []
    beside: list[float] = []
    process = {
        "bench": {
            "seconds": _MOST_SECONDS,
            "step_seconds": 0.25,
            "sample_bytes": bench.scale.small,
            "sample_seconds": _SAMPLE_SECONDS,
            "checkpoint_bytes": bench.scale.huge,
            "checkpoint_after": bench.scale.settle_seconds,
        }
    }
    with closing(Pod(bench.folder / "latency", bench.site.endpoint)) as pod:
        for number in range(bench.runs):
            with bench.site.room() as prefix:
                job = pod.send(bench.site.bucket, prefix, process)
                verified = pod.uploader.event(
                    "uploaded", _MOST_SECONDS, after=job.sent_at, key=f"checkpoints/{_CHECKPOINT}"
                ).at
                (pod.session().path / "enough").touch()
                ended = pod.result(job, _MOST_SECONDS)
                for closed, seconds in _waits(bench, pod, job, ended):
                    if closed < ended.closed()[_CHECKPOINT] - bench.scale.settle_seconds / 3:
                        alone.append(seconds)
                    elif ended.closed()[_CHECKPOINT] < closed < verified:
                        beside.append(seconds)
            bench.say(f"latency: {number + 1} of {bench.runs} runs, {len(alone)} and {len(beside)} samples so far")
    if not alone or not beside:
        raise FailedError("no sample was closed while the line was idle, or while the checkpoint was on its way")
    title = "a sample from closed to visible"
    yield Measurement("latency", title, "idle", {FERRY: Series(tuple(alone))})
    beside_what = f"{title}, beside {bench.scale.huge // MIB} MiB on their way"
    yield Measurement("latency", beside_what, "beside a large checkpoint", {FERRY: Series(tuple(beside))})


def _waits(bench: Bench, pod: Pod, job: Job, ended: Ended) -> Iterator[tuple[float, float]]:
    """Yield for each sample when it was closed (Unix seconds), and how many seconds later it was visible."""
    visible = _visible(bench, job) if bench.site.embedded else _verified(pod, job)
    for path, at in ended.closed().items():
        if path.startswith("samples/"):
            if path not in visible:
                raise FailedError(f"{job.prefix}/{path} is not in the bucket")
            yield at, visible[path] - at


def _visible(bench: Bench, job: Job) -> dict[str, float]:
    """Return when (Unix seconds) each sample became visible, by the clock of a server on this very machine."""
    return {
        record.key.removeprefix(f"{job.prefix}/"): datetime.fromisoformat(record.modified).timestamp()
        for record in bench.site.storage.walk(job.bucket, f"{job.prefix}/samples")
        if record.modified is not None
    }


def _verified(pod: Pod, job: Job) -> dict[str, float]:
    """Return when the uploader said that each sample is there: somewhat later, but by a clock that can be compared."""
    said = [line for line in pod.uploader.lines if " uploaded " in line.text and line.at >= job.sent_at]
    return {line.text.partition(" key=")[2].partition(" ")[0]: line.at for line in said}
