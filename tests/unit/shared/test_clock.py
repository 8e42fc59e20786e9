from __future__ import annotations

from shared.clock import Deadline, SystemClock


def test_the_systems_clocks_go_forward_and_the_boots_has_seen_at_least_as_much() -> None:
    clock = SystemClock()
    before = clock.monotonic(), clock.boottime()
    after = clock.monotonic(), clock.boottime()
    assert after >= before
    assert clock.boottime() >= before[0]


def test_a_deadline_that_has_passed_stays_so() -> None:
    deadline = Deadline(SystemClock(), 0)
    assert (deadline.passed(), deadline.remaining()) == (True, 0.0)
