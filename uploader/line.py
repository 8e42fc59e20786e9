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
    """What the uploader believes of Storage. Only the daemon's own thread changes it.

    A probe that is answered opens it again, but proves little: a Storage whose disk is gone still knows its buckets.
    When nothing gets through before the next trouble, the pauses grow as if the probe had failed, and from then on one
    file at a time is tried until one gets through.
    """

    def __init__(self, clock: Clock, jitter: random.Random) -> None:
        self._clock = clock
        self._jitter = jitter
        self._pause = 0.0
        self._next_probe = 0.0
        self._proved = True
        self._lied = False
        self._away = False
        self._back = False
        self.state = StorageState.UNKNOWN
        self.problem: str | None = None

    @property
    def open(self) -> bool:
        """Return whether files may be sent."""
        return self.state in {StorageState.OK, StorageState.UNKNOWN}

    @property
    def on_trial(self) -> bool:
        """Return whether one file is enough for now, because the last probe promised too much."""
        return self._lied

    @property
    def asked(self) -> bool:
        """Return whether a probe has already found Storage away."""
        return self._away

    def probe_due(self) -> bool:
        """Return whether Storage should be asked now whether it is back."""
        return not self.open and self._clock.monotonic() >= self._next_probe

    def hurry(self) -> None:
        """Have Storage asked at once: somebody has changed something."""
        self._pause, self._next_probe = 0.0, self._clock.monotonic()

    def suspect(self, problem: str, retry_after: float | None = None) -> None:
        """Stop sending until a probe has answered. The first probe goes out at once, unless Storage said when."""
        if self.open:
            self._lied = not self._proved
            self._pause = self._longer() if self._lied else 0.0
            self._ask_in(self._pause, at_least=retry_after or 0.0)
            self.state, self.problem = StorageState.DOWN, problem

    def failed(self, problem: str, *, denied: bool) -> None:
        """Take note of a probe that failed; the next one comes after a longer pause."""
        self.state = StorageState.DENIED if denied else StorageState.DOWN
        self.problem = problem
        self._away = True
        self._pause = self._longer()
        self._ask_in(self._pause)

    def answered(self) -> None:
        """Take note of a probe that was answered: what has waited may be tried."""
        self._open()
        self._proved = False

    def restored(self) -> bool:
        """Take note that something got through. Returns whether a probe had found Storage away."""
        self._proved, self._lied, self._pause = True, False, 0.0
        return self._open()

    def came_back(self) -> bool:
        """Return, once, whether Storage is there again after a probe had found it away."""
        back, self._back = self._back, False
        return back

    def _open(self) -> bool:
        was_away, self._away = self._away, False
        if was_away:
            self._back, self._pause = True, 0.0
        self.state, self.problem = StorageState.OK, None
        return was_away

    def _longer(self) -> float:
        return min(max(FIRST_PAUSE_SECONDS, self._pause * 2), LONGEST_PAUSE_SECONDS)

    def _ask_in(self, seconds: float, at_least: float = 0.0) -> None:
        # One answer with a wish for a day must not stop everything for that day.
        wished = min(at_least, LONGEST_PAUSE_SECONDS)
        self._next_probe = self._clock.monotonic() + max(seconds * self._jitter.uniform(0.75, 1.0), wished)
