"""A run whose prefix is ours: its ledger, what is seen of its tree, and what is under way to the bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.log import EventLog
from uploader.delivery import Deliverer
from uploader.flight import Flight
from uploader.keeper import Keeper
from uploader.kinds import Kind
from uploader.observer import Observer
from uploader.office import PUBLISHED, Office
from uploader.opening import open_ledger
from uploader.refusals import Refusals
from uploader.removing import drop_leftovers
from uploader.results import Changed, Delivered, Later, Refused, Stopped, Vanished
from uploader.states import State

if TYPE_CHECKING:
    from shared.contract.bucket import Claim
    from uploader.claim import Claims
    from uploader.courier import Courier
    from uploader.grips import Grips
    from uploader.line import Line
    from uploader.observer import Circumstances
    from uploader.results import Verdict
    from uploader.rows import Row
    from uploader.run import Run
    from uploader.world import World

_LONGEST_RETRY_SECONDS = 300.0
_CHANGED_RETRY_SECONDS = 1.0
# So many attempts of which none moves a byte, each of some calls, and an upload counts as stuck at the server.
_MOST_STANDSTILLS = 6

log = EventLog("uploader")


class Hold:
    """The cargo of one run. Opening it raises sqlite3.Error or OSError when the disk refuses.

    ``grips`` are the carrier's own: what is held open outlives the trouble that ends a hold. ``ended``: nobody writes
    to the tree any more, as far as the last look told.
    """

    def __init__(
        self, run: Run, world: World, line: Line, claims: Claims, courier: Courier, claim: Claim, grips: Grips
    ) -> None:
        self.claim = claim
        self.ended = False
        self.ledger = open_ledger(run, claim.epoch)
        try:
            self.observer = Observer(run, self.ledger, world.settings, world.clock, world.opened, grips)
            self._keeper = Keeper(run, self.ledger, grips, world, courier.alive)
        except BaseException:
            # One that stays open would keep this very process from opening it again.
            self.ledger.close()
            raise
        deliverer = Deliverer(run, courier, self.ledger, world.clock)
        self.flight = Flight(run, self.ledger, deliverer, world.lanes, self._keeper, world.clock)
        self.office = Office(run, self.ledger, claims, courier)
        self._refusals = Refusals(world.clock)
        self._run = run
        self._world = world
        self._line = line

    def close(self) -> None:
        """Put the ledger away. Nothing depends on this having been called."""
        self.ledger.close()

    def observe(self, now: Circumstances, *, everything: bool) -> None:
        """Look at the tree; ``everything`` trusts no folder's mtime."""
        self.ended = now.ended
        self.observer.observe(now, everything=everything)
        self._keeper.keep(self.observer.settling, self.flight.paths)

    def launch(self, *, ended: bool) -> None:
        """Send what may be sent now. ``ended``: nobody writes any more, so the newest checkpoint goes first."""
        with self.ledger.transaction():
            self.flight.launch(self._world.clock.monotonic(), ended=ended, alone=self._line.on_trial)

    def land(self) -> None:
        """Record what has come of the deliveries."""
        with self.ledger.transaction():
            landed = list(self.flight.landed())
            for row, result in landed:
                self._record(row, result)
        for row, result in landed:
            # Not before all that is durable: without its record a delivery is made again, and needs the copy.
            if _is_done_with_copy(row, result):
                self._keeper.spool.discard(row)

    def recovered(self) -> None:
        """Storage was away and is back: what waits need not wait any longer, nor is it to blame."""
        self._refusals.forget()
        self.ledger.hurry()

    def drop_leftovers(self) -> int:
        """Delete what was left behind, and copies that can be made again; return the bytes."""
        left = drop_leftovers(self._run, self.ledger, self._world.clock.now())
        return left + self._keeper.drop_spare(self.flight.paths)

    def at_rest(self) -> bool:
        """Return whether the tree has been looked at and nothing waits, settles or is under way."""
        busy = self.observer.waiting or self.observer.misses or self.flight.paths or self.ledger.waits()
        return self.observer.has_looked and not busy

    def manifest_stands(self) -> bool:
        """Return whether a manifest of ours is, or may be, in the bucket."""
        return bool(self.ledger.fact(PUBLISHED))

    def lag_seconds(self) -> float:
        """Return for how long the oldest undelivered checkpoint has been waiting."""
        since = self.ledger.oldest_waiting_checkpoint()
        return 0.0 if since is None else max(0.0, self._world.clock.now() - since)

    def _record(self, row: Row, result: Verdict) -> None:
        session, now = self._run.session_id, self._world.clock.monotonic()
        match result:
            case Delivered(stored=stored, sent=sent):
                self._refusals.forget(row.path)
                self.ledger.delivered(row, stored)
                if sent:
                    self._line.restored()
                log.info("uploaded", session=session, key=row.key, bytes=row.version.size, sent=sent)
            case Changed() | Vanished() | Later(unread=True) if self._has_original(row, result):
                self.ledger.spooled(row, None)
                self.ledger.retry_later(row, row.attempts, now, "its copy in the spool is damaged")
            case Changed() if row.source is not None:
                self.ledger.end(row, State.SENDING, State.GONE, "it was deleted, and its copy in the spool is damaged")
            case Changed():
                # Some changes show in no version: what is there now is another content of what seems to be the same.
                self.ledger.hashed(row, None)
                self.ledger.retry_later(row, row.attempts, now + _CHANGED_RETRY_SECONDS, "it is being changed")
            case Vanished():
                self.ledger.end(row, State.SENDING, State.GONE, "it was deleted before it could be uploaded")
                log.warning("deleted_before_upload", session=session, path=row.path)
            case Refused(reason=reason):
                # A copy in the spool may be the only one there is: somebody may wish for another attempt.
                self._give_up(row, reason)
            case Later():
                self._try_later(row, result)
            case Stopped():
                self.ledger.retry_later(row, row.attempts, 0.0, row.error or "the uploader was stopped")

    def _has_original(self, row: Row, result: Verdict) -> bool:
        """Return whether it was a copy that failed, and the file itself can be sent in its place."""
        if isinstance(result, Later):
            # Where neither can be read, the copy is not given up: it may be the only one by then.
            return row.source is not None and self._keeper.sees_original(row)
        return row.source is not None and self._keeper.has_original(row)

    def _try_later(self, row: Row, result: Later) -> None:
        attempts = 1 if result.moved else row.attempts + 1
        if self._refusals.is_hopeless(row.path, result) and self._line.open:
            self._give_up(row, result.reason)
            return
        pause = min(_LONGEST_RETRY_SECONDS, 2.0 ** min(attempts, 10)) * self._world.jitter.uniform(0.5, 1.0)
        wished = min(_LONGEST_RETRY_SECONDS, result.retry_after or 0.0)
        next_try = self._world.clock.monotonic() + max(pause, wished)
        self.ledger.retry_later(row, attempts, next_try, result.reason)
        if self._is_stuck(row, result, attempts):
            self.ledger.upload_url(row, None)
        log.warning("upload_retried", session=self._run.session_id, path=row.path, reason=result.reason)
        if result.server_down or (self._refusals.are_spreading(row.path) and not result.unread):
            self._line.suspect(result.reason, result.retry_after)

    def _is_stuck(self, row: Row, result: Later, attempts: int) -> bool:
        """Return whether Storage takes other files and never goes on with this one's upload: it is begun anew."""
        standstill = row.upload_url is not None and not result.moved and not result.unread
        return standstill and attempts % _MOST_STANDSTILLS == 0 and self._line.open and not self._line.on_trial

    def _give_up(self, row: Row, reason: str) -> None:
        self._refusals.forget(row.path)
        self.ledger.end(row, State.SENDING, State.FAILED, reason)
        log.error("not_uploaded", session=self._run.session_id, path=row.path, reason=reason)


def _is_done_with_copy(row: Row, result: Verdict) -> bool:
    """Return whether the copy that was sent, if it was one, is of no use any more."""
    if isinstance(result, Delivered):
        return row.kind in {Kind.CHECKPOINT, Kind.OPTIMIZER}
    copied = row.source is not None or row.kind is Kind.OPTIMIZER
    return copied and isinstance(result, Changed | Vanished)
