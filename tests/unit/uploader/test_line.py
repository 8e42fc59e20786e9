from __future__ import annotations

import random

from shared.contract.upload import StorageState
from tests.unit.uploader.harbour import FakeClock
from uploader.line import LONGEST_PAUSE_SECONDS, Line


def test_a_line_is_open_until_there_is_trouble_and_asked_at_once() -> None:
    line = Line(FakeClock(), random.Random(1))
    assert (line.open, line.probe_due()) == (True, False)
    line.suspect("away")
    assert (line.open, line.probe_due()) == (False, True)
    assert not line.restored()
    assert (line.open, line.probe_due()) == (True, False)


def test_pauses_grow_and_do_not_grow_for_ever() -> None:
    clock = FakeClock()
    line = Line(clock, random.Random(1))
    line.suspect("away")
    for _ in range(10):
        line.failed("away", denied=False)
        assert not line.probe_due()
        clock.advance(LONGEST_PAUSE_SECONDS)
        assert line.probe_due()
    assert line.restored()
    assert line.problem is None


def test_what_storage_asks_for_is_respected() -> None:
    clock = FakeClock()
    line = Line(clock, random.Random(1))
    line.suspect("busy", 30.0)
    clock.advance(29)
    assert not line.probe_due()
    clock.advance(1)
    assert line.probe_due()


def test_a_wish_for_a_day_is_no_reason_not_to_ask_for_a_day() -> None:
    clock = FakeClock()
    line = Line(clock, random.Random(1))
    line.suspect("busy", 86_400.0)
    assert LONGEST_PAUSE_SECONDS - 1 < probe(line, clock) < LONGEST_PAUSE_SECONDS + 1


def test_more_trouble_does_not_hurry_the_next_question() -> None:
    clock = FakeClock()
    line = Line(clock, random.Random(1))
    line.suspect("away")
    line.failed("away", denied=False)
    line.suspect("away")
    assert not line.probe_due()


def test_a_refused_key_is_not_an_outage() -> None:
    line = Line(FakeClock(), random.Random(1))
    line.failed("denied", denied=True)
    assert line.state is StorageState.DENIED


def probe(line: Line, clock: FakeClock) -> float:
    """Return how long it takes until the next question is due."""
    begun = clock.passed
    while not line.probe_due():
        clock.advance(0.1)
    return clock.passed - begun


def test_a_probe_that_promises_too_much_makes_the_pauses_grow_and_one_file_enough() -> None:
    clock = FakeClock()
    line = Line(clock, random.Random(1))
    pauses = []
    for _ in range(8):
        line.suspect("nothing gets through")
        pauses.append(probe(line, clock))
        line.answered()
        assert line.open
    assert pauses[0] == 0
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 0.75 * LONGEST_PAUSE_SECONDS
    assert (line.on_trial, line.came_back()) == (True, False)
    line.restored()
    assert (line.on_trial, line.came_back()) == (False, False)
    line.suspect("a hiccup")
    assert line.probe_due()


def test_its_return_is_told_once_whoever_found_out() -> None:
    line = Line(FakeClock(), random.Random(1))
    for found_out in (line.answered, line.restored):
        line.suspect("away")
        assert not line.came_back()
        line.failed("away", denied=False)
        found_out()
        assert (line.came_back(), line.came_back()) == (True, False)


def test_somebody_who_has_changed_something_has_it_asked_at_once() -> None:
    clock = FakeClock()
    line = Line(clock, random.Random(1))
    line.suspect("refused")
    for _ in range(10):
        line.failed("refused", denied=True)
    assert not line.probe_due()
    line.hurry()
    assert line.probe_due()
    line.failed("refused", denied=True)
    assert probe(line, clock) <= 1.1


def test_a_straggler_does_not_change_what_a_probe_has_found() -> None:
    line = Line(FakeClock(), random.Random(1))
    line.suspect("refused")
    line.failed("the key is refused", denied=True)
    line.suspect("no answer")
    assert (line.state, line.problem) == (StorageState.DENIED, "the key is refused")
