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
