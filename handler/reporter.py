"""Progress for RunPod, at the pace that its SDK bears.

Each update is a thread and a connection of its own, in no order, and one that arrives after the result overwrites it.
So they are few, small, numbered, and there is none in the last two seconds before the answer. The answer
would have to wait for those, so there are still fewer once the training may end at any moment.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from shared.clock import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.clock import Clock
    from shared.contract.session import Phase, Progress

PACE_SECONDS = 6.0
LAST_PACE_SECONDS = 30.0
SILENCE_SECONDS = 2.0
# An update is to stay around a kilobyte.
_MOST_WARNINGS = 3
_LONGEST_WARNING = 250


class Standing(Protocol):
    """How a run stands, as ``session.json`` and ``status.json`` tell it."""

    @property
    def session_id(self) -> str:
        """Return the session's id."""
        ...

    @property
    def phase(self) -> Phase:
        """Return where it stands."""
        ...

    @property
    def progress(self) -> Progress:
        """Return the newest numbers."""
        ...


class Reporter:
    """Tells RunPod how one job stands. ``send`` takes a small JSON object and neither waits nor raises."""

    def __init__(self, send: Callable[[Mapping[str, Any]], None], clock: Clock) -> None:
        self._send = send
        self._clock = clock
        self._sent: float | None = None
        self._number = 0
        self._over = False

    def begin(self) -> None:
        """Speak again: what was to be the answer was not the last word."""
        self._over = False

    def tell(self, session: Standing, warnings: Sequence[str] = ()) -> None:
        """Send how ``session`` stands, and the first of the ``warnings``, unless that was done a moment ago."""
        now = self._clock.monotonic()
        if self._over or (self._sent is not None and now - self._sent < _pace(session.progress)):
            return
        self._sent = now
        self._number += 1
        progress = session.progress.model_dump(exclude_none=True)
        told = {"sequence": self._number, "session_id": session.session_id, "phase": session.phase, **progress}
        shown = [warning[:_LONGEST_WARNING] for warning in warnings[:_MOST_WARNINGS]]
        self._send({**told, "warnings": shown} if shown else told)

    def end(self) -> None:
        """Send nothing more."""
        self._over = True

    async def silence(self) -> None:
        """Return when the last update lies far enough back for the answer to be the last word."""
        if self._sent is not None:
            left = SILENCE_SECONDS - (self._clock.monotonic() - self._sent)
            deadline = Deadline(self._clock, max(0.0, left))
            await asyncio.sleep(deadline.remaining())


def _pace(progress: Progress) -> float:
    """Return how many seconds lie between two updates; what follows the last step takes moments, or minutes."""
    done = progress.total is not None and progress.step >= progress.total
    nearly = progress.eta_seconds is not None and progress.eta_seconds <= PACE_SECONDS
    return LAST_PACE_SECONDS if done or nearly else PACE_SECONDS
