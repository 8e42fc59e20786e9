"""How checks are asked: what one cannot answer, what an error becomes, and what is left out."""

from __future__ import annotations

import pytest

from shared.errors import ErrorCode, FerryError
from shared.storage.errors import StorageError, Trouble
from uploader.doctor.checks import Check, Finding, Level, doubtful, examine, fine, wrong


def fails() -> Finding:
    raise FerryError(ErrorCode.TOOLKIT_NOT_FOUND, "It is not there: put it there.")


def refuses() -> Finding:
    raise StorageError(Trouble.DENIED, "Looking", "no", advice="Bring another key.")


def test_an_error_is_a_failure_and_says_what_to_do() -> None:
    found = [result.finding for result in examine([Check("a", fails), Check("b", refuses)])]
    assert found == [
        Finding(Level.FAILURE, "It is not there: put it there."),
        Finding(Level.FAILURE, "Looking failed: no.", "Bring another key."),
    ]


def test_what_needs_something_that_has_failed_is_left_out_and_so_is_what_needs_that() -> None:
    first = Check("first", lambda: wrong("bad", "Mend it."))
    second = Check("second", lambda: pytest.fail("asked"), needs=first)
    third = Check("third", lambda: pytest.fail("asked"), needs=second)
    other = Check("other", lambda: doubtful("so so", "Look."))
    last = Check("last", lambda: fine("good"), needs=other)
    levels = [result.finding and result.finding.level for result in examine([first, second, third, other, last])]
    assert levels == [Level.FAILURE, None, None, Level.WARNING, Level.OK]


def test_a_finding_is_there_before_the_next_check_is_asked() -> None:
    second = Check("second", lambda: pytest.fail("asked"))
    results = examine([Check("first", lambda: fine("good")), second])
    assert next(results).finding == fine("good")
