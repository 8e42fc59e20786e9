"""Carries one run: seeks the claim to its prefix, and does what is to be done while it is ours.

``tick`` never waits for Storage: whatever does runs in a lane or at a desk, and its result is taken at a later tick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.log import EventLog
from shared.storage.errors import StorageError
from uploader.bulletin import Bulletin
from uploader.claim import ClaimLostError, Claims
from uploader.courier import Courier, StoppedError
from uploader.grips import Grips
from uploader.hold import Hold
from uploader.lanes import Desk
from uploader.ledger_file import LedgerError
from uploader.opening import set_aside
from uploader.requests import asked_for, take_away, wishes
from uploader.session_view import SessionView
from uploader.silence import SILENCE_SECONDS
from uploader.stage import Stage
from uploader.standing import Standing, refusal
from uploader.vigil import Vigil
from uploader.voyage import REFUSALS, Voyage

if TYPE_CHECKING:
    from shared.contract.bucket import Claim
    from shared.contract.session import Session
    from shared.contract.upload import Upload
    from shared.errors import FerryError
    from uploader.line import Line
    from uploader.run import Run
    from uploader.world import World

_STUMBLE_SECONDS = 5.0
# A claim that is watched is looked at so often; there may be many left-over runs on a volume.
_WATCH_SECONDS = 5.0

log = EventLog("uploader")


class Carrier:
    """One run on its way to the bucket; of a session one attempt, as long as that is the same worker's.

    ``left_for`` is what has shown that the run is not ours to carry; None where its session itself did.
    """

    def __init__(self, run: Run, world: World, line: Line) -> None:
        self.run = run
        self.line = line
        self.left_for: Standing | None = None
        self._world = world
        self._clock = world.clock
        self._view = SessionView(run, world.worker)
        self._claims = Claims(
            world.storage, run, world.worker, world.clock, max(_WATCH_SECONDS, world.settings.poll_seconds)
        )
        self._bulletin = Bulletin(run, world, line)
        self._courier = Courier(
            world.storage,
            claim=self._claims.assure,
            stop=world.stop,
            throttle=world.throttle,
            moved=self._bulletin.moved,
            clock=world.clock,
        )
        self._grips = Grips(run.output)
        self._vigil = Vigil(run, self._grips, world.settings, world.clock)
        self._stage = Stage.CLAIMING
        self._standing: Standing | None = None
        self._desk: Desk[Standing] = Desk(world.lanes)
        self._next_claim = world.clock.monotonic()
        self._damage: LedgerError | None = None
        self._stumbled: str | None = None
        self._voyage: Voyage | None = None
        self._last: Voyage | None = None

    def tick(self, *, look: bool = True) -> None:
        """Do everything that can be done now without waiting; ``look``: the tree is looked at, too."""
        self._view.refresh()
        if self._view.has_moved_on:
            self._leave(None)
        self._take_claim()
        if self._has_left:
            return
        if look and self.stage in {Stage.CLAIMING, Stage.PREPARING} and not self._view.adopted:
            self._vigil.look()
        if self._voyage is not None:
            self._sail(self._voyage, look=look)
        elif self.stage is Stage.CLAIMING or self._asks_again():
            self._claim()
        if not self._has_left:
            epoch = self._voyage.epoch if self._voyage else None
            self._bulletin.post(self.hold, epoch, self._courier.retries, idle=self.idle)

    @property
    def _has_left(self) -> bool:
        return self.stage is Stage.LEFT

    @property
    def stage(self) -> Stage:
        """Return where the run stands."""
        return self._voyage.stage if self._voyage else self._stage

    @property
    def session(self) -> Session | None:
        """Return the run's session as it was last read; there is none in a watched folder."""
        return self._view.session

    @property
    def hold(self) -> Hold | None:
        """Return the run's cargo while its prefix is ours."""
        return self._voyage.hold if self._voyage else None

    @property
    def idle(self) -> bool:
        """Return whether there is nothing to do here now: delivered and closed, refused, or left to another."""
        return self.stage in {Stage.CLOSED, Stage.REFUSED, Stage.LEFT}

    @property
    def answered(self) -> bool:
        """Return whether a session's drain has been answered."""
        return self.stage is Stage.CLOSED and not self.run.watched and self.upload.receipt == self._bulletin.receipt

    @property
    def over(self) -> bool:
        """Return whether nothing more will happen to a session here by itself."""
        refused = self.stage is Stage.REFUSED and self._view.was_refused
        return self.stage is Stage.LEFT or self.answered or refused

    @property
    def still(self) -> bool:
        """Return whether nothing is under way: what an old delivery still sends could replace what a later one has."""
        sending = [voyage.under_way for voyage in (self._voyage, self._last) if voyage is not None]
        return not (self._desk.busy or any(sending))

    @property
    def watching(self) -> bool:
        """Return whether the prefix will be ours if whoever holds it stays silent."""
        return self.stage is Stage.CLAIMING and self._standing is Standing.WATCHING

    @property
    def at_rest(self) -> bool:
        """Return whether everything that is there now is in the bucket, or has failed for good."""
        if self._voyage is not None:
            return self._voyage.at_rest
        not_ours = self._view.adopted and not self._world.hurry
        return not_ours or self.idle

    @property
    def upload(self) -> Upload:
        """Return the newest ``upload.json``."""
        return self._bulletin.upload

    def look_again(self) -> None:
        """Have the whole tree looked at once more before this run is said to be at rest."""
        if self._voyage is not None:
            self._voyage.look_again()

    def recovered(self) -> None:
        """Storage was away and is back: what waits need not wait any longer."""
        if self.hold is not None:
            self.hold.recovered()

    def stumble(self, error: Exception) -> None:
        """The disk or the ledger failed: begin again from what is durable, after a pause."""
        if self._stumbled != str(error):
            log.error("run_interrupted", session=self.run.session_id, reason=error)
        self._stumbled = str(error)
        if isinstance(error, LedgerError):
            self._damage = error
        self._land(self._stage)
        self._next_claim = self._clock.monotonic() + _STUMBLE_SECONDS

    def close(self) -> None:
        """Put everything away. Nothing depends on this having been called."""
        self._land(self._stage)
        self._grips.close()

    # Claim

    def _claim(self) -> None:
        if self.still and self.line.open and self._clock.monotonic() >= self._next_claim:
            self._courier.resume()
            pause = _WATCH_SECONDS if self.watching else 0.0
            self._next_claim = self._clock.monotonic() + max(pause, self._world.settings.poll_seconds)
            insist = asked_for(self.run.requests, "retry")
            if self._view.adopted and not insist and self._view.is_answered:
                # Of several that found a dead worker's session, another was first and has brought it to its end.
                self._leave(None)
                return
            # On a bad line, looks that fail would have the silence of a dead owner counted anew again and again.
            self._desk.start(lambda: self._courier.retry(lambda: self._claims.pursue(insist=insist)))

    def _take_claim(self) -> None:
        future = self._desk.take()
        if future is None or self.stage is not Stage.CLAIMING:
            return
        try:
            standing = future.result()
        except StoppedError:
            return
        except StorageError as error:
            self._in_trouble(error)
        else:
            self.line.restored()
            self._claimed(standing)

    def _claimed(self, standing: Standing) -> None:
        known, self._standing = self._standing, standing
        if standing is Standing.OWNED and self._claims.held is not None:
            self._set_out(self._claims.held)
        elif standing is Standing.WATCHING:
            if known is None:
                log.info("claim_watched", session=self.run.session_id, seconds=int(SILENCE_SECONDS))
        elif self._view.adopted:
            self._leave(standing)
        elif standing is not Standing.TENDED or self.run.watched:
            # Whoever tends our own session lets go of it as soon as its handler is seen to move.
            self._refuse(refusal(self.run, standing))

    def _in_trouble(self, error: StorageError) -> None:
        log.warning("storage_trouble", session=self.run.session_id, reason=error.sentence)
        if error.trouble in REFUSALS:
            self._refuse(error)
        else:
            self.line.suspect(error.sentence, error.retry_after)

    def _asks_again(self) -> bool:
        """Return whether a refused run asks once more: when somebody wishes it, a watched one after a while, too."""
        if self.stage is not Stage.REFUSED:
            return False
        wished = asked_for(self.run.requests, "retry")
        by_itself = self.run.watched and not self._world.hurry and self._clock.monotonic() >= self._next_claim
        if wished or by_itself:
            self._stage, self._next_claim = Stage.CLAIMING, self._clock.monotonic()
        return wished or by_itself

    # What comes of it

    def _set_out(self, claim: Claim) -> None:
        if self._damage is not None:
            set_aside(self.run, claim.epoch, self._damage)
            self._damage = None
        hold = Hold(self.run, self._world, self.line, self._claims, self._courier, claim, self._grips)
        self._bulletin.refusal = None
        self._voyage = Voyage(self.run, self._world, self.line, self._view, self._bulletin, hold)

    def _sail(self, voyage: Voyage, *, look: bool) -> None:
        lost = self._claims.lost
        try:
            if not lost:
                voyage.tick(look=look)
        except ClaimLostError:
            lost = True
        except StorageError as error:
            self._refuse(error)
        if lost:
            self._lose()

    def _lose(self) -> None:
        """Stop writing. Whether a session is still ours to carry is found out anew."""
        log.warning("claim_lost", session=self.run.session_id)
        if self.run.watched:
            self._standing = None
            self._land(Stage.CLAIMING)
        else:
            self._leave(None)

    def _land(self, stage: Stage) -> None:
        """End the voyage, if there is one, wherever it is."""
        self._stage = stage
        self._next_claim = self._clock.monotonic()
        self._courier.halt()
        if self._voyage is not None:
            self._last, self._voyage = self._voyage, None
            self._last.close()

    def _refuse(self, error: FerryError) -> None:
        known, self._bulletin.refusal = self._bulletin.refusal, error
        self._land(Stage.REFUSED)
        self._next_claim += SILENCE_SECONDS
        self._grips.close()
        take_away(wishes(self.run.requests, "retry"))
        if known is None or known.sentence != error.sentence:
            log.error("run_refused", session=self.run.session_id, reason=error.sentence)

    def _leave(self, standing: Standing | None) -> None:
        if self.stage is not Stage.LEFT:
            log.info("run_left", session=self.run.session_id, reason=standing or "taken_up_elsewhere")
            self.left_for = standing
            self._land(Stage.LEFT)
            self._grips.close()
