"""What the system does not let one look at for a while: it is waited for, as most such trouble passes, and then named.

A file that a network volume hides for a moment must be missing neither in the bucket nor in the manifest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from uploader.scan import Seen


@dataclass(slots=True)
class _Hidden:
    """Since when something has been hidden, and when that was seen last (monotonic seconds)."""

    since: float
    last: float


class Sight:
    """What is hidden now, by its path."""

    def __init__(self) -> None:
        self._hidden: dict[str, _Hidden] = {}

    def hides(self, seen: Seen | None, path: str, now: float) -> bool:
        """Return whether a look at ``path`` that gave ``seen`` tells nothing, so that one is to look again."""
        known = self._hidden.pop(path, None)
        if seen is None or not seen.hidden:
            return False
        if known is None or now - known.last >= PATIENCE_SECONDS:
            known = _Hidden(now, now)
        known.last = now
        self._hidden[path] = known
        return now - known.since < PATIENCE_SECONDS

    def awaited(self, now: float) -> list[str]:
        """Return what is to be looked at again."""
        return [path for path, hidden in self._hidden.items() if now - hidden.since < PATIENCE_SECONDS]
