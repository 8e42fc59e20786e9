"""Blocking work beside the event loop, which ends when the job is to end."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeVar

from handler.stop import HURRIED_SECONDS, Stop, StopRequest
from handler.undisturbed import undisturbed

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_FOR_EVER = 1e9
# A thread that waits for an answer of Storage hears nothing; what it would bring is of no use any more.
GIVE_UP_SECONDS = 5.0


class EndedEarlyError(Exception):
    """The job was to end before the trainer had been started."""

    def __init__(self, reason: Stop) -> None:
        super().__init__(reason)
        self.reason = reason


async def in_thread(
    stop: StopRequest, work: Callable[[threading.Event], T], *, give_up_seconds: float = GIVE_UP_SECONDS
) -> T:
    """Return what ``work`` returns. The flag that it is given tells it to give up.

    Raises EndedEarlyError when ``stop`` is asked first; a cancellation is passed on. In both cases the thread has
    ended, or has had ``give_up_seconds`` to do so.
    """
    flag = threading.Event()
    task = asyncio.ensure_future(asyncio.to_thread(work, flag))
    asked = asyncio.ensure_future(stop.wait(_FOR_EVER))
    try:
        await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    finally:
        flag.set()
        asked.cancel()
        if not task.done():
            task.add_done_callback(_forget)
            hurried = stop.reason is Stop.INTERRUPTED
            seconds = min(give_up_seconds, HURRIED_SECONDS) if hurried else give_up_seconds
            await undisturbed(asyncio.wait({task}, timeout=seconds))
    raise EndedEarlyError(stop.reason or Stop.INTERRUPTED)


def _forget(task: asyncio.Future[T]) -> None:
    """Look at what a task that nobody waits for has raised, since asyncio complains otherwise."""
    if not task.cancelled():
        task.exception()
