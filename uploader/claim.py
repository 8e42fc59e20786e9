"""The claim: who may write under a prefix. The one lock there is, and it lies in the bucket.

A claim is the object ``claims/{epoch}.json``. It is made by uploading a token under a name of one's own and moving it
there, because moves exclude at the server and creations do not: exactly one mover wins. The highest epoch is the claim
in force. A claim is given up by finishing (a manifest of the same session), or by a ``status.json`` whose counter has
stood still for 90 seconds on the observer's own clock.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from shared import keys
from shared.contract.bucket import CLAIMS, MANIFEST, STATUS, Claim, Manifest, Status
from shared.storage.body import BytesBody
from shared.storage.errors import StorageError, Trouble

if TYPE_CHECKING:
    from shared.clock import Clock
    from shared.storage.client import Storage
    from uploader.run import Run

# An owner writes its status every few seconds; this many seconds of silence mean that it is gone.
SILENCE_SECONDS = 90.0
# An owner that has not looked for this long may have been frozen and must look before it writes anything.
LOOK_SECONDS = 15.0


class ClaimLostError(Exception):
    """Somebody else holds the claim: stop writing."""


class Standing(StrEnum):
    """How we stand towards a prefix."""

    OWNED = "owned"
    WATCHING = "watching"
    IN_USE = "in_use"


@dataclass(frozen=True, slots=True)
class _Silence:
    """A foreign status counter and since when (monotonic seconds) it has stood at that."""

    epoch: int
    counter: int | None
    since: float


class Claims:
    """The claim of one run. Thread-safe: the lanes ask it before they write."""

    def __init__(self, storage: Storage, run: Run, worker: str, clock: Clock) -> None:
        self._storage = storage
        self._run = run
        self._worker = worker
        self._clock = clock
        self._lock = threading.Lock()
        self._silence: _Silence | None = None
        self._looked: float | None = None
        self._lost = False
        self.held: Claim | None = None

    @property
    def lost(self) -> bool:
        """Return whether a claim that was ours has turned out to be somebody else's."""
        return self._lost

    def pursue(self) -> Standing:
        """Take one step towards the claim; to be called again while WATCHING.

        A claim that an earlier process of this worker held for this run goes on.
        """
        with self._lock:
            newest = self._newest()
            if newest is None:
                return self._take(1)
            mine = self._run.remembered_claim()
            # On a shared volume the file may be another worker's, who may be alive.
            if mine is not None and mine.worker == self._worker and newest.token == mine.token:
                return self._own(newest)
            return self._judge(newest)

    def assure(self, *, now: bool = False) -> None:
        """Raise ClaimLostError unless the claim is ours; asks Storage when ``now``, or when it was long ago."""
        with self._lock:
            if self.held is None:
                raise ClaimLostError
            if not now and self._looked is not None and self._clock.monotonic() - self._looked < LOOK_SECONDS:
                return
            newest = self._newest()
            if newest is None or newest.token != self.held.token:
                self.held = None
                self._lost = True
                raise ClaimLostError
            self._looked = self._clock.monotonic()

    def _judge(self, newest: Claim) -> Standing:
        status = self._status()
        if status is not None and status.epoch == newest.epoch and self._finished(status.session_id):
            return self._take(newest.epoch + 1)
        counter = status.counter if status is not None and status.epoch == newest.epoch else None
        now = self._clock.monotonic()
        if self._silence is None or self._silence.epoch != newest.epoch:
            self._silence = _Silence(newest.epoch, counter, now)
        elif self._silence.counter != counter:
            self._silence = _Silence(newest.epoch, counter, now)
            return Standing.IN_USE
        elif now - self._silence.since >= SILENCE_SECONDS:
            return self._take(newest.epoch + 1)
        return Standing.WATCHING

    def _finished(self, session_id: str) -> bool:
        content = self._storage.read(self._run.bucket, self._key(MANIFEST), limit=1 << 30)
        manifest = Manifest.parse(content) if content else None
        return manifest is not None and manifest.session_id == session_id

    def _take(self, epoch: int) -> Standing:
        claim = Claim(
            epoch=epoch,
            token=secrets.token_hex(16),
            session_id=self._run.session_id,
            worker=self._worker,
            at=self._clock.now(),
        )
        own = self._key(f"{CLAIMS}/{claim.token}.token")
        # Before the move: a process that is killed right after it must know its own claim again.
        claim.write(self._run.claim_file)
        body = BytesBody(claim.dump())
        self._storage.put(self._run.bucket, own, body, content_type="application/json", metadata={})
        try:
            self._storage.move(self._run.bucket, own, self._key(f"{CLAIMS}/{epoch}.json"))
        except StorageError as error:
            if error.trouble is not Trouble.EXISTS:
                raise
            self._storage.remove(self._run.bucket, [own])
            return Standing.WATCHING
        return self._own(claim)

    def _own(self, claim: Claim) -> Standing:
        self.held = claim
        self._looked = self._clock.monotonic()
        return Standing.OWNED

    def _newest(self) -> Claim | None:
        listing = self._storage.folder(self._run.bucket, self._key(CLAIMS))
        epochs = [epoch for record in listing.files if (epoch := _epoch(record.key)) is not None]
        if not epochs:
            return None
        content = self._storage.read(self._run.bucket, self._key(f"{CLAIMS}/{max(epochs)}.json"))
        claim = Claim.parse(content) if content else None
        if claim is None:
            where = self._key(f"{CLAIMS}/{max(epochs)}.json")
            raise StorageError(Trouble.BROKEN, f"Reading {where}", "it is no claim that this version understands")
        return claim

    def _status(self) -> Status | None:
        content = self._storage.read(self._run.bucket, self._key(STATUS))
        return Status.parse(content) if content else None

    def _key(self, name: str) -> str:
        return keys.join(self._run.prefix, name)


def _epoch(key: str) -> int | None:
    stem, dot, suffix = key.rpartition("/")[2].partition(".")
    return int(stem) if dot and suffix == "json" and stem.isdecimal() else None
