from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.unit.uploader.harbour import write
from uploader.kinds import ignored
from uploader.scan import Tree, look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uploader.scan import Seen

LATER = 10**12


def now_ns(later: int = 0) -> int:
    return time.time_ns() + later


def walked(tree: Tree, *, everything: bool = False, later: int = 0) -> list[str]:
    """Return the folders that a tree yields; nobody asks for the files in them."""
    return [folder for folder, _ in tree.changed(everything=everything, now_ns=now_ns(later))]


def seen_in(tree: Tree) -> list[Seen]:
    return [seen for _, files in tree.changed(everything=True, now_ns=now_ns()) for seen in files]


def test_hidden_folders_are_not_entered_and_links_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "a/b/c.txt", "c")
    write(tmp_path / ".hidden/d.txt", "d")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert sorted(walked(Tree(tmp_path, ignored), everything=True)) == ["", "a", "a/b"]
    seen = {each.path: each.strange for each in seen_in(Tree(tmp_path, ignored))}
    assert seen == {"link": "a symbolic link", "a/b/c.txt": None}


def test_a_folder_that_stands_still_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "a/b.txt", "b")
    tree = Tree(tmp_path, ignored)
    walked(tree, later=LATER)
    assert walked(tree, later=LATER) == []
    moment = time.time_ns() + 5_000_000_000
    write(tmp_path / "a/c.txt", "c")
    os.utime(tmp_path / "a", ns=(moment, moment))
    assert walked(tree, later=LATER) == ["a"]


def test_a_folder_that_changed_just_now_is_looked_at_again(tmp_path: Path) -> None:
    tree = Tree(tmp_path, ignored)
    write(tmp_path / "a.txt", "a")
    walked(tree)
    assert walked(tree) == [""]


def test_everything_means_the_folders_that_stand_still_and_what_is_new_in_them(tmp_path: Path) -> None:
    write(tmp_path / "a/b.txt", "b")
    tree = Tree(tmp_path, ignored)
    walked(tree, later=LATER)
    moment = (tmp_path / "a").stat().st_mtime_ns
    write(tmp_path / "a/new/c.txt", "c")
    os.utime(tmp_path / "a", ns=(moment, moment))
    assert walked(tree, later=LATER) == []
    assert sorted(walked(tree, everything=True, later=LATER)) == ["", "a", "a/new"]


def test_who_breaks_off_in_a_folder_finds_it_changed_again(tmp_path: Path) -> None:
    write(tmp_path / "a/b.txt", "b")
    tree = Tree(tmp_path, ignored)
    for folder, files in tree.changed(everything=False, now_ns=now_ns(LATER)):
        if folder == "a":
            assert [seen.path for seen in files] == ["a/b.txt"]
            break
    assert walked(tree, later=LATER) == ["a"]


def test_what_is_familiar_is_passed_over(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        write(tmp_path / name, name)
    found = Tree(tmp_path, ignored).changed(
        everything=True, now_ns=now_ns(), familiar=lambda path, status: (path, status.st_size) == ("a.txt", 5)
    )
    assert [seen.path for _, files in found for seen in files] == ["b.txt"]


def test_a_folder_that_vanishes_and_a_root_that_is_not_there_yet(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "root", ignored)
    assert walked(tree, everything=True) == []
    write(tmp_path / "root/a/b.txt", "b")
    assert len(walked(tree, everything=True)) == 2
    (tmp_path / "root/a/b.txt").unlink()
    (tmp_path / "root/a").rmdir()
    assert walked(tree, everything=True) == [""]


def test_looking_at_one_file(tmp_path: Path) -> None:
    write(tmp_path / "a/b.txt", "b")
    seen = look(tmp_path, "a/b.txt")
    assert seen is not None
    assert (seen.version.size, seen.strange) == (1, None)
    assert look(tmp_path, "a/nothing.txt") is None
    assert look(tmp_path, "a/b.txt/c") is None


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ENAMETOOLONG, errno.ESTALE])
def test_what_cannot_be_looked_at_is_strange_and_hides_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    for name in ("a.txt", "bad.txt", "bad/x.txt", "good/y.txt"):
        write(tmp_path / name, "x") if name != "bad/x.txt" else write(tmp_path / "bad_folder/x.txt", "x")
    scandir, lstat = os.scandir, Path.lstat

    def refuse(path: Path) -> os.stat_result:
        if "bad" in path.name:
            raise OSError(number, os.strerror(number))
        return lstat(path)

    def refuse_folder(path: Path) -> Iterator[os.DirEntry[str]]:
        if "bad" in path.name:
            raise OSError(number, os.strerror(number))
        return scandir(path)

    monkeypatch.setattr(Path, "lstat", refuse)
    monkeypatch.setattr(os, "scandir", refuse_folder)
    reason = f"something that cannot be looked at ({os.strerror(number)})"
    assert {each.path: each.strange for each in seen_in(Tree(tmp_path, ignored))} == {
        "a.txt": None,
        "bad.txt": None,
        "bad_folder": reason,
        "good/y.txt": None,
    }
    alone = look(tmp_path, "bad.txt")
    assert alone is not None
    assert alone.strange == reason


def test_a_tree_that_cannot_be_read_at_all_is_not_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> Iterator[os.DirEntry[str]]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        seen_in(Tree(tmp_path, ignored))


def test_a_file_may_be_of_any_year(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "a")
    os.utime(tmp_path / "a.txt", (13_569_465_600, 13_569_465_600))
    seen = look(tmp_path, "a.txt")
    assert seen is not None
    assert seen.version.mtime_ns == (1 << 63) - 1
