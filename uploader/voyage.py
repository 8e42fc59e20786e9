"""What happens to a run while its prefix is ours: prepare it, watch the tree and send, close with the manifest.

``tick`` never waits for Storage: whatever does runs in a lane or at the desk, and its result is taken at a later tick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.contract.upload import DrainReceipt
from shared.log import EventLog
from shared.storage.errors import StorageError, Trouble
from uploader import manifest as manifests
from uploader import report
from uploader.courier import StoppedError
from uploader.lanes import Desk
from uploader.links import Links
from uploader.pulse import Pulse
from uploader.requests import take_away, wishes
from uploader.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from uploader.bulletin import Bulletin
    from uploader.hold import Hold
    from uploader.line import Line
    from uploader.observer import Circumstances
    from uploader.run import Run
    from uploader.session_view import SessionView
    from uploader.world import World

# A watched run that has been quiet for this long gets a manifest.
WATCHED_QUIET_SECONDS = 60.0
# What Storage will never take under this prefix, whatever comes.
REFUSALS = frozenset({Trouble.INVALID_KEY, Trouble.WRONG_TYPE, Trouble.TOO_LARGE})

log = EventLog("uploader")


class Voyage:
    """One run on its way to the bucket, from PREPARING to CLOSED, with ``hold`` for its cargo."""

    def __init__(self, run: Run, world: World, line: Line, view: SessionView, bulletin: Bulletin, hold: Hold) -> None:
        self.stage = Stage.PREPARING
        self.hold = hold
        self._run = run
        self._world = world
        self._line = line
        self._view = view
        self._bulletin = bulletin
        self._desk: Desk[str | None] = Desk(world.lanes)
        self._pulse = Pulse(world)
        self._links = Links(run, world)
        self._drain_seen: str | None = None
        self._look_at_everything = False
        # When (monotonic seconds) it was last begun to be closed.
        self._concluding_since = float("-inf")

    def tick(self, *, look: bool) -> None:
        """Do everything that can be done now without waiting; ``look``: the tree is looked at, too.

        Raises ClaimLostError when the prefix is ours no longer, StorageError when Storage will never take anything
        there, and sqlite3.Error or OSError when the disk fails.
        """
        self._take_papers()
        self.hold.land()
        if self.stage is Stage.PREPARING:
            self._file(self.hold.office.prepare)
        if self.stage in {Stage.OPEN, Stage.CLOSED}:
            self._carry(look=look)
        if self.stage in {Stage.PREPARING, Stage.OPEN} and self._line.open and self._pulse.due():
            status = self._links.into(self._bulletin.status(self.hold, self._view.session, closed=False))
            self._pulse.give(lambda: self.hold.office.publish_status(status))

    def close(self) -> None:
        """Put the ledger away. Nothing depends on this having been called."""
        self.hold.close()

    @property
    def at_rest(self) -> bool:
        """Return whether everything that is there now is in the bucket, or has failed for good."""
        if self._look_at_everything:
            return False
        to_close = self._world.hurry if self._run.watched else self._view.drain_token is not None
        if self.stage is Stage.CLOSED or to_close:
            return self.stage is Stage.CLOSED
        return self.stage is Stage.OPEN and not self._busy and self.hold.at_rest()

    @property
    def under_way(self) -> bool:
        """Return whether anything is still being sent, also after ``close``."""
        papers = self._desk.under_way or self._pulse.under_way or self._links.under_way
        return papers or self.hold.flight.under_way

    @property
    def epoch(self) -> int | None:
        """Return the epoch of the claim once the run may begin: only when it has no manifest does it count as alive."""
        begun = self.stage is not Stage.PREPARING and (self._is_over() or not self.hold.manifest_stands())
        return self.hold.claim.epoch if begun else None

    def look_again(self) -> None:
        """Have the whole tree looked at once more before this run is said to be at rest."""
        self._look_at_everything = True

    # Carrying

    def _carry(self, *, look: bool) -> None:
        now = self._view.circumstances()
        if look:
            self._look(now)
        if self.stage is Stage.CLOSED and self._is_open_again():
            self.stage = Stage.OPEN
        if self.stage is Stage.OPEN and self._line.open and self._withdrawn():
            self._inherit()
            self._links.look(self.hold.ledger, self._view.session)
            if not self.hold.office.is_rebuilding:
                self.hold.launch(ended=now.ended)
            self._conclude()

    def _look(self, now: Circumstances) -> None:
        wished = wishes(self._run.requests, "retry")
        if wished and self.hold.ledger.revive():
            log.info("retrying", session=self._run.session_id)
        if wished and self.stage is Stage.CLOSED:
            # Somebody doubts it: its last word is said once more, and if it cannot be said, that is found out.
            self.stage = Stage.OPEN
        take_away(wished)
        drain = self._view.drain_token
        last_look = now.ended and drain != self._drain_seen
        self.hold.observe(now, everything=last_look or self._look_at_everything or self._is_unsure())
        self._look_at_everything = False
        if last_look:
            self._drain_seen = drain

    def _is_over(self) -> bool:
        """Return whether nobody works on the run any more, so that its manifest may stand. A watched one never says."""
        return self._run.watched or self._view.drain_token is not None

    def _is_open_again(self) -> bool:
        """Return whether the manifest has not all to say: somebody asks anew, or there is something new, if only a file
        that cannot be carried."""
        news = self.hold.observer.changed_at > self._concluding_since
        return news or self._unanswered() or not self.hold.at_rest()

    def _unanswered(self) -> bool:
        receipt = self._bulletin.receipt
        return not self._run.watched and (receipt is None or receipt.token != self._view.drain_token)

    def _withdrawn(self) -> bool:
        """Return whether no manifest of ours stands in the way; have it taken away where one does.

        A manifest must not list what is about to be overwritten; and a run that has one counts as finished, so that
        anybody may claim its prefix.
        """
        if not self.hold.manifest_stands() or (self._is_over() and self.hold.at_rest()):
            return True
        # As long as nobody has looked, as after a restart, nothing speaks against it.
        if self.hold.observer.has_looked:
            self._file(self.hold.office.withdraw_manifest)
        return False

    def _inherit(self) -> None:
        """Have what earlier sessions of this training left put on record, once the handler has restored from it."""
        if self._view.has_trained and not self.hold.office.has_inherited:
            self._file(self.hold.office.inherit)

    # Closing

    def _conclude(self) -> None:
        # A sign of life that is under way must not arrive after the last word.
        if self._busy or not self.hold.office.has_inherited or not self.hold.at_rest() or not self._is_end():
            return
        self.stage = Stage.CONCLUDING
        self._concluding_since = self._world.clock.monotonic()
        session, now = self._view.session, self._world.clock.now()
        manifest = manifests.head(self._run, session, manifests.missing_of(self.hold.ledger), now)
        status = self._bulletin.status(self.hold, session, closed=True)
        office, links = self.hold.office, self._links
        self._desk.start(lambda: office.publish_manifest(links.renewed(status, session), manifest))

    def _is_end(self) -> bool:
        if not self._run.watched:
            return self._drain_seen is not None and self._drain_seen == self._view.drain_token
        # What is rewritten in its place shows only where everything is looked at.
        return self._world.hurry or self.hold.observer.looked_at >= self._quiet_at()

    def _quiet_at(self) -> float:
        """Return when (monotonic seconds) a watched run that does not change will have been quiet for long enough."""
        # A log may wait longer for its next copy.
        return self.hold.observer.changed_at + max(WATCHED_QUIET_SECONDS, self._world.settings.log_seconds)

    def _is_unsure(self) -> bool:
        """Return whether a watched run seems to have been quiet for long enough, as far as has been looked."""
        if not self._run.watched or self.stage is not Stage.OPEN:
            return False
        return self.hold.observer.looked_at < self._quiet_at() <= self._world.clock.monotonic()

    def _concluded(self, manifest_key: str) -> None:
        self.stage = Stage.CLOSED
        if self._drain_seen is not None:
            self._bulletin.receipt = DrainReceipt(
                token=self._drain_seen,
                complete=not self.hold.ledger.undelivered(),
                manifest_key=manifest_key,
                checkpoints=report.checkpoint_keys(self._run, self.hold.ledger),
                samples=report.sample_keys(self._run, self.hold.ledger),
                missing=report.failures(self.hold.ledger, ended=True),
            )
        log.info("closed", session=self._run.session_id, manifest=manifest_key)

    # Papers

    @property
    def _busy(self) -> bool:
        return self._desk.busy or self._pulse.busy

    def _file(self, paper: Callable[[], None]) -> None:
        if self._line.open and not self._desk.busy:
            self._desk.start(paper)

    def _take_papers(self) -> None:
        sign = self._pulse.take()
        if sign is not None:
            self._arrived(sign)
        paper = self._desk.take()
        if paper is None:
            return
        arrived = self._arrived(paper)
        if self.stage is Stage.PREPARING and arrived:
            self.stage = Stage.OPEN
        elif self.stage is Stage.CONCLUDING and arrived:
            self._concluded(str(paper.result()))
        elif self.stage is Stage.CONCLUDING:
            self.stage = Stage.OPEN

    def _arrived(self, paper: Future[str | None] | Future[None]) -> bool:
        """Return whether Storage took a document. What is trouble for everybody stops the line."""
        try:
            paper.result()
        except StoppedError:
            return False
        except StorageError as error:
            log.warning("storage_trouble", session=self._run.session_id, reason=error.sentence)
            if error.trouble in REFUSALS:
                raise
            self._line.suspect(error.sentence, error.retry_after)
            return False
        self._line.restored()
        return True
