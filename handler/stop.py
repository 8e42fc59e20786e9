"""The wish that a training be ended, and why."""

from __future__ import annotations

import asyncio
from enum import StrEnum

# RunPod kills a worker about ten seconds after its SIGTERM. In so many of them the trainer, or whatever else is under
# way, is ended; most of the others belong to the drain.
HURRIED_SECONDS = 3.0


class Stop(StrEnum):
    """Why the handler ended a training."""

    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    STALLED = "stalled"
    SILENT = "silent"
    TIMED_OUT = "timed_out"


class StopRequest:
    """The wish that the training be ended, from wherever it comes. The first reason counts."""

    def __init__(self) -> None:
        self.reason: Stop | None = None
        self._asked = asyncio.Event()

    def ask(self, reason: Stop) -> None:
        """Ask for the end. Safe in a signal handler of the event loop."""
        self.reason = self.reason or reason
        self._asked.set()

    async def wait(self, seconds: float) -> None:
        """Return when the end is asked for, and after ``seconds`` at the latest."""
        try:
            await asyncio.wait_for(self._asked.wait(), seconds)
        except TimeoutError:
            return
