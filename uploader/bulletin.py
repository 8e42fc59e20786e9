"""The uploader's word on a run: ``upload.json`` every second while something changes, ``status.json`` on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.contract.upload import Count, StorageState, Upload
from shared.log import EventLog
from uploader import report
from uploader.paths import printable

if TYPE_CHECKING:
    from shared.contract.bucket import Status
    from shared.contract.session import Session
    from shared.contract.upload import DrainReceipt
    from shared.errors import ErrorCode, FerryError
    from uploader.hold import Hold
    from uploader.run import Run
    from uploader.world import World

_REPORT_SECONDS = 1.0
_BEAT_SECONDS = 5.0

log = EventLog("uploader")


class Bulletin:
    """Counters that outlive a restart, and the documents that tell them."""

    def __init__(self, run: Run, world: World) -> None:
        self._run = run
        self._foreign = run.worker not in {None, world.worker}
        self._world = world
        self.upload = Upload.read(run.upload_file) or Upload(worker=world.worker)
        self.refusal: FerryError | None = None
        self.receipt: DrainReceipt | None = self.upload.receipt
        self._moved = self.upload.moved
        self._earlier_retries = self.upload.retries
        self._posted: float | None = None
        self._counter = 0

    def moved(self, count: int) -> None:
        """Take note that Storage took ``count`` bytes. Called from the lanes."""
        self._moved += count

    def status(self, hold: Hold, session: Session | None, warnings: tuple[str, ...], *, closed: bool) -> Status:
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
            warnings=warnings,
            closed=closed,
        )

    def post(
        self, hold: Hold | None, retries: int, storage: StorageState, warnings: tuple[str, ...], *, idle: bool
    ) -> None:
        """Write ``upload.json`` if it is time: at most every second, at once when the run has come to its end.

        The session of another worker is left alone until its claim is ours: its own uploader may still write there.
        """
        if hold is None and self._foreign:
            return
        urgent = idle or (self.receipt, self._refused()) != (self.upload.receipt, self.upload.refused)
        since = None if self._posted is None else self._world.clock.monotonic() - self._posted
        if not urgent and since is not None and since < _REPORT_SECONDS:
            return
        fresh = self._compose(hold, retries, storage, warnings)
        same = fresh.model_copy(update={"beat": self.upload.beat}) == self.upload
        if same and (idle or (since is not None and since < _BEAT_SECONDS)):
            return
        self._posted = self._world.clock.monotonic()
        self.upload = fresh
        try:
            self._run.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.write(self._run.upload_file)
        except OSError as error:
            log.warning("report_not_written", session=self._run.session_id, reason=error.strerror)

    def _refused(self) -> ErrorCode | None:
        return self.refusal.code if self.refusal else None

    def _compose(self, hold: Hold | None, retries: int, storage: StorageState, warnings: tuple[str, ...]) -> Upload:
        update: dict[str, object] = {
            "beat": self.upload.beat + 1,
            "worker": self._world.worker,
            "storage": storage,
            "warnings": warnings,
            "refused": self._refused(),
            "refusal": self.refusal.sentence if self.refusal else None,
            "receipt": self.receipt,
            "moved": self._moved,
            "retries": self._earlier_retries + retries,
        }
        if hold is not None:
            uploaded, pending, failed = report.counts(hold.ledger)
            update |= {
                "claim_epoch": hold.claim.epoch,
                "uploaded": uploaded,
                "pending": Count(files=pending.files + hold.observer.waiting, bytes=pending.bytes),
                "failed": failed,
                "in_flight": tuple(map(printable, hold.flight.paths)),
                "failures": report.failures(hold.ledger),
                "lag_seconds": round(hold.lag_seconds(), 1),
            }
        return self.upload.model_copy(update=update)
