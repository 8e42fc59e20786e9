"""When a training has taken too long, or shows no sign of life any more. A rule without a clock of its own.

Three limits, because they mean three things: the longest run that somebody wants to pay for; a trainer that does
nothing at all; and one that keeps a processor busy without ever a word, as in a deadlock that spins.
"""

from __future__ import annotations

from handler.stop import Stop

# Every step, download and cached picture moves a bar, so nothing sound in a training is without a word for so long: so
# many times the stall's limit, and so many hours at least.
SILENT_TIMES = 6
SILENT_SECONDS = 3 * 3600.0
# Looks come every quarter of a second. Whoever was away for longer was frozen, and the trainer perhaps with him.
FROZEN_SECONDS = 30.0


class Watchdog:
    """Looks at one training. All times are monotonic seconds, both limits seconds; 0 for ``longest``: none."""

    def __init__(self, started: float, now: float, *, stall: float, longest: float) -> None:
        self._started = started
        self._stall = stall
        self._longest = longest
        self._looked = self._active = self._heard = now

    def look(self, now: float, *, heard: bool, active: bool) -> None:
        """Take note of a look: whether there was new output, and whether CPU or GPU were in use."""
        unseen = now - self._looked
        if unseen > FROZEN_SECONDS:
            # In a time in which nobody looked, nobody has seen nothing.
            self._active += unseen
            self._heard += unseen
        self._looked = now
        if heard:
            self._heard = now
        if heard or active:
            self._active = now

    def overdue(self) -> Stop | None:
        """Return why the training is to be ended, as of the last look."""
        if self._longest and self._looked - self._started >= self._longest:
            return Stop.TIMED_OUT
        if self._looked - self._active >= self._stall:
            return Stop.STALLED
        silent = self._looked - self._heard >= max(SILENT_TIMES * self._stall, SILENT_SECONDS)
        return Stop.SILENT if silent else None
