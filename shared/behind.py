"""Digests that are taken behind: beside the sending or writing of the same bytes, in a thread of their own."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# So many blocks may be on their way before they are in the digest: enough for both to go on, little enough for memory.
_BEHIND = 8

T = TypeVar("T")


class Digest(Protocol):
    """A running digest, as hashlib makes it."""

    def update(self, data: bytes, /) -> None:
        """Take in more bytes."""
        ...


class Behind:
    """Takes blocks into digests in a thread of its own, so that whoever sends or writes them does not wait for that.

    To be used by one thread.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "digest")
        self._under_way: deque[Future[None]] = deque()

    def update(self, digest: Digest, data: bytes) -> None:
        """Have ``data`` taken into ``digest``; waits while that is too far behind. Raises what went wrong before."""
        self._under_way.append(self._thread.submit(digest.update, data))
        if len(self._under_way) > _BEHIND:
            self._under_way.popleft().result()

    def then(self, work: Callable[[], T]) -> Future[T]:
        """Return what ``work`` will return when everything that was given before has been taken in."""
        return self._thread.submit(work)

    def catch_up(self) -> None:
        """Wait until everything that was given has been taken in. Raises what went wrong with it."""
        while self._under_way:
            self._under_way.popleft().result()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()


@contextmanager
def behind() -> Iterator[Behind]:
    """Hold a thread for digests."""
    held = Behind()
    try:
        yield held
    finally:
        held.close()
