"""``session.json`` is written whole, not too often, and a full disk does not end a training."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from handler.book import new_folder
from shared.bell import Bell
from shared.contract.session import Phase, Session
from tests.unit.handler.made import NOW, FakeClock, book

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_two_sessions_in_one_second_get_folders_of_their_own(tmp_path: Path) -> None:
    first, second = new_folder(tmp_path, NOW), new_folder(tmp_path, NOW + 0.5)
    assert first.session_id == f"training_session_{int(NOW)}"
    assert second.session_id == f"training_session_{int(NOW)}_2"
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o700


def test_a_phase_is_written_at_once_and_numbers_once_a_second(tmp_path: Path) -> None:
    clock = FakeClock()
    made = book(tmp_path, clock)
    made.enter(Phase.TRAINING)
    made.note(warnings=("one",))
    written = Session.read(made.folder.session_file)
    assert written is not None
    assert (written.phase, written.warnings, written.beat) == (Phase.TRAINING, (), 1)
    clock.passed += 1
    made.note()
    written = Session.read(made.folder.session_file)
    assert written is not None
    assert (written.warnings, written.beat) == (("one",), 2)


def test_a_phase_rings_the_bell_and_numbers_do_not(tmp_path: Path) -> None:
    clock = FakeClock()
    made = book(tmp_path, clock)
    bell = Bell(made.folder.path.parent, clock)
    os.utime(made.folder.path.parent, (1, 1))
    assert bell.heard()
    made.note(warnings=("one",))
    assert not bell.heard()
    made.enter(Phase.TRAINING)
    assert bell.heard()


def test_a_disk_that_refuses_is_tried_again_later_and_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = book(tmp_path, FakeClock())

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("shared.contract.document.write_atomic", full)
        made.enter(Phase.TRAINING)
        made.write()
    assert Session.read(made.folder.session_file) is None
    assert caplog.text.count("session_not_written") == 1
    made.write()
    assert Session.read(made.folder.session_file) == made.session
