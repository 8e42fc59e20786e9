"""Progress goes to RunPod rarely, numbered, and never right before the answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from handler.reporter import LAST_PACE_SECONDS, PACE_SECONDS, Reporter
from shared.contract.session import Progress
from shared.layout import SessionFolder
from tests.unit.handler.made import FakeClock, folder, session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def test_updates_keep_the_pace_and_carry_a_number(tmp_path: Path) -> None:
    clock = FakeClock()
    sent: list[Mapping[str, Any]] = []
    reporter = Reporter(sent.append, clock)
    shown = session(folder(tmp_path), progress=Progress(step=3, total=9))
    for _ in range(10):
        reporter.tell(shown)
        clock.passed += PACE_SECONDS / 5
    assert [update["sequence"] for update in sent] == [1, 2]
    assert (sent[0]["step"], sent[0]["total"], sent[0]["phase"]) == (3, 9, "preparing")
    reporter.end()
    clock.passed += 100
    reporter.tell(shown)
    assert len(sent) == 2


@pytest.mark.parametrize(
    ("progress", "pace"),
    [
        (Progress(), PACE_SECONDS),
        (Progress(step=8, total=9, eta_seconds=7), PACE_SECONDS),
        (Progress(step=8, total=9, eta_seconds=6), LAST_PACE_SECONDS),
        (Progress(step=9, total=9), LAST_PACE_SECONDS),
    ],
)
def test_near_the_end_there_are_fewer_so_that_the_answer_need_not_wait(
    tmp_path: Path, progress: Progress, pace: float
) -> None:
    clock = FakeClock()
    sent: list[Mapping[str, Any]] = []
    reporter = Reporter(sent.append, clock)
    shown = session(folder(tmp_path), progress=progress)
    for passed, updates in ((0, 1), (pace - 1, 1), (1, 2)):
        clock.passed += passed
        reporter.tell(shown)
        assert len(sent) == updates


def test_warnings_go_along_but_an_update_stays_small(tmp_path: Path) -> None:
    sent: list[Mapping[str, Any]] = []
    clock = FakeClock()
    reporter = Reporter(sent.append, clock)
    reporter.tell(session(folder(tmp_path)), ["w" * 1000] * 10)
    clock.passed += PACE_SECONDS
    reporter.tell(session(SessionFolder(tmp_path)))
    assert len(sent[0]["warnings"]) == 3
    assert len(str(sent[0])) < 1200
    assert "warnings" not in sent[1]


def test_nothing_to_wait_for_when_nothing_was_sent() -> None:
    asyncio.run(Reporter(lambda _: None, FakeClock()).silence())
