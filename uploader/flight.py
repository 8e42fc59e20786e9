"""What is under way: which files are in which lane, which are sent and not proved yet, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from shared import keys
from uploader.kinds import Kind, nature
from uploader.lanes import Lane
from uploader.parcel import STANDARD_LIMIT, Parcel
from uploader.results import Sent
from uploader.unproved import Unproved

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from shared.clock import Clock
    from uploader.delivery import Deliverer
    from uploader.keeper import Keeper
    from uploader.lanes import Lanes
    from uploader.ledger import Ledger
    from uploader.results import Result, Verdict
    from uploader.rows import Row
    from uploader.run import Run


@dataclass(frozen=True, slots=True)
class _Flying:
    row: Row
    lane: Lane
    future: Future[Result]


class Flight:
    """The deliveries of one run that are under way."""

    def __init__(
        self, run: Run, ledger: Ledger, deliverer: Deliverer, lanes: Lanes, keeper: Keeper, clock: Clock
    ) -> None:
        self._run = run
        self._ledger = ledger
        self._deliverer = deliverer
        self._lanes = lanes
        self._keeper = keeper
        self._flying: dict[str, _Flying] = {}
        self._unproved = Unproved(deliverer.prove, lanes, clock)

    @property
    def under_way(self) -> bool:
        """Return whether a lane still works on a delivery."""
        return self._unproved.under_way or any(not flying.future.done() for flying in self._flying.values())

    @property
    def paths(self) -> tuple[str, ...]:
        """Return what is under way."""
        return (*self._flying, *self._unproved.paths)

    def launch(self, now: float, *, ended: bool, alone: bool = False) -> None:
        """Fill the free lanes with what may be sent now (monotonic seconds).

        ``ended``: nobody writes any more. ``alone``: one file at a time.
        """
        for lane in (Lane.SMALL, Lane.LARGE):
            free = self._lanes.free(lane)
            if alone:
                free = min(free, 1 - len(self.paths))
            for row in self._waiting(lane, now, free, ended=ended) if free > 0 else ():
                if self._ledger.start(row):
                    self._start(row, lane, ended=ended)
        self._unproved.prove(more=any(flying.lane is Lane.SMALL for flying in self._flying.values()))

    def landed(self) -> Iterator[tuple[Row, Verdict]]:
        """Yield what has come to an end since the last call. A defect in a delivery is raised here."""
        yield from self._unproved.proved()
        for path, flying in list(self._flying.items()):
            if flying.future.done():
                del self._flying[path]
                result = flying.future.result()
                if isinstance(result, Sent):
                    self._unproved.add(result)
                else:
                    yield flying.row, result

    def _is_under_way(self, path: str) -> bool:
        return path in self._flying or path in self._unproved

    def _waiting(self, lane: Lane, now: float, count: int, *, ended: bool) -> list[Row]:
        """Return up to ``count`` files to send next. Of one that is under way the next version may have settled."""
        rows = self._next(lane, now, count, ended=ended)
        if any(self._is_under_way(row.path) for row in rows):
            rows = self._next(lane, now, count + len(self.paths), ended=ended)
        return [row for row in rows if not self._is_under_way(row.path)][:count]

    def _next(self, lane: Lane, now: float, count: int, *, ended: bool) -> list[Row]:
        if lane is Lane.SMALL:
            return self._ledger.next_small(now, STANDARD_LIMIT, count, newest_first=ended)
        rows = self._ledger.next_large(now, STANDARD_LIMIT, count, newest_first=ended)
        # The optimizer's state is large, changes at every save, and only the newest is of use: it goes when there is
        # nothing else to do.
        return rows or ([] if self.paths or ended else self._optimizer(now))

    def _optimizer(self, now: float) -> list[Row]:
        """Return the optimizer's state if its copy fits; at the end it needs none."""
        return [row for row in self._ledger.next_optimizer(now) if self._keeper.has_room(row.version.size)]

    def _start(self, row: Row, lane: Lane, *, ended: bool) -> None:
        spool = self._spool(row, ended=ended)
        parcel = Parcel(
            row=row,
            file=self._run.output / row.path,
            bucket=self._run.bucket,
            key=keys.join(self._run.prefix, row.key),
            growing=nature(row.path, self._run.name).growing,
            spool=spool,
            held=None if spool else self._keeper.descriptor(row),
            known=self._ledger.known_object(row.key),
        )
        future = self._lanes.submit(lane, partial(self._deliverer.deliver, parcel))
        self._flying[row.path] = _Flying(row, lane, future)

    def _spool(self, row: Row, *, ended: bool) -> Path | None:
        spool = self._keeper.spool
        if row.source is not None:
            return spool.path(row.source)
        if row.kind is not Kind.OPTIMIZER:
            return None
        spool.only(row)
        copy = spool.optimizer(row)
        return copy if not ended or copy.exists() else None
