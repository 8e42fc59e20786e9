"""One request at a time works on an upload. Others wait, and have it cut off if it does not end by itself."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from local.storage import refusals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DRAIN_SECONDS = 3.0
"""What the real server leaves a request to end by itself once another one asks for its upload."""
WAIT_SECONDS = 5.0
"""What the real server waits for an upload before it answers 503."""


class Hold:
    """One request's right to work on an upload."""

    def __init__(self) -> None:
        self._end: float | None = None
        self._timeout: asyncio.Timeout | None = None

    def ask(self) -> None:
        """Ask for the upload: from now on the drain time runs."""
        if self._end is None:
            self._end = asyncio.get_running_loop().time() + DRAIN_SECONDS
            if self._timeout is not None:
                self._timeout.reschedule(self._end)

    @asynccontextmanager
    async def until_asked(self) -> AsyncIterator[None]:
        """Run the block, and raise TimeoutError in it when the drain time is over."""
        async with asyncio.timeout_at(self._end) as timeout:
            self._timeout = timeout
            try:
                yield
            finally:
                self._timeout = None


class _Lock:
    def __init__(self) -> None:
        self.mutex = asyncio.Lock()
        self.waiting = 0
        self.hold = Hold()


class UploadLocks:
    """The locks of the uploads that somebody works on."""

    def __init__(self) -> None:
        self._locks: dict[str, _Lock] = {}

    @asynccontextmanager
    async def hold(self, version: str) -> AsyncIterator[Hold]:
        """Hold an upload's lock during the block. Raises a refusal if it is not to be had in time."""
        lock = self._locks.setdefault(version, _Lock())
        await self._acquire(lock)
        lock.hold = Hold()
        if lock.waiting:
            lock.hold.ask()
        try:
            yield lock.hold
        finally:
            lock.mutex.release()
            if not lock.waiting:
                self._locks.pop(version, None)

    async def _acquire(self, lock: _Lock) -> None:
        if lock.mutex.locked():
            lock.hold.ask()
        lock.waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await lock.mutex.acquire()
        except TimeoutError:
            raise refusals.lock_timeout() from None
        finally:
            lock.waiting -= 1
