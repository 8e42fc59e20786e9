"""The sender of one run: Storage, the claim, the stop signal and the limits, in one hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from shared.storage.body import BLOCK
from shared.storage.retry import Patience, call

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from shared.clock import Clock
    from shared.storage.client import Storage
    from shared.storage.errors import StorageError
    from shared.storage.records import ObjectRecord
    from shared.storage.throttle import Throttle
    from uploader.delivery import Parcel

# Short, because a server that is down is then asked by one probe instead of by every file.
_PATIENCE = Patience(attempts=4, seconds=15, first=0.5, longest=5)

T = TypeVar("T")


class StoppedError(Exception):
    """The uploader is stopping: give up at once, everything durable is already so."""


class Courier:
    """What the lanes and the office use to reach Storage. Thread-safe."""

    def __init__(
        self,
        storage: Storage,
        *,
        claim: Callable[[], None],
        stop: Event,
        throttle: Throttle | None,
        moved: Callable[[int], None],
        clock: Clock,
    ) -> None:
        self.storage = storage
        self.assure = claim
        self.moved = moved
        self._stop = stop
        self._halted = False
        self._throttle = throttle
        self.block = throttle.block if throttle else BLOCK
        self._clock = clock
        self.retries = 0

    def alive(self) -> None:
        """Raise StoppedError when the uploader, or this run, is stopping."""
        if self._halted or self._stop.is_set():
            raise StoppedError

    def halt(self) -> None:
        """Have everything that is under way given up."""
        self._halted = True

    def resume(self) -> None:
        """Begin again after ``halt``. Nothing may be under way."""
        self._halted = False

    def retry(self, operation: Callable[[], T]) -> T:
        """Return what ``operation`` returns, trying again for a short while what is transient."""
        self.alive()
        return call(operation, _PATIENCE, clock=self._clock, wait=self._stop.wait, noticed=self._retrying)

    def info(self, parcel: Parcel) -> ObjectRecord | None:
        """Return the server's record of what lies at the parcel's key."""
        return self.retry(lambda: self.storage.info(parcel.bucket, parcel.key))

    def throttle(self, count: int) -> None:
        """Return when ``count`` bytes may be sent. Raises StoppedError when the uploader is stopping."""
        self.alive()
        if self._throttle:
            self._throttle(count)

    def _retrying(self, _error: StorageError, _pause: float) -> None:
        self.retries += 1
