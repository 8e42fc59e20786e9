"""The daemon: finds the runs, lets each carry on, asks a Storage that is down whether it is back, and beats."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from shared.clock import Deadline
from shared.contract.process import boot_id, host_name
from shared.contract.session import Phase, Session
from shared.contract.upload import StorageState, Upload, Worker
from shared.layout import sessions, worker_file
from shared.log import EventLog
from shared.storage.errors import StorageError, Trouble
from uploader.carrier import Carrier
from uploader.claim import SILENCE_SECONDS
from uploader.lanes import Desk
from uploader.line import Line
from uploader.requests import asked_for
from uploader.run import drain_token, session_run

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from shared.contract.upload import Failure
    from shared.layout import SessionFolder
    from uploader.run import Run, Watch
    from uploader.world import World

_BEAT_SECONDS = 5.0
# An uploader that is told to stop delivers what is there, unless Storage does not take anything for this long.
LEAVE_SECONDS = 30.0

log = EventLog("uploader")


@dataclass(frozen=True, slots=True)
class _Beat:
    """The count of another worker's handler, and since when (monotonic seconds) it has stood at that."""

    count: int
    since: float


class Daemon:
    """All runs of one machine: the sessions under ``root`` (None: none), and those of watched folders."""

    def __init__(self, world: World, root: Path | None, watches: Sequence[Watch], wake: threading.Event) -> None:
        self._world = world
        self._clock = world.clock
        self._root = root
        self._watches = watches
        self._wake = wake
        self._carriers: dict[Path, Carrier] = {}
        self._finished: set[tuple[Path, int]] = set()
        self._foreign: dict[Path, _Beat] = {}
        self._lines: dict[str, Line] = {}
        self._probes: dict[str, Desk[object]] = {}
        self._listing_problem: str | None = None
        self._beats = 0
        self._beat_at: float | None = None
        self._looked_at: float | None = None

    @property
    def carriers(self) -> tuple[Carrier, ...]:
        """Return the runs that are being carried."""
        return tuple(self._carriers.values())

    def run(self, leave: threading.Event) -> None:
        """Tick until told to stop: at each poll, and as soon as a lane has finished something.

        ``leave`` asks for the end as soon as everything is delivered, or nothing has moved for a while.
        """
        still: Deadline | None = None
        moved: object = None
        while not self._world.stop.is_set():
            self._wake.clear()
            leaving = leave.is_set()
            if leaving and still is None:
                # What was written just before the signal is delivered, too.
                self._look_again()
            self.tick()
            if leaving:
                if still is None or self.movement() != moved:
                    moved, still = self.movement(), Deadline(self._clock, LEAVE_SECONDS)
                if self.at_rest or still.passed():
                    return
            self._wake.wait(self._world.settings.poll_seconds)

    def movement(self) -> tuple[int, int]:
        """Return bytes and files that have reached Storage; it stands still when nothing moves."""
        uploads = [carrier.upload for carrier in self.carriers]
        return sum(upload.moved for upload in uploads), sum(upload.uploaded.files for upload in uploads)

    def tick(self) -> None:
        """Do everything that can be done now without waiting."""
        look = self._is_time_to_look()
        if look:
            self._discover_safely()
        self._probe()
        for carrier in self.carriers:
            self._carry(carrier, look=look)
            if carrier.answered and not self._world.hurry:
                carrier.close()
                del self._carriers[carrier.run.state]
        self._beat()

    @property
    def at_rest(self) -> bool:
        """Return whether everything that is there now has been looked at, and is in the bucket or has failed."""
        return self._looked_at is not None and all(carrier.at_rest for carrier in self.carriers)

    def failures(self) -> tuple[tuple[str, Failure], ...]:
        """Return every file that is not in the bucket, with the name of its run."""
        return tuple((carrier.run.name, failure) for carrier in self.carriers for failure in carrier.upload.failures)

    def delivered(self) -> tuple[int, int]:
        """Return how many files are in the bucket, and their bytes."""
        counts = [carrier.upload.uploaded for carrier in self.carriers]
        return sum(count.files for count in counts), sum(count.bytes for count in counts)

    def problems(self) -> tuple[str, ...]:
        """Return what is wrong with Storage, a sentence a bucket."""
        return tuple(line.problem for line in self._lines.values() if line.problem and not line.open)

    def close(self) -> None:
        """Put everything away. Nothing depends on this having been called."""
        self._world.lanes.close()
        for carrier in self.carriers:
            carrier.close()

    def _look_again(self) -> None:
        self._looked_at = None
        for carrier in self.carriers:
            carrier.look_again()

    def _is_time_to_look(self) -> bool:
        now = self._clock.monotonic()
        if self._looked_at is not None and now - self._looked_at < self._world.settings.poll_seconds:
            return False
        self._looked_at = now
        return True

    def _carry(self, carrier: Carrier, *, look: bool) -> None:
        try:
            carrier.tick(look=look)
        except (OSError, sqlite3.Error) as error:
            # One run's disk trouble is not the others'.
            carrier.stumble(error)

    # Discovery

    def _discover_safely(self) -> None:
        problem = None
        try:
            self._discover()
        except OSError as error:
            # What is already being carried goes on.
            problem = str(error)
            if problem != self._listing_problem:
                log.error("runs_not_listed", reason=problem)
        self._listing_problem = problem

    def _discover(self) -> None:
        for run in self._runs():
            if run.state not in self._carriers:
                log.info("run_found", session=run.session_id, bucket=run.bucket, prefix=run.prefix)
                self._carriers[run.state] = Carrier(run, self._world, self._line(run.bucket))

    def _runs(self) -> Iterator[Run]:
        for watch in self._watches:
            yield from watch.runs()
        for folder in sessions(self._root) if self._root else ():
            if folder.path not in self._carriers and not self._is_finished(folder) and self._is_ours(folder):
                run = session_run(folder)
                if run is not None:
                    yield run

    def _is_finished(self, folder: SessionFolder) -> bool:
        """Return whether nothing more is to be done for a session, unless somebody wishes for more."""
        if asked_for(folder.requests, "retry"):
            return False
        try:
            as_it_is = (folder.path, folder.session_file.stat().st_mtime_ns)
        except FileNotFoundError:
            return False
        if as_it_is not in self._finished:
            session, upload = Session.read(folder.session_file), Upload.read(folder.upload_file)
            if session is None or not (_is_answered(session, upload, self._world.worker) or _was_refused(session)):
                return False
            self._finished.add(as_it_is)
        return True

    def _is_ours(self, folder: SessionFolder) -> bool:
        """Return whether a session is this worker's, or its own worker has fallen silent."""
        session = Session.read(folder.session_file)
        if session is None or session.worker == self._world.worker:
            return session is not None
        known, now = self._foreign.get(folder.path), self._clock.monotonic()
        if known is None or known.count != session.beat:
            self._foreign[folder.path] = _Beat(session.beat, now)
            return False
        return now - known.since >= SILENCE_SECONDS

    # Storage

    def _line(self, bucket: str) -> Line:
        if bucket not in self._lines:
            self._lines[bucket] = Line(self._clock, self._world.jitter)
            self._probes[bucket] = Desk(self._world.lanes)
        return self._lines[bucket]

    def _probe(self) -> None:
        for bucket, line in self._lines.items():
            desk = self._probes[bucket]
            future = desk.take()
            if future is not None:
                self._probed(bucket, line, future.exception())
            elif line.probe_due() and not desk.busy:
                desk.start(partial(self._world.storage.bucket, bucket))

    def _probed(self, bucket: str, line: Line, error: BaseException | None) -> None:
        if isinstance(error, StorageError):
            if not line.asked:
                log.error("storage_down", bucket=bucket, reason=error.sentence)
            line.failed(error.sentence, denied=error.trouble in {Trouble.DENIED, Trouble.BUCKET_NOT_FOUND})
        elif error is not None:
            raise error
        elif line.restored():
            log.info("storage_back", bucket=bucket)
            for carrier in self.carriers:
                if carrier.run.bucket == bucket:
                    carrier.recovered()

    # Life

    def _beat(self) -> None:
        now = self._clock.monotonic()
        if self._root is None or (self._beat_at is not None and now - self._beat_at < _BEAT_SECONDS):
            return
        self._beat_at = now
        self._beats += 1
        problems = self.problems()
        states = {line.state for line in self._lines.values()}
        beat = Worker(
            worker=self._world.worker,
            pid=os.getpid(),
            host=host_name(),
            boot_id=boot_id(),
            beat=self._beats,
            at=self._clock.now(),
            storage=_worst(states),
            problem=problems[0] if problems else None,
        )
        file = worker_file(self._root, self._world.worker)
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            beat.write(file)
        except OSError as error:
            log.warning("beat_not_written", file=file, reason=error.strerror)


def _is_answered(session: Session, upload: Upload | None, worker: str) -> bool:
    token = drain_token(session, worker)
    return token is not None and upload is not None and upload.receipt is not None and upload.receipt.token == token


def _was_refused(session: Session) -> bool:
    """Return whether the handler closed a session without a drain: its prefix was another run's, and stays so."""
    return session.phase is Phase.CLOSED and session.drain is None


def _worst(states: set[StorageState]) -> StorageState:
    order = (StorageState.DENIED, StorageState.DOWN, StorageState.OK)
    return next((state for state in order if state in states), StorageState.UNKNOWN)
