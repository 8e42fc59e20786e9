from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.unit.uploader.harbour import write
from uploader.kinds import ignored
from uploader.scan import Tree, look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uploader.scan import Seen

LATER = 10.0


class Watcher:
    """Looks at a tree; ``now`` is its monotonic clock."""

    def __init__(self, root: Path) -> None:
        self.now = 0.0
        self.tree = Tree(root, ignored, lambda: self.now)

    def walk(self, *, everything: bool = False, later: float = 0.0) -> list[str]:
        """Return the folders that the tree yields ``later``; nobody asks for the files in them."""
        self.now += later
        return [folder for folder, _ in self.tree.changed(everything=everything)]

    def look(self, *, everything: bool = False, later: float = 0.0) -> list[Seen]:
        """Return the files that the tree yields ``later``."""
        self.now += later
        return [seen for _, files in self.tree.changed(everything=everything) for seen in files]

    def rest(self) -> None:
        """Look at the tree until it is sure of all folders."""
        for _ in range(2):
            self.walk(later=LATER)


def at(path: Path, seconds: float) -> None:
    """Have ``path`` changed at ``seconds`` since 1970."""
    os.utime(path, ns=(int(seconds * 1e9), int(seconds * 1e9)))


def test_hidden_folders_are_not_entered_and_links_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "a/b/c.txt", "c")
    write(tmp_path / ".hidden/d.txt", "d")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert sorted(Watcher(tmp_path).walk()) == ["", "a", "a/b"]
    seen = {each.path: each.strange for each in Watcher(tmp_path).look()}
    assert seen == {"link": "a symbolic link", "a/b/c.txt": None}


def test_a_folder_that_stands_still_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "a/b.txt", "b")
    watcher = Watcher(tmp_path)
    watcher.rest()
    assert watcher.walk() == []
    write(tmp_path / "a/c.txt", "c")
    assert watcher.walk() == ["a"]


def test_a_folder_that_changed_just_now_is_looked_at_again(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "a")
    watcher = Watcher(tmp_path)
    assert [watcher.walk(later=1), watcher.walk(later=1), watcher.walk(later=1)] == [[""], [""], [""]]
    assert watcher.walk(later=1) == []


@pytest.mark.parametrize("pause", [0.5, 1.0, 5.0])
@pytest.mark.parametrize("skew", [-3600.0, 0.0, 3.0])
def test_a_file_that_comes_within_the_same_tick_as_a_listing_is_seen_at_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause: float, skew: float
) -> None:
    monkeypatch.setattr("uploader.scan._stamp_of", lambda status: status.st_mtime_ns // 2_000_000_000)
    watcher = Watcher(tmp_path)
    watcher.rest()
    write(tmp_path / "a.txt", "a")
    at(tmp_path, 1000 + skew)
    assert [seen.path for seen in watcher.look(later=1.9)] == ["a.txt"]
    write(tmp_path / "b.txt", "b")
    at(tmp_path, 1000 + skew)
    assert "b.txt" in [seen.path for seen in watcher.look(later=pause)]


def test_a_folder_whose_time_is_set_back_or_that_changes_places_with_another_is_looked_at(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name / "x.txt", name)
        at(tmp_path / name, 50)
    watcher = Watcher(tmp_path)
    watcher.rest()
    write(tmp_path / "a/new.txt", "n")
    at(tmp_path / "a", 50)
    assert watcher.walk() == ["a"]
    watcher.rest()
    (tmp_path / "a").rename(tmp_path / "c")
    (tmp_path / "b").rename(tmp_path / "a")
    (tmp_path / "c").rename(tmp_path / "b")
    at(tmp_path, 50)
    assert {"a", "b"} <= set(watcher.walk())


def test_everything_means_the_folders_that_stand_still_and_what_is_new_in_them(tmp_path: Path) -> None:
    write(tmp_path / "a/b.txt", "b")
    watcher = Watcher(tmp_path)
    watcher.rest()
    (tmp_path / "a/b.txt").write_text("other")
    assert watcher.walk() == []
    assert sorted(watcher.walk(everything=True)) == ["", "a"]


def test_who_breaks_off_in_a_folder_finds_it_changed_again(tmp_path: Path) -> None:
    write(tmp_path / "a/b.txt", "b")
    watcher = Watcher(tmp_path)
    watcher.rest()
    for folder, files in watcher.tree.changed(everything=True):
        if folder == "a":
            assert [seen.path for seen in files] == ["a/b.txt"]
            break
    assert watcher.walk() == ["a"]


def test_what_is_familiar_is_passed_over(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        write(tmp_path / name, name)
    found = Watcher(tmp_path).tree.changed(
        everything=True, familiar=lambda path, status: (path, status.st_size) == ("a.txt", 5)
    )
    assert [seen.path for _, files in found for seen in files] == ["b.txt"]


def test_a_folder_that_vanishes_and_a_root_that_is_not_there_yet(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path / "root")
    assert watcher.walk(everything=True) == []
    write(tmp_path / "root/a/b.txt", "b")
    assert len(watcher.walk(everything=True)) == 2
    (tmp_path / "root/a/b.txt").unlink()
    (tmp_path / "root/a").rmdir()
    assert watcher.walk(everything=True) == [""]


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
    assert {each.path: each.strange for each in Watcher(tmp_path).look()} == {
        "a.txt": None,
        "bad.txt": None,
        "bad_folder": reason,
        "good/y.txt": None,
    }
    alone = look(tmp_path, "bad.txt")
    assert alone is not None
    assert alone.strange == reason
    assert alone.hidden == (number in {errno.EIO, errno.ESTALE})


class _Breaking:
    """A listing that the disk breaks off after its first entry."""

    def __init__(self, entries: Iterator[os.DirEntry[str]]) -> None:
        self._entries = entries

    def __enter__(self) -> Iterator[os.DirEntry[str]]:
        return self._broken()

    def __exit__(self, *_: object) -> None:
        return

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        return self._broken()

    def _broken(self) -> Iterator[os.DirEntry[str]]:
        yield next(self._entries)
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_folder_that_cannot_be_read_to_its_end_says_so_and_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bad/a.txt", "bad/b.txt", "good/c.txt"):
        write(tmp_path / name, name)
    scandir, watcher = os.scandir, Watcher(tmp_path)
    monkeypatch.setattr(os, "scandir", lambda path: _Breaking(scandir(path)) if path.name == "bad" else scandir(path))
    for _ in range(2):
        found = {each.path: each.strange for each in watcher.look(later=LATER) if each.path.startswith("bad")}
        assert len(found) == 2
        assert found["bad"] == "something that cannot be looked at (Input/output error)"
    monkeypatch.setattr(os, "scandir", scandir)
    assert sorted(each.path for each in watcher.look(later=LATER)) == ["bad/a.txt", "bad/b.txt"]


def test_a_tree_that_cannot_be_read_at_all_is_not_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> Iterator[os.DirEntry[str]]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        Watcher(tmp_path).look()


def test_a_tree_that_cannot_be_read_to_its_end_is_none_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.txt", "a")
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: _Breaking(scandir(path)))
    with pytest.raises(OSError, match="Input/output error"):
        Watcher(tmp_path).look()


def test_a_file_may_be_of_any_year(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "a")
    os.utime(tmp_path / "a.txt", (13_569_465_600, 13_569_465_600))
    seen = look(tmp_path, "a.txt")
    assert seen is not None
    assert seen.version.mtime_ns == (1 << 63) - 1
