"""The daemon: finds the runs, lets each carry on, asks a Storage that is down whether it is back, and beats."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.bell import Bell
from shared.clock import Deadline
from shared.contract.process import boot_id, host_name
from shared.contract.upload import Worker
from shared.errors import FerryError
from shared.layout import worker_file
from shared.log import EventLog
from uploader.carrier import Carrier
from uploader.discovery import Discovery
from uploader.lines import Lines
from uploader.shortage import Shortage
from uploader.silence import SILENCE_SECONDS
from uploader.stage import Stage

if TYPE_CHECKING:
    import threading
    from collections.abc import Container, Iterator, Sequence
    from pathlib import Path

    from shared.contract.upload import Failure
    from uploader.run import Watch
    from uploader.world import World

_BEAT_SECONDS = 5.0
# An uploader that is told to stop delivers what is there, unless Storage does not take anything for this long.
LEAVE_SECONDS = 30.0

log = EventLog("uploader")


class Daemon:
    """All runs of one machine: the sessions under ``root`` (None: none), and those of watched folders."""

    def __init__(self, world: World, root: Path | None, watches: Sequence[Watch], wake: threading.Event) -> None:
        self._world = world
        self._clock = world.clock
        self._root = root
        self._discovery = Discovery(world, root, watches)
        self._wake = wake
        self._bell = Bell(root, world.clock)
        self._carriers: dict[Path, Carrier] = {}
        self._lines = Lines(world)
        self._beats = 0
        self._beat_at: float | None = None
        self._looked_at: float | None = None
        self._shortage = None if root is None or world.hurry else Shortage(root, world)
        self._unwritten: str | None = None

    @property
    def carriers(self) -> tuple[Carrier, ...]:
        """Return the runs that are being carried."""
        return tuple(self._carriers.values())

    def run(self, leave: threading.Event) -> None:
        """Tick until told to stop: at each poll, as soon as a lane has finished something, and when the bell rings.

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
            # For a watched run nobody ever rings.
            calm = all(carrier.idle or carrier.run.watched for carrier in self.carriers)
            self._bell.wait(self._wake, self._world.settings.poll_seconds, calm=calm)

    def movement(self) -> tuple[int, int]:
        """Return bytes and files that have reached Storage; it stands still when nothing moves."""
        uploads = [carrier.upload for carrier in self.carriers]
        return sum(upload.moved for upload in uploads), sum(upload.uploaded.files for upload in uploads)

    def tick(self) -> None:
        """Do everything that can be done now without waiting."""
        if self._world.reread.is_set():
            self._read_settings_again()
        look = self._is_time_to_look()
        if look:
            self._discover()
        self._resume(self._lines.probe())
        if self._shortage is not None:
            self._shortage.look(self.carriers)
        for carrier in self.carriers:
            if self._shortage is None or not self._shortage.holds_back(carrier):
                with self._guarded(carrier):
                    carrier.tick(look=look)
                    self._let_go(carrier)
        self._beat()

    @property
    def at_rest(self) -> bool:
        """Return whether everything that is there now has been looked at, and is in the bucket or has failed.

        In a hurry it must be known, too, which sessions of other workers nobody cares for any more.
        """
        if self._looked_at is None or (self._world.hurry and self._discovery.undecided()):
            return False
        return all(carrier.at_rest for carrier in self.carriers)

    def watched(self) -> tuple[str, ...]:
        """Return whose silence is being waited for, a sentence each."""
        seconds = int(SILENCE_SECONDS)
        workers = [
            f"{session} is the session of worker {worker}: it is taken over if that stays silent for {seconds} seconds."
            for session, worker in self._discovery.undecided()
        ]
        prefixes = [
            f"{carrier.run.bucket}/{carrier.run.prefix} is claimed: it is taken over if nothing moves there for"
            f" {seconds} seconds."
            for carrier in self.carriers
            if carrier.watching
        ]
        return (*workers, *prefixes)

    def elsewhere(self) -> tuple[tuple[str, str], ...]:
        """Return every session that is left alone although not all of it is in the bucket, and why."""
        return self._discovery.elsewhere()

    def failures(self) -> tuple[tuple[str, Failure], ...]:
        """Return every file that is not in the bucket, with the name of its run."""
        return tuple((carrier.run.name, failure) for carrier in self.carriers for failure in carrier.upload.failures)

    def delivered(self) -> tuple[int, int]:
        """Return how many files are in the bucket, and their bytes."""
        counts = [carrier.upload.uploaded for carrier in self.carriers]
        return sum(count.files for count in counts), sum(count.bytes for count in counts)

    def problems(self) -> tuple[str, ...]:
        """Return what is wrong with Storage, a sentence a bucket."""
        return self._lines.problems()

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
        now, rung = self._clock.monotonic(), self._bell.heard()
        since = None if self._looked_at is None else now - self._looked_at
        if not rung and since is not None and since < self._world.settings.poll_seconds:
            return False
        self._looked_at = now
        return True

    @contextmanager
    def _guarded(self, carrier: Carrier) -> Iterator[None]:
        """Keep one run's trouble with its disk from the others."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            if self._shortage is None or not self._shortage.takes_charge(carrier, error):
                carrier.stumble(error)

    def _read_settings_again(self) -> None:
        self._world.reread.clear()
        try:
            self._world.storage.renew_key()
        except FerryError as error:
            log.error("settings_not_read", reason=error.sentence)
            return
        log.info("settings_read_again")
        self._lines.hurry()

    # Runs

    def _discover(self) -> None:
        for run in self._discovery.runs(self._carriers):
            log.info("run_found", session=run.session_id, bucket=run.bucket, prefix=run.prefix)
            self._carriers[run.state] = Carrier(run, self._world, self._lines.to(run.bucket))

    def _resume(self, buckets: Container[str]) -> None:
        for carrier in self.carriers:
            if carrier.run.bucket in buckets:
                with self._guarded(carrier):
                    carrier.recovered()

    def _let_go(self, carrier: Carrier) -> None:
        """Forget a run that is over; in a hurry what has been delivered is still to be told."""
        done = carrier.stage is Stage.LEFT if self._world.hurry else carrier.over
        if done and carrier.still:
            carrier.close()
            del self._carriers[carrier.run.state]
            self._discovery.left(carrier.run, carrier.left_for)

    # Life

    def _beat(self) -> None:
        now = self._clock.monotonic()
        if self._root is None or (self._beat_at is not None and now - self._beat_at < _BEAT_SECONDS):
            return
        self._beat_at = now
        self._beats += 1
        problems = self.problems()
        beat = Worker(
            worker=self._world.worker,
            pid=os.getpid(),
            host=host_name(),
            boot_id=boot_id(),
            beat=self._beats,
            at=self._clock.now(),
            storage=self._lines.state,
            problem=problems[0] if problems else None,
        )
        file = worker_file(self._root, self._world.worker)
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            beat.write(file)
        except OSError as error:
            self._world.disk.note(error)
            if self._unwritten != error.strerror:
                log.warning("beat_not_written", file=file, reason=error.strerror)
            self._unwritten = error.strerror
        else:
            self._unwritten = None
