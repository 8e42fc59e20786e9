"""Patience with a disk: what a network volume says for a while is no word on the file that was asked for."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING, TypeVar

from shared.clock import Deadline, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.clock import Clock

# A volume that stutters comes back within that.
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 1.0
# What a disk, a network volume and its server, or a system that is short of something, say for a while. That a file may
# not be looked at, or has too long a name, stays so.
_PASSING = frozenset(
    {
        errno.EIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.EAGAIN,
        errno.EBUSY,
        errno.ENOTCONN,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOMEM,
        errno.ENFILE,
        errno.EMFILE,
    }
)

T = TypeVar("T")


def may_pass(error: OSError) -> bool:
    """Return whether a later attempt may go well although nobody mends anything."""
    return error.errno in _PASSING


def patiently(
    work: Callable[[], T],
    *,
    clock: Clock | None = None,
    sleep: Callable[[float], object] = time.sleep,
    seconds: float = PATIENCE_SECONDS,
) -> T:
    """Return what ``work`` returns, trying again each second, for so many ``seconds``, while what it raises may pass.

    Raises what ``work`` raises otherwise. It blocks: not for an event loop's thread.
    """
    deadline = Deadline(clock or SystemClock(), seconds)
    while True:
        try:
            return work()
        except OSError as error:
            if not may_pass(error) or deadline.passed():
                raise
        sleep(PAUSE_SECONDS)
