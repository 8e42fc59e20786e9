"""How long something that ought to move has stood still, as far as one was there to see it.

By that workers judge each other on clocks of their own: none is compared with another machine's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from shared.clock import Clock

# An uploader writes its status, and a handler its session, every few seconds: so much silence means that it is gone.
SILENCE_SECONDS = 90.0
# Who has not looked for so long was cut off or frozen itself, and so may the other have been: it counts from there.
_GAP_SECONDS = 30.0


class Silence:
    """The silence of one counter. ``pace`` is how many seconds lie between two looks at it."""

    def __init__(self, clock: Clock, pace: float) -> None:
        self._clock = clock
        self._gap = max(_GAP_SECONDS, 2 * pace)
        self._sign: Hashable = None
        self._looked: float | None = None
        self._since = 0.0

    def look(self, sign: Hashable) -> float | None:
        """Return for how many seconds ``sign`` has been seen to stand still; None when it has moved."""
        now, before = self._clock.monotonic(), self._looked
        moved = before is not None and sign != self._sign
        if before is None or moved or now - before > self._gap:
            self._since = now
        self._sign, self._looked = sign, now
        return None if moved else now - self._since
