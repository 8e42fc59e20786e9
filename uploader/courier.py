"""The sender of one run: Storage, the claim, the stop signal and the limits, in one hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from shared.storage.body import BLOCK
from shared.storage.retry import Patience, call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from threading import Event

    from shared.clock import Clock
    from shared.storage.body import Body
    from shared.storage.client import Storage
    from shared.storage.errors import StorageError
    from shared.storage.records import ObjectRecord
    from shared.storage.throttle import Throttle
    from uploader.parcel import Parcel

# Short, because a server that is down is then asked by one probe instead of by every file.
_PATIENCE = Patience(attempts=4, seconds=15, first=0.5, longest=5)

T = TypeVar("T")


class StoppedError(Exception):
    """The uploader is stopping: give up at once, everything durable is already so."""


class _Fenced:
    """A body whose last block leaves only while the claim is ours.

    A process that is frozen in mid-request would otherwise complete it when somebody else has long taken over.
    """

    def __init__(self, inner: Body, assure: Callable[[], None]) -> None:
        self._inner = inner
        self._assure = assure

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return self._inner.size

    def blocks(self) -> Iterator[bytes]:
        """Yield the blocks. Raises ClaimLostError instead of the last one when the claim is lost."""
        held: bytes | None = None
        for block in self._inner.blocks():
            if held is not None:
                yield held
            held = block
        self._assure()
        if held is not None:
            yield held


class Courier:
    """What the lanes and the office use to reach Storage. Thread-safe.

    Whatever makes an object goes through ``put``, ``append`` and ``finish``: they look at the claim.
    """

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

    def put(self, bucket: str, key: str, body: Body, *, content_type: str, metadata: Mapping[str, str]) -> None:
        """Upload an object in one request, unless the claim is lost before its end."""
        fenced = _Fenced(body, self.assure)
        self.storage.put(bucket, key, fenced, content_type=content_type, metadata=metadata)

    def append(self, url: str, offset: int, body: Body) -> int:
        """Send an upload's bytes from ``offset`` on, unless the claim is lost before; return the offset reached."""
        return self.storage.append(url, offset, _Fenced(body, self.assure))

    def finish(self, url: str, offset: int) -> None:
        """Have the server make an object of an upload of which it has all ``offset`` bytes."""
        self.assure()
        self.storage.finish(url, offset)

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
