"""The dataset on its way to the disk: thousands of small files, and a very large one."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.line import Line
from bench.pod import Pod
from bench.results import FERRY
from bench.rivals.catalogue import BARE_DOWN, BARE_MANY, CLIENT_DOWN, CURL_DOWN, curl_down, script
from bench.scale import KB, MIB
from bench.task import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bench.bench import Bench
    from bench.results import Measurement
    from bench.task import Contestant, Task

_SMALLEST, _LARGEST = KB, 200 * KB
_ROUND_TRIPS = (0, 20)
_MOST_SECONDS = 600.0


def staging(bench: Bench) -> Iterator[Measurement]:
    """From the session's opening until everything is staged. Nobody lists anything then: Ferry has before."""
    files = bench.material.dataset(bench.scale.dataset_files, _SMALLEST, _LARGEST)
    title = f"a dataset of {len(files)} files of {_SMALLEST // KB} to {_LARGEST // KB} kB"
    for line in map(Line, sorted({*_ROUND_TRIPS} & {*bench.round_trips})):
        rivals = {BARE_DOWN: script(BARE_DOWN), CLIENT_DOWN: script(CLIENT_DOWN)}
        yield _race(bench, "dataset", title, line, files, rivals)
    huge = bench.material.samples(1, bench.scale.huge)
    title = f"a dataset of one file of {bench.scale.huge // MIB} MiB"
    yield _race(bench, "dataset, large", title, Line(), huge, {CURL_DOWN: curl_down})


def _race(
    bench: Bench, row: str, title: str, line: Line, files: tuple[Path, ...], rivals: Mapping[str, Contestant]
) -> Measurement:
    """Put the files into the bucket, and let everybody fetch them from there."""
    with bench.site.room() as source, closing(Pod(bench.folder / "dataset", bench.site.over(line))) as pod:
        script(BARE_MANY)(replace(bench.task(Line(), files), prefix=source))
        contestants = {name: _from(source, rival) for name, rival in rivals.items()}
        return bench.race(row, title, line, files, {FERRY: _staged_by(pod, source), **contestants})


def _from(source: str, contestant: Contestant) -> Contestant:
    return lambda task: contestant(replace(task, prefix=source))


def _staged_by(pod: Pod, source: str) -> Contestant:
    """Return Ferry: a job whose training ends at once. Its memory is the handler's during that job."""

    def stage(task: Task) -> Outcome:
        process = {"datasets": [{"folder_path": source}], "bench": {"seconds": 0}}
        pod.handler.forget_memory()
        job = pod.send(task.bucket, task.prefix, process, {"bucket_name": task.bucket, "folder_path": source})
        opened = pod.handler.event("session_opened", _MOST_SECONDS, after=job.sent_at).at
        done = pod.handler.event("staging", _MOST_SECONDS, after=opened, files=len(task.files)).at
        pod.handler.note_memory()
        pod.result(job, _MOST_SECONDS)
        return Outcome(done - opened, pod.handler.peak)

    return stage
