"""Lanes: so many transfers at once, small and large ones apart, so that neither waits for the other."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# More large files at once share the line without making it faster, and each finishes later.
LARGE_LANES = 3
# So many small files are lined up for each lane: none stands idle until the daemon has looked what comes next.
LINED_UP = 4


class Lane(StrEnum):
    """Which kind of work a lane is for.

    ``proof``: seeing whether what was sent is there. ``pulse``: the signs of life, which must not wait for anything.
    ``copy``: copies on the disk, which take minutes.
    """

    SMALL = "small"
    LARGE = "large"
    PROOF = "proof"
    OFFICE = "office"
    PULSE = "pulse"
    COPY = "copy"


class Lanes:
    """The threads that wait for Storage. ``wake`` is called from a lane that has finished something and has no more."""

    def __init__(
        self, small: int, wake: Callable[[], None], executor: Callable[[int, str], Executor] | None = None
    ) -> None:
        make = executor or _threads
        self._wake = wake
        large = min(LARGE_LANES, small)
        self._width = {
            Lane.SMALL: small,
            Lane.LARGE: large,
            Lane.PROOF: 1,
            Lane.OFFICE: 2,
            Lane.PULSE: 1,
            Lane.COPY: 1,
        }
        self._most = {**self._width, Lane.SMALL: small * LINED_UP}
        self._executors = {lane: make(width, lane) for lane, width in self._width.items()}
        self._busy: Counter[Lane] = Counter()
        self._lock = threading.Lock()

    @property
    def width(self) -> int:
        """Return how many calls to Storage there can be at a time: each may look at the claim in its middle."""
        return sum(width for lane, width in self._width.items() if lane is not Lane.COPY) + 1

    def free(self, lane: Lane) -> int:
        """Return how many more pieces of work ``lane`` takes now."""
        with self._lock:
            return self._most[lane] - self._busy[lane]

    def submit(self, lane: Lane, work: Callable[[], T]) -> Future[T]:
        """Start ``work`` in ``lane``."""
        with self._lock:
            self._busy[lane] += 1
        future = self._executors[lane].submit(work)
        future.add_done_callback(lambda _: self._done(lane))
        return future

    def close(self) -> None:
        """Take no more work. What is under way has been told to end by the stop signal."""
        for executor in self._executors.values():
            executor.shutdown(wait=False, cancel_futures=True)

    def _done(self, lane: Lane) -> None:
        with self._lock:
            self._busy[lane] -= 1
            lined_up = self._busy[lane] > self._width[lane]
        if not lined_up:
            self._wake()


class Desk(Generic[T]):
    """A place for one piece of work at a time that waits for Storage while the daemon goes on."""

    def __init__(self, lanes: Lanes, lane: Lane = Lane.OFFICE) -> None:
        self._lanes = lanes
        self._lane = lane
        self._future: Future[T] | None = None

    @property
    def busy(self) -> bool:
        """Return whether something is under way or its result has not been taken."""
        return self._future is not None

    @property
    def under_way(self) -> bool:
        """Return whether a lane still works on something."""
        return self._future is not None and not self._future.done()

    def start(self, work: Callable[[], T]) -> None:
        """Begin ``work``. The desk must not be busy."""
        self._future = self._lanes.submit(self._lane, work)

    def take(self) -> Future[T] | None:
        """Return the finished piece of work, once; None while there is none."""
        if self._future is None or not self._future.done():
            return None
        future, self._future = self._future, None
        return future


def _threads(width: int, name: str) -> Executor:
    return ThreadPoolExecutor(max_workers=width, thread_name_prefix=name)
