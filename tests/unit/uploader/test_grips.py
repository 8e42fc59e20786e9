from __future__ import annotations

import errno
import gc
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

from uploader.grips import MOST_HELD, Grips, Held
from uploader.scan import Version, hidden, look

if TYPE_CHECKING:
    import pytest

CONTENT = b"weights"


def write(root: Path, name: str = "a.pt", content: bytes = CONTENT) -> Version:
    (root / name).write_bytes(content)
    return version(root, name)


def version(root: Path, name: str = "a.pt") -> Version:
    seen = look(root, name)
    assert seen is not None
    return seen.version


def descriptors() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def test_what_is_held_can_be_looked_at_and_read_without_its_name(tmp_path: Path) -> None:
    known, grips = write(tmp_path), Grips(tmp_path)
    grips.take("a.pt", known.inode)
    assert not grips.is_nameless("a.pt", known.inode)
    (tmp_path / "a.pt").unlink()
    seen, where = grips.look("a.pt", known.inode), grips.where("a.pt", known.inode)
    assert seen is not None
    assert where is not None
    assert (seen.version, seen.strange, where.read_bytes()) == (known, None, CONTENT)
    assert grips.nameless() == [seen]
    assert not grips.is_renamed("a.pt", known.inode)
    descriptor = grips.duplicate("a.pt", known)
    assert descriptor is not None
    grips.close()
    assert os.pread(descriptor, 100, 0) == CONTENT
    os.close(descriptor)
    assert (grips.all, grips.look("a.pt", known.inode), grips.where("a.pt", known.inode)) == ((), None, None)


def test_what_a_volume_hides_for_a_moment_has_not_lost_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, grips = write(tmp_path), Grips(tmp_path)
    grips.take("a.pt", known.inode)
    monkeypatch.setattr("uploader.grips.look", lambda _root, path: hidden(path, OSError(5, "Input/output error")))
    assert not grips.is_nameless("a.pt", known.inode)
    assert grips.nameless() == []


def test_both_files_of_one_name_are_held_each_by_its_own_inode(tmp_path: Path) -> None:
    old, grips = write(tmp_path), Grips(tmp_path)
    grips.take("a.pt", old.inode)
    write(tmp_path, "next", b"newer")
    (tmp_path / "next").replace(tmp_path / "a.pt")
    new = version(tmp_path)
    grips.take("a.pt", new.inode)
    assert grips.all == (Held("a.pt", old.inode), Held("a.pt", new.inode))
    assert (grips.is_nameless("a.pt", old.inode), grips.is_nameless("a.pt", new.inode)) == (True, False)
    grips.retain([Held("a.pt", new.inode)])
    assert (grips.holds("a.pt", old.inode), grips.holds("a.pt", new.inode)) == (False, True)
    grips.drop("a.pt", new.inode)
    assert not grips.holds("a.pt", new.inode)


def test_a_descriptor_is_only_given_of_the_very_version(tmp_path: Path) -> None:
    known, grips = write(tmp_path), Grips(tmp_path)
    grips.take("a.pt", known.inode)
    write(tmp_path, content=b"longer than before")
    assert grips.duplicate("a.pt", known) is None
    changed = grips.duplicate("a.pt", version(tmp_path))
    assert changed is not None
    os.close(changed)


def test_a_file_that_has_only_got_another_name_is_not_lost(tmp_path: Path) -> None:
    known, grips = write(tmp_path), Grips(tmp_path)
    grips.take("a.pt", known.inode)
    (tmp_path / "a.pt").rename(tmp_path / "b.pt")
    assert grips.is_renamed("a.pt", known.inode)
    (tmp_path / "b.pt").rename(tmp_path / ".nfs0001")
    assert not grips.is_renamed("a.pt", known.inode), "some volumes hide what is deleted like this"
    assert not grips.is_renamed("nothing.pt", 1)


def test_what_is_no_regular_file_or_another_one_is_not_held(tmp_path: Path) -> None:
    known, grips = write(tmp_path), Grips(tmp_path)
    (tmp_path / "link.pt").symlink_to("a.pt")
    os.mkfifo(tmp_path / "pipe.pt")
    before = descriptors()
    grips.take("a.pt", known.inode + 1)
    grips.take("gone.pt", known.inode)
    grips.take("link.pt", known.inode)
    grips.take("pipe.pt", (tmp_path / "pipe.pt").stat().st_ino)
    assert (grips.all, descriptors()) == ((), before)


def test_a_file_that_opens_and_then_tells_nothing_of_itself_costs_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, grips, before = write(tmp_path), Grips(tmp_path), descriptors()

    def stale(_: int) -> os.stat_result:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", stale)
        grips.take("a.pt", known.inode)
    assert (grips.all, descriptors()) == ((), before)


def test_no_more_than_so_many_are_held_and_they_go_with_whoever_held_them(tmp_path: Path) -> None:
    before, grips = descriptors(), Grips(tmp_path)
    for number in range(MOST_HELD + 5):
        known = write(tmp_path, f"{number}.pt")
        grips.take(f"{number}.pt", known.inode)
        grips.take(f"{number}.pt", known.inode)
    assert (len(grips.all), descriptors() - before) == (MOST_HELD, MOST_HELD)
    del grips
    assert descriptors() == before


def test_half_of_the_descriptors_are_left_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grips, limit = Grips(tmp_path), 2 * (descriptors() + 10)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    for number in range(30):
        grips.take(f"{number}.pt", write(tmp_path, f"{number}.pt").inode)
    assert 0 < len(grips.all) < 30


def test_a_file_that_the_volume_has_forgotten_is_not_held_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, grips = write(tmp_path), Grips(tmp_path)
    grips.take("a.pt", known.inode)

    def stale(_: int) -> os.stat_result:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", stale)
        assert grips.look("a.pt", known.inode) is None
    assert grips.all == ()
