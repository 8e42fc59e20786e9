"""The sessions under a root, on a volume that does not always answer."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from shared.layout import sessions


def refuse(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Have the volume not tell what ``path`` is."""
    stat = os.stat

    def stale(asked: Path, **options: bool) -> os.stat_result:
        if asked == path:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(asked))
        return stat(asked, **options)

    monkeypatch.setattr(os, "stat", stale)
    monkeypatch.setattr(Path, "lstat", lambda asked: stale(asked, follow_symlinks=False))


def test_sessions_are_folders_that_are_called_so_the_oldest_first(tmp_path: Path) -> None:
    for name in ("training_session_2", "training_session_1", "another"):
        (tmp_path / name).mkdir()
    (tmp_path / "training_session_3").touch()
    (tmp_path / "training_session_4").symlink_to(tmp_path / "another")
    assert [found.session_id for found in sessions(tmp_path)] == ["training_session_1", "training_session_2"]
    assert list(sessions(tmp_path / "nothing")) == []


@pytest.mark.guarantee("one-writer", fault="the volume does not say what a session's folder is")
def test_a_session_that_the_volume_does_not_tell_of_is_one_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("training_session_1", "training_session_2"):
        (tmp_path / name).mkdir()
    refuse(monkeypatch, tmp_path / "training_session_1")
    assert [found.session_id for found in sessions(tmp_path)] == ["training_session_1", "training_session_2"]


def test_a_root_that_cannot_be_listed_is_not_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(_: Path) -> list[str]:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "listdir", stale)
    monkeypatch.setattr(os, "scandir", stale)
    with pytest.raises(OSError, match="Stale"):
        list(sessions(tmp_path))
