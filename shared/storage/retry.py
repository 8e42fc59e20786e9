"""Trying again: when, how often, and until when. What may be tried again, the error itself says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import tenacity

from shared.clock import Deadline
from shared.storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.clock import Clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on: at most so many attempts, for at most so many seconds (None: without end).

    The pause before an attempt is drawn from zero up to ``first`` seconds, doubled each time, up to ``longest``.
    """

    attempts: int | None = None
    seconds: float | None = None
    first: float = 0.5
    longest: float = 30.0


class _Pause:
    """Sleeps between attempts, and ends the trying with the newest error when the program is to stop."""

    def __init__(self, wait: Callable[[float], bool], noticed: Callable[[StorageError, float], None] | None) -> None:
        self._wait = wait
        self._noticed = noticed
        self._error: StorageError | None = None

    def prepare(self, state: tenacity.RetryCallState) -> None:
        self._error = _error(state)
        if self._noticed:
            self._noticed(self._error, state.upcoming_sleep)

    def sleep(self, seconds: float) -> None:
        if self._wait(seconds) and self._error:
            raise self._error


def retrying(
    patience: Patience,
    *,
    clock: Clock,
    wait: Callable[[float], bool],
    noticed: Callable[[StorageError, float], None] | None = None,
) -> tenacity.Retrying:
    """Return what tries a call again while its StorageError is transient; for one call, in one thread.

    ``wait`` sleeps for seconds and returns whether to stop at once, as ``threading.Event.wait`` does. ``noticed`` is
    told each error that is not the last, with the pause in seconds. The last error is raised as it is.
    """
    pause = _Pause(wait, noticed)
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, StorageError) and error.transient),
        wait=_pauses(patience),
        stop=_limit(patience, clock),
        before_sleep=pause.prepare,
        sleep=pause.sleep,
        reraise=True,
    )


def call(
    operation: Callable[[], T],
    patience: Patience,
    *,
    clock: Clock,
    wait: Callable[[float], bool],
    noticed: Callable[[StorageError, float], None] | None = None,
) -> T:
    """Return what ``operation`` returns, trying again as ``retrying`` says."""
    return retrying(patience, clock=clock, wait=wait, noticed=noticed)(operation)


def _pauses(patience: Patience) -> Callable[[tenacity.RetryCallState], float]:
    backoff = tenacity.wait_random_exponential(multiplier=patience.first, max=patience.longest)

    def pause(state: tenacity.RetryCallState) -> float:
        return max(backoff(state), _error(state).retry_after or 0.0)

    return pause


def _limit(patience: Patience, clock: Clock) -> Callable[[tenacity.RetryCallState], bool]:
    deadline = None if patience.seconds is None else Deadline(clock, patience.seconds)

    def reached(state: tenacity.RetryCallState) -> bool:
        if patience.attempts is not None and state.attempt_number >= patience.attempts:
            return True
        return deadline is not None and state.upcoming_sleep >= deadline.remaining()

    return reached


def _error(state: tenacity.RetryCallState) -> StorageError:
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, StorageError):
        raise TypeError("only a StorageError is tried again")
    return error
