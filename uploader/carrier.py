"""Carries one run: claim the prefix, watch the tree, send what is complete, and close with the manifest.

``tick`` never waits for Storage: whatever does runs in a lane or at the desk, and its result is taken at a later tick.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from shared.contract.process import find
from shared.contract.session import Outcome, Session
from shared.contract.upload import DrainReceipt, StorageState
from shared.errors import ErrorCode, FerryError
from shared.log import EventLog
from shared.storage.errors import StorageError, Trouble
from uploader import manifest as manifests
from uploader import report
from uploader.bulletin import Bulletin
from uploader.claim import ClaimLostError, Claims, Standing
from uploader.courier import Courier, StoppedError
from uploader.hold import Hold
from uploader.lanes import Desk
from uploader.observer import Circumstances, saved_by_path
from uploader.open_files import can_see
from uploader.requests import consume
from uploader.run import drain_token

if TYPE_CHECKING:
    from concurrent.futures import Future

    from shared.contract.upload import Upload
    from uploader.flight import Flight
    from uploader.line import Line
    from uploader.run import Run
    from uploader.world import World

# A watched run that has been quiet for this long gets a manifest.
WATCHED_QUIET_SECONDS = 60.0
_STUMBLE_SECONDS = 5.0

log = EventLog("uploader")


class Stage(StrEnum):
    """Where a run stands with the uploader."""

    CLAIMING = "claiming"
    PREPARING = "preparing"
    OPEN = "open"
    CONCLUDING = "concluding"
    CLOSED = "closed"
    REFUSED = "refused"


class Carrier:
    """One run on its way to the bucket."""

    def __init__(self, run: Run, world: World, line: Line) -> None:
        self.run = run
        self.line = line
        self.stage = Stage.CLAIMING
        self._world = world
        self._clock = world.clock
        self._claims = Claims(world.storage, run, world.worker, world.clock)
        self._bulletin = Bulletin(run, world)
        self._courier = Courier(
            world.storage,
            claim=self._claims.assure,
            stop=world.stop,
            throttle=world.throttle,
            moved=self._bulletin.moved,
            clock=world.clock,
        )
        self._desk: Desk[object] = Desk(world.lanes)
        self._hold: Hold | None = None
        self._last: Flight | None = None
        self._session: Session | None = None
        self._drain_seen: str | None = None
        self._look_at_everything = False
        self._status_at: float | None = None
        self._next_claim = world.clock.monotonic()

    def tick(self, *, look: bool = True) -> None:
        """Do everything that can be done now without waiting; ``look``: the tree is looked at, too."""
        if not self.run.watched:
            self._session = Session.read(self.run.session_file) or self._session
        self._take_desk()
        if self._hold is not None:
            self._carry(self._hold, look=look)
        elif self.stage is Stage.CLAIMING:
            self._claim()
        self._bulletin.post(self._hold, self._courier.retries, self.line.state, self._warnings(), idle=self.idle)

    @property
    def idle(self) -> bool:
        """Return whether there is nothing to do here now: delivered and closed, or refused."""
        return self.stage in {Stage.CLOSED, Stage.REFUSED}

    @property
    def answered(self) -> bool:
        """Return whether a session's drain has been answered, so that nothing more will happen to it by itself."""
        return self.stage is Stage.CLOSED and not self.run.watched and self.upload.receipt == self._bulletin.receipt

    @property
    def at_rest(self) -> bool:
        """Return whether everything that is there now is in the bucket, or has failed for good."""
        if self._look_at_everything and self._hold is not None:
            return False
        to_close = self._world.hurry if self.run.watched else self._drain_token() is not None
        if self.idle or to_close:
            return self.idle
        return self.stage is Stage.OPEN and not self._desk.busy and self._hold is not None and self._hold.at_rest()

    @property
    def upload(self) -> Upload:
        """Return the newest ``upload.json``."""
        return self._bulletin.upload

    def look_again(self) -> None:
        """Have the whole tree looked at once more before this run is said to be at rest."""
        self._look_at_everything = True

    def recovered(self) -> None:
        """Storage was away and is back: what waits need not wait any longer."""
        if self._hold is not None:
            self._hold.ledger.hurry()

    def stumble(self, error: Exception) -> None:
        """The disk or the ledger failed: begin again from what is durable, after a pause."""
        log.error("run_interrupted", session=self.run.session_id, reason=error)
        self.close()
        if self.stage is not Stage.REFUSED:
            self.stage = Stage.CLAIMING
            self._next_claim = self._clock.monotonic() + _STUMBLE_SECONDS

    def close(self) -> None:
        """Put the ledger away. Nothing depends on this having been called."""
        self._courier.halt()
        if self._hold is not None:
            self._last = self._hold.flight
            self._hold.close()
            self._hold = None

    # Claim

    def _claim(self) -> None:
        if self._last is not None and self._last.under_way:
            # What an interrupted delivery still sends could replace what a later one has sent.
            return
        if not self._desk.busy and self.line.open and self._clock.monotonic() >= self._next_claim:
            self._courier.resume()
            self._next_claim = self._clock.monotonic() + self._world.settings.poll_seconds
            self._desk.start(self._claims.pursue)

    def _claimed(self, standing: Standing) -> None:
        if standing is Standing.IN_USE:
            where = f"{self.run.bucket}/{self.run.prefix}"
            self._refuse(
                FerryError(
                    ErrorCode.PREFIX_IN_USE,
                    f"Another run is writing to {where}: choose another folder_path or name, or wait for its end.",
                )
            )
        elif standing is Standing.OWNED and self._claims.held is not None:
            hold = Hold(self.run, self._world, self.line, self._claims, self._courier, self._claims.held)
            self._hold = hold
            self.stage = Stage.PREPARING
            self._desk.start(hold.office.prepare)

    def _lose(self) -> None:
        sentence = "Another uploader has taken this run over; nothing more is written from here."
        self._refuse(FerryError(ErrorCode.PREFIX_IN_USE, sentence))

    def _refuse(self, error: FerryError) -> None:
        self.stage = Stage.REFUSED
        self._bulletin.refusal = error
        self.close()
        log.error("run_refused", session=self.run.session_id, reason=error.sentence)

    # Carrying

    def _carry(self, hold: Hold, *, look: bool) -> None:
        hold.land()
        if self._claims.lost:
            self._lose()
            return
        if self.stage not in {Stage.OPEN, Stage.CLOSED}:
            return
        now = self._circumstances()
        if look:
            self._look(hold, now)
        if self.stage is Stage.CLOSED and (self._unanswered() or not hold.at_rest()):
            self.stage = Stage.OPEN
        if self.stage is Stage.OPEN and self.line.open and self._withdrawn(hold):
            hold.launch(ended=now.ended)
            self._inherit(hold)
            self._conclude(hold)
            self._publish_status(hold)

    def _look(self, hold: Hold, now: Circumstances) -> None:
        if consume(self.run.requests, "retry") and hold.ledger.revive():
            log.info("retrying", session=self.run.session_id)
        drain = self._drain_token()
        last_look = now.ended and drain != self._drain_seen
        hold.observe(now, everything=last_look or self._look_at_everything)
        self._look_at_everything = False
        if last_look:
            self._drain_seen = drain

    def _circumstances(self) -> Circumstances:
        session = self._session
        if session is None:
            return Circumstances()
        trainer = session.trainer
        return Circumstances(
            saved=saved_by_path(session.saved),
            visible=lambda: trainer is not None and find(trainer) is not None and can_see(trainer.pid),
            ended=self._drain_token() is not None and (trainer is None or find(trainer) is None),
            # A trainer that failed may have been in the middle of a file as well as one that was killed.
            by_itself=session.ending is not None and session.ending.outcome is Outcome.FINISHED,
        )

    def _drain_token(self) -> str | None:
        return None if self._session is None else drain_token(self._session, self._world.worker)

    def _unanswered(self) -> bool:
        drain, receipt = self._drain_token(), self._bulletin.receipt
        return drain is not None and (receipt is None or receipt.token != drain)

    def _withdrawn(self, hold: Hold) -> bool:
        """Return whether no manifest of ours stands in the way; have it taken away where one does.

        A manifest must not list what is about to be overwritten.
        """
        if not hold.manifest_stands() or hold.at_rest():
            return True
        if not self._desk.busy:
            self._desk.start(hold.office.withdraw_manifest)
        return False

    def _inherit(self, hold: Hold) -> None:
        """Have what earlier sessions of this training left put on record, once the handler has restored from it."""
        session = self._session
        restored = session is not None and (session.trainer is not None or self._drain_token() is not None)
        if restored and not self._desk.busy and not hold.office.has_inherited:
            self._desk.start(hold.office.inherit)

    # Closing

    def _conclude(self, hold: Hold) -> None:
        if self._desk.busy or not hold.office.has_inherited or not hold.at_rest() or not self._is_end(hold):
            return
        self.stage = Stage.CONCLUDING
        manifest = manifests.head(self.run, self._session, manifests.missing_of(hold.ledger), self._clock.now())
        status = self._bulletin.status(hold, self._session, self._warnings(), closed=True)
        self._desk.start(lambda: hold.office.publish_manifest(status, manifest))

    def _is_end(self, hold: Hold) -> bool:
        if not self.run.watched:
            return self._drain_seen is not None and self._drain_seen == self._drain_token()
        quiet = self._clock.monotonic() - hold.observer.changed_at
        return self._world.hurry or quiet >= WATCHED_QUIET_SECONDS

    def _concluded(self, hold: Hold, manifest_key: str) -> None:
        self.stage = Stage.CLOSED
        if self._drain_seen is not None:
            self._bulletin.receipt = DrainReceipt(
                token=self._drain_seen,
                complete=not hold.ledger.undelivered(),
                manifest_key=manifest_key,
                checkpoints=report.checkpoint_keys(self.run, hold.ledger),
                missing=report.failures(hold.ledger),
            )
        log.info("closed", session=self.run.session_id, manifest=manifest_key)

    # The desk

    def _take_desk(self) -> None:
        future = self._desk.take()
        if future is None:
            return
        try:
            self._filed(future)
        except ClaimLostError:
            self._lose()
        except StoppedError:
            return
        except StorageError as error:
            self._desk_failed(error)

    def _filed(self, future: Future[object]) -> None:
        result = future.result()
        self.line.restored()
        if isinstance(result, Standing):
            self._claimed(result)
        elif self.stage is Stage.PREPARING:
            self.stage = Stage.OPEN
        elif self.stage is Stage.CONCLUDING and self._hold is not None:
            self._concluded(self._hold, str(result))

    def _desk_failed(self, error: StorageError) -> None:
        log.warning("storage_trouble", session=self.run.session_id, reason=error.sentence)
        if error.trouble in {Trouble.INVALID_KEY, Trouble.WRONG_TYPE, Trouble.TOO_LARGE}:
            self._refuse(error)
            return
        self.line.suspect(error.sentence, error.retry_after)
        if self.stage is Stage.CONCLUDING:
            self.stage = Stage.OPEN
        elif self.stage is Stage.PREPARING:
            self.stage = Stage.CLAIMING
            self.close()

    # Telling

    def _publish_status(self, hold: Hold) -> None:
        now = self._clock.monotonic()
        due = self._status_at is None or now - self._status_at >= self._world.settings.log_seconds
        if due and not self._desk.busy and self.stage is Stage.OPEN:
            self._status_at = now
            status = self._bulletin.status(hold, self._session, self._warnings(), closed=False)
            self._desk.start(lambda: hold.office.publish_status(status))

    def _warnings(self) -> tuple[str, ...]:
        warnings = []
        lag = self._hold.lag_seconds() if self._hold else 0.0
        if lag >= self._world.settings.lag_alarm_seconds:
            warnings.append(f"A checkpoint has been waiting for {lag / 60:.0f} minutes to be uploaded.")
        if self.line.state in {StorageState.DOWN, StorageState.DENIED} and self.line.problem:
            warnings.append(self.line.problem)
        return tuple(warnings)
