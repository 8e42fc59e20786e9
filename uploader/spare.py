"""Which checkpoints a live training can do without on its own disk. A pure rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uploader.kinds import INCOMPLETE
from uploader.states import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from uploader.rows import Row

# The newest is what a resume needs, and the one before it where the newest turns out to be broken.
KEPT_STEPS = 2


def spare(checkpoints: Sequence[Row]) -> list[list[Row]]:
    """Return the files of each step that may go, the oldest step first: all but the newest steps' are in the bucket.

    What is the newest, step or time may tell: a training that went on from an earlier step writes lower ones again.
    Files without a step, as the final checkpoint and the optimizer's state, are never among them.
    """
    by_step: dict[int, list[Row]] = {}
    for row in checkpoints:
        if row.step is not None and not row.key.startswith(f"{INCOMPLETE}/"):
            by_step.setdefault(row.step, []).append(row)
    kept = {*sorted(by_step)[-KEPT_STEPS:], *sorted(by_step, key=lambda step: _newest(by_step[step]))[-KEPT_STEPS:]}
    return [by_step[step] for step in sorted(by_step) if step not in kept and all(map(_is_delivered, by_step[step]))]


def save_bytes(checkpoints: Iterable[Row]) -> int:
    """Return how many bytes the largest step takes: the next one will hardly take more."""
    sizes: dict[int, int] = {}
    for row in checkpoints:
        if row.step is not None:
            sizes[row.step] = sizes.get(row.step, 0) + row.version.size
    return max(sizes.values(), default=0)


def _newest(rows: Iterable[Row]) -> int:
    return max(row.version.mtime_ns for row in rows)


def _is_delivered(row: Row) -> bool:
    stored = row.stored
    return (
        row.state is State.DELIVERED
        and stored is not None
        and (stored.sha256, stored.size) == (row.sha256, row.version.size)
    )
