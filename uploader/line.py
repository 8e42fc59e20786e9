"""The line to Storage: whether it is worth sending anything now. When it is down, one probe asks, not every file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.contract.upload import StorageState

if TYPE_CHECKING:
    import random

    from shared.clock import Clock

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


class Line:
    """What the uploader believes of Storage. Only the daemon's own thread changes it."""

    def __init__(self, clock: Clock, jitter: random.Random) -> None:
        self._clock = clock
        self._jitter = jitter
        self._pause = 0.0
        self._next_probe = 0.0
        self.state = StorageState.UNKNOWN
        self.problem: str | None = None

    @property
    def open(self) -> bool:
        """Return whether files may be sent."""
        return self.state in {StorageState.OK, StorageState.UNKNOWN}

    @property
    def asked(self) -> bool:
        """Return whether a probe has already found Storage away."""
        return self._pause > 0.0

    def probe_due(self) -> bool:
        """Return whether Storage should be asked now whether it is back."""
        return not self.open and self._clock.monotonic() >= self._next_probe

    def suspect(self, problem: str, retry_after: float | None = None) -> None:
        """Stop sending until a probe has answered. The first probe goes out at once, unless Storage said when."""
        if self.open:
            self._pause = 0.0
            self._next_probe = self._clock.monotonic() + (retry_after or 0.0)
        self.state, self.problem = StorageState.DOWN, problem

    def failed(self, problem: str, *, denied: bool) -> None:
        """Take note of a probe that failed; the next one comes after a longer pause."""
        self.state = StorageState.DENIED if denied else StorageState.DOWN
        self.problem = problem
        self._pause = min(max(FIRST_PAUSE_SECONDS, self._pause * 2), LONGEST_PAUSE_SECONDS)
        self._next_probe = self._clock.monotonic() + self._pause * self._jitter.uniform(0.75, 1.0)

    def restored(self) -> bool:
        """Take note that Storage answered. Returns whether it had really been away."""
        was_away = self._pause > 0.0
        self._pause = 0.0
        self.state, self.problem = StorageState.OK, None
        return was_away
