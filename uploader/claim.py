"""The claim: who may write under a prefix. The one lock there is, and it lies in the bucket.

A claim is given up by finishing (a manifest of the same session), or by a ``status.json`` that has stood still for 90
seconds on the observer's own clock. It never comes back by itself to a run that has lost it to another run.
"""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING

from shared import keys
from shared.contract.bucket import MANIFEST, STATUS, Claim, Manifest, Status
from uploader.registry import Registry
from uploader.silence import SILENCE_SECONDS, Silence
from uploader.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Hashable

    from shared.clock import WakefulClock
    from shared.storage.client import Storage
    from uploader.registry import Entry
    from uploader.run import Run

# An owner that has not looked for this long may have been frozen and must look before it writes anything.
LOOK_SECONDS = 15.0
_LARGEST_MANIFEST = 1 << 30


class ClaimLostError(Exception):
    """Somebody else holds the claim: stop writing."""


class Claims:
    """The claim of one run. Thread-safe: the lanes ask it before they write.

    ``pace``: so many seconds lie between two calls of ``pursue``.
    """

    def __init__(self, storage: Storage, run: Run, worker: str, clock: WakefulClock, pace: float = 1.0) -> None:
        self._storage = storage
        self._registry = Registry(storage, run.bucket, run.prefix)
        self._run = run
        self._worker = worker
        self._clock = clock
        self._pace = pace
        self._lock = threading.Lock()
        self._silence = Silence(clock, pace)
        self._watched: int | None = None
        self._looked = (0.0, 0.0)
        self._lost = False
        self.held: Claim | None = None

    @property
    def lost(self) -> bool:
        """Return whether a claim that was ours has turned out to be somebody else's."""
        return self._lost

    def pursue(self, *, insist: bool = False) -> Standing:
        """Take one step towards the claim; to be called again while it is not OWNED.

        A claim that an earlier process of this worker held for this run goes on. ``insist``: somebody wishes this run
        to be carried although another one has had the prefix since.
        """
        with self._lock:
            asked = self._moment()
            newest = self._registry.newest()
            if newest is None:
                return self._take(1 + max(self._run.epochs(), default=0))
            if self._is_mine(newest.claim):
                return self._own(newest.claim, asked)
            if not insist and self._is_another_runs(newest.claim) and self._run.epochs():
                return Standing.SUPERSEDED
            return self._judge(newest)

    def assure(self, *, now: bool = False) -> None:
        """Raise ClaimLostError unless the claim is ours; asks Storage when ``now``, or when it was long ago."""
        # Sixteen lanes ask before each request and in its middle: they need not wait for one another to be told so.
        if not now and self.held is not None and self._has_just_looked():
            return
        with self._lock:
            if self.held is None:
                raise ClaimLostError
            if not now and self._has_just_looked():
                return
            # Before the question: this process may be frozen before it reads the answer.
            asked = self._moment()
            newest = self._registry.newest()
            if newest is None or newest.claim is None or newest.claim.token != self.held.token:
                self.held = None
                self._lost = True
                raise ClaimLostError
            self._looked = asked

    def _is_mine(self, claim: Claim | None) -> bool:
        # On a shared volume there may be other workers' claims beside ours; the name alone proves nothing either.
        known = self._run.known_claims()
        return claim is not None and any(mine.token == claim.token and mine.worker == self._worker for mine in known)

    def _is_here(self, claim: Claim | None) -> bool:
        """Return whether whoever holds ``claim`` works in the same folder."""
        return claim is not None and any(known.token == claim.token for known in self._run.known_claims())

    def _is_another_runs(self, claim: Claim | None) -> bool:
        return claim is not None and claim.session_id != self._run.session_id

    def _judge(self, newest: Entry) -> Standing:
        content = self._storage.read(self._run.bucket, self._key(STATUS))
        status = Status.parse(content) if content else None
        if status is not None and status.epoch == newest.epoch and self._may_follow(status.session_id):
            return self._take(newest.epoch + 1)
        if self._watched != newest.epoch:
            self._watched, self._silence = newest.epoch, Silence(self._clock, self._pace)
        silent = self._silence.look(_sign(content, status, newest.epoch))
        if silent is None:
            return Standing.TENDED if self._is_here(newest.claim) else Standing.IN_USE
        return self._take(newest.epoch + 1) if silent >= SILENCE_SECONDS else Standing.WATCHING

    def _may_follow(self, session_id: str) -> bool:
        """Return whether the session that wrote here last has finished, and this run is more than a look at its end."""
        if session_id == self._run.session_id and self._run.worker not in {None, self._worker}:
            # Whoever takes up what a dead worker left has nothing to add to what somebody else has just closed.
            return False
        content = self._storage.read(self._run.bucket, self._key(MANIFEST), limit=_LARGEST_MANIFEST)
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
        file = self._run.claim_file(self._worker)
        # First of all: a process that is killed right after the claim was made must know it again.
        claim.write(file)
        asked = self._moment()
        if not self._registry.add(claim):
            file.unlink(missing_ok=True)
            return Standing.WATCHING
        return self._own(claim, asked)

    def _own(self, claim: Claim | None, asked: tuple[float, float]) -> Standing:
        self.held = claim
        self._lost = False
        self._looked = asked
        return Standing.OWNED

    def _moment(self) -> tuple[float, float]:
        # A machine that is suspended from outside may count nothing itself; its wall clock is set right afterwards.
        return self._clock.boottime(), self._clock.now()

    def _has_just_looked(self) -> bool:
        return all(abs(now - then) < LOOK_SECONDS for now, then in zip(self._moment(), self._looked, strict=True))

    def _key(self, name: str) -> str:
        return keys.join(self._run.prefix, name)


def _sign(content: bytes | None, status: Status | None, epoch: int) -> Hashable:
    """Return what moves as long as the owner of ``epoch`` lives: its counter, or all of a status that is unreadable."""
    if status is None:
        return content
    return status.counter if status.epoch == epoch else None
