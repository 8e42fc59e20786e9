"""When a training is ended for its own sake, played as histories of looks."""

from __future__ import annotations

import pytest

from handler.stop import Stop
from handler.watchdog import FROZEN_SECONDS, SILENT_SECONDS, SILENT_TIMES, Watchdog

STALL = 1800.0
LOOK = 5.0


class History:
    """A training that is looked at every five seconds."""

    def __init__(self, *, stall: float = STALL, longest: float = 0.0) -> None:
        self.now = 0.0
        self.watchdog = Watchdog(started=0.0, now=0.0, stall=stall, longest=longest)

    def goes_on(self, seconds: float, *, heard: bool = False, active: bool = False) -> Stop | None:
        """Let time pass as long as nothing is overdue; return what is."""
        end = self.now + seconds
        while self.now < end and self.watchdog.overdue() is None:
            self.now += LOOK
            self.watchdog.look(self.now, heard=heard, active=active)
        return self.watchdog.overdue()


@pytest.mark.guarantee("every-wait-ends", fault="the trainer neither speaks nor works")
def test_a_trainer_that_does_nothing_is_ended_after_the_limit() -> None:
    history = History()
    assert history.goes_on(600, heard=True) is None
    assert history.goes_on(STALL - LOOK) is None
    assert history.goes_on(LOOK) is Stop.STALLED
    assert history.now == 600 + STALL


@pytest.mark.parametrize("sign", ["heard", "active"])
def test_output_alone_and_work_alone_are_signs_of_life(sign: str) -> None:
    # A download's bar moves without work worth the name, and a picture is cached without a word.
    history = History()
    assert history.goes_on(SILENT_SECONDS - LOOK, **{sign: True}) is None


@pytest.mark.guarantee("every-wait-ends", fault="the trainer spins in a deadlock")
@pytest.mark.parametrize(("stall", "silence"), [(60.0, SILENT_SECONDS), (7200.0, SILENT_TIMES * 7200.0)])
def test_a_trainer_that_works_for_hours_without_a_word_is_ended(stall: float, silence: float) -> None:
    history = History(stall=stall)
    history.goes_on(60, heard=True)
    assert history.goes_on(silence - LOOK, active=True) is None
    assert history.goes_on(LOOK, active=True) is Stop.SILENT


def test_a_word_now_and_then_is_enough() -> None:
    history = History()
    for _ in range(20):
        assert history.goes_on(SILENT_SECONDS - LOOK, active=True) is None
        assert history.goes_on(LOOK, heard=True) is None


@pytest.mark.guarantee("every-wait-ends", fault="a training takes longer than somebody wants to pay for")
def test_the_longest_run_ends_the_busiest_training() -> None:
    history = History(longest=3600.0)
    assert history.goes_on(3600 - LOOK, heard=True, active=True) is None
    assert history.goes_on(LOOK, heard=True, active=True) is Stop.TIMED_OUT


def test_without_a_longest_run_a_training_goes_on() -> None:
    assert History().goes_on(7 * 86_400, heard=True) is None


@pytest.mark.guarantee("undisturbed", fault="the whole worker is frozen for a day")
def test_a_time_in_which_nobody_looked_is_no_silence() -> None:
    history = History()
    assert history.goes_on(STALL - 10 * LOOK) is None
    history.now += 86_400
    assert history.goes_on(LOOK) is None
    assert history.goes_on(10 * LOOK) is Stop.STALLED
    assert LOOK < FROZEN_SECONDS
