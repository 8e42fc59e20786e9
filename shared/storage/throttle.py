"""A limit for the bandwidth of all lanes together: a token bucket that may go into debt."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.clock import Clock

_BURST_SECONDS = 0.25
_LEAST_BLOCK = 1 << 10
_LARGEST_BLOCK = 256 << 10


class Throttle:
    """Called with a number of bytes, it returns when they may be sent. Threads are served in the order they come.

    ``rate`` is bytes a second. ``wait`` sleeps for seconds; it may return early, as a stopping program's does.
    """

    def __init__(self, rate: int, clock: Clock, wait: Callable[[float], object]) -> None:
        self._rate = rate
        self._clock = clock
        self._wait = wait
        self._burst = rate * _BURST_SECONDS
        self._lock = threading.Lock()
        self._balance = self._burst
        self._at = clock.monotonic()

    @property
    def block(self) -> int:
        """Return the bytes to send at a time, so few that no pause is long enough for a server to lose patience."""
        return int(min(_LARGEST_BLOCK, max(_LEAST_BLOCK, self._burst)))

    def __call__(self, count: int) -> None:
        """Wait until ``count`` bytes may go."""
        debt = self._take(count)
        if debt > 0:
            self._wait(debt / self._rate)

    def _take(self, count: int) -> float:
        with self._lock:
            now = self._clock.monotonic()
            self._balance = min(self._burst, self._balance + (now - self._at) * self._rate) - count
            self._at = now
            return -self._balance
