"""What memory the uploader takes."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from bench.line import Line
from bench.product import daemon, delivery, lay_out
from bench.results import FERRY, Measurement, Series
from bench.rounds import play
from bench.scale import MIB
from bench.task import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.bench import Bench
    from bench.task import Contestant, Task

_MOST_SECONDS = 60.0
_MB = 1_000_000


def most(bench: Bench) -> Iterator[Measurement]:
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
