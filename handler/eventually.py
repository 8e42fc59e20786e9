"""Patience with a disk in the event loop, where nothing else may wait for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from shared.clock import Deadline, SystemClock
from shared.patience import PATIENCE_SECONDS, PAUSE_SECONDS, may_pass

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.clock import Clock

T = TypeVar("T")


async def eventually(
    work: Callable[[], T],
    *,
    clock: Clock | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    seconds: float = PATIENCE_SECONDS,
) -> T:
    """Return what ``work`` returns, as ``patiently`` of shared.patience does, without a thread: there may be none left.

    ``work`` itself is to take moments. Raises what it raises when that does not pass within ``seconds``.
    """
    deadline = Deadline(clock or SystemClock(), seconds)
    while True:
        try:
            return work()
        except OSError as error:
            if not may_pass(error) or deadline.passed():
                raise
        await sleep(PAUSE_SECONDS)
