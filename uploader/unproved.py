"""Small files that Storage took and whose record nobody has seen yet: many are proved by one listing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uploader.lanes import Desk, Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shared.clock import Clock
    from uploader.lanes import Lanes
    from uploader.results import Sent, Verdict
    from uploader.rows import Row

# While more are being sent: so many are worth a listing, and so long (seconds) the first of them waits for it.
ENOUGH = 200
_LONGEST_WAIT = 2.0
# A listing holds 1,000 objects, and others may be among the newest.
_MOST = 800


class Unproved:
    """What one run has sent and not proved, by path."""

    def __init__(self, prove: Callable[[Sequence[Sent]], list[Verdict]], lanes: Lanes, clock: Clock) -> None:
        self._prove = prove
        self._clock = clock
        self._desk: Desk[list[Verdict]] = Desk(lanes, Lane.PROOF)
        self._waiting: dict[str, Sent] = {}
        self._since = 0.0
        self._batch: dict[str, Sent] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._waiting or path in self._batch

    @property
    def paths(self) -> tuple[str, ...]:
        """Return what is not proved yet."""
        return (*self._waiting, *self._batch)

    @property
    def under_way(self) -> bool:
        """Return whether Storage is being asked."""
        return self._desk.under_way

    def add(self, sent: Sent) -> None:
        """Have ``sent`` proved."""
        if not self._waiting:
            self._since = self._clock.monotonic()
        self._waiting[sent.parcel.row.path] = sent

    def prove(self, *, more: bool) -> None:
        """Ask Storage if it is time. ``more``: other small files are being sent, so it is worth waiting for them."""
        if self._desk.busy or not self._waiting:
            return
        waited = self._clock.monotonic() - self._since
        if not more or len(self._waiting) >= ENOUGH or waited >= _LONGEST_WAIT:
            paths = list(self._waiting)[:_MOST]
            self._batch = {path: self._waiting.pop(path) for path in paths}
            self._since = self._clock.monotonic()
            batch = tuple(self._batch.values())
            self._desk.start(lambda: self._prove(batch))

    def proved(self) -> Iterator[tuple[Row, Verdict]]:
        """Yield what has been found out since the last call."""
        done = self._desk.take()
        if done is not None:
            batch, self._batch = tuple(self._batch.values()), {}
            for sent, verdict in zip(batch, done.result(), strict=True):
                yield sent.parcel.row, verdict
