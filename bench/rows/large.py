"""Large files: one checkpoint, and four in a row."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.figures import LINE_BYTES
from bench.line import Line
from bench.product import delivery
from bench.results import FERRY
from bench.rivals.catalogue import BARE, BARE_SAME, CLIENT, CURL, TUSPY, curl, in_chunks, script
from bench.rivals.rclone import rclone
from bench.scale import MIB
from bench.task import DOCUMENTED_CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.bench import Bench
    from bench.results import Measurement
    from bench.task import Contestant, Outcome, Task

_IN_A_ROW, _AT_ONCE = 4, 3


def one(bench: Bench) -> Iterator[Measurement]:
    """One large file, from settled to verified, against everything that can send one."""
    [path] = bench.material.checkpoints(1, bench.scale.large)
    for line in [*map(Line, bench.round_trips), *([Line(20, tls=True)] if 20 in bench.round_trips else [])]:
        ferry, same = _ferry_and_its_chunks(bench)
        contestants: Mapping[str, Contestant] = {
            FERRY: ferry,
            BARE: script(BARE),
            BARE_SAME: same,
            TUSPY: script(TUSPY),
            CURL: curl,
            CLIENT: script(CLIENT),
            **rclone(),
        }
        yield bench.race("large", f"one file of {bench.scale.large // MIB} MiB", line, (path,), contestants)


def four(bench: Bench) -> Iterator[Measurement]:
    """Four large files in a row: the hash of one can hide behind the upload of another."""
    paths = bench.material.checkpoints(_IN_A_ROW, bench.scale.large)
    ferry, same = _ferry_and_its_chunks(bench)
    contestants: Mapping[str, Contestant] = {FERRY: ferry, BARE_SAME: same}
    yield bench.race("four", f"four files of {bench.scale.large // MIB} MiB", Line(), paths, contestants)


def line(bench: Bench) -> Iterator[Measurement]:
    """Three large files at once over a long, narrow line: how much of it they fill."""
    paths = bench.material.checkpoints(_AT_ONCE, bench.scale.large // 4)
    contestants = {FERRY: delivery(bench.site, to_manifest=False), CURL: curl}
    title = f"three files of {bench.scale.large // 4 // MIB} MiB at once"
    yield bench.race("line", title, Line(80, LINE_BYTES), paths, contestants)


def _ferry_and_its_chunks(bench: Bench) -> tuple[Contestant, Contestant]:
    """Return Ferry, and the bare loop in chunks as long as the ones that Ferry has just used.

    Where nobody counted them, they are taken to be what the documentation asks for.
    """
    inner = delivery(bench.site, to_manifest=False)
    used = DOCUMENTED_CHUNK

    def ferry(task: Task) -> Outcome:
        nonlocal used
        outcome = inner(task)
        largest = max(path.stat().st_size for path in task.files)
        used = chunk_length(largest, outcome.facts.get("chunks", 0) / len(task.files)) or used
        return outcome

    return ferry, in_chunks(script(BARE), lambda: used)


def chunk_length(size: int, chunks: float) -> int | None:
    """Return the length, in whole MiB, of the chunks that a file of ``size`` bytes was cut into; None for no number."""
    return math.ceil(size / round(chunks) / MIB) * MIB if chunks >= 1 else None
