"""Blocking work beside the event loop, which ends when the job is to end."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from handler.watch import Stop, StopRequest
from shared.errors import FerryError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_FOR_EVER = 1e9


class EndedEarlyError(Exception):
    """The job was to end before the trainer had been started."""

    def __init__(self, reason: Stop) -> None:
        super().__init__(reason)
        self.reason = reason


async def in_thread(stop: StopRequest, work: Callable[[threading.Event], T]) -> T:
    """Return what ``work`` returns. The flag that it is given tells it to give up.

    Raises EndedEarlyError when ``stop`` is asked first; a cancellation is passed on. Either way the thread has ended.
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
            with suppress(FerryError, OSError):
                await asyncio.shield(task)
    raise EndedEarlyError(stop.reason or Stop.INTERRUPTED)
