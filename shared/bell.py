"""The bell: the time of the training root's last change, by which a handler says that one of its sessions has news.

The uploader's poll finds out all the same, only later. So nothing depends on the bell: it may be rung for nothing, and
on a volume that keeps times badly it is not heard.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from shared.clock import Deadline

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from shared.clock import Clock

# This is all that the news waits. A look takes some microseconds, but being woken for it 0.1 ms of the processor; who
# has nothing to do is woken less often.
_LOOK_SECONDS = 0.05
_CALM_LOOK_SECONDS = 0.2


def ring(root: Path) -> None:
    """Ring the bell of a training root, after the news have been written."""
    with suppress(OSError):
        os.utime(root)


class Bell:
    """The bell of ``root`` as one listener hears it; without a root it never rings."""

    def __init__(self, root: Path | None, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        self._heard = self._time()

    def heard(self) -> bool:
        """Return whether the bell has been rung since this was last asked."""
        known, self._heard = self._heard, self._time()
        return self._heard != known

    def wait(self, wake: threading.Event, seconds: float, *, calm: bool = False) -> None:
        """Return when the bell is rung, when ``wake`` is set, or after so many seconds.

        ``calm``: nothing is under way for which the bell might be rung, other than what is yet to begin.
        """
        deadline, pause = Deadline(self._clock, seconds), _CALM_LOOK_SECONDS if calm else _LOOK_SECONDS
        while self._time() == self._heard and not wake.wait(min(pause, deadline.remaining())):
            if deadline.passed():
                return

    def _time(self) -> int | None:
        try:
            return self._root.stat().st_mtime_ns if self._root else None
        except OSError:
            return None
