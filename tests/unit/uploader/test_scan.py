from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from tests.unit.uploader.harbour import write
from uploader.kinds import ignored
from uploader.scan import Folders, files, look

if TYPE_CHECKING:
    from pathlib import Path

LATER = 10**12


def now_ns(later: int = 0) -> int:
    return time.time_ns() + later


def test_hidden_folders_are_not_entered_and_links_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "a/b/c.txt", "c")
    write(tmp_path / ".hidden/d.txt", "d")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    folders = Folders(tmp_path, ignored)
    assert sorted(folders.changed(everything=True, now_ns=now_ns())) == ["", "a", "a/b"]
    assert [(seen.path, seen.strange) for seen in files(tmp_path, "", ignored)] == [("link", "a symbolic link")]


def test_a_folder_that_stands_still_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "a/b.txt", "b")
    folders = Folders(tmp_path, ignored)
    list(folders.changed(everything=False, now_ns=now_ns(LATER)))
    assert list(folders.changed(everything=False, now_ns=now_ns(LATER))) == []
    moment = time.time_ns() + 5_000_000_000
    write(tmp_path / "a/c.txt", "c")
    os.utime(tmp_path / "a", ns=(moment, moment))
    assert list(folders.changed(everything=False, now_ns=now_ns(LATER))) == ["a"]


def test_a_folder_that_changed_just_now_is_looked_at_again(tmp_path: Path) -> None:
    folders = Folders(tmp_path, ignored)
    write(tmp_path / "a.txt", "a")
    list(folders.changed(everything=False, now_ns=now_ns()))
    assert list(folders.changed(everything=False, now_ns=now_ns())) == [""]


def test_a_folder_that_vanishes_and_a_root_that_is_not_there_yet(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "root", ignored)
    assert list(folders.changed(everything=True, now_ns=now_ns())) == []
    write(tmp_path / "root/a/b.txt", "b")
    assert len(list(folders.changed(everything=True, now_ns=now_ns()))) == 2
    (tmp_path / "root/a/b.txt").unlink()
    (tmp_path / "root/a").rmdir()
    assert list(folders.changed(everything=True, now_ns=now_ns())) == [""]
    assert list(files(tmp_path / "root", "a", ignored)) == []


def test_looking_at_one_file(tmp_path: Path) -> None:
    write(tmp_path / "a/b.txt", "b")
    seen = look(tmp_path, "a/b.txt")
    assert seen is not None
    assert (seen.version.size, seen.strange) == (1, None)
    assert look(tmp_path, "a/nothing.txt") is None
    assert look(tmp_path, "a/b.txt/c") is None
