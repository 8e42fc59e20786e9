from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from shared.storage.throttle import Throttle


@dataclass
class FakeTime:
    """A clock that moves only when somebody waits; several may wait at once."""

    at: float = 0.0
    waits: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.at += seconds


def test_a_lane_gets_the_rate_it_was_given() -> None:
    time = FakeTime()
    throttle = Throttle(1000, time, time.wait)
    for _ in range(100):
        throttle(100)
    assert time.at == pytest.approx(10_000 / 1000 - 0.25)


def test_a_quiet_time_is_made_good_only_for_a_moment() -> None:
    time = FakeTime()
    throttle = Throttle(1000, time, time.wait)
    throttle(1000)
    time.at += 3600
    time.waits.clear()
    throttle(250)
    assert time.waits == []
    throttle(100)
    assert time.waits == [pytest.approx(0.1)]


def test_lanes_share_the_rate_and_queue() -> None:
    time = FakeTime()
    waits: list[float] = []
    throttle = Throttle(1000, time, waits.append)
    for _ in range(4):
        throttle(250)
    assert waits == [pytest.approx(0.25), pytest.approx(0.5), pytest.approx(0.75)]


class JealousTime(FakeTime):
    """Notices when two threads read it at once, and invites them to."""

    def __init__(self) -> None:
        super().__init__()
        self.alone = True
        self._reading = threading.Lock()

    def monotonic(self) -> float:
        self.alone &= self._reading.acquire(blocking=False)
        os.sched_yield()
        self._reading.release()
        return self.at


def test_no_byte_is_lost_between_threads() -> None:
    time = JealousTime()
    waits: list[float] = []
    lock = threading.Lock()

    def wait(seconds: float) -> None:
        with lock:
            waits.append(seconds)

    throttle = Throttle(1000, time, wait)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(throttle, [10] * 1000))
    assert time.alone
    assert max(waits) == pytest.approx((10_000 - 250) / 1000)
    assert len(waits) == 1000 - 25


@pytest.mark.parametrize(("rate", "block"), [(1024, 1024), (40_960, 10_240), (20 << 20, 256 << 10)])
def test_blocks_are_small_where_the_rate_is(rate: int, block: int) -> None:
    time = FakeTime()
    assert Throttle(rate, time, time.wait).block == block
