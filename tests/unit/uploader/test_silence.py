from __future__ import annotations

import pytest

from tests.unit.uploader.harbour import FakeClock
from uploader.silence import Silence


def seen(silence: Silence, clock: FakeClock, signs: list[object], pause: float) -> list[float | None]:
    heard = []
    for sign in signs:
        heard.append(silence.look(sign))
        clock.advance(pause)
    return heard


def test_what_stands_still_is_silent_since_it_was_first_seen_and_what_moves_begins_anew() -> None:
    clock = FakeClock()
    silence = Silence(clock, pace=1)
    assert seen(silence, clock, [1, 1, 1, 2, 2, 2], 10) == [0, 10, 20, None, 10, 20]


@pytest.mark.guarantee("one-writer", fault="the observer was frozen, or cut off from Storage, together with the owner")
def test_a_time_in_which_nobody_looked_does_not_count() -> None:
    clock = FakeClock()
    silence = Silence(clock, pace=1)
    seen(silence, clock, [1] * 8, 10)
    clock.advance(600)
    assert seen(silence, clock, [1, 1], 10) == [0, 10]


def test_a_machine_that_was_suspended_has_not_listened_meanwhile() -> None:
    clock = FakeClock()
    silence = Silence(clock, pace=1)
    seen(silence, clock, [1] * 3, 10)
    clock.suspend(600)
    assert silence.look(1) == 30


def test_whoever_looks_seldom_counts_from_look_to_look() -> None:
    clock = FakeClock()
    silence = Silence(clock, pace=60)
    assert seen(silence, clock, [1, 1, 1], 70) == [0, 70, 140]
