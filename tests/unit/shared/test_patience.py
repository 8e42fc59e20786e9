from __future__ import annotations

import errno
import os
from itertools import count

import pytest

from shared.patience import PATIENCE_SECONDS, may_pass, patiently


class Clock:
    """Moves only while somebody sleeps."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> float:
        return self.passed

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.EMFILE])
def test_what_may_pass_is_tried_again(number: int) -> None:
    clock, tries = Clock(), count()

    def work() -> str:
        if next(tries) < 3:
            raise OSError(number, os.strerror(number))
        return "done"

    assert patiently(work, clock=clock, sleep=clock.sleep) == "done"
    assert clock.passed == 3


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.ENOSPC, errno.ENAMETOOLONG])
def test_what_stays_so_is_raised_at_once(number: int) -> None:
    clock, error = Clock(), OSError(number, os.strerror(number))
    assert not may_pass(error)

    def work() -> None:
        raise error

    with pytest.raises(OSError, match=r".") as caught:
        patiently(work, clock=clock, sleep=clock.sleep)
    assert (caught.value, clock.passed) == (error, 0)


def test_patience_ends() -> None:
    clock = Clock()

    def work() -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with pytest.raises(OSError, match="Stale file handle"):
        patiently(work, clock=clock, sleep=clock.sleep)
    assert clock.passed == PATIENCE_SECONDS
