"""Digests that are taken behind: beside the sending or writing of the same bytes, in a thread of their own."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from queue import Queue
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

# So many blocks may be on their way before they are in the digest: enough for both to go on, little enough for memory.
_BEHIND = 8


class Digest(Protocol):
    """A running digest, as hashlib makes it."""

    def update(self, data: bytes, /) -> None:
        """Take in more bytes."""
        ...


class Behind:
    """Takes blocks into digests in a thread of its own, so that whoever sends or writes them does not wait for that."""

    def __init__(self) -> None:
        self._steps: Queue[Callable[[], None] | None] = Queue(_BEHIND)
        self._thread = threading.Thread(target=self._run, name="digest", daemon=True)
        self._thread.start()

    def update(self, digest: Digest, data: bytes) -> None:
        """Have ``data`` taken into ``digest``; waits while that is too far behind."""
        self._steps.put(partial(digest.update, data))

    def then(self, work: Callable[[], T]) -> Future[T]:
        """Return what ``work`` will return when everything that was given before has been taken in."""
        future = Future[T]()
        self._steps.put(lambda: future.set_result(work()))
        return future

    def catch_up(self) -> None:
        """Wait until everything that was given has been taken in."""
        self._steps.join()

    def close(self) -> None:
        """End the thread."""
        self._steps.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (step := self._steps.get()) is not None:
            step()
            self._steps.task_done()


@contextmanager
def behind() -> Iterator[Behind]:
    """Hold a thread for digests."""
    held = Behind()
    try:
        yield held
    finally:
        held.close()
