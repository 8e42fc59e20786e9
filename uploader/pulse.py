"""The sign of life of one run: ``status.json``, so often that nobody takes its owner for dead.

It has a lane of its own, because listing a large prefix, or asking for thousands of objects, takes longer than others
wait for a sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uploader.lanes import Desk, Lane

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from uploader.world import World

# However seldom the logs are published: others take over after six times as long.
_SECONDS = 15.0


class Pulse:
    """When the next sign is due, and the one that is under way."""

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self._seconds = min(_SECONDS, world.settings.log_seconds)
        self._desk: Desk[None] = Desk(world.lanes, Lane.PULSE)
        self._at: float | None = None

    @property
    def busy(self) -> bool:
        """Return whether a sign is under way or its result has not been taken."""
        return self._desk.busy

    @property
    def under_way(self) -> bool:
        """Return whether a sign is still being sent."""
        return self._desk.under_way

    def due(self) -> bool:
        """Return whether it is time for the next sign."""
        since = None if self._at is None else self._clock.monotonic() - self._at
        return not self._desk.busy and (since is None or since >= self._seconds)

    def give(self, sign: Callable[[], None]) -> None:
        """Have ``sign`` given. One must not be under way."""
        self._at = self._clock.monotonic()
        self._desk.start(sign)

    def take(self) -> Future[None] | None:
        """Return what became of the sign, once; None while there is nothing to tell."""
        return self._desk.take()
