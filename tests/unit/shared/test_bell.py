"""The bell is heard once for all that it was rung for, ends a wait, and is missed by nobody who looks anyway."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from shared.bell import Bell, ring
from tests.unit.handler.made import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def rung_long_ago(tmp_path: Path) -> Path:
    os.utime(tmp_path, (1, 1))
    return tmp_path


class Wake(threading.Event):
    """Does something at each wait instead of waiting."""

    def __init__(self, act: Callable[[float], None]) -> None:
        super().__init__()
        self._act = act
        self.waits = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.waits += 1
        self._act(timeout or 0.0)
        return self.is_set()


def test_it_is_heard_once_however_often_it_was_rung(rung_long_ago: Path) -> None:
    bell = Bell(rung_long_ago, FakeClock())
    assert not bell.heard()
    ring(rung_long_ago)
    ring(rung_long_ago)
    assert (bell.heard(), bell.heard()) == (True, False)


def test_a_session_that_is_made_rings_it_too(rung_long_ago: Path) -> None:
    bell = Bell(rung_long_ago, FakeClock())
    (rung_long_ago / "training_session_1").mkdir()
    assert bell.heard()


def test_a_wait_ends_when_it_rings(rung_long_ago: Path) -> None:
    bell = Bell(rung_long_ago, FakeClock())
    wake = Wake(lambda _: ring(rung_long_ago))
    bell.wait(wake, 3600)
    assert (wake.waits, bell.heard()) == (1, True)
    ring(rung_long_ago)
    os.utime(rung_long_ago, (2, 2))
    bell.wait(wake, 3600)
    assert wake.waits == 1


def test_a_wait_ends_when_woken_or_after_its_time(rung_long_ago: Path) -> None:
    clock = FakeClock()

    def pass_time(seconds: float) -> None:
        clock.passed += seconds

    bell, wake = Bell(rung_long_ago, clock), Wake(pass_time)
    bell.wait(wake, 1)
    assert clock.passed == pytest.approx(1)
    wake.set()
    waited = wake.waits
    bell.wait(wake, 1)
    assert wake.waits == waited + 1


def test_who_is_calm_is_woken_less_often_and_hears_it_all_the_same(rung_long_ago: Path) -> None:
    clock = FakeClock()

    def pass_time(seconds: float) -> None:
        clock.passed += seconds
        if clock.passed > 1:
            ring(rung_long_ago)

    bell, wake = Bell(rung_long_ago, clock), Wake(pass_time)
    bell.wait(wake, 3600, calm=True)
    assert 1 < clock.passed < 1.5
    assert wake.waits <= 6
    assert bell.heard()


@pytest.mark.parametrize("is_there", [True, False])
def test_without_a_root_it_never_rings(tmp_path: Path, is_there: bool) -> None:
    root = None if is_there else tmp_path / "nowhere"
    bell = Bell(root, FakeClock())
    ring(tmp_path / "nowhere")
    assert not bell.heard()
