"""What an earlier handler may have left open is told without loading what would finish it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import handler.open_runs
from handler.open_runs import is_any_open
from shared.contract.process import identify
from shared.contract.session import Phase
from tests.unit.handler.made import folder, session

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_trainers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler.open_runs, "live_trainers", list)


@pytest.mark.parametrize(("phase", "is_open"), [(Phase.TRAINING, True), (Phase.CLOSED, False)])
def test_a_session_is_open_until_it_is_closed(tmp_path: Path, phase: Phase, is_open: bool) -> None:
    found = folder(tmp_path, "training_session_1")
    session(found, phase=phase).write(found.session_file)
    folder(tmp_path, "training_session_2")
    assert is_any_open(tmp_path, "worker") is is_open


def test_a_trainer_that_lives_is_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_any_open(tmp_path, "worker")
    monkeypatch.setattr(handler.open_runs, "live_trainers", lambda: [(tmp_path, identify())])
    assert is_any_open(tmp_path, "worker")


def test_a_session_that_cannot_be_read_may_be_open(tmp_path: Path) -> None:
    folder(tmp_path, "training_session_1").session_file.mkdir()
    assert is_any_open(tmp_path, "worker")
