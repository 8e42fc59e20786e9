"""A run whose prefix is ours: its ledger, what is seen of its tree, and what is under way to the bucket."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from shared.log import EventLog
from uploader.delivery import Changed, Delivered, Deliverer, Later, Refused, Stopped, Vanished
from uploader.flight import Flight, spool_file
from uploader.keeper import Keeper
from uploader.observer import Observer
from uploader.office import PUBLISHED, Office
from uploader.opening import open_ledger
from uploader.states import State

if TYPE_CHECKING:
    from shared.contract.bucket import Claim
    from uploader.claim import Claims
    from uploader.courier import Courier
    from uploader.delivery import Result
    from uploader.line import Line
    from uploader.observer import Circumstances
    from uploader.rows import Row
    from uploader.run import Run
    from uploader.world import World

_LONGEST_RETRY_SECONDS = 300.0
_CHANGED_RETRY_SECONDS = 1.0

log = EventLog("uploader")


class Hold:
    """The cargo of one run. Opening it raises sqlite3.Error or OSError when the disk refuses."""

    def __init__(self, run: Run, world: World, line: Line, claims: Claims, courier: Courier, claim: Claim) -> None:
        self.claim = claim
        self.ledger = open_ledger(run, claim.epoch)
        self.observer = Observer(run, self.ledger, world.settings, world.clock, world.opened)
        self._keeper = Keeper(run, self.ledger, world.lanes, world.settings.spool_bytes)
        deliverer = Deliverer(run, courier, self.ledger, world.clock)
        self.flight = Flight(run, self.ledger, deliverer, world.lanes, self._keeper)
        self.office = Office(run, self.ledger, claims, courier)
        self._run = run
        self._world = world
        self._line = line

    def close(self) -> None:
        """Put the ledger away. Nothing depends on this having been called."""
        self._keeper.close()
        self.ledger.close()

    def observe(self, now: Circumstances, *, everything: bool) -> None:
        """Look at the tree; ``everything`` trusts no folder's mtime."""
        self.observer.observe(now, everything=everything)
        self._keeper.keep()

    def launch(self, *, ended: bool) -> None:
        """Send what may be sent now. ``ended``: nobody writes any more, so the newest checkpoint goes first."""
        with self.ledger.transaction():
            self.flight.launch(self._world.clock.now(), ended=ended)

    def land(self) -> None:
        """Record what has come of the deliveries."""
        with self.ledger.transaction():
            for row, result in self.flight.landed():
                self._record(row, result)

    def at_rest(self) -> bool:
        """Return whether the tree has been looked at and nothing waits, settles or is under way."""
        totals = self.ledger.totals()
        waiting = totals[State.READY].files + totals[State.SENDING].files
        return self.observer.has_looked and not (waiting or self.observer.waiting or self.flight.paths)

    def manifest_stands(self) -> bool:
        """Return whether a manifest of ours is, or may be, in the bucket."""
        return bool(self.ledger.fact(PUBLISHED))

    def lag_seconds(self) -> float:
        """Return for how long the oldest undelivered checkpoint has been waiting."""
        since = self.ledger.oldest_waiting_checkpoint()
        return 0.0 if since is None else max(0.0, self._world.clock.now() - since)

    def _record(self, row: Row, result: Result) -> None:
        session, now = self._run.session_id, self._world.clock.now()
        match result:
            case Delivered(stored=stored, sent=sent):
                self.ledger.delivered(row, stored)
                if sent:
                    self._line.restored()
                log.info("uploaded", session=session, key=row.key, bytes=row.version.size, sent=sent)
            case Changed() if row.source is not None:
                self.ledger.end(row, State.SENDING, State.GONE, "it was deleted, and its copy in the spool is damaged")
            case Changed():
                self.ledger.retry_later(row, row.attempts, now + _CHANGED_RETRY_SECONDS, "it is being changed")
            case Vanished():
                self.ledger.end(row, State.SENDING, State.GONE, "it was deleted before it could be uploaded")
                log.warning("deleted_before_upload", session=session, path=row.path)
            case Refused(reason=reason):
                # A copy in the spool may be the only one there is: somebody may wish for another attempt.
                self._give_up(row, reason)
                return
            case Later():
                self._try_later(row, result)
                return
            case Stopped():
                self.ledger.retry_later(row, row.attempts, 0.0, row.error or "the uploader was stopped")
                return
        with suppress(OSError):
            spool_file(self._run, row).unlink(missing_ok=True)

    def _try_later(self, row: Row, result: Later) -> None:
        attempts = 1 if result.moved else row.attempts + 1
        if result.most_attempts is not None and attempts >= result.most_attempts and self._line.open:
            self._give_up(row, result.reason)
            return
        pause = min(_LONGEST_RETRY_SECONDS, 2.0 ** min(attempts, 10)) * self._world.jitter.uniform(0.5, 1.0)
        next_try = self._world.clock.now() + max(pause, result.retry_after or 0.0)
        self.ledger.retry_later(row, attempts, next_try, result.reason)
        log.warning("upload_retried", session=self._run.session_id, path=row.path, reason=result.reason)
        if result.server_down:
            self._line.suspect(result.reason, result.retry_after)

    def _give_up(self, row: Row, reason: str) -> None:
        self.ledger.end(row, State.SENDING, State.FAILED, reason)
        log.error("not_uploaded", session=self._run.session_id, path=row.path, reason=reason)
