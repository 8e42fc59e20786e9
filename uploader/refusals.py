"""Which files are hopeless: refused again and again although Storage is content with everything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.clock import Clock
    from uploader.results import Later

# While a key is rotated, some of a project's servers take the new one already and others do not yet; while a gateway
# is set up anew, it knows no route, or has a page of its own, for some seconds.
ROTATION_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Refused:
    """How often in a row, and since when (monotonic seconds)."""

    times: int
    since: float


class Refusals:
    """The refusals of one run, each file's by itself. An outage wipes them out: it explains them all."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refused: dict[str, _Refused] = {}

    def is_hopeless(self, path: str, result: Later) -> bool:
        """Take note of an attempt for ``path`` that failed; return whether there is no use in trying again."""
        if result.most_attempts is None:
            self.forget(path)
            return False
        now = self._clock.monotonic()
        before = None if result.moved else self._refused.get(path)
        refused = _Refused(1, now) if before is None else _Refused(before.times + 1, before.since)
        self._refused[path] = refused
        return refused.times >= result.most_attempts and now - refused.since >= ROTATION_SECONDS

    def are_spreading(self, path: str) -> bool:
        """Return whether ``path`` is the second file that is refused, just now: it may be everybody's trouble."""
        return len(self._refused) == 2 and path in self._refused and self._refused[path].times == 1

    def forget(self, path: str | None = None) -> None:
        """Begin anew with one file, or with all."""
        if path is None:
            self._refused.clear()
        else:
            self._refused.pop(path, None)
