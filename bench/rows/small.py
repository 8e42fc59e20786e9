"""Small files: some hundreds of samples at once, and thousands of tiny ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench.line import Line
from bench.product import delivery
from bench.results import FERRY
from bench.rivals.catalogue import BARE_MANY, CLIENT, CLIENT_THREADS, script
from bench.rivals.rclone import rclone
from bench.scale import KB
from bench.targets import FEW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.bench import Bench
    from bench.results import Measurement
    from bench.task import Outcome, Task


def some(bench: Bench) -> Iterator[Measurement]:
    """Some hundreds, from found to the manifest."""
    scale = bench.scale
    files = bench.material.samples(scale.small_files, scale.small)
    contestants = {
        FERRY: delivery(bench.site, to_manifest=True),
        BARE_MANY: script(BARE_MANY),
        CLIENT_THREADS: script(CLIENT_THREADS),
        CLIENT: script(CLIENT),
        **rclone(),
    }
    title = f"{scale.small_files} files of {scale.small // KB} kB"
    for line in map(Line, bench.round_trips):
        yield bench.race("small", title, line, files, contestants)


def many(bench: Bench) -> Iterator[Measurement]:
    """Thousands of tiny ones, beside some hundreds of small ones in the same rounds."""
    scale = bench.scale
    few = bench.material.samples(scale.small_files, scale.small)
    files = bench.material.samples(scale.many_files, scale.many)
    ferry = delivery(bench.site, to_manifest=True)

    def fewer(task: Task) -> Outcome:
        """Carry the few; tell how long as many as the many would take at that rate."""
        outcome = ferry(replace(task, files=few))
        return replace(outcome, seconds=outcome.seconds * len(task.files) / len(few))

    contestants = {FERRY: ferry, BARE_MANY: script(BARE_MANY), FEW: fewer}
    title = f"{scale.many_files} files of {scale.many // KB} kB"
    yield bench.race("many", title, Line(), files, contestants)
