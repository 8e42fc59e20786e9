"""Time as something that is passed in, so that rules about time are tested without waiting."""

from __future__ import annotations

import time
from typing import Protocol

# Linux has it; elsewhere nobody counts the time of a suspended machine.
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Two readings of time: one to show and store, one to measure with."""

    def now(self) -> float:
        """Return the wall clock as Unix seconds. It may jump: never measure with it."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only ever move forward, for deadlines and intervals within this process."""
        ...


class WakefulClock(Clock, Protocol):
    """A clock that knows, too, how long the machine was suspended: others were not, and may have given it up."""

    def boottime(self) -> float:
        """Return seconds that move forward even while the machine is suspended, where the system counts those."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        """Return Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return monotonic seconds. They stand still while the machine is suspended, as the programs on it do."""
        return time.monotonic()

    def boottime(self) -> float:
        """Return seconds that the system counts while the machine is suspended, too."""
        return time.clock_gettime(_BOOTTIME)


class Deadline:
    """A moment on a monotonic clock after which waiting stops."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._end = clock.monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds that are left, never less than 0."""
        return max(0.0, self._end - self._clock.monotonic())

    def passed(self) -> bool:
        """Return whether the moment has come."""
        return self.remaining() == 0.0
