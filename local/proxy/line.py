"""The line that all connections share: how long a round trip takes, and how many bytes a second go each way."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

# What a pause that lasts too long may make up for, in seconds: without it every one would cost some of the rate.
_SLACK_SECONDS = 0.02
_PORTION_SECONDS = 0.05
_LEAST_PORTION = 256

Sleep = Callable[[float], Awaitable[None]]


class Pacer:
    """Lets ``rate`` bytes a second through (None: any number), in the order in which they ask."""

    def __init__(
        self, rate: int | None = None, *, clock: Callable[[], float] = time.monotonic, sleep: Sleep = asyncio.sleep
    ) -> None:
        self.rate = rate
        self._clock = clock
        self._sleep = sleep
        self._free_at = 0.0

    @property
    def portion(self) -> int:
        """Return the bytes to ask for at a time: few enough that a slow line trickles, and never stands still."""
        return sys.maxsize if self.rate is None else max(_LEAST_PORTION, int(self.rate * _PORTION_SECONDS))

    async def __call__(self, count: int) -> None:
        """Wait until ``count`` bytes may go."""
        rate = self.rate
        if rate is None:
            return
        now = self._clock()
        self._free_at = max(self._free_at, now - _SLACK_SECONDS) + count / rate
        if self._free_at > now:
            await self._sleep(self._free_at - now)


class Line:
    """Round trip (seconds) and bandwidth (bytes a second each way; None: no limit). Any thread may change them.

    An exchange takes one round trip more than without, and the first of a connection two, as its handshake takes one.
    The slow start of a real connection is not imitated.
    """

    def __init__(self, round_trip: float = 0.0, bandwidth: int | None = None, *, sleep: Sleep = asyncio.sleep) -> None:
        self.round_trip = round_trip
        self.up = Pacer(bandwidth)
        self.down = Pacer(bandwidth)
        self._sleep = sleep

    @property
    def bandwidth(self) -> int | None:
        """The bytes a second that go each way."""
        return self.up.rate

    @bandwidth.setter
    def bandwidth(self, rate: int | None) -> None:
        self.up.rate = self.down.rate = rate

    async def travel(self, trips: float) -> None:
        """Wait for so many round trips; half a one is a way."""
        if self.round_trip:
            await self._sleep(trips * self.round_trip)
