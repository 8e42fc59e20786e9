"""The uploader's word on a run: ``upload.json`` every second while something changes, ``status.json`` on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.contract.upload import Count, Upload
from shared.log import EventLog
from uploader import report
from uploader.eviction import thinned
from uploader.lag import LagAlarm
from uploader.paths import printable

if TYPE_CHECKING:
    from shared.contract.bucket import Status
    from shared.contract.session import Session
    from shared.contract.upload import DrainReceipt
    from shared.errors import ErrorCode, FerryError
    from uploader.hold import Hold
    from uploader.line import Line
    from uploader.run import Run
    from uploader.world import World

_REPORT_SECONDS = 1.0
_BEAT_SECONDS = 5.0

log = EventLog("uploader")


class Bulletin:
    """Counters that outlive a restart, and the documents that tell them."""

    def __init__(self, run: Run, world: World, line: Line) -> None:
        self._run = run
        self._line = line
        self._foreign = run.worker not in {None, world.worker}
        self._world = world
        self.upload = _of_attempt(Upload.read(run.upload_file) or Upload(worker=world.worker), run.attempt)
        self.refusal: FerryError | None = None
        self.receipt: DrainReceipt | None = self.upload.receipt
        self._moved = self.upload.moved
        self._earlier_retries = self.upload.retries
        self._lag = LagAlarm(run.session_id, world.settings.lag_alarm_seconds)
        self._posted: float | None = None
        self._unwritten: str | None = None
        self._counter = 0

    def moved(self, count: int) -> None:
        """Take note that Storage took ``count`` bytes. Called from the lanes."""
        self._moved += count

    def status(self, hold: Hold, session: Session | None, *, closed: bool) -> Status:
        """Return the next ``status.json``."""
        # It grows over restarts, too, since a process cannot write faster than once a second.
        self._counter = max(self._counter + 1, int(self._world.clock.now()))
        return report.status(
            self._run,
            session,
            hold.ledger,
            worker=self._world.worker,
            epoch=hold.claim.epoch,
            counter=self._counter,
            now=self._world.clock.now(),
            warnings=self._warnings(hold),
            closed=closed,
        )

    def post(self, hold: Hold | None, epoch: int | None, retries: int, *, idle: bool) -> None:
        """Write ``upload.json`` if it is time: at most every second, at once when the run has come to its end.

        ``epoch`` is that of the claim once the run may begin. The session of another worker is left alone until its
        claim is ours: its own uploader may still write there.
        """
        if hold is None and self._foreign:
            return
        news = (self.receipt, self._refused(), epoch or self.upload.claim_epoch)
        urgent = idle or news != (self.upload.receipt, self.upload.refused, self.upload.claim_epoch)
        since = None if self._posted is None else self._world.clock.monotonic() - self._posted
        if not urgent and since is not None and since < _REPORT_SECONDS:
            return
        fresh = self._compose(hold, epoch, retries)
        same = fresh.model_copy(update={"beat": self.upload.beat}) == self.upload
        if same and (idle or (since is not None and since < _BEAT_SECONDS)):
            return
        self._posted = self._world.clock.monotonic()
        self.upload = fresh
        try:
            self._run.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            # An fsync can last long, and who is frozen meanwhile wakes up in the past: it is asked after that.
            fresh.write(self._run.upload_file, unless=lambda: self._is_anothers(hold))
        except OSError as error:
            self._world.disk.note(error)
            if self._unwritten != error.strerror:
                log.warning("report_not_written", session=self._run.session_id, reason=error.strerror)
            self._unwritten = error.strerror
        else:
            self._unwritten = None

    def _is_anothers(self, hold: Hold | None) -> bool:
        """Return whether somebody who came later has written there."""
        there = Upload.read(self._run.upload_file)
        if there is None or there.worker == self._world.worker:
            return False
        return (there.attempt, there.claim_epoch or 0) > (self._run.attempt, hold.claim.epoch if hold else 0)

    def _warnings(self, hold: Hold | None) -> tuple[str, ...]:
        warnings = [self._world.disk.warning, None if self._line.open else self._line.problem]
        if hold is not None:
            warnings += [self._lag.look(hold.lag_seconds()), thinned(hold.ledger)]
        return tuple(warning for warning in warnings if warning)

    def _refused(self) -> ErrorCode | None:
        return self.refusal.code if self.refusal else None

    def _compose(self, hold: Hold | None, epoch: int | None, retries: int) -> Upload:
        update: dict[str, object] = {
            "beat": self.upload.beat + 1,
            "worker": self._world.worker,
            "claim_epoch": epoch or self.upload.claim_epoch,
            "storage": self._line.state,
            "warnings": self._warnings(hold),
            "refused": self._refused(),
            "refusal": self.refusal.sentence if self.refusal else None,
            "receipt": self.receipt,
            "moved": self._moved,
            "retries": self._earlier_retries + retries,
        }
        if hold is not None:
            uploaded, pending, failed = report.counts(hold.ledger)
            update |= {
                "uploaded": uploaded,
                "pending": Count(files=pending.files + hold.observer.waiting, bytes=pending.bytes),
                "failed": failed,
                "in_flight": tuple(map(printable, hold.flight.paths)),
                "failures": report.failures(hold.ledger, ended=hold.ended),
                "lag_seconds": round(hold.lag_seconds(), 1),
            }
        return self.upload.model_copy(update=update)


def _of_attempt(upload: Upload, attempt: int) -> Upload:
    """Return ``upload`` as a beginning for ``attempt``: what was said of another one is not said of this."""
    if upload.attempt == attempt:
        return upload
    said = {"claim_epoch": None, "refused": None, "refusal": None, "receipt": None}
    return upload.model_copy(update={"attempt": attempt, **said})
