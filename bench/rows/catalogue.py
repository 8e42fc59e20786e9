"""All rows by name, in the table's order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from bench.rows import datasets, growing, jobs, large, memory, resident, small, starting, waiting

if TYPE_CHECKING:
    from bench.bench import Bench
    from bench.results import Measurement

Row = Callable[["Bench"], "Iterator[Measurement]"]

ROWS: dict[str, Row] = {
    "latency": waiting.latency,
    "large": large.one,
    "four": large.four,
    "line": large.line,
    "small": small.some,
    "many": small.many,
    "start": starting.start,
    "idle": resident.idle,
    "memory": memory.most,
    "restart": resident.restart,
    "dataset": datasets.staging,
    "log": growing.log,
    "job": jobs.around,
    "handler": jobs.beside,
    "steps": jobs.steps,
}
