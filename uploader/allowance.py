"""How much may be kept of what the trainer has deleted, and what goes when it is too much. Pure rules.

What is kept takes disk space that the trainer believes free. So it is bounded twice: by ``SPOOL_BYTES``, and by the
trainer's next checkpoint, for which there must be room on the disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from uploader.disk import Space

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from uploader.rows import Row

# What the trainer has not deleted yet is copied ahead into this part of the spool: most of it will not be needed.
AHEAD_PART = 4
# A checkpoint that has waited for so long is copied ahead whatever the trainer does.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Stock:
    """The bytes that are kept, and the largest file among them: the next one will hardly be larger."""

    bytes: int = 0
    largest: int = 0

    def __add__(self, other: Stock) -> Stock:
        return Stock(self.bytes + other.bytes, max(self.largest, other.largest))


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that is kept. ``spare``: the original is still there. ``flying``: it is being sent or copied just now."""

    row: Row
    spare: bool = False
    flying: bool = False

    @property
    def bytes(self) -> int:
        """Return its size."""
        return self.row.version.size


def stock_of(sizes: Sequence[int]) -> Stock:
    """Return the stock of files of these sizes."""
    return Stock(sum(sizes), max(sizes, default=0))


def fits(stock: Stock, size: int, limit: int, space: Space) -> bool:
    """Return whether a copy of ``size`` bytes may be added to ``stock``, with so much ``space`` on the disk before."""
    after = Space(free=space.free - size, total=space.total)
    return stock.bytes + size <= limit and not after.lacks(max(stock.largest, size))


def is_at_risk(row: Row, waiting: Sequence[Row], now: float) -> bool:
    """Return whether a waiting checkpoint is worth a copy ahead: a newer one waits, too, or it has waited long."""
    newer = any(row.step is not None and other.step is not None and other.step > row.step for other in waiting)
    return newer or now - row.first_seen >= PATIENCE_SECONDS


def to_free(kept: Sequence[Kept], over: int, *, only_if_enough: bool) -> Iterator[Kept]:
    """Yield what has to go so that ``over`` bytes become free: spare copies, then the oldest.

    What is being sent stays, and while there is such, the newest of all stays, too: it is what somebody will want most.
    ``only_if_enough``: nothing but spare copies goes where giving up the rest would not free as much, either.
    """
    oldest_first = sorted(kept, key=lambda one: one.row.first_seen)
    idle = [one for one in oldest_first if not one.flying]
    for spare in (one for one in reversed(idle) if one.spare):
        if over <= 0:
            return
        over -= spare.bytes
        yield spare
    last = [one for one in oldest_first if not one.spare]
    if any(one.flying for one in last):
        last.pop()
    doomed = [one for one in last if not one.flying]
    if only_if_enough and sum(one.bytes for one in doomed) < over:
        return
    for one in doomed:
        if over <= 0:
            return
        over -= one.bytes
        yield one
