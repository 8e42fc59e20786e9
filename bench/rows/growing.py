"""A log that grows and grows: what its live copies cost, and how far ``status.json`` is behind."""

from __future__ import annotations

import json
import re
import time
from contextlib import closing
from typing import TYPE_CHECKING

from bench.pod import Pod
from bench.processes import FailedError
from bench.results import FERRY, Measurement, Series
from bench.scale import KB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.bench import Bench

_LOOK_SECONDS = 0.5
_MOST_SECONDS = 600.0
_STAMP = re.compile(r"^log (\d+\.\d+) ")


def log(bench: Bench) -> Iterator[Measurement]:
    """One run, which takes minutes: the trainer prints without pause, and the bucket is looked at twice a second."""
    seconds = bench.scale.log_seconds
    behind: list[float] = []
    copied = 0
    with closing(_pod(bench)) as pod, bench.site.room() as prefix:
        script = {"seconds": seconds, "step_seconds": 0.25, "log_bytes": bench.scale.log_bytes}
        job = pod.send(bench.site.bucket, prefix, {"bench": script})
        started = pod.handler.event("trainer_started", _MOST_SECONDS, after=job.sent_at).at
        while time.time() < started + seconds:
            time.sleep(_LOOK_SECONDS)
            newest = _newest_line(bench, job.prefix)
            if newest is not None:
                behind.append(time.time() - newest)
            if bench.site.embedded:
                copied = bench.site.received(job.bucket, f"{job.prefix}/logs/training.log")
        (pod.session().path / "enough").touch()
        pod.result(job, _MOST_SECONDS)
    if not behind:
        raise FailedError("status.json never held a line of the log")
    title = f"status.json behind a log that grows to {bench.scale.log_bytes // KB // 1000} MB in {seconds:.0f} s"
    facts = {"bytes a second": copied / seconds} if bench.site.embedded else {}
    bench.say(f"log: {copied / seconds / 1024:.1f} KiB/s, status.json up to {max(behind):.1f} s behind")
    yield Measurement("log", title, "status.json behind", {FERRY: Series(tuple(behind))}, facts=facts)


def _pod(bench: Bench) -> Pod:
    return Pod(bench.folder / "log", bench.site.endpoint, UPLOAD_LOG_SECONDS=str(bench.scale.log_every))


def _newest_line(bench: Bench, prefix: str) -> float | None:
    """Return when (Unix seconds) the newest line in ``status.json`` was printed; None while there is none."""
    content = bench.site.storage.read(bench.site.bucket, f"{prefix}/status.json")
    lines = json.loads(content)["log_tail"] if content else []
    stamps = [match for match in map(_STAMP.match, lines) if match is not None]
    return float(stamps[-1][1]) if stamps else None
